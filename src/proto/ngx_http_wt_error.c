
/*
 * Copyright (C) The WebTransport for nginx authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http_wt_proto.h>
#include <ngx_http_wt_error.h>


typedef struct {
    uint64_t     code;
    const char  *name;
} ngx_http_wt_error_name_t;


static const ngx_http_wt_error_name_t  ngx_http_wt_error_names[] = {
    { NGX_HTTP_WT_H3_DATAGRAM_ERROR, "H3_DATAGRAM_ERROR" },
    { NGX_HTTP_WT_H3_NO_ERROR, "H3_NO_ERROR" },
    { NGX_HTTP_WT_H3_GENERAL_PROTOCOL_ERROR, "H3_GENERAL_PROTOCOL_ERROR" },
    { NGX_HTTP_WT_H3_INTERNAL_ERROR, "H3_INTERNAL_ERROR" },
    { NGX_HTTP_WT_H3_STREAM_CREATION_ERROR, "H3_STREAM_CREATION_ERROR" },
    { NGX_HTTP_WT_H3_CLOSED_CRITICAL_STREAM, "H3_CLOSED_CRITICAL_STREAM" },
    { NGX_HTTP_WT_H3_FRAME_UNEXPECTED, "H3_FRAME_UNEXPECTED" },
    { NGX_HTTP_WT_H3_FRAME_ERROR, "H3_FRAME_ERROR" },
    { NGX_HTTP_WT_H3_EXCESSIVE_LOAD, "H3_EXCESSIVE_LOAD" },
    { NGX_HTTP_WT_H3_ID_ERROR, "H3_ID_ERROR" },
    { NGX_HTTP_WT_H3_SETTINGS_ERROR, "H3_SETTINGS_ERROR" },
    { NGX_HTTP_WT_H3_MISSING_SETTINGS, "H3_MISSING_SETTINGS" },
    { NGX_HTTP_WT_H3_REQUEST_REJECTED, "H3_REQUEST_REJECTED" },
    { NGX_HTTP_WT_H3_REQUEST_CANCELLED, "H3_REQUEST_CANCELLED" },
    { NGX_HTTP_WT_H3_REQUEST_INCOMPLETE, "H3_REQUEST_INCOMPLETE" },
    { NGX_HTTP_WT_H3_MESSAGE_ERROR, "H3_MESSAGE_ERROR" },
    { NGX_HTTP_WT_H3_CONNECT_ERROR, "H3_CONNECT_ERROR" },
    { NGX_HTTP_WT_H3_VERSION_FALLBACK, "H3_VERSION_FALLBACK" },
    { NGX_HTTP_WT_ERR_BUFFERED_REJECTED, "WT_BUFFERED_STREAM_REJECTED" },
    { NGX_HTTP_WT_ERR_SESSION_GONE, "WT_SESSION_GONE" },
    { NGX_HTTP_WT_ERR_FLOW_CONTROL, "WT_FLOW_CONTROL_ERROR" },
    { NGX_HTTP_WT_ERR_ALPN, "WT_ALPN_ERROR" },
    { NGX_HTTP_WT_ERR_REQUIREMENTS_NOT_MET, "WT_REQUIREMENTS_NOT_MET" },
    { 0, NULL }
};


uint64_t
ngx_http_wt_error_from_app(uint32_t code)
{
    /* every 31st codepoint of HTTP/3 is reserved: step over them */

    return NGX_HTTP_WT_ERR_APP_FIRST + code + code / 0x1e;
}


ngx_int_t
ngx_http_wt_error_to_app(uint64_t h3code, uint32_t *code)
{
    uint64_t  n;

    if (h3code < NGX_HTTP_WT_ERR_APP_FIRST
        || h3code > NGX_HTTP_WT_ERR_APP_LAST)
    {
        return NGX_DECLINED;
    }

    /* RFC 9114, 8.1.  Reserved are codes of the form 0x1f * N + 0x21 */

    if ((h3code - 0x21) % 0x1f == 0) {
        return NGX_DECLINED;
    }

    n = h3code - NGX_HTTP_WT_ERR_APP_FIRST;

    *code = (uint32_t) (n - n / 0x1f);

    return NGX_OK;
}


const char *
ngx_http_wt_error_name(uint64_t h3code)
{
    uint32_t                         code;
    const ngx_http_wt_error_name_t  *e;

    for (e = ngx_http_wt_error_names; e->name; e++) {
        if (e->code == h3code) {
            return e->name;
        }
    }

    if (ngx_http_wt_error_to_app(h3code, &code) == NGX_OK) {
        return "application error";
    }

    return "unknown error";
}
