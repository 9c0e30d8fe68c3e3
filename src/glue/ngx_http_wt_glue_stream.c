/*
 * Streams that are ours: their events, their output, and their end.
 */


#include <ngx_http_wt_glue_internal.h>


/* how long a stream nobody reads may wait for its end, in milliseconds */
#define NGX_HTTP_WT_GLUE_LINGER  5000

/*
 * Streams of ours that are not over, with what the client has acknowledged
 * taken away.  A client may allow any number of them and acknowledge nothing.
 */
#define NGX_HTTP_WT_GLUE_MAX_OPEN  1024


static ngx_uint_t ngx_http_wt_glue_count_opened(ngx_connection_t *c);
static void ngx_http_wt_glue_read_handler(ngx_event_t *rev);
static void ngx_http_wt_glue_write_handler(ngx_event_t *wev);
static void ngx_http_wt_glue_discard_handler(ngx_event_t *rev);
static ngx_int_t ngx_http_wt_glue_discard(ngx_connection_t *c);
static void ngx_http_wt_glue_destroy(ngx_connection_t *c);


ngx_http_wt_qstream_t *
ngx_http_wt_glue_create_stream(ngx_connection_t *c,
    ngx_http_wt_glue_conn_t *gc)
{
    ngx_http_wt_qstream_t  *qs;

    qs = ngx_pcalloc(c->pool, sizeof(ngx_http_wt_qstream_t));
    if (qs == NULL) {
        return NULL;
    }

    qs->connection = c;
    qs->qconn = &gc->pub;
    qs->id = c->quic->id;

    c->data = qs;
    c->log->action = "proxying webtransport stream";
    c->read->handler = ngx_http_wt_glue_read_handler;
    c->write->handler = ngx_http_wt_glue_write_handler;

    return qs;
}


ngx_http_wt_qstream_t *
ngx_http_wt_glue_get_stream(ngx_connection_t *c)
{
    return (c->read->handler == ngx_http_wt_glue_read_handler) ? c->data
                                                               : NULL;
}


static void
ngx_http_wt_glue_read_handler(ngx_event_t *rev)
{
    ngx_connection_t  *c;

    c = rev->data;

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, c->log, 0,
                   "wt stream id:0x%xL read close:%d",
                   c->quic->id, c->close);

    ngx_http_wt_glue_ops->read(c->data);
}


static void
ngx_http_wt_glue_write_handler(ngx_event_t *wev)
{
    ngx_connection_t  *c;

    c = wev->data;

    ngx_log_debug1(NGX_LOG_DEBUG_HTTP, c->log, 0,
                   "wt stream id:0x%xL write", c->quic->id);

    ngx_http_wt_glue_ops->write(c->data);
}


ngx_http_wt_qstream_t *
ngx_http_wt_glue_stream_open(ngx_http_wt_qconn_t *qconn, ngx_uint_t bidi)
{
    ngx_connection_t         *c;
    ngx_http_wt_qstream_t    *qs;
    ngx_http_wt_glue_conn_t  *gc;

    gc = (ngx_http_wt_glue_conn_t *) qconn;

    /* nginx does not tell when a stream is over: count now and then */

    if (gc->opened == NGX_HTTP_WT_GLUE_MAX_OPEN) {
        gc->opened = ngx_http_wt_glue_count_opened(qconn->connection);
    }

    if (gc->opened == NGX_HTTP_WT_GLUE_MAX_OPEN) {
        return NULL;
    }

    uint64_t                used, *count;
    ngx_quic_streams_t     *streams;

    streams = &ngx_quic_get_connection(qconn->connection)->streams;
    count = bidi ? &streams->server_streams_bidi : &streams->server_streams_uni;
    used = *count;

    c = ngx_quic_open_stream(qconn->connection, bidi);
    if (c == NULL) {
        *count = used;
        return NULL;
    }

    gc->opened++;

    qs = ngx_http_wt_glue_create_stream(c, gc);

    if (qs == NULL) {
        ngx_http_wt_glue_end(c, NGX_HTTP_V3_ERR_INTERNAL_ERROR, 1);
    }

    return qs;
}


static ngx_uint_t
ngx_http_wt_glue_count_opened(ngx_connection_t *c)
{
    ngx_uint_t              n;
    ngx_rbtree_t           *tree;
    ngx_rbtree_node_t      *node;
    ngx_quic_connection_t  *qc;

    qc = ngx_quic_get_connection(c);
    tree = &qc->streams.tree;

    n = 0;

    if (tree->root == tree->sentinel) {
        return 0;
    }

    for (node = ngx_rbtree_min(tree->root, tree->sentinel);
         node && n < NGX_HTTP_WT_GLUE_MAX_OPEN;
         node = ngx_rbtree_next(tree, node))
    {
        if (((ngx_quic_stream_t *) node)->id & NGX_QUIC_STREAM_SERVER_INITIATED)
        {
            n++;
        }
    }

    return n;
}


uint64_t
ngx_http_wt_glue_streams_left(ngx_http_wt_qconn_t *qconn, ngx_uint_t bidi)
{
    ngx_quic_streams_t  *streams;

    streams = &ngx_quic_get_connection(qconn->connection)->streams;

    return bidi
           ? streams->server_max_streams_bidi - streams->server_streams_bidi
           : streams->server_max_streams_uni - streams->server_streams_uni;
}


ssize_t
ngx_http_wt_glue_stream_recv(ngx_http_wt_qstream_t *qs, u_char *buf,
    size_t size)
{
    size_t   n;
    ssize_t  rc;

    n = ngx_min(size, (size_t) (qs->last - qs->pos));

    if (n) {
        ngx_memcpy(buf, qs->pos, n);
        qs->pos += n;

        if (n == size) {
            return n;
        }
    }

    rc = qs->connection->recv(qs->connection, buf + n, size - n);

    if (rc > 0) {
        return n + rc;
    }

    /* the end comes again with the next call */

    return n ? (ssize_t) n : rc;
}


ngx_chain_t *
ngx_http_wt_glue_stream_send(ngx_http_wt_qstream_t *qs, ngx_chain_t *in,
    ngx_uint_t fin)
{
    uint64_t                  final_size;
    ngx_chain_t              *cl;
    ngx_connection_t         *c;
    ngx_http_wt_glue_conn_t  *gc;

    c = qs->connection;
    gc = (ngx_http_wt_glue_conn_t *) qs->qconn;

    if (ngx_http_wt_glue_frames_short(gc)) {
        gc->frames_short = 1;
        return in;
    }

    if (!fin) {
        return c->send_chain(c, in, 0);
    }

    /*
     * nginx puts FIN into the frame that reaches the final size.  Told of it
     * afterwards, by ngx_quic_shutdown_stream(), it needs one more frame.
     */

    final_size = c->quic->send_final_size;
    c->quic->send_final_size = c->sent;

    for (cl = in; cl; cl = cl->next) {
        c->quic->send_final_size += cl->buf->last - cl->buf->pos;
    }

    in = c->send_chain(c, in, 0);

    if (in) {
        /* more is to come, or an error */
        c->quic->send_final_size = final_size;
    }

    return in;
}


/*
 * nginx allows a connection 10,000 frames, and closes it when a stream needs
 * one more.  Output waits before that: every call of send_chain() takes one.
 */

ngx_uint_t
ngx_http_wt_glue_frames_short(ngx_http_wt_glue_conn_t *gc)
{
    ngx_quic_connection_t  *qc;

    qc = ngx_quic_get_connection(gc->pub.connection);

    return qc->nframes >= NGX_HTTP_WT_GLUE_FRAMES
           && ngx_queue_empty(&qc->free_frames);
}


/* streams that waited for frames, of which nginx knows nothing */

void
ngx_http_wt_glue_wake_streams(ngx_http_wt_glue_conn_t *gc)
{
    ngx_rbtree_t           *tree;
    ngx_rbtree_node_t      *node;
    ngx_connection_t       *c;
    ngx_quic_connection_t  *qc;

    qc = ngx_quic_get_connection(gc->pub.connection);
    tree = &qc->streams.tree;

    if (!gc->frames_short || ngx_queue_empty(&qc->free_frames)
        || tree->root == tree->sentinel)
    {
        return;
    }

    gc->frames_short = 0;

    for (node = ngx_rbtree_min(tree->root, tree->sentinel);
         node;
         node = ngx_rbtree_next(tree, node))
    {
        c = ((ngx_quic_stream_t *) node)->connection;

        if (c && c->write->handler == ngx_http_wt_glue_write_handler) {
            ngx_post_event(c->write, &ngx_posted_events);
        }
    }
}


ngx_int_t
ngx_http_wt_glue_stream_fin(ngx_http_wt_qstream_t *qs)
{
    return ngx_quic_shutdown_stream(qs->connection, NGX_WRITE_SHUTDOWN);
}


ngx_int_t
ngx_http_wt_glue_stream_reset(ngx_http_wt_qstream_t *qs, uint64_t code)
{
    return ngx_quic_reset_stream(qs->connection, code);
}


ngx_int_t
ngx_http_wt_glue_stream_stop(ngx_http_wt_qstream_t *qs, uint64_t code)
{
    if (qs->stop_sent) {
        return NGX_OK;
    }

    qs->stop_sent = 1;

    return ngx_http_wt_glue_stop_sending(qs->connection, code);
}


ngx_int_t
ngx_http_wt_glue_stop_sending(ngx_connection_t *c, uint64_t code)
{
    ngx_connection_t   *pc;
    ngx_quic_frame_t   *frame;
    ngx_quic_stream_t  *qs;

    qs = c->quic;
    pc = qs->parent;

    if (qs->recv_state != NGX_QUIC_STREAM_RECV_RECV
        && qs->recv_state != NGX_QUIC_STREAM_RECV_SIZE_KNOWN)
    {
        return NGX_OK;
    }

    frame = ngx_quic_alloc_frame(pc);
    if (frame == NULL) {
        return NGX_ERROR;
    }

    frame->level = NGX_HTTP_WT_LEVEL_APP;
    frame->type = NGX_QUIC_FT_STOP_SENDING;
    frame->u.stop_sending.id = qs->id;
    frame->u.stop_sending.error_code = code;

    ngx_quic_queue_frame(ngx_quic_get_connection(pc), frame);

    return NGX_OK;
}


void
ngx_http_wt_glue_stream_close(ngx_http_wt_qstream_t *qs, uint64_t code)
{
    ngx_http_wt_glue_end(qs->connection, code, !qs->stop_sent);
}


/*
 * The single end of a stream that is not nginx's.  The stream stays until
 * its client has ended it too: bytes that nginx would keep unread count
 * against the connection's flow control for ever.
 */

void
ngx_http_wt_glue_end(ngx_connection_t *c, uint64_t code, ngx_uint_t stop)
{
    ngx_quic_stream_t  *qs;

    qs = c->quic;

    c->data = NULL;
    c->read->handler = ngx_http_wt_glue_discard_handler;
    c->write->handler = ngx_http_empty_handler;

    if (c->read->timer_set) {
        ngx_del_timer(c->read);
    }

    if ((qs->send_state == NGX_QUIC_STREAM_SEND_READY
         || qs->send_state == NGX_QUIC_STREAM_SEND_SEND)
        && qs->send_final_size == (uint64_t) -1)
    {
        (void) ngx_quic_reset_stream(c, code);
    }

    if (stop) {
        (void) ngx_http_wt_glue_stop_sending(c, code);
    }

    c->read->timedout = 0;

    if (!c->close && !c->read->eof && ngx_http_wt_glue_discard(c) == NGX_AGAIN)
    {
        ngx_add_timer(c->read, NGX_HTTP_WT_GLUE_LINGER);
        return;
    }

    ngx_http_wt_glue_destroy(c);
}


static void
ngx_http_wt_glue_discard_handler(ngx_event_t *rev)
{
    ngx_connection_t  *c;

    c = rev->data;

    if (!c->close && !rev->timedout
        && ngx_http_wt_glue_discard(c) == NGX_AGAIN)
    {
        return;
    }

    ngx_http_wt_glue_destroy(c);
}


static ngx_int_t
ngx_http_wt_glue_discard(ngx_connection_t *c)
{
    ssize_t  n;
    u_char   buf[4096];

    do {
        n = c->recv(c, buf, sizeof(buf));
    } while (n > 0);

    return n;
}


static void
ngx_http_wt_glue_destroy(ngx_connection_t *c)
{
    ngx_int_t                 code;
    ngx_pool_t               *pool;
    ngx_http_wt_glue_conn_t  *gc;

    gc = ngx_http_wt_glue_get_conn(c->quic->parent);

    /* a STOP_SENDING of nginx's own would follow ours */

    code = gc->conf.stream_close_code;
    gc->conf.stream_close_code = 0;

    c->destroyed = 1;

    pool = c->pool;

    ngx_close_connection(c);

    ngx_destroy_pool(pool);

    gc->conf.stream_close_code = code;
}
