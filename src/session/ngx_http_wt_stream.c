/*
 * Streams: reading, sending with a bounded queue, and the two directions'
 * separate ends.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_http.h>
#include <ngx_http_wt_conn.h>
#include <ngx_http_wt_error.h>
#include <ngx_http_wt_proto.h>
#include <ngx_http_wt_session.h>
#include <ngx_http_wt_stream.h>
#include <ngx_http_wt_varint.h>


/* at least so much room in a chunk, so that crumbs of output share one */
#define NGX_HTTP_WT_STREAM_CHUNK  2048


/* output that waits for QUIC; from the heap, owned by its stream */

struct ngx_http_wt_chunk_s {
    ngx_http_wt_chunk_t      *next;
    u_char                   *pos;
    u_char                   *last;
    u_char                   *end;
    u_char                    data[1];
};


static void ngx_http_wt_stream_read_header(ngx_http_wt_stream_t *ws);
static void ngx_http_wt_stream_received_reset(ngx_http_wt_stream_t *ws);
static ngx_int_t ngx_http_wt_stream_queue(ngx_http_wt_stream_t *ws,
    u_char *data, size_t len);
static size_t ngx_http_wt_stream_write_now(ngx_http_wt_stream_t *ws,
    u_char *data, size_t len, ngx_uint_t fin);
static void ngx_http_wt_stream_flush(ngx_http_wt_stream_t *ws);
static void ngx_http_wt_stream_drop(ngx_http_wt_stream_t *ws);
static void ngx_http_wt_stream_check_done(ngx_http_wt_stream_t *ws);
static void ngx_http_wt_stream_done_handler(ngx_event_t *ev);
static uint32_t *ngx_http_wt_stream_app_code(uint64_t h3code, uint32_t *code);


ngx_http_wt_stream_t *
ngx_http_wt_stream_create(ngx_http_wt_qstream_t *qs)
{
    ngx_http_wt_stream_t  *ws;

    ws = ngx_pcalloc(qs->connection->pool, sizeof(ngx_http_wt_stream_t));
    if (ws == NULL) {
        return NULL;
    }

    ws->qs = qs;

    if (qs->id & NGX_HTTP_WT_STREAM_UNI) {
        if (qs->id & NGX_HTTP_WT_STREAM_LOCAL) {
            ws->recv_done = 1;

        } else {
            ws->send_done = 1;
        }
    }

    ws->event.data = ws;
    ws->event.log = qs->connection->log;

    qs->data = ws;

    return ws;
}


void
ngx_http_wt_stream_attach(ngx_http_wt_stream_t *ws, ngx_http_wt_session_t *s)
{
    if (ws->event.timer_set) {
        ngx_del_timer(&ws->event);
    }

    ws->session = s;
    ws->qs->owner = s;
    ws->event.handler = ngx_http_wt_stream_done_handler;

    s->peer_ops->stream_opened(ws);

    if (!s->ended) {
        s->peer_ops->stream_readable(ws);
    }

    if (!s->ended && ws->qs->connection->write->error) {
        ngx_http_wt_stream_write(ws->qs);
    }
}


/* glue: a stream is readable, reset, or goes with its connection */

void
ngx_http_wt_stream_read(ngx_http_wt_qstream_t *qs)
{
    ngx_http_wt_conn_t    *wc;
    ngx_http_wt_stream_t  *ws;

    ws = qs->data;

    if (ws == NULL) {

        /* just opened by the client */

        wc = qs->qconn->data;

        if (wc == NULL || (ws = ngx_http_wt_stream_create(qs)) == NULL) {
            ngx_http_wt_glue_stream_close(qs, NGX_HTTP_WT_H3_INTERNAL_ERROR);
            return;
        }
    }

    if (qs->connection->close) {
        ngx_http_wt_stream_close(ws, NGX_HTTP_WT_ERR_SESSION_GONE);
        return;
    }

    if (ws->session == NULL) {

        if (qs->reset_received || qs->connection->read->error) {

            /* reset before it had a session: there is nobody to tell */

            ngx_http_wt_stream_close(ws, NGX_HTTP_WT_ERR_SESSION_GONE);
            return;
        }

        if (ngx_queue_next(&ws->queue) == NULL) {
            ngx_http_wt_stream_read_header(ws);
        }

        return;
    }

    if (ws->recv_done || ws->session->state != NGX_HTTP_WT_SESSION_OPEN) {
        return;
    }

    ngx_http_wt_session_touch(ws->session);

    if (qs->connection->read->error) {
        ngx_http_wt_stream_received_reset(ws);
        return;
    }

    ws->session->peer_ops->stream_readable(ws);
}


static void
ngx_http_wt_stream_read_header(ngx_http_wt_stream_t *ws)
{
    ssize_t              n;
    uint64_t             id;
    ngx_http_wt_conn_t  *wc;

    wc = ws->qs->qconn->data;

    for ( ;; ) {

        n = ngx_http_wt_glue_stream_recv(ws->qs, &ws->hdr[ws->hdr_len], 1);

        if (n == NGX_AGAIN) {

            if (!ws->event.timer_set) {
                ws->event.handler = ngx_http_wt_conn_early_handler;
                ngx_add_timer(&ws->event, NGX_HTTP_WT_EARLY_TIMEOUT);
            }

            return;
        }

        if (n <= 0) {
            /* ended before its session was known: discarded */
            ngx_http_wt_stream_close(ws, NGX_HTTP_WT_ERR_BUFFERED_REJECTED);
            return;
        }

        ws->hdr_len++;

        if (ngx_http_wt_varint_parse(ws->hdr, ws->hdr + ws->hdr_len, &id)) {
            ws->hdr_len = 0;
            ngx_http_wt_conn_stream(wc, ws, id);
            return;
        }
    }
}


ssize_t
ngx_http_wt_stream_recv(ngx_http_wt_stream_t *ws, u_char *buf, size_t size)
{
    ssize_t  n;

    if (ws->recv_done) {
        return NGX_ERROR;
    }

    n = ngx_http_wt_glue_stream_recv(ws->qs, buf, size);

    if (n > 0) {

        /* what a slow peer takes now has come long before */

        ws->session->counters.bytes_in += n;
        ngx_http_wt_session_touch(ws->session);
        return n;
    }

    if (n == 0) {
        ws->recv_done = 1;
        ngx_http_wt_stream_check_done(ws);

    } else if (n == NGX_ERROR) {
        ngx_http_wt_stream_received_reset(ws);
    }

    return n;
}


static void
ngx_http_wt_stream_received_reset(ngx_http_wt_stream_t *ws)
{
    uint32_t  app;

    if (ws->recv_done) {
        return;
    }

    ws->recv_done = 1;

    ws->session->peer_ops->stream_reset(ws,
                        ngx_http_wt_stream_app_code(ws->qs->reset_code, &app));

    ngx_http_wt_stream_check_done(ws);
}


static uint32_t *
ngx_http_wt_stream_app_code(uint64_t h3code, uint32_t *code)
{
    return (ngx_http_wt_error_to_app(h3code, code) == NGX_OK) ? code : NULL;
}


void
ngx_http_wt_stream_start(ngx_http_wt_stream_t *ws, ngx_http_wt_session_t *s)
{
    u_char    *p;
    uint64_t   type;

    ws->session = s;
    ws->qs->owner = s;
    ws->event.handler = ngx_http_wt_stream_done_handler;

    type = (ws->qs->id & NGX_HTTP_WT_STREAM_UNI)
               ? NGX_HTTP_WT_STREAM_WT : NGX_HTTP_WT_FRAME_WT_STREAM;

    p = ngx_http_wt_varint_write(ws->hdr, type);
    p = ngx_http_wt_varint_write(p, s->connect_id);

    ws->hdr_len = p - ws->hdr;
}


ngx_int_t
ngx_http_wt_stream_send(ngx_http_wt_stream_t *ws, u_char *data, size_t len,
    ngx_uint_t fin)
{
    size_t  n;

    if (ws->send_done || ws->fin_pending) {
        return NGX_OK;
    }

    ws->session->counters.bytes_out += len;
    ws->fin_pending = fin;

    ngx_http_wt_session_touch(ws->session);

    n = ws->out ? 0 : ngx_http_wt_stream_write_now(ws, data, len, fin);

    if (n < len && ngx_http_wt_stream_queue(ws, data + n, len - n) != NGX_OK) {
        return NGX_ERROR;
    }

    if (fin && !ws->send_done) {
        ngx_http_wt_stream_flush(ws);
    }

    return NGX_OK;
}


/*
 * Returns how many bytes need no queueing.  After an error, which means that
 * the client has stopped the stream and is told later, none do.  "fin": these
 * are the last bytes, and FIN leaves with them.
 */

static size_t
ngx_http_wt_stream_write_now(ngx_http_wt_stream_t *ws, u_char *data,
    size_t len, ngx_uint_t fin)
{
    ngx_buf_t     b, hdr;
    ngx_chain_t   out, first, *in;

    if (len == 0 && ws->hdr_len == 0) {
        return 0;
    }

    ngx_memzero(&b, sizeof(ngx_buf_t));

    b.memory = 1;
    b.pos = data;
    b.last = data + len;

    out.buf = &b;
    out.next = NULL;

    in = len ? &out : NULL;

    if (ws->hdr_len) {
        ngx_memzero(&hdr, sizeof(ngx_buf_t));

        hdr.memory = 1;
        hdr.pos = ws->hdr;
        hdr.last = ws->hdr + ws->hdr_len;

        first.buf = &hdr;
        first.next = in;

        in = &first;
    }

    in = ngx_http_wt_glue_stream_send(ws->qs, in, fin);

    if (in == NGX_CHAIN_ERROR) {

        /* so it is for nginx, except where memory is short */

        ws->qs->connection->write->error = 1;
        return len;
    }

    if (ws->hdr_len && hdr.pos == hdr.last) {
        ws->hdr_len = 0;
    }

    if (fin && in == NULL) {
        ws->send_done = 1;
        ngx_http_wt_stream_check_done(ws);
    }

    return b.pos - data;
}


static ngx_int_t
ngx_http_wt_stream_queue(ngx_http_wt_stream_t *ws, u_char *data, size_t len)
{
    size_t                n, size;
    ngx_http_wt_chunk_t  *chunk;

    ws->pending += len;

    if (ws->out) {
        chunk = ws->last_out;

        n = ngx_min(len, (size_t) (chunk->end - chunk->last));

        chunk->last = ngx_cpymem(chunk->last, data, n);

        data += n;
        len -= n;

        if (len == 0) {
            return NGX_OK;
        }
    }

    size = ngx_max(len, NGX_HTTP_WT_STREAM_CHUNK);

    chunk = ngx_alloc(offsetof(ngx_http_wt_chunk_t, data) + size,
                      ws->qs->connection->log);
    if (chunk == NULL) {
        return NGX_ERROR;
    }

    chunk->next = NULL;
    chunk->pos = chunk->data;
    chunk->last = ngx_cpymem(chunk->data, data, len);
    chunk->end = chunk->data + size;

    if (ws->out) {
        ws->last_out->next = chunk;

    } else {
        ws->out = chunk;
    }

    ws->last_out = chunk;

    return NGX_OK;
}


static void
ngx_http_wt_stream_flush(ngx_http_wt_stream_t *ws)
{
    size_t                n;
    ngx_http_wt_chunk_t  *chunk;

    if (ws->out == NULL && ws->hdr_len) {
        (void) ngx_http_wt_stream_write_now(ws, NULL, 0, ws->fin_pending);
    }

    while (ws->out) {
        chunk = ws->out;

        n = ngx_http_wt_stream_write_now(ws, chunk->pos,
                                   chunk->last - chunk->pos,
                                   ws->fin_pending && chunk->next == NULL);
        if (n == 0) {
            return;
        }

        chunk->pos += n;
        ws->pending -= n;

        if (chunk->pos != chunk->last) {
            return;
        }

        ws->out = chunk->next;
        ngx_free(chunk);
    }

    if (ws->fin_pending && !ws->send_done && ws->hdr_len == 0) {
        ws->send_done = 1;
        (void) ngx_http_wt_glue_stream_fin(ws->qs);
        ngx_http_wt_stream_check_done(ws);
    }
}


/* glue: a stream is writable, or was stopped by the client */

void
ngx_http_wt_stream_write(ngx_http_wt_qstream_t *qs)
{
    size_t                 pending;
    uint32_t               app;
    ngx_http_wt_stream_t  *ws;

    ws = qs->data;

    if (ws == NULL || ws->session == NULL || ws->send_done
        || ws->session->ended)
    {
        return;
    }

    if (qs->stop_received || qs->connection->write->error) {

        /* nginx has answered with RESET_STREAM of the same code */

        ws->send_done = 1;
        ngx_http_wt_stream_drop(ws);

        ngx_http_wt_session_touch(ws->session);

        ws->session->peer_ops->stream_stop(ws,
                             ngx_http_wt_stream_app_code(qs->stop_code, &app));

        ngx_http_wt_stream_check_done(ws);
        return;
    }

    pending = ws->pending;

    ngx_http_wt_stream_flush(ws);

    if (ws->pending != pending) {
        ngx_http_wt_session_touch(ws->session);
        ws->session->peer_ops->stream_sent(ws, pending - ws->pending);
    }
}


void
ngx_http_wt_stream_reset(ngx_http_wt_stream_t *ws, uint32_t code)
{
    if (ws->send_done && !ws->fin_pending) {
        return;
    }

    ws->send_done = 1;
    ngx_http_wt_stream_drop(ws);

    ngx_http_wt_session_touch(ws->session);

    (void) ngx_http_wt_glue_stream_reset(ws->qs,
                                         ngx_http_wt_error_from_app(code));

    ngx_http_wt_stream_check_done(ws);
}


void
ngx_http_wt_stream_stop(ngx_http_wt_stream_t *ws, uint32_t code)
{
    if (ws->recv_done) {
        return;
    }

    ws->recv_done = 1;

    ngx_http_wt_session_touch(ws->session);

    (void) ngx_http_wt_glue_stream_stop(ws->qs,
                                        ngx_http_wt_error_from_app(code));

    ngx_http_wt_stream_check_done(ws);
}


static void
ngx_http_wt_stream_drop(ngx_http_wt_stream_t *ws)
{
    ngx_http_wt_chunk_t  *chunk;

    while (ws->out) {
        chunk = ws->out;
        ws->out = chunk->next;
        ngx_free(chunk);
    }

    ws->pending = 0;
    ws->fin_pending = 0;
}


/* closing now would free a stream that the caller still uses */

static void
ngx_http_wt_stream_check_done(ngx_http_wt_stream_t *ws)
{
    if (ws->recv_done && ws->send_done) {
        ngx_post_event(&ws->event, &ngx_posted_events);
    }
}


static void
ngx_http_wt_stream_done_handler(ngx_event_t *ev)
{
    ngx_http_wt_stream_close(ev->data, NGX_HTTP_WT_H3_NO_ERROR);
}


void
ngx_http_wt_stream_close(ngx_http_wt_stream_t *ws, uint64_t code)
{
    ngx_http_wt_session_t  *s;

    if (ws->closed) {
        return;
    }

    ws->closed = 1;

    ngx_http_wt_conn_early_remove(ws);

    if (ws->event.posted) {
        ngx_delete_posted_event(&ws->event);
    }

    ngx_http_wt_stream_drop(ws);

    s = ws->session;

    if (s) {
        ngx_rbtree_delete(&s->streams, &ws->node);

        if (!s->ended) {
            s->peer_ops->stream_closed(ws);
        }
    }

    ngx_http_wt_glue_stream_close(ws->qs, code);
}
