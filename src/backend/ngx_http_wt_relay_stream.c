/*
 * A stream's part of the relay: what its client sends becomes events, in
 * order, as far as the output buffer and the worker's credit go.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_http.h>
#include <ngx_http_wt_relay.h>


/* a payload gets at least this much room, lest it be cut into crumbs */
#define NGX_HTTP_WT_RELAY_MIN_DATA  512

/* payload of one stream before others get their turn */
#define NGX_HTTP_WT_RELAY_TURN      16384


static ngx_int_t ngx_http_wt_relay_raw(ngx_http_wt_backend_t *b,
    ngx_http_wt_relay_stream_t *bs);
static ngx_int_t ngx_http_wt_relay_framed(ngx_http_wt_backend_t *b,
    ngx_http_wt_relay_stream_t *bs);
static ngx_int_t ngx_http_wt_relay_fill(ngx_http_wt_backend_t *b,
    ngx_http_wt_relay_stream_t *bs);
static ngx_int_t ngx_http_wt_relay_message(ngx_http_wt_backend_t *b,
    ngx_http_wt_relay_stream_t *bs, ngx_str_t *msg);
static void ngx_http_wt_relay_bad_message(ngx_http_wt_backend_t *b,
    ngx_http_wt_relay_stream_t *bs, ngx_int_t rc);
static ngx_int_t ngx_http_wt_relay_data(ngx_http_wt_backend_t *b,
    ngx_http_wt_relay_stream_t *bs, ngx_str_t *data, ngx_uint_t fin);
static ngx_int_t ngx_http_wt_relay_aborts(ngx_http_wt_backend_t *b,
    ngx_http_wt_relay_stream_t *bs);
static ngx_uint_t ngx_http_wt_relay_open(ngx_http_wt_relay_stream_t *bs);


ngx_http_wt_relay_stream_t *
ngx_http_wt_relay_add_stream(ngx_http_wt_backend_t *b,
    ngx_http_wt_stream_t *ws)
{
    ngx_http_wt_relay_stream_t  *bs;

    bs = ngx_calloc(sizeof(ngx_http_wt_relay_stream_t),
                    b->request->connection->log);
    if (bs == NULL) {
        return NULL;
    }

    bs->stream = ws;
    bs->id = ws->id;
    bs->framing = b->framing;
    bs->credit = b->window;
    bs->granted = b->conf->upstream.buffer_size;

    ngx_queue_insert_tail(&b->streams, &bs->queue);

    ws->peer = bs;

    return bs;
}


void
ngx_http_wt_relay_free_stream(ngx_http_wt_backend_t *b,
    ngx_http_wt_relay_stream_t *bs)
{
    if (bs->stream) {
        bs->stream->peer = NULL;
    }

    if (bs->queued) {
        ngx_queue_remove(&bs->ready);
    }

    if (bs->gone) {
        b->ngone--;
    }

    if (b->push == bs) {
        b->push = NULL;
    }

    ngx_queue_remove(&bs->queue);

    ngx_http_wt_framing_free(&bs->input);
    ngx_free(bs);
}


void
ngx_http_wt_relay_queue(ngx_http_wt_backend_t *b,
    ngx_http_wt_relay_stream_t *bs)
{
    if (!bs->queued) {
        bs->queued = 1;
        ngx_queue_insert_tail(&b->ready, &bs->ready);
    }

    ngx_http_wt_event_post(b);
}


ngx_int_t
ngx_http_wt_relay_stream(ngx_http_wt_backend_t *b,
    ngx_http_wt_relay_stream_t *bs)
{
    ngx_int_t  rc;

    if (!bs->fin && !bs->reset) {

        rc = (bs->framing == NGX_HTTP_WT_FRAMING_RAW)
                 ? ngx_http_wt_relay_raw(b, bs)
                 : ngx_http_wt_relay_framed(b, bs);

        if (rc != NGX_OK) {
            return rc;
        }
    }

    rc = ngx_http_wt_relay_aborts(b, bs);

    if (rc != NGX_OK) {
        return rc;
    }

    ngx_queue_remove(&bs->ready);
    bs->queued = 0;

    /* one that is gone may still have messages that wait for credit */

    if (bs->gone && (bs->fin || bs->input.pos == bs->input.last)) {
        ngx_http_wt_relay_free_stream(b, bs);
        return NGX_OK;
    }

    ngx_http_wt_framing_trim(&bs->input);

    return NGX_OK;
}


static ngx_int_t
ngx_http_wt_relay_raw(ngx_http_wt_backend_t *b, ngx_http_wt_relay_stream_t *bs)
{
    u_char                *p, *data;
    size_t                 n, size;
    ssize_t                rc;
    ngx_http_wt_stream_t  *ws;

    ws = bs->stream;

    if (ws == NULL) {
        return NGX_OK;
    }

    if (b->window && bs->credit <= 0) {
        return NGX_OK;
    }

    if (bs->announced && !bs->readable) {
        return NGX_OK;
    }

    p = ngx_http_wt_event_room(b, NGX_HTTP_WT_MSG_DATA_HDR
                                  + NGX_HTTP_WT_RELAY_MIN_DATA, 1);
    if (p == NULL) {
        return NGX_AGAIN;
    }

    size = ngx_http_wt_event_left(b, p) - NGX_HTTP_WT_MSG_DATA_HDR;
    size = ngx_min(size, NGX_HTTP_WT_RELAY_TURN);

    if (b->window) {
        size = (size_t) ngx_min((int64_t) size, bs->credit);
    }

    data = p + NGX_HTTP_WT_MSG_DATA_HDR;
    n = 0;
    rc = NGX_AGAIN;

    while (bs->readable && n < size) {

        rc = ngx_http_wt_stream_recv(ws, data + n, size - n);

        if (rc <= 0) {
            bs->readable = 0;
            break;
        }

        n += rc;
    }

    if (rc == 0) {
        bs->eof = 1;
        bs->fin = 1;
    }

    if (n || bs->fin || !bs->announced) {

        p = ngx_http_wt_msg_data_hdr(p, bs->id, ngx_http_wt_relay_open(bs),
                                     bs->fin, n);
        bs->announced = 1;
        bs->credit -= n;

        ngx_http_wt_event_done(b, p + n);
    }

    return bs->readable ? NGX_BUSY : NGX_OK;
}


static ngx_int_t
ngx_http_wt_relay_framed(ngx_http_wt_backend_t *b,
    ngx_http_wt_relay_stream_t *bs)
{
    size_t      sent;
    ngx_int_t   rc;
    ngx_str_t   msg;

    sent = 0;

    for ( ;; ) {

        /* what comes before the end shall be told with it: read first */

        rc = ngx_http_wt_relay_fill(b, bs);

        if (rc != NGX_OK) {
            return rc;
        }

        if (bs->reset) {
            return NGX_OK;
        }

        if (b->window && bs->credit <= 0
            && !(bs->eof && bs->input.pos == bs->input.last))
        {
            /* the end of a stream needs no credit */
            return NGX_OK;
        }

        rc = ngx_http_wt_framing_next(&bs->input, bs->framing,
                                      b->conf->max_message_size, bs->eof,
                                      &msg);

        if (rc == NGX_DECLINED || rc == NGX_ERROR) {
            ngx_http_wt_relay_bad_message(b, bs, rc);
            return NGX_OK;
        }

        if (rc == NGX_AGAIN) {

            if (bs->eof) {
                ngx_str_null(&msg);
                return ngx_http_wt_relay_data(b, bs, &msg, 1);
            }

            if (!bs->readable) {
                return NGX_OK;
            }

            continue;
        }

        if (sent >= NGX_HTTP_WT_RELAY_TURN) {
            return NGX_BUSY;
        }

        sent += msg.len + NGX_HTTP_WT_MSG_DATA_HDR;

        rc = ngx_http_wt_relay_message(b, bs, &msg);

        if (rc != NGX_OK || bs->fin) {
            return rc;
        }
    }
}


/* reads as much as the buffer takes, and makes it larger if that is needed */

static ngx_int_t
ngx_http_wt_relay_fill(ngx_http_wt_backend_t *b,
    ngx_http_wt_relay_stream_t *bs)
{
    ssize_t                 n;
    ngx_int_t               rc;
    ngx_str_t               msg;
    ngx_http_wt_framing_t  *f;

    f = &bs->input;

    if (!bs->readable || (b->window && bs->credit <= 0)) {
        return NGX_OK;
    }

    for ( ;; ) {

        if (f->last == f->end) {

            rc = ngx_http_wt_framing_next(f, bs->framing,
                                          b->conf->max_message_size, 0, &msg);
            if (rc != NGX_AGAIN) {
                return NGX_OK;
            }

            if (ngx_http_wt_framing_room(f, bs->framing,
                                         b->conf->max_message_size,
                                         b->request->connection->log)
                != NGX_OK)
            {
                return NGX_ERROR;
            }
        }

        n = ngx_http_wt_stream_recv(bs->stream, f->last, f->end - f->last);

        if (n <= 0) {
            bs->readable = 0;
            bs->eof = (n == 0);

            return NGX_OK;
        }

        f->last += n;
    }
}


static ngx_int_t
ngx_http_wt_relay_message(ngx_http_wt_backend_t *b,
    ngx_http_wt_relay_stream_t *bs, ngx_str_t *msg)
{
    size_t      size;
    ngx_int_t   rc;
    ngx_uint_t  fin;

    /* the last message, if it is known to be that */

    size = (bs->framing == NGX_HTTP_WT_FRAMING_LINES) ? 1 : 0;

    fin = bs->eof && msg->data + msg->len + size >= bs->input.last;

    /* without data, an event with "open" or "fin" has no message */

    if (msg->len == 0 && bs->framing != NGX_HTTP_WT_FRAMING_WHOLE) {
        fin = 0;

        if (!bs->announced) {
            rc = ngx_http_wt_relay_data(b, bs, msg, 0);

            if (rc != NGX_OK) {
                return rc;
            }
        }
    }

    rc = ngx_http_wt_relay_data(b, bs, msg, fin);

    if (rc == NGX_OK) {
        ngx_http_wt_framing_consume(&bs->input, bs->framing, msg);
    }

    return rc;
}


/*
 * The client gets the stop, the worker a reset without a code: the message is
 * lost, and the other direction goes on.
 */

static void
ngx_http_wt_relay_bad_message(ngx_http_wt_backend_t *b,
    ngx_http_wt_relay_stream_t *bs, ngx_int_t rc)
{
    if (rc == NGX_DECLINED) {
        ngx_http_wt_session_log(NGX_LOG_INFO, b->session, 0,
                                "client sent a message of more than %uz bytes "
                                "on stream %uL", b->conf->max_message_size,
                                bs->id);
    } else {
        ngx_http_wt_session_log(NGX_LOG_INFO, b->session, 0,
                                "client ended stream %uL inside of a message",
                                bs->id);
    }

    bs->readable = 0;
    bs->reset = 1;
    bs->reset_app = 0;

    ngx_http_wt_framing_free(&bs->input);

    if (bs->stream) {
        ngx_http_wt_stream_stop(bs->stream, NGX_HTTP_WT_BY_LIMIT);
    }
}


static ngx_int_t
ngx_http_wt_relay_data(ngx_http_wt_backend_t *b,
    ngx_http_wt_relay_stream_t *bs, ngx_str_t *data, ngx_uint_t fin)
{
    u_char  *p;

    p = ngx_http_wt_event_long(b, NGX_HTTP_WT_MSG_DATA_HDR + data->len);
    if (p == NULL) {
        return NGX_AGAIN;
    }

    p = ngx_http_wt_msg_data_hdr(p, bs->id, ngx_http_wt_relay_open(bs), fin,
                                 data->len);

    if (data->len) {
        p = ngx_cpymem(p, data->data, data->len);
    }

    bs->announced = 1;
    bs->fin = fin;
    bs->credit -= data->len;

    ngx_http_wt_event_done(b, p);

    return NGX_OK;
}


static ngx_uint_t
ngx_http_wt_relay_open(ngx_http_wt_relay_stream_t *bs)
{
    if (bs->announced) {
        return NGX_HTTP_WT_OPEN_NONE;
    }

    return (bs->id & NGX_HTTP_WT_STREAM_UNI) ? NGX_HTTP_WT_OPEN_UNI
                                             : NGX_HTTP_WT_OPEN_BIDI;
}


/* small events that must not be lost */

static ngx_int_t
ngx_http_wt_relay_aborts(ngx_http_wt_backend_t *b,
    ngx_http_wt_relay_stream_t *bs)
{
    u_char                    *p;
    size_t                     credit;
    ngx_str_t                  none;
    ngx_http_wt_msg_credit_t   msg;

    credit = ngx_http_wt_relay_credit(b, bs);

    if (!bs->reset && !bs->stop && credit == 0) {
        return NGX_OK;
    }

    if (!bs->announced) {

        if (bs->gone) {

            /* it came and went, and the worker never heard of it */

            bs->reset = 0;
            bs->stop = 0;
            bs->fin = 1;

            return NGX_OK;
        }

        ngx_str_null(&none);

        if (ngx_http_wt_relay_data(b, bs, &none, 0) != NGX_OK) {
            return NGX_AGAIN;
        }
    }

    p = ngx_http_wt_event_room(b, 3 * NGX_HTTP_WT_MSG_EVENT_MAX, 0);
    if (p == NULL) {
        return NGX_AGAIN;
    }

    if (bs->reset) {
        p = ngx_http_wt_msg_reset(p, bs->id,
                                  bs->reset_app ? &bs->reset_code : NULL);
        bs->reset = 0;
        bs->fin = 1;
    }

    if (bs->stop) {
        p = ngx_http_wt_msg_stop(p, bs->id,
                                 bs->stop_app ? &bs->stop_code : NULL);
        bs->stop = 0;
    }

    if (credit) {
        msg.stream_id = bs->id;
        msg.bytes = credit;
        msg.bidi = 0;
        msg.uni = 0;

        bs->granted += credit;
        p = ngx_http_wt_msg_credit(p, &msg);
    }

    ngx_http_wt_event_done(b, p);

    return NGX_OK;
}


size_t
ngx_http_wt_relay_credit(ngx_http_wt_backend_t *b,
    ngx_http_wt_relay_stream_t *bs)
{
    int64_t                window, used;
    ngx_http_wt_stream_t  *ws;

    ws = bs->stream;

    if (!(b->notify & NGX_HTTP_WT_NOTIFY_STREAM_CREDIT)
        || ws == NULL || ws->send_done || bs->finished)
    {
        return 0;
    }

    /*
     * What the worker was allowed, but has not sent, and what waits here.
     * One that sent more than it was allowed has a debt.
     */

    window = b->conf->upstream.buffer_size;
    used = (int64_t) (bs->granted - bs->received) + ws->pending;

    if (used >= window) {
        return 0;
    }

    /* a message may need all of the window; bytes can wait for a half */

    if (window - used < window / 2
        && (ws->pending || bs->framing == NGX_HTTP_WT_FRAMING_RAW))
    {
        return 0;
    }

    return (size_t) (window - used);
}


void
ngx_http_wt_relay_unblock(ngx_http_wt_backend_t *b,
    ngx_http_wt_relay_stream_t *bs)
{
    if (b->blocked != bs) {
        return;
    }

    b->blocked = NULL;

    if (b->stalled) {
        b->stalled = 0;
        b->conf->transport->resume(b);
    }
}
