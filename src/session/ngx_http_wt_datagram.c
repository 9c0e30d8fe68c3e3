#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_http_wt_datagram.h>


void
ngx_http_wt_datagram_queue_init(ngx_http_wt_datagram_queue_t *q,
    ngx_uint_t max)
{
    ngx_queue_init(&q->queue);

    q->n = 0;
    q->max = max;
    q->bytes = 0;
}


ngx_uint_t
ngx_http_wt_datagram_queue_push(ngx_http_wt_datagram_queue_t *q, uint64_t id,
    u_char *data, size_t len, ngx_msec_t ttl, ngx_log_t *log)
{
    ngx_uint_t               lost;
    ngx_http_wt_datagram_t  *dg;

    dg = ngx_alloc(offsetof(ngx_http_wt_datagram_t, data) + len, log);
    if (dg == NULL) {
        return 1;
    }

    lost = 0;

    if (q->n >= q->max) {
        ngx_http_wt_datagram_queue_delete(q,
                             ngx_queue_data(ngx_queue_head(&q->queue),
                                            ngx_http_wt_datagram_t, queue));
        lost = 1;
    }

    dg->id = id;
    dg->expires = ttl ? ngx_max(ngx_current_msec + ttl, 1) : 0;
    dg->len = len;

    if (len) {
        ngx_memcpy(dg->data, data, len);
    }

    ngx_queue_insert_tail(&q->queue, &dg->queue);
    q->n++;
    q->bytes += len;

    return lost;
}


ngx_http_wt_datagram_t *
ngx_http_wt_datagram_queue_head(ngx_http_wt_datagram_queue_t *q,
    uint64_t *dropped)
{
    ngx_http_wt_datagram_t  *dg;

    while (!ngx_queue_empty(&q->queue)) {

        dg = ngx_queue_data(ngx_queue_head(&q->queue),
                            ngx_http_wt_datagram_t, queue);

        if (dg->expires == 0
            || (ngx_msec_int_t) (dg->expires - ngx_current_msec) > 0)
        {
            return dg;
        }

        (*dropped)++;
        ngx_http_wt_datagram_queue_delete(q, dg);
    }

    return NULL;
}


void
ngx_http_wt_datagram_queue_delete(ngx_http_wt_datagram_queue_t *q,
    ngx_http_wt_datagram_t *dg)
{
    ngx_queue_remove(&dg->queue);
    q->n--;
    q->bytes -= dg->len;

    ngx_free(dg);
}


void
ngx_http_wt_datagram_queue_clear(ngx_http_wt_datagram_queue_t *q)
{
    while (!ngx_queue_empty(&q->queue)) {
        ngx_http_wt_datagram_queue_delete(q,
                             ngx_queue_data(ngx_queue_head(&q->queue),
                                            ngx_http_wt_datagram_t, queue));
    }
}
