
/*
 * Copyright (C) The WebTransport for nginx authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http_wt_utf8.h>


ngx_uint_t
ngx_http_wt_utf8_valid(u_char *p, size_t len)
{
    u_char    *last;
    uint32_t   c, min;
    ngx_int_t  n;

    last = p + len;

    while (p < last) {

        c = *p++;

        if (c < 0x80) {
            continue;
        }

        if (c >= 0xc0 && c < 0xe0) {
            n = 1;
            c &= 0x1f;
            min = 0x80;

        } else if (c >= 0xe0 && c < 0xf0) {
            n = 2;
            c &= 0x0f;
            min = 0x800;

        } else if (c >= 0xf0 && c < 0xf8) {
            n = 3;
            c &= 0x07;
            min = 0x10000;

        } else {
            return 0;
        }

        if (last - p < n) {
            return 0;
        }

        while (n--) {
            if ((*p & 0xc0) != 0x80) {
                return 0;
            }

            c = (c << 6) + (*p++ & 0x3f);
        }

        if (c < min || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff)) {
            return 0;
        }
    }

    return 1;
}


size_t
ngx_http_wt_utf8_cut(u_char *p, size_t len, size_t max)
{
    if (len <= max) {
        return len;
    }

    /* the first byte that is left out must not continue a character */

    while (max && (p[max] & 0xc0) == 0x80) {
        max--;
    }

    return max;
}
