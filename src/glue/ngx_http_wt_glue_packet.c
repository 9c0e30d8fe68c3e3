/*
 * 1-RTT packets of our own, with DATAGRAM frames.
 *
 * Such a packet takes its number from nginx's send context and leaves a frame
 * with its number, size and time among nginx's sent frames, so that
 * acknowledgement, loss detection and congestion control remain nginx's.  The
 * frame is a PING, which is not sent again when it is lost, RFC 9002, 2: that
 * is what a datagram wants.  Or it is the ACK frame that went along, and nginx
 * treats it as one of its own.
 */


#include <ngx_http_wt_glue_internal.h>


/* DATAGRAM frame with a length: type and a two-byte varint */
#define NGX_HTTP_WT_GLUE_DATAGRAM_HDR  3

/* of a UDP_SEGMENT send: UDP_MAX_SEGMENTS of Linux, and what IPv6 can carry */
#define NGX_HTTP_WT_GLUE_SEGMENTS      64
#define NGX_HTTP_WT_GLUE_TRAIN         (65535 - 40 - 8)

/* at most of a packet of n bytes; a longer one ends the train */
#define NGX_HTTP_WT_GLUE_PADDING(n)    ((n) / 8)

/* packets that an acknowledgement need not be delayed for, RFC 9000, 13.2.2 */
#define NGX_HTTP_WT_GLUE_ACK_NOW       2


/* space for control messages, beginning with one of segmentation */

#if (NGX_HAVE_ADDRINFO_CMSG)
#define NGX_HTTP_WT_GLUE_CONTROL  (CMSG_SPACE(sizeof(uint16_t))               \
                                   + CMSG_SPACE(sizeof(ngx_addrinfo_t)))
#else
#define NGX_HTTP_WT_GLUE_CONTROL  CMSG_SPACE(sizeof(uint16_t))
#endif


/* a train while it is built */

typedef struct {
    ngx_http_wt_glue_conn_t   *gc;
    ngx_http_wt_glue_train_t   train;
    ngx_quic_header_t          pkt;
    ngx_quic_frame_t          *ack;          /* that has no packet yet */
    size_t                     limit;        /* of a packet */
    size_t                     last;         /* size of the last packet */
    ngx_uint_t                 n;
} ngx_http_wt_glue_build_t;


static void ngx_http_wt_glue_built(ngx_connection_t *c, ngx_uint_t done);
static ngx_int_t ngx_http_wt_glue_build_packet(ngx_http_wt_glue_build_t *b);
static ngx_int_t ngx_http_wt_glue_build_frames(ngx_http_wt_glue_build_t *b,
    u_char **pos, u_char *end, ngx_quic_frame_t **ack);
static u_char *ngx_http_wt_glue_datagram_frame(u_char *p, size_t n);
static ngx_int_t ngx_http_wt_glue_build_ack(ngx_http_wt_glue_build_t *b);
static ngx_int_t ngx_http_wt_glue_build_rest(ngx_http_wt_glue_build_t *b);
static size_t ngx_http_wt_glue_build_room(ngx_http_wt_glue_build_t *b);
static ngx_int_t ngx_http_wt_glue_seal(ngx_http_wt_glue_build_t *b,
    size_t len);
static ngx_int_t ngx_http_wt_glue_record(ngx_http_wt_glue_build_t *b,
    ngx_quic_frame_t *ack);
static size_t ngx_http_wt_glue_frame_room(ngx_http_wt_glue_conn_t *gc);
static void ngx_http_wt_glue_init_packet(ngx_connection_t *c,
    ngx_quic_header_t *pkt);
static ngx_uint_t ngx_http_wt_glue_use_gso(ngx_http_wt_glue_conn_t *gc);
static ngx_int_t ngx_http_wt_glue_transmit(ngx_http_wt_glue_conn_t *gc,
    ngx_http_wt_glue_train_t *train);
static ssize_t ngx_http_wt_glue_sendmsg(ngx_connection_t *c, u_char *data,
    size_t len, size_t segment);
static void ngx_http_wt_glue_control(ngx_connection_t *c, struct msghdr *msg,
    u_char *control, size_t segment);
static void ngx_http_wt_glue_train_keep(ngx_http_wt_glue_conn_t *gc,
    ngx_http_wt_glue_train_t *train);


/* payload of one packet; all packets, encrypted */
static u_char  ngx_http_wt_glue_payload[NGX_QUIC_MAX_UDP_PAYLOAD_SIZE];
static u_char  ngx_http_wt_glue_packets[NGX_QUIC_MAX_UDP_PAYLOAD_SIZE];


ngx_int_t
ngx_http_wt_glue_train_send(ngx_http_wt_glue_conn_t *gc, ngx_uint_t *left)
{
    ngx_int_t                  rc;
    ngx_uint_t                 max;
    ngx_connection_t          *c;
    ngx_quic_connection_t     *qc;
    ngx_http_wt_glue_build_t   b;

    c = gc->pub.connection;
    qc = ngx_quic_get_connection(c);

    b.limit = ngx_quic_path_limit(c, qc->path, qc->path->mtu);

    if (b.limit < qc->path->mtu) {
        /* RFC 9000, 8.1: the address is not validated yet */
        return NGX_AGAIN;
    }

    b.gc = gc;
    b.train.pos = ngx_http_wt_glue_packets;
    b.train.last = ngx_http_wt_glue_packets;
    b.train.segment = 0;
    b.ack = NULL;
    b.n = 0;

    ngx_http_wt_glue_init_packet(c, &b.pkt);

    max = 1;

    if (ngx_http_wt_glue_use_gso(gc)) {
        max = ngx_min(*left, NGX_HTTP_WT_GLUE_SEGMENTS);
    }

    do {
        if (qc->congestion.in_flight >= qc->congestion.window
            || ngx_http_wt_glue_frames_short(gc))
        {
            rc = NGX_BUSY;
            break;
        }

        rc = ngx_http_wt_glue_build_packet(&b);

    } while (rc == NGX_OK && b.n < max);

    if (b.n == 0 || rc == NGX_ERROR) {
        return rc;
    }

    *left -= b.n;

    if (ngx_http_wt_glue_build_rest(&b) != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_http_wt_glue_built(c, rc == NGX_DONE);

    switch (ngx_http_wt_glue_transmit(gc, &b.train)) {

    case NGX_AGAIN:
        ngx_http_wt_glue_train_keep(gc, &b.train);
        return NGX_AGAIN;

    case NGX_ERROR:
        return NGX_ERROR;

    default:
        return (rc == NGX_DECLINED) ? NGX_OK : rc;
    }
}


/* what nginx does after it has sent packets that elicit acknowledgements */

static void
ngx_http_wt_glue_built(ngx_connection_t *c, ngx_uint_t done)
{
    ngx_quic_connection_t  *qc;

    qc = ngx_quic_get_connection(c);

    if (!qc->send_timer_set) {
        qc->send_timer_set = 1;
        ngx_add_timer(c->read, qc->tp.max_idle_timeout);
    }

    ngx_quic_set_lost_timer(c);

    ngx_http_wt_glue_congestion_idle(c, done);
}


/*
 * Puts a packet behind the others.  NGX_OK: another one may follow, NGX_DONE:
 * no more datagrams wait, NGX_DECLINED: the next packet begins a train.
 * After NGX_ERROR, as everywhere here, the connection is closed.
 */

static ngx_int_t
ngx_http_wt_glue_build_packet(ngx_http_wt_glue_build_t *b)
{
    size_t             max, left;
    u_char            *p, *end;
    ngx_int_t          rc;
    ngx_quic_frame_t  *ack;

    max = b->n ? b->train.segment : b->limit;

    if (b->n && max > ngx_http_wt_glue_build_room(b)) {
        return NGX_DECLINED;
    }

    ack = NULL;
    p = ngx_http_wt_glue_payload;
    end = p + ngx_quic_payload_size(&b->pkt, max);

    rc = ngx_http_wt_glue_build_frames(b, &p, end, &ack);

    if (p == ngx_http_wt_glue_payload || rc == NGX_ERROR) {
        return rc;
    }

    left = end - p;

    if (b->n && left && rc == NGX_OK) {

        if (left > NGX_HTTP_WT_GLUE_PADDING(max)) {
            rc = NGX_DECLINED;

        } else {
            ngx_memset(p, NGX_QUIC_FT_PADDING, left);
            p = end;
        }
    }

    if (ngx_http_wt_glue_seal(b, p - ngx_http_wt_glue_payload) != NGX_OK
        || ngx_http_wt_glue_record(b, ack) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return rc;
}


/*
 * Writes DATAGRAM frames, and an ACK frame if it has room behind the first of
 * them: the largest datagram leaves it none, and must not be dropped for it.
 */

static ngx_int_t
ngx_http_wt_glue_build_frames(ngx_http_wt_glue_build_t *b, u_char **pos,
    u_char *end, ngx_quic_frame_t **ack)
{
    size_t    limit;
    u_char   *p;
    ssize_t   n;

    p = *pos;

    while ((size_t) (end - p) > NGX_HTTP_WT_GLUE_DATAGRAM_HDR) {

        limit = ngx_min((size_t) (end - p) - NGX_HTTP_WT_GLUE_DATAGRAM_HDR,
                        ngx_http_wt_glue_frame_room(b->gc));

        n = ngx_http_wt_glue_ops->next_datagram(&b->gc->pub,
                                           p + NGX_HTTP_WT_GLUE_DATAGRAM_HDR,
                                           limit, b->n == 0 && p == *pos);
        if (n == 0) {
            *pos = p;
            return NGX_DONE;
        }

        if (n == NGX_AGAIN) {
            if (p == *pos) {
                return NGX_DECLINED;
            }

            break;
        }

        p = ngx_http_wt_glue_datagram_frame(p, n);

        if (*ack) {
            continue;
        }

        if (ngx_http_wt_glue_build_ack(b) != NGX_OK) {
            return NGX_ERROR;
        }

        if (b->ack && b->ack->len <= end - p) {
            *ack = b->ack;
            b->ack = NULL;
            p += ngx_quic_create_frame(p, *ack);
        }
    }

    *pos = p;

    return NGX_OK;
}


/* writes the header of a frame whose payload is there; returns its end */

static u_char *
ngx_http_wt_glue_datagram_frame(u_char *p, size_t n)
{
    /*
     * RFC 9221, 4: type and length.  The length takes one byte or two, and
     * PADDING the place of the other: the peer's limit is for frames.
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

    return p + NGX_HTTP_WT_GLUE_DATAGRAM_HDR + n;
}


/* the acknowledgement that nginx owes becomes b->ack */

static ngx_int_t
ngx_http_wt_glue_build_ack(ngx_http_wt_glue_build_t *b)
{
    ngx_queue_t            *q;
    ngx_connection_t       *c;
    ngx_quic_send_ctx_t    *ctx;
    ngx_quic_connection_t  *qc;

    c = b->gc->pub.connection;
    qc = ngx_quic_get_connection(c);
    ctx = ngx_quic_get_send_ctx(qc, NGX_HTTP_WT_LEVEL_APP);

    if (b->ack
        || ctx->send_ack == 0
        || ctx->largest_range == NGX_QUIC_UNSET_PN)
    {
        return NGX_OK;
    }

    /* puts the frame at the head of those to be sent */

    if (ngx_quic_send_ack(c, ctx) != NGX_OK) {
        return NGX_ERROR;
    }

    q = ngx_queue_head(&ctx->frames);
    ngx_queue_remove(q);

    b->ack = ngx_queue_data(q, ngx_quic_frame_t, queue);

    return NGX_OK;
}


/*
 * An ACK frame that found no room gets a packet of its own behind the others
 * if it is due, for otherwise nginx would send it with a system call of its
 * own, or, the window being full, would not.  Nothing in the packet elicits
 * an acknowledgement, so nothing is left among the sent frames.
 */

static ngx_int_t
ngx_http_wt_glue_build_rest(ngx_http_wt_glue_build_t *b)
{
    size_t                  len, max;
    ngx_int_t               rc;
    ngx_uint_t              due;
    ngx_connection_t       *c;
    ngx_quic_send_ctx_t    *ctx;
    ngx_quic_connection_t  *qc;

    if (b->ack == NULL) {
        return NGX_OK;
    }

    c = b->gc->pub.connection;
    qc = ngx_quic_get_connection(c);
    ctx = ngx_quic_get_send_ctx(qc, NGX_HTTP_WT_LEVEL_APP);

    rc = NGX_OK;
    len = b->ack->len;
    max = ngx_min(b->train.segment, ngx_http_wt_glue_build_room(b));

    due = ctx->send_ack >= NGX_HTTP_WT_GLUE_ACK_NOW
          || ngx_current_msec - ctx->ack_delay_start >= qc->tp.max_ack_delay;

    if (due
        && qc->path->validated
        && b->n < NGX_HTTP_WT_GLUE_SEGMENTS
        && b->last == b->train.segment
        && len <= ngx_quic_payload_size(&b->pkt, max))
    {
        ctx->send_ack = 0;

        len = ngx_quic_create_frame(ngx_http_wt_glue_payload, b->ack);
        rc = ngx_http_wt_glue_seal(b, len);
    }

    ngx_quic_free_frame(c, b->ack);

    return rc;
}


static size_t
ngx_http_wt_glue_build_room(ngx_http_wt_glue_build_t *b)
{
    size_t  size;

    size = b->train.last - b->train.pos;

    return NGX_HTTP_WT_GLUE_TRAIN - ngx_min(size, NGX_HTTP_WT_GLUE_TRAIN);
}


/* encrypts the payload to the end of the train */

static ngx_int_t
ngx_http_wt_glue_seal(ngx_http_wt_glue_build_t *b, size_t len)
{
    ngx_str_t               res;
    ngx_quic_send_ctx_t    *ctx;
    ngx_quic_connection_t  *qc;

    qc = ngx_quic_get_connection(b->gc->pub.connection);
    ctx = ngx_quic_get_send_ctx(qc, NGX_HTTP_WT_LEVEL_APP);

    b->pkt.number = ctx->pnum;
    b->pkt.trunc = (uint32_t) ctx->pnum;
    b->pkt.payload.data = ngx_http_wt_glue_payload;
    b->pkt.payload.len = len;

    res.data = b->train.last;

    if (ngx_quic_encrypt(&b->pkt, &res) != NGX_OK) {
        return NGX_ERROR;
    }

    /* the number is used, whatever becomes of the packet */
    ctx->pnum++;

    if (b->n++ == 0) {
        b->train.segment = res.len;
    }

    b->last = res.len;
    b->train.last += res.len;

    return NGX_OK;
}


/* the last packet counts as sent; "ack" is in it, if not NULL */

static ngx_int_t
ngx_http_wt_glue_record(ngx_http_wt_glue_build_t *b, ngx_quic_frame_t *ack)
{
    ngx_connection_t       *c;
    ngx_quic_frame_t       *frame;
    ngx_quic_send_ctx_t    *ctx;
    ngx_quic_connection_t  *qc;

    c = b->gc->pub.connection;
    qc = ngx_quic_get_connection(c);
    ctx = ngx_quic_get_send_ctx(qc, NGX_HTTP_WT_LEVEL_APP);

    frame = ack;

    if (frame) {
        ctx->send_ack = 0;

    } else {
        frame = ngx_quic_alloc_frame(c);
        if (frame == NULL) {
            return NGX_ERROR;
        }

        frame->level = NGX_HTTP_WT_LEVEL_APP;
        frame->type = NGX_QUIC_FT_PING;
        frame->need_ack = 1;
    }

    frame->pkt_need_ack = 1;
    frame->pnum = b->pkt.number;
    frame->plen = b->last;
    frame->send_time = ngx_current_msec;

    ngx_queue_insert_tail(&ctx->sent, &frame->queue);

    qc->congestion.in_flight += b->last;

    return NGX_OK;
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


/* for all packets of a train, which thus have headers of the same length */

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

    delta = 2 * (ctx->pnum + NGX_HTTP_WT_GLUE_SEGMENTS - ctx->largest_ack);

    pkt->num_len = (delta < 0x100) ? 1
                   : (delta < 0x10000) ? 2
                   : (delta < 0x1000000) ? 3 : 4;

    pkt->flags = NGX_QUIC_PKT_FIXED_BIT | (pkt->num_len - 1);

    if (qc->key_phase) {
        pkt->flags |= NGX_QUIC_PKT_KPHASE;
    }
}


size_t
ngx_http_wt_glue_datagram_max(ngx_http_wt_qconn_t *qconn)
{
    size_t                    max;
    ngx_quic_connection_t    *qc;

    /* asked for every datagram, and large: zeroed once */
    static ngx_quic_header_t  pkt;

    qc = ngx_quic_get_connection(qconn->connection);

    /* with the longest packet number, so that it remains true */

    pkt.level = NGX_HTTP_WT_LEVEL_APP;
    pkt.flags = NGX_QUIC_PKT_FIXED_BIT;
    pkt.dcid.len = qc->path->cid->len;
    pkt.num_len = 4;

    max = ngx_quic_payload_size(&pkt, qc->path->mtu);
    max -= ngx_min(max, NGX_HTTP_WT_GLUE_DATAGRAM_HDR);

    return ngx_min(max, ngx_http_wt_glue_frame_room(
                                         (ngx_http_wt_glue_conn_t *) qconn));
}


static ngx_uint_t
ngx_http_wt_glue_use_gso(ngx_http_wt_glue_conn_t *gc)
{
#if (NGX_HTTP_WT_HAVE_GSO)
    ngx_quic_connection_t  *qc;

    qc = ngx_quic_get_connection(gc->pub.connection);

    return qc->conf->gso_enabled && qc->path->validated && !gc->no_gso;
#else
    return 0;
#endif
}


/*
 * NGX_OK; NGX_AGAIN: the socket takes no more, what is left remains in the
 * train; NGX_ERROR.
 */

static ngx_int_t
ngx_http_wt_glue_transmit(ngx_http_wt_glue_conn_t *gc,
    ngx_http_wt_glue_train_t *train)
{
    size_t             len;
    ssize_t            n;
    ngx_uint_t         gso, failed;
    ngx_connection_t  *c;

    c = gc->pub.connection;

    gso = ngx_http_wt_glue_use_gso(gc);
    failed = 0;

    while (train->pos < train->last) {

        len = train->last - train->pos;

        if (!gso) {
            len = ngx_min(len, train->segment);
        }

        n = ngx_http_wt_glue_sendmsg(c, train->pos, len, train->segment);

        if (n == NGX_DECLINED) {
            gso = 0;
            failed = 1;
            continue;
        }

        if (n < 0) {
            return n;
        }

        if (n > 0 && failed) {
            /* so it was not the packets' size */

            ngx_log_error(NGX_LOG_INFO, c->log, 0,
                          "webtransport goes on without UDP_SEGMENT");
            gc->no_gso = 1;
            failed = 0;
        }

        train->pos += len;
    }

    return NGX_OK;
}


/*
 * Number of bytes, 0: the packet is too long for the path and as good as
 * lost, NGX_DECLINED: segmentation has failed, NGX_AGAIN, NGX_ERROR.
 */

static ssize_t
ngx_http_wt_glue_sendmsg(ngx_connection_t *c, u_char *data, size_t len,
    size_t segment)
{
    ssize_t                 n;
    ngx_err_t               err;
    struct iovec            iov;
    struct msghdr           msg;
    ngx_quic_connection_t  *qc;

    union {
        struct cmsghdr      align;
        u_char              data[NGX_HTTP_WT_GLUE_CONTROL];
    } control;

    qc = ngx_quic_get_connection(c);

    ngx_memzero(&msg, sizeof(struct msghdr));

    iov.iov_base = (void *) data;
    iov.iov_len = len;

    msg.msg_iov = &iov;
    msg.msg_iovlen = 1;
    msg.msg_name = qc->path->sockaddr;
    msg.msg_namelen = qc->path->socklen;

    ngx_http_wt_glue_control(c, &msg, control.data,
                             len > segment ? segment : 0);

    do {
        n = sendmsg(c->fd, &msg, 0);
        err = (n == -1) ? ngx_socket_errno : 0;

    } while (err == NGX_EINTR);

    if (n >= 0) {
        c->sent += n;
        qc->path->sent += n;

        /* see the tap: not a flood */
        qc->streams.sent += n;

        return n;
    }

    if (err == NGX_EAGAIN) {
        return NGX_AGAIN;
    }

    if (len > segment) {
        ngx_log_debug0(NGX_LOG_DEBUG_EVENT, c->log, err,
                       "wt sendmsg() with UDP_SEGMENT failed");
        return NGX_DECLINED;
    }

    if (err == NGX_EMSGSIZE) {
        return 0;
    }

    ngx_connection_error(c, err, "sendmsg() failed");

    return NGX_ERROR;
}


/* control messages: the size of segments, and what nginx sends from */

static void
ngx_http_wt_glue_control(ngx_connection_t *c, struct msghdr *msg,
    u_char *control, size_t segment)
{
#if (NGX_HTTP_WT_HAVE_GSO || NGX_HAVE_ADDRINFO_CMSG)
    size_t           len;
    struct cmsghdr  *cmsg;
#if (NGX_HTTP_WT_HAVE_GSO)
    uint16_t         size;
#endif

    ngx_memzero(control, NGX_HTTP_WT_GLUE_CONTROL);

    msg->msg_control = control;
    msg->msg_controllen = NGX_HTTP_WT_GLUE_CONTROL;

    cmsg = CMSG_FIRSTHDR(msg);
    len = 0;

#if (NGX_HTTP_WT_HAVE_GSO)
    if (segment) {
        size = segment;

        cmsg->cmsg_level = SOL_UDP;
        cmsg->cmsg_type = UDP_SEGMENT;
        cmsg->cmsg_len = CMSG_LEN(sizeof(uint16_t));
        ngx_memcpy(CMSG_DATA(cmsg), &size, sizeof(uint16_t));

        len = CMSG_SPACE(sizeof(uint16_t));
        cmsg = CMSG_NXTHDR(msg, cmsg);
    }
#endif

#if (NGX_HAVE_ADDRINFO_CMSG)
    if (c->listening->wildcard && c->local_sockaddr) {
        len += ngx_set_srcaddr_cmsg(cmsg, c->local_sockaddr);
    }
#endif

    msg->msg_controllen = len;

    if (len == 0) {
        msg->msg_control = NULL;
    }
#endif
}


/*
 * The packets are encrypted and have their numbers, so they can only be sent
 * as they are: they wait for the socket, and nothing is lost.
 */

static void
ngx_http_wt_glue_train_keep(ngx_http_wt_glue_conn_t *gc,
    ngx_http_wt_glue_train_t *train)
{
    size_t                  len;
    ngx_quic_connection_t  *qc;

    qc = ngx_quic_get_connection(gc->pub.connection);

    len = train->last - train->pos;

    gc->kept_buf = ngx_alloc(len, gc->pub.connection->log);
    if (gc->kept_buf == NULL) {
        /* lost, as the network could have lost them */
        return;
    }

    gc->kept_path = qc->path->seqnum;
    gc->kept_cid = qc->path->cid->seqnum;
    gc->kept.segment = train->segment;
    gc->kept.pos = gc->kept_buf;
    gc->kept.last = ngx_cpymem(gc->kept_buf, train->pos, len);
}


ngx_int_t
ngx_http_wt_glue_train_resume(ngx_http_wt_glue_conn_t *gc)
{
    ngx_int_t               rc;
    ngx_quic_connection_t  *qc;

    if (gc->kept_buf == NULL) {
        return NGX_OK;
    }

    qc = ngx_quic_get_connection(gc->pub.connection);

    rc = NGX_OK;

    /* not to another address, nor with a connection id that is retired */

    if (gc->kept_path == qc->path->seqnum
        && gc->kept_cid == qc->path->cid->seqnum)
    {
        rc = ngx_http_wt_glue_transmit(gc, &gc->kept);
    }

    if (rc != NGX_AGAIN) {
        ngx_http_wt_glue_train_drop(gc);
    }

    return rc;
}


void
ngx_http_wt_glue_train_drop(ngx_http_wt_glue_conn_t *gc)
{
    if (gc->kept_buf) {
        ngx_free(gc->kept_buf);
        gc->kept_buf = NULL;
    }
}
