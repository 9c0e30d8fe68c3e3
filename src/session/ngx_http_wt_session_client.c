/*
 * The client's side of a session: the response, and capsules on the CONNECT
 * stream in both directions.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_http.h>
#include <ngx_http_wt_capsule.h>
#include <ngx_http_wt_conn.h>
#include <ngx_http_wt_error.h>
#include <ngx_http_wt_proto.h>
#include <ngx_http_wt_session.h>


/* bytes of capsules read at a time */
#define NGX_HTTP_WT_SESSION_READ  4096


static ngx_int_t ngx_http_wt_session_send_accept(ngx_http_wt_session_t *s,
    ngx_str_t *protocol, ngx_http_wt_header_t *headers, ngx_uint_t n);
static ngx_int_t ngx_http_wt_session_add_header(ngx_http_request_t *r,
    const char *name, size_t name_len, ngx_str_t *value);
static ngx_int_t ngx_http_wt_session_add_headers(ngx_http_request_t *r,
    ngx_http_wt_header_t *headers, ngx_uint_t n);
static ngx_int_t ngx_http_wt_session_draft_header(ngx_http_request_t *r);
static ngx_int_t ngx_http_wt_session_protocol_header(ngx_http_wt_session_t *s,
    ngx_str_t *protocol);
static void ngx_http_wt_session_read_handler(ngx_http_request_t *r);
static void ngx_http_wt_session_write_handler(ngx_http_request_t *r);
static ssize_t ngx_http_wt_session_recv(ngx_http_request_t *r, u_char *buf,
    size_t size);
static void ngx_http_wt_session_flush_peer(ngx_http_wt_session_t *s);
static void ngx_http_wt_session_read(ngx_http_wt_session_t *s);
static ngx_int_t ngx_http_wt_session_parse(ngx_http_wt_session_t *s,
    u_char *p, u_char *last);
static void ngx_http_wt_session_capsule(ngx_http_wt_session_t *s,
    ngx_http_wt_capsule_t *capsule);
static void ngx_http_wt_session_malformed(ngx_http_wt_session_t *s,
    ngx_int_t code);
static void ngx_http_wt_session_gone(ngx_http_wt_session_t *s);
static void ngx_http_wt_session_send(ngx_http_wt_session_t *s,
    u_char *data, size_t len);
static void ngx_http_wt_session_flush(ngx_http_wt_session_t *s);


ngx_int_t
ngx_http_wt_session_accept(ngx_http_wt_session_t *s, ngx_str_t *protocol,
    ngx_http_wt_header_t *headers, ngx_uint_t n)
{
    ngx_http_request_t  *r;

    if (s->ended || s->state != NGX_HTTP_WT_SESSION_CONNECTING) {
        return NGX_ERROR;
    }

    r = s->request;

    s->accepted = 1;
    s->state = NGX_HTTP_WT_SESSION_OPEN;

    if (ngx_http_wt_session_send_accept(s, protocol, headers, n) != NGX_OK) {
        ngx_http_wt_session_close(s, NGX_HTTP_WT_BY_LOST, 0, NULL);
        return NGX_ERROR;
    }

    ngx_http_wt_session_log(NGX_LOG_INFO, s, 0, "accepted by %V, %s",
                            &s->peer_ops->name, s->draft);

    r->read_event_handler = ngx_http_wt_session_read_handler;
    r->write_event_handler = ngx_http_wt_session_write_handler;

    ngx_http_wt_session_start_idle(s);

    /* the 200 goes first: a client drops datagrams that overtake it */

    ngx_http_wt_glue_flush(s->conn->qconn);

    ngx_http_wt_conn_release(s->conn, s);

    /* capsules may have come with the request */

    if (!s->ended) {
        ngx_post_event(r->connection->read, &ngx_posted_events);
    }

    return s->ended ? NGX_ERROR : NGX_OK;
}


static ngx_int_t
ngx_http_wt_session_send_accept(ngx_http_wt_session_t *s, ngx_str_t *protocol,
    ngx_http_wt_header_t *headers, ngx_uint_t n)
{
    ngx_int_t            rc;
    ngx_http_request_t  *r;

    r = s->request;

    r->headers_out.status = NGX_HTTP_OK;
    r->disable_not_modified = 1;

    if (ngx_http_wt_session_draft_header(r) != NGX_OK
        || ngx_http_wt_session_protocol_header(s, protocol) != NGX_OK
        || ngx_http_wt_session_add_headers(r, headers, n) != NGX_OK)
    {
        return NGX_ERROR;
    }

    rc = ngx_http_send_header(r);

    if (rc == NGX_ERROR || rc > NGX_OK) {
        return NGX_ERROR;
    }

    rc = ngx_http_send_special(r, NGX_HTTP_FLUSH);

    return (rc == NGX_ERROR) ? NGX_ERROR : NGX_OK;
}


static ngx_int_t
ngx_http_wt_session_add_header(ngx_http_request_t *r, const char *name,
    size_t name_len, ngx_str_t *value)
{
    ngx_table_elt_t  *h;

    h = ngx_list_push(&r->headers_out.headers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    h->hash = 1;
    h->next = NULL;
    h->key.data = (u_char *) name;
    h->key.len = name_len;
    h->value = *value;

    return NGX_OK;
}


static ngx_int_t
ngx_http_wt_session_add_headers(ngx_http_request_t *r,
    ngx_http_wt_header_t *headers, ngx_uint_t n)
{
    ngx_str_t   value;
    ngx_uint_t  i;
    u_char     *name;

    for (i = 0; i < n; i++) {

        name = ngx_pstrdup(r->pool, &headers[i].name);

        value.len = headers[i].value.len;
        value.data = ngx_pstrdup(r->pool, &headers[i].value);

        if (name == NULL || value.data == NULL
            || ngx_http_wt_session_add_header(r, (char *) name,
                                              headers[i].name.len, &value)
               != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


/* older Chromium insists on this header, draft-ietf-webtrans-http3-02, 3.3 */

static ngx_int_t
ngx_http_wt_session_draft_header(ngx_http_request_t *r)
{
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h;

    static ngx_str_t  request = ngx_string("sec-webtransport-http3-draft02");
    static ngx_str_t  response = ngx_string("sec-webtransport-http3-draft");
    static ngx_str_t  value = ngx_string("draft02");

    part = &r->headers_in.headers.part;
    h = part->elts;

    for (i = 0; /* void */ ; i++) {

        if (i >= part->nelts) {
            if (part->next == NULL) {
                return NGX_OK;
            }

            part = part->next;
            h = part->elts;
            i = 0;
        }

        if (h[i].key.len == request.len
            && ngx_memcmp(h[i].lowcase_key, request.data, request.len) == 0)
        {
            return ngx_http_wt_session_add_header(r, (char *) response.data,
                                                  response.len, &value);
        }
    }
}


/* WT-Protocol, a structured field String: RFC 9651, 3.3.3 */

static ngx_int_t
ngx_http_wt_session_protocol_header(ngx_http_wt_session_t *s,
    ngx_str_t *protocol)
{
    u_char              *p;
    ngx_str_t            value;
    ngx_uint_t           i;
    ngx_http_request_t  *r;

    if (protocol == NULL || protocol->len == 0) {
        return NGX_OK;
    }

    r = s->request;

    s->protocol.data = ngx_pstrdup(r->pool, protocol);
    if (s->protocol.data == NULL) {
        return NGX_ERROR;
    }

    s->protocol.len = protocol->len;

    value.data = ngx_pnalloc(r->pool, 2 * protocol->len + 2);
    if (value.data == NULL) {
        return NGX_ERROR;
    }

    p = value.data;
    *p++ = '"';

    for (i = 0; i < protocol->len; i++) {
        if (protocol->data[i] == '"' || protocol->data[i] == '\\') {
            *p++ = '\\';
        }

        *p++ = protocol->data[i];
    }

    *p++ = '"';
    value.len = p - value.data;

    return ngx_http_wt_session_add_header(r, "wt-protocol",
                                          sizeof("wt-protocol") - 1, &value);
}


ngx_int_t
ngx_http_wt_session_send_reject(ngx_http_wt_session_t *s, ngx_uint_t status,
    ngx_http_wt_header_t *headers, ngx_uint_t n, ngx_str_t *body)
{
    ngx_int_t            rc;
    ngx_buf_t           *b;
    ngx_chain_t          out;
    ngx_http_request_t  *r;

    r = s->request;

    r->headers_out.status = status;
    r->headers_out.content_length_n = body ? body->len : 0;

    if (ngx_http_wt_session_add_headers(r, headers, n) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    b = ngx_create_temp_buf(r->pool, body ? ngx_max(body->len, 1) : 1);
    if (b == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (body) {
        b->last = ngx_cpymem(b->last, body->data, body->len);
    }

    b->memory = (b->last != b->pos);
    b->temporary = 0;
    b->last_buf = 1;
    b->last_in_chain = 1;

    rc = ngx_http_send_header(r);

    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
        return rc;
    }

    out.buf = b;
    out.next = NULL;

    return ngx_http_output_filter(r, &out);
}


void
ngx_http_wt_session_wait_handler(ngx_http_request_t *r)
{
    ngx_http_wt_session_t  *s;

    s = ngx_http_get_module_ctx(r, ngx_http_webtransport_module);

    if (s == NULL) {
        /* a filter has made an error page of our response */
        ngx_http_test_reading(r);
        return;
    }

    if (r->connection->read->error) {
        ngx_http_wt_session_gone(s);
    }
}


static void
ngx_http_wt_session_read_handler(ngx_http_request_t *r)
{
    ngx_http_wt_session_t  *s;

    s = ngx_http_get_module_ctx(r, ngx_http_webtransport_module);

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                   "wt session %V read state:%d", &s->id, s->state);

    ngx_http_wt_session_flush_peer(s);
    ngx_http_wt_session_read(s);

    if (ngx_handle_read_event(r->connection->read, 0) != NGX_OK) {
        ngx_http_wt_session_gone(s);
    }
}


static void
ngx_http_wt_session_write_handler(ngx_http_request_t *r)
{
    ngx_http_wt_session_t  *s;

    s = ngx_http_get_module_ctx(r, ngx_http_webtransport_module);

    if (r->connection->write->error) {

        /*
         * The client has stopped our side: there is no session without it.
         * But some close with WT_CLOSE_SESSION, FIN and STOP_SENDING at once,
         * so the code may be here already.
         */

        ngx_http_wt_session_flush_peer(s);
        ngx_http_wt_session_read(s);
        ngx_http_wt_session_gone(s);
        return;
    }

    ngx_http_wt_session_flush(s);
}


/*
 * Bytes that arrived in front of the end are only announced yet, if both have
 * been received in one turn of the event loop.
 */

static void
ngx_http_wt_session_flush_peer(ngx_http_wt_session_t *s)
{
    if (s->state == NGX_HTTP_WT_SESSION_OPEN) {
        s->peer_ops->flush(s);
    }
}


static void
ngx_http_wt_session_read(ngx_http_wt_session_t *s)
{
    u_char               buf[NGX_HTTP_WT_SESSION_READ];
    ssize_t              n;
    ngx_int_t            rc;

    for ( ;; ) {

        n = ngx_http_wt_session_recv(s->request, buf, sizeof(buf));

        if (n == NGX_AGAIN) {
            return;
        }

        if (n == NGX_ERROR) {
            ngx_http_wt_session_gone(s);
            return;
        }

        if (n == 0) {
            break;
        }

        rc = ngx_http_wt_session_parse(s, buf, buf + n);

        if (rc != NGX_OK) {
            ngx_http_wt_session_malformed(s, rc);
            return;
        }
    }

    if (s->ended) {

        /* this is what we lingered for */

        ngx_http_wt_session_settle(s);
        return;
    }

    rc = ngx_http_wt_capsule_finish(&s->capsules);

    if (rc != NGX_OK) {
        ngx_http_wt_session_malformed(s, rc);
        return;
    }

    /* draft-ietf-webtrans-http3, 6: a FIN is a close with code 0 */

    ngx_http_wt_session_close(s, NGX_HTTP_WT_BY_CLIENT, 0, NULL);
}


static ssize_t
ngx_http_wt_session_recv(ngx_http_request_t *r, u_char *buf, size_t size)
{
    size_t      n;
    ngx_buf_t  *b;

    /* nginx may have read more than the headers */

    b = r->header_in;
    n = ngx_min(size, (size_t) (b->last - b->pos));

    if (n) {
        ngx_memcpy(buf, b->pos, n);
        b->pos += n;
        return n;
    }

    return r->connection->recv(r->connection, buf, size);
}


/* NGX_OK or an HTTP/3 error code */

static ngx_int_t
ngx_http_wt_session_parse(ngx_http_wt_session_t *s, u_char *p, u_char *last)
{
    ngx_int_t                      rc;
    ngx_http_wt_capsule_t          capsule;
    ngx_http_wt_capsule_parser_t  *parser;

    parser = &s->capsules;

    for ( ;; ) {

        rc = ngx_http_wt_capsule_parse(parser, &p, last, &capsule);

        if (rc == NGX_OK) {
            ngx_http_wt_session_capsule(s, &capsule);
            continue;
        }

        if (rc == NGX_DECLINED) {

            /* a value in pieces; at most twice in a session */

            parser->buf = ngx_pnalloc(s->request->pool, parser->need);
            if (parser->buf == NULL) {
                return NGX_HTTP_WT_H3_INTERNAL_ERROR;
            }

            parser->size = parser->need;
            continue;
        }

        return (rc == NGX_AGAIN) ? NGX_OK : rc;
    }
}


static void
ngx_http_wt_session_capsule(ngx_http_wt_session_t *s,
    ngx_http_wt_capsule_t *capsule)
{
    if (s->ended) {
        return;
    }

    if (s->state != NGX_HTTP_WT_SESSION_OPEN
        && capsule->type != NGX_HTTP_WT_CAPSULE_CLOSE)
    {
        /* the peer has closed the session, and is being flushed */
        return;
    }

    switch (capsule->type) {

    case NGX_HTTP_WT_CAPSULE_CLOSE:
        ngx_http_wt_session_close(s, NGX_HTTP_WT_BY_CLIENT,
                                  (uint32_t) capsule->value, &capsule->data);
        break;

    case NGX_HTTP_WT_CAPSULE_DRAIN:
        s->peer_ops->drain(s);
        break;

    case NGX_HTTP_WT_CAPSULE_DATAGRAM:
        (void) ngx_http_wt_session_input(s, capsule->data.data,
                                         capsule->data.len);
        break;

    default:
        /* flow control, which is not negotiated, means nothing */
        break;
    }
}


static void
ngx_http_wt_session_malformed(ngx_http_wt_session_t *s, ngx_int_t code)
{
    ngx_http_wt_session_log(NGX_LOG_INFO, s, 0,
                            "client violated the capsule protocol: %s",
                            ngx_http_wt_error_name(code));

    if (s->capsules.fatal && s->conn) {
        ngx_http_wt_glue_conn_close(s->conn->qconn, code,
                                    "malformed CONNECT stream");
    }

    if (s->ended) {
        ngx_http_wt_glue_request_reset(s->request, code);
        ngx_http_wt_session_settle(s);
        return;
    }

    ngx_http_wt_session_error(s, NGX_HTTP_WT_BY_PROTOCOL, code);
}


/* the CONNECT stream was reset or stopped */

static void
ngx_http_wt_session_gone(ngx_http_wt_session_t *s)
{
    if (s->ended) {
        ngx_http_wt_session_settle(s);
        return;
    }

    ngx_http_wt_session_error(s, NGX_HTTP_WT_BY_CLIENT,
                              NGX_HTTP_WT_ERR_SESSION_GONE);
}


void
ngx_http_wt_session_send_close(ngx_http_wt_session_t *s, ngx_uint_t capsule)
{
    u_char  *p;
    u_char   buf[NGX_HTTP_WT_CAPSULE_CLOSE_LEN];

    if (capsule) {
        p = ngx_http_wt_capsule_close(buf, s->close_code, &s->close_reason);
        ngx_http_wt_session_send(s, buf, p - buf);
    }

    s->fin_pending = 1;

    ngx_http_wt_session_flush(s);
}


void
ngx_http_wt_session_drain(ngx_http_wt_session_t *s)
{
    u_char  buf[NGX_HTTP_WT_CAPSULE_DRAIN_LEN];

    if (s->state != NGX_HTTP_WT_SESSION_OPEN || s->drained) {
        return;
    }

    s->drained = 1;

    (void) ngx_http_wt_capsule_drain(buf);

    ngx_http_wt_session_send(s, buf, sizeof(buf));
    ngx_http_wt_session_flush(s);
}


/* a session sends two capsules at most: they may stay in the request's pool */

static void
ngx_http_wt_session_send(ngx_http_wt_session_t *s, u_char *data, size_t len)
{
    ngx_buf_t     *b;
    ngx_chain_t   *cl, **ll;
    ngx_pool_t    *pool;

    pool = s->request->pool;

    b = ngx_create_temp_buf(pool, len);
    cl = ngx_alloc_chain_link(pool);

    if (b == NULL || cl == NULL) {
        /* the end of the stream tells the client as much as it can */
        return;
    }

    b->last = ngx_cpymem(b->last, data, len);

    cl->buf = b;
    cl->next = NULL;

    for (ll = &s->out; *ll; ll = &(*ll)->next) { /* void */ }

    *ll = cl;
}


static void
ngx_http_wt_session_flush(ngx_http_wt_session_t *s)
{
    ngx_connection_t    *c;
    ngx_http_request_t  *r;

    r = s->request;
    c = r->connection;

    if (c->write->error) {
        return;
    }

    /* the response may be longer than nginx's buffer */

    if (r->out) {
        if (ngx_http_output_filter(r, NULL) == NGX_ERROR || r->out) {
            return;
        }
    }

    if (s->out) {
        s->out = c->send_chain(c, s->out, 0);

        if (s->out == NGX_CHAIN_ERROR) {
            s->out = NULL;
            return;
        }
    }

    if (s->out == NULL && s->fin_pending) {
        s->fin_pending = 0;
        (void) ngx_http_wt_glue_request_fin(r);
    }
}
