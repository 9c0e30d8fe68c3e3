/*
 * A batch by HTTP/1.1: one POST.
 *
 * The answer is read completely before any of it is used.  nginx's functions
 * parse it, and nginx's "keepalive" directive keeps the connection.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_http.h>
#include <ngx_http_wt.h>
#include <ngx_http_wt_call.h>
#include <ngx_http_wt_glue_compat.h>
#include <ngx_http_wt_json.h>
#include <ngx_http_wt_tls.h>
#include <ngx_http_wt_upstream.h>


/* status line and header fields of an answer, those of 1xx included */
#define NGX_HTTP_WT_HTTP_HEADER    16384

/* what is allocated for a body of unknown length to begin with */
#define NGX_HTTP_WT_HTTP_BODY      4096

/* JSON may be that much longer than protobuf: names, if commands are short */
#define NGX_HTTP_WT_HTTP_JSON(n)   (8 * (n) + 4096)

/* how many reads before others get their turn */
#define NGX_HTTP_WT_HTTP_READS     16

/* the longest Retry-After, in seconds */
#define NGX_HTTP_WT_HTTP_AFTER     3600

/* what is quoted of a content type */
#define NGX_HTTP_WT_HTTP_TYPE      64

/* the longest reason */
#define NGX_HTTP_WT_HTTP_REASON    160

#define NGX_HTTP_WT_HTTP_AGENT     "nginx-webtransport/" NGX_HTTP_WT_VERSION


typedef enum {
    NGX_HTTP_WT_HTTP_STATUS = 0,
    NGX_HTTP_WT_HTTP_FIELDS,
    NGX_HTTP_WT_HTTP_LENGTH,       /* a body of known length, or none */
    NGX_HTTP_WT_HTTP_CHUNKED,
    NGX_HTTP_WT_HTTP_CLOSE         /* the end of the connection ends it */
} ngx_http_wt_http_state_e;


/* the answer on the present connection */

typedef struct {
    ngx_http_wt_http_state_e    state;
    ngx_http_status_t           status;
    ngx_http_chunked_t          chunks;

    u_char                     *body;        /* in the call's pool */
    size_t                      len;
    size_t                      size;
    off_t                       rest;        /* of a known length */
    off_t                       length;      /* Content-Length, -1: none */

    size_t                      ntype;
    u_char                      type[NGX_HTTP_WT_HTTP_TYPE];

    unsigned                    received:1;
    unsigned                    chunked:1;
    unsigned                    encoded:1;   /* Content-Encoding, or another
                                                Transfer-Encoding */
    unsigned                    close:1;     /* Connection: close */
    unsigned                    keep:1;      /* Connection: keep-alive */
} ngx_http_wt_http_answer_t;


/*
 * In the call's pool, call->link from begin() to done() or cancel(), both of
 * which go through ngx_http_wt_http_release().
 */

typedef struct {
    ngx_http_wt_call_t         *call;
    ngx_connection_t           *connection;

    ngx_str_t                   pieces[3];   /* of the request */
    ngx_uint_t                  npieces;
    ngx_buf_t                   bufs[3];
    ngx_chain_t                 chain[3];
    ngx_chain_t                *out;         /* what is still to be sent */

    ngx_buf_t                   in;
    size_t                      limit;       /* of the body */
    ngx_http_wt_http_answer_t   answer;

    const char                 *reason;      /* of the latest failure */
    unsigned                    broken:1;    /* nothing can be sent */
} ngx_http_wt_http_t;


typedef struct {
    ngx_str_t                   name;
    ngx_int_t                 (*handler)(ngx_http_wt_http_t *http,
                                  ngx_str_t *value);
} ngx_http_wt_http_field_t;


static ngx_int_t ngx_http_wt_http_begin(ngx_http_wt_call_t *call);
static void ngx_http_wt_http_cancel(ngx_http_wt_call_t *call);
static void ngx_http_wt_http_release(ngx_http_wt_http_t *http,
    ngx_uint_t failed);
static void ngx_http_wt_http_close(ngx_http_wt_http_t *http);
static void ngx_http_wt_http_done(ngx_http_wt_http_t *http,
    ngx_http_wt_call_end_e how, ngx_uint_t status, const char *reason);

static ngx_int_t ngx_http_wt_http_request(ngx_http_wt_http_t *http);
static ngx_int_t ngx_http_wt_http_head(ngx_http_wt_http_t *http, size_t len);
static ngx_uint_t ngx_http_wt_http_sends(ngx_str_t *name);
static ngx_http_wt_header_t *ngx_http_wt_http_find(ngx_http_wt_call_t *call,
    const char *name, size_t len);

static void ngx_http_wt_http_connected(void *data, ngx_connection_t *c);
static void ngx_http_wt_http_failed(void *data, ngx_uint_t status);
static void ngx_http_wt_http_secure(ngx_http_wt_http_t *http);
static void ngx_http_wt_http_secured(ngx_connection_t *c, ngx_int_t rc);
static void ngx_http_wt_http_start(ngx_http_wt_http_t *http);
static void ngx_http_wt_http_write_handler(ngx_event_t *wev);
static void ngx_http_wt_http_send(ngx_http_wt_http_t *http);
static void ngx_http_wt_http_read_handler(ngx_event_t *rev);
static void ngx_http_wt_http_read(ngx_http_wt_http_t *http);
static void ngx_http_wt_http_eof(ngx_http_wt_http_t *http, ssize_t n);
static void ngx_http_wt_http_lost(ngx_http_wt_http_t *http, ngx_uint_t status,
    const char *reason);

static ngx_int_t ngx_http_wt_http_parse(ngx_http_wt_http_t *http);
static ngx_int_t ngx_http_wt_http_parse_status(ngx_http_wt_http_t *http);
static ngx_int_t ngx_http_wt_http_parse_fields(ngx_http_wt_http_t *http);
static ngx_int_t ngx_http_wt_http_field(ngx_http_wt_http_t *http);
static ngx_int_t ngx_http_wt_http_field_length(ngx_http_wt_http_t *http,
    ngx_str_t *value);
static ngx_int_t ngx_http_wt_http_field_transfer(ngx_http_wt_http_t *http,
    ngx_str_t *value);
static ngx_int_t ngx_http_wt_http_field_encoding(ngx_http_wt_http_t *http,
    ngx_str_t *value);
static ngx_int_t ngx_http_wt_http_field_type(ngx_http_wt_http_t *http,
    ngx_str_t *value);
static ngx_int_t ngx_http_wt_http_field_connection(ngx_http_wt_http_t *http,
    ngx_str_t *value);
static ngx_int_t ngx_http_wt_http_field_after(ngx_http_wt_http_t *http,
    ngx_str_t *value);
static ngx_int_t ngx_http_wt_http_fields_done(ngx_http_wt_http_t *http);
static ngx_int_t ngx_http_wt_http_error(ngx_http_wt_http_t *http);
static ngx_int_t ngx_http_wt_http_parse_length(ngx_http_wt_http_t *http);
static ngx_int_t ngx_http_wt_http_parse_chunks(ngx_http_wt_http_t *http);
static ngx_int_t ngx_http_wt_http_body(ngx_http_wt_http_t *http, size_t len);
static ngx_int_t ngx_http_wt_http_fail(ngx_http_wt_http_t *http,
    const char *fmt, ...);

static void ngx_http_wt_http_finish(ngx_http_wt_http_t *http);
static ngx_int_t ngx_http_wt_http_decode(ngx_http_wt_http_t *http);
static ngx_uint_t ngx_http_wt_http_type_fits(ngx_http_wt_http_t *http);


const ngx_http_wt_call_ops_t  ngx_http_wt_call_http = {
    ngx_string("http"),
    ngx_http_wt_http_begin,
    ngx_http_wt_http_cancel
};


static const ngx_http_wt_http_field_t  ngx_http_wt_http_fields[] = {
    { ngx_string("Content-Length"), ngx_http_wt_http_field_length },
    { ngx_string("Transfer-Encoding"), ngx_http_wt_http_field_transfer },
    { ngx_string("Content-Encoding"), ngx_http_wt_http_field_encoding },
    { ngx_string("Content-Type"), ngx_http_wt_http_field_type },
    { ngx_string("Connection"), ngx_http_wt_http_field_connection },
    { ngx_string("Retry-After"), ngx_http_wt_http_field_after },
    { ngx_null_string, NULL }
};


static ngx_int_t
ngx_http_wt_http_begin(ngx_http_wt_call_t *call)
{
    u_char                  *p;
    ngx_http_wt_http_t      *http;
    ngx_http_wt_upstream_t  *up;

    http = ngx_pcalloc(call->pool, sizeof(ngx_http_wt_http_t));
    p = ngx_palloc(call->pool, NGX_HTTP_WT_HTTP_HEADER);

    if (http == NULL || p == NULL) {
        return NGX_ERROR;
    }

    http->call = call;
    http->in.start = p;
    http->in.end = p + NGX_HTTP_WT_HTTP_HEADER;
    http->in.temporary = 1;

    http->limit = (call->conf->format == NGX_HTTP_WT_FORMAT_JSON)
                      ? NGX_HTTP_WT_HTTP_JSON(call->max_response)
                      : call->max_response;

    if (ngx_http_wt_http_request(http) != NGX_OK) {
        return NGX_ERROR;
    }

    call->link = http;

    up = &call->upstream;

    up->id = call->id;
    up->request = call->request;
    up->conf = &call->conf->upstream;
    up->data = http;
    up->backend = &call->peer;
    up->connected = ngx_http_wt_http_connected;
    up->failed = ngx_http_wt_http_failed;

    if (ngx_http_wt_upstream_connect(up) != NGX_OK) {
        ngx_http_wt_http_release(http, 0);
        return NGX_ERROR;
    }

    return NGX_OK;
}


static void
ngx_http_wt_http_cancel(ngx_http_wt_call_t *call)
{
    if (call->link) {
        ngx_http_wt_http_release(call->link, 0);
    }
}


static void
ngx_http_wt_http_release(ngx_http_wt_http_t *http, ngx_uint_t failed)
{
    ngx_http_wt_call_t  *call;

    call = http->call;
    call->link = NULL;

    ngx_http_wt_http_close(http);
    ngx_http_wt_upstream_free(&call->upstream, failed);
}


static void
ngx_http_wt_http_close(ngx_http_wt_http_t *http)
{
    ngx_connection_t  *c;

    c = http->connection;

    if (c) {
        http->connection = NULL;
        ngx_http_wt_upstream_close_connection(c);
    }
}


static void
ngx_http_wt_http_done(ngx_http_wt_http_t *http, ngx_http_wt_call_end_e how,
    ngx_uint_t status, const char *reason)
{
    ngx_http_wt_call_t  *call;

    call = http->call;

    call->status = status;
    call->reason = reason;

    ngx_http_wt_http_release(http, 0);

    call->done(call, how);
}


/* the request, which is the same for all workers that are tried */

static ngx_int_t
ngx_http_wt_http_request(ngx_http_wt_http_t *http)
{
    size_t               len;
    ngx_uint_t           i;
    ngx_http_wt_call_t  *call;

    call = http->call;

    if (call->conf->format == NGX_HTTP_WT_FORMAT_JSON) {

        if (ngx_http_wt_json_events(call->body, 2, &http->pieces[1],
                                    call->pool)
            != NGX_OK)
        {
            return NGX_ERROR;
        }

        http->npieces = 2;

    } else {
        http->pieces[1] = call->body[0];
        http->pieces[2] = call->body[1];
        http->npieces = 3;
    }

    len = 0;

    for (i = 1; i < http->npieces; i++) {
        len += http->pieces[i].len;
    }

    return ngx_http_wt_http_head(http, len);
}


static ngx_int_t
ngx_http_wt_http_head(ngx_http_wt_http_t *http, size_t len)
{
    u_char                      *p;
    size_t                       size;
    ngx_str_t                   *type, *host, agent;
    ngx_uint_t                   i;
    ngx_http_wt_call_t          *call;
    ngx_http_wt_header_t        *h;
    ngx_http_wt_backend_conf_t  *conf;

    static ngx_str_t  json = ngx_string("application/json");
    static ngx_str_t  protobuf = ngx_string("application/proto");

    call = http->call;
    conf = call->conf;

    type = (conf->format == NGX_HTTP_WT_FORMAT_JSON) ? &json : &protobuf;

    h = ngx_http_wt_http_find(call, "host", sizeof("host") - 1);
    host = h ? &h->value : &conf->authority;

    ngx_str_set(&agent, NGX_HTTP_WT_HTTP_AGENT);

    h = ngx_http_wt_http_find(call, "user-agent", sizeof("user-agent") - 1);
    if (h) {
        agent = h->value;
    }

    size = sizeof("POST  HTTP/1.1" CRLF "Host: " CRLF "User-Agent: " CRLF
                  "Content-Type: " CRLF "Accept: " CRLF "Content-Length: " CRLF
                  CRLF)
           + conf->uri.len + host->len + agent.len + 2 * type->len
           + NGX_SIZE_T_LEN;

    for (i = 0; i < call->nheaders; i++) {
        size += call->headers[i].name.len + call->headers[i].value.len
                + sizeof(": " CRLF);
    }

    p = ngx_pnalloc(call->pool, size);
    if (p == NULL) {
        return NGX_ERROR;
    }

    http->pieces[0].data = p;

    p = ngx_sprintf(p, "POST %V HTTP/1.1" CRLF "Host: %V" CRLF
                    "User-Agent: %V" CRLF "Content-Type: %V" CRLF
                    "Accept: %V" CRLF "Content-Length: %uz" CRLF,
                    &conf->uri, host, &agent, type, type, len);

    for (i = 0; i < call->nheaders; i++) {
        h = &call->headers[i];

        if (ngx_http_wt_http_sends(&h->name)) {
            p = ngx_sprintf(p, "%V: %V" CRLF, &h->name, &h->value);
        }
    }

    *p++ = CR;
    *p++ = LF;

    http->pieces[0].len = p - http->pieces[0].data;

    return NGX_OK;
}


/* fields of webtransport_set_header: not those that we have to set */

static ngx_uint_t
ngx_http_wt_http_sends(ngx_str_t *name)
{
    ngx_uint_t  i;

    static ngx_str_t  ours[] = {
        ngx_string("accept"),
        ngx_string("accept-encoding"),
        ngx_string("connection"),
        ngx_string("content-length"),
        ngx_string("content-type"),
        ngx_string("expect"),
        ngx_string("host"),
        ngx_string("keep-alive"),
        ngx_string("te"),
        ngx_string("trailer"),
        ngx_string("transfer-encoding"),
        ngx_string("upgrade"),
        ngx_string("user-agent"),
        ngx_null_string
    };

    for (i = 0; ours[i].len; i++) {
        if (name->len == ours[i].len
            && ngx_memcmp(name->data, ours[i].data, name->len) == 0)
        {
            return 0;
        }
    }

    return 1;
}


static ngx_http_wt_header_t *
ngx_http_wt_http_find(ngx_http_wt_call_t *call, const char *name, size_t len)
{
    ngx_uint_t  i;

    for (i = 0; i < call->nheaders; i++) {
        if (call->headers[i].name.len == len
            && ngx_memcmp(call->headers[i].name.data, name, len) == 0)
        {
            return &call->headers[i];
        }
    }

    return NULL;
}


static void
ngx_http_wt_http_connected(void *data, ngx_connection_t *c)
{
    ngx_http_wt_http_t *http = data;

    ngx_uint_t           cached;
    ngx_http_wt_call_t  *call;

    call = http->call;
    cached = call->request->upstream->peer.cached;

    http->connection = c;

    if (cached && (c->ssl != NULL) != (call->conf->upstream.ssl != NULL)) {

        /* an upstream{} that is used with and without TLS */

        ngx_http_wt_http_close(http);
        ngx_http_wt_upstream_again(&call->upstream);
        return;
    }

    c->data = http;
    c->requests++;

    if (call->conf->upstream.ssl && c->ssl == NULL) {
        ngx_http_wt_http_secure(http);
        return;
    }

    ngx_http_wt_http_start(http);
}


static void
ngx_http_wt_http_failed(void *data, ngx_uint_t status)
{
    ngx_http_wt_http_t *http = data;

    if (http->reason == NULL) {
        http->reason = "no worker could be reached";
    }

    ngx_http_wt_http_done(http, NGX_HTTP_WT_CALL_RETRY, status, http->reason);
}


static void
ngx_http_wt_http_secure(ngx_http_wt_http_t *http)
{
    ngx_str_t                  name;
    ngx_connection_t          *c;
    ngx_http_wt_call_t        *call;
    ngx_http_upstream_conf_t  *conf;

    c = http->connection;
    call = http->call;
    conf = &call->conf->upstream;

    if (ngx_http_wt_tls_name(call->request, conf, &call->conf->authority,
                             &name)
        != NGX_OK)
    {
        ngx_http_wt_http_done(http, NGX_HTTP_WT_CALL_RETRY,
                              NGX_HTTP_INTERNAL_SERVER_ERROR,
                              "no memory for the call");
        return;
    }

    c->log->action = "TLS handshaking with webtransport worker";

    ngx_add_timer(c->write, conf->connect_timeout);

    ngx_http_wt_tls_connect(c, conf, &name, ngx_http_wt_http_secured);
}


static void
ngx_http_wt_http_secured(ngx_connection_t *c, ngx_int_t rc)
{
    ngx_uint_t           status;
    ngx_http_wt_http_t  *http;

    http = c->data;

    if (rc != NGX_OK) {
        status = c->write->timedout ? NGX_HTTP_GATEWAY_TIME_OUT
                                    : NGX_HTTP_BAD_GATEWAY;

        ngx_http_wt_http_lost(http, status,
                              "the TLS handshake with the worker failed");
        return;
    }

    if (c->write->timer_set) {
        ngx_del_timer(c->write);
    }

    ngx_http_wt_http_start(http);
}


static void
ngx_http_wt_http_start(ngx_http_wt_http_t *http)
{
    ngx_buf_t            *b;
    ngx_uint_t            i;
    ngx_connection_t     *c;
    ngx_http_request_t   *r;

    c = http->connection;
    r = http->call->request;

    c->log->action = "calling webtransport worker";

    c->read->handler = ngx_http_wt_http_read_handler;
    c->write->handler = ngx_http_wt_http_write_handler;

    for (i = 0; i < http->npieces; i++) {
        b = &http->bufs[i];

        ngx_memzero(b, sizeof(ngx_buf_t));

        b->pos = http->pieces[i].data;
        b->last = b->pos + http->pieces[i].len;
        b->memory = 1;

        http->chain[i].buf = b;
        http->chain[i].next = &http->chain[i + 1];
    }

    http->bufs[i - 1].flush = 1;
    http->chain[i - 1].next = NULL;

    http->out = &http->chain[0];
    http->broken = 0;

    http->in.pos = http->in.start;
    http->in.last = http->in.start;

    ngx_memzero(&http->answer, sizeof(ngx_http_wt_http_answer_t));
    http->answer.length = -1;

    r->state = 0;

    /* the time for the whole answer */

    ngx_add_timer(c->read, http->call->timeout);

    ngx_http_wt_http_send(http);

    if (c->read->ready) {

        /* what came with the connection or the handshake */

        ngx_post_event(c->read, &ngx_posted_events);
    }

    if (ngx_handle_read_event(c->read, 0) != NGX_OK) {
        ngx_http_wt_http_lost(http, NGX_HTTP_BAD_GATEWAY,
                              "the connection to the worker failed");
    }
}


static void
ngx_http_wt_http_write_handler(ngx_event_t *wev)
{
    ngx_connection_t    *c;
    ngx_http_wt_http_t  *http;

    c = wev->data;
    http = c->data;

    ngx_log_debug1(NGX_LOG_DEBUG_HTTP, c->log, 0,
                   "wt session %V http write", http->call->id);

    if (wev->timedout) {
        ngx_http_wt_http_lost(http, NGX_HTTP_GATEWAY_TIME_OUT,
                              "the worker does not read");
        return;
    }

    ngx_http_wt_http_send(http);
}


/* never ends the call: what has been sent may already have been answered */

static void
ngx_http_wt_http_send(ngx_http_wt_http_t *http)
{
    ngx_event_t       *wev;
    ngx_connection_t  *c;

    c = http->connection;
    wev = c->write;

    if (http->broken || (http->out == NULL && !c->buffered)) {
        return;
    }

    http->out = c->send_chain(c, http->out, 0);

    if (c->sent) {
        http->call->sent = 1;
    }

    if (wev->timer_set) {
        ngx_del_timer(wev);
    }

    if (http->out == NGX_CHAIN_ERROR) {
        http->out = NULL;
        goto broken;
    }

    if (http->out || c->buffered) {
        ngx_add_timer(wev, http->call->conf->upstream.send_timeout);
    }

    if (ngx_handle_write_event(wev, 0) == NGX_OK) {
        return;
    }

broken:

    http->broken = 1;

    ngx_post_event(c->read, &ngx_posted_events);
}


static void
ngx_http_wt_http_read_handler(ngx_event_t *rev)
{
    ngx_connection_t    *c;
    ngx_http_wt_http_t  *http;

    c = rev->data;
    http = c->data;

    ngx_log_debug1(NGX_LOG_DEBUG_HTTP, c->log, 0,
                   "wt session %V http read", http->call->id);

    if (rev->timedout) {
        ngx_http_wt_http_lost(http, NGX_HTTP_GATEWAY_TIME_OUT,
                              "the worker did not answer in time");
        return;
    }

    if (c->close) {
        ngx_http_wt_http_lost(http, NGX_HTTP_BAD_GATEWAY,
                              "nginx is exiting");
        return;
    }

    ngx_http_wt_http_read(http);
}


static void
ngx_http_wt_http_read(ngx_http_wt_http_t *http)
{
    ssize_t            n;
    ngx_buf_t         *in;
    ngx_int_t          rc;
    ngx_uint_t         i;
    ngx_connection_t  *c;

    c = http->connection;
    in = &http->in;

    for (i = 0; i < NGX_HTTP_WT_HTTP_READS; i++) {

        if (http->answer.state > NGX_HTTP_WT_HTTP_FIELDS) {

            /* all of it has gone to the body */

            in->pos = in->start;
            in->last = in->start;
        }

        if (in->last == in->end) {
            (void) ngx_http_wt_http_fail(http, "the header of the answer is "
                                         "too long");
            return;
        }

        n = c->recv(c, in->last, in->end - in->last);

        if (n == NGX_AGAIN) {

            if (ngx_handle_read_event(c->read, 0) != NGX_OK) {
                ngx_http_wt_http_eof(http, NGX_ERROR);
            }

            return;
        }

        if (n == 0 || n == NGX_ERROR) {
            ngx_http_wt_http_eof(http, n);
            return;
        }

        in->last += n;
        http->answer.received = 1;

        rc = ngx_http_wt_http_parse(http);

        if (rc == NGX_ERROR) {

            /* the call has ended */

            return;
        }

        if (rc == NGX_OK) {
            ngx_http_wt_http_finish(http);
            return;
        }
    }

    ngx_post_event(c->read, &ngx_posted_next_events);
}


static void
ngx_http_wt_http_eof(ngx_http_wt_http_t *http, ssize_t n)
{
    ngx_http_wt_call_t         *call;
    ngx_http_wt_http_answer_t  *answer;

    call = http->call;
    answer = &http->answer;

    if (n == 0 && answer->state == NGX_HTTP_WT_HTTP_CLOSE) {
        ngx_http_wt_http_finish(http);
        return;
    }

    if (!answer->received && call->request->upstream->peer.cached
        && !call->once)
    {
        /* it was closed by the worker while our request was on its way */

        ngx_http_wt_http_close(http);
        ngx_http_wt_upstream_again(&call->upstream);
        return;
    }

    ngx_http_wt_http_lost(http, NGX_HTTP_BAD_GATEWAY,
                          answer->received
                          ? "the worker closed the connection within its answer"
                          : "the worker closed the connection without an "
                            "answer");
}


/* no answer from this worker: the next one, perhaps */

static void
ngx_http_wt_http_lost(ngx_http_wt_http_t *http, ngx_uint_t status,
    const char *reason)
{
    ngx_http_wt_call_t  *call;

    call = http->call;

    http->reason = reason;

    ngx_http_wt_http_close(http);

    if (call->once && call->sent) {
        call->status = status;
        call->reason = reason;

        ngx_http_wt_http_release(http, 1);

        call->done(call, NGX_HTTP_WT_CALL_RETRY);
        return;
    }

    ngx_log_error(NGX_LOG_ERR, call->log, 0,
                  "webtransport session %V: call to \"%V\" failed: %s",
                  call->id, &call->peer, reason);

    ngx_http_wt_upstream_retry(&call->upstream, status);
}


/* NGX_OK: the answer is complete; NGX_AGAIN; NGX_ERROR: the call has ended */

static ngx_int_t
ngx_http_wt_http_parse(ngx_http_wt_http_t *http)
{
    ngx_int_t   rc;
    ngx_buf_t  *in;

    in = &http->in;

    while (http->answer.state <= NGX_HTTP_WT_HTTP_FIELDS) {

        rc = (http->answer.state == NGX_HTTP_WT_HTTP_STATUS)
                 ? ngx_http_wt_http_parse_status(http)
                 : ngx_http_wt_http_parse_fields(http);

        if (rc != NGX_OK) {
            return rc;
        }
    }

    switch (http->answer.state) {

    case NGX_HTTP_WT_HTTP_LENGTH:
        return ngx_http_wt_http_parse_length(http);

    case NGX_HTTP_WT_HTTP_CHUNKED:
        return ngx_http_wt_http_parse_chunks(http);

    default: /* NGX_HTTP_WT_HTTP_CLOSE */

        if (ngx_http_wt_http_body(http, in->last - in->pos) != NGX_OK) {
            return NGX_ERROR;
        }

        return NGX_AGAIN;
    }
}


static ngx_int_t
ngx_http_wt_http_parse_status(ngx_http_wt_http_t *http)
{
    ngx_int_t            rc;
    ngx_http_request_t  *r;

    r = http->call->request;

    rc = ngx_http_parse_status_line(r, &http->in, &http->answer.status);

    if (rc == NGX_AGAIN) {
        return NGX_AGAIN;
    }

    if (rc != NGX_OK || r->http_major != 1) {
        return ngx_http_wt_http_fail(http, "the answer is not HTTP/1");
    }

    http->answer.state = NGX_HTTP_WT_HTTP_FIELDS;
    r->state = 0;

    return NGX_OK;
}


static ngx_int_t
ngx_http_wt_http_parse_fields(ngx_http_wt_http_t *http)
{
    ngx_int_t            rc;
    ngx_http_request_t  *r;

    r = http->call->request;

    for ( ;; ) {

        rc = ngx_http_parse_header_line(r, &http->in, 1);

        if (rc == NGX_AGAIN) {
            return NGX_AGAIN;
        }

        if (rc == NGX_HTTP_PARSE_HEADER_DONE) {
            r->state = 0;
            return ngx_http_wt_http_fields_done(http);
        }

        if (rc != NGX_OK) {
            return ngx_http_wt_http_fail(http, "the answer has a malformed "
                                         "header");
        }

        if (ngx_http_wt_http_field(http) != NGX_OK) {
            return NGX_ERROR;
        }
    }
}


static ngx_int_t
ngx_http_wt_http_field(ngx_http_wt_http_t *http)
{
    ngx_str_t                        name, value;
    ngx_http_request_t              *r;
    const ngx_http_wt_http_field_t  *field;

    r = http->call->request;

    name.data = r->header_name_start;
    name.len = r->header_name_end - r->header_name_start;

    value.data = r->header_start;
    value.len = r->header_end - r->header_start;

    for (field = ngx_http_wt_http_fields; field->name.len; field++) {

        if (field->name.len == name.len
            && ngx_strncasecmp(field->name.data, name.data, name.len) == 0)
        {
            return field->handler(http, &value);
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_wt_http_field_length(ngx_http_wt_http_t *http, ngx_str_t *value)
{
    off_t  n;

    n = ngx_atoof(value->data, value->len);

    /* RFC 9110, 8.6: two different lengths are an error, as is no number */

    if (n == NGX_ERROR
        || (http->answer.length != -1 && http->answer.length != n))
    {
        return ngx_http_wt_http_fail(http, "the answer has an invalid "
                                     "Content-Length");
    }

    http->answer.length = n;

    return NGX_OK;
}


static ngx_int_t
ngx_http_wt_http_field_transfer(ngx_http_wt_http_t *http, ngx_str_t *value)
{
    if (value->len == sizeof("chunked") - 1
        && ngx_strncasecmp(value->data, (u_char *) "chunked", value->len) == 0)
    {
        http->answer.chunked = 1;
        return NGX_OK;
    }

    http->answer.encoded = 1;

    return NGX_OK;
}


static ngx_int_t
ngx_http_wt_http_field_encoding(ngx_http_wt_http_t *http, ngx_str_t *value)
{
    if (value->len != sizeof("identity") - 1
        || ngx_strncasecmp(value->data, (u_char *) "identity", value->len)
           != 0)
    {
        http->answer.encoded = 1;
    }

    return NGX_OK;
}


/* in lower case and without parameters */

static ngx_int_t
ngx_http_wt_http_field_type(ngx_http_wt_http_t *http, ngx_str_t *value)
{
    u_char  *p, *last;

    last = ngx_strlchr(value->data, value->data + value->len, ';');

    if (last == NULL) {
        last = value->data + value->len;
    }

    while (last > value->data && (last[-1] == ' ' || last[-1] == '\t')) {
        last--;
    }

    p = value->data;

    http->answer.ntype = ngx_min(last - p, NGX_HTTP_WT_HTTP_TYPE);

    ngx_strlow(http->answer.type, p, http->answer.ntype);

    return NGX_OK;
}


static ngx_int_t
ngx_http_wt_http_field_connection(ngx_http_wt_http_t *http, ngx_str_t *value)
{
    u_char  *last;

    last = value->data + value->len;

    if (ngx_strlcasestrn(value->data, last, (u_char *) "close", 5 - 1)) {
        http->answer.close = 1;
    }

    if (ngx_strlcasestrn(value->data, last, (u_char *) "keep-alive", 10 - 1)) {
        http->answer.keep = 1;
    }

    return NGX_OK;
}


/* seconds; a date would need clocks that agree */

static ngx_int_t
ngx_http_wt_http_field_after(ngx_http_wt_http_t *http, ngx_str_t *value)
{
    ngx_int_t   n;
    ngx_uint_t  i;

    n = 0;

    for (i = 0; i < value->len; i++) {

        if (value->data[i] < '0' || value->data[i] > '9') {
            return NGX_OK;
        }

        n = ngx_min(10 * n + value->data[i] - '0',
                    NGX_HTTP_WT_HTTP_AFTER);
    }

    http->call->delay = (ngx_msec_t) n * 1000;

    return NGX_OK;
}


static ngx_int_t
ngx_http_wt_http_fields_done(ngx_http_wt_http_t *http)
{
    ngx_uint_t                  code;
    ngx_http_wt_http_answer_t  *answer;

    answer = &http->answer;
    code = answer->status.code;

    ngx_log_debug4(NGX_LOG_DEBUG_HTTP, http->call->log, 0,
                   "wt session %V http status:%ui length:%O chunked:%d",
                   http->call->id, code, answer->length, answer->chunked);

    if (code < NGX_HTTP_OK) {

        if (code == NGX_HTTP_SWITCHING_PROTOCOLS) {
            return ngx_http_wt_http_fail(http, "the worker answered with the "
                                         "status 101");
        }

        /* RFC 9110, 15.2: any number of them may come before the answer */

        ngx_memzero(answer, sizeof(ngx_http_wt_http_answer_t));

        answer->length = -1;
        answer->received = 1;

        return NGX_OK;
    }

    ngx_http_wt_upstream_answered(http->call->request, code);

    if (code >= NGX_HTTP_SPECIAL_RESPONSE) {
        return ngx_http_wt_http_error(http);
    }

    if (answer->encoded) {
        return ngx_http_wt_http_fail(http, "the answer is compressed, or "
                                     "encoded in another way");
    }

    if (answer->chunked && answer->length != -1) {

        /* RFC 9112, 6.3: "ought to be handled as an error" */

        return ngx_http_wt_http_fail(http, "the answer has both a length and "
                                     "chunks");
    }

    if (code == NGX_HTTP_NO_CONTENT) {
        answer->length = 0;
        answer->chunked = 0;
    }

    if (answer->length > (off_t) http->limit) {
        return ngx_http_wt_http_fail(http, "the answer is too large: %O bytes",
                                     answer->length);
    }

    if (answer->chunked) {
        answer->state = NGX_HTTP_WT_HTTP_CHUNKED;

    } else if (answer->length != -1) {
        answer->state = NGX_HTTP_WT_HTTP_LENGTH;
        answer->rest = answer->length;

    } else {
        answer->state = NGX_HTTP_WT_HTTP_CLOSE;
    }

    return NGX_OK;
}


/* an error status: its body is not wanted */

static ngx_int_t
ngx_http_wt_http_error(ngx_http_wt_http_t *http)
{
    u_char                    *reason;
    ngx_uint_t                 code;
    ngx_http_wt_call_t        *call;
    ngx_http_upstream_conf_t  *conf;

    call = http->call;
    conf = &call->conf->upstream;
    code = http->answer.status.code;

    reason = ngx_pnalloc(call->pool, NGX_HTTP_WT_HTTP_REASON);

    if (reason) {
        ngx_snprintf(reason, NGX_HTTP_WT_HTTP_REASON,
                     "the worker answered with the status %ui%Z", code);
    }

    http->reason = reason ? (char *) reason : "the worker refused the batch";

    ngx_http_wt_http_close(http);

    if (code != NGX_HTTP_BAD_GATEWAY && code != NGX_HTTP_GATEWAY_TIME_OUT) {

        /* it was not handled: those two come from a proxy, which cannot know */

        call->sent = 0;
    }

    switch (code) {

    case NGX_HTTP_SERVICE_UNAVAILABLE:

        if (!call->once
            && (conf->next_upstream & NGX_HTTP_UPSTREAM_FT_HTTP_503))
        {
            ngx_http_wt_upstream_retry(&call->upstream, code);
            return NGX_ERROR;
        }

        /* fall through */

    case NGX_HTTP_TOO_MANY_REQUESTS:
    case NGX_HTTP_BAD_GATEWAY:
    case NGX_HTTP_GATEWAY_TIME_OUT:

        ngx_http_wt_http_done(http, NGX_HTTP_WT_CALL_RETRY, code,
                              http->reason);
        return NGX_ERROR;

    default:

        if (code > 599) {
            code = NGX_HTTP_BAD_GATEWAY;
        }

        ngx_http_wt_http_done(http, NGX_HTTP_WT_CALL_FAILED, code,
                              http->reason);
        return NGX_ERROR;
    }
}


static ngx_int_t
ngx_http_wt_http_parse_length(ngx_http_wt_http_t *http)
{
    size_t                      n;
    ngx_buf_t                  *in;
    ngx_http_wt_http_answer_t  *answer;

    in = &http->in;
    answer = &http->answer;

    n = (size_t) ngx_min((off_t) (in->last - in->pos), answer->rest);

    if (ngx_http_wt_http_body(http, n) != NGX_OK) {
        return NGX_ERROR;
    }

    answer->rest -= n;

    return answer->rest ? NGX_AGAIN : NGX_OK;
}


static ngx_int_t
ngx_http_wt_http_parse_chunks(ngx_http_wt_http_t *http)
{
    size_t               n;
    ngx_int_t            rc;
    ngx_buf_t           *in;
    ngx_http_chunked_t  *chunks;

    in = &http->in;
    chunks = &http->answer.chunks;

    for ( ;; ) {

        rc = ngx_http_wt_glue_parse_chunked(http->call->request, in, chunks);

        if (rc == NGX_OK) {

            n = (size_t) ngx_min((off_t) (in->last - in->pos), chunks->size);

            if (ngx_http_wt_http_body(http, n) != NGX_OK) {
                return NGX_ERROR;
            }

            chunks->size -= n;
            continue;
        }

        if (rc == NGX_DONE) {
            return NGX_OK;
        }

        if (rc == NGX_AGAIN) {
            return NGX_AGAIN;
        }

        return ngx_http_wt_http_fail(http, "the answer has malformed chunks");
    }
}


/* moves "len" bytes from the input to the body */

static ngx_int_t
ngx_http_wt_http_body(ngx_http_wt_http_t *http, size_t len)
{
    u_char                     *p;
    size_t                      size;
    ngx_http_wt_http_answer_t  *answer;

    answer = &http->answer;

    if (len == 0) {
        return NGX_OK;
    }

    if (len > http->limit - answer->len) {
        return ngx_http_wt_http_fail(http, "the answer is too large: more "
                                     "than %uz bytes", http->limit);
    }

    if (len > answer->size - answer->len) {

        size = (answer->length != -1) ? (size_t) answer->length
                                      : ngx_max(2 * answer->size,
                                                NGX_HTTP_WT_HTTP_BODY);
        size = ngx_max(size, answer->len + len);

        p = ngx_palloc(http->call->pool, size);
        if (p == NULL) {
            return ngx_http_wt_http_fail(http, "no memory for the answer");
        }

        if (answer->body) {
            ngx_memcpy(p, answer->body, answer->len);
            (void) ngx_pfree(http->call->pool, answer->body);
        }

        answer->body = p;
        answer->size = size;
    }

    ngx_memcpy(answer->body + answer->len, http->in.pos, len);

    answer->len += len;
    http->in.pos += len;

    return NGX_OK;
}


/* the answer is none, and asking once more would not help */

static ngx_int_t
ngx_http_wt_http_fail(ngx_http_wt_http_t *http, const char *fmt, ...)
{
    u_char   *p, *last;
    va_list   args;

    p = ngx_pnalloc(http->call->pool, NGX_HTTP_WT_HTTP_REASON);

    if (p) {
        va_start(args, fmt);
        last = ngx_vslprintf(p, p + NGX_HTTP_WT_HTTP_REASON - 1, fmt, args);
        va_end(args);

        *last = '\0';
    }

    ngx_http_wt_http_done(http, NGX_HTTP_WT_CALL_FAILED, NGX_HTTP_BAD_GATEWAY,
                          p ? (char *) p : "the answer is malformed");

    return NGX_ERROR;
}


static void
ngx_http_wt_http_finish(ngx_http_wt_http_t *http)
{
    ngx_connection_t           *c;
    ngx_http_wt_call_t         *call;
    ngx_http_wt_http_answer_t  *answer;

    c = http->connection;
    call = http->call;
    answer = &http->answer;

    ngx_http_wt_upstream_count(call->request, c->sent, answer->len);

    if (c->read->timer_set) {
        ngx_del_timer(c->read);
    }

    if (answer->state != NGX_HTTP_WT_HTTP_CLOSE
        && http->in.pos == http->in.last
        && http->out == NULL && !http->broken && !c->buffered
        && !answer->close
        && (answer->keep || answer->status.http_version > NGX_HTTP_VERSION_10))
    {
        http->connection = NULL;
        ngx_http_wt_upstream_keep(&call->upstream, c);

    } else {
        ngx_http_wt_http_close(http);
    }

    if (ngx_http_wt_http_decode(http) == NGX_OK) {
        ngx_http_wt_http_done(http, NGX_HTTP_WT_CALL_OK, NGX_HTTP_OK, NULL);
    }
}


static ngx_int_t
ngx_http_wt_http_decode(ngx_http_wt_http_t *http)
{
    ngx_str_t                   text;
    const char                 *err;
    ngx_http_wt_call_t         *call;
    ngx_http_wt_http_answer_t  *answer;

    call = http->call;
    answer = &http->answer;

    text.data = answer->body;
    text.len = answer->len;

    if (text.len == 0) {
        ngx_str_null(&call->response);
        return NGX_OK;
    }

    if (!ngx_http_wt_http_type_fits(http)) {
        text.data = answer->type;
        text.len = answer->ntype;

        return ngx_http_wt_http_fail(http, "the answer has the content type "
                                     "\"%V\"", &text);
    }

    if (call->conf->format != NGX_HTTP_WT_FORMAT_JSON) {
        call->response = text;
        return NGX_OK;
    }

    if (ngx_http_wt_json_commands(&text, &call->response, call->pool, &err)
        != NGX_OK)
    {
        return ngx_http_wt_http_fail(http, "the answer is malformed: %s", err);
    }

    if (call->response.len > call->max_response) {
        return ngx_http_wt_http_fail(http, "the answer is too large: %uz "
                                     "bytes as protobuf", call->response.len);
    }

    return NGX_OK;
}


static ngx_uint_t
ngx_http_wt_http_type_fits(ngx_http_wt_http_t *http)
{
    ngx_str_t  type;

    type.data = http->answer.type;
    type.len = http->answer.ntype;

    if (http->call->conf->format == NGX_HTTP_WT_FORMAT_JSON) {
        return ngx_http_wt_str_is(&type, "application/json");
    }

    return ngx_http_wt_str_is(&type, "application/proto")
           || ngx_http_wt_str_is(&type, "application/protobuf")
           || ngx_http_wt_str_is(&type, "application/x-protobuf");
}
