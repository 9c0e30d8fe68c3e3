/*
 * What is gRPC about a call: its request, the status it ends with, and what a
 * status means to a client.
 *
 * https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event_connect.h>
#include <ngx_http.h>
#include <ngx_http_wt_grpc.h>
#include <ngx_http_wt_tls.h>


/* fields of a request besides the metadata */
#define NGX_HTTP_WT_GRPC_OWN          9

/* RFC 9113, 6.5.2: what a field counts besides its bytes */
#define NGX_HTTP_WT_GRPC_FIELD        32

/* "TimeoutValue -> {positive integer as ASCII string of at most 8 digits}" */
#define NGX_HTTP_WT_GRPC_TIMEOUT_MAX  99999999


/* RFC 9113, 7.  Error Codes, those that gRPC gives a meaning */

#define NGX_HTTP_WT_GRPC_REFUSED_STREAM       0x7
#define NGX_HTTP_WT_GRPC_CANCEL               0x8
#define NGX_HTTP_WT_GRPC_ENHANCE_YOUR_CALM    0xb
#define NGX_HTTP_WT_GRPC_INADEQUATE_SECURITY  0xc


typedef struct {
    ngx_str_t           name;
    ngx_uint_t          http;
    ngx_http_wt_by_e    by;
} ngx_http_wt_grpc_meaning_t;


static ngx_int_t ngx_http_wt_grpc_add(ngx_array_t *headers, const char *name,
    ngx_str_t *value);
static ngx_int_t ngx_http_wt_grpc_timeout(ngx_array_t *headers,
    ngx_msec_t timeout);
static ngx_int_t ngx_http_wt_grpc_metadata(ngx_array_t *headers,
    ngx_http_wt_header_t *h, ngx_uint_t n);
static ngx_int_t ngx_http_wt_grpc_check(ngx_array_t *headers, ngx_log_t *log);
static ngx_uint_t ngx_http_wt_grpc_name_valid(ngx_str_t *name);
static ngx_int_t ngx_http_wt_grpc_value(ngx_http_wt_header_t *h,
    ngx_pool_t *pool);
static void ngx_http_wt_grpc_decode(ngx_http_wt_grpc_response_t *resp,
    ngx_str_t *value);
static ngx_http_wt_grpc_status_e ngx_http_wt_grpc_of_http(ngx_uint_t status);
static ngx_http_wt_grpc_status_e ngx_http_wt_grpc_of_reset(uint32_t code);


/* by the number of the status */

static const ngx_http_wt_grpc_meaning_t  ngx_http_wt_grpc_meanings[] = {

    { ngx_string("OK"),
      NGX_HTTP_BAD_GATEWAY, NGX_HTTP_WT_BY_WORKER_LOST },

    { ngx_string("CANCELLED"),
      NGX_HTTP_BAD_GATEWAY, NGX_HTTP_WT_BY_WORKER_LOST },

    { ngx_string("UNKNOWN"),
      NGX_HTTP_BAD_GATEWAY, NGX_HTTP_WT_BY_WORKER_LOST },

    { ngx_string("INVALID_ARGUMENT"),
      NGX_HTTP_BAD_REQUEST, NGX_HTTP_WT_BY_WORKER_LOST },

    { ngx_string("DEADLINE_EXCEEDED"),
      NGX_HTTP_GATEWAY_TIME_OUT, NGX_HTTP_WT_BY_TIMEOUT },

    { ngx_string("NOT_FOUND"),
      NGX_HTTP_NOT_FOUND, NGX_HTTP_WT_BY_WORKER_LOST },

    { ngx_string("ALREADY_EXISTS"),
      NGX_HTTP_CONFLICT, NGX_HTTP_WT_BY_WORKER_LOST },

    { ngx_string("PERMISSION_DENIED"),
      NGX_HTTP_FORBIDDEN, NGX_HTTP_WT_BY_WORKER_LOST },

    { ngx_string("RESOURCE_EXHAUSTED"),
      NGX_HTTP_TOO_MANY_REQUESTS, NGX_HTTP_WT_BY_LIMIT },

    { ngx_string("FAILED_PRECONDITION"),
      NGX_HTTP_BAD_REQUEST, NGX_HTTP_WT_BY_WORKER_LOST },

    { ngx_string("ABORTED"),
      NGX_HTTP_CONFLICT, NGX_HTTP_WT_BY_WORKER_LOST },

    { ngx_string("OUT_OF_RANGE"),
      NGX_HTTP_BAD_REQUEST, NGX_HTTP_WT_BY_WORKER_LOST },

    { ngx_string("UNIMPLEMENTED"),
      NGX_HTTP_NOT_IMPLEMENTED, NGX_HTTP_WT_BY_WORKER_LOST },

    { ngx_string("INTERNAL"),
      NGX_HTTP_BAD_GATEWAY, NGX_HTTP_WT_BY_WORKER_LOST },

    { ngx_string("UNAVAILABLE"),
      NGX_HTTP_SERVICE_UNAVAILABLE, NGX_HTTP_WT_BY_WORKER_LOST },

    { ngx_string("DATA_LOSS"),
      NGX_HTTP_BAD_GATEWAY, NGX_HTTP_WT_BY_WORKER_LOST },

    { ngx_string("UNAUTHENTICATED"),
      NGX_HTTP_UNAUTHORIZED, NGX_HTTP_WT_BY_WORKER_LOST }
};


ngx_int_t
ngx_http_wt_grpc_peer(ngx_http_request_t *r, ngx_http_wt_backend_conf_t *conf,
    ngx_peer_connection_t *pc, ngx_http_wt_h2_peer_t *peer)
{
    ngx_memzero(peer, sizeof(ngx_http_wt_h2_peer_t));

    peer->sockaddr = pc->sockaddr;
    peer->socklen = pc->socklen;
    peer->name = pc->name;
    peer->conf = &conf->upstream;
    peer->keepalive = conf->grpc_keepalive;
    peer->window = ngx_max(conf->upstream.buffer_size, 65535);

    if (conf->upstream.ssl == NULL) {
        return NGX_OK;
    }

    return ngx_http_wt_tls_name(r, &conf->upstream, &conf->authority,
                                &peer->ssl_name);
}


ngx_int_t
ngx_http_wt_grpc_request(ngx_http_wt_h2_stream_t *st,
    ngx_http_wt_grpc_request_t *req, ngx_log_t *log)
{
    ngx_int_t     rc;
    ngx_str_t     scheme;
    ngx_pool_t   *pool;
    ngx_array_t  *headers;

    static ngx_str_t  post = ngx_string("POST");
    static ngx_str_t  te = ngx_string("trailers");
    static ngx_str_t  type = ngx_string("application/grpc");
    static ngx_str_t  encoding = ngx_string("identity");
    static ngx_str_t  agent = ngx_string("nginx-webtransport/"
                                         NGX_HTTP_WT_VERSION);

    pool = ngx_create_pool(NGX_DEFAULT_POOL_SIZE, log);
    if (pool == NULL) {
        return NGX_ERROR;
    }

    rc = NGX_ERROR;

    if (req->conf->upstream.ssl) {
        ngx_str_set(&scheme, "https");
    } else {
        ngx_str_set(&scheme, "http");
    }

    headers = ngx_array_create(pool, NGX_HTTP_WT_GRPC_OWN + req->nheaders,
                               sizeof(ngx_http_wt_header_t));

    if (headers
        && ngx_http_wt_grpc_add(headers, ":method", &post) == NGX_OK
        && ngx_http_wt_grpc_add(headers, ":scheme", &scheme) == NGX_OK
        && ngx_http_wt_grpc_add(headers, ":path", &req->path) == NGX_OK
        && ngx_http_wt_grpc_add(headers, ":authority", &req->conf->authority)
           == NGX_OK
        && ngx_http_wt_grpc_add(headers, "te", &te) == NGX_OK
        && ngx_http_wt_grpc_timeout(headers, req->timeout) == NGX_OK
        && ngx_http_wt_grpc_add(headers, "content-type", &type) == NGX_OK
        && ngx_http_wt_grpc_add(headers, "grpc-accept-encoding", &encoding)
           == NGX_OK
        && ngx_http_wt_grpc_add(headers, "user-agent", &agent) == NGX_OK
        && ngx_http_wt_grpc_metadata(headers, req->headers, req->nheaders)
           == NGX_OK)
    {
        rc = ngx_http_wt_grpc_check(headers, log);
    }

    if (rc == NGX_OK) {
        rc = ngx_http_wt_h2_request(st, headers->elts, headers->nelts);
    }

    ngx_destroy_pool(pool);

    return rc;
}


static ngx_int_t
ngx_http_wt_grpc_add(ngx_array_t *headers, const char *name, ngx_str_t *value)
{
    ngx_http_wt_header_t  *h;

    h = ngx_array_push(headers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    h->name.data = (u_char *) name;
    h->name.len = ngx_strlen(name);
    h->value = *value;

    return NGX_OK;
}


static ngx_int_t
ngx_http_wt_grpc_timeout(ngx_array_t *headers, ngx_msec_t timeout)
{
    u_char     *p;
    ngx_str_t   value;

    if (timeout == 0) {
        return NGX_OK;
    }

    p = ngx_pnalloc(headers->pool, NGX_INT_T_LEN + 1);
    if (p == NULL) {
        return NGX_ERROR;
    }

    value.data = p;

    if (timeout <= NGX_HTTP_WT_GRPC_TIMEOUT_MAX) {
        value.len = ngx_sprintf(p, "%Mm", timeout) - p;

    } else {
        timeout = ngx_min(timeout / 1000, NGX_HTTP_WT_GRPC_TIMEOUT_MAX);
        value.len = ngx_sprintf(p, "%MS", timeout) - p;
    }

    return ngx_http_wt_grpc_add(headers, "grpc-timeout", &value);
}


/* what cannot be metadata is in the Connect event alone */

static ngx_int_t
ngx_http_wt_grpc_metadata(ngx_array_t *headers, ngx_http_wt_header_t *h,
    ngx_uint_t n)
{
    ngx_int_t              rc;
    ngx_uint_t             i;
    ngx_http_wt_header_t   field, *copy;

    for (i = 0; i < n; i++) {

        if (h[i].value.len == 0 || !ngx_http_wt_grpc_name_valid(&h[i].name)) {
            continue;
        }

        field = h[i];

        rc = ngx_http_wt_grpc_value(&field, headers->pool);

        if (rc == NGX_ERROR) {
            return NGX_ERROR;
        }

        if (rc == NGX_DECLINED) {
            continue;
        }

        copy = ngx_array_push(headers);
        if (copy == NULL) {
            return NGX_ERROR;
        }

        *copy = field;
    }

    return NGX_OK;
}


/* NGX_DECLINED: no server has to take as much */

static ngx_int_t
ngx_http_wt_grpc_check(ngx_array_t *headers, ngx_log_t *log)
{
    size_t                 size;
    ngx_uint_t             i;
    ngx_http_wt_header_t  *h;

    size = 0;
    h = headers->elts;

    for (i = 0; i < headers->nelts; i++) {
        size += h[i].name.len + h[i].value.len + NGX_HTTP_WT_GRPC_FIELD;
    }

    if (size <= NGX_HTTP_WT_GRPC_FIELDS) {
        return NGX_OK;
    }

    ngx_log_error(NGX_LOG_ERR, log, 0,
                  "headers of a call to webtransport worker have %uz bytes, "
                  "more than %d: see \"webtransport_set_header\"",
                  size, NGX_HTTP_WT_GRPC_FIELDS);

    return NGX_DECLINED;
}


/* "Header-Name -> 1*( %x30-39 / %x61-7A / "_" / "-" / ".")" */

static ngx_uint_t
ngx_http_wt_grpc_name_valid(ngx_str_t *name)
{
    u_char       ch;
    ngx_uint_t   i;

    /* RFC 9113, 8.2.2, and what is ours to say */

    static ngx_str_t  reserved[] = {
        ngx_string("connection"),
        ngx_string("content-length"),
        ngx_string("content-type"),
        ngx_string("host"),
        ngx_string("keep-alive"),
        ngx_string("proxy-connection"),
        ngx_string("te"),
        ngx_string("transfer-encoding"),
        ngx_string("upgrade"),
        ngx_string("user-agent"),
        ngx_null_string
    };

    if (name->len == 0
        || (name->len >= 5 && ngx_memcmp(name->data, "grpc-", 5) == 0))
    {
        return 0;
    }

    for (i = 0; i < name->len; i++) {
        ch = name->data[i];

        if (!(ch >= 'a' && ch <= 'z') && !(ch >= '0' && ch <= '9')
            && ch != '_' && ch != '-' && ch != '.')
        {
            return 0;
        }
    }

    for (i = 0; reserved[i].len; i++) {
        if (name->len == reserved[i].len
            && ngx_memcmp(name->data, reserved[i].data, name->len) == 0)
        {
            return 0;
        }
    }

    return 1;
}


/* NGX_DECLINED: there is no way to say this */

static ngx_int_t
ngx_http_wt_grpc_value(ngx_http_wt_header_t *h, ngx_pool_t *pool)
{
    u_char     *p;
    ngx_str_t   src;
    ngx_uint_t  i;

    src = h->value;

    if (h->name.len > 4
        && ngx_memcmp(h->name.data + h->name.len - 4, "-bin", 4) == 0)
    {
        p = ngx_pnalloc(pool, ngx_base64_encoded_length(src.len));
        if (p == NULL) {
            return NGX_ERROR;
        }

        h->value.data = p;
        ngx_encode_base64(&h->value, &src);

        /* "implementations [...] should emit un-padded values" */

        while (h->value.data[h->value.len - 1] == '=') {
            h->value.len--;
        }

        return NGX_OK;
    }

    /* "ASCII-Value -> 1*( %x20-%x7E )" */

    for (i = 0; i < src.len; i++) {
        if (src.data[i] < 0x20 || src.data[i] > 0x7e) {
            return NGX_DECLINED;
        }
    }

    /* RFC 9113, 8.2.1: a field value must not start or end with a space */

    while (src.len && src.data[0] == ' ') {
        src.data++;
        src.len--;
    }

    while (src.len && src.data[src.len - 1] == ' ') {
        src.len--;
    }

    h->value = src;

    return src.len ? NGX_OK : NGX_DECLINED;
}


void
ngx_http_wt_grpc_frame(u_char *p, size_t len)
{
    p[0] = 0;
    p[1] = (u_char) (len >> 24);
    p[2] = (u_char) (len >> 16);
    p[3] = (u_char) (len >> 8);
    p[4] = (u_char) len;
}


void
ngx_http_wt_grpc_header(ngx_http_wt_grpc_response_t *resp, ngx_str_t *name,
    ngx_str_t *value)
{
    size_t     len;
    ngx_int_t  n;

    if (ngx_http_wt_str_is(name, ":status")) {
        n = ngx_atoi(value->data, value->len);
        resp->http_status = (n == NGX_ERROR) ? 0 : n;
        return;
    }

    if (ngx_http_wt_str_is(name, "content-type")) {

        /* also application/grpc+proto, and parameters */

        len = sizeof("application/grpc") - 1;

        resp->grpc = value->len >= len
                     && ngx_strncasecmp(value->data,
                                        (u_char *) "application/grpc", len)
                        == 0
                     && (value->len == len || value->data[len] == '+'
                         || value->data[len] == ';');
        return;
    }

    if (ngx_http_wt_str_is(name, "grpc-status")) {
        n = ngx_atoi(value->data, value->len);

        resp->has_status = 1;
        resp->status = (n < 0 || n > NGX_HTTP_WT_GRPC_UNAUTHENTICATED)
                           ? NGX_HTTP_WT_GRPC_UNKNOWN : n;
        return;
    }

    if (ngx_http_wt_str_is(name, "grpc-message")) {
        ngx_http_wt_grpc_decode(resp, value);
    }
}


/* "Percent-Encoded"; what is not goes as it is, but keeps the log readable */

static void
ngx_http_wt_grpc_decode(ngx_http_wt_grpc_response_t *resp, ngx_str_t *value)
{
    u_char      ch, *p, *last;
    size_t      n;
    ngx_int_t   code;

    p = value->data;
    last = p + value->len;

    for (n = 0; p != last && n < NGX_HTTP_WT_GRPC_MESSAGE; n++) {

        ch = *p++;

        if (ch == '%' && last - p >= 2) {

            code = ngx_hextoi(p, 2);

            if (code != NGX_ERROR) {
                ch = (u_char) code;
                p += 2;
            }
        }

        resp->message[n] = (ch < 0x20 || ch > 0x7e) ? '?' : ch;
    }

    resp->message_len = n;
}


ngx_int_t
ngx_http_wt_grpc_headers(ngx_http_wt_grpc_response_t *resp)
{
    /*
     * Without a status of gRPC, that of HTTP counts: it is somebody else who
     * answers, such as a proxy in between.
     */

    if (resp->has_status) {
        return NGX_DECLINED;
    }

    if (resp->http_status != NGX_HTTP_OK) {
        ngx_http_wt_grpc_fail(resp,
                              ngx_http_wt_grpc_of_http(resp->http_status),
                              "http status %ui", resp->http_status);
        return NGX_ERROR;
    }

    if (!resp->grpc) {
        ngx_http_wt_grpc_fail(resp, NGX_HTTP_WT_GRPC_UNKNOWN,
                              "content type is not \"application/grpc\"");
        return NGX_ERROR;
    }

    return NGX_OK;
}


static ngx_http_wt_grpc_status_e
ngx_http_wt_grpc_of_http(ngx_uint_t status)
{
    /* http-grpc-status-mapping.md of grpc */

    switch (status) {

    case NGX_HTTP_BAD_REQUEST:
        return NGX_HTTP_WT_GRPC_INTERNAL;

    case NGX_HTTP_UNAUTHORIZED:
        return NGX_HTTP_WT_GRPC_UNAUTHENTICATED;

    case NGX_HTTP_FORBIDDEN:
        return NGX_HTTP_WT_GRPC_PERMISSION_DENIED;

    case NGX_HTTP_NOT_FOUND:
        return NGX_HTTP_WT_GRPC_UNIMPLEMENTED;

    case NGX_HTTP_TOO_MANY_REQUESTS:
    case NGX_HTTP_BAD_GATEWAY:
    case NGX_HTTP_SERVICE_UNAVAILABLE:
    case NGX_HTTP_GATEWAY_TIME_OUT:
        return NGX_HTTP_WT_GRPC_UNAVAILABLE;

    default:
        return NGX_HTTP_WT_GRPC_UNKNOWN;
    }
}


void
ngx_http_wt_grpc_end(ngx_http_wt_grpc_response_t *resp,
    ngx_http_wt_h2_stream_t *st, ngx_http_wt_h2_end_e how)
{
    if (resp->has_status) {
        return;
    }

    switch (how) {

    case NGX_HTTP_WT_H2_DONE:
        ngx_http_wt_grpc_fail(resp, NGX_HTTP_WT_GRPC_UNKNOWN,
                              "call ended without a status");
        break;

    case NGX_HTTP_WT_H2_RESET:
        ngx_http_wt_grpc_fail(resp, ngx_http_wt_grpc_of_reset(st->error_code),
                              "call reset with code %uD", st->error_code);
        break;

    case NGX_HTTP_WT_H2_REFUSED:
        ngx_http_wt_grpc_fail(resp, NGX_HTTP_WT_GRPC_UNAVAILABLE,
                              "call refused");
        break;

    case NGX_HTTP_WT_H2_LOST:
        ngx_http_wt_grpc_fail(resp, NGX_HTTP_WT_GRPC_UNAVAILABLE,
                              "connection lost");
        break;

    case NGX_HTTP_WT_H2_TIMEOUT:
        ngx_http_wt_grpc_fail(resp, NGX_HTTP_WT_GRPC_DEADLINE_EXCEEDED,
                              "it does not read");
        break;

    case NGX_HTTP_WT_H2_UNREACHABLE:
        ngx_http_wt_grpc_fail(resp, NGX_HTTP_WT_GRPC_UNAVAILABLE,
                              "no connection");
        break;

    default: /* NGX_HTTP_WT_H2_ERROR */
        ngx_http_wt_grpc_fail(resp, NGX_HTTP_WT_GRPC_INTERNAL,
                              NGX_HTTP_WT_GRPC_NO_MEMORY);
        break;
    }
}


static ngx_http_wt_grpc_status_e
ngx_http_wt_grpc_of_reset(uint32_t code)
{
    switch (code) {

    case NGX_HTTP_WT_GRPC_REFUSED_STREAM:
        return NGX_HTTP_WT_GRPC_UNAVAILABLE;

    case NGX_HTTP_WT_GRPC_CANCEL:
        return NGX_HTTP_WT_GRPC_CANCELLED;

    case NGX_HTTP_WT_GRPC_ENHANCE_YOUR_CALM:
        return NGX_HTTP_WT_GRPC_RESOURCE_EXHAUSTED;

    case NGX_HTTP_WT_GRPC_INADEQUATE_SECURITY:
        return NGX_HTTP_WT_GRPC_PERMISSION_DENIED;

    default:
        return NGX_HTTP_WT_GRPC_INTERNAL;
    }
}


void
ngx_http_wt_grpc_fail(ngx_http_wt_grpc_response_t *resp,
    ngx_http_wt_grpc_status_e status, const char *fmt, ...)
{
    u_char   *p;
    va_list   args;

    resp->has_status = 1;
    resp->local = 1;
    resp->status = status;

    va_start(args, fmt);
    p = ngx_vslprintf(resp->message, resp->message + NGX_HTTP_WT_GRPC_MESSAGE,
                      fmt, args);
    va_end(args);

    resp->message_len = p - resp->message;
}


u_char *
ngx_http_wt_grpc_text(ngx_http_wt_grpc_response_t *resp, u_char *p,
    u_char *last)
{
    if (resp->local) {
        return ngx_slprintf(p, last, "%*s", resp->message_len, resp->message);
    }

    p = ngx_slprintf(p, last, "grpc status %ui %V", resp->status,
                     &ngx_http_wt_grpc_meanings[resp->status].name);

    if (resp->message_len) {
        p = ngx_slprintf(p, last, ": %*s", resp->message_len, resp->message);
    }

    return p;
}


ngx_uint_t
ngx_http_wt_grpc_http(ngx_http_wt_grpc_response_t *resp)
{
    return ngx_http_wt_grpc_meanings[resp->status].http;
}


ngx_http_wt_by_e
ngx_http_wt_grpc_by(ngx_http_wt_grpc_response_t *resp)
{
    return ngx_http_wt_grpc_meanings[resp->status].by;
}
