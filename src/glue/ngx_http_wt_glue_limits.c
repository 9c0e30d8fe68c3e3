/*
 * How many streams a client may open.  nginx sends a MAX_STREAMS frame for
 * each stream that has ended.  Alone in a packet, because a stream ends when
 * its last bytes are acknowledged, such a frame has to be acknowledged itself,
 * which takes a packet of the client's, and so on: up to half of the packets
 * of small streams are of this kind.
 *
 * So the frames are taken out of nginx's queue, and one with the current limit
 * goes along with other frames; alone only if the client has used up a quarter
 * of what it may open at a time.
 */


#include <ngx_http_wt_glue_internal.h>


static ngx_uint_t ngx_http_wt_glue_limits_take(ngx_http_wt_glue_conn_t *gc);
static void ngx_http_wt_glue_limits_tell(ngx_http_wt_glue_conn_t *gc,
    ngx_uint_t bidi, uint64_t max, uint64_t used, ngx_uint_t others);


void
ngx_http_wt_glue_limits(ngx_http_wt_glue_conn_t *gc)
{
    ngx_uint_t              others;
    ngx_quic_streams_t     *qs;
    ngx_quic_connection_t  *qc;

    qc = ngx_quic_get_connection(gc->pub.connection);
    qs = &qc->streams;

    if ((qs->client_max_streams_bidi == gc->limits[1].told
         && qs->client_max_streams_uni == gc->limits[0].told)
        || qc->closing)
    {
        return;
    }

    others = ngx_http_wt_glue_limits_take(gc);

    ngx_http_wt_glue_limits_tell(gc, 1, qs->client_max_streams_bidi,
                                 qs->client_streams_bidi, others);

    ngx_http_wt_glue_limits_tell(gc, 0, qs->client_max_streams_uni,
                                 qs->client_streams_uni, others);

    /* the caller sends what waits */

    if (qc->push.posted) {
        ngx_delete_posted_event(&qc->push);
    }
}


/* returns 1 if there are other frames, so that a packet is sent anyway */

static ngx_uint_t
ngx_http_wt_glue_limits_take(ngx_http_wt_glue_conn_t *gc)
{
    ngx_uint_t                 others;
    ngx_queue_t               *q, *next;
    ngx_quic_frame_t          *frame;
    ngx_quic_send_ctx_t       *ctx;
    ngx_quic_connection_t     *qc;
    ngx_http_wt_glue_limit_t  *limit;

    qc = ngx_quic_get_connection(gc->pub.connection);
    ctx = ngx_quic_get_send_ctx(qc, NGX_HTTP_WT_LEVEL_APP);

    others = 0;

    for (q = ngx_queue_head(&ctx->frames);
         q != ngx_queue_sentinel(&ctx->frames);
         q = next)
    {
        next = ngx_queue_next(q);
        frame = ngx_queue_data(q, ngx_quic_frame_t, queue);

        if (frame->type != NGX_QUIC_FT_MAX_STREAMS) {
            others |= (frame->type != NGX_QUIC_FT_ACK);
            continue;
        }

        limit = &gc->limits[frame->u.max_streams.bidi];

        if (frame->u.max_streams.limit > limit->seen) {
            limit->seen = frame->u.max_streams.limit;

        } else {

            /*
             * One has been lost: nginx sends it again with the current value,
             * which is not above all that have been seen.
             */

            limit->told = 0;
        }

        ngx_queue_remove(q);
        ngx_quic_free_frame(gc->pub.connection, frame);
    }

    return others;
}


static void
ngx_http_wt_glue_limits_tell(ngx_http_wt_glue_conn_t *gc, ngx_uint_t bidi,
    uint64_t max, uint64_t used, ngx_uint_t others)
{
    uint64_t                   left, window;
    ngx_quic_frame_t          *frame;
    ngx_quic_connection_t     *qc;
    ngx_http_wt_glue_limit_t  *limit;

    limit = &gc->limits[bidi];

    if (max == limit->told) {
        return;
    }

    qc = ngx_quic_get_connection(gc->pub.connection);

    window = bidi ? qc->tp.initial_max_streams_bidi
                  : qc->tp.initial_max_streams_uni;

    left = (used < limit->told) ? limit->told - used : 0;

    if (!others && left * 4 >= window * 3) {
        return;
    }

    frame = ngx_quic_alloc_frame(gc->pub.connection);
    if (frame == NULL) {
        return;
    }

    frame->level = NGX_HTTP_WT_LEVEL_APP;
    frame->type = NGX_QUIC_FT_MAX_STREAMS;
    frame->u.max_streams.limit = max;
    frame->u.max_streams.bidi = bidi;

    ngx_quic_queue_frame(qc, frame);

    limit->told = max;
}
