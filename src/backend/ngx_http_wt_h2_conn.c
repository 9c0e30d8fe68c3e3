/*
 * HTTP/2 to workers: a connection's input, output and end.
 *
 * What streams have to send is copied once, from their owners to a buffer that
 * all connections of the process share, and sent from there; only what a
 * socket does not take is kept for it.  Input needs no buffer of its own
 * either: nghttp2 keeps what it has to.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_http.h>
#include <ngx_http_wt_h2.h>
#include <ngx_http_wt_h2_internal.h>


#define NGX_HTTP_WT_H2_BUFFER     65536

/* how many reads and sends before others get their turn */
#define NGX_HTTP_WT_H2_READS      16
#define NGX_HTTP_WT_H2_SENDS      4

/*
 * What all streams of a connection together may send without a WINDOW_UPDATE.
 * It is given back as it comes, so that it is no limit.
 */
#define NGX_HTTP_WT_H2_WINDOW     (16 * 1024 * 1024)

/* floods: answers that wait to be sent, entries of a SETTINGS frame, all frames
 * that wait to be sent, besides one of each stream */
#define NGX_HTTP_WT_H2_ACKS       1000
#define NGX_HTTP_WT_H2_SETTINGS   32
#define NGX_HTTP_WT_H2_QUEUE      2000

/* a stream that was open for less, in milliseconds, proves nothing */
#define NGX_HTTP_WT_H2_SILENCE    200

/* how many PINGs are sent to a worker that answers no call */
#define NGX_HTTP_WT_H2_PINGS      2


static ngx_int_t ngx_http_wt_h2_session(ngx_http_wt_h2_t *h2);
static void ngx_http_wt_h2_read_handler(ngx_event_t *rev);
static ngx_int_t ngx_http_wt_h2_read(ngx_http_wt_h2_t *h2);
static void ngx_http_wt_h2_heard(ngx_http_wt_h2_t *h2);
static void ngx_http_wt_h2_input(ngx_http_wt_h2_t *h2, u_char *buf,
    size_t len);
static void ngx_http_wt_h2_write_handler(ngx_event_t *wev);
static void ngx_http_wt_h2_send(ngx_http_wt_h2_t *h2);
static ngx_int_t ngx_http_wt_h2_send_buffer(ngx_http_wt_h2_t *h2, u_char *pos,
    u_char *last);
static u_char *ngx_http_wt_h2_fill(ngx_http_wt_h2_t *h2, u_char *buf,
    size_t size);
static void ngx_http_wt_h2_error(ngx_http_wt_h2_t *h2, int rc);
static void ngx_http_wt_h2_fail(ngx_http_wt_h2_t *h2, ngx_err_t err,
    const char *reason);
static ngx_uint_t ngx_http_wt_h2_needed(ngx_http_wt_h2_t *h2);
static void ngx_http_wt_h2_settle(ngx_http_wt_h2_t *h2);
static void ngx_http_wt_h2_rest(ngx_http_wt_h2_t *h2);
static void ngx_http_wt_h2_end(ngx_http_wt_h2_t *h2);


static u_char  ngx_http_wt_h2_in[NGX_HTTP_WT_H2_BUFFER];
static u_char  ngx_http_wt_h2_out[NGX_HTTP_WT_H2_BUFFER];


ngx_int_t
ngx_http_wt_h2_start(ngx_http_wt_h2_t *h2)
{
    ngx_connection_t        *c;
    nghttp2_settings_entry   settings[3];

    if (ngx_http_wt_h2_session(h2) != NGX_OK) {
        return NGX_ERROR;
    }

    settings[0].settings_id = NGHTTP2_SETTINGS_ENABLE_PUSH;
    settings[0].value = 0;

    settings[1].settings_id = NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE;
    settings[1].value = ngx_min(h2->host->window, NGHTTP2_MAX_WINDOW_SIZE);

    settings[2].settings_id = NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE;
    settings[2].value = NGX_HTTP_WT_H2_FIELDS;

    if (nghttp2_submit_settings(h2->session, NGHTTP2_FLAG_NONE, settings, 3)
        != 0
        || nghttp2_session_set_local_window_size(h2->session,
                                                 NGHTTP2_FLAG_NONE, 0,
                                                 NGX_HTTP_WT_H2_WINDOW)
           != 0)
    {
        return NGX_ERROR;
    }

    c = h2->connection;

    c->data = h2;
    c->read->handler = ngx_http_wt_h2_read_handler;
    c->write->handler = ngx_http_wt_h2_write_handler;

    h2->log.action = "waiting for SETTINGS of webtransport worker";

    ngx_http_wt_h2_post_write(h2);

    /* TLS may have read more than the handshake */

    ngx_post_event(c->read, &ngx_posted_events);

    return NGX_OK;
}


static ngx_int_t
ngx_http_wt_h2_session(ngx_http_wt_h2_t *h2)
{
    int                         rc;
    nghttp2_option             *option;
    nghttp2_session_callbacks  *callbacks;

    if (ngx_http_wt_h2_callbacks(&callbacks) != NGX_OK) {
        return NGX_ERROR;
    }

    rc = nghttp2_option_new(&option);

    if (rc == 0) {
        nghttp2_option_set_no_auto_window_update(option, 1);
        nghttp2_option_set_no_closed_streams(option, 1);
        nghttp2_option_set_max_outbound_ack(option, NGX_HTTP_WT_H2_ACKS);
        nghttp2_option_set_max_settings(option, NGX_HTTP_WT_H2_SETTINGS);

        rc = nghttp2_session_client_new3(&h2->session, callbacks, h2, option,
                                         NULL);

        nghttp2_option_del(option);
    }

    nghttp2_session_callbacks_del(callbacks);

    return (rc == 0) ? NGX_OK : NGX_ERROR;
}


ngx_uint_t
ngx_http_wt_h2_slots(ngx_http_wt_h2_t *h2)
{
    uint32_t  n;

    if (!h2->ready || h2->suspect || h2->goaway || h2->failed || h2->broken
        || !nghttp2_session_check_request_allowed(h2->session))
    {
        return 0;
    }

    n = nghttp2_session_get_remote_settings(h2->session,
                                       NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS);

    return (h2->nstreams < n) ? n - h2->nstreams : 0;
}


void
ngx_http_wt_h2_post_write(ngx_http_wt_h2_t *h2)
{
    ngx_post_event(h2->connection->write, &ngx_posted_events);
}


static void
ngx_http_wt_h2_read_handler(ngx_event_t *rev)
{
    ngx_int_t          rc;
    ngx_connection_t  *c;
    ngx_http_wt_h2_t  *h2;

    c = rev->data;
    h2 = c->data;

    ngx_log_debug1(NGX_LOG_DEBUG_HTTP, c->log, 0,
                   "wt h2 read, streams:%ui", h2->nstreams);

    if (c->close && h2->idle && !h2->busy) {

        /*
         * nginx needs connections for others, or exits.  If it does so with
         * streams still open, they end with their sessions.
         */

        ngx_http_wt_h2_shutdown(h2);
        return;
    }

    if (c->close && c->error) {

        /* worker_shutdown_timeout: also for what outlives its session */

        h2->logged = 1;
        h2->failed = 1;

        ngx_http_wt_h2_settle(h2);
        return;
    }

    rc = ngx_http_wt_h2_read(h2);

    if (rc == NGX_OK) {
        ngx_post_event(rev, &ngx_posted_next_events);
    }

    if (!h2->failed && ngx_handle_read_event(rev, 0) != NGX_OK) {
        ngx_http_wt_h2_fail(h2, 0, "connection to webtransport worker failed");
    }

    if (nghttp2_session_want_write(h2->session)) {
        ngx_http_wt_h2_post_write(h2);
    }

    ngx_http_wt_h2_settle(h2);
}


/* NGX_OK: there may be more to read; NGX_AGAIN: not now, or never */

static ngx_int_t
ngx_http_wt_h2_read(ngx_http_wt_h2_t *h2)
{
    ssize_t            n;
    ngx_uint_t         i;
    ngx_connection_t  *c;

    c = h2->connection;

    for (i = 0; i < NGX_HTTP_WT_H2_READS; i++) {

        n = c->recv(c, ngx_http_wt_h2_in, NGX_HTTP_WT_H2_BUFFER);

        if (n == NGX_AGAIN) {

            if (h2->broken) {

                /* there is nothing more to be heard of it */

                h2->failed = 1;
            }

            return NGX_AGAIN;
        }

        if (n == NGX_ERROR) {

            /* nginx has logged it */

            h2->logged = 1;
            h2->failed = 1;
            return NGX_AGAIN;
        }

        if (n == 0) {
            ngx_http_wt_h2_fail(h2, 0,
                                "webtransport worker closed connection");
            return NGX_AGAIN;
        }

        ngx_http_wt_h2_heard(h2);
        ngx_http_wt_h2_input(h2, ngx_http_wt_h2_in, n);

        if (h2->failed) {
            return NGX_AGAIN;
        }
    }

    return NGX_OK;
}


static void
ngx_http_wt_h2_heard(ngx_http_wt_h2_t *h2)
{
    h2->heard++;

    if (h2->suspect) {
        h2->suspect = 0;

        ngx_del_timer(&h2->timer);
        ngx_http_wt_h2_post(h2->host);
    }
}


static void
ngx_http_wt_h2_input(ngx_http_wt_h2_t *h2, u_char *buf, size_t len)
{
    size_t   queue;
    ssize_t  n;

    h2->busy = 1;

    n = nghttp2_session_mem_recv(h2->session, buf, len);

    h2->busy = 0;

    if (n < 0) {
        ngx_http_wt_h2_error(h2, (int) n);
        return;
    }

    queue = nghttp2_session_get_outbound_queue_size(h2->session);

    if (queue > h2->nstreams + NGX_HTTP_WT_H2_QUEUE) {
        ngx_http_wt_h2_invalid(h2, "flood", 0);
    }
}


static void
ngx_http_wt_h2_write_handler(ngx_event_t *wev)
{
    ngx_connection_t  *c;
    ngx_http_wt_h2_t  *h2;

    c = wev->data;
    h2 = c->data;

    ngx_log_debug1(NGX_LOG_DEBUG_HTTP, c->log, 0,
                   "wt h2 write, streams:%ui", h2->nstreams);

    if (wev->timedout) {
        ngx_http_wt_h2_fail(h2, NGX_ETIMEDOUT,
                            "webtransport worker does not read");
    }

    if (!h2->failed && !h2->broken) {
        ngx_http_wt_h2_send(h2);
    }

    /* the socket is full, or it is not and nobody wants to know */

    if (!h2->failed && ngx_handle_write_event(wev, 0) != NGX_OK) {
        ngx_http_wt_h2_fail(h2, 0, "connection to webtransport worker failed");
    }

    ngx_http_wt_h2_settle(h2);
}


static void
ngx_http_wt_h2_send(ngx_http_wt_h2_t *h2)
{
    u_char       *pos, *last;
    ngx_int_t     rc;
    ngx_uint_t    i;
    ngx_event_t  *wev;

    wev = h2->connection->write;

    if (h2->start && !wev->ready) {
        return;
    }

    for (i = 0; i < NGX_HTTP_WT_H2_SENDS; i++) {

        if (h2->start) {
            pos = h2->pos;
            last = h2->last;

        } else {
            pos = ngx_http_wt_h2_out;
            last = ngx_http_wt_h2_fill(h2, pos, NGX_HTTP_WT_H2_BUFFER);

            if (pos == last) {
                return;
            }
        }

        rc = ngx_http_wt_h2_send_buffer(h2, pos, last);

        if (rc != NGX_OK) {
            return;
        }
    }

    ngx_post_event(wev, &ngx_posted_next_events);
}


/* NGX_OK: all is sent; NGX_AGAIN: some of it is kept; NGX_ERROR: none is */

static ngx_int_t
ngx_http_wt_h2_send_buffer(ngx_http_wt_h2_t *h2, u_char *pos, u_char *last)
{
    ssize_t            n;
    u_char            *p;
    ngx_event_t       *wev;
    ngx_connection_t  *c;

    c = h2->connection;
    wev = c->write;
    p = pos;

    while (p != last) {

        n = c->send(c, p, last - p);

        if (n == NGX_AGAIN || n == 0) {
            break;
        }

        if (n == NGX_ERROR) {

            /* what the worker sent before it went has to be read first */

            h2->broken = 1;
            h2->logged = 1;
            c->log_error = NGX_ERROR_INFO;

            ngx_post_event(c->read, &ngx_posted_events);
            return NGX_ERROR;
        }

        p += n;
    }

    if (wev->timer_set && p != pos) {
        ngx_del_timer(wev);
    }

    if (p == last) {

        if (h2->start) {
            ngx_free(h2->start);
            h2->start = NULL;
        }

        return NGX_OK;
    }

    if (!wev->timer_set) {
        ngx_add_timer(wev, h2->send_timeout);
    }

    if (h2->start == NULL) {

        h2->start = ngx_alloc(last - p, &h2->log);
        if (h2->start == NULL) {
            ngx_http_wt_h2_exhausted(h2);
            return NGX_ERROR;
        }

        h2->last = ngx_cpymem(h2->start, p, last - p);
        p = h2->start;
    }

    h2->pos = p;

    return NGX_AGAIN;
}


/* up to where there is something to be sent now */

static u_char *
ngx_http_wt_h2_fill(ngx_http_wt_h2_t *h2, u_char *buf, size_t size)
{
    ssize_t         n;
    const uint8_t  *data;

    h2->out = buf;
    h2->end = buf + size;

    while (h2->end - h2->out >= NGX_HTTP_WT_H2_FRAME) {

        h2->busy = 1;

        n = nghttp2_session_mem_send(h2->session, &data);

        h2->busy = 0;

        if (n < 0) {
            ngx_http_wt_h2_error(h2, (int) n);
            break;
        }

        if (n == 0) {
            break;
        }

        h2->out = ngx_cpymem(h2->out, data, n);
    }

    return h2->out;
}


/* nghttp2 has returned one; what a callback of ours has found is logged */

static void
ngx_http_wt_h2_error(ngx_http_wt_h2_t *h2, int rc)
{
    if (rc == NGHTTP2_ERR_NOMEM) {
        ngx_http_wt_h2_exhausted(h2);
        return;
    }

    ngx_http_wt_h2_invalid(h2, nghttp2_strerror(rc), 0);
}


void
ngx_http_wt_h2_exhausted(ngx_http_wt_h2_t *h2)
{
    h2->failed = 1;
    h2->exhausted = 1;

    if (h2->logged) {
        return;
    }

    h2->logged = 1;

    ngx_log_error(NGX_LOG_ERR, &h2->log, 0, "no memory for HTTP/2");
}


void
ngx_http_wt_h2_invalid(ngx_http_wt_h2_t *h2, const char *reason, size_t len)
{
    h2->failed = 1;

    if (h2->logged) {
        return;
    }

    h2->logged = 1;

    ngx_log_error(NGX_LOG_ERR, &h2->log, 0,
                  "webtransport worker sent invalid HTTP/2: %*s",
                  len ? len : ngx_strlen(reason), reason);
}


static void
ngx_http_wt_h2_fail(ngx_http_wt_h2_t *h2, ngx_err_t err, const char *reason)
{
    ngx_uint_t  level;

    h2->failed = 1;

    if (h2->logged) {
        return;
    }

    h2->logged = 1;

    level = ngx_http_wt_h2_needed(h2) ? NGX_LOG_ERR : NGX_LOG_INFO;

    ngx_log_error(level, &h2->log, err, "%s", reason);
}


/* a worker that has nothing to do for us may go */

static ngx_uint_t
ngx_http_wt_h2_needed(ngx_http_wt_h2_t *h2)
{
    return !h2->ready
           || (!h2->used && h2->host->nwaiting)
           || !ngx_queue_empty(&h2->streams);
}


/*
 * The only PING that is ever sent, besides answers.  gRPC servers count PINGs
 * and end the connection, with all its calls, after the third one that came
 * without an answer to a call in between.  So there are two.
 */

void
ngx_http_wt_h2_suspect(ngx_http_wt_h2_stream_t *st)
{
    ngx_http_wt_h2_t  *h2;

    h2 = st->h2;

    if (h2 == NULL || st->id == 0 || st->heard != h2->heard
        || ngx_current_msec - st->begun < NGX_HTTP_WT_H2_SILENCE
        || h2->suspect || h2->failed || ngx_exiting
        || h2->pings == NGX_HTTP_WT_H2_PINGS
        || nghttp2_submit_ping(h2->session, NGHTTP2_FLAG_NONE, NULL) != 0)
    {
        return;
    }

    ngx_log_debug1(NGX_LOG_DEBUG_HTTP, &h2->log, 0,
                   "wt h2 suspect, stream:%D", st->id);

    h2->pings++;
    h2->suspect = 1;

    ngx_add_timer(&h2->timer, h2->host->conf->connect_timeout);

    ngx_http_wt_h2_post_write(h2);
}


void
ngx_http_wt_h2_silent(ngx_http_wt_h2_t *h2)
{
    ngx_http_wt_h2_fail(h2, NGX_ETIMEDOUT,
                        "webtransport worker has fallen silent");

    ngx_http_wt_h2_settle(h2);
}


/* Does what was noted; afterwards there may be no connection any more. */

static void
ngx_http_wt_h2_settle(ngx_http_wt_h2_t *h2)
{
    ngx_queue_t              *q;
    ngx_http_wt_h2_stream_t  *st;

    while (!ngx_queue_empty(&h2->writable)) {

        q = ngx_queue_head(&h2->writable);
        st = ngx_queue_data(q, ngx_http_wt_h2_stream_t, writable);

        ngx_queue_remove(&st->writable);
        st->queued = 0;

        if (!st->fin && !h2->failed) {
            st->ops->writable(st);
        }
    }

    if (h2->failed) {
        ngx_http_wt_h2_end(h2);
        return;
    }

    if (h2->ready && ngx_queue_empty(&h2->streams)) {
        ngx_http_wt_h2_rest(h2);
    }
}


/* no stream has an owner: what becomes of the connection? */

static void
ngx_http_wt_h2_rest(ngx_http_wt_h2_t *h2)
{
    ngx_connection_t       *c;
    ngx_http_wt_h2_host_t  *host;

    if (h2->start || h2->broken || h2->suspect) {
        return;
    }

    host = h2->host;

    if (nghttp2_session_want_write(h2->session)) {

        /*
         * An RST_STREAM has to be sent.  h2->nstreams would not do: it counts
         * requests, too, that were given up before the peer allowed them.
         */

        return;
    }

    if (h2->goaway || !nghttp2_session_check_request_allowed(h2->session)) {

        if (h2->used || h2->idle) {
            ngx_http_wt_h2_shutdown(h2);
            return;
        }

        /* the next one would do the same */

        ngx_http_wt_h2_unreachable(h2, 0);
        return;
    }

    if (h2->idle || host->nwaiting) {
        return;
    }

    if (ngx_exiting || host->keepalive == 0) {
        ngx_http_wt_h2_shutdown(h2);
        return;
    }

    h2->idle = 1;

    c = h2->connection;

    c->log_error = NGX_ERROR_INFO;
    c->idle = 1;
    ngx_reusable_connection(c, 1);

    ngx_add_timer(&h2->timer, host->keepalive);
}


void
ngx_http_wt_h2_wake(ngx_http_wt_h2_t *h2)
{
    ngx_connection_t  *c;

    if (!h2->idle) {
        return;
    }

    h2->idle = 0;

    c = h2->connection;

    c->log_error = NGX_ERROR_ERR;
    c->idle = 0;
    ngx_reusable_connection(c, 0);

    ngx_del_timer(&h2->timer);
}


/* it has failed, with whatever streams there are */

static void
ngx_http_wt_h2_end(ngx_http_wt_h2_t *h2)
{
    ngx_queue_t              *q;
    ngx_http_wt_h2_end_e      how;
    ngx_http_wt_h2_stream_t  *st;

    if (!h2->used && !h2->idle) {
        ngx_http_wt_h2_unreachable(h2, 0);
        return;
    }

    while (!ngx_queue_empty(&h2->streams)) {

        q = ngx_queue_head(&h2->streams);
        st = ngx_queue_data(q, ngx_http_wt_h2_stream_t, queue);

        if (h2->exhausted) {
            how = NGX_HTTP_WT_H2_ERROR;

        } else {
            how = st->sent ? NGX_HTTP_WT_H2_LOST : NGX_HTTP_WT_H2_REFUSED;
        }

        ngx_http_wt_h2_finish(st, how);
    }

    ngx_http_wt_h2_free(h2);
}


/*
 * Says goodbye as far as the socket takes it.  Callable from within anything:
 * there is nobody to be told.
 */

void
ngx_http_wt_h2_shutdown(ngx_http_wt_h2_t *h2)
{
    ssize_t            n;
    ngx_connection_t  *c;
    const uint8_t     *data;

    c = h2->connection;

    (void) nghttp2_session_terminate_session(h2->session, NGHTTP2_NO_ERROR);

    while (h2->start == NULL && !h2->broken && !c->read->eof) {

        n = nghttp2_session_mem_send(h2->session, &data);

        if (n <= 0 || c->send(c, (u_char *) data, n) != n) {
            break;
        }
    }

    ngx_http_wt_h2_free(h2);
}
