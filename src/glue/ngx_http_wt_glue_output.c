/*
 * Datagram output: DATAGRAM frames in 1-RTT packets of our own.
 *
 * Such a packet takes its number from nginx's send context and leaves a PING
 * frame with its number, size and time among nginx's sent frames, so that
 * acknowledgement, loss detection and congestion control remain nginx's; a
 * lost PING is not sent again, RFC 9002, 2, which is what a datagram wants.
 */


#include <ngx_http_wt_glue_internal.h>


/* DATAGRAM frame with a length: type and a two-byte varint */
#define NGX_HTTP_WT_GLUE_DATAGRAM_HDR    3

/* how long to wait for a full socket buffer, as nginx does */
#define NGX_HTTP_WT_GLUE_SOCKET_RETRY    10

/* packets sent in one go, so that one connection does not starve others */
#define NGX_HTTP_WT_GLUE_DATAGRAM_BURST  64


static void ngx_http_wt_glue_push_handler(ngx_event_t *ev);
static void ngx_http_wt_glue_datagrams_handler(ngx_event_t *ev);
static ngx_int_t ngx_http_wt_glue_datagrams_packet(
    ngx_http_wt_glue_conn_t *gc);
static size_t ngx_http_wt_glue_datagrams_fill(ngx_http_wt_glue_conn_t *gc,
    u_char *p, size_t room);
static size_t ngx_http_wt_glue_frame_room(ngx_http_wt_glue_conn_t *gc);
static void ngx_http_wt_glue_init_packet(ngx_connection_t *c,
    ngx_quic_header_t *pkt);
static ssize_t ngx_http_wt_glue_sendmsg(ngx_connection_t *c, ngx_str_t *pkt);
static void ngx_http_wt_glue_sent(ngx_connection_t *c,
    ngx_quic_frame_t *frame, uint64_t pnum, size_t len);


void
ngx_http_wt_glue_datagrams_init(ngx_http_wt_glue_conn_t *gc)
{
    ngx_quic_connection_t  *qc;

    qc = ngx_quic_get_connection(gc->pub.connection);

    gc->push_handler = qc->push.handler;
    qc->push.handler = ngx_http_wt_glue_push_handler;

    gc->datagrams.log = gc->pub.connection->log;
    gc->datagrams.data = gc;
    gc->datagrams.handler = ngx_http_wt_glue_datagrams_handler;
}


/*
 * nginx posts its push event when the congestion window opens, by
 * acknowledgement or by loss.  Datagrams and the streams' data take turns to
 * go first, or the one would starve the other, acknowledgements included.
 */

static void
ngx_http_wt_glue_push_handler(ngx_event_t *ev)
{
    ngx_uint_t                freed;
    ngx_http_wt_glue_conn_t  *gc;

    gc = ngx_http_wt_glue_get_conn(ev->data);

    gc->nginx_first = !gc->nginx_first;

    if (gc->datagrams_blocked && !gc->nginx_first) {
        ngx_http_wt_glue_send_datagrams(gc);
    }

    freed = 0;
    gc->freed = &freed;

    gc->push_handler(ev);

    if (freed) {
        return;
    }

    gc->freed = NULL;

    if (gc->datagrams_blocked && gc->nginx_first) {
        ngx_http_wt_glue_send_datagrams(gc);
    }

    ngx_http_wt_glue_wake_streams(gc);
}


void
ngx_http_wt_glue_datagram_post(ngx_http_wt_qconn_t *qconn)
{
    ngx_http_wt_glue_conn_t  *gc;

    gc = (ngx_http_wt_glue_conn_t *) qconn;

    if (!gc->datagrams_blocked && !gc->datagrams.timer_set) {
        ngx_post_event(&gc->datagrams, &ngx_posted_events);
    }
}


void
ngx_http_wt_glue_datagram_flush(ngx_http_wt_qconn_t *qconn)
{
    ngx_http_wt_glue_conn_t  *gc;

    gc = (ngx_http_wt_glue_conn_t *) qconn;

    if (!gc->datagrams_blocked && !gc->datagrams.timer_set) {
        ngx_http_wt_glue_send_datagrams(gc);
    }
}


static void
ngx_http_wt_glue_datagrams_handler(ngx_event_t *ev)
{
    ngx_http_wt_glue_send_datagrams(ev->data);
}


void
ngx_http_wt_glue_send_datagrams(ngx_http_wt_glue_conn_t *gc)
{
    ngx_int_t               rc;
    ngx_uint_t              i;
    ngx_connection_t       *c;
    ngx_quic_connection_t  *qc;

    c = gc->pub.connection;
    qc = ngx_quic_get_connection(c);

    gc->datagrams_blocked = 0;

    if (qc->closing || gc->pub.data == NULL) {
        return;
    }

    for (i = 0; i < NGX_HTTP_WT_GLUE_DATAGRAM_BURST; i++) {

        if (qc->congestion.in_flight >= qc->congestion.window
            || ngx_http_wt_glue_frames_short(gc))
        {
            gc->datagrams_blocked = 1;
            return;
        }

        rc = ngx_http_wt_glue_datagrams_packet(gc);

        if (rc == NGX_OK) {
            continue;
        }

        if (rc == NGX_AGAIN) {
            ngx_add_timer(&gc->datagrams, NGX_HTTP_WT_GLUE_SOCKET_RETRY);

        } else if (rc == NGX_ERROR) {
            ngx_quic_finalize_connection(c, NGX_HTTP_V3_ERR_INTERNAL_ERROR,
                                         "failed to send a datagram");
        }

        return;
    }

    ngx_post_event(&gc->datagrams, &ngx_posted_next_events);
}


/* NGX_OK: one packet sent, NGX_DONE: nothing waits, NGX_AGAIN, NGX_ERROR */

static ngx_int_t
ngx_http_wt_glue_datagrams_packet(ngx_http_wt_glue_conn_t *gc)
{
    size_t                  max, room, len;
    ssize_t                 n;
    ngx_str_t               res;
    ngx_connection_t       *c;
    ngx_quic_frame_t       *frame;
    ngx_quic_header_t       pkt;
    ngx_quic_send_ctx_t    *ctx;
    ngx_quic_connection_t  *qc;

    static u_char           src[NGX_QUIC_MAX_UDP_PAYLOAD_SIZE];
    static u_char           dst[NGX_QUIC_MAX_UDP_PAYLOAD_SIZE];

    c = gc->pub.connection;
    qc = ngx_quic_get_connection(c);
    ctx = ngx_quic_get_send_ctx(qc, NGX_HTTP_WT_LEVEL_APP);

    max = ngx_quic_path_limit(c, qc->path, qc->path->mtu);

    if (max < qc->path->mtu) {
        /* RFC 9000, 8.1: the address is not validated yet */
        return NGX_AGAIN;
    }

    ngx_http_wt_glue_init_packet(c, &pkt);

    room = ngx_quic_payload_size(&pkt, max);

    len = ngx_http_wt_glue_datagrams_fill(gc, src, room);

    if (len == 0) {
        return NGX_DONE;
    }

    if (len < 4) {
        /* RFC 9001, 5.4.2.  Header Protection Sample */
        ngx_memset(src + len, NGX_QUIC_FT_PADDING, 4 - len);
        len = 4;
    }

    frame = ngx_quic_alloc_frame(c);
    if (frame == NULL) {
        return NGX_ERROR;
    }

    pkt.payload.data = src;
    pkt.payload.len = len;
    res.data = dst;

    if (ngx_quic_encrypt(&pkt, &res) != NGX_OK) {
        ngx_quic_free_frame(c, frame);
        return NGX_ERROR;
    }

    /* the number is used, whatever becomes of the packet */
    ctx->pnum++;

    n = ngx_http_wt_glue_sendmsg(c, &res);

    if (n < 0) {
        /* NGX_AGAIN loses these datagrams, as the network could have */
        ngx_quic_free_frame(c, frame);
        return n;
    }

    ngx_http_wt_glue_sent(c, frame, pkt.number, res.len);

    return NGX_OK;
}


static size_t
ngx_http_wt_glue_datagrams_fill(ngx_http_wt_glue_conn_t *gc, u_char *p,
    size_t room)
{
    size_t    limit;
    u_char   *start, *end;
    ssize_t   n;

    start = p;
    end = p + room;

    while ((size_t) (end - p) > NGX_HTTP_WT_GLUE_DATAGRAM_HDR) {

        limit = ngx_min((size_t) (end - p) - NGX_HTTP_WT_GLUE_DATAGRAM_HDR,
                        ngx_http_wt_glue_frame_room(gc));

        n = ngx_http_wt_glue_ops->next_datagram(&gc->pub,
                                           p + NGX_HTTP_WT_GLUE_DATAGRAM_HDR,
                                           limit, p == start);
        if (n <= 0) {
            break;
        }

        /*
         * RFC 9221, 4: type and length.  The length takes one byte or two,
         * and PADDING the place of the other: the peer's limit is for frames.
         */

        if (n < 0x40) {
            p[0] = NGX_QUIC_FT_PADDING;
            p[1] = NGX_HTTP_WT_GLUE_FT_DATAGRAM_LEN;
            p[2] = n;

        } else {
            p[0] = NGX_HTTP_WT_GLUE_FT_DATAGRAM_LEN;
            p[1] = 0x40 | (n >> 8);
            p[2] = n & 0xff;
        }

        p += NGX_HTTP_WT_GLUE_DATAGRAM_HDR + n;
    }

    return p - start;
}


/* the longest payload of a frame that the peer and our encoding allow */

static size_t
ngx_http_wt_glue_frame_room(ngx_http_wt_glue_conn_t *gc)
{
    uint64_t  max;

    max = gc->pub.peer_max_datagram;

    if (max <= 2) {
        return 0;
    }

    if (max < 2 + 0x40) {
        return max - 2;
    }

    if (max < 3 + 0x40) {
        return 0x3f;
    }

    return ngx_min(max - 3, 0x3fff);
}


static void
ngx_http_wt_glue_init_packet(ngx_connection_t *c, ngx_quic_header_t *pkt)
{
    uint64_t                delta;
    ngx_quic_send_ctx_t    *ctx;
    ngx_quic_connection_t  *qc;

    qc = ngx_quic_get_connection(c);
    ctx = ngx_quic_get_send_ctx(qc, NGX_HTTP_WT_LEVEL_APP);

    ngx_memzero(pkt, sizeof(ngx_quic_header_t));

    pkt->log = c->log;
    pkt->level = NGX_HTTP_WT_LEVEL_APP;
    pkt->keys = qc->keys;
    pkt->dcid.data = qc->path->cid->id;
    pkt->dcid.len = qc->path->cid->len;

    /*
     * RFC 9000, 17.1: the number's encoding must be able to represent more
     * than twice as large a range as there are unacknowledged packets.
     */

    delta = 2 * (ctx->pnum - ctx->largest_ack);

    pkt->number = ctx->pnum;
    pkt->trunc = (uint32_t) ctx->pnum;
    pkt->num_len = (delta < 0x100) ? 1
                   : (delta < 0x10000) ? 2
                   : (delta < 0x1000000) ? 3 : 4;

    pkt->flags = NGX_QUIC_PKT_FIXED_BIT | (pkt->num_len - 1);

    if (qc->key_phase) {
        pkt->flags |= NGX_QUIC_PKT_KPHASE;
    }
}


static ssize_t
ngx_http_wt_glue_sendmsg(ngx_connection_t *c, ngx_str_t *pkt)
{
    ssize_t                 n;
    struct iovec            iov;
    struct msghdr           msg;
    ngx_quic_connection_t  *qc;
#if (NGX_HAVE_ADDRINFO_CMSG)
    char                    control[CMSG_SPACE(sizeof(ngx_addrinfo_t))];
#endif

    qc = ngx_quic_get_connection(c);

    ngx_memzero(&msg, sizeof(struct msghdr));

    iov.iov_base = (void *) pkt->data;
    iov.iov_len = pkt->len;

    msg.msg_iov = &iov;
    msg.msg_iovlen = 1;
    msg.msg_name = qc->path->sockaddr;
    msg.msg_namelen = qc->path->socklen;

#if (NGX_HAVE_ADDRINFO_CMSG)
    if (c->listening->wildcard && c->local_sockaddr) {
        ngx_memzero(control, sizeof(control));

        msg.msg_control = control;
        msg.msg_controllen = sizeof(control);
        msg.msg_controllen = ngx_set_srcaddr_cmsg(CMSG_FIRSTHDR(&msg),
                                                  c->local_sockaddr);
    }
#endif

    n = ngx_sendmsg(c, &msg, 0);

    if (n > 0) {
        c->sent += n;
        qc->path->sent += n;

        /* see the tap: not a flood */
        qc->streams.sent += n;
    }

    return n;
}


static void
ngx_http_wt_glue_sent(ngx_connection_t *c, ngx_quic_frame_t *frame,
    uint64_t pnum, size_t len)
{
    ngx_quic_send_ctx_t    *ctx;
    ngx_quic_connection_t  *qc;

    qc = ngx_quic_get_connection(c);
    ctx = ngx_quic_get_send_ctx(qc, NGX_HTTP_WT_LEVEL_APP);

    frame->level = NGX_HTTP_WT_LEVEL_APP;
    frame->type = NGX_QUIC_FT_PING;
    frame->need_ack = 1;
    frame->pkt_need_ack = 1;
    frame->pnum = pnum;
    frame->plen = len;
    frame->send_time = ngx_current_msec;

    ngx_queue_insert_tail(&ctx->sent, &frame->queue);

    qc->congestion.in_flight += len;

    if (!qc->send_timer_set) {
        qc->send_timer_set = 1;
        ngx_add_timer(c->read, qc->tp.max_idle_timeout);
    }

    ngx_quic_set_lost_timer(c);
}


size_t
ngx_http_wt_glue_datagram_max(ngx_http_wt_qconn_t *qconn)
{
    size_t                  max;
    ngx_quic_header_t       pkt;
    ngx_quic_connection_t  *qc;

    qc = ngx_quic_get_connection(qconn->connection);

    /* with the longest packet number, so that it remains true */

    ngx_memzero(&pkt, sizeof(ngx_quic_header_t));

    pkt.level = NGX_HTTP_WT_LEVEL_APP;
    pkt.flags = NGX_QUIC_PKT_FIXED_BIT;
    pkt.dcid.len = qc->path->cid->len;
    pkt.num_len = 4;

    max = ngx_quic_payload_size(&pkt, qc->path->mtu);
    max -= ngx_min(max, NGX_HTTP_WT_GLUE_DATAGRAM_HDR);

    return ngx_min(max, ngx_http_wt_glue_frame_room(
                                         (ngx_http_wt_glue_conn_t *) qconn));
}


void
ngx_http_wt_glue_flush(ngx_http_wt_qconn_t *qconn)
{
    if (ngx_quic_output(qconn->connection) != NGX_OK) {
        ngx_quic_finalize_connection(qconn->connection,
                                     NGX_HTTP_V3_ERR_INTERNAL_ERROR,
                                     "failed to send");
    }
}


ngx_uint_t
ngx_http_wt_glue_rtt(ngx_http_wt_qconn_t *qconn)
{
    ngx_quic_connection_t  *qc;

    qc = ngx_quic_get_connection(qconn->connection);

    return qc->avg_rtt * 1000;
}
