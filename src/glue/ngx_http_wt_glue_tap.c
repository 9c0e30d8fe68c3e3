/*
 * The packet tap: looks at a 1-RTT packet before nginx does.
 *
 * An ordinary packet is dispatched, and nginx's input handler has nothing to
 * do.  From any other one DATAGRAM frames (RFC 9221), which nginx would answer
 * with a connection error, are taken out: the frame becomes PING and PADDING
 * of the same length and the packet is protected again, in place, under its
 * own packet number.  Codes of RESET_STREAM and STOP_SENDING, which nginx
 * drops, are noted.  Packets without any of them reach nginx as they came.
 */


#include <ngx_http_wt_glue_internal.h>


/*
 * Datagrams a second that may be small: what a packet costs besides its
 * datagram, acknowledgement included, is then no flood.
 */
#define NGX_HTTP_WT_GLUE_CREDIT    1000
#define NGX_HTTP_WT_GLUE_OVERHEAD  64


static void ngx_http_wt_glue_input_handler(ngx_event_t *rev);
static void ngx_http_wt_glue_mend_rejects(ngx_connection_t *c, uint64_t first,
    uint64_t last, uint64_t *max, ngx_uint_t bidi);
static void ngx_http_wt_glue_drop_reset(ngx_connection_t *c, uint64_t id);
static ngx_int_t ngx_http_wt_glue_tap(ngx_http_wt_glue_conn_t *gc,
    ngx_buf_t *b);
static ngx_int_t ngx_http_wt_glue_tap_packet(ngx_http_wt_glue_conn_t *gc,
    ngx_quic_header_t *pkt);
static ngx_uint_t ngx_http_wt_glue_tap_frames(ngx_http_wt_glue_conn_t *gc,
    ngx_quic_header_t *pkt);
static void ngx_http_wt_glue_tap_credit(ngx_http_wt_glue_conn_t *gc,
    size_t len);
static ngx_int_t ngx_http_wt_glue_protect(ngx_connection_t *c,
    ngx_quic_header_t *in);
static void ngx_http_wt_glue_close_handled(ngx_http_wt_glue_conn_t *gc);


void
ngx_http_wt_glue_tap_install(ngx_http_wt_glue_conn_t *gc)
{
    ngx_event_t  *rev;

    rev = gc->pub.connection->read;

    if (gc->input_handler == NULL) {
        gc->input_handler = rev->handler;
        rev->handler = ngx_http_wt_glue_input_handler;

        ngx_http_wt_glue_datagrams_init(gc);
    }
}


static void
ngx_http_wt_glue_input_handler(ngx_event_t *rev)
{
    uint64_t                  uni, bidi;
    ngx_uint_t                freed;
    ngx_connection_t         *c;
    ngx_quic_streams_t       *qs;
    ngx_http_wt_glue_conn_t  *gc;

    c = rev->data;
    gc = ngx_http_wt_glue_get_conn(c);

    qs = &ngx_quic_get_connection(c)->streams;

    uni = qs->client_streams_uni;
    bidi = qs->client_streams_bidi;

    freed = 0;
    gc->freed = &freed;

    if (c->udp->buffer == NULL
        || rev->timedout
        || c->close
        || ngx_http_wt_glue_tap(gc, c->udp->buffer) != NGX_OK)
    {
        gc->input_handler(rev);
    }

    if (freed) {
        return;
    }

    gc->freed = NULL;

    if (uni != qs->client_streams_uni) {
        ngx_http_wt_glue_mend_rejects(c, uni, qs->client_streams_uni,
                                      &qs->client_max_streams_uni, 0);
    }

    if (bidi != qs->client_streams_bidi) {
        ngx_http_wt_glue_mend_rejects(c, bidi, qs->client_streams_bidi,
                                      &qs->client_max_streams_bidi, 1);
    }

    if (gc->closing) {
        ngx_http_wt_glue_close_handled(gc);
        return;
    }

    if (gc->max_streams) {
        gc->max_streams = 0;

        if (gc->pub.data) {
            ngx_http_wt_glue_ops->streams(&gc->pub);
        }
    }
}


/*
 * nginx refuses streams that find no connection slot with RESET_STREAM and
 * STOP_SENDING, and forgets them.  But a client's unidirectional stream has
 * no side of ours to reset, and clients close the connection for that, RFC
 * 9000, 19.4; and without new credit a client would run out of streams.
 */

static void
ngx_http_wt_glue_mend_rejects(ngx_connection_t *c, uint64_t first,
    uint64_t last, uint64_t *max, ngx_uint_t bidi)
{
    uint64_t                n, id;
    ngx_uint_t              rejected;
    ngx_quic_frame_t       *frame;
    ngx_quic_connection_t  *qc;

    qc = ngx_quic_get_connection(c);

    rejected = 0;

    for (n = first; n != last; n++) {

        id = (n << 2) | (bidi ? 0 : NGX_QUIC_STREAM_UNIDIRECTIONAL);

        if (ngx_quic_find_stream(&qc->streams.tree, id)) {
            continue;
        }

        rejected++;

        if (!bidi) {
            ngx_http_wt_glue_drop_reset(c, id);
        }
    }

    if (rejected == 0 || qc->closing) {
        return;
    }

    frame = ngx_quic_alloc_frame(c);
    if (frame == NULL) {
        return;
    }

    *max += rejected;

    frame->level = NGX_HTTP_WT_LEVEL_APP;
    frame->type = NGX_QUIC_FT_MAX_STREAMS;
    frame->u.max_streams.limit = *max;
    frame->u.max_streams.bidi = bidi;

    ngx_quic_queue_frame(qc, frame);
}


static void
ngx_http_wt_glue_drop_reset(ngx_connection_t *c, uint64_t id)
{
    ngx_queue_t            *q;
    ngx_quic_frame_t       *frame;
    ngx_quic_send_ctx_t    *ctx;
    ngx_quic_connection_t  *qc;

    qc = ngx_quic_get_connection(c);
    ctx = ngx_quic_get_send_ctx(qc, NGX_HTTP_WT_LEVEL_APP);

    for (q = ngx_queue_last(&ctx->frames);
         q != ngx_queue_sentinel(&ctx->frames);
         q = ngx_queue_prev(q))
    {
        frame = ngx_queue_data(q, ngx_quic_frame_t, queue);

        if (frame->type == NGX_QUIC_FT_RESET_STREAM
            && frame->u.reset_stream.id == id)
        {
            ngx_queue_remove(q);
            ngx_quic_free_frame(c, frame);
            return;
        }
    }
}


/* NGX_OK: the packet has been handled; NGX_DECLINED: nginx has to do it */

static ngx_int_t
ngx_http_wt_glue_tap(ngx_http_wt_glue_conn_t *gc, ngx_buf_t *b)
{
    u_char                 *p;
    ngx_buf_t               raw;
    ngx_connection_t       *c;
    ngx_quic_header_t       pkt;
    ngx_quic_connection_t  *qc;

    c = gc->pub.connection;
    qc = ngx_quic_get_connection(c);

    if (qc->closing
        || !c->ssl->handshaked
        || !ngx_quic_keys_available(qc->keys, NGX_HTTP_WT_LEVEL_APP, 0))
    {
        return NGX_DECLINED;
    }

    raw = *b;
    p = raw.pos;

    /* a 1-RTT packet may follow others in its datagram, RFC 9000, 12.2 */

    while (p < raw.last) {

        ngx_memzero(&pkt, sizeof(ngx_quic_header_t));

        pkt.raw = &raw;
        pkt.data = p;
        pkt.len = raw.last - p;
        pkt.log = c->log;
        pkt.first = (p == b->pos);
        pkt.flags = p[0];

        raw.pos = p + 1;

        if (ngx_quic_parse_packet(&pkt) != NGX_OK) {
            break;
        }

        if (pkt.level == NGX_HTTP_WT_LEVEL_APP) {
            return ngx_http_wt_glue_tap_packet(gc, &pkt);
        }

        p = pkt.data + pkt.len;
    }

    return NGX_DECLINED;
}


static ngx_int_t
ngx_http_wt_glue_tap_packet(ngx_http_wt_glue_conn_t *gc,
    ngx_quic_header_t *pkt)
{
    uint64_t                largest_pn;
    ngx_connection_t       *c;
    ngx_quic_send_ctx_t    *ctx;
    ngx_quic_connection_t  *qc;

    static u_char           plaintext[NGX_QUIC_MAX_UDP_PAYLOAD_SIZE];

    c = gc->pub.connection;
    qc = ngx_quic_get_connection(c);
    ctx = ngx_quic_get_send_ctx(qc, NGX_HTTP_WT_LEVEL_APP);

    pkt->keys = qc->keys;
    pkt->key_phase = qc->key_phase;
    pkt->plaintext = plaintext;

    /* a copy: nginx may be going to decrypt the packet too */
    largest_pn = ctx->largest_pn;

    if (ngx_quic_decrypt(pkt, &largest_pn) != NGX_OK) {
        return NGX_DECLINED;
    }

    if (ngx_http_wt_glue_dispatch(gc, pkt, largest_pn) == NGX_OK) {
        return NGX_OK;
    }

    if (!ngx_http_wt_glue_tap_frames(gc, pkt)) {
        return NGX_DECLINED;
    }

    if (ngx_http_wt_glue_protect(c, pkt) != NGX_OK) {
        gc->closing = 1;
        gc->close_app = 1;
        gc->close_code = NGX_HTTP_V3_ERR_INTERNAL_ERROR;
        gc->close_reason = "packet protection failed";
    }

    return NGX_DECLINED;
}


/* returns 1 if the payload has been changed */

static ngx_uint_t
ngx_http_wt_glue_tap_frames(ngx_http_wt_glue_conn_t *gc,
    ngx_quic_header_t *pkt)
{
    u_char            *p, *end, *data, *next;
    ssize_t            len;
    ngx_buf_t          buf;
    ngx_uint_t         changed, replayed;
    ngx_chain_t        chain;
    ngx_quic_frame_t   frame;

    p = pkt->payload.data;
    end = p + pkt->payload.len;

    changed = 0;
    replayed = 0;

    while (p < end) {

        if ((*p & ~1) == NGX_HTTP_WT_GLUE_FT_DATAGRAM) {

            next = ngx_http_wt_glue_datagram(p, end, &data);
            if (next == NULL) {
                /* malformed: nginx closes the connection as it should */
                break;
            }

            if (!changed) {
                changed = 1;
                replayed = ngx_http_wt_glue_replayed(gc, pkt->pn);
            }

            if (!replayed) {
                ngx_http_wt_glue_deliver(gc, p, data, next);
            }

            *p++ = NGX_QUIC_FT_PING;
            ngx_memset(p, NGX_QUIC_FT_PADDING, next - p);

            p = next;
            continue;
        }

        ngx_memzero(&frame, sizeof(ngx_quic_frame_t));
        ngx_memzero(&buf, sizeof(ngx_buf_t));
        chain.buf = &buf;
        chain.next = NULL;
        frame.data = &chain;

        len = ngx_quic_parse_frame(pkt, p, end, &frame);
        if (len <= 0) {
            break;
        }

        if (frame.type == NGX_QUIC_FT_RESET_STREAM
            || frame.type == NGX_QUIC_FT_STOP_SENDING)
        {
            ngx_http_wt_glue_note_code(gc->pub.connection, &frame);

        } else if (frame.type == NGX_QUIC_FT_MAX_STREAMS
                   || frame.type == NGX_QUIC_FT_MAX_STREAMS2)
        {
            gc->max_streams = 1;
        }

        p += len;
    }

    return changed;
}


u_char *
ngx_http_wt_glue_datagram(u_char *p, u_char *end, u_char **data)
{
    uint64_t    len;
    ngx_uint_t  type;

    type = *p++;

    if (type == NGX_HTTP_WT_GLUE_FT_DATAGRAM) {
        *data = p;
        return end;
    }

    p = ngx_http_wt_glue_varint(p, end, &len);

    if (p == NULL || len > (uint64_t) (end - p)) {
        return NULL;
    }

    *data = p;

    return p + len;
}


void
ngx_http_wt_glue_deliver(ngx_http_wt_glue_conn_t *gc, u_char *start,
    u_char *data, u_char *last)
{
    ngx_int_t  rc;

    if (gc->closing || gc->pub.data == NULL) {
        return;
    }

    if ((uint64_t) (last - start) > gc->pub.params->max_datagram_frame_size) {

        /* RFC 9221, 3: an endpoint [...] MUST terminate the connection */

        gc->closing = 1;
        gc->close_app = 0;
        gc->close_code = NGX_QUIC_ERR_PROTOCOL_VIOLATION;
        gc->close_reason = "DATAGRAM frame too large";
        return;
    }

    ngx_http_wt_glue_datagrams++;

    rc = ngx_http_wt_glue_ops->datagram(&gc->pub, data, last - data);

    if (rc == NGX_OK) {
        ngx_http_wt_glue_tap_credit(gc, last - data);

    } else if (rc > 0) {
        gc->closing = 1;
        gc->close_app = 1;
        gc->close_code = rc;
        gc->close_reason = "invalid datagram";
    }
}


/*
 * nginx takes bytes that are in no stream for a flood, when they are more
 * than eight times those in streams.  Datagrams of a live session count like
 * bytes in streams; the overhead of small ones is forgiven up to a rate.
 */

static void
ngx_http_wt_glue_tap_credit(ngx_http_wt_glue_conn_t *gc, size_t len)
{
    ngx_quic_connection_t  *qc;

    qc = ngx_quic_get_connection(gc->pub.connection);

    if (gc->credit_time != ngx_time()) {
        gc->credit_time = ngx_time();
        gc->credit = NGX_HTTP_WT_GLUE_CREDIT;
    }

    if (gc->credit) {
        gc->credit--;
        len += NGX_HTTP_WT_GLUE_OVERHEAD;
    }

    qc->streams.sent += len;
}


void
ngx_http_wt_glue_note_code(ngx_connection_t *c, ngx_quic_frame_t *frame)
{
    uint64_t                id;
    ngx_quic_stream_t      *stream;
    ngx_http_wt_qstream_t  *qs;
    ngx_quic_connection_t  *qc;

    qc = ngx_quic_get_connection(c);

    id = (frame->type == NGX_QUIC_FT_RESET_STREAM)
             ? frame->u.reset_stream.id : frame->u.stop_sending.id;

    stream = ngx_quic_find_stream(&qc->streams.tree, id);

    if (stream == NULL || stream->connection == NULL) {
        return;
    }

    qs = ngx_http_wt_glue_get_stream(stream->connection);
    if (qs == NULL) {
        return;
    }

    if (frame->type == NGX_QUIC_FT_RESET_STREAM) {
        if (!qs->reset_received) {
            qs->reset_received = 1;
            qs->reset_code = frame->u.reset_stream.error_code;
        }

    } else if (!qs->stop_received) {
        qs->stop_received = 1;
        qs->stop_code = frame->u.stop_sending.error_code;
    }
}


/*
 * nginx accepts a packet twice.  That is harmless for streams, but a datagram
 * must not be delivered twice.
 */

ngx_uint_t
ngx_http_wt_glue_replayed(ngx_http_wt_glue_conn_t *gc, uint64_t pn)
{
    uint64_t    bit, last, skip;
    ngx_uint_t  i, n;

    n = NGX_HTTP_WT_GLUE_REPLAY / 64;
    last = gc->replay_last;

    if (pn > last) {

        /* forget the packet numbers that leave the window */

        skip = ngx_min(pn / 64 - last / 64, n);

        for (i = 0; i < skip; i++) {
            gc->replay[(pn / 64 - i) % n] = 0;
        }

        gc->replay_last = pn;

    } else if (last / 64 - pn / 64 >= n) {

        /* too old to tell */
        return 1;
    }

    bit = (uint64_t) 1 << (pn % 64);
    i = (pn / 64) % n;

    if (gc->replay[i] & bit) {
        return 1;
    }

    gc->replay[i] |= bit;

    return 0;
}


static ngx_int_t
ngx_http_wt_glue_protect(ngx_connection_t *c, ngx_quic_header_t *in)
{
    u_char                  dcid[NGX_QUIC_MAX_CID_LEN];
    ngx_int_t               rc;
    ngx_str_t               res;
    ngx_quic_keys_t         keys;
    ngx_quic_header_t       pkt;
    ngx_quic_secret_t      *secret;
    ngx_quic_connection_t  *qc;

    qc = ngx_quic_get_connection(c);

    secret = in->key_update
                 ? &qc->keys->next_key.client
                 : &qc->keys->secrets[NGX_HTTP_WT_LEVEL_APP].client;

    /* nginx protects with the server's keys: lend it the client's as such */

    keys.secrets[NGX_HTTP_WT_LEVEL_APP].server = *secret;

    ngx_memzero(&pkt, sizeof(ngx_quic_header_t));

    ngx_memcpy(dcid, in->dcid.data, in->dcid.len);

    pkt.keys = &keys;
    pkt.log = c->log;
    pkt.level = NGX_HTTP_WT_LEVEL_APP;
    pkt.flags = in->flags;
    pkt.dcid.data = dcid;
    pkt.dcid.len = in->dcid.len;
    pkt.number = in->pn;
    pkt.num_len = (in->flags & 0x03) + 1;
    pkt.trunc = (uint32_t) in->pn;
    pkt.payload = in->payload;

    res.data = in->data;

    ngx_http_wt_glue_seal_begin(secret);

    rc = ngx_quic_encrypt(&pkt, &res);

    ngx_http_wt_glue_seal_end(secret);

    return rc;
}


static void
ngx_http_wt_glue_close_handled(ngx_http_wt_glue_conn_t *gc)
{
    ngx_connection_t       *c;
    ngx_quic_connection_t  *qc;

    c = gc->pub.connection;
    qc = ngx_quic_get_connection(c);

    gc->closing = 0;

    if (qc->closing) {
        return;
    }

    /* at once: the next packet would overwrite the error */

    qc->error = gc->close_code;
    qc->error_reason = gc->close_reason;
    qc->error_app = gc->close_app;
    qc->error_ftype = 0;

    ngx_quic_close_connection(c, NGX_OK);
}
