
/*
 * Copyright (C) The WebTransport for nginx authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http_wt_varint.h>


u_char *
ngx_http_wt_varint_parse(u_char *p, u_char *end, uint64_t *out)
{
    size_t    len;
    uint64_t  v;

    if (p >= end) {
        return NULL;
    }

    /* the two most significant bits are the base-2 logarithm of the length */

    len = (size_t) 1 << (*p >> 6);

    if ((size_t) (end - p) < len) {
        return NULL;
    }

    v = *p++ & 0x3f;

    while (--len) {
        v = (v << 8) + *p++;
    }

    *out = v;

    return p;
}


size_t
ngx_http_wt_varint_len(uint64_t v)
{
    if (v < (1 << 6)) {
        return 1;
    }

    if (v < (1 << 14)) {
        return 2;
    }

    if (v < (1 << 30)) {
        return 4;
    }

    return 8;
}


u_char *
ngx_http_wt_varint_write(u_char *p, uint64_t v)
{
    size_t      len, n;
    ngx_uint_t  log2;

    len = ngx_http_wt_varint_len(v);

    for (n = len; n; n--) {
        p[n - 1] = (u_char) v;
        v >>= 8;
    }

    for (log2 = 0, n = len; n > 1; n >>= 1) {
        log2++;
    }

    *p |= log2 << 6;

    return p + len;
}
