/*
 * A bounded queue of datagrams.  The oldest one makes room for the newest.
 */


#ifndef _NGX_HTTP_WT_DATAGRAM_H_INCLUDED_
#define _NGX_HTTP_WT_DATAGRAM_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


/* from the heap; owned by its queue, or by who has taken it */

typedef struct {
    ngx_queue_t               queue;
    uint64_t                  id;          /* for the user of the queue */
    ngx_msec_t                expires;     /* 0: never */
    size_t                    len;
    u_char                    data[1];
} ngx_http_wt_datagram_t;


/* part of its owner, which must call ngx_http_wt_datagram_queue_clear() */

typedef struct {
    ngx_queue_t               queue;
    ngx_uint_t                n;
    ngx_uint_t                max;
    size_t                    bytes;       /* of payload */
} ngx_http_wt_datagram_queue_t;


void ngx_http_wt_datagram_queue_init(ngx_http_wt_datagram_queue_t *q,
    ngx_uint_t max);

/*
 * Copies a datagram into the queue.  Returns how many were lost by that: 0,
 * or 1: the oldest one, or this one if there is no memory.  "ttl" is in
 * milliseconds, 0 for none.
 */
ngx_uint_t ngx_http_wt_datagram_queue_push(ngx_http_wt_datagram_queue_t *q,
    uint64_t id, u_char *data, size_t len, ngx_msec_t ttl, ngx_log_t *log);

/*
 * The oldest datagram that has not expired, or NULL.  It stays in the queue.
 * Adds the number of the expired ones, which are freed, to *dropped.
 */
ngx_http_wt_datagram_t *ngx_http_wt_datagram_queue_head(
    ngx_http_wt_datagram_queue_t *q, uint64_t *dropped);

/* Removes a datagram from its queue and frees it. */
void ngx_http_wt_datagram_queue_delete(ngx_http_wt_datagram_queue_t *q,
    ngx_http_wt_datagram_t *dg);

void ngx_http_wt_datagram_queue_clear(ngx_http_wt_datagram_queue_t *q);


#endif /* _NGX_HTTP_WT_DATAGRAM_H_INCLUDED_ */
