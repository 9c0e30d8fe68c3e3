/*
 * Ordinary packets: what the tap has decrypted goes to nginx's own frame
 * handlers, so that nginx need not decrypt it again.
 *
 * This is the part of nginx's input handler that a packet of an established
 * connection meets on its active path.  Whatever else may happen there (other
 * packets in the datagram, key updates, migration, path validation, errors of
 * encoding, ends of connections, floods) is nginx's: such a packet is declined
 * before anything has been done with it.
 */


#include <ngx_http_wt_glue_internal.h>


#if (NGX_HTTP_WT_HAVE_DISPATCH)


/* frames that a packet may have: many small datagrams or streams share one */
#define NGX_HTTP_WT_GLUE_DISPATCH_FRAMES  64

/*
 * Bytes that nginx may send while it handles a packet, an acknowledgement and
 * a path MTU probe: with these it would still see no flood.
 */
#define NGX_HTTP_WT_GLUE_DISPATCH_OUTPUT  (2 * NGX_QUIC_MAX_UDP_PAYLOAD_SIZE)


#define ngx_http_wt_glue_bit(type)  ((uint32_t) 1 << (type))

/*
 * Not among them, as they touch paths, keys or the connection's end: CRYPTO,
 * NEW_CONNECTION_ID, RETIRE_CONNECTION_ID, PATH_CHALLENGE, PATH_RESPONSE,
 * CONNECTION_CLOSE; and what nginx takes for an error: ACK with ECN counts,
 * NEW_TOKEN, HANDSHAKE_DONE.
 */

#define NGX_HTTP_WT_GLUE_ORDINARY                                             \
    (ngx_http_wt_glue_bit(NGX_QUIC_FT_PADDING)                                \
     | ngx_http_wt_glue_bit(NGX_QUIC_FT_PING)                                 \
     | ngx_http_wt_glue_bit(NGX_QUIC_FT_ACK)                                  \
     | ngx_http_wt_glue_bit(NGX_QUIC_FT_RESET_STREAM)                         \
     | ngx_http_wt_glue_bit(NGX_QUIC_FT_STOP_SENDING)                         \
     | ngx_http_wt_glue_bit(NGX_QUIC_FT_STREAM)                               \
     | ngx_http_wt_glue_bit(NGX_QUIC_FT_MAX_DATA)                             \
     | ngx_http_wt_glue_bit(NGX_QUIC_FT_MAX_STREAM_DATA)                      \
     | ngx_http_wt_glue_bit(NGX_QUIC_FT_MAX_STREAMS)                          \
     | ngx_http_wt_glue_bit(NGX_QUIC_FT_MAX_STREAMS2)                         \
     | ngx_http_wt_glue_bit(NGX_QUIC_FT_DATA_BLOCKED)                         \
     | ngx_http_wt_glue_bit(NGX_QUIC_FT_STREAM_DATA_BLOCKED)                  \
     | ngx_http_wt_glue_bit(NGX_QUIC_FT_STREAMS_BLOCKED)                      \
     | ngx_http_wt_glue_bit(NGX_QUIC_FT_STREAMS_BLOCKED2))


/*
 * A frame of the packet at hand.  nginx's parser sets all that its handlers
 * read, so nothing is cleared between packets.
 */

typedef struct {
    ngx_quic_frame_t     frame;         /* of a DATAGRAM the type only */
    ngx_chain_t          chain;
    ngx_buf_t            buf;           /* DATAGRAM: the whole frame */
    u_char              *datagram;      /* its payload */
} ngx_http_wt_glue_frame_t;


static ngx_uint_t ngx_http_wt_glue_dispatch_ordinary(ngx_connection_t *c,
    ngx_quic_header_t *pkt);
static ngx_uint_t ngx_http_wt_glue_dispatch_scan(ngx_quic_header_t *pkt,
    ngx_uint_t *n);
static ngx_int_t ngx_http_wt_glue_dispatch_packet(ngx_http_wt_glue_conn_t *gc,
    ngx_quic_header_t *pkt, ngx_uint_t n);
static ngx_int_t ngx_http_wt_glue_dispatch_frame(ngx_http_wt_glue_conn_t *gc,
    ngx_quic_header_t *pkt, ngx_quic_frame_t *f);


static ngx_http_wt_glue_frame_t
    ngx_http_wt_glue_frames[NGX_HTTP_WT_GLUE_DISPATCH_FRAMES];


ngx_int_t
ngx_http_wt_glue_dispatch(ngx_http_wt_glue_conn_t *gc, ngx_quic_header_t *pkt,
    uint64_t largest_pn)
{
    ngx_uint_t              n;
    ngx_connection_t       *c;
    ngx_quic_send_ctx_t    *ctx;
    ngx_quic_connection_t  *qc;

    c = gc->pub.connection;
    qc = ngx_quic_get_connection(c);

    if (!ngx_http_wt_glue_dispatch_ordinary(c, pkt)
        || !ngx_http_wt_glue_dispatch_scan(pkt, &n))
    {
        return NGX_DECLINED;
    }

    ngx_log_debug3(NGX_LOG_DEBUG_EVENT, c->log, 0,
                   "wt packet dispatched pn:%uL len:%uz frames:%ui",
                   pkt->pn, pkt->len, n);

    ctx = ngx_quic_get_send_ctx(qc, NGX_HTTP_WT_LEVEL_APP);
    ctx->largest_pn = largest_pn;

    if (ngx_http_wt_glue_dispatch_packet(gc, pkt, n) != NGX_OK) {
        ngx_quic_close_connection(c, NGX_ERROR);
        return NGX_OK;
    }

    qc->received += pkt->len;
    qc->send_timer_set = 0;

    ngx_add_timer(c->read, qc->tp.max_idle_timeout);

    ngx_quic_connstate_dbg(c);

    return NGX_OK;
}


static ngx_uint_t
ngx_http_wt_glue_dispatch_ordinary(ngx_connection_t *c, ngx_quic_header_t *pkt)
{
    ngx_quic_socket_t      *qsock;
    ngx_quic_connection_t  *qc;

    qc = ngx_quic_get_connection(c);
    qsock = ngx_quic_get_socket(c);

    /* a 1-RTT packet that is the first one is the only one */

    if (!pkt->first || pkt->key_update) {
        return 0;
    }

    if (qc->draining
        || !qc->streams.initialized
        || ngx_quic_keys_available(qc->keys, NGX_HTTP_WT_LEVEL_HANDSHAKE, 0))
    {
        return 0;
    }

    if (!qc->path->validated
        || ngx_cmp_sockaddr(&qsock->sockaddr.sockaddr, qsock->socklen,
                            qc->path->sockaddr, qc->path->socklen, 1)
           != NGX_OK)
    {
        return 0;
    }

    /* nginx's condition for a flood, which is nginx's to declare */

    return (uint64_t) (c->sent + qc->received + pkt->len
                       + NGX_HTTP_WT_GLUE_DISPATCH_OUTPUT) / 8
           <= (qc->streams.sent + qc->streams.recv_last) + 1048576;
}


static ngx_uint_t
ngx_http_wt_glue_dispatch_scan(ngx_quic_header_t *pkt, ngx_uint_t *n)
{
    u_char                    *p, *end;
    ssize_t                    len;
    ngx_uint_t                 type;
    ngx_http_wt_glue_frame_t  *f, *last;

    p = pkt->payload.data;
    end = p + pkt->payload.len;

    f = ngx_http_wt_glue_frames;
    last = f + NGX_HTTP_WT_GLUE_DISPATCH_FRAMES;

    for ( /* void */ ; p < end; f++) {

        if (f == last) {
            return 0;
        }

        if ((*p & ~1) == NGX_HTTP_WT_GLUE_FT_DATAGRAM) {
            f->frame.type = *p;
            f->buf.pos = p;

            p = ngx_http_wt_glue_datagram(p, end, &f->datagram);
            if (p == NULL) {
                return 0;
            }

            f->buf.last = p;
            pkt->need_ack = 1;

            continue;
        }

        f->buf.temporary = 1;
        f->chain.buf = &f->buf;
        f->frame.data = &f->chain;

        len = ngx_quic_parse_frame(pkt, p, end, &f->frame);
        if (len <= 0) {
            return 0;
        }

        p += len;
        type = f->frame.type;

        if (!(NGX_HTTP_WT_GLUE_ORDINARY & ngx_http_wt_glue_bit(type))) {
            return 0;
        }

        if (type != NGX_QUIC_FT_ACK && type != NGX_QUIC_FT_PADDING) {
            pkt->need_ack = 1;
        }
    }

    *n = f - ngx_http_wt_glue_frames;

    return 1;
}


static ngx_int_t
ngx_http_wt_glue_dispatch_packet(ngx_http_wt_glue_conn_t *gc,
    ngx_quic_header_t *pkt, ngx_uint_t n)
{
    ngx_int_t                  rc;
    ngx_uint_t                 i, seen, replayed;
    ngx_connection_t          *c;
    ngx_quic_connection_t     *qc;
    ngx_http_wt_glue_frame_t  *f;

    c = gc->pub.connection;
    qc = ngx_quic_get_connection(c);

    /* a posted end of the connection keeps its code */

    if (!qc->close.posted) {
        qc->error = NGX_HTTP_WT_QUIC_ERROR_UNSET;
        qc->error_reason = NULL;
    }

    /* the path is known: this counts what has been received on it */

    rc = ngx_quic_set_path(c, pkt);
    if (rc != NGX_OK) {
        return rc;
    }

    pkt->received = ngx_current_msec;

    c->log->action = "handling frames";

    seen = 0;
    replayed = 0;

    for (i = 0; i < n; i++) {

        f = &ngx_http_wt_glue_frames[i];

        if ((f->frame.type & ~1) != NGX_HTTP_WT_GLUE_FT_DATAGRAM) {
            ngx_quic_log_frame(c->log, &f->frame, 0);

            rc = ngx_http_wt_glue_dispatch_frame(gc, pkt, &f->frame);
            if (rc != NGX_OK) {
                return rc;
            }

            continue;
        }

        if (!seen) {
            seen = 1;
            replayed = ngx_http_wt_glue_replayed(gc, pkt->pn);
        }

        if (!replayed) {
            ngx_http_wt_glue_deliver(gc, f->buf.pos, f->datagram, f->buf.last);
        }
    }

    return ngx_quic_ack_packet(c, pkt);
}


static ngx_int_t
ngx_http_wt_glue_dispatch_frame(ngx_http_wt_glue_conn_t *gc,
    ngx_quic_header_t *pkt, ngx_quic_frame_t *f)
{
    ngx_connection_t  *c;

    c = gc->pub.connection;

    switch (f->type) {

    case NGX_QUIC_FT_ACK:
        return ngx_quic_handle_ack_frame(c, pkt, f);

    case NGX_QUIC_FT_STREAM:
        return ngx_quic_handle_stream_frame(c, pkt, f);

    case NGX_QUIC_FT_MAX_DATA:
        return ngx_quic_handle_max_data_frame(c, &f->u.max_data);

    case NGX_QUIC_FT_MAX_STREAM_DATA:
        return ngx_quic_handle_max_stream_data_frame(c, pkt,
                                                     &f->u.max_stream_data);

    case NGX_QUIC_FT_MAX_STREAMS:
    case NGX_QUIC_FT_MAX_STREAMS2:
        gc->max_streams = 1;
        return ngx_quic_handle_max_streams_frame(c, pkt, &f->u.max_streams);

    case NGX_QUIC_FT_DATA_BLOCKED:
        return ngx_quic_handle_data_blocked_frame(c, pkt, &f->u.data_blocked);

    case NGX_QUIC_FT_STREAM_DATA_BLOCKED:
        return ngx_quic_handle_stream_data_blocked_frame(c, pkt,
                                                  &f->u.stream_data_blocked);

    case NGX_QUIC_FT_STREAMS_BLOCKED:
    case NGX_QUIC_FT_STREAMS_BLOCKED2:
        return ngx_quic_handle_streams_blocked_frame(c, pkt,
                                                     &f->u.streams_blocked);

    case NGX_QUIC_FT_RESET_STREAM:
        ngx_http_wt_glue_note_code(c, f);
        return ngx_quic_handle_reset_stream_frame(c, pkt, &f->u.reset_stream);

    case NGX_QUIC_FT_STOP_SENDING:
        ngx_http_wt_glue_note_code(c, f);
        return ngx_quic_handle_stop_sending_frame(c, pkt, &f->u.stop_sending);

    default:
        /* PADDING, PING */
        return NGX_OK;
    }
}


#else


ngx_int_t
ngx_http_wt_glue_dispatch(ngx_http_wt_glue_conn_t *gc, ngx_quic_header_t *pkt,
    uint64_t largest_pn)
{
    return NGX_DECLINED;
}


#endif
