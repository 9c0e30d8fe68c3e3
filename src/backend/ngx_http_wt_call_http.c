/*
 * A batch by HTTP/1.1: one POST.
 *
 * The answer is read completely before any of it is used.  nginx's functions
 * parse it.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_http.h>
#include <ngx_http_wt.h>
#include <ngx_http_wt_call.h>
#include <ngx_http_wt_http.h>
#include <ngx_http_wt_json.h>
#include <ngx_http_wt_tls.h>
#include <ngx_http_wt_upstream.h>


/*
 * JSON may be that much longer than protobuf, because of names and base64.  It
 * is parsed in one go, so there is a limit to how much.
 */
#define NGX_HTTP_WT_HTTP_JSON(n)   (2 * (n) + 4096)
#define NGX_HTTP_WT_HTTP_MAX_JSON  (4 * 1024 * 1024)

/* how many reads before others get their turn */
#define NGX_HTTP_WT_HTTP_READS     16

#define NGX_HTTP_WT_HTTP_AGENT     "nginx-webtransport/" NGX_HTTP_WT_VERSION


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

    ngx_http_wt_http_answer_t   answer;

    const char                 *reason;      /* of the latest failure */
    ngx_uint_t                  before;      /* call.sent, to others */
    unsigned                    broken:1;    /* nothing can be sent */
} ngx_http_wt_http_t;


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
static ngx_uint_t ngx_http_wt_http_same_tls(ngx_connection_t *c,
    ngx_http_wt_backend_conf_t *conf);
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

static void ngx_http_wt_http_refused(ngx_http_wt_http_t *http);
static void ngx_http_wt_http_useless(ngx_http_wt_http_t *http);
static ngx_int_t ngx_http_wt_http_fail(ngx_http_wt_http_t *http,
    const char *fmt, ...);

static void ngx_http_wt_http_finish(ngx_http_wt_http_t *http);
static ngx_uint_t ngx_http_wt_http_shares(ngx_http_upstream_conf_t *conf);
static ngx_int_t ngx_http_wt_http_decode(ngx_http_wt_http_t *http);
static ngx_uint_t ngx_http_wt_http_type_fits(ngx_http_wt_http_t *http);


const ngx_http_wt_call_ops_t  ngx_http_wt_call_http = {
    ngx_string("http"),
    ngx_http_wt_http_begin,
    ngx_http_wt_http_cancel
};


static ngx_int_t
ngx_http_wt_http_begin(ngx_http_wt_call_t *call)
{
    size_t                   limit;
    ngx_http_wt_http_t      *http;
    ngx_http_wt_upstream_t  *up;

    http = ngx_pcalloc(call->pool, sizeof(ngx_http_wt_http_t));
    if (http == NULL) {
        return NGX_ERROR;
    }

    http->call = call;

    limit = call->max_response;

    if (call->conf->format == NGX_HTTP_WT_FORMAT_JSON) {
        limit = ngx_min(NGX_HTTP_WT_HTTP_JSON(limit),
                        NGX_HTTP_WT_HTTP_MAX_JSON);
    }

    if (ngx_http_wt_http_request(http) != NGX_OK
        || ngx_http_wt_http_answer_init(&http->answer, call->request, limit)
           != NGX_OK)
    {
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
    up->keep = 1;

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

    if (cached && !ngx_http_wt_http_same_tls(c, call->conf)) {

        /* an upstream{} that is used by locations of different minds */

        ngx_http_wt_http_close(http);
        ngx_http_wt_upstream_again(&call->upstream);
        return;
    }

    if (cached) {

        /* if the worker has just closed it, that is nobody's fault */

        c->log_error = NGX_ERROR_INFO;
    }

    c->data = http;
    c->requests++;

    if (call->conf->upstream.ssl && c->ssl == NULL) {
        ngx_http_wt_http_secure(http);
        return;
    }

    ngx_http_wt_http_start(http);
}


/* each location with TLS has a context of its own, with all that it demands */

static ngx_uint_t
ngx_http_wt_http_same_tls(ngx_connection_t *c,
    ngx_http_wt_backend_conf_t *conf)
{
    if (c->ssl == NULL || conf->upstream.ssl == NULL) {
        return c->ssl == NULL && conf->upstream.ssl == NULL;
    }

    return SSL_get_SSL_CTX(c->ssl->connection) == conf->upstream.ssl->ctx;
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
    ngx_buf_t         *b;
    ngx_uint_t         i;
    ngx_connection_t  *c;

    c = http->connection;

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
    http->before = http->call->sent;
    http->broken = 0;

    ngx_http_wt_http_answer_reset(&http->answer);

    http->call->delay = 0;

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
    ssize_t                     n;
    ngx_buf_t                  *in;
    ngx_int_t                   rc;
    ngx_uint_t                  i;
    ngx_connection_t           *c;
    ngx_http_wt_http_answer_t  *answer;

    c = http->connection;
    answer = &http->answer;
    in = &answer->in;

    for (i = 0; i < NGX_HTTP_WT_HTTP_READS; i++) {

        if (ngx_http_wt_http_answer_room(answer) != NGX_OK) {
            ngx_http_wt_http_useless(http);
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

        rc = ngx_http_wt_http_answer_parse(answer);

        switch (rc) {

        case NGX_OK:
            ngx_http_wt_http_finish(http);
            return;

        case NGX_DECLINED:
            ngx_http_wt_http_refused(http);
            return;

        case NGX_ERROR:
            ngx_http_wt_http_useless(http);
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


/*
 * No answer from this worker.  The next one gets its turn only if this one
 * cannot have got the batch: one that is too much for a worker must not go
 * through all of them, and make each look dead to others.
 */

static void
ngx_http_wt_http_lost(ngx_http_wt_http_t *http, ngx_uint_t status,
    const char *reason)
{
    ngx_http_wt_call_t  *call;

    call = http->call;

    http->reason = reason;

    ngx_http_wt_http_close(http);

    if (call->sent) {
        ngx_http_wt_http_done(http, NGX_HTTP_WT_CALL_RETRY, status, reason);
        return;
    }

    ngx_log_error(NGX_LOG_ERR, call->log, 0,
                  "webtransport session %V: call to \"%V\" failed: %s",
                  call->id, &call->peer, reason);

    ngx_http_wt_upstream_retry(&call->upstream, status);
}


/* an error status: its body is not wanted */

static void
ngx_http_wt_http_refused(ngx_http_wt_http_t *http)
{
    u_char                    *reason;
    ngx_uint_t                 code;
    ngx_http_wt_call_t        *call;
    ngx_http_upstream_conf_t  *conf;

    call = http->call;
    conf = &call->conf->upstream;
    code = http->answer.status.code;

    call->delay = (ngx_msec_t) http->answer.after * 1000;

    ngx_http_wt_upstream_answered(call->request, code);

    reason = ngx_pnalloc(call->pool, NGX_HTTP_WT_HTTP_REASON);

    if (reason) {
        ngx_snprintf(reason, NGX_HTTP_WT_HTTP_REASON,
                     "the worker answered with the status %ui%Z", code);
    }

    http->reason = reason ? (char *) reason : "the worker refused the batch";

    ngx_http_wt_http_close(http);

    if (code < NGX_HTTP_INTERNAL_SERVER_ERROR
        || code == NGX_HTTP_SERVICE_UNAVAILABLE)
    {
        /* it was not handled; others may come after something was done */

        call->sent = http->before;
    }

    switch (code) {

    case NGX_HTTP_SERVICE_UNAVAILABLE:

        if (call->first
            && (conf->next_upstream & NGX_HTTP_UPSTREAM_FT_HTTP_503))
        {
            ngx_http_wt_upstream_retry(&call->upstream, code);
            return;
        }

        /* fall through */

    case NGX_HTTP_TOO_MANY_REQUESTS:
    case NGX_HTTP_BAD_GATEWAY:
    case NGX_HTTP_GATEWAY_TIME_OUT:

        ngx_http_wt_http_done(http, NGX_HTTP_WT_CALL_RETRY, code,
                              http->reason);
        return;

    default:

        if (code > 599) {
            code = NGX_HTTP_BAD_GATEWAY;
        }

        ngx_http_wt_http_done(http, NGX_HTTP_WT_CALL_FAILED, code,
                              http->reason);
    }
}


/* what came is no answer */

static void
ngx_http_wt_http_useless(ngx_http_wt_http_t *http)
{
    ngx_http_wt_http_done(http, NGX_HTTP_WT_CALL_FAILED, NGX_HTTP_BAD_GATEWAY,
                          (char *) http->answer.reason);
}


/* the answer has come, and is none */

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

    ngx_http_wt_upstream_answered(call->request, answer->status.code);
    ngx_http_wt_upstream_count(call->request, c->sent, answer->len);

    if (c->read->timer_set) {
        ngx_del_timer(c->read);
    }

    if (http->out == NULL && !http->broken && !c->buffered
        && ngx_http_wt_http_answer_keeps(answer)
        && ngx_http_wt_http_shares(&call->conf->upstream))
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


/* a worker's name that depends on the session was verified for this one only */

static ngx_uint_t
ngx_http_wt_http_shares(ngx_http_upstream_conf_t *conf)
{
    return conf->ssl == NULL || conf->ssl_name == NULL
           || conf->ssl_name->lengths == NULL;
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

    if (call->conf->format == NGX_HTTP_WT_FORMAT_JSON) {

        /* scripts often end with a line feed that nobody meant */

        while (text.len && (text.data[text.len - 1] == LF
                            || text.data[text.len - 1] == CR
                            || text.data[text.len - 1] == ' '))
        {
            text.len--;
        }
    }

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
