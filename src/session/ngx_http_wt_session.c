/*
 * The life of a session: CONNECT, the peer's answer, and the end.
 *
 * A session ends in two steps.  The first one, at once, records why, tells
 * the peer and queues what the client is to see.  The second one, from a
 * posted event or when nginx itself frees the request, closes the streams and
 * lets the request go.  So nobody finds an object freed under its feet.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_http.h>
#include <ngx_http_wt_conn.h>
#include <ngx_http_wt_proto.h>
#include <ngx_http_wt_session.h>


static ngx_int_t ngx_http_wt_session_init(ngx_http_wt_session_t *s);
static void ngx_http_wt_session_start(ngx_http_wt_session_t *s);
static void ngx_http_wt_session_handler(ngx_event_t *ev);
static void ngx_http_wt_session_check_idle(ngx_http_wt_session_t *s);
static void ngx_http_wt_session_check_flush(ngx_http_wt_session_t *s);
static ngx_uint_t ngx_http_wt_session_flushed(ngx_http_wt_session_t *s);
static void ngx_http_wt_session_finish(ngx_http_wt_session_t *s,
    ngx_http_wt_by_e by, uint32_t code, ngx_str_t *reason);
static void ngx_http_wt_session_stop_timer(ngx_http_wt_session_t *s);
static void ngx_http_wt_session_post(ngx_http_wt_session_t *s);
static void ngx_http_wt_session_end(ngx_http_wt_session_t *s);
static void ngx_http_wt_session_teardown(ngx_http_wt_session_t *s);
static void ngx_http_wt_session_finalize(ngx_http_wt_session_t *s);
static void ngx_http_wt_session_cleanup(void *data);


static ngx_str_t  ngx_http_wt_session_by_names[] = {
    ngx_string("unknown"),
    ngx_string("client"),
    ngx_string("worker"),
    ngx_string("control"),
    ngx_string("timeout"),
    ngx_string("lost"),
    ngx_string("limit"),
    ngx_string("shutdown"),
    ngx_string("worker_lost"),
    ngx_string("expired"),
    ngx_string("protocol")
};


ngx_int_t
ngx_http_wt_session_create(ngx_http_request_t *r,
    ngx_http_wt_glue_connect_t *connect, ngx_http_wt_session_conf_t *conf,
    const ngx_http_wt_peer_ops_t *ops, void *peer, ngx_uint_t max_sessions)
{
    ngx_http_wt_conn_t     *wc;
    ngx_http_cleanup_t     *cln;
    ngx_http_wt_session_t  *s;

    wc = connect->qconn->data;

    if (wc->nsessions >= max_sessions) {
        ngx_log_error(NGX_LOG_INFO, r->connection->log, 0,
                      "client exceeded webtransport_max_sessions of %ui",
                      max_sessions);
        return NGX_HTTP_TOO_MANY_REQUESTS;
    }

    s = ngx_pcalloc(r->pool, sizeof(ngx_http_wt_session_t));
    if (s == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    cln = ngx_http_cleanup_add(r, 0);
    if (cln == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    s->request = r;
    s->conn = wc;
    s->conf = conf;
    s->peer_ops = ops;
    s->peer = peer;

    if (ngx_http_wt_session_init(s) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    cln->handler = ngx_http_wt_session_cleanup;
    cln->data = s;

    ngx_http_wt_conn_add(wc, s);

    ngx_http_set_ctx(r, s, ngx_http_webtransport_module);

    r->main->count++;
    r->read_event_handler = ngx_http_wt_session_wait_handler;
    r->write_event_handler = ngx_http_request_empty_handler;

    if (wc->settings_done) {
        ngx_http_wt_session_start(s);

    } else {

        /* draft-ietf-webtrans-http3, 3.1: wait for the peer's SETTINGS */

        ngx_add_timer(&s->event, NGX_HTTP_WT_SETTINGS_TIMEOUT);
    }

    return NGX_DONE;
}


static ngx_int_t
ngx_http_wt_session_init(ngx_http_wt_session_t *s)
{
    u_char     random[16];
    ngx_str_t  src;

    if (RAND_bytes(random, sizeof(random)) != 1) {
        return NGX_ERROR;
    }

    src.data = random;
    src.len = sizeof(random);

    s->id.data = s->id_data;
    ngx_encode_base64url(&s->id, &src);

    s->connect_id = ngx_http_wt_glue_request_id(s->request);
    s->started = ngx_current_msec;
    s->draft = s->conn->draft;

    ngx_http_wt_session_init_streams(s);

    ngx_http_wt_datagram_queue_init(&s->datagrams, s->conf->datagram_queue);

    s->capsules.max_datagram =
                          s->conn->qconn->params->max_datagram_frame_size;

    s->event.data = s;
    s->event.log = s->request->connection->log;
    s->event.handler = ngx_http_wt_session_handler;

    return NGX_OK;
}


void
ngx_http_wt_session_settings_done(ngx_http_wt_session_t *s)
{
    if (s->state == NGX_HTTP_WT_SESSION_SETTINGS) {
        ngx_http_wt_session_post(s);
    }
}


static void
ngx_http_wt_session_start(ngx_http_wt_session_t *s)
{
    s->draft = s->conn->draft;

    if (!ngx_http_wt_conn_capable(s->conn)) {

        /*
         * draft-ietf-webtrans-http3, 3.1: without what WebTransport requires,
         * sessions are malformed
         */

        ngx_log_error(NGX_LOG_INFO, s->request->connection->log, 0,
                      "client asked for a webtransport session without "
                      "support for HTTP/3 datagrams");

        ngx_http_wt_session_error(s, NGX_HTTP_WT_BY_PROTOCOL,
                                  NGX_HTTP_WT_H3_MESSAGE_ERROR);
        return;
    }

    s->state = NGX_HTTP_WT_SESSION_CONNECTING;

    if (s->peer_ops->connect(s) != NGX_OK && !s->ended) {
        ngx_http_wt_session_reject(s, NGX_HTTP_WT_BY_UNKNOWN,
                                   NGX_HTTP_INTERNAL_SERVER_ERROR,
                                   NULL, 0, NULL);
    }
}


/* the session's only event: a timer, or posted to go on from a clean stack */

static void
ngx_http_wt_session_handler(ngx_event_t *ev)
{
    ngx_uint_t              timedout;
    ngx_connection_t       *c;
    ngx_http_wt_session_t  *s;

    s = ev->data;
    c = s->request->connection;

    timedout = ev->timedout;
    ev->timedout = 0;

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, c->log, 0,
                   "wt session %V state:%d", &s->id, s->state);

    if (s->ended) {

        if (s->state == NGX_HTTP_WT_SESSION_LINGERING) {
            ngx_http_wt_session_finalize(s);

        } else {
            ngx_http_wt_session_end(s);
        }

        ngx_http_run_posted_requests(c);
        return;
    }

    switch (s->state) {

    case NGX_HTTP_WT_SESSION_SETTINGS:

        if (timedout) {
            ngx_log_error(NGX_LOG_INFO, c->log, NGX_ETIMEDOUT,
                          "client sent no SETTINGS");

            ngx_http_wt_session_error(s, NGX_HTTP_WT_BY_TIMEOUT,
                                      NGX_HTTP_WT_H3_REQUEST_REJECTED);
            return;
        }

        ngx_http_wt_session_stop_timer(s);
        ngx_http_wt_session_start(s);
        return;

    case NGX_HTTP_WT_SESSION_OPEN:

        if (timedout) {
            ngx_http_wt_session_check_idle(s);
        }

        return;

    case NGX_HTTP_WT_SESSION_FLUSHING:
        ngx_http_wt_session_check_flush(s);
        return;

    default:
        return;
    }
}


void
ngx_http_wt_session_start_idle(ngx_http_wt_session_t *s)
{
    ngx_http_wt_session_touch(s);

    if (s->conf->idle_timeout) {
        ngx_add_timer(&s->event, s->conf->idle_timeout);
    }
}


/* traffic leaves its time only, so the timer may be early, but never late */

static void
ngx_http_wt_session_check_idle(ngx_http_wt_session_t *s)
{
    ngx_msec_int_t  left;

    static ngx_str_t  reason = ngx_string("idle timeout");

    left = s->active + s->conf->idle_timeout - ngx_current_msec;

    if (left > 0) {
        ngx_add_timer(&s->event, (ngx_msec_t) left);
        return;
    }

    ngx_http_wt_session_close(s, NGX_HTTP_WT_BY_TIMEOUT,
                              NGX_HTTP_WT_BY_TIMEOUT, &reason);
}


void
ngx_http_wt_session_close(ngx_http_wt_session_t *s, ngx_http_wt_by_e by,
    uint32_t code, ngx_str_t *reason)
{
    ngx_uint_t  accepted;

    if (s->ended) {
        return;
    }

    accepted = s->accepted;

    ngx_http_wt_session_finish(s, by, code, reason);

    if (!accepted) {
        s->reject_status = NGX_HTTP_BAD_GATEWAY;

    } else if (by == NGX_HTTP_WT_BY_LOST) {
        s->settled = 1;

    } else {
        ngx_http_wt_session_send_close(s, by != NGX_HTTP_WT_BY_CLIENT);
    }

    ngx_http_wt_session_post(s);
}


void
ngx_http_wt_session_abort(ngx_http_wt_session_t *s, ngx_http_wt_by_e by)
{
    ngx_http_wt_session_error(s, by, NGX_HTTP_WT_H3_REQUEST_CANCELLED);
}


void
ngx_http_wt_session_error(ngx_http_wt_session_t *s, ngx_http_wt_by_e by,
    uint64_t h3code)
{
    if (s->ended) {
        return;
    }

    s->settled = 1;

    ngx_http_wt_session_finish(s, by, 0, NULL);
    ngx_http_wt_glue_request_reset(s->request, h3code);
    ngx_http_wt_session_post(s);
}


void
ngx_http_wt_session_reject(ngx_http_wt_session_t *s, ngx_http_wt_by_e by,
    ngx_uint_t status, ngx_http_wt_header_t *headers, ngx_uint_t n,
    ngx_str_t *body)
{
    if (s->ended || s->accepted) {
        return;
    }

    ngx_http_wt_session_finish(s, by, 0, NULL);

    if (status == NGX_HTTP_REQUEST_TIME_OUT || status == NGX_HTTP_CLOSE
        || (status >= NGX_HTTP_NGINX_CODES && status < 500))
    {
        /* nginx has a use of its own for these, and sends no response */

        status = NGX_HTTP_BAD_REQUEST;
    }

    s->reject_status = status;

    if (n || (body && body->len)) {
        s->reject_sent = 1;
        s->reject_rc = ngx_http_wt_session_send_reject(s, status, headers, n,
                                                       body);
    }

    ngx_http_wt_session_post(s);
}


void
ngx_http_wt_session_flush_close(ngx_http_wt_session_t *s, ngx_http_wt_by_e by,
    uint32_t code, ngx_str_t *reason, ngx_msec_t flush)
{
    if (s->ended || s->state != NGX_HTTP_WT_SESSION_OPEN) {
        return;
    }

    if (flush == 0 || ngx_http_wt_session_flushed(s)) {
        ngx_http_wt_session_close(s, by, code, reason);
        return;
    }

    if (reason && reason->len) {
        s->close_reason.data = ngx_pstrdup(s->request->pool, reason);
        s->close_reason.len = s->close_reason.data ? reason->len : 0;
    }

    s->state = NGX_HTTP_WT_SESSION_FLUSHING;
    s->close_by = by;
    s->close_code = code;
    s->deadline = ngx_current_msec + flush;

    /* that of the idle timeout; nginx does not move timers a little */

    ngx_http_wt_session_stop_timer(s);
    ngx_add_timer(&s->event, NGX_HTTP_WT_FLUSH_INTERVAL);
}


static void
ngx_http_wt_session_check_flush(ngx_http_wt_session_t *s)
{
    if (ngx_http_wt_session_flushed(s)
        || (ngx_msec_int_t) (s->deadline - ngx_current_msec) <= 0)
    {
        ngx_http_wt_session_close(s, s->close_by, s->close_code,
                                  &s->close_reason);
        return;
    }

    ngx_add_timer(&s->event, NGX_HTTP_WT_FLUSH_INTERVAL);
}


static ngx_uint_t
ngx_http_wt_session_flushed(ngx_http_wt_session_t *s)
{
    ngx_rbtree_node_t     *node;
    ngx_http_wt_stream_t  *ws;

    if (s->datagrams.n) {
        return 0;
    }

    if (s->streams.root != s->streams.sentinel) {

        for (node = ngx_rbtree_min(s->streams.root, s->streams.sentinel);
             node;
             node = ngx_rbtree_next(&s->streams, node))
        {
            ws = (ngx_http_wt_stream_t *) node;

            if (ws->pending) {
                return 0;
            }
        }
    }

    /*
     * A client drops what it gets after WT_CLOSE_SESSION: wait for
     * acknowledgements, those of streams that have ended included.
     */

    return ngx_http_wt_glue_conn_acked(s->conn->qconn, s);
}


/* the first step of the end */

static void
ngx_http_wt_session_finish(ngx_http_wt_session_t *s, ngx_http_wt_by_e by,
    uint32_t code, ngx_str_t *reason)
{
    ngx_rbtree_node_t  *node;

    s->ended = 1;
    s->close_by = by;
    s->close_code = code;
    s->duration = ngx_current_msec - s->started;

    if (reason && reason->len && reason != &s->close_reason) {
        s->close_reason.data = ngx_pstrdup(s->request->pool, reason);
        s->close_reason.len = s->close_reason.data ? reason->len : 0;
    }

    ngx_http_wt_session_stop_timer(s);

    /* the reason is somebody's payload, not for logs */

    ngx_http_wt_session_log(NGX_LOG_INFO, s, 0, "closed by %V, code %uD",
                            ngx_http_wt_session_by_name(by), code);

    if (s->state < NGX_HTTP_WT_SESSION_CONNECTING) {
        s->state = NGX_HTTP_WT_SESSION_CLOSED;
        return;
    }

    s->state = NGX_HTTP_WT_SESSION_CLOSED;

    if (s->streams.root != s->streams.sentinel) {

        for (node = ngx_rbtree_min(s->streams.root, s->streams.sentinel);
             node;
             node = ngx_rbtree_next(&s->streams, node))
        {
            s->peer_ops->stream_closed((ngx_http_wt_stream_t *) node);
        }
    }

    s->peer_ops->closed(s);
}


static void
ngx_http_wt_session_stop_timer(ngx_http_wt_session_t *s)
{
    if (s->event.timer_set) {
        ngx_del_timer(&s->event);
    }
}


static void
ngx_http_wt_session_post(ngx_http_wt_session_t *s)
{
    ngx_http_wt_session_stop_timer(s);
    ngx_post_event(&s->event, &ngx_posted_events);
}


/* the second step of the end */

static void
ngx_http_wt_session_end(ngx_http_wt_session_t *s)
{
    ngx_connection_t    *c;
    ngx_http_request_t  *r;

    r = s->request;
    c = r->connection;

    ngx_http_wt_session_teardown(s);

    if (s->accepted && !s->settled
        && !c->read->eof && !c->read->error && !c->error)
    {

        /* the client has to see the end of our side before the stream goes */

        s->state = NGX_HTTP_WT_SESSION_LINGERING;
        ngx_add_timer(&s->event, NGX_HTTP_WT_LINGER_TIMEOUT);
        return;
    }

    ngx_http_wt_session_finalize(s);
}


static void
ngx_http_wt_session_teardown(ngx_http_wt_session_t *s)
{
    ngx_http_wt_stream_t  *ws;

    if (s->conn == NULL) {
        return;
    }

    while (s->streams.root != s->streams.sentinel) {
        ws = (ngx_http_wt_stream_t *) ngx_rbtree_min(s->streams.root,
                                                     s->streams.sentinel);

        /* draft-ietf-webtrans-http3, 6: reset and stop all streams */

        ngx_http_wt_stream_close(ws, NGX_HTTP_WT_ERR_SESSION_GONE);
    }

    ngx_http_wt_datagram_queue_clear(&s->datagrams);

    ngx_http_wt_conn_remove(s->conn, s);
    s->conn = NULL;
}


void
ngx_http_wt_session_settle(ngx_http_wt_session_t *s)
{
    s->settled = 1;

    if (s->state == NGX_HTTP_WT_SESSION_LINGERING) {
        ngx_http_wt_session_post(s);
    }
}


/* the session is gone on return */

static void
ngx_http_wt_session_finalize(ngx_http_wt_session_t *s)
{
    ngx_int_t            rc;
    ngx_http_request_t  *r;

    r = s->request;

    /* the request may go on without us, as an error page of another location */

    r->read_event_handler = ngx_http_block_reading;
    r->write_event_handler = ngx_http_request_empty_handler;

    if (s->reject_sent) {
        rc = s->reject_rc;

    } else if (s->reject_status) {
        rc = s->reject_status;

    } else {

        /* FIN or RESET_STREAM were ours: nginx has nothing to add */

        r->response_sent = 1;
        r->keepalive = 0;

        rc = s->accepted ? NGX_OK : NGX_HTTP_CLIENT_CLOSED_REQUEST;
    }

    ngx_http_finalize_request(r, rc);
}


/* nginx frees the request, for reasons of its own or because we asked */

static void
ngx_http_wt_session_cleanup(void *data)
{
    ngx_http_wt_session_t *s = data;

    if (!s->ended) {
        ngx_http_wt_session_finish(s, NGX_HTTP_WT_BY_LOST, 0, NULL);
    }

    ngx_http_wt_session_teardown(s);

    /*
     * The field section was complete: without this nginx sends a Stream
     * Cancellation, and logs an error if the connection is gone.
     */

    s->request->connection->read->eof = 1;

    ngx_http_wt_session_stop_timer(s);

    if (s->event.posted) {
        ngx_delete_posted_event(&s->event);
    }
}


ngx_str_t *
ngx_http_wt_session_by_name(ngx_http_wt_by_e by)
{
    return &ngx_http_wt_session_by_names[by];
}
