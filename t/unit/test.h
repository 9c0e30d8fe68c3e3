
/*
 * Copyright (C) The WebTransport for nginx authors
 *
 * A test is a function that checks one behaviour and is named after it.  Each
 * file is a program of its own, see "run".
 */


#ifndef _NGX_HTTP_WT_TEST_H_INCLUDED_
#define _NGX_HTTP_WT_TEST_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


typedef struct {
    const char   *name;
    void        (*run)(void);
} test_t;


/* bytes on the heap of exactly that length, so that ASan sees every overrun */

typedef struct {
    u_char  *data;
    size_t   len;
} test_bytes_t;


#define test(name)  { #name, name }

#define check(cond)                                                           \
    do {                                                                      \
        if (!(cond)) {                                                        \
            test_failed = 1;                                                  \
            printf("# %s:%d: %s\n", __FILE__, __LINE__, #cond);               \
        }                                                                     \
    } while (0)

#define check_str(got, expected)                                              \
    do {                                                                      \
        if (strcmp(got, expected) != 0) {                                     \
            test_failed = 1;                                                  \
            printf("# %s:%d:\n#      got \"%s\"\n# expected \"%s\"\n",        \
                   __FILE__, __LINE__, got, expected);                        \
        }                                                                     \
    } while (0)

#define check_hex(data, end, hex)                                             \
    check_str(test_hex(data, (end) - (data)), hex)


static ngx_uint_t  test_failed;

/* n: the n-th malloc() from now on fails; 0: none, or it has failed */
extern ngx_uint_t  test_malloc_fails;


static inline test_bytes_t
test_copy(const u_char *data, size_t len)
{
    test_bytes_t  b;

    b.data = malloc(len);
    b.len = len;

    if (len) {
        memcpy(b.data, data, len);
    }

    return b;
}


/*
 * "00 07 6843" to bytes; to be freed.  What is in braces has its length, below
 * 128, in front of it: "1a{ 08{ff} }" is 1a 03 08 01 ff.
 */

static inline test_bytes_t
test_bytes(const char *hex)
{
    char           byte[3];
    size_t         n, depth, open[8];
    u_char        *data;
    const char    *p;
    test_bytes_t   b;

    data = malloc(strlen(hex) + 1);
    n = 0;
    depth = 0;

    for (p = hex; *p; p++) {

        switch (*p) {

        case ' ':
            break;

        case '{':
            open[depth++] = n++;
            break;

        case '}':
            depth--;
            data[open[depth]] = (u_char) (n - open[depth] - 1);
            check(data[open[depth]] < 0x80);
            break;

        default:
            byte[0] = *p++;
            byte[1] = *p;
            byte[2] = '\0';

            data[n++] = (u_char) strtoul(byte, NULL, 16);
        }
    }

    check(depth == 0);

    b = test_copy(data, n);
    free(data);

    return b;
}


/* bytes to hex digits, up to 4 KB, valid until the next call */

static inline const char *
test_hex(const u_char *data, size_t len)
{
    size_t       i;
    static char  hex[8193];

    hex[0] = '\0';

    for (i = 0; i < len && i < 4096; i++) {
        sprintf(hex + 2 * i, "%02x", data[i]);
    }

    return hex;
}


static inline int
test_run(test_t *tests, size_t n)
{
    size_t  i, failed;

    failed = 0;

    for (i = 0; i < n; i++) {
        test_failed = 0;

        tests[i].run();

        printf("%sok %u - %s\n", test_failed ? "not " : "", (unsigned) i + 1,
               tests[i].name);
        failed += test_failed;
    }

    printf("%u passed, %u failed\n", (unsigned) (n - failed),
           (unsigned) failed);

    return failed != 0;
}


#define test_main(tests)                                                      \
    int                                                                       \
    main(void)                                                                \
    {                                                                         \
        setvbuf(stdout, NULL, _IOLBF, 0);                                     \
        return test_run(tests, sizeof(tests) / sizeof(tests[0]));             \
    }


#endif /* _NGX_HTTP_WT_TEST_H_INCLUDED_ */
