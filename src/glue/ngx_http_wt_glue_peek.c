/*
 * New streams of a client: taking over those of the asked types, and handing
 * the others to nginx as if nobody had looked.
 *
 * nginx posts a stream's read event only when data arrives at its receive
 * offset, so looking without reading would miss the next wake-up.  The first
 * bytes are therefore consumed, and replayed through c->recv to nginx.
 */


#include <ngx_http_wt_glue_internal.h>


/* bytes of a new stream that are read at once: small streams as a whole */
#define NGX_HTTP_WT_GLUE_PEEK  1024

/* room for telling an ordinary request by its first field line */
#define NGX_HTTP_WT_GLUE_PEEK_MIN  24


static void ngx_http_wt_glue_peek_handler(ngx_event_t *rev);
static ngx_http_wt_glue_peek_t *ngx_http_wt_glue_peek_create(
    ngx_connection_t *c, u_char *data, size_t len);
static void ngx_http_wt_glue_peek_wait(ngx_connection_t *c);
static void ngx_http_wt_glue_peek_cancel(ngx_connection_t *c,
    ngx_http_wt_glue_peek_t *peek);
static ngx_int_t ngx_http_wt_glue_peek_bidi(ngx_connection_t *c,
    ngx_http_wt_glue_peek_t *peek);
static ngx_int_t ngx_http_wt_glue_peek_uni(ngx_connection_t *c,
    ngx_http_wt_glue_peek_t *peek);
static void ngx_http_wt_glue_peek_eof(ngx_connection_t *c,
    ngx_http_wt_glue_peek_t *peek);
static void ngx_http_wt_glue_take(ngx_connection_t *c,
    ngx_http_wt_glue_conn_t *gc, u_char *p, u_char *last);
static void ngx_http_wt_glue_pass_request(ngx_connection_t *c,
    ngx_http_wt_glue_peek_t *peek);
static void ngx_http_wt_glue_pass_uni(ngx_connection_t *c,
    ngx_http_wt_glue_peek_t *peek, ngx_uint_t control);
static ngx_int_t ngx_http_wt_glue_pass(ngx_connection_t *c,
    ngx_http_wt_glue_peek_t *peek);
static void ngx_http_wt_glue_peek_cleanup(void *data);
static ssize_t ngx_http_wt_glue_replay_recv(ngx_connection_t *c, u_char *buf,
    size_t size);
static void ngx_http_wt_glue_replay_frames(ngx_connection_t *c,
    ngx_http_wt_glue_peek_t *peek, u_char *p, u_char *last);


void
ngx_http_wt_glue_stream_init(ngx_connection_t *c, ngx_http_wt_glue_conn_t *gc,
    ngx_connection_handler_pt handler)
{
    u_char                   *p;
    ssize_t                   n;
    uint64_t                  type, ours;
    ngx_http_wt_glue_peek_t  *peek;

    static u_char             buf[NGX_HTTP_WT_GLUE_PEEK];

    if (c->quic->id & NGX_QUIC_STREAM_UNIDIRECTIONAL) {

        /* like nginx's: may wait for ever, and does not keep a connection */

        ngx_quic_cancelable_stream(c);

        ours = gc->pub.params->uni_type;

    } else {
        ours = gc->pub.params->bidi_type;
    }

    n = c->recv(c, buf, NGX_HTTP_WT_GLUE_PEEK);

    if (n > 0) {
        p = ngx_http_wt_glue_varint(buf, buf + n, &type);

        if (p && type == ours) {
            ngx_http_wt_glue_take(c, gc, p, buf + n);
            return;
        }
    }

    /* not ours, or not yet known: an end and an error come again */

    peek = ngx_http_wt_glue_peek_create(c, buf, ngx_max(n, 0));
    if (peek == NULL) {
        ngx_http_wt_glue_end(c, NGX_HTTP_V3_ERR_INTERNAL_ERROR, 1);
        return;
    }

    peek->gc = gc;
    peek->handler = handler;

    c->data = peek;
    c->read->handler = ngx_http_wt_glue_peek_handler;

    ngx_http_wt_glue_peek_handler(c->read);
}


/*
 * With no more room than what came needs: an idle session keeps its CONNECT
 * and the QPACK streams.
 */

static ngx_http_wt_glue_peek_t *
ngx_http_wt_glue_peek_create(ngx_connection_t *c, u_char *data, size_t len)
{
    size_t                    size;
    ngx_buf_t                *b;
    ngx_http_wt_glue_peek_t  *peek;

    size = ngx_max(len, NGX_HTTP_WT_GLUE_PEEK_MIN);

    peek = ngx_palloc(c->pool, sizeof(ngx_http_wt_glue_peek_t) + size);
    if (peek == NULL) {
        return NULL;
    }

    ngx_memzero(peek, sizeof(ngx_http_wt_glue_peek_t));

    b = &peek->buf;

    b->start = (u_char *) peek + sizeof(ngx_http_wt_glue_peek_t);
    b->pos = b->start;
    b->last = ngx_cpymem(b->start, data, len);
    b->end = b->start + size;

    return peek;
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
                    return;
                }

                ngx_http_wt_glue_peek_wait(c);
                return;
            }

            /* rc == NGX_AGAIN */
        }

        n = c->recv(c, b->last, b->end - b->last);

        if (n == NGX_AGAIN) {
            ngx_http_wt_glue_peek_wait(c);
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


/* most streams tell at once what they are, and need no timer */

static void
ngx_http_wt_glue_peek_wait(ngx_connection_t *c)
{
    ngx_http_connection_t     *hc;
    ngx_http_core_srv_conf_t  *cscf;

    if ((c->quic->id & NGX_QUIC_STREAM_UNIDIRECTIONAL) || c->read->timer_set) {
        return;
    }

    hc = ngx_http_quic_get_connection(c);
    cscf = ngx_http_get_module_srv_conf(hc->conf_ctx, ngx_http_core_module);

    ngx_add_timer(c->read, cscf->client_header_timeout);
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
        ngx_http_wt_glue_take(c, peek->gc, p, peek->buf.last);
        return NGX_DONE;
    }

    if (type == NGX_HTTP_V3_FRAME_HEADERS) {

        rc = ngx_http_wt_glue_connect_rewrite(c, peek);

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
        ngx_http_wt_glue_take(c, peek->gc, p, peek->buf.last);
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


/* the bytes behind the stream's type are copied */

static void
ngx_http_wt_glue_take(ngx_connection_t *c, ngx_http_wt_glue_conn_t *gc,
    u_char *p, u_char *last)
{
    ngx_http_wt_qstream_t  *qs;

    if (c->read->timer_set) {
        ngx_del_timer(c->read);
    }

    qs = ngx_http_wt_glue_create_stream(c, gc);

    if (qs && p != last) {
        qs->pos = ngx_pnalloc(c->pool, last - p);

        if (qs->pos) {
            qs->last = ngx_cpymem(qs->pos, p, last - p);
        }
    }

    if (qs == NULL || (qs->pos == NULL && p != last)) {
        ngx_http_wt_glue_end(c, NGX_HTTP_V3_ERR_INTERNAL_ERROR, 1);
        return;
    }

    ngx_http_wt_glue_ops->stream(qs);
}


static void
ngx_http_wt_glue_pass_request(ngx_connection_t *c,
    ngx_http_wt_glue_peek_t *peek)
{
    ngx_uint_t                 requests;
    ngx_msec_t                 start_time;
    ngx_http_connection_t     *hc;
    ngx_quic_connection_t     *qc;
    ngx_http_wt_glue_conn_t   *gc;
    ngx_http_core_loc_conf_t  *clcf;

    gc = peek->gc;
    qc = ngx_quic_get_connection(gc->pub.connection);

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

    if (ngx_http_wt_glue_pass(c, peek) == NGX_OK) {
        c->start_time = start_time;
    }

    clcf->keepalive_requests = requests;

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
    uint64_t  id;

    /*
     * nginx knows three unidirectional streams, those with the three lowest
     * ids.  Nothing but the check of the id happens while "ready" is unset,
     * so the stream may come later.
     */

    id = c->quic->id;

    c->quic->id = id & (NGX_QUIC_STREAM_SERVER_INITIATED
                        | NGX_QUIC_STREAM_UNIDIRECTIONAL);
    c->read->ready = 0;

    if (ngx_http_wt_glue_pass(c, peek) != NGX_OK) {
        return;
    }

    c->quic->id = id;
    c->read->ready = 1;

    if (control) {
        ngx_http_wt_glue_control_init(c, peek->gc);
    }

    ngx_post_event(c->read, &ngx_posted_events);
}


/* NGX_OK, or NGX_DONE if the stream is gone */

static ngx_int_t
ngx_http_wt_glue_pass(ngx_connection_t *c, ngx_http_wt_glue_peek_t *peek)
{
    ngx_uint_t           freed;
    ngx_pool_cleanup_t  *cln;

    if (c->read->timer_set) {
        ngx_del_timer(c->read);
    }

    cln = ngx_pool_cleanup_add(c->pool, 0);
    if (cln == NULL) {
        ngx_http_wt_glue_end(c, NGX_HTTP_V3_ERR_INTERNAL_ERROR, 1);
        return NGX_DONE;
    }

    cln->handler = ngx_http_wt_glue_peek_cleanup;
    cln->data = peek;

    freed = 0;

    peek->freed = &freed;
    peek->recv = c->recv;

    c->recv = ngx_http_wt_glue_replay_recv;
    c->data = NULL;

    if (!(c->quic->id & NGX_QUIC_STREAM_UNIDIRECTIONAL)) {
        c->read->ready = 1;
        peek->frames = 1;
    }

    peek->handler(c);

    if (freed) {
        return NGX_DONE;
    }

    peek->freed = NULL;

    return NGX_OK;
}


static void
ngx_http_wt_glue_peek_cleanup(void *data)
{
    ngx_http_wt_glue_peek_t *peek = data;

    if (peek->freed) {
        *peek->freed = 1;
    }
}


/* the cleanup also leads from a stream that is nginx's to what is ours */

ngx_http_wt_glue_peek_t *
ngx_http_wt_glue_get_peek(ngx_connection_t *c)
{
    ngx_pool_cleanup_t  *cln;

    for (cln = c->pool->cleanup; cln; cln = cln->next) {
        if (cln->handler == ngx_http_wt_glue_peek_cleanup) {
            return cln->data;
        }
    }

    return NULL;
}


static ssize_t
ngx_http_wt_glue_replay_recv(ngx_connection_t *c, u_char *buf, size_t size)
{
    ssize_t                   n;
    ngx_buf_t                *b;
    ngx_http_wt_glue_peek_t  *peek;

    peek = ngx_http_wt_glue_get_peek(c);
    b = &peek->buf;

    n = ngx_min(size, (size_t) (b->last - b->pos));

    if (n == 0) {
        n = peek->recv(c, buf, size);

        if (n <= 0) {
            return n;
        }

    } else {
        ngx_memcpy(buf, b->pos, n);
        b->pos += n;
    }

    if (peek->frames) {
        ngx_http_wt_glue_replay_frames(c, peek, buf, buf + n);

    } else if (b->pos == b->last && c->recv == ngx_http_wt_glue_replay_recv) {
        c->recv = peek->recv;
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
    ngx_http_wt_glue_peek_t *peek, u_char *p, u_char *last)
{
    uint64_t  value;

    while (p != last) {

        if (peek->skip) {
            value = ngx_min(peek->skip, (uint64_t) (last - p));
            peek->skip -= value;
            p += value;
            continue;
        }

        peek->vbuf[peek->vlen++] = *p++;

        if (ngx_http_wt_glue_varint(peek->vbuf, peek->vbuf + peek->vlen,
                                    &value)
            == NULL)
        {
            continue;
        }

        peek->vlen = 0;

        if (peek->length) {
            peek->length = 0;
            peek->skip = value;
            continue;
        }

        if (value == peek->gc->pub.params->bidi_type) {
            ngx_http_wt_glue_conn_close(&peek->gc->pub,
                                        NGX_HTTP_V3_ERR_FRAME_ERROR,
                                        "webtransport stream in a request");
            c->recv = peek->recv;
            return;
        }

        peek->length = 1;
    }
}
