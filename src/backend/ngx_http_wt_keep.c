/*
 * Connections to HTTP/1.1 workers that wait for their next request.
 *
 * nginx's "keepalive" directive does the same for an upstream{}; this is for
 * those without it.  Which connection is whose does not matter: a worker is
 * known by its address, and by the TLS context, of which each location has one
 * of its own.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_event_connect.h>
#include <ngx_http_wt_keep.h>
#include <ngx_http_wt_upstream.h>


/*
 * An idle connection, which is owned by its item, c->data, from put() to
 * take() or until it is closed.
 */

typedef struct {
    ngx_queue_t                 queue;
    ngx_connection_t           *connection;  /* NULL: the item is free */
    ngx_log_t                   log;         /* while it is idle */
    socklen_t                   socklen;
    ngx_sockaddr_t              sockaddr;
} ngx_http_wt_keep_t;


static ngx_uint_t ngx_http_wt_keep_worth(ngx_connection_t *c);
static ngx_uint_t ngx_http_wt_keep_quiet(ngx_connection_t *c);
static ngx_http_wt_keep_t *ngx_http_wt_keep_room(void);
static void ngx_http_wt_keep_rest(ngx_http_wt_keep_t *item,
    ngx_connection_t *c);
static ngx_uint_t ngx_http_wt_keep_fits(ngx_http_wt_keep_t *item,
    ngx_peer_connection_t *pc, ngx_ssl_t *ssl);
static void ngx_http_wt_keep_read_handler(ngx_event_t *rev);
static void ngx_http_wt_keep_write_handler(ngx_event_t *wev);
static ngx_connection_t *ngx_http_wt_keep_remove(ngx_http_wt_keep_t *item);


static ngx_http_wt_keep_t  ngx_http_wt_keep_items[NGX_HTTP_WT_KEEP_MAX];

/* those with a connection, the latest comes first */
static ngx_queue_t         ngx_http_wt_keep_idle = {
    &ngx_http_wt_keep_idle, &ngx_http_wt_keep_idle
};


void
ngx_http_wt_keep_put(ngx_connection_t *c, struct sockaddr *sockaddr,
    socklen_t socklen)
{
    ngx_http_wt_keep_t  *item;

    if (!ngx_http_wt_keep_worth(c) || !ngx_http_wt_keep_quiet(c)) {
        ngx_http_wt_upstream_close_connection(c);
        return;
    }

    item = ngx_http_wt_keep_room();

    item->connection = c;
    item->socklen = socklen;
    ngx_memcpy(&item->sockaddr, sockaddr, socklen);

    ngx_queue_insert_head(&ngx_http_wt_keep_idle, &item->queue);

    ngx_http_wt_keep_rest(item, c);

    ngx_log_debug1(NGX_LOG_DEBUG_HTTP, c->log, 0,
                   "wt connection kept, requests:%ui", c->requests);
}


static ngx_uint_t
ngx_http_wt_keep_worth(ngx_connection_t *c)
{
    return !ngx_exiting && !ngx_terminate
           && c->requests < NGX_HTTP_WT_KEEP_REQUESTS
           && ngx_current_msec - c->start_time <= NGX_HTTP_WT_KEEP_TIME;
}


/*
 * Has the connection not ended, and are there no bytes nobody has asked for?
 * It is looked at for real: an event may not have been told yet.
 */

static ngx_uint_t
ngx_http_wt_keep_quiet(ngx_connection_t *c)
{
    char     buf[1];
    ssize_t  n;

    if (c->error
        || c->read->eof || c->read->error || c->read->timedout
        || c->write->error || c->write->timedout)
    {
        return 0;
    }

    if (c->ssl && SSL_pending(c->ssl->connection)) {
        return 0;
    }

    n = recv(c->fd, buf, 1, MSG_PEEK);

    if (n != -1 || ngx_socket_errno != NGX_EAGAIN) {
        return 0;
    }

    c->read->ready = 0;

    return ngx_handle_read_event(c->read, 0) == NGX_OK;
}


static ngx_http_wt_keep_t *
ngx_http_wt_keep_room(void)
{
    ngx_uint_t           i;
    ngx_queue_t         *q;
    ngx_http_wt_keep_t  *item;

    for (i = 0; i < NGX_HTTP_WT_KEEP_MAX; i++) {
        item = &ngx_http_wt_keep_items[i];

        if (item->connection == NULL) {
            return item;
        }
    }

    q = ngx_queue_last(&ngx_http_wt_keep_idle);
    item = ngx_queue_data(q, ngx_http_wt_keep_t, queue);

    ngx_http_wt_upstream_close_connection(ngx_http_wt_keep_remove(item));

    return item;
}


static void
ngx_http_wt_keep_rest(ngx_http_wt_keep_t *item, ngx_connection_t *c)
{
    ngx_log_t  *log;

    /* the present one ends with the call */

    log = &item->log;

    *log = *ngx_cycle->log;
    log->connection = c->number;
    log->action = "keeping connection to webtransport worker";

    c->log = log;
    c->read->log = log;
    c->write->log = log;
    c->pool->log = log;

    /* a worker may go, or be gone, while it has nothing to do for us */

    c->log_error = NGX_ERROR_INFO;

    c->data = item;
    c->read->handler = ngx_http_wt_keep_read_handler;
    c->write->handler = ngx_http_wt_keep_write_handler;

    if (c->read->posted) {
        ngx_delete_posted_event(c->read);
    }

    if (c->write->posted) {
        ngx_delete_posted_event(c->write);
    }

    if (c->write->timer_set) {
        ngx_del_timer(c->write);
    }

    ngx_add_timer(c->read, NGX_HTTP_WT_KEEP_TIMEOUT);

    c->idle = 1;
    ngx_reusable_connection(c, 1);
}


ngx_int_t
ngx_http_wt_keep_take(ngx_peer_connection_t *pc, ngx_ssl_t *ssl)
{
    ngx_queue_t         *q, *next;
    ngx_connection_t    *c;
    ngx_http_wt_keep_t  *item;

    for (q = ngx_queue_head(&ngx_http_wt_keep_idle);
         q != ngx_queue_sentinel(&ngx_http_wt_keep_idle);
         q = next)
    {
        next = ngx_queue_next(q);
        item = ngx_queue_data(q, ngx_http_wt_keep_t, queue);

        if (!ngx_http_wt_keep_fits(item, pc, ssl)) {
            continue;
        }

        c = ngx_http_wt_keep_remove(item);

        if (!ngx_http_wt_keep_quiet(c)) {
            ngx_http_wt_upstream_close_connection(c);
            continue;
        }

        c->data = NULL;
        c->sent = 0;

        pc->connection = c;
        pc->cached = 1;

        return NGX_DONE;
    }

    return NGX_DECLINED;
}


static ngx_uint_t
ngx_http_wt_keep_fits(ngx_http_wt_keep_t *item, ngx_peer_connection_t *pc,
    ngx_ssl_t *ssl)
{
    ngx_connection_t  *c;

    c = item->connection;

    if (ngx_cmp_sockaddr(&item->sockaddr.sockaddr, item->socklen,
                         pc->sockaddr, pc->socklen, 1)
        != NGX_OK)
    {
        return 0;
    }

    if (c->ssl == NULL || ssl == NULL) {
        return c->ssl == NULL && ssl == NULL;
    }

    return SSL_get_SSL_CTX(c->ssl->connection) == ssl->ctx;
}


static void
ngx_http_wt_keep_read_handler(ngx_event_t *rev)
{
    ngx_connection_t  *c;

    c = rev->data;

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, c->log, 0,
                   "wt kept connection read, timedout:%d close:%d",
                   rev->timedout, c->close);

    /* c->close: nginx exits, or needs connections for others */

    if (!c->close && ngx_http_wt_keep_quiet(c)) {
        return;
    }

    ngx_http_wt_upstream_close_connection(ngx_http_wt_keep_remove(c->data));
}


static void
ngx_http_wt_keep_write_handler(ngx_event_t *wev)
{
    ngx_log_debug0(NGX_LOG_DEBUG_HTTP, wev->log, 0,
                   "wt kept connection write");
}


/* the connection is nobody's now */

static ngx_connection_t *
ngx_http_wt_keep_remove(ngx_http_wt_keep_t *item)
{
    ngx_connection_t  *c;

    c = item->connection;
    item->connection = NULL;

    ngx_queue_remove(&item->queue);

    c->idle = 0;
    ngx_reusable_connection(c, 0);

    if (c->read->timer_set) {
        ngx_del_timer(c->read);
    }

    return c;
}
