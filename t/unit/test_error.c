
/*
 * Copyright (C) The WebTransport for nginx authors
 */


#include "test.h"
#include <ngx_http_wt_proto.h>
#include <ngx_http_wt_error.h>


typedef struct {
    uint32_t  app;
    uint64_t  h3;
} vector_t;


static vector_t  vectors[] = {
    { 0, 0x52e4a40fa8dbULL },
    { 0x1d, 0x52e4a40fa8f8ULL },
    { 0x1e, 0x52e4a40fa8faULL },
    { 42, 0x52e4a40fa906ULL },
    { 0x3b, 0x52e4a40fa917ULL },
    { 0x3c, 0x52e4a40fa919ULL },
    { 0xff, 0x52e4a40fa9e2ULL },
    { 0x10000, 0x52e4a410b163ULL },
    { 0xdeadbeef, 0x52e58a2998d1ULL },
    { 0xffffffff, 0x52e5ac983162ULL }
};


static void
maps_codes_of_applications_both_ways(void)
{
    size_t    i;
    uint32_t  code;

    for (i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++) {
        check(ngx_http_wt_error_from_app(vectors[i].app) == vectors[i].h3);

        code = ~vectors[i].app;
        check(ngx_http_wt_error_to_app(vectors[i].h3, &code) == NGX_OK);
        check(code == vectors[i].app);
    }
}


static void
declines_reserved_codepoints(void)
{
    uint32_t  code;
    uint64_t  h3;

    code = 7;

    for (h3 = 0x52e4a40fa8f9ULL; h3 < 0x52e4a4100000ULL; h3 += 0x1f) {
        check(ngx_http_wt_error_to_app(h3, &code) == NGX_DECLINED);
    }

    check(code == 7);
}


static void
maps_every_other_codepoint_once(void)
{
    uint32_t  code, next;
    uint64_t  h3;

    next = 0;

    for (h3 = 0x52e4a40fa8dbULL; h3 < 0x52e4a4110000ULL; h3++) {

        if (ngx_http_wt_error_to_app(h3, &code) != NGX_OK) {
            continue;
        }

        if (code != next || ngx_http_wt_error_from_app(code) != h3) {
            check(code == next);
            check(ngx_http_wt_error_from_app(code) == h3);
            return;
        }

        next++;
    }
}


static void
declines_codes_outside_the_range(void)
{
    uint32_t  code;

    check(ngx_http_wt_error_to_app(0, &code) == NGX_DECLINED);
    check(ngx_http_wt_error_to_app(0x52e4a40fa8daULL, &code) == NGX_DECLINED);
    check(ngx_http_wt_error_to_app(0x52e5ac983163ULL, &code) == NGX_DECLINED);
    check(ngx_http_wt_error_to_app(NGX_HTTP_WT_VARINT_MAX, &code)
          == NGX_DECLINED);
    check(ngx_http_wt_error_to_app(NGX_HTTP_WT_ERR_SESSION_GONE, &code)
          == NGX_DECLINED);
    check(ngx_http_wt_error_to_app(NGX_HTTP_WT_H3_REQUEST_CANCELLED, &code)
          == NGX_DECLINED);
}


static void
knows_names(void)
{
    check_str(ngx_http_wt_error_name(0x33), "H3_DATAGRAM_ERROR");
    check_str(ngx_http_wt_error_name(0x10e), "H3_MESSAGE_ERROR");
    check_str(ngx_http_wt_error_name(0x3994bd84),
              "WT_BUFFERED_STREAM_REJECTED");
    check_str(ngx_http_wt_error_name(0x170d7b68), "WT_SESSION_GONE");
    check_str(ngx_http_wt_error_name(0x52e4a40fa8dbULL), "application error");
    check_str(ngx_http_wt_error_name(0x52e4a40fa8f9ULL), "unknown error");
    check_str(ngx_http_wt_error_name(0), "unknown error");
}


static test_t  tests[] = {
    test(maps_codes_of_applications_both_ways),
    test(declines_reserved_codepoints),
    test(maps_every_other_codepoint_once),
    test(declines_codes_outside_the_range),
    test(knows_names)
};


test_main(tests)
