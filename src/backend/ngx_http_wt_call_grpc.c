/*
 * A batch by gRPC: one unary call of Worker.Deliver.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_http.h>
#include <ngx_http_wt_call.h>
#include <ngx_http_wt_grpc.h>
#include <ngx_http_wt_upstream.h>


/* RFC 9113, 7.  Error Codes: CANCEL */
#define NGX_HTTP_WT_CALL_GRPC_CANCEL  0x8


/*
 * In the call's pool, call->link from begin() to done() or cancel(), both of
 * which go through ngx_http_wt_call_grpc_release().
 */

typedef struct {
    ngx_http_wt_h2_stream_t       stream;
    ngx_http_wt_h2_end_e          how;       /* it has ended */
    ngx_http_wt_grpc_response_t   response;
    ngx_event_t                   event;     /* posted: the end; its timer:
                                                the worker's time is over */

    ngx_str_t                     head;      /* frame and call->body[0] */
    size_t                        sent;      /* of it and call->body[1] */

    ngx_http_wt_grpc_input_t      input;

    off_t                         received;

    unsigned                      open:1;    /* "stream" is */
    unsigned                      ended:1;   /* there is a status */
    unsigned                      again:1;   /* refused, and tried again */
    unsigned                      large:1;   /* the request is, too large */
    unsigned                      answered:1;
    unsigned                      bad:1;     /* the answer is */
    unsigned                      failed:1;  /* the worker has: max_fails */
} ngx_http_wt_call_grpc_t;


static ngx_int_t ngx_http_wt_call_grpc_begin(ngx_http_wt_call_t *call);
static void ngx_http_wt_call_grpc_cancel(ngx_http_wt_call_t *call);
static void ngx_http_wt_call_grpc_release(ngx_http_wt_call_t *call);
static void ngx_http_wt_call_grpc_count(ngx_http_wt_call_t *call,
    ngx_http_wt_call_grpc_t *link);
static void ngx_http_wt_call_grpc_done(ngx_http_wt_call_t *call,
    ngx_http_wt_call_end_e how, ngx_uint_t status, const char *reason);

static ngx_int_t ngx_http_wt_call_grpc_open(void *data,
    ngx_peer_connection_t *pc);
static ngx_int_t ngx_http_wt_call_grpc_open_stream(ngx_http_wt_call_t *call,
    ngx_peer_connection_t *pc);
static void ngx_http_wt_call_grpc_connected(void *data, ngx_connection_t *c);
static void ngx_http_wt_call_grpc_failed(void *data, ngx_uint_t status);

static void ngx_http_wt_call_grpc_ready(ngx_http_wt_h2_stream_t *st);
static void ngx_http_wt_call_grpc_header(ngx_http_wt_h2_stream_t *st,
    ngx_str_t *name, ngx_str_t *value);
static void ngx_http_wt_call_grpc_headers(ngx_http_wt_h2_stream_t *st,
    ngx_uint_t trailers);
static void ngx_http_wt_call_grpc_data(ngx_http_wt_h2_stream_t *st,
    u_char *buf, size_t len);
static ngx_int_t ngx_http_wt_call_grpc_message(void *data, u_char *buf,
    size_t len);
static void ngx_http_wt_call_grpc_output(ngx_http_wt_h2_stream_t *st,
    u_char **pos, u_char **last);
static void ngx_http_wt_call_grpc_sent(ngx_http_wt_h2_stream_t *st, size_t n);
static void ngx_http_wt_call_grpc_writable(ngx_http_wt_h2_stream_t *st);
static void ngx_http_wt_call_grpc_end(ngx_http_wt_h2_stream_t *st,
    ngx_http_wt_h2_end_e how);
static void ngx_http_wt_call_grpc_post(ngx_http_wt_call_grpc_t *link,
    ngx_http_wt_h2_end_e how);

static void ngx_http_wt_call_grpc_handler(ngx_event_t *ev);
static void ngx_http_wt_call_grpc_finish(ngx_http_wt_call_t *call);
static ngx_uint_t ngx_http_wt_call_grpc_next(ngx_http_wt_call_t *call);
static const char *ngx_http_wt_call_grpc_reason(ngx_http_wt_call_t *call);


static const ngx_http_wt_h2_ops_t  ngx_http_wt_call_grpc_ops = {
    ngx_http_wt_call_grpc_ready,
    ngx_http_wt_call_grpc_header,
    ngx_http_wt_call_grpc_headers,
    ngx_http_wt_call_grpc_data,
    ngx_http_wt_call_grpc_output,
    ngx_http_wt_call_grpc_sent,
    ngx_http_wt_call_grpc_writable,
    ngx_http_wt_call_grpc_end
};


const ngx_http_wt_call_ops_t  ngx_http_wt_call_grpc = {
    ngx_string("grpc+unary"),
    ngx_http_wt_call_grpc_begin,
    ngx_http_wt_call_grpc_cancel
};


static ngx_int_t
ngx_http_wt_call_grpc_begin(ngx_http_wt_call_t *call)
{
    ngx_http_wt_upstream_t   *up;
    ngx_http_wt_call_grpc_t  *link;

    link = ngx_pcalloc(call->pool, sizeof(ngx_http_wt_call_grpc_t));
    if (link == NULL) {
        return NGX_ERROR;
    }

    link->head.len = NGX_HTTP_WT_GRPC_HEADER + call->body[0].len;
    link->head.data = ngx_pnalloc(call->pool, link->head.len);
    if (link->head.data == NULL) {
        return NGX_ERROR;
    }

    ngx_http_wt_grpc_frame(link->head.data,
                           call->body[0].len + call->body[1].len);

    if (call->body[0].len) {
        ngx_memcpy(link->head.data + NGX_HTTP_WT_GRPC_HEADER,
                   call->body[0].data, call->body[0].len);
    }

    link->event.handler = ngx_http_wt_call_grpc_handler;
    link->event.data = call;
    link->event.log = call->log;

    call->link = link;
    call->sent = 0;
    call->delay = 0;
    call->reason = NULL;
    ngx_str_null(&call->response);
    ngx_str_null(&call->peer);

    up = &call->upstream;

    ngx_memzero(up, sizeof(ngx_http_wt_upstream_t));

    up->id = call->id;
    up->request = call->request;
    up->conf = &call->conf->upstream;
    up->data = call;
    up->backend = &call->peer;
    up->open = ngx_http_wt_call_grpc_open;
    up->connected = ngx_http_wt_call_grpc_connected;
    up->failed = ngx_http_wt_call_grpc_failed;

    if (ngx_http_wt_upstream_connect(up) != NGX_OK) {
        ngx_http_wt_call_grpc_release(call);
        return NGX_ERROR;
    }

    return NGX_OK;
}


static void
ngx_http_wt_call_grpc_cancel(ngx_http_wt_call_t *call)
{
    ngx_http_wt_call_grpc_release(call);
}


static void
ngx_http_wt_call_grpc_release(ngx_http_wt_call_t *call)
{
    ngx_http_wt_call_grpc_t  *link;

    link = call->link;

    if (link == NULL) {
        return;
    }

    call->link = NULL;

    ngx_http_wt_call_grpc_count(call, link);

    if (link->event.posted) {
        ngx_delete_posted_event(&link->event);
    }

    if (link->event.timer_set) {
        ngx_del_timer(&link->event);
    }

    if (link->open) {
        link->open = 0;
        ngx_http_wt_h2_close(&link->stream, NGX_HTTP_WT_CALL_GRPC_CANCEL);
    }

    ngx_http_wt_grpc_input_free(&link->input);

    ngx_http_wt_upstream_free(&call->upstream, link->failed);
}


static void
ngx_http_wt_call_grpc_count(ngx_http_wt_call_t *call,
    ngx_http_wt_call_grpc_t *link)
{
    if (link->sent
        && !(link->ended && link->how == NGX_HTTP_WT_H2_REFUSED))
    {
        call->sent = 1;
    }

    ngx_http_wt_upstream_count(call->request, link->sent, link->received);
}


static void
ngx_http_wt_call_grpc_done(ngx_http_wt_call_t *call,
    ngx_http_wt_call_end_e how, ngx_uint_t status, const char *reason)
{
    call->status = status;
    call->reason = reason;

    ngx_http_wt_call_grpc_release(call);

    call->done(call, how);
}


static ngx_int_t
ngx_http_wt_call_grpc_open(void *data, ngx_peer_connection_t *pc)
{
    ngx_http_wt_call_t       *call = data;
    ngx_http_wt_call_grpc_t  *link;

    link = call->link;
    link->again = 0;

    return ngx_http_wt_call_grpc_open_stream(call, pc);
}


static ngx_int_t
ngx_http_wt_call_grpc_open_stream(ngx_http_wt_call_t *call,
    ngx_peer_connection_t *pc)
{
    ngx_http_wt_h2_peer_t     peer;
    ngx_http_wt_call_grpc_t  *link;

    link = call->link;

    ngx_memzero(&link->response, sizeof(ngx_http_wt_grpc_response_t));

    link->stream.ops = &ngx_http_wt_call_grpc_ops;
    link->stream.data = call;

    ngx_http_wt_grpc_input_free(&link->input);

    link->input.message = ngx_http_wt_call_grpc_message;
    link->input.data = call;
    link->input.response = &link->response;
    link->input.max = call->max_response;
    link->input.unconsumed = 0;

    ngx_str_null(&call->response);

    link->answered = 0;
    link->sent = 0;
    link->received = 0;
    link->ended = 0;
    link->bad = 0;

    if (ngx_http_wt_grpc_peer(call->request, call->conf, pc, &peer) != NGX_OK
        || ngx_http_wt_h2_open(&link->stream, &peer) != NGX_OK)
    {
        return NGX_ERROR;
    }

    link->open = 1;

    return NGX_OK;
}


static void
ngx_http_wt_call_grpc_connected(void *data, ngx_connection_t *c)
{
    ngx_http_wt_call_t       *call = data;
    ngx_http_wt_call_grpc_t  *link;

    link = call->link;

    if (!link->event.timer_set) {
        ngx_add_timer(&link->event, call->timeout);
    }

    ngx_http_wt_h2_write(&link->stream, 0);
}


static void
ngx_http_wt_call_grpc_failed(void *data, ngx_uint_t status)
{
    const char               *reason;
    ngx_http_wt_call_t       *call = data;
    ngx_http_wt_call_grpc_t  *link;

    link = call->link;

    if (status == NGX_HTTP_INTERNAL_SERVER_ERROR) {
        ngx_http_wt_call_grpc_done(call, NGX_HTTP_WT_CALL_RETRY, status,
                                   NGX_HTTP_WT_GRPC_NO_MEMORY);
        return;
    }

    reason = (link->ended && link->how != NGX_HTTP_WT_H2_UNREACHABLE)
                 ? ngx_http_wt_call_grpc_reason(call)
                 : "no worker could be reached";

    ngx_http_wt_call_grpc_done(call, NGX_HTTP_WT_CALL_RETRY, status, reason);
}


static void
ngx_http_wt_call_grpc_ready(ngx_http_wt_h2_stream_t *st)
{
    ngx_int_t                    rc;
    ngx_http_wt_call_t          *call;
    ngx_http_wt_call_grpc_t     *link;
    ngx_http_wt_grpc_request_t   req;

    call = st->data;
    link = call->link;

    req.conf = call->conf;
    req.timeout = call->timeout;
    req.headers = call->headers;
    req.nheaders = call->nheaders;

    ngx_str_set(&req.path, "/nginx.webtransport.v1.Worker/Deliver");

    rc = ngx_http_wt_grpc_request(st, &req, call->log);

    if (rc != NGX_OK) {
        link->large = (rc == NGX_DECLINED);
        ngx_http_wt_call_grpc_post(link, NGX_HTTP_WT_H2_ERROR);
        return;
    }

    ngx_log_debug1(NGX_LOG_DEBUG_HTTP, call->log, 0,
                   "wt session %V grpc unary call", call->id);

    ngx_http_wt_upstream_ready(&call->upstream);
}


static void
ngx_http_wt_call_grpc_header(ngx_http_wt_h2_stream_t *st, ngx_str_t *name,
    ngx_str_t *value)
{
    ngx_http_wt_call_t       *call;
    ngx_http_wt_call_grpc_t  *link;

    call = st->data;
    link = call->link;

    if (!link->ended) {
        ngx_http_wt_grpc_header(&link->response, name, value);
    }
}


static void
ngx_http_wt_call_grpc_headers(ngx_http_wt_h2_stream_t *st,
    ngx_uint_t trailers)
{
    ngx_http_wt_call_t       *call;
    ngx_http_wt_call_grpc_t  *link;

    call = st->data;
    link = call->link;

    if (!link->ended && !trailers
        && ngx_http_wt_grpc_headers(&link->response) == NGX_ERROR)
    {
        ngx_http_wt_call_grpc_post(link, NGX_HTTP_WT_H2_DONE);
    }
}


static void
ngx_http_wt_call_grpc_data(ngx_http_wt_h2_stream_t *st, u_char *buf,
    size_t len)
{
    ngx_http_wt_call_t       *call;
    ngx_http_wt_call_grpc_t  *link;

    call = st->data;
    link = call->link;

    link->received += len;

    if (!link->ended
        && ngx_http_wt_grpc_input(&link->input, buf, len) != NGX_OK)
    {
        if (!link->response.local) {
            ngx_http_wt_grpc_fail(&link->response, NGX_HTTP_WT_GRPC_INTERNAL,
                                  "message without memory for it");
        }

        link->bad = 1;
        ngx_http_wt_call_grpc_post(link, NGX_HTTP_WT_H2_DONE);
    }

    ngx_http_wt_h2_consumed(st, len);
}


static ngx_int_t
ngx_http_wt_call_grpc_message(void *data, u_char *buf, size_t len)
{
    ngx_http_wt_call_t       *call = data;
    ngx_http_wt_call_grpc_t  *link;

    link = call->link;

    if (link->answered) {
        ngx_http_wt_grpc_fail(&link->response, NGX_HTTP_WT_GRPC_INTERNAL,
                              "second message");
        return NGX_ERROR;
    }

    link->answered = 1;

    if (len == 0) {
        return NGX_OK;
    }

    call->response.data = ngx_pnalloc(call->pool, len);
    if (call->response.data == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(call->response.data, buf, len);
    call->response.len = len;

    return NGX_OK;
}


static void
ngx_http_wt_call_grpc_output(ngx_http_wt_h2_stream_t *st, u_char **pos,
    u_char **last)
{
    ngx_str_t                *body;
    ngx_http_wt_call_t       *call;
    ngx_http_wt_call_grpc_t  *link;

    call = st->data;
    link = call->link;
    body = &call->body[1];

    if (link->sent < link->head.len) {
        *pos = link->head.data + link->sent;
        *last = link->head.data + link->head.len;

        if (body->len) {
            return;
        }

    } else {
        *pos = body->data + (link->sent - link->head.len);
        *last = body->data + body->len;
    }

    /* nothing comes after it */

    ngx_http_wt_h2_write(st, 1);
}


static void
ngx_http_wt_call_grpc_sent(ngx_http_wt_h2_stream_t *st, size_t n)
{
    ngx_http_wt_call_t       *call;
    ngx_http_wt_call_grpc_t  *link;

    call = st->data;
    link = call->link;

    link->sent += n;
}


static void
ngx_http_wt_call_grpc_writable(ngx_http_wt_h2_stream_t *st)
{
    /* there is nothing more */
}


static void
ngx_http_wt_call_grpc_end(ngx_http_wt_h2_stream_t *st,
    ngx_http_wt_h2_end_e how)
{
    ngx_http_wt_call_t       *call;
    ngx_http_wt_call_grpc_t  *link;

    call = st->data;
    link = call->link;

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, call->log, 0,
                   "wt session %V grpc unary call ended:%ui", call->id,
                   (ngx_uint_t) how);

    link->open = 0;

    if (!link->ended) {
        ngx_http_wt_grpc_end(&link->response, st, how);
        ngx_http_wt_call_grpc_post(link, how);
    }
}


/* the end of the stream, but not here, where HTTP/2 may still look at it */

static void
ngx_http_wt_call_grpc_post(ngx_http_wt_call_grpc_t *link,
    ngx_http_wt_h2_end_e how)
{
    link->how = how;
    link->ended = 1;

    ngx_post_event(&link->event, &ngx_posted_events);
}


static void
ngx_http_wt_call_grpc_handler(ngx_event_t *ev)
{
    ngx_http_wt_call_t       *call;
    ngx_http_wt_call_grpc_t  *link;

    call = ev->data;
    link = call->link;

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, ev->log, 0,
                   "wt session %V grpc unary event timedout:%d", call->id,
                   ev->timedout);

    if (ev->timedout && !link->ended) {

        /* it may be this batch that takes long: others may not */

        link->failed = (link->sent == 0);

        ngx_http_wt_call_grpc_done(call, NGX_HTTP_WT_CALL_RETRY,
                                   NGX_HTTP_GATEWAY_TIME_OUT,
                                   "worker did not answer in time");
        return;
    }

    ngx_http_wt_call_grpc_finish(call);
}


static void
ngx_http_wt_call_grpc_finish(ngx_http_wt_call_t *call)
{
    ngx_uint_t                    status;
    const char                   *reason;
    ngx_http_wt_call_end_e        end;
    ngx_http_wt_call_grpc_t      *link;
    ngx_http_wt_grpc_response_t  *resp;

    link = call->link;
    resp = &link->response;

    if (link->open) {
        link->open = 0;
        ngx_http_wt_h2_close(&link->stream, NGX_HTTP_WT_CALL_GRPC_CANCEL);
    }

    if (link->how == NGX_HTTP_WT_H2_ERROR) {
        ngx_http_wt_call_grpc_done(call, link->large ? NGX_HTTP_WT_CALL_FAILED
                                                     : NGX_HTTP_WT_CALL_RETRY,
                                   NGX_HTTP_INTERNAL_SERVER_ERROR,
                                   link->large ? NGX_HTTP_WT_GRPC_TOO_LARGE
                                               : NGX_HTTP_WT_GRPC_NO_MEMORY);
        return;
    }

    if (ngx_http_wt_call_grpc_next(call)) {
        return;
    }

    if (resp->status == NGX_HTTP_WT_GRPC_OK
        && link->input.pos != link->input.last)
    {
        ngx_http_wt_grpc_fail(resp, NGX_HTTP_WT_GRPC_INTERNAL,
                              "call ended within a message");
    }

    switch (resp->status) {

    case NGX_HTTP_WT_GRPC_OK:
        ngx_http_wt_upstream_answered(call->request, NGX_HTTP_OK);
        ngx_http_wt_call_grpc_done(call, NGX_HTTP_WT_CALL_OK, NGX_HTTP_OK,
                                   NULL);
        return;

    case NGX_HTTP_WT_GRPC_CANCELLED:    /* of a server that stops */
    case NGX_HTTP_WT_GRPC_ABORTED:
    case NGX_HTTP_WT_GRPC_UNAVAILABLE:
    case NGX_HTTP_WT_GRPC_DEADLINE_EXCEEDED:
        end = NGX_HTTP_WT_CALL_RETRY;
        break;

    default:
        end = NGX_HTTP_WT_CALL_FAILED;
        break;
    }

    status = (link->bad || link->how == NGX_HTTP_WT_H2_LOST)
                 ? NGX_HTTP_BAD_GATEWAY : ngx_http_wt_grpc_http(resp);
    reason = ngx_http_wt_call_grpc_reason(call);

    ngx_http_wt_upstream_answered(call->request, status);
    ngx_http_wt_call_grpc_done(call, end, status, reason);
}


/*
 * Another worker, or the same one once more; 0: neither, it has to end.  What
 * a worker may have got goes to another one only if the first one says that it
 * has not looked at it; it may even be what the worker died of.
 */

static ngx_uint_t
ngx_http_wt_call_grpc_next(ngx_http_wt_call_t *call)
{
    ngx_uint_t                status;
    ngx_http_wt_call_grpc_t  *link;

    link = call->link;

    switch (link->how) {

    case NGX_HTTP_WT_H2_UNREACHABLE:
        status = link->stream.timedout ? NGX_HTTP_GATEWAY_TIME_OUT
                                       : NGX_HTTP_BAD_GATEWAY;
        break;

    case NGX_HTTP_WT_H2_REFUSED:

        if (!link->again) {

            /* its connection is being closed, perhaps: over another one */

            link->again = 1;

            if (ngx_http_wt_call_grpc_open_stream(call,
                                              &call->request->upstream->peer)
                != NGX_OK)
            {
                ngx_http_wt_call_grpc_done(call, NGX_HTTP_WT_CALL_RETRY,
                                           NGX_HTTP_INTERNAL_SERVER_ERROR,
                                           NGX_HTTP_WT_GRPC_NO_MEMORY);
            }

            return 1;
        }

        status = NGX_HTTP_BAD_GATEWAY;
        break;

    case NGX_HTTP_WT_H2_LOST:
    case NGX_HTTP_WT_H2_TIMEOUT:

        if (link->sent) {
            return 0;
        }

        status = (link->how == NGX_HTTP_WT_H2_LOST)
                     ? NGX_HTTP_BAD_GATEWAY : NGX_HTTP_GATEWAY_TIME_OUT;
        break;

    default:

        if (link->response.status != NGX_HTTP_WT_GRPC_UNAVAILABLE) {
            return 0;
        }

        if (!call->first && link->sent) {
            link->failed = 1;
            return 0;
        }

        status = NGX_HTTP_SERVICE_UNAVAILABLE;
        break;
    }

    ngx_http_wt_call_grpc_count(call, link);

    ngx_http_wt_upstream_retry(&call->upstream, status);

    return 1;
}


static const char *
ngx_http_wt_call_grpc_reason(ngx_http_wt_call_t *call)
{
    size_t                        size;
    u_char                       *p, *reason;
    ngx_http_wt_call_grpc_t      *link;
    ngx_http_wt_grpc_response_t  *resp;

    link = call->link;
    resp = &link->response;

    size = sizeof("worker answered with ") + NGX_HTTP_WT_GRPC_TEXT;

    reason = ngx_pnalloc(call->pool, size);
    if (reason == NULL) {
        return "worker failed";
    }

    p = ngx_cpymem(reason, "worker ", sizeof("worker ") - 1);

    if (link->bad) {
        p = ngx_cpymem(p, "sent a ", sizeof("sent a ") - 1);

    } else if (resp->local) {
        p = ngx_cpymem(p, "failed: ", sizeof("failed: ") - 1);

    } else {
        p = ngx_cpymem(p, "answered with ", sizeof("answered with ") - 1);
    }

    p = ngx_http_wt_grpc_text(resp, p, reason + size - 1);
    *p = '\0';

    return (const char *) reason;
}
