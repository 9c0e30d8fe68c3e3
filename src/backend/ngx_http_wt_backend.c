/*
 * A session whose peer is an application worker: its life, from finding the
 * worker to telling it the end.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_http.h>
#include <ngx_http_wt_relay.h>
#include <ngx_http_wt_upstream.h>


/* the longest reason of a violation */
#define NGX_HTTP_WT_BACKEND_REASON  256


static ngx_int_t ngx_http_wt_backend_connect(ngx_http_wt_session_t *s);
static void ngx_http_wt_backend_stream_opened(ngx_http_wt_stream_t *ws);
static void ngx_http_wt_backend_stream_readable(ngx_http_wt_stream_t *ws);
static void ngx_http_wt_backend_stream_reset(ngx_http_wt_stream_t *ws,
    uint32_t *code);
static void ngx_http_wt_backend_stream_stop(ngx_http_wt_stream_t *ws,
    uint32_t *code);
static void ngx_http_wt_backend_stream_sent(ngx_http_wt_stream_t *ws,
    size_t n);
static void ngx_http_wt_backend_stream_closed(ngx_http_wt_stream_t *ws);
static ngx_int_t ngx_http_wt_backend_datagram(ngx_http_wt_session_t *s,
    u_char *data, size_t len);
static void ngx_http_wt_backend_streams(ngx_http_wt_session_t *s);
static void ngx_http_wt_backend_drain(ngx_http_wt_session_t *s);
static void ngx_http_wt_backend_flush(ngx_http_wt_session_t *s);
static void ngx_http_wt_backend_closed(ngx_http_wt_session_t *s);
static void ngx_http_wt_backend_end(ngx_http_wt_backend_t *b,
    ngx_http_wt_by_e by, ngx_uint_t status, const char *reason);
static void ngx_http_wt_backend_event_handler(ngx_event_t *ev);
static void ngx_http_wt_backend_timer_handler(ngx_event_t *ev);
static void ngx_http_wt_backend_alive(ngx_http_wt_backend_t *b);


const ngx_http_wt_peer_ops_t  ngx_http_wt_backend_ops = {
    ngx_string("worker"),
    ngx_http_wt_backend_connect,
    ngx_http_wt_backend_stream_opened,
    ngx_http_wt_backend_stream_readable,
    ngx_http_wt_backend_stream_reset,
    ngx_http_wt_backend_stream_stop,
    ngx_http_wt_backend_stream_sent,
    ngx_http_wt_backend_stream_closed,
    ngx_http_wt_backend_datagram,
    ngx_http_wt_backend_streams,
    ngx_http_wt_backend_drain,
    ngx_http_wt_backend_flush,
    ngx_http_wt_backend_closed
};


ngx_http_wt_backend_t *
ngx_http_wt_backend_create(ngx_http_request_t *r,
    ngx_http_wt_backend_conf_t *conf)
{
    ngx_http_wt_backend_t  *b;

    b = ngx_pcalloc(r->pool, sizeof(ngx_http_wt_backend_t));
    if (b == NULL) {
        return NULL;
    }

    b->request = r;
    b->conf = conf;

    ngx_queue_init(&b->streams);
    ngx_queue_init(&b->ready);

    ngx_http_wt_datagram_queue_init(&b->datagrams, conf->datagram_queue);

    b->event.handler = ngx_http_wt_backend_event_handler;
    b->event.data = b;
    b->event.log = r->connection->log;

    b->timer.handler = ngx_http_wt_backend_timer_handler;
    b->timer.data = b;
    b->timer.log = r->connection->log;

    return b;
}


static ngx_int_t
ngx_http_wt_backend_connect(ngx_http_wt_session_t *s)
{
    ngx_http_wt_backend_t  *b;

    b = s->peer;
    b->session = s;

    return b->conf->transport->connect(b);
}


void
ngx_http_wt_relay_connected(ngx_http_wt_backend_t *b)
{
    if (ngx_http_wt_relay_connect(b) != NGX_OK) {
        ngx_http_wt_relay_end(b, NGX_HTTP_WT_BY_LIMIT,
                              NGX_HTTP_INTERNAL_SERVER_ERROR,
                              "no memory for the request");
        return;
    }

    b->connected = 1;
    b->heard = ngx_current_msec;

    b->request->connection->log->action = "waiting for webtransport worker";

    ngx_add_timer(&b->timer, b->conf->accept_timeout);
}


void
ngx_http_wt_relay_accepted(ngx_http_wt_backend_t *b)
{
    b->accepted = 1;
    b->heard = ngx_current_msec;

    b->request->connection->log->action = "proxying webtransport session";

    ngx_del_timer(&b->timer);

    if (b->conf->worker_timeout && !b->conf->transport->batches) {
        ngx_add_timer(&b->timer, b->conf->worker_timeout / 2);
    }

    /* the client may have allowed more streams since Connect */

    b->opens = 1;
    ngx_http_wt_event_post(b);
}


void
ngx_http_wt_relay_heard(ngx_http_wt_backend_t *b)
{
    b->heard = ngx_current_msec;
    b->pinged = 0;
}


size_t
ngx_http_wt_relay_max_command(ngx_http_wt_backend_t *b)
{
    return ngx_max(b->conf->upstream.buffer_size, NGX_HTTP_WT_RELAY_COMMAND);
}


void
ngx_http_wt_relay_failed(ngx_http_wt_backend_t *b, ngx_uint_t status,
    const char *reason)
{
    if (b->closing) {

        /* the worker has said all it wanted to say */

        return;
    }

    b->lost = !b->accepted;

    ngx_http_wt_relay_end(b, NGX_HTTP_WT_BY_WORKER_LOST, status, reason);
}


void
ngx_http_wt_relay_violation(ngx_http_wt_backend_t *b, const char *fmt, ...)
{
    u_char    *last;
    va_list    args;
    u_char     reason[NGX_HTTP_WT_BACKEND_REASON];

    va_start(args, fmt);
    last = ngx_vslprintf(reason, reason + NGX_HTTP_WT_BACKEND_REASON - 1,
                         fmt, args);
    va_end(args);

    *last = '\0';

    b->lost = !b->accepted;

    ngx_http_wt_relay_end(b, NGX_HTTP_WT_BY_PROTOCOL, NGX_HTTP_BAD_GATEWAY,
                          (char *) reason);
}


void
ngx_http_wt_relay_end(ngx_http_wt_backend_t *b, ngx_http_wt_by_e by,
    ngx_uint_t status, const char *reason)
{
    if (b->session == NULL) {
        return;
    }

    ngx_http_wt_session_log(NGX_LOG_ERR, b->session, 0, "%s", reason);

    ngx_http_wt_backend_end(b, by, status, reason);
}


void
ngx_http_wt_relay_left(ngx_http_wt_backend_t *b, ngx_http_wt_by_e by,
    ngx_uint_t status, const char *reason, ngx_str_t *text)
{
    if (b->closing || b->session == NULL) {
        return;
    }

    ngx_http_wt_session_log(NGX_LOG_ERR, b->session, 0, "%s: %V", reason,
                            text);

    ngx_http_wt_backend_end(b, by, status, reason);
}


static void
ngx_http_wt_backend_end(ngx_http_wt_backend_t *b, ngx_http_wt_by_e by,
    ngx_uint_t status, const char *reason)
{
    ngx_str_t  str;

    if (b->connected && !b->accepted) {
        ngx_http_wt_upstream_answered(b->request, status);
    }

    if (b->accepted || status == NGX_HTTP_BAD_GATEWAY) {

        /* without an Accept, this is 502 for the client */

        str.data = (u_char *) reason;
        str.len = ngx_strlen(reason);

        ngx_http_wt_session_close(b->session, by, by, &str);
        return;
    }

    ngx_http_wt_session_reject(b->session, by, status, NULL, 0, NULL);
}


static void
ngx_http_wt_backend_event_handler(ngx_event_t *ev)
{
    ngx_http_wt_backend_t  *b;

    b = ev->data;

    ngx_log_debug1(NGX_LOG_DEBUG_HTTP, ev->log, 0,
                   "wt session %V events", &b->session->id);

    ngx_http_wt_relay_write(b);
}


static void
ngx_http_wt_backend_timer_handler(ngx_event_t *ev)
{
    ngx_http_wt_backend_t  *b;

    b = ev->data;

    ngx_log_debug1(NGX_LOG_DEBUG_HTTP, ev->log, 0,
                   "wt session %V worker timer", &b->session->id);

    if (!b->accepted) {
        ngx_http_wt_relay_failed(b, NGX_HTTP_GATEWAY_TIME_OUT,
                                 "worker did not answer in time");
        return;
    }

    ngx_http_wt_backend_alive(b);
}


static void
ngx_http_wt_backend_alive(ngx_http_wt_backend_t *b)
{
    u_char      *p;
    ngx_msec_t   timeout, silence;

    if (b->closing) {
        return;
    }

    if (b->stalled) {

        /* it may have sent something, but it is we who do not read */

        ngx_http_wt_relay_heard(b);
    }

    timeout = b->conf->worker_timeout;
    silence = ngx_current_msec - b->heard;

    if (silence >= timeout) {
        ngx_http_wt_relay_failed(b, NGX_HTTP_GATEWAY_TIME_OUT,
                                 "worker timed out");
        return;
    }

    if (silence < timeout / 2) {
        ngx_add_timer(&b->timer, timeout / 2 - silence);
        return;
    }

    if (!b->pinged) {

        p = ngx_http_wt_event_room(b, NGX_HTTP_WT_MSG_EVENT_MAX, 0);

        if (p) {
            b->pinged = 1;
            p = ngx_http_wt_msg_ping(p, ++b->pings);
            ngx_http_wt_event_done(b, p);
        }

        /* else: a worker that does not read meets webtransport_send_timeout */
    }

    ngx_add_timer(&b->timer, timeout - silence);
}


static void
ngx_http_wt_backend_stream_opened(ngx_http_wt_stream_t *ws)
{
    ngx_http_wt_backend_t       *b;
    ngx_http_wt_relay_stream_t  *bs;

    b = ws->session->peer;

    bs = ngx_http_wt_relay_add_stream(b, ws);
    if (bs == NULL) {
        ngx_http_wt_stream_stop(ws, NGX_HTTP_WT_BY_LIMIT);
        ngx_http_wt_stream_reset(ws, NGX_HTTP_WT_BY_LIMIT);
        return;
    }

    /* with a framing, a stream is announced by its first message */

    if (bs->framing == NGX_HTTP_WT_FRAMING_RAW) {
        ngx_http_wt_relay_queue(b, bs);
    }
}


static void
ngx_http_wt_backend_stream_readable(ngx_http_wt_stream_t *ws)
{
    ngx_http_wt_relay_stream_t  *bs;

    bs = ws->peer;

    if (bs && !bs->fin) {
        bs->readable = 1;
        ngx_http_wt_relay_queue(ws->session->peer, bs);
    }
}


static void
ngx_http_wt_backend_stream_reset(ngx_http_wt_stream_t *ws, uint32_t *code)
{
    ngx_http_wt_relay_stream_t  *bs;

    bs = ws->peer;

    if (bs == NULL || bs->fin) {
        return;
    }

    bs->readable = 0;
    bs->reset = 1;
    bs->reset_app = (code != NULL);
    bs->reset_code = code ? *code : 0;

    ngx_http_wt_framing_free(&bs->input);

    ngx_http_wt_relay_queue(ws->session->peer, bs);
}


static void
ngx_http_wt_backend_stream_stop(ngx_http_wt_stream_t *ws, uint32_t *code)
{
    ngx_http_wt_backend_t       *b;
    ngx_http_wt_relay_stream_t  *bs;

    b = ws->session->peer;
    bs = ws->peer;

    if (bs == NULL) {
        return;
    }

    ngx_http_wt_relay_unblock(b, bs);

    bs->stop = 1;
    bs->stop_app = (code != NULL);
    bs->stop_code = code ? *code : 0;

    ngx_http_wt_relay_queue(b, bs);
}


static void
ngx_http_wt_backend_stream_sent(ngx_http_wt_stream_t *ws, size_t n)
{
    ngx_http_wt_backend_t       *b;
    ngx_http_wt_relay_stream_t  *bs;

    b = ws->session->peer;
    bs = ws->peer;

    if (bs == NULL) {
        return;
    }

    if (ws->pending <= b->conf->upstream.buffer_size) {
        ngx_http_wt_relay_unblock(b, bs);
    }

    if (ngx_http_wt_relay_credit(b, bs)) {
        ngx_http_wt_relay_queue(b, bs);
    }
}


static void
ngx_http_wt_backend_stream_closed(ngx_http_wt_stream_t *ws)
{
    ngx_http_wt_backend_t       *b;
    ngx_http_wt_relay_stream_t  *bs;

    b = ws->session->peer;
    bs = ws->peer;

    if (bs == NULL) {
        return;
    }

    ngx_http_wt_relay_unblock(b, bs);

    if (ws->session->ended
        || (!bs->queued && (bs->fin || bs->input.pos == bs->input.last)))
    {
        ngx_http_wt_relay_free_stream(b, bs);
        return;
    }

    /* its last events are still to be told */

    ws->peer = NULL;

    bs->stream = NULL;
    bs->readable = 0;
    bs->gone = 1;
    b->ngone++;

    if (b->ngone > NGX_HTTP_WT_RELAY_GONE && b->failure == NULL) {
        b->failure = "too many streams have ended unnoticed by the worker";
        ngx_http_wt_event_post(b);
    }
}


static ngx_int_t
ngx_http_wt_backend_datagram(ngx_http_wt_session_t *s, u_char *data,
    size_t len)
{
    return ngx_http_wt_event_datagram(s->peer, data, len);
}


static void
ngx_http_wt_backend_streams(ngx_http_wt_session_t *s)
{
    ngx_http_wt_backend_t  *b;

    b = s->peer;

    if (b->accepted) {
        b->opens = 1;
        ngx_http_wt_event_post(b);
    }
}


static void
ngx_http_wt_backend_drain(ngx_http_wt_session_t *s)
{
    ngx_http_wt_backend_t  *b;

    b = s->peer;

    b->drain = 1;
    ngx_http_wt_event_post(b);
}


static void
ngx_http_wt_backend_flush(ngx_http_wt_session_t *s)
{
    ngx_http_wt_backend_t  *b;

    b = s->peer;

    if (b->event.posted) {
        ngx_delete_posted_event(&b->event);
        ngx_http_wt_relay_write(b);
    }
}


static void
ngx_http_wt_backend_closed(ngx_http_wt_session_t *s)
{
    ngx_queue_t                 *q;
    ngx_http_wt_backend_t       *b;
    ngx_http_wt_relay_stream_t  *bs;

    b = s->peer;

    if (b->connected && ngx_http_wt_event_closed(b) != NGX_OK) {
        ngx_http_wt_session_log(NGX_LOG_ERR, s, 0,
                                "no memory to tell the worker of the end");
    }

    b->session = NULL;

    while (!ngx_queue_empty(&b->streams)) {
        q = ngx_queue_head(&b->streams);
        bs = ngx_queue_data(q, ngx_http_wt_relay_stream_t, queue);

        ngx_http_wt_relay_free_stream(b, bs);
    }

    ngx_http_wt_datagram_queue_clear(&b->datagrams);

    if (b->event.posted) {
        ngx_delete_posted_event(&b->event);
    }

    if (b->timer.timer_set) {
        ngx_del_timer(&b->timer);
    }

    b->conf->transport->close(b);

    ngx_http_wt_event_free(b);
    ngx_http_wt_context_free(&b->context);
}
