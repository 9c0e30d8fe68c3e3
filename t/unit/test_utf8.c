
/*
 * Copyright (C) The WebTransport for nginx authors
 */


#include "test.h"
#include <ngx_http_wt_utf8.h>


static ngx_uint_t
valid(const char *hex)
{
    ngx_uint_t    rc;
    test_bytes_t  b;

    b = test_bytes(hex);
    rc = ngx_http_wt_utf8_valid(b.data, b.len);
    free(b.data);

    return rc;
}


static void
accepts_first_and_last_of_every_length(void)
{
    check(valid(""));
    check(valid("00"));
    check(valid("7f"));
    check(valid("c280"));
    check(valid("dfbf"));
    check(valid("e0a080"));
    check(valid("efbfbf"));
    check(valid("f0908080"));
    check(valid("f48fbfbf"));
    check(valid("61c3bc20e282ac20f09f9880"));
}


static void
refuses_longer_forms(void)
{
    check(!valid("c080"));
    check(!valid("c1bf"));
    check(!valid("e08080"));
    check(!valid("e09fbf"));
    check(!valid("f0808080"));
    check(!valid("f08fbfbf"));
}


static void
refuses_surrogates_and_what_is_above_unicode(void)
{
    check(valid("ed9fbf"));
    check(!valid("eda080"));
    check(!valid("edbfbf"));
    check(valid("ee8080"));
    check(!valid("f4908080"));
    check(!valid("f5808080"));
    check(!valid("f888808080"));
    check(!valid("ff"));
}


static void
refuses_truncated_and_stray_bytes(void)
{
    check(!valid("80"));
    check(!valid("bf"));
    check(!valid("c2"));
    check(!valid("e282"));
    check(!valid("f09f98"));
    check(!valid("c241"));
    check(!valid("e28241"));
    check(!valid("f09f9841"));
    check(!valid("c2c280"));
}


static void
cuts_between_characters(void)
{
    test_bytes_t  b;

    b = test_bytes("61 c3bc e282ac f09f9880");

    check(ngx_http_wt_utf8_cut(b.data, 10, 11) == 10);
    check(ngx_http_wt_utf8_cut(b.data, 10, 10) == 10);
    check(ngx_http_wt_utf8_cut(b.data, 10, 9) == 6);
    check(ngx_http_wt_utf8_cut(b.data, 10, 7) == 6);
    check(ngx_http_wt_utf8_cut(b.data, 10, 6) == 6);
    check(ngx_http_wt_utf8_cut(b.data, 10, 5) == 3);
    check(ngx_http_wt_utf8_cut(b.data, 10, 2) == 1);
    check(ngx_http_wt_utf8_cut(b.data, 10, 0) == 0);
    check(ngx_http_wt_utf8_cut(NULL, 0, 0) == 0);

    free(b.data);
}


static test_t  tests[] = {
    test(accepts_first_and_last_of_every_length),
    test(refuses_longer_forms),
    test(refuses_surrogates_and_what_is_above_unicode),
    test(refuses_truncated_and_stray_bytes),
    test(cuts_between_characters)
};


test_main(tests)
