
/*
 * Copyright (C) The WebTransport for nginx authors
 */


#include "test.h"
#include <ngx_http_wt_proto.h>
#include <ngx_http_wt_varint.h>


typedef struct {
    const char  *hex;
    uint64_t     value;
} vector_t;


/* shortest encodings: RFC 9000, A.1, and the values around each length */

static vector_t  shortest[] = {
    { "00", 0 },
    { "25", 37 },
    { "3f", 63 },
    { "4040", 64 },
    { "7bbd", 15293 },
    { "7fff", 16383 },
    { "80004000", 16384 },
    { "9d7f3e7d", 494878333 },
    { "bfffffff", 1073741823 },
    { "c000000040000000", 1073741824 },
    { "c2197c5eff14e88c", 151288809941952652ULL },
    { "ffffffffffffffff", NGX_HTTP_WT_VARINT_MAX },

    { "4054", NGX_HTTP_WT_STREAM_WT },
    { "4041", NGX_HTTP_WT_FRAME_WT_STREAM },
    { "6843", NGX_HTTP_WT_CAPSULE_CLOSE },
    { "800078ae", NGX_HTTP_WT_CAPSULE_DRAIN },
    { "990b4d3d", NGX_HTTP_WT_CAPSULE_MAX_DATA },
    { "ab603742", NGX_HTTP_WT_SETTING_ENABLE_02 },
    { "c0000000c671706a", NGX_HTTP_WT_SETTING_MAX_SESSIONS_07 },
    { "94e9cd29", NGX_HTTP_WT_SETTING_MAX_SESSIONS_13 },
    { "ac7cf000", NGX_HTTP_WT_SETTING_ENABLED_15 },
    { "6b61", NGX_HTTP_WT_SETTING_MAX_DATA },
    { "6b64", NGX_HTTP_WT_SETTING_MAX_STREAMS_UNI },
    { "6b65", NGX_HTTP_WT_SETTING_MAX_STREAMS_BIDI },
    { "c017f7586d2cb571", NGX_HTTP_WT_TP_RESET_STREAM_AT_07 },
    { NULL, 0 }
};


static vector_t  longer[] = {
    { "4025", 37 },
    { "80000025", 37 },
    { "c000000000000025", 37 },
    { "c000000000000000", 0 },
    { NULL, 0 }
};


static void
parses_every_length(void)
{
    u_char        *p;
    uint64_t       v;
    vector_t      *t;
    test_bytes_t   b;

    for (t = shortest; t->hex; t++) {
        b = test_bytes(t->hex);
        p = ngx_http_wt_varint_parse(b.data, b.data + b.len, &v);

        check(p == b.data + b.len);
        check(v == t->value);

        free(b.data);
    }
}


static void
parses_encodings_that_are_too_long(void)
{
    u_char        *p;
    uint64_t       v;
    vector_t      *t;
    test_bytes_t   b;

    for (t = longer; t->hex; t++) {
        b = test_bytes(t->hex);
        p = ngx_http_wt_varint_parse(b.data, b.data + b.len, &v);

        check(p == b.data + b.len);
        check(v == t->value);

        free(b.data);
    }
}


static void
needs_more_bytes_at_every_truncation(void)
{
    size_t        n;
    uint64_t      v;
    vector_t     *t;
    test_bytes_t  b, part;

    v = 12345;

    for (t = shortest; t->hex; t++) {
        b = test_bytes(t->hex);

        for (n = 0; n < b.len; n++) {
            part = test_copy(b.data, n);
            check(ngx_http_wt_varint_parse(part.data, part.data + n, &v)
                  == NULL);
            free(part.data);
        }

        check(ngx_http_wt_varint_parse(b.data + b.len, b.data + b.len, &v)
              == NULL);

        free(b.data);
    }

    check(v == 12345);
}


static void
leaves_what_follows(void)
{
    u_char        *p;
    uint64_t       v;
    test_bytes_t   b;

    b = test_bytes("7bbdff");
    p = ngx_http_wt_varint_parse(b.data, b.data + b.len, &v);

    check(p == b.data + 2);
    check(v == 15293);

    free(b.data);
}


static void
writes_the_shortest_encoding(void)
{
    u_char        *p;
    vector_t      *t;
    test_bytes_t   b;

    for (t = shortest; t->hex; t++) {
        b = test_bytes(t->hex);

        check(ngx_http_wt_varint_len(t->value) == b.len);

        p = ngx_http_wt_varint_write(b.data, t->value);

        check_hex(b.data, p, t->hex);
        free(b.data);
    }
}


static test_t  tests[] = {
    test(parses_every_length),
    test(parses_encodings_that_are_too_long),
    test(needs_more_bytes_at_every_truncation),
    test(leaves_what_follows),
    test(writes_the_shortest_encoding)
};


test_main(tests)
