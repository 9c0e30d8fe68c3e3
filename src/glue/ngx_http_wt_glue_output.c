/*
 * Datagram output: when datagrams leave, and what goes before them.
 */


#include <ngx_http_wt_glue_internal.h>


/* how long to wait for a full socket buffer, as nginx does */
#define NGX_HTTP_WT_GLUE_SOCKET_RETRY    10

/* packets sent in one go, so that one connection does not starve others */
#define NGX_HTTP_WT_GLUE_DATAGRAM_BURST  64


static void ngx_http_wt_glue_push_handler(ngx_event_t *ev);
static ngx_uint_t ngx_http_wt_glue_datagrams_first(
    ngx_http_wt_glue_conn_t *gc);
static void ngx_http_wt_glue_datagrams_handler(ngx_event_t *ev);


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
 * nginx posts its push event when it has frames to send or owes an
 * acknowledgement, and when the congestion window opens, by acknowledgement
 * or by loss.
 */

static void
ngx_http_wt_glue_push_handler(ngx_event_t *ev)
{
    ngx_uint_t                freed;
    ngx_http_wt_glue_conn_t  *gc;

    gc = ngx_http_wt_glue_get_conn(ev->data);

    ngx_http_wt_glue_limits(gc);

    if (ngx_http_wt_glue_datagrams_first(gc)) {

        if (gc->datagrams.posted) {
            ngx_delete_posted_event(&gc->datagrams);
        }

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


/*
 * Datagrams and the streams' data take turns to go first, or the one would
 * starve the other.  Where nginx has nothing but an acknowledgement, it goes
 * along with the datagrams instead of in a packet of its own.
 */

static ngx_uint_t
ngx_http_wt_glue_datagrams_first(ngx_http_wt_glue_conn_t *gc)
{
    ngx_quic_send_ctx_t    *ctx;
    ngx_quic_connection_t  *qc;

    gc->nginx_first = !gc->nginx_first;

    if (!gc->datagrams_blocked && !gc->datagrams.posted) {
        return 0;
    }

    if (!gc->nginx_first) {
        return 1;
    }

    qc = ngx_quic_get_connection(gc->pub.connection);
    ctx = ngx_quic_get_send_ctx(qc, NGX_HTTP_WT_LEVEL_APP);

    return ngx_queue_empty(&ctx->frames);
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
    ngx_uint_t              left;
    ngx_connection_t       *c;
    ngx_quic_connection_t  *qc;

    c = gc->pub.connection;
    qc = ngx_quic_get_connection(c);

    gc->datagrams_blocked = 0;

    if (qc->closing || gc->pub.data == NULL) {
        return;
    }

    left = NGX_HTTP_WT_GLUE_DATAGRAM_BURST;

    rc = ngx_http_wt_glue_train_resume(gc);

    while (rc == NGX_OK && left) {
        rc = ngx_http_wt_glue_train_send(gc, &left);
    }

    switch (rc) {

    case NGX_OK:
        ngx_post_event(&gc->datagrams, &ngx_posted_next_events);
        break;

    case NGX_BUSY:
        gc->datagrams_blocked = 1;
        break;

    case NGX_AGAIN:
        ngx_add_timer(&gc->datagrams, NGX_HTTP_WT_GLUE_SOCKET_RETRY);
        break;

    case NGX_ERROR:
        ngx_quic_finalize_connection(c, NGX_HTTP_V3_ERR_INTERNAL_ERROR,
                                     "failed to send a datagram");
        break;
    }
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
