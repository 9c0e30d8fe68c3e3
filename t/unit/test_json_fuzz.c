
/*
 * Copyright (C) The WebTransport for nginx authors
 *
 * Random messages of the schema, and what becomes of them after mutations; the
 * same in every run.  ASan and UBSan look for what must not happen, LSan for
 * what nobody frees.
 */


#include "test_json.h"
#include <jansson.h>


#define ROUNDS  20000


static uint64_t  seed;
static u_char    input[65536];
static size_t    input_len;


static const ngx_http_wt_json_msg_t  *messages[] = {
    &events, &commands, &commands, &stats
};


static const char  *texts[] = {
    "{\"commands\":[{\"accept\":{\"headers\":[{\"name\":\"x\",\"value\":"
    "\"MQ==\"}],\"framing\":\"LINES\",\"session\":{\"meta\":{\"k\":\"v\"}},"
    "\"notify\":[\"LIMITS\",2]}},{\"id\":\"7\",\"data\":{\"stream_id\":4,"
    "\"data\":\"aGk\",\"fin\":true}}]}",
    "{\"seq\":18446744073709551615,\"x\":[0.5,-1e3,null,\"\\u00df\\\\\"]}",
    "{\"sessionId\":\"g\303\274\\ud83d\\ude00\",\"commands\":[{\"publish\":"
    "{\"channels\":[\"a\",\"\"],\"data\":\"-_8=\"}},{\"abort\":{}}]}"
};


/* xorshift64 */

static uint64_t
random_number(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;

    return seed;
}


static size_t
random_below(size_t n)
{
    return (size_t) (random_number() >> 11) % n;
}


static u_char *
write_varint(u_char *p, uint64_t v)
{
    ngx_uint_t  pad;

    /* longer than needed, sometimes, but not longer than a reader accepts */

    pad = (v < 0x10000 && random_below(4) == 0) ? random_below(4) : 0;

    while (v > 0x7f) {
        *p++ = (u_char) (v | 0x80);
        v >>= 7;
    }

    *p++ = (u_char) (pad ? v | 0x80 : v);

    while (pad) {
        *p++ = (--pad) ? 0x80 : 0;
    }

    return p;
}


static uint64_t
random_integer(const ngx_http_wt_json_field_t *field)
{
    uint64_t  v;

    static uint64_t  values[] = { 0, 1, 2, 3, 127, 128, 0x7fffffff, 0x80000000,
                                  0xffffffff, 1ULL << 53, 1ULL << 63, -1 };

    v = values[random_below(sizeof(values) / sizeof(values[0]))];

    switch (field->type) {

    case NGX_HTTP_WT_JSON_BOOL:
        return v & 1;

    case NGX_HTTP_WT_JSON_UINT64:
        return v;

    case NGX_HTTP_WT_JSON_UINT32:
        return (uint32_t) v;

    default:
        return (uint64_t) (int64_t) (int32_t) v;
    }
}


static u_char *
write_string(u_char *p, const ngx_http_wt_json_field_t *field)
{
    size_t       i, n;
    const char  *s;

    static const char  *strings[] = { "a", "", "/", "\"", "\\", "\n", "\001",
                                      "\303\274", "\342\202\254",
                                      "\360\237\230\200", "\177" };

    n = random_below(8);

    for (i = 0; i < n; i++) {

        if (field->type == NGX_HTTP_WT_JSON_BYTES) {
            *p++ = (u_char) random_below(256);
            continue;
        }

        s = strings[random_below(sizeof(strings) / sizeof(strings[0]))];
        p = ngx_cpymem(p, s, strlen(s));
    }

    return p;
}


static u_char *write_message(u_char *p, const ngx_http_wt_json_msg_t *msg);


static u_char *
write_value(u_char *p, const ngx_http_wt_json_field_t *field)
{
    double   d;
    size_t   len;
    u_char  *start;
    u_char   value[16384];

    switch (field->type) {

    case NGX_HTTP_WT_JSON_MESSAGE:
        start = malloc(sizeof(input));
        len = write_message(start, field->of) - start;
        p = write_varint(p, len);
        p = ngx_cpymem(p, start, len);
        free(start);
        return p;

    case NGX_HTTP_WT_JSON_STRING:
    case NGX_HTTP_WT_JSON_BYTES:
        len = write_string(value, field) - value;
        p = write_varint(p, len);
        return ngx_cpymem(p, value, len);

    case NGX_HTTP_WT_JSON_DOUBLE:
        d = (double) random_number() / 3;
        return ngx_cpymem(p, &d, 8);

    default:
        return write_varint(p, random_integer(field));
    }
}


/* a few fields, in any order, some more than once */

static u_char *
write_message(u_char *p, const ngx_http_wt_json_msg_t *msg)
{
    size_t                           n;
    ngx_uint_t                       wire;
    const ngx_http_wt_json_field_t  *field;

    if (msg->n == 0) {
        return p;
    }

    for (n = random_below(msg == &events || msg == &commands ? 12 : 5);
         n;
         n--)
    {
        field = &msg->fields[random_below(msg->n)];

        wire = (field->type >= NGX_HTTP_WT_JSON_STRING) ? 2
               : (field->type == NGX_HTTP_WT_JSON_DOUBLE) ? 1 : 0;

        p = write_varint(p, field->number << 3 | wire);
        p = write_value(p, field);
    }

    return p;
}


static void
mutate(void)
{
    size_t  at, n;

    static u_char  values[] = { 0x00, 0x01, 0x7f, 0x80, 0xff, '"', '\\', '{',
                                '[', ',', ':', '-', '9', 'e', 'u' };

    if (input_len == 0) {
        return;
    }

    at = random_below(input_len);

    switch (random_below(5)) {

    case 0: /* flip a bit */
        input[at] ^= (u_char) (1 << random_below(8));
        break;

    case 1: /* a telling value */
        input[at] = values[random_below(sizeof(values))];
        break;

    case 2: /* remove some bytes */
        n = 1 + random_below(ngx_min(input_len - at, 4));
        memmove(input + at, input + at + n, input_len - at - n);
        input_len -= n;
        break;

    case 3: /* repeat some bytes */
        n = 1 + random_below(ngx_min(input_len - at, 24));

        if (input_len + n <= sizeof(input)) {
            memmove(input + at + n, input + at, input_len - at);
            input_len += n;
        }

        break;

    default: /* truncate */
        input_len = at;
    }
}


static const ngx_http_wt_json_msg_t *
make_message(void)
{
    const ngx_http_wt_json_msg_t  *msg;

    msg = messages[random_below(sizeof(messages) / sizeof(messages[0]))];
    input_len = write_message(input, msg) - input;

    return msg;
}


static void
report(ngx_uint_t round)
{
    printf("# round %u: %s\n", (unsigned) round, test_hex(input, input_len));
}


/* text to a message and back is the same text, but for the order of fields */

static void
check_text(const ngx_http_wt_json_msg_t *msg, test_result_t *text)
{
    json_t         *before, *after;
    test_result_t   bytes, back;

    bytes = test_parse_json(msg, text->data, text->len);
    check(bytes.rc == NGX_OK);

    if (bytes.rc != NGX_OK) {
        printf("# %s\n# %s\n", bytes.data, text->data);
        free(bytes.data);
        return;
    }

    back = test_print(msg, bytes.data, bytes.len);

    before = json_loadb((char *) text->data, text->len, JSON_ALLOW_NUL, NULL);
    after = json_loadb((char *) back.data, back.len, JSON_ALLOW_NUL, NULL);

    check(before && after && json_equal(before, after));

    if (test_failed) {
        printf("# %s\n# %s\n", text->data, back.data);
    }

    json_decref(before);
    json_decref(after);
    free(bytes.data);
    free(back.data);
}


static void
messages_survive_the_way_to_text_and_back(void)
{
    ngx_uint_t                     i;
    test_result_t                  text;
    const ngx_http_wt_json_msg_t  *msg;

    seed = 0x5bd1e995;

    for (i = 0; i < ROUNDS && !test_failed; i++) {

        msg = make_message();

        text = test_print(msg, input, input_len);
        check(text.rc == NGX_OK);

        /* the longest names, in messages of two bytes */
        check(text.len <= 64 * input_len + 2);

        check_text(msg, &text);

        free(text.data);

        if (test_failed) {
            report(i);
        }
    }
}


static void
a_part_of_a_message_is_an_error_or_a_message(void)
{
    size_t                         n;
    ngx_uint_t                     i;
    test_result_t                  text;
    const ngx_http_wt_json_msg_t  *msg;

    seed = 0x1b873593;

    for (i = 0; i < ROUNDS / 20 && !test_failed; i++) {

        msg = make_message();

        for (n = 0; n < input_len && n < 200; n++) {

            text = test_print(msg, input, n);

            if (text.rc == NGX_OK) {
                check_text(msg, &text);
            }

            free(text.data);
        }

        if (test_failed) {
            report(i);
        }
    }
}


static void
mutated_messages_are_harmless(void)
{
    size_t                         n;
    ngx_uint_t                     i, ok;
    test_result_t                  text;
    const ngx_http_wt_json_msg_t  *msg;

    seed = 0xcc9e2d51;
    ok = 0;

    for (i = 0; i < 3 * ROUNDS && !test_failed; i++) {

        msg = make_message();

        for (n = 1 + random_below(3); n; n--) {
            mutate();
        }

        text = test_print(msg, input, input_len);

        /* a name with a NUL can be printed, but not parsed */

        if (text.rc == NGX_OK && !strstr((char *) text.data, "\\u0000")) {
            ok++;
            check_text(msg, &text);
        }

        free(text.data);

        if (test_failed) {
            report(i);
        }
    }

    check(ok > ROUNDS / 10 && ok < 3 * ROUNDS);
}


static void
mutated_texts_are_harmless(void)
{
    size_t         n;
    ngx_uint_t     i, ok;
    test_result_t  bytes, text;

    seed = 0xe6546b64;
    ok = 0;

    for (i = 0; i < 3 * ROUNDS && !test_failed; i++) {

        n = random_below(sizeof(texts) / sizeof(texts[0]));
        input_len = strlen(texts[n]);
        memcpy(input, texts[n], input_len);

        for (n = 1 + random_below(3); n; n--) {
            mutate();
        }

        bytes = test_parse_json(&commands, input, input_len);

        if (bytes.rc == NGX_OK) {
            ok++;

            text = test_print(&commands, bytes.data, bytes.len);
            check(text.rc == NGX_OK);
            check_text(&commands, &text);
            free(text.data);
        }

        free(bytes.data);

        if (test_failed) {
            report(i);
        }
    }

    check(ok > ROUNDS / 10 && ok < 3 * ROUNDS);
}


/*
 * Each allocation fails once: of the library, of a pool, of our own.  Nothing
 * is expected of the texts of errors or of what is parsed: the library goes on
 * when a token has no room to grow.
 */

static ngx_int_t
short_of_memory(ngx_uint_t nth, const u_char *data, size_t len,
    ngx_uint_t text)
{
    ngx_str_t    in[2], out;
    ngx_int_t    rc;
    ngx_log_t    log;
    ngx_pool_t  *pool;
    const char  *err;

    memset(&log, 0, sizeof(ngx_log_t));
    pool = ngx_create_pool(1024, &log);
    err = NULL;

    in[0].data = (u_char *) data;
    in[0].len = text ? len : len / 2;
    in[1].data = (u_char *) data + len / 2;
    in[1].len = len - len / 2;

    test_malloc_fails = nth;

    rc = text ? ngx_http_wt_json_parse(&commands, in, &out, pool, &err)
              : ngx_http_wt_json_print(&commands, in, 2, &out, pool);

    check(rc == NGX_OK || (rc == NGX_ERROR && test_malloc_fails == 0));
    check(rc == NGX_OK || !text || err[0]);

    /* as long as there are more allocations */

    rc = test_malloc_fails ? NGX_DONE : rc;

    test_malloc_fails = 0;
    ngx_destroy_pool(pool);

    return rc;
}


static void
memory_may_be_short_anywhere(void)
{
    size_t         len;
    ngx_int_t      rc;
    ngx_uint_t     i, n, text, failed;
    test_result_t  r;

    failed = 0;

    for (n = 0; n < sizeof(texts) / sizeof(texts[0]); n++) {

        len = strlen(texts[n]);
        r = test_parse_json(&commands, texts[n], len);
        check(r.rc == NGX_OK);

        for (text = 0; text < 2; text++) {
            i = 0;

            do {
                rc = short_of_memory(++i, text ? (u_char *) texts[n] : r.data,
                                     text ? len : r.len, text);
                failed += (rc == NGX_ERROR);
            } while (rc != NGX_DONE);

            check(i > 5);
        }

        free(r.data);
    }

    check(failed > 100);
}


static test_t  tests[] = {
    test(messages_survive_the_way_to_text_and_back),
    test(a_part_of_a_message_is_an_error_or_a_message),
    test(mutated_messages_are_harmless),
    test(mutated_texts_are_harmless),
    test(memory_may_be_short_anywhere)
};


int
main(void)
{
    setvbuf(stdout, NULL, _IOLBF, 0);

    /* the library, too, shall find no memory */
    json_set_alloc_funcs(malloc, free);

    return test_run(tests, sizeof(tests) / sizeof(tests[0]));
}
