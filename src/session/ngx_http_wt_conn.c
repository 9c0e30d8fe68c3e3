/*
 * The QUIC connection's part: SETTINGS, dispatch of streams and datagrams to
 * sessions, and what comes before its session or after it.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_http.h>
#include <ngx_http_wt_conn.h>
#include <ngx_http_wt_proto.h>
#include <ngx_http_wt_session.h>
#include <ngx_http_wt_stream.h>
#include <ngx_http_wt_varint.h>


static ngx_http_wt_glue_params_t *ngx_http_wt_conn_params_of(
    ngx_http_conf_ctx_t *ctx);
static ngx_int_t ngx_http_wt_conn_open(ngx_http_wt_qconn_t *qconn);
static void ngx_http_wt_conn_cleanup(void *data);
static void ngx_http_wt_conn_ping_handler(ngx_event_t *ev);
static ngx_msec_t ngx_http_wt_conn_ping_interval(ngx_http_wt_conn_t *wc);
static ngx_msec_t ngx_http_wt_conn_ping_latest(ngx_http_wt_conn_t *wc);
static void ngx_http_wt_conn_schedule_ping(ngx_http_wt_conn_t *wc,
    ngx_http_wt_session_t *s);
static ngx_int_t ngx_http_wt_conn_setting(ngx_http_wt_qconn_t *qconn,
    uint64_t id, uint64_t value);
static void ngx_http_wt_conn_settings_done(ngx_http_wt_qconn_t *qconn);
static ngx_int_t ngx_http_wt_conn_datagram(ngx_http_wt_qconn_t *qconn,
    u_char *data, size_t len);
static ssize_t ngx_http_wt_conn_next_datagram(ngx_http_wt_qconn_t *qconn,
    u_char *p, size_t room, ngx_uint_t whole);
static ssize_t ngx_http_wt_conn_write_datagram(ngx_http_wt_session_t *s,
    u_char *p, size_t room, ngx_uint_t whole);
static void ngx_http_wt_conn_streams(ngx_http_wt_qconn_t *qconn);
static ngx_uint_t ngx_http_wt_conn_busy(ngx_http_wt_qconn_t *qconn);
static ngx_http_wt_session_t *ngx_http_wt_conn_find(ngx_http_wt_conn_t *wc,
    uint64_t id);
static void ngx_http_wt_conn_add_closed(ngx_http_wt_conn_t *wc, uint64_t id);
static ngx_uint_t ngx_http_wt_conn_was_closed(ngx_http_wt_conn_t *wc,
    uint64_t id);
static void ngx_http_wt_conn_hold(ngx_http_wt_conn_t *wc,
    ngx_http_wt_stream_t *ws, uint64_t session_id);


const ngx_http_wt_glue_ops_t  ngx_http_wt_conn_ops = {
    ngx_http_wt_conn_params_of,
    ngx_http_wt_conn_open,
    ngx_http_wt_conn_setting,
    ngx_http_wt_conn_settings_done,
    ngx_http_wt_stream_read,
    ngx_http_wt_stream_read,
    ngx_http_wt_stream_write,
    ngx_http_wt_conn_datagram,
    ngx_http_wt_conn_next_datagram,
    ngx_http_wt_conn_streams,
    ngx_http_wt_conn_busy
};


ngx_http_wt_glue_params_t  *(*ngx_http_wt_conn_negotiate)(
                                 ngx_http_conf_ctx_t *ctx);


/*
 * SETTINGS by which the client's draft is known, the newest first;
 * draft-ietf-webtrans-http3, 3.1 of each.
 */

static const struct {
    uint64_t     setting;
    const char  *draft;
} ngx_http_wt_conn_drafts[] = {
    { NGX_HTTP_WT_SETTING_ENABLED_15,      "15" },
    { NGX_HTTP_WT_SETTING_MAX_SESSIONS_13, "13" },
    { NGX_HTTP_WT_SETTING_MAX_SESSIONS_07, "07" },
    { NGX_HTTP_WT_SETTING_ENABLE_02,       "02" },

    /* draft-09 to draft-12 ask nothing of the client */
    { 0,                                   "09" }
};


ngx_int_t
ngx_http_wt_conn_params(ngx_http_wt_glue_params_t *params,
    ngx_uint_t max_sessions, ngx_pool_t *pool)
{
    u_char      *p;
    ngx_uint_t   i;

    /* all drafts at once: clients ignore what they do not know */

    const uint64_t  settings[][2] = {
        { NGX_HTTP_WT_SETTING_CONNECT_PROTOCOL, 1 },
        { NGX_HTTP_WT_SETTING_H3_DATAGRAM, 1 },
        { NGX_HTTP_WT_SETTING_H3_DATAGRAM_04, 1 },
        { NGX_HTTP_WT_SETTING_ENABLE_02, 1 },
        { NGX_HTTP_WT_SETTING_MAX_SESSIONS_07, max_sessions }
    };

    params->bidi_type = NGX_HTTP_WT_FRAME_WT_STREAM;
    params->uni_type = NGX_HTTP_WT_STREAM_WT;

    p = ngx_pnalloc(pool, sizeof(settings));
    if (p == NULL) {
        return NGX_ERROR;
    }

    params->settings.data = p;

    for (i = 0; i < sizeof(settings) / sizeof(settings[0]); i++) {
        p = ngx_http_wt_varint_write(p, settings[i][0]);
        p = ngx_http_wt_varint_write(p, settings[i][1]);
    }

    params->settings.len = p - params->settings.data;

    p = ngx_pnalloc(pool, 3 * NGX_HTTP_WT_VARINT_LEN);
    if (p == NULL) {
        return NGX_ERROR;
    }

    params->transport_params.data = p;

    p = ngx_http_wt_varint_write(p, NGX_HTTP_WT_TP_MAX_DATAGRAM_SIZE);
    p = ngx_http_wt_varint_write(p,
                    ngx_http_wt_varint_len(params->max_datagram_frame_size));
    p = ngx_http_wt_varint_write(p, params->max_datagram_frame_size);

    params->transport_params.len = p - params->transport_params.data;

    return NGX_OK;
}


static ngx_http_wt_glue_params_t *
ngx_http_wt_conn_params_of(ngx_http_conf_ctx_t *ctx)
{
    return ngx_http_wt_conn_negotiate(ctx);
}


static ngx_int_t
ngx_http_wt_conn_open(ngx_http_wt_qconn_t *qconn)
{
    ngx_pool_cleanup_t  *cln;
    ngx_http_wt_conn_t  *wc;

    wc = ngx_pcalloc(qconn->connection->pool, sizeof(ngx_http_wt_conn_t));
    if (wc == NULL) {
        return NGX_ERROR;
    }

    cln = ngx_pool_cleanup_add(qconn->connection->pool, 0);
    if (cln == NULL) {
        return NGX_ERROR;
    }

    cln->handler = ngx_http_wt_conn_cleanup;
    cln->data = wc;

    wc->qconn = qconn;
    wc->draft_rank = sizeof(ngx_http_wt_conn_drafts)
                     / sizeof(ngx_http_wt_conn_drafts[0]) - 1;
    wc->draft = ngx_http_wt_conn_drafts[wc->draft_rank].draft;

    ngx_queue_init(&wc->sessions);
    ngx_queue_init(&wc->early);

    ngx_http_wt_datagram_queue_init(&wc->datagrams,
                                    NGX_HTTP_WT_EARLY_DATAGRAMS);

    wc->ping.data = wc;
    wc->ping.log = qconn->connection->log;
    wc->ping.handler = ngx_http_wt_conn_ping_handler;

    qconn->data = wc;

    return NGX_OK;
}


static void
ngx_http_wt_conn_cleanup(void *data)
{
    ngx_http_wt_conn_t *wc = data;

    ngx_http_wt_datagram_queue_clear(&wc->datagrams);

    if (wc->ping.timer_set) {
        ngx_del_timer(&wc->ping);
    }
}


/*
 * A client that is still there acknowledges, and so restarts QUIC's timer.
 * Of what we send while nothing comes only the first packet restarts it, so
 * a dead client goes.
 */

static void
ngx_http_wt_conn_ping_handler(ngx_event_t *ev)
{
    ngx_msec_t           interval;
    ngx_http_wt_conn_t  *wc;

    wc = ev->data;

    interval = ngx_http_wt_conn_ping_interval(wc);

    if (interval == 0) {

        /* the session that wanted it has gone */

        return;
    }

    /* without memory the next one may get through */

    (void) ngx_http_wt_glue_ping(wc->qconn);

    ngx_add_timer(ev, interval);
}


/* that of the session which wants PINGs most often; 0 if none does */

static ngx_msec_t
ngx_http_wt_conn_ping_interval(ngx_http_wt_conn_t *wc)
{
    ngx_msec_t              interval;
    ngx_queue_t            *q;
    ngx_http_wt_session_t  *s;

    interval = 0;

    for (q = ngx_queue_head(&wc->sessions);
         q != ngx_queue_sentinel(&wc->sessions);
         q = ngx_queue_next(q))
    {
        s = ngx_queue_data(q, ngx_http_wt_session_t, queue);

        if (s->conf->keepalive
            && (interval == 0 || s->conf->keepalive < interval))
        {
            interval = s->conf->keepalive;
        }
    }

    return ngx_min(interval, ngx_http_wt_conn_ping_latest(wc));
}


/*
 * Later a PING and its acknowledgement might not make it.  The client has a
 * say in the timeout, and must not make us busy.
 */

static ngx_msec_t
ngx_http_wt_conn_ping_latest(ngx_http_wt_conn_t *wc)
{
    return ngx_max(ngx_http_wt_glue_idle_timeout(wc->qconn) / 2,
                   NGX_HTTP_WT_PING_INTERVAL);
}


static void
ngx_http_wt_conn_schedule_ping(ngx_http_wt_conn_t *wc,
    ngx_http_wt_session_t *s)
{
    ngx_msec_t  interval;

    if (s->conf->keepalive == 0) {
        return;
    }

    interval = ngx_min(s->conf->keepalive, ngx_http_wt_conn_ping_latest(wc));

    if (wc->ping.timer_set) {

        if ((ngx_msec_int_t) (wc->ping.timer.key - ngx_current_msec)
            <= (ngx_msec_int_t) interval)
        {
            return;
        }

        /* nginx does not move timers a little */

        ngx_del_timer(&wc->ping);
    }

    ngx_add_timer(&wc->ping, interval);
}


static ngx_int_t
ngx_http_wt_conn_setting(ngx_http_wt_qconn_t *qconn, uint64_t id,
    uint64_t value)
{
    ngx_uint_t           i;
    ngx_http_wt_conn_t  *wc;

    wc = qconn->data;

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, qconn->connection->log, 0,
                   "wt client setting 0x%xL:%uL", id, value);

    if (id == NGX_HTTP_WT_SETTING_H3_DATAGRAM
        || id == NGX_HTTP_WT_SETTING_H3_DATAGRAM_04)
    {
        /* RFC 9297, 2.1.1: a value other than 0 or 1 is an error */

        if (value > 1) {
            return NGX_HTTP_WT_H3_SETTINGS_ERROR;
        }

        wc->h3_datagram |= value;
        return NGX_OK;
    }

    if (value == 0) {
        return NGX_OK;
    }

    for (i = 0; i < wc->draft_rank; i++) {
        if (id == ngx_http_wt_conn_drafts[i].setting) {
            wc->draft_rank = i;
            wc->draft = ngx_http_wt_conn_drafts[i].draft;
            break;
        }
    }

    return NGX_OK;
}


static void
ngx_http_wt_conn_settings_done(ngx_http_wt_qconn_t *qconn)
{
    ngx_queue_t            *q;
    ngx_http_wt_conn_t     *wc;
    ngx_http_wt_session_t  *s;

    wc = qconn->data;
    wc->settings_done = 1;

    /* sessions go on from posted events, so that none leaves the queue here */

    for (q = ngx_queue_head(&wc->sessions);
         q != ngx_queue_sentinel(&wc->sessions);
         q = ngx_queue_next(q))
    {
        s = ngx_queue_data(q, ngx_http_wt_session_t, queue);
        ngx_http_wt_session_settings_done(s);
    }
}


ngx_uint_t
ngx_http_wt_conn_capable(ngx_http_wt_conn_t *wc)
{
    return wc->h3_datagram && wc->qconn->peer_max_datagram > 0;
}


void
ngx_http_wt_conn_add(ngx_http_wt_conn_t *wc, ngx_http_wt_session_t *s)
{
    ngx_queue_insert_tail(&wc->sessions, &s->queue);
    wc->nsessions++;

    ngx_http_wt_conn_schedule_ping(wc, s);
}


void
ngx_http_wt_conn_remove(ngx_http_wt_conn_t *wc, ngx_http_wt_session_t *s)
{
    ngx_queue_t           *q, *next;
    ngx_http_wt_stream_t  *ws;

    if (wc->turn == s) {
        wc->turn = NULL;
    }

    ngx_queue_remove(&s->queue);
    wc->nsessions--;

    ngx_http_wt_conn_add_closed(wc, s->connect_id);

    for (q = ngx_queue_head(&wc->early);
         q != ngx_queue_sentinel(&wc->early);
         q = next)
    {
        next = ngx_queue_next(q);

        ws = ngx_queue_data(q, ngx_http_wt_stream_t, queue);

        if (ws->id == s->connect_id) {
            ngx_http_wt_stream_close(ws, NGX_HTTP_WT_ERR_SESSION_GONE);
        }
    }

    if (wc->nsessions == 0) {

        if (wc->ping.timer_set) {
            ngx_del_timer(&wc->ping);
        }

        ngx_http_wt_glue_conn_idle(wc->qconn);
    }
}


static ngx_http_wt_session_t *
ngx_http_wt_conn_find(ngx_http_wt_conn_t *wc, uint64_t id)
{
    ngx_queue_t            *q;
    ngx_http_wt_session_t  *s;

    for (q = ngx_queue_head(&wc->sessions);
         q != ngx_queue_sentinel(&wc->sessions);
         q = ngx_queue_next(q))
    {
        s = ngx_queue_data(q, ngx_http_wt_session_t, queue);

        if (s->connect_id == id) {
            return s;
        }
    }

    return NULL;
}


static void
ngx_http_wt_conn_add_closed(ngx_http_wt_conn_t *wc, uint64_t id)
{
    if (wc->closed == NULL) {

        /* without memory, streams of the session are held, and time out */

        wc->closed = ngx_palloc(wc->qconn->connection->pool,
                                NGX_HTTP_WT_CLOSED_SESSIONS
                                * sizeof(uint64_t));
        if (wc->closed == NULL) {
            return;
        }
    }

    wc->closed[wc->nclosed++ % NGX_HTTP_WT_CLOSED_SESSIONS] = id;
}


static ngx_uint_t
ngx_http_wt_conn_was_closed(ngx_http_wt_conn_t *wc, uint64_t id)
{
    ngx_uint_t  i, n;

    n = ngx_min(wc->nclosed, NGX_HTTP_WT_CLOSED_SESSIONS);

    for (i = 0; i < n; i++) {
        if (wc->closed[i] == id) {
            return 1;
        }
    }

    return 0;
}


void
ngx_http_wt_conn_stream(ngx_http_wt_conn_t *wc, ngx_http_wt_stream_t *ws,
    uint64_t session_id)
{
    ngx_http_wt_session_t  *s;

    /*
     * draft-ietf-webtrans-http3, 4: a session id that is not a client-initiated
     * bidirectional stream id is a connection error H3_ID_ERROR
     */

    if (session_id & 0x03) {
        ngx_http_wt_glue_conn_close(wc->qconn, NGX_HTTP_WT_H3_ID_ERROR,
                                    "invalid webtransport session id");
        ngx_http_wt_stream_close(ws, NGX_HTTP_WT_H3_ID_ERROR);
        return;
    }

    s = ngx_http_wt_conn_find(wc, session_id);

    if (s && s->state == NGX_HTTP_WT_SESSION_OPEN) {
        ngx_http_wt_session_stream(s, ws);
        return;
    }

    if ((s && s->state > NGX_HTTP_WT_SESSION_OPEN)
        || (s == NULL && ngx_http_wt_conn_was_closed(wc, session_id)))
    {
        ngx_http_wt_stream_close(ws, NGX_HTTP_WT_ERR_SESSION_GONE);
        return;
    }

    ngx_http_wt_conn_hold(wc, ws, session_id);
}


/* draft-ietf-webtrans-http3, 4.5.  Buffering Incoming Streams and Datagrams */

static void
ngx_http_wt_conn_hold(ngx_http_wt_conn_t *wc, ngx_http_wt_stream_t *ws,
    uint64_t session_id)
{
    if (wc->nearly >= NGX_HTTP_WT_EARLY_STREAMS) {
        ngx_log_error(NGX_LOG_INFO, wc->qconn->connection->log, 0,
                      "client opened too many streams before their "
                      "webtransport session");
        ngx_http_wt_stream_close(ws, NGX_HTTP_WT_ERR_BUFFERED_REJECTED);
        return;
    }

    /* until it has one, the stream keeps its session's id as its own */

    ws->id = session_id;

    ngx_queue_insert_tail(&wc->early, &ws->queue);
    wc->nearly++;

    ws->event.handler = ngx_http_wt_conn_early_handler;

    if (!ws->event.timer_set) {
        ngx_add_timer(&ws->event, NGX_HTTP_WT_EARLY_TIMEOUT);
    }
}


void
ngx_http_wt_conn_early_handler(ngx_event_t *ev)
{
    ngx_http_wt_stream_t  *ws;

    ws = ev->data;

    /* a session that waits for its answer has limits of its own */

    if (ngx_queue_next(&ws->queue)
        && ngx_http_wt_conn_find(ws->qs->qconn->data, ws->id))
    {
        ev->timedout = 0;
        ngx_add_timer(ev, NGX_HTTP_WT_EARLY_TIMEOUT);
        return;
    }

    ngx_log_error(NGX_LOG_INFO, ev->log, 0,
                  "client opened no webtransport session for its stream");

    ngx_http_wt_stream_close(ws, NGX_HTTP_WT_ERR_BUFFERED_REJECTED);
}


void
ngx_http_wt_conn_early_remove(ngx_http_wt_stream_t *ws)
{
    ngx_http_wt_conn_t  *wc;

    if (ws->event.timer_set) {
        ngx_del_timer(&ws->event);
    }

    if (ngx_queue_next(&ws->queue)) {
        wc = ws->qs->qconn->data;

        ngx_queue_remove(&ws->queue);
        ws->queue.next = NULL;
        wc->nearly--;
    }
}


void
ngx_http_wt_conn_release(ngx_http_wt_conn_t *wc, ngx_http_wt_session_t *s)
{
    uint64_t                 dropped;
    ngx_queue_t             *q, *next;
    ngx_http_wt_stream_t    *ws;
    ngx_http_wt_datagram_t  *dg;

    for (q = ngx_queue_head(&wc->early);
         q != ngx_queue_sentinel(&wc->early) && !s->ended;
         q = next)
    {
        next = ngx_queue_next(q);

        ws = ngx_queue_data(q, ngx_http_wt_stream_t, queue);

        if (ws->id == s->connect_id) {
            ngx_http_wt_conn_early_remove(ws);
            ngx_http_wt_session_stream(s, ws);
        }
    }

    /* those that have waited for too long are at the head */

    dropped = 0;
    (void) ngx_http_wt_datagram_queue_head(&wc->datagrams, &dropped);

    for (q = ngx_queue_head(&wc->datagrams.queue);
         q != ngx_queue_sentinel(&wc->datagrams.queue) && !s->ended;
         q = next)
    {
        next = ngx_queue_next(q);

        dg = ngx_queue_data(q, ngx_http_wt_datagram_t, queue);

        if (dg->id == s->connect_id) {
            (void) ngx_http_wt_session_input(s, dg->data, dg->len);
            ngx_http_wt_datagram_queue_delete(&wc->datagrams, dg);
        }
    }
}


static ngx_int_t
ngx_http_wt_conn_datagram(ngx_http_wt_qconn_t *qconn, u_char *data, size_t len)
{
    u_char                 *p;
    uint64_t                id;
    ngx_http_wt_conn_t     *wc;
    ngx_http_wt_session_t  *s;

    wc = qconn->data;

    /* RFC 9297, 2.1.  HTTP/3 Datagrams */

    p = ngx_http_wt_varint_parse(data, data + len, &id);

    if (p == NULL || id > NGX_HTTP_WT_QUARTER_ID_MAX) {
        return NGX_HTTP_WT_H3_DATAGRAM_ERROR;
    }

    if (id >= ngx_http_wt_glue_requests_max(qconn)) {
        return NGX_HTTP_WT_H3_ID_ERROR;
    }

    id *= 4;

    s = ngx_http_wt_conn_find(wc, id);

    if (s && s->state == NGX_HTTP_WT_SESSION_OPEN) {
        return ngx_http_wt_session_input(s, p, data + len - p);
    }

    if ((s && s->state > NGX_HTTP_WT_SESSION_OPEN)
        || (s == NULL && ngx_http_wt_conn_was_closed(wc, id)))
    {
        return NGX_DECLINED;
    }

    (void) ngx_http_wt_datagram_queue_push(&wc->datagrams, id, p,
                                           data + len - p,
                                           NGX_HTTP_WT_EARLY_TIMEOUT,
                                           qconn->connection->log);

    return NGX_DECLINED;
}


/* sessions take turns */

static ssize_t
ngx_http_wt_conn_next_datagram(ngx_http_wt_qconn_t *qconn, u_char *p,
    size_t room, ngx_uint_t whole)
{
    ssize_t                 n;
    ngx_uint_t              i;
    ngx_queue_t            *q;
    ngx_http_wt_conn_t     *wc;
    ngx_http_wt_session_t  *s;

    wc = qconn->data;

    q = wc->turn ? &wc->turn->queue : ngx_queue_head(&wc->sessions);

    for (i = 0; i < wc->nsessions; i++) {

        if (q == ngx_queue_sentinel(&wc->sessions)) {
            q = ngx_queue_head(&wc->sessions);
        }

        s = ngx_queue_data(q, ngx_http_wt_session_t, queue);
        q = ngx_queue_next(q);

        n = ngx_http_wt_conn_write_datagram(s, p, room, whole);

        if (n == NGX_AGAIN) {
            wc->turn = s;
            return n;
        }

        if (n > 0) {
            wc->turn = (q == ngx_queue_sentinel(&wc->sessions))
                           ? NULL
                           : ngx_queue_data(q, ngx_http_wt_session_t, queue);
            return n;
        }
    }

    return 0;
}


static ssize_t
ngx_http_wt_conn_write_datagram(ngx_http_wt_session_t *s, u_char *p,
    size_t room, ngx_uint_t whole)
{
    size_t                   len;
    u_char                  *last;
    uint64_t                 id;
    ngx_http_wt_datagram_t  *dg;

    id = s->connect_id / 4;

    for ( ;; ) {

        dg = ngx_http_wt_datagram_queue_head(&s->datagrams,
                                             &s->counters.datagrams_dropped);
        if (dg == NULL) {
            return 0;
        }

        len = ngx_http_wt_varint_len(id) + dg->len;

        if (len <= room) {
            break;
        }

        if (!whole) {
            return NGX_AGAIN;
        }

        /* the path has become narrower since the datagram was queued */

        s->counters.datagrams_dropped++;
        ngx_http_wt_datagram_queue_delete(&s->datagrams, dg);
    }

    last = ngx_http_wt_varint_write(p, id);
    last = ngx_cpymem(last, dg->data, dg->len);

    s->counters.datagrams_out++;
    ngx_http_wt_datagram_queue_delete(&s->datagrams, dg);

    return last - p;
}


static void
ngx_http_wt_conn_streams(ngx_http_wt_qconn_t *qconn)
{
    ngx_queue_t            *q;
    ngx_http_wt_conn_t     *wc;
    ngx_http_wt_session_t  *s;

    wc = qconn->data;

    for (q = ngx_queue_head(&wc->sessions);
         q != ngx_queue_sentinel(&wc->sessions);
         q = ngx_queue_next(q))
    {
        s = ngx_queue_data(q, ngx_http_wt_session_t, queue);

        if (s->state == NGX_HTTP_WT_SESSION_OPEN) {
            s->peer_ops->streams(s);
        }
    }
}


static ngx_uint_t
ngx_http_wt_conn_busy(ngx_http_wt_qconn_t *qconn)
{
    ngx_http_wt_conn_t  *wc;

    wc = qconn->data;

    return wc->nsessions > 0;
}
