/*
 * New streams of a client: taking over those of the asked types, and handing
 * the others to nginx as if nobody had looked.
 *
 * nginx posts a stream's read event only when data arrives at its receive
 * offset, so looking without reading would miss the next wake-up.  The first
 * bytes are therefore consumed, and replayed through c->recv to nginx.
 */


#include <ngx_http_wt_glue_internal.h>


/*
 * Enough for the longest stream type with a session id behind it, and for
 * telling an ordinary request by its first field line.
 */
#define NGX_HTTP_WT_GLUE_PEEK  24


typedef ssize_t (*ngx_http_wt_glue_recv_pt)(ngx_connection_t *c, u_char *buf,
    size_t size);


/* a stream nobody owns yet; in the stream's pool */

typedef struct {
    ngx_http_wt_glue_conn_t    *gc;
    ngx_connection_handler_pt   handler;
    ngx_http_wt_glue_section_t *section;
    ngx_buf_t                   buf;
    u_char                      start[NGX_HTTP_WT_GLUE_PEEK];
} ngx_http_wt_glue_peek_t;


/*
 * Bytes that nginx has yet to see, and on request streams the place in the
 * sequence of frames; in the stream's pool.
 */

typedef struct {
    ngx_http_wt_glue_conn_t    *gc;
    ngx_http_wt_glue_recv_pt    recv;
    u_char                     *pos;
    u_char                     *last;

    uint64_t                    skip;         /* of the current frame */
    ngx_uint_t                  vlen;
    u_char                      vbuf[8];      /* a varint, maybe incomplete */
    unsigned                    frames:1;     /* a request stream */
    unsigned                    length:1;     /* the type has been seen */
} ngx_http_wt_glue_replay_t;


static void ngx_http_wt_glue_peek_handler(ngx_event_t *rev);
static void ngx_http_wt_glue_peek_cancel(ngx_connection_t *c,
    ngx_http_wt_glue_peek_t *peek);
static ngx_int_t ngx_http_wt_glue_peek_bidi(ngx_connection_t *c,
    ngx_http_wt_glue_peek_t *peek);
static ngx_int_t ngx_http_wt_glue_peek_uni(ngx_connection_t *c,
    ngx_http_wt_glue_peek_t *peek);
static void ngx_http_wt_glue_peek_eof(ngx_connection_t *c,
    ngx_http_wt_glue_peek_t *peek);
static void ngx_http_wt_glue_pass_request(ngx_connection_t *c,
    ngx_http_wt_glue_peek_t *peek);
static void ngx_http_wt_glue_pass_uni(ngx_connection_t *c,
    ngx_http_wt_glue_peek_t *peek, ngx_uint_t control);
static void ngx_http_wt_glue_take(ngx_connection_t *c,
    ngx_http_wt_glue_peek_t *peek, u_char *pos);
static void ngx_http_wt_glue_replay(ngx_connection_t *c,
    ngx_http_wt_glue_peek_t *peek);
static ssize_t ngx_http_wt_glue_replay_recv(ngx_connection_t *c, u_char *buf,
    size_t size);
static void ngx_http_wt_glue_replay_frames(ngx_connection_t *c,
    ngx_http_wt_glue_replay_t *replay, u_char *p, u_char *last);
static void ngx_http_wt_glue_replay_cleanup(void *data);


void
ngx_http_wt_glue_stream_init(ngx_connection_t *c, ngx_http_wt_glue_conn_t *gc,
    ngx_connection_handler_pt handler)
{
    ngx_event_t                *rev;
    ngx_http_connection_t      *hc;
    ngx_http_wt_glue_peek_t    *peek;
    ngx_http_core_srv_conf_t   *cscf;

    rev = c->read;

    peek = ngx_pcalloc(c->pool, sizeof(ngx_http_wt_glue_peek_t));
    if (peek == NULL) {
        ngx_http_wt_glue_end(c, NGX_HTTP_V3_ERR_INTERNAL_ERROR, 1);
        return;
    }

    peek->gc = gc;
    peek->handler = handler;

    peek->buf.start = peek->start;
    peek->buf.pos = peek->start;
    peek->buf.last = peek->start;
    peek->buf.end = peek->start + NGX_HTTP_WT_GLUE_PEEK;

    c->data = peek;
    rev->handler = ngx_http_wt_glue_peek_handler;

    if (c->quic->id & NGX_QUIC_STREAM_UNIDIRECTIONAL) {

        /* like nginx's: may wait for ever, and does not keep a connection */

        ngx_quic_cancelable_stream(c);

    } else {
        hc = ngx_http_quic_get_connection(c);
        cscf = ngx_http_get_module_srv_conf(hc->conf_ctx,
                                            ngx_http_core_module);

        ngx_add_timer(rev, cscf->client_header_timeout);
    }

    if (rev->ready) {
        rev->handler(rev);
    }
}


static void
ngx_http_wt_glue_peek_handler(ngx_event_t *rev)
{
    ssize_t                   n;
    ngx_buf_t                *b;
    ngx_int_t                 rc;
    ngx_connection_t         *c;
    ngx_http_wt_glue_peek_t  *peek;

    c = rev->data;
    peek = c->data;
    b = &peek->buf;

    ngx_log_debug1(NGX_LOG_DEBUG_HTTP, c->log, 0,
                   "wt stream id:0x%xL peek", c->quic->id);

    if (c->close) {
        ngx_http_wt_glue_end(c, 0, 1);
        return;
    }

    if (rev->timedout) {
        ngx_log_error(NGX_LOG_INFO, c->log, NGX_ETIMEDOUT,
                      "client timed out while opening a stream");
        ngx_http_wt_glue_peek_cancel(c, peek);
        ngx_http_wt_glue_end(c, NGX_HTTP_V3_ERR_REQUEST_REJECTED, 1);
        return;
    }

    for ( ;; ) {

        if (b->last != b->pos) {

            if (c->quic->id & NGX_QUIC_STREAM_UNIDIRECTIONAL) {
                rc = ngx_http_wt_glue_peek_uni(c, peek);

            } else {
                rc = ngx_http_wt_glue_peek_bidi(c, peek);
            }

            if (rc == NGX_DONE) {
                return;
            }

            if (rc == NGX_ERROR || rc > 0) {
                ngx_http_wt_glue_end(c, (rc > 0) ? rc
                                            : NGX_HTTP_V3_ERR_INTERNAL_ERROR,
                                     1);
                return;
            }

            if (rc == NGX_BUSY) {

                if (rev->error) {
                    ngx_http_wt_glue_peek_cancel(c, peek);
                    ngx_http_wt_glue_end(c, NGX_HTTP_V3_ERR_REQUEST_CANCELLED,
                                         1);
                }

                return;
            }

            /* rc == NGX_AGAIN */
        }

        n = c->recv(c, b->last, b->end - b->last);

        if (n == NGX_AGAIN) {
            return;
        }

        if (n == NGX_ERROR) {

            /* reset before its type was known: there is nobody to tell */

            ngx_http_wt_glue_peek_cancel(c, peek);
            ngx_http_wt_glue_end(c, NGX_HTTP_V3_ERR_REQUEST_CANCELLED, 1);
            return;
        }

        if (n == 0) {
            ngx_http_wt_glue_peek_eof(c, peek);
            return;
        }

        b->last += n;
    }
}


/* RFC 9204, 2.2.2.2.  Abandonment of a Stream */

static void
ngx_http_wt_glue_peek_cancel(ngx_connection_t *c,
    ngx_http_wt_glue_peek_t *peek)
{
    if (peek->section) {
        (void) ngx_http_v3_send_cancel_stream(c, c->quic->id);
    }
}


/* NGX_DONE: the stream has an owner; NGX_AGAIN, NGX_BUSY, or an error */

static ngx_int_t
ngx_http_wt_glue_peek_bidi(ngx_connection_t *c, ngx_http_wt_glue_peek_t *peek)
{
    u_char     *p;
    uint64_t    type;
    ngx_int_t   rc;

    p = ngx_http_wt_glue_varint(peek->buf.pos, peek->buf.last, &type);

    if (p == NULL) {
        return NGX_AGAIN;
    }

    if (type == peek->gc->pub.params->bidi_type) {
        ngx_http_wt_glue_take(c, peek, p);
        return NGX_DONE;
    }

    if (type == NGX_HTTP_V3_FRAME_HEADERS) {

        rc = ngx_http_wt_glue_connect_rewrite(c, peek->gc, &peek->buf,
                                              &peek->section);

        if (rc != NGX_OK) {
            return rc;
        }
    }

    ngx_http_wt_glue_pass_request(c, peek);

    return NGX_DONE;
}


static ngx_int_t
ngx_http_wt_glue_peek_uni(ngx_connection_t *c, ngx_http_wt_glue_peek_t *peek)
{
    u_char    *p;
    uint64_t   type;

    p = ngx_http_wt_glue_varint(peek->buf.pos, peek->buf.last, &type);

    if (p == NULL) {
        return NGX_AGAIN;
    }

    if (type == peek->gc->pub.params->uni_type) {
        ngx_http_wt_glue_take(c, peek, p);
        return NGX_DONE;
    }

    switch (type) {

    case NGX_HTTP_V3_STREAM_CONTROL:
    case NGX_HTTP_V3_STREAM_ENCODER:
    case NGX_HTTP_V3_STREAM_DECODER:
        ngx_http_wt_glue_pass_uni(c, peek, type == NGX_HTTP_V3_STREAM_CONTROL);
        return NGX_DONE;

    case NGX_HTTP_V3_STREAM_PUSH:

        /* RFC 9114, 6.2.2: only servers can push */

        ngx_http_wt_glue_conn_close(&peek->gc->pub,
                                    NGX_HTTP_V3_ERR_STREAM_CREATION_ERROR,
                                    "push stream of a client");

        /* fall through */

    default:

        /*
         * RFC 9114, 6.2: recipients of unknown stream types MUST either abort
         * reading of the stream or discard incoming data.  nginx ends the
         * connection when one comes before its own three.
         */

        return NGX_HTTP_V3_ERR_STREAM_CREATION_ERROR;
    }
}


static void
ngx_http_wt_glue_peek_eof(ngx_connection_t *c, ngx_http_wt_glue_peek_t *peek)
{
    ngx_log_debug1(NGX_LOG_DEBUG_HTTP, c->log, 0,
                   "wt stream id:0x%xL ended early", c->quic->id);

    if (c->quic->id & NGX_QUIC_STREAM_UNIDIRECTIONAL) {
        ngx_http_wt_glue_end(c, 0, 1);
        return;
    }

    /* an incomplete request: nginx knows what to answer */

    ngx_http_wt_glue_pass_request(c, peek);
}


static void
ngx_http_wt_glue_pass_request(ngx_connection_t *c,
    ngx_http_wt_glue_peek_t *peek)
{
    ngx_uint_t                  freed, requests;
    ngx_msec_t                  start_time;
    ngx_connection_t           *pc;
    ngx_pool_cleanup_t         *cln;
    ngx_http_connection_t      *hc;
    ngx_quic_connection_t      *qc;
    ngx_http_wt_glue_conn_t    *gc;
    ngx_http_core_loc_conf_t   *clcf;

    gc = peek->gc;
    pc = gc->pub.connection;
    qc = ngx_quic_get_connection(pc);

    cln = ngx_http_wt_glue_watch(c->pool, &freed);
    if (cln == NULL) {
        ngx_http_wt_glue_end(c, NGX_HTTP_V3_ERR_INTERNAL_ERROR, 1);
        return;
    }

    /*
     * nginx takes the stream id for the number of requests, and every session
     * would be cut off after keepalive_time.  Both limits are read while the
     * handler runs: make them speak of real requests.
     */

    hc = ngx_http_quic_get_connection(c);
    clcf = ngx_http_get_module_loc_conf(hc->conf_ctx, ngx_http_core_module);

    requests = clcf->keepalive_requests;
    start_time = c->start_time;

    clcf->keepalive_requests += (c->quic->id >> 2) - gc->requests;
    gc->requests++;

    if (ngx_http_wt_glue_ops->busy(&gc->pub)) {
        c->start_time = ngx_current_msec;
    }

    ngx_http_wt_glue_replay(c, peek);

    clcf->keepalive_requests = requests;

    if (!freed) {
        cln->handler = NULL;
        c->start_time = start_time;
    }

    /*
     * A graceful shutdown makes nginx ignore new streams, those of live
     * sessions included: it has to wait for the last session.
     */

    if (qc->shutdown && !qc->closing && ngx_http_wt_glue_ops->busy(&gc->pub)) {
        gc->delayed_shutdown = 1;
        gc->shutdown_code = qc->shutdown_code;
        gc->shutdown_reason = qc->shutdown_reason;
        qc->shutdown = 0;
    }
}


static void
ngx_http_wt_glue_pass_uni(ngx_connection_t *c, ngx_http_wt_glue_peek_t *peek,
    ngx_uint_t control)
{
    uint64_t             id;
    ngx_uint_t           freed;
    ngx_pool_cleanup_t  *cln;

    cln = ngx_http_wt_glue_watch(c->pool, &freed);
    if (cln == NULL) {
        ngx_http_wt_glue_end(c, NGX_HTTP_V3_ERR_INTERNAL_ERROR, 1);
        return;
    }

    /*
     * nginx knows three unidirectional streams, those with the three lowest
     * ids.  Nothing but the check of the id happens while "ready" is unset,
     * so the stream may come later.
     */

    id = c->quic->id;

    c->quic->id = id & (NGX_QUIC_STREAM_SERVER_INITIATED
                        | NGX_QUIC_STREAM_UNIDIRECTIONAL);
    c->read->ready = 0;

    ngx_http_wt_glue_replay(c, peek);

    if (freed) {
        return;
    }

    cln->handler = NULL;

    c->quic->id = id;
    c->read->ready = 1;

    if (control) {
        ngx_http_wt_glue_control_init(c, peek->gc);
    }

    ngx_post_event(c->read, &ngx_posted_events);
}


static void
ngx_http_wt_glue_replay(ngx_connection_t *c, ngx_http_wt_glue_peek_t *peek)
{
    ngx_pool_cleanup_t         *cln;
    ngx_http_wt_glue_replay_t  *replay;

    if (c->read->timer_set) {
        ngx_del_timer(c->read);
    }

    cln = ngx_pool_cleanup_add(c->pool, sizeof(ngx_http_wt_glue_replay_t));
    if (cln == NULL) {
        ngx_http_wt_glue_end(c, NGX_HTTP_V3_ERR_INTERNAL_ERROR, 1);
        return;
    }

    /* this cleanup does nothing, but leads from the connection to the bytes */

    cln->handler = ngx_http_wt_glue_replay_cleanup;

    replay = cln->data;
    ngx_memzero(replay, sizeof(ngx_http_wt_glue_replay_t));

    replay->gc = peek->gc;
    replay->recv = c->recv;
    replay->pos = peek->buf.pos;
    replay->last = peek->buf.last;

    c->recv = ngx_http_wt_glue_replay_recv;
    c->data = NULL;

    if (!(c->quic->id & NGX_QUIC_STREAM_UNIDIRECTIONAL)) {
        c->read->ready = 1;
        replay->frames = 1;
    }

    peek->handler(c);
}


static ssize_t
ngx_http_wt_glue_replay_recv(ngx_connection_t *c, u_char *buf, size_t size)
{
    ssize_t                     n;
    ngx_pool_cleanup_t         *cln;
    ngx_http_wt_glue_replay_t  *replay;

    for (cln = c->pool->cleanup;
         cln->handler != ngx_http_wt_glue_replay_cleanup;
         cln = cln->next)
    { /* void */ }

    replay = cln->data;

    n = ngx_min(size, (size_t) (replay->last - replay->pos));

    if (n == 0) {
        n = replay->recv(c, buf, size);

        if (n <= 0) {
            return n;
        }

    } else {
        ngx_memcpy(buf, replay->pos, n);
        replay->pos += n;
    }

    if (replay->frames) {
        ngx_http_wt_glue_replay_frames(c, replay, buf, buf + n);

    } else if (replay->pos == replay->last
               && c->recv == ngx_http_wt_glue_replay_recv)
    {
        c->recv = replay->recv;
    }

    return n;
}


/*
 * nginx skips frames that it does not know, by their lengths.  The signal
 * value of a stream has none: draft-ietf-webtrans-http3, 4.3, anywhere but at
 * the beginning of a stream it is a connection error H3_FRAME_ERROR.
 */

static void
ngx_http_wt_glue_replay_frames(ngx_connection_t *c,
    ngx_http_wt_glue_replay_t *replay, u_char *p, u_char *last)
{
    uint64_t  value;

    while (p != last) {

        if (replay->skip) {
            value = ngx_min(replay->skip, (uint64_t) (last - p));
            replay->skip -= value;
            p += value;
            continue;
        }

        replay->vbuf[replay->vlen++] = *p++;

        if (ngx_http_wt_glue_varint(replay->vbuf, replay->vbuf + replay->vlen,
                                    &value)
            == NULL)
        {
            continue;
        }

        replay->vlen = 0;

        if (replay->length) {
            replay->length = 0;
            replay->skip = value;
            continue;
        }

        if (value == replay->gc->pub.params->bidi_type) {
            ngx_http_wt_glue_conn_close(&replay->gc->pub,
                                        NGX_HTTP_V3_ERR_FRAME_ERROR,
                                        "webtransport stream in a request");
            c->recv = replay->recv;
            return;
        }

        replay->length = 1;
    }
}


static void
ngx_http_wt_glue_replay_cleanup(void *data)
{
}


static void
ngx_http_wt_glue_take(ngx_connection_t *c, ngx_http_wt_glue_peek_t *peek,
    u_char *pos)
{
    ngx_http_wt_qstream_t  *qs;

    if (c->read->timer_set) {
        ngx_del_timer(c->read);
    }

    qs = ngx_http_wt_glue_create_stream(c, peek->gc);
    if (qs == NULL) {
        ngx_http_wt_glue_end(c, NGX_HTTP_V3_ERR_INTERNAL_ERROR, 1);
        return;
    }

    qs->pos = pos;
    qs->last = peek->buf.last;

    ngx_http_wt_glue_ops->stream(qs);
}
