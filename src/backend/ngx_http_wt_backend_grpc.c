/*
 * The transport of workers that speak gRPC: one call of Worker.Session is one
 * session, a message of the call is a batch.
 *
 * Until the worker says something, what was sent is kept: a worker that is
 * shutting down refuses calls that it has certainly not looked at, and then
 * Connect goes to another one.
 *
 * When a session ends, its last events may still wait in the buffer.  Then the
 * call outlives the session: it sends what is left, ends its side and waits a
 * little for the worker to end the call.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_http.h>
#include <ngx_http_wt_grpc.h>
#include <ngx_http_wt_relay.h>
#include <ngx_http_wt_upstream.h>


/* how long the call outlives its session, in milliseconds */
#define NGX_HTTP_WT_GRPC_LINGER   5000

/* RFC 9113, 7.  Error Codes: CANCEL */
#define NGX_HTTP_WT_GRPC_CANCEL   0x8


/*
 * On the heap, from connect() to the later of the session's end and the
 * call's, which ngx_http_wt_grpc_free() completes.
 */

typedef struct {
    ngx_http_wt_h2_stream_t       stream;
    ngx_http_wt_h2_end_e          how;       /* it has ended */
    ngx_http_wt_grpc_response_t   response;

    ngx_http_wt_backend_t        *backend;   /* NULL: the session is over */
    ngx_http_wt_upstream_t       *upstream;  /* in the request's pool */
    ngx_event_t                   event;     /* posted: go on; its timer:
                                                the end of patience */

    /* of the output, bytes that were sent, but may have to be sent again */
    size_t                        held;
    ngx_http_wt_output_t          rest;      /* of a session that is over */

    ngx_http_wt_grpc_input_t      input;     /* commands */

    off_t                         sent;
    off_t                         received;

    unsigned                      open:1;    /* "stream" is */
    unsigned                      requested:1;
    unsigned                      answered:1;
    unsigned                      ended:1;   /* there is a status */
    unsigned                      again:1;   /* refused, and tried again */
    unsigned                      large:1;   /* the request is, too large */
    unsigned                      busy:1;    /* must not be freed */
    unsigned                      gone:1;    /* but will be */
} ngx_http_wt_grpc_call_t;


static ngx_int_t ngx_http_wt_grpc_connect(ngx_http_wt_backend_t *b);
static ngx_int_t ngx_http_wt_grpc_open(void *data, ngx_peer_connection_t *pc);
static ngx_int_t ngx_http_wt_grpc_open_stream(ngx_http_wt_grpc_call_t *call,
    ngx_peer_connection_t *pc);
static void ngx_http_wt_grpc_connected(void *data, ngx_connection_t *c);
static void ngx_http_wt_grpc_failed(void *data, ngx_uint_t status);
static ngx_int_t ngx_http_wt_grpc_send(ngx_http_wt_backend_t *b);
static void ngx_http_wt_grpc_resume(ngx_http_wt_backend_t *b);
static void ngx_http_wt_grpc_close(ngx_http_wt_backend_t *b);
static void ngx_http_wt_grpc_linger(ngx_http_wt_grpc_call_t *call,
    ngx_http_wt_output_t *out, ngx_msec_t timeout);
static void ngx_http_wt_grpc_free(ngx_http_wt_grpc_call_t *call);

static void ngx_http_wt_grpc_ready_handler(ngx_http_wt_h2_stream_t *st);
static ngx_int_t ngx_http_wt_grpc_send_request(ngx_http_wt_grpc_call_t *call);
static void ngx_http_wt_grpc_header_handler(ngx_http_wt_h2_stream_t *st,
    ngx_str_t *name, ngx_str_t *value);
static void ngx_http_wt_grpc_headers_handler(ngx_http_wt_h2_stream_t *st,
    ngx_uint_t trailers);
static void ngx_http_wt_grpc_data_handler(ngx_http_wt_h2_stream_t *st,
    u_char *buf, size_t len);
static void ngx_http_wt_grpc_output_handler(ngx_http_wt_h2_stream_t *st,
    u_char **pos, u_char **last);
static void ngx_http_wt_grpc_sent_handler(ngx_http_wt_h2_stream_t *st,
    size_t n);
static void ngx_http_wt_grpc_writable_handler(ngx_http_wt_h2_stream_t *st);
static void ngx_http_wt_grpc_end_handler(ngx_http_wt_h2_stream_t *st,
    ngx_http_wt_h2_end_e how);

static void ngx_http_wt_grpc_event_handler(ngx_event_t *ev);
static ngx_int_t ngx_http_wt_grpc_run(ngx_http_wt_grpc_call_t *call,
    u_char *buf, size_t len);
static ngx_int_t ngx_http_wt_grpc_message(void *data, u_char *buf,
    size_t len);
static void ngx_http_wt_grpc_consume(ngx_http_wt_grpc_call_t *call);
static void ngx_http_wt_grpc_finish(ngx_http_wt_grpc_call_t *call);
static ngx_uint_t ngx_http_wt_grpc_next(ngx_http_wt_grpc_call_t *call);
static void ngx_http_wt_grpc_again(ngx_http_wt_grpc_call_t *call);
static void ngx_http_wt_grpc_report(ngx_http_wt_grpc_call_t *call);


static const ngx_http_wt_h2_ops_t  ngx_http_wt_grpc_ops = {
    ngx_http_wt_grpc_ready_handler,
    ngx_http_wt_grpc_header_handler,
    ngx_http_wt_grpc_headers_handler,
    ngx_http_wt_grpc_data_handler,
    ngx_http_wt_grpc_output_handler,
    ngx_http_wt_grpc_sent_handler,
    ngx_http_wt_grpc_writable_handler,
    ngx_http_wt_grpc_end_handler
};


const ngx_http_wt_transport_t  ngx_http_wt_grpc = {
    ngx_string("grpc"),
    0,
    NGX_HTTP_WT_GRPC_HEADER,
    ngx_http_wt_grpc_frame,
    ngx_http_wt_grpc_connect,
    ngx_http_wt_grpc_send,
    NULL,
    ngx_http_wt_grpc_resume,
    ngx_http_wt_grpc_close
};


static ngx_int_t
ngx_http_wt_grpc_connect(ngx_http_wt_backend_t *b)
{
    ngx_http_wt_upstream_t   *up;
    ngx_http_wt_grpc_call_t  *call;

    /* not part of the call, which may be gone when it calls back */

    up = ngx_pcalloc(b->request->pool, sizeof(ngx_http_wt_upstream_t));
    if (up == NULL) {
        return NGX_ERROR;
    }

    call = ngx_calloc(sizeof(ngx_http_wt_grpc_call_t),
                      b->request->connection->log);
    if (call == NULL) {
        return NGX_ERROR;
    }

    b->link = call;

    call->backend = b;
    call->upstream = up;

    call->input.message = ngx_http_wt_grpc_message;
    call->input.data = call;
    call->input.response = &call->response;
    call->input.max = ngx_http_wt_relay_max_command(b);

    call->event.handler = ngx_http_wt_grpc_event_handler;
    call->event.data = call;
    call->event.log = ngx_cycle->log;

    up->id = &b->session->id;
    up->request = b->request;
    up->conf = &b->conf->upstream;
    up->data = call;
    up->backend = &b->session->backend;
    up->open = ngx_http_wt_grpc_open;
    up->connected = ngx_http_wt_grpc_connected;
    up->failed = ngx_http_wt_grpc_failed;

    return ngx_http_wt_upstream_connect(up);
}


static ngx_int_t
ngx_http_wt_grpc_open(void *data, ngx_peer_connection_t *pc)
{
    ngx_http_wt_grpc_call_t *call = data;

    call->again = 0;

    return ngx_http_wt_grpc_open_stream(call, pc);
}


static ngx_int_t
ngx_http_wt_grpc_open_stream(ngx_http_wt_grpc_call_t *call,
    ngx_peer_connection_t *pc)
{
    ngx_http_wt_h2_peer_t   peer;
    ngx_http_wt_backend_t  *b;

    b = call->backend;

    ngx_memzero(&call->response, sizeof(ngx_http_wt_grpc_response_t));

    call->stream.ops = &ngx_http_wt_grpc_ops;
    call->stream.data = call;

    call->held = 0;
    call->sent = 0;
    call->received = 0;
    call->requested = 0;
    call->ended = 0;

    if (ngx_http_wt_grpc_peer(b->request, b->conf, pc, &peer) != NGX_OK
        || ngx_http_wt_h2_open(&call->stream, &peer) != NGX_OK)
    {
        return NGX_ERROR;
    }

    call->open = 1;

    return NGX_OK;
}


static void
ngx_http_wt_grpc_connected(void *data, ngx_connection_t *c)
{
    ngx_http_wt_backend_t    *b;
    ngx_http_wt_grpc_call_t  *call = data;

    b = call->backend;

    if (b->connected) {

        /* Connect was for another one, and is still in the buffer */

        ngx_http_wt_event_post(b);
        return;
    }

    ngx_http_wt_relay_connected(b);
}


static void
ngx_http_wt_grpc_failed(void *data, ngx_uint_t status)
{
    ngx_http_wt_grpc_call_t *call = data;

    ngx_http_wt_relay_failed(call->backend, status,
                             "no worker could be reached");
}


static ngx_int_t
ngx_http_wt_grpc_send(ngx_http_wt_backend_t *b)
{
    ngx_http_wt_output_t     *out;
    ngx_http_wt_grpc_call_t  *call;

    call = b->link;
    out = &b->out;

    if (call->ended && call->answered) {

        /* what the worker said before it ended the call is still to be run */

        out->pos = out->last;
        return NGX_OK;
    }

    if (!call->requested || call->ended) {
        return NGX_AGAIN;
    }

    if ((size_t) (out->last - out->pos) > call->held) {
        ngx_http_wt_h2_write(&call->stream, 0);
    }

    return (out->pos == out->last) ? NGX_OK : NGX_AGAIN;
}


static void
ngx_http_wt_grpc_resume(ngx_http_wt_backend_t *b)
{
    ngx_http_wt_grpc_call_t  *call;

    call = b->link;

    call->input.stalled = 0;

    if (call->event.timer_set) {
        ngx_del_timer(&call->event);
    }

    ngx_post_event(&call->event, &ngx_posted_events);
}


static void
ngx_http_wt_grpc_close(ngx_http_wt_backend_t *b)
{
    ngx_msec_t                timeout;
    ngx_http_wt_grpc_call_t  *call;

    call = b->link;

    if (call == NULL) {
        return;
    }

    b->link = NULL;
    call->backend = NULL;

    ngx_http_wt_upstream_free(call->upstream, b->lost);
    ngx_http_wt_upstream_count(b->request, call->sent, call->received);

    if (call->event.posted) {
        ngx_delete_posted_event(&call->event);
    }

    if (call->event.timer_set) {
        ngx_del_timer(&call->event);
    }

    if (call->open && call->requested && !call->ended) {

        ngx_http_wt_h2_suspect(&call->stream);

        timeout = ngx_min(b->conf->upstream.send_timeout,
                          NGX_HTTP_WT_GRPC_LINGER);

        ngx_http_wt_grpc_linger(call, &b->out, timeout);
        return;
    }

    ngx_http_wt_grpc_free(call);
}


static void
ngx_http_wt_grpc_linger(ngx_http_wt_grpc_call_t *call,
    ngx_http_wt_output_t *out, ngx_msec_t timeout)
{
    call->rest = *out;
    call->rest.pos += call->held;

    ngx_memzero(out, sizeof(ngx_http_wt_output_t));

    if (!call->busy) {

        /* else: the last command, which is being run, is still in there */

        ngx_http_wt_grpc_consume(call);
    }

    ngx_add_timer(&call->event, timeout);

    ngx_http_wt_h2_write(&call->stream, 1);
}


static void
ngx_http_wt_grpc_free(ngx_http_wt_grpc_call_t *call)
{
    if (call->open) {
        call->open = 0;
        ngx_http_wt_h2_close(&call->stream, NGX_HTTP_WT_GRPC_CANCEL);
    }

    if (call->busy) {
        call->gone = 1;
        return;
    }

    if (call->event.posted) {
        ngx_delete_posted_event(&call->event);
    }

    if (call->event.timer_set) {
        ngx_del_timer(&call->event);
    }

    if (call->rest.start) {
        ngx_free(call->rest.start);
    }

    ngx_http_wt_grpc_input_free(&call->input);

    ngx_free(call);
}


static void
ngx_http_wt_grpc_ready_handler(ngx_http_wt_h2_stream_t *st)
{
    ngx_int_t                 rc;
    ngx_http_wt_grpc_call_t  *call;

    call = st->data;

    rc = ngx_http_wt_grpc_send_request(call);

    if (rc != NGX_OK) {

        /* HTTP/2 has the stream in its hands: the end comes later */

        call->how = NGX_HTTP_WT_H2_ERROR;
        call->ended = 1;
        call->large = (rc == NGX_DECLINED);

        ngx_post_event(&call->event, &ngx_posted_events);
        return;
    }

    ngx_log_debug1(NGX_LOG_DEBUG_HTTP,
                   call->backend->request->connection->log, 0,
                   "wt session %V grpc call", &call->backend->session->id);

    call->requested = 1;

    ngx_http_wt_upstream_ready(call->upstream);
}


static ngx_int_t
ngx_http_wt_grpc_send_request(ngx_http_wt_grpc_call_t *call)
{
    ngx_int_t                     rc;
    ngx_log_t                    *log;
    ngx_uint_t                    i;
    ngx_array_t                  *values;
    ngx_http_wt_backend_t        *b;
    ngx_http_wt_grpc_request_t    req;
    ngx_http_wt_backend_value_t  *v;

    b = call->backend;
    log = b->request->connection->log;
    values = b->conf->headers;

    ngx_memzero(&req, sizeof(ngx_http_wt_grpc_request_t));

    req.conf = b->conf;
    ngx_str_set(&req.path, "/nginx.webtransport.v1.Worker/Session");

    if (values && values->nelts) {

        req.headers = ngx_alloc(values->nelts * sizeof(ngx_http_wt_header_t),
                                log);
        if (req.headers == NULL) {
            return NGX_ERROR;
        }
    }

    rc = NGX_OK;
    v = values ? values->elts : NULL;

    for (i = 0; values && i < values->nelts && rc == NGX_OK; i++) {
        req.headers[i].name = v[i].name;
        rc = ngx_http_complex_value(b->request, &v[i].value,
                                    &req.headers[i].value);
    }

    req.nheaders = i;

    if (rc == NGX_OK) {
        rc = ngx_http_wt_grpc_request(&call->stream, &req, log);
    }

    if (req.headers) {
        ngx_free(req.headers);
    }

    return rc;
}


static void
ngx_http_wt_grpc_header_handler(ngx_http_wt_h2_stream_t *st, ngx_str_t *name,
    ngx_str_t *value)
{
    ngx_http_wt_grpc_call_t  *call;

    call = st->data;

    if (call->backend && !call->ended) {
        ngx_http_wt_grpc_header(&call->response, name, value);
    }
}


static void
ngx_http_wt_grpc_headers_handler(ngx_http_wt_h2_stream_t *st,
    ngx_uint_t trailers)
{
    ngx_http_wt_backend_t    *b;
    ngx_http_wt_grpc_call_t  *call;

    call = st->data;
    b = call->backend;

    if (b == NULL || call->ended || trailers) {
        return;
    }

    ngx_http_wt_relay_heard(b);

    switch (ngx_http_wt_grpc_headers(&call->response)) {

    case NGX_OK:
        break;

    case NGX_DECLINED:
        return;

    default: /* NGX_ERROR */
        call->how = NGX_HTTP_WT_H2_DONE;
        call->ended = 1;

        ngx_post_event(&call->event, &ngx_posted_events);
        return;
    }

    /* the worker has taken the session: it will not go to another one */

    call->answered = 1;

    b->out.pos += call->held;
    call->held = 0;

    ngx_http_wt_event_post(b);
}


static void
ngx_http_wt_grpc_data_handler(ngx_http_wt_h2_stream_t *st, u_char *buf,
    size_t len)
{
    ngx_http_wt_backend_t    *b;
    ngx_http_wt_grpc_call_t  *call;

    call = st->data;
    b = call->backend;

    call->received += len;

    if (b) {
        ngx_http_wt_relay_heard(b);
    }

    if (b == NULL || b->closing || call->ended || !call->answered) {
        ngx_http_wt_h2_consumed(st, len);
        return;
    }

    (void) ngx_http_wt_grpc_run(call, buf, len);
}


static void
ngx_http_wt_grpc_output_handler(ngx_http_wt_h2_stream_t *st, u_char **pos,
    u_char **last)
{
    ngx_http_wt_output_t     *out;
    ngx_http_wt_grpc_call_t  *call;

    call = st->data;
    out = call->backend ? &call->backend->out : &call->rest;

    /* a frame that is still being written has no length yet */

    *last = out->frame ? out->frame : out->last;
    *pos = call->backend ? out->pos + call->held : out->pos;
}


static void
ngx_http_wt_grpc_sent_handler(ngx_http_wt_h2_stream_t *st, size_t n)
{
    ngx_http_wt_output_t     *rest;
    ngx_http_wt_grpc_call_t  *call;

    call = st->data;

    if (call->backend) {

        call->sent += n;

        if (call->answered) {
            call->backend->out.pos += n;
        } else {
            call->held += n;
        }

        return;
    }

    rest = &call->rest;
    rest->pos += n;

    if (rest->pos == rest->last) {
        ngx_free(rest->start);
        ngx_memzero(rest, sizeof(ngx_http_wt_output_t));
    }
}


static void
ngx_http_wt_grpc_writable_handler(ngx_http_wt_h2_stream_t *st)
{
    ngx_http_wt_grpc_call_t  *call;

    call = st->data;

    if (call->backend) {
        ngx_http_wt_relay_write(call->backend);
    }
}


static void
ngx_http_wt_grpc_end_handler(ngx_http_wt_h2_stream_t *st,
    ngx_http_wt_h2_end_e how)
{
    ngx_http_wt_grpc_call_t  *call;

    call = st->data;

    call->open = 0;

    if (call->backend == NULL) {
        ngx_http_wt_grpc_free(call);
        return;
    }

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP,
                   call->backend->request->connection->log, 0,
                   "wt session %V grpc call ended:%ui",
                   &call->backend->session->id, (ngx_uint_t) how);

    if (!call->ended) {
        ngx_http_wt_grpc_end(&call->response, st, how);

        call->how = how;
        call->ended = 1;
    }

    if (how == NGX_HTTP_WT_H2_RESET) {

        /* it did not mean to leave anything */

        call->input.stalled = 0;
        ngx_http_wt_grpc_input_free(&call->input);
    }

    if (call->input.stalled) {

        /*
         * What the worker left is not run while a client does not read.  A
         * client that never does must not keep it for ever.
         */

        ngx_add_timer(&call->event,
                      call->backend->conf->upstream.send_timeout);
        return;
    }

    ngx_post_event(&call->event, &ngx_posted_events);
}


static void
ngx_http_wt_grpc_event_handler(ngx_event_t *ev)
{
    ngx_http_wt_grpc_call_t  *call;

    call = ev->data;

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, ev->log, 0,
                   "wt grpc call %p event timedout:%d", call, ev->timedout);

    if (ev->timedout) {
        ev->timedout = 0;

        if (call->backend == NULL) {
            ngx_http_wt_grpc_free(call);
            return;
        }

        ngx_http_wt_relay_failed(call->backend, NGX_HTTP_BAD_GATEWAY,
                                 "worker lost");
        return;
    }

    if (call->ended && call->open) {
        call->open = 0;
        ngx_http_wt_h2_close(&call->stream, NGX_HTTP_WT_GRPC_CANCEL);
    }

    if (!call->backend->closing
        && ngx_http_wt_grpc_run(call, NULL, 0) == NGX_DONE)
    {
        return;
    }

    if (call->backend && call->ended && !call->input.stalled) {
        ngx_http_wt_grpc_finish(call);
    }
}


/* NGX_OK, or NGX_DONE if the call is gone, as it may be without a stream */

static ngx_int_t
ngx_http_wt_grpc_run(ngx_http_wt_grpc_call_t *call, u_char *buf, size_t len)
{
    ngx_int_t                     rc;
    ngx_http_wt_backend_t        *b;
    ngx_http_wt_grpc_response_t  *resp;

    b = call->backend;
    resp = &call->response;

    call->busy = 1;

    rc = ngx_http_wt_grpc_input(&call->input, buf, len);

    if (rc == NGX_ERROR && b->session) {

        if (resp->local) {
            ngx_http_wt_relay_violation(b, "worker sent a %*s",
                                        resp->message_len, resp->message);

        } else {
            ngx_http_wt_relay_end(b, NGX_HTTP_WT_BY_LIMIT,
                                  NGX_HTTP_INTERNAL_SERVER_ERROR,
                                  "no memory for commands");
        }
    }

    call->busy = 0;

    if (call->gone) {
        ngx_http_wt_grpc_free(call);
        return NGX_DONE;
    }

    ngx_http_wt_grpc_consume(call);

    return NGX_OK;
}


static ngx_int_t
ngx_http_wt_grpc_message(void *data, u_char *buf, size_t len)
{
    ngx_http_wt_grpc_call_t *call = data;

    return ngx_http_wt_relay_input(call->backend, buf, len);
}


static void
ngx_http_wt_grpc_consume(ngx_http_wt_grpc_call_t *call)
{
    size_t  n;

    if (call->backend == NULL || call->backend->closing) {

        /* nothing is run any more */

        call->input.stalled = 0;
        ngx_http_wt_grpc_input_free(&call->input);
    }

    n = ngx_http_wt_grpc_input_consumed(&call->input);

    if (n && call->open) {
        ngx_http_wt_h2_consumed(&call->stream, n);
    }
}


/* all that the worker said has been run */

static void
ngx_http_wt_grpc_finish(ngx_http_wt_grpc_call_t *call)
{
    ngx_http_wt_backend_t        *b;
    ngx_http_wt_grpc_response_t  *resp;

    b = call->backend;
    resp = &call->response;

    if (call->how == NGX_HTTP_WT_H2_ERROR) {
        ngx_http_wt_relay_end(b, NGX_HTTP_WT_BY_LIMIT,
                              NGX_HTTP_INTERNAL_SERVER_ERROR,
                              call->large ? NGX_HTTP_WT_GRPC_TOO_LARGE
                                          : NGX_HTTP_WT_GRPC_NO_MEMORY);
        return;
    }

    if (!call->answered && ngx_http_wt_grpc_next(call)) {
        return;
    }

    switch (call->how) {

    case NGX_HTTP_WT_H2_LOST:
        ngx_http_wt_relay_failed(b, NGX_HTTP_BAD_GATEWAY, "worker lost");
        return;

    case NGX_HTTP_WT_H2_TIMEOUT:
        ngx_http_wt_relay_failed(b, NGX_HTTP_GATEWAY_TIME_OUT,
                                 "worker timed out: it does not read");
        return;

    default:
        break;
    }

    if (call->input.pos != call->input.last
        && resp->status == NGX_HTTP_WT_GRPC_OK) {
        ngx_http_wt_grpc_fail(resp, NGX_HTTP_WT_GRPC_INTERNAL,
                              "call ended within a message");
    }

    ngx_http_wt_grpc_report(call);
}


/* another worker, or the same one once more; 0: neither, it has to end */

static ngx_uint_t
ngx_http_wt_grpc_next(ngx_http_wt_grpc_call_t *call)
{
    u_char                       *p;
    ngx_uint_t                    status;
    ngx_http_wt_backend_t        *b;
    ngx_http_wt_grpc_response_t  *resp;
    u_char                        text[NGX_HTTP_WT_GRPC_TEXT];

    b = call->backend;
    resp = &call->response;

    status = NGX_HTTP_BAD_GATEWAY;

    switch (call->how) {

    case NGX_HTTP_WT_H2_UNREACHABLE:

        /* it was logged */

        if (call->stream.timedout) {
            status = NGX_HTTP_GATEWAY_TIME_OUT;
        }

        ngx_http_wt_upstream_retry(call->upstream, status);
        return 1;

    case NGX_HTTP_WT_H2_REFUSED:

        if (!call->again) {
            ngx_http_wt_grpc_again(call);
            return 1;
        }

        break;

    case NGX_HTTP_WT_H2_LOST:

        if (call->held) {

            /* it may have got Connect */

            return 0;
        }

        break;

    case NGX_HTTP_WT_H2_DONE:

        if (resp->status != NGX_HTTP_WT_GRPC_UNAVAILABLE) {
            return 0;
        }

        status = NGX_HTTP_SERVICE_UNAVAILABLE;
        break;

    default:
        return 0;
    }

    p = ngx_http_wt_grpc_text(resp, text, text + NGX_HTTP_WT_GRPC_TEXT);

    ngx_http_wt_session_log(NGX_LOG_ERR, b->session, 0, "worker %V: %*s",
                            &b->session->backend, p - text, text);

    ngx_http_wt_upstream_count(b->request, call->sent, call->received);
    ngx_http_wt_upstream_retry(call->upstream, status);

    return 1;
}


/*
 * A worker that closes its connection in good order refuses the calls that
 * came too late: the next one goes over another connection.
 */

static void
ngx_http_wt_grpc_again(ngx_http_wt_grpc_call_t *call)
{
    ngx_http_wt_backend_t  *b;

    b = call->backend;

    call->again = 1;

    if (ngx_http_wt_grpc_open_stream(call, &b->request->upstream->peer)
        != NGX_OK)
    {
        ngx_http_wt_relay_end(b, NGX_HTTP_WT_BY_LIMIT,
                              NGX_HTTP_INTERNAL_SERVER_ERROR,
                              NGX_HTTP_WT_GRPC_NO_MEMORY);
    }
}


/* the worker has ended the session by ending the call */

static void
ngx_http_wt_grpc_report(ngx_http_wt_grpc_call_t *call)
{
    ngx_str_t                     text;
    ngx_uint_t                    status;
    const char                   *reason;
    ngx_http_wt_by_e              by;
    ngx_http_wt_backend_t        *b;
    ngx_http_wt_grpc_response_t  *resp;
    u_char                        buf[NGX_HTTP_WT_GRPC_TEXT];

    b = call->backend;
    resp = &call->response;

    if (b->closing) {
        return;
    }

    if (b->accepted && resp->status == NGX_HTTP_WT_GRPC_OK) {
        ngx_http_wt_session_close(b->session, NGX_HTTP_WT_BY_WORKER, 0, NULL);
        return;
    }

    text.data = buf;
    text.len = ngx_http_wt_grpc_text(resp, buf, buf + NGX_HTTP_WT_GRPC_TEXT)
               - buf;

    status = ngx_http_wt_grpc_http(resp);
    by = ngx_http_wt_grpc_by(resp);

    if (!b->accepted) {

        /* was it the worker who said so, and was it about the client? */

        by = (status < NGX_HTTP_INTERNAL_SERVER_ERROR && !resp->local)
                 ? NGX_HTTP_WT_BY_WORKER : NGX_HTTP_WT_BY_WORKER_LOST;

        /* who says why it does not take the session is alive */

        b->lost = resp->status == NGX_HTTP_WT_GRPC_OK
                  || resp->status == NGX_HTTP_WT_GRPC_UNAVAILABLE
                  || (resp->local && call->how != NGX_HTTP_WT_H2_RESET);
    }

    switch (by) {

    case NGX_HTTP_WT_BY_WORKER:
        reason = "worker refused the session";
        break;

    case NGX_HTTP_WT_BY_LIMIT:
        reason = "worker has reached a limit";
        break;

    case NGX_HTTP_WT_BY_TIMEOUT:
        reason = "worker timed out";
        break;

    default:
        reason = "worker lost";
        break;
    }

    ngx_http_wt_relay_left(b, by, status, reason, &text);
}
