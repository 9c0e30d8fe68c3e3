/*
 * The first event of a session: the client's request, as the worker gets it.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_http.h>
#include <ngx_http_wt_conn.h>
#include <ngx_http_wt_protocols.h>
#include <ngx_http_wt_relay.h>
#include <ngx_http_wt_utf8.h>


static ngx_int_t ngx_http_wt_connect_write(ngx_http_wt_backend_t *b,
    ngx_http_wt_msg_connect_t *connect);
static void ngx_http_wt_connect_target(ngx_http_request_t *r,
    ngx_http_wt_msg_connect_t *connect);
static void ngx_http_wt_connect_limits(ngx_http_wt_backend_t *b,
    ngx_http_wt_msg_connect_t *connect);
static ngx_int_t ngx_http_wt_connect_context(ngx_http_wt_backend_t *b,
    ngx_pool_t *pool);
static ngx_int_t ngx_http_wt_connect_addresses(ngx_http_request_t *r,
    ngx_http_wt_msg_connect_t *connect, ngx_pool_t *pool);
static ngx_int_t ngx_http_wt_connect_params(ngx_http_wt_backend_t *b,
    ngx_http_wt_msg_connect_t *connect, ngx_pool_t *pool);
static ngx_int_t ngx_http_wt_connect_headers(ngx_http_wt_backend_t *b,
    ngx_http_wt_msg_connect_t *connect, ngx_pool_t *pool);
static ngx_int_t ngx_http_wt_connect_set_headers(ngx_http_wt_backend_t *b,
    ngx_array_t *headers);
static ngx_uint_t ngx_http_wt_connect_replaced(ngx_array_t *values,
    ngx_table_elt_t *h);
static ngx_int_t ngx_http_wt_connect_string(ngx_str_t *dst, ngx_str_t *src,
    ngx_pool_t *pool);


ngx_int_t
ngx_http_wt_relay_connect(ngx_http_wt_backend_t *b)
{
    ngx_int_t                   rc;
    ngx_pool_t                 *pool;
    ngx_http_request_t         *r;
    ngx_http_wt_msg_connect_t   connect;

    r = b->request;

    ngx_memzero(&connect, sizeof(ngx_http_wt_msg_connect_t));

    connect.version = NGX_HTTP_WT_MSG_VERSION;
    ngx_str_set(&connect.scheme, "https");

    ngx_http_wt_connect_target(r, &connect);
    ngx_http_wt_connect_limits(b, &connect);

    b->protocols = ngx_http_wt_protocols_offered(r);
    connect.protocols = b->protocols;

    /* a session may last for days, its request's pool need not keep this */

    pool = ngx_create_pool(NGX_DEFAULT_POOL_SIZE, r->connection->log);
    if (pool == NULL) {
        return NGX_ERROR;
    }

    rc = NGX_ERROR;

    if (ngx_http_wt_connect_context(b, pool) == NGX_OK
        && ngx_http_wt_connect_addresses(r, &connect, pool) == NGX_OK
        && ngx_http_wt_connect_params(b, &connect, pool) == NGX_OK
        && ngx_http_wt_connect_headers(b, &connect, pool) == NGX_OK)
    {
        rc = ngx_http_wt_connect_write(b, &connect);
    }

    ngx_destroy_pool(pool);

    return rc;
}


static ngx_int_t
ngx_http_wt_connect_write(ngx_http_wt_backend_t *b,
    ngx_http_wt_msg_connect_t *connect)
{
    u_char     *p, *last;
    size_t      len, size;
    ngx_str_t  *id;

    id = &b->session->id;

    size = 0;

    if (!b->conf->transport->batches) {
        size = ngx_http_wt_context_batch_len(&b->context, id, 0);
        if (size == 0) {
            return NGX_ERROR;
        }
    }

    len = ngx_http_wt_msg_connect_len(connect);
    if (len == 0) {
        return NGX_ERROR;
    }

    p = ngx_http_wt_event_long(b, size + len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    last = p + size + len;

    if (size) {
        p = ngx_http_wt_context_batch(p, last, &b->context, id, 0);
        if (p == NULL) {
            return NGX_ERROR;
        }
    }

    p = ngx_http_wt_msg_connect(p, last, connect);
    if (p == NULL) {
        return NGX_ERROR;
    }

    ngx_http_wt_event_done(b, p);

    return NGX_OK;
}


static void
ngx_http_wt_connect_target(ngx_http_request_t *r,
    ngx_http_wt_msg_connect_t *connect)
{
    u_char     *p;
    ngx_str_t  *uri;

    if (r->host_start) {
        connect->authority.data = r->host_start;
        connect->authority.len = r->host_end - r->host_start;

    } else if (r->headers_in.host) {
        connect->authority = r->headers_in.host->value;
    }

    uri = &r->unparsed_uri;
    p = ngx_strlchr(uri->data, uri->data + uri->len, '?');

    connect->path = *uri;

    if (p) {
        connect->path.len = p - uri->data;
        connect->query.data = p + 1;
        connect->query.len = uri->data + uri->len - connect->query.data;
    }
}


static void
ngx_http_wt_connect_limits(ngx_http_wt_backend_t *b,
    ngx_http_wt_msg_connect_t *connect)
{
    ngx_uint_t              uni;
    ngx_http_wt_session_t  *s;

    s = b->session;

    connect->draft.data = (u_char *) s->draft;
    connect->draft.len = s->draft ? ngx_strlen(s->draft) : 0;

    connect->has_limits = 1;
    connect->limits.max_datagram =
                                (uint32_t) ngx_http_wt_session_datagram_max(s);
    connect->limits.rtt_us = (uint32_t) ngx_http_wt_glue_rtt(s->conn->qconn);

    connect->stream_window = (uint32_t) b->conf->upstream.buffer_size;
    connect->max_command = (uint32_t) ngx_http_wt_relay_max_command(b);

    for (uni = 0; uni < 2; uni++) {
        b->allowed[uni] = ngx_min(ngx_http_wt_session_streams_left(s, uni),
                                  0xffffffff);
    }

    connect->streams_bidi = (uint32_t) b->allowed[0];
    connect->streams_uni = (uint32_t) b->allowed[1];
}


static ngx_int_t
ngx_http_wt_connect_context(ngx_http_wt_backend_t *b, ngx_pool_t *pool)
{
    ngx_int_t                  rc;
    ngx_str_t                  value;
    ngx_http_wt_msg_update_t  *user;

    b->context.location = b->conf->location;
    b->context.node = b->conf->node;

    if (b->conf->user == NULL) {
        return NGX_OK;
    }

    user = ngx_pcalloc(pool, sizeof(ngx_http_wt_msg_update_t));
    if (user == NULL
        || ngx_http_complex_value(b->request, b->conf->user, &value) != NGX_OK
        || ngx_http_wt_connect_string(&user->user_id, &value, pool) != NGX_OK)
    {
        return NGX_ERROR;
    }

    rc = ngx_http_wt_context_update(&b->context, user,
                                    b->request->connection->log);

    if (rc == NGX_DECLINED) {
        ngx_http_wt_session_log(NGX_LOG_ERR, b->session, 0,
                                "\"webtransport_user\" has %uz bytes, more "
                                "than %d", value.len, NGX_HTTP_WT_CONTEXT_MAX);
    }

    return (rc == NGX_OK) ? NGX_OK : NGX_ERROR;
}


static ngx_int_t
ngx_http_wt_connect_addresses(ngx_http_request_t *r,
    ngx_http_wt_msg_connect_t *connect, ngx_pool_t *pool)
{
    ngx_str_t          addr;
    const char        *name;
    ngx_connection_t  *c;
    u_char             buf[NGX_SOCKADDR_STRLEN];

    c = r->connection;

    if (ngx_http_wt_connect_string(&connect->remote_addr, &c->addr_text, pool)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    connect->remote_port = ngx_inet_get_port(c->sockaddr);

    addr.data = buf;
    addr.len = NGX_SOCKADDR_STRLEN;

    if (ngx_connection_local_sockaddr(c, &addr, 0) != NGX_OK) {
        return NGX_ERROR;
    }

    connect->server_addr.data = ngx_pstrdup(pool, &addr);
    if (connect->server_addr.data == NULL) {
        return NGX_ERROR;
    }

    connect->server_addr.len = addr.len;
    connect->server_port = ngx_inet_get_port(c->local_sockaddr);

    if (c->ssl == NULL) {
        return NGX_OK;
    }

    name = SSL_get_servername(c->ssl->connection, TLSEXT_NAMETYPE_host_name);
    if (name == NULL) {
        return NGX_OK;
    }

    addr.data = (u_char *) name;
    addr.len = ngx_strlen(name);

    return ngx_http_wt_connect_string(&connect->server_name, &addr, pool);
}


static ngx_int_t
ngx_http_wt_connect_params(ngx_http_wt_backend_t *b,
    ngx_http_wt_msg_connect_t *connect, ngx_pool_t *pool)
{
    ngx_str_t                     value;
    ngx_uint_t                    i;
    ngx_array_t                  *params;
    ngx_http_wt_msg_param_t      *param;
    ngx_http_wt_backend_value_t  *v;

    params = b->conf->params;

    if (params == NULL || params->nelts == 0) {
        return NGX_OK;
    }

    param = ngx_palloc(pool, params->nelts * sizeof(ngx_http_wt_msg_param_t));
    if (param == NULL) {
        return NGX_ERROR;
    }

    v = params->elts;

    for (i = 0; i < params->nelts; i++) {

        if (ngx_http_complex_value(b->request, &v[i].value, &value) != NGX_OK
            || ngx_http_wt_connect_string(&param[i].value, &value, pool)
               != NGX_OK)
        {
            return NGX_ERROR;
        }

        param[i].key = v[i].name;
    }

    connect->params = param;
    connect->params_count = params->nelts;

    return NGX_OK;
}


static ngx_int_t
ngx_http_wt_connect_headers(ngx_http_wt_backend_t *b,
    ngx_http_wt_msg_connect_t *connect, ngx_pool_t *pool)
{
    ngx_uint_t                 i;
    ngx_array_t               *headers;
    ngx_list_part_t           *part;
    ngx_table_elt_t           *h;
    ngx_http_wt_msg_header_t  *header;

    headers = ngx_array_create(pool, 32, sizeof(ngx_http_wt_msg_header_t));
    if (headers == NULL) {
        return NGX_ERROR;
    }

    part = &b->request->headers_in.headers.part;
    h = part->elts;

    for (i = 0; /* void */; i++) {

        if (i >= part->nelts) {
            if (part->next == NULL) {
                break;
            }

            part = part->next;
            h = part->elts;
            i = 0;
        }

        if (h[i].hash == 0
            || !ngx_http_wt_utf8_valid(h[i].lowcase_key, h[i].key.len)
            || ngx_http_wt_connect_replaced(b->conf->headers, &h[i]))
        {
            continue;
        }

        header = ngx_array_push(headers);
        if (header == NULL) {
            return NGX_ERROR;
        }

        header->name.data = h[i].lowcase_key;
        header->name.len = h[i].key.len;
        header->value = h[i].value;
    }

    if (ngx_http_wt_connect_set_headers(b, headers) != NGX_OK) {
        return NGX_ERROR;
    }

    connect->headers = headers->elts;
    connect->headers_count = headers->nelts;

    return NGX_OK;
}


static ngx_int_t
ngx_http_wt_connect_set_headers(ngx_http_wt_backend_t *b, ngx_array_t *headers)
{
    ngx_str_t                     value;
    ngx_uint_t                    i;
    ngx_http_wt_msg_header_t     *header;
    ngx_http_wt_backend_value_t  *v;

    if (b->conf->headers == NULL) {
        return NGX_OK;
    }

    v = b->conf->headers->elts;

    for (i = 0; i < b->conf->headers->nelts; i++) {

        if (ngx_http_complex_value(b->request, &v[i].value, &value) != NGX_OK) {
            return NGX_ERROR;
        }

        if (value.len == 0) {
            continue;
        }

        header = ngx_array_push(headers);
        if (header == NULL) {
            return NGX_ERROR;
        }

        header->name = v[i].name;
        header->value = value;
    }

    return NGX_OK;
}


static ngx_uint_t
ngx_http_wt_connect_replaced(ngx_array_t *values, ngx_table_elt_t *h)
{
    ngx_uint_t                    i;
    ngx_http_wt_backend_value_t  *v;

    if (values == NULL) {
        return 0;
    }

    v = values->elts;

    for (i = 0; i < values->nelts; i++) {
        if (v[i].name.len == h->key.len
            && ngx_strncasecmp(v[i].name.data, h->lowcase_key, h->key.len)
               == 0)
        {
            return 1;
        }
    }

    return 0;
}


/*
 * Protobuf's strings are UTF-8, and parsers refuse a message with others: what
 * is not becomes readable rather than fatal.
 */

static ngx_int_t
ngx_http_wt_connect_string(ngx_str_t *dst, ngx_str_t *src, ngx_pool_t *pool)
{
    size_t   i;
    u_char  *p;

    *dst = *src;

    if (ngx_http_wt_utf8_valid(src->data, src->len)) {
        return NGX_OK;
    }

    p = ngx_pnalloc(pool, src->len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    for (i = 0; i < src->len; i++) {
        p[i] = (src->data[i] < 0x80) ? src->data[i] : '?';
    }

    dst->data = p;

    return NGX_OK;
}
