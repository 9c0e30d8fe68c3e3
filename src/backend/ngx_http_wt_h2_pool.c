/*
 * HTTP/2 to workers: connections, made on demand and shared by the streams of
 * this process.
 *
 * A stream waits in its host's queue until the host's event runs, so nothing
 * is called from within ngx_http_wt_h2_open().  A connection is given to
 * streams when the peer's SETTINGS have come: before that it is not known how
 * many it takes.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_event_connect.h>
#include <ngx_http.h>
#include <ngx_http_wt_h2.h>
#include <ngx_http_wt_h2_internal.h>
#include <ngx_http_wt_tls.h>


/* how long a full backlog is given to become shorter, in milliseconds */
#define NGX_HTTP_WT_H2_MIN_DELAY  5
#define NGX_HTTP_WT_H2_MAX_DELAY  50

/* and between connections, if one more is wanted but cannot be made */
#define NGX_HTTP_WT_H2_MIN_PAUSE  100
#define NGX_HTTP_WT_H2_MAX_PAUSE  1000


static ngx_http_wt_h2_host_t *ngx_http_wt_h2_host(ngx_http_wt_h2_peer_t *peer);
static ngx_int_t ngx_http_wt_h2_host_is(ngx_http_wt_h2_host_t *host,
    ngx_http_wt_h2_peer_t *peer);
static ngx_http_wt_h2_host_t *ngx_http_wt_h2_host_create(
    ngx_http_wt_h2_peer_t *peer);
static void ngx_http_wt_h2_wait_handler(ngx_event_t *ev);
static void ngx_http_wt_h2_host_handler(ngx_event_t *ev);
static ngx_http_wt_h2_t *ngx_http_wt_h2_host_slot(ngx_http_wt_h2_host_t *host);
static ngx_uint_t ngx_http_wt_h2_host_needs(ngx_http_wt_h2_host_t *host);
static void ngx_http_wt_h2_host_rest(ngx_http_wt_h2_host_t *host);
static void ngx_http_wt_h2_give_up(ngx_http_wt_h2_host_t *host,
    ngx_http_wt_h2_end_e how, ngx_uint_t timedout);
static ngx_uint_t ngx_http_wt_h2_host_hopes(ngx_http_wt_h2_host_t *host);
static void ngx_http_wt_h2_host_retry_handler(ngx_event_t *ev);

static ngx_int_t ngx_http_wt_h2_connect(ngx_http_wt_h2_host_t *host);
static ngx_int_t ngx_http_wt_h2_try(ngx_http_wt_h2_t *h2);
static void ngx_http_wt_h2_retry_handler(ngx_event_t *ev);
static void ngx_http_wt_h2_connect_handler(ngx_event_t *ev);
static void ngx_http_wt_h2_connected(ngx_http_wt_h2_t *h2);
static void ngx_http_wt_h2_tls_done(ngx_connection_t *c, ngx_int_t rc);
static void ngx_http_wt_h2_begin(ngx_http_wt_h2_t *h2);
static void ngx_http_wt_h2_timeout_handler(ngx_event_t *ev);
static u_char *ngx_http_wt_h2_log_error(ngx_log_t *log, u_char *buf,
    size_t len);


static ngx_queue_t  ngx_http_wt_h2_hosts = {
    &ngx_http_wt_h2_hosts,
    &ngx_http_wt_h2_hosts
};


ngx_int_t
ngx_http_wt_h2_open(ngx_http_wt_h2_stream_t *st, ngx_http_wt_h2_peer_t *peer)
{
    void                        *data;
    ngx_http_wt_h2_host_t       *host;
    const ngx_http_wt_h2_ops_t  *ops;

    host = ngx_http_wt_h2_host(peer);
    if (host == NULL) {
        return NGX_ERROR;
    }

    host->conf = peer->conf;
    host->keepalive = peer->keepalive;

    ops = st->ops;
    data = st->data;

    ngx_memzero(st, sizeof(ngx_http_wt_h2_stream_t));

    st->ops = ops;
    st->data = data;
    st->conf = peer->conf;
    st->host = host;

    ngx_queue_insert_tail(&host->waiting, &st->queue);
    host->nwaiting++;

    st->timer.handler = ngx_http_wt_h2_wait_handler;
    st->timer.data = st;
    st->timer.log = ngx_cycle->log;

    ngx_add_timer(&st->timer, peer->conf->connect_timeout);

    ngx_http_wt_h2_post(host);

    return NGX_OK;
}


static ngx_http_wt_h2_host_t *
ngx_http_wt_h2_host(ngx_http_wt_h2_peer_t *peer)
{
    ngx_queue_t            *q;
    ngx_http_wt_h2_host_t  *host;

    for (q = ngx_queue_head(&ngx_http_wt_h2_hosts);
         q != ngx_queue_sentinel(&ngx_http_wt_h2_hosts);
         q = ngx_queue_next(q))
    {
        host = ngx_queue_data(q, ngx_http_wt_h2_host_t, queue);

        if (ngx_http_wt_h2_host_is(host, peer)) {
            return host;
        }
    }

    return ngx_http_wt_h2_host_create(peer);
}


static ngx_int_t
ngx_http_wt_h2_host_is(ngx_http_wt_h2_host_t *host,
    ngx_http_wt_h2_peer_t *peer)
{
    if (host->window != peer->window
        || ngx_cmp_sockaddr(&host->sockaddr.sockaddr, host->socklen,
                            peer->sockaddr, peer->socklen, 1)
           != NGX_OK
        || host->ssl != peer->conf->ssl)
    {
        return 0;
    }

    return host->ssl == NULL
           || (host->ssl_verify == peer->conf->ssl_verify
               && host->ssl_server_name == peer->conf->ssl_server_name
               && host->ssl_name.len == peer->ssl_name.len
               && ngx_memcmp(host->ssl_name.data, peer->ssl_name.data,
                             peer->ssl_name.len)
                  == 0);
}


static ngx_http_wt_h2_host_t *
ngx_http_wt_h2_host_create(ngx_http_wt_h2_peer_t *peer)
{
    u_char                 *p;
    size_t                  size;
    ngx_http_wt_h2_host_t  *host;

    if (peer->socklen > (socklen_t) sizeof(ngx_sockaddr_t)) {
        return NULL;
    }

    size = sizeof(ngx_http_wt_h2_host_t) + peer->name->len
           + peer->ssl_name.len;

    host = ngx_calloc(size, ngx_cycle->log);
    if (host == NULL) {
        return NULL;
    }

    p = (u_char *) host + sizeof(ngx_http_wt_h2_host_t);

    host->name.data = p;
    host->name.len = peer->name->len;
    p = ngx_cpymem(p, peer->name->data, peer->name->len);

    host->ssl_name.data = p;
    host->ssl_name.len = peer->ssl_name.len;

    if (peer->ssl_name.len) {
        ngx_memcpy(p, peer->ssl_name.data, peer->ssl_name.len);
    }

    ngx_memcpy(&host->sockaddr, peer->sockaddr, peer->socklen);

    host->socklen = peer->socklen;
    host->ssl = peer->conf->ssl;
    host->ssl_verify = peer->conf->ssl_verify;
    host->ssl_server_name = peer->conf->ssl_server_name;
    host->window = peer->window;

    ngx_queue_init(&host->connections);
    ngx_queue_init(&host->waiting);

    host->event.handler = ngx_http_wt_h2_host_handler;
    host->event.data = host;
    host->event.log = ngx_cycle->log;

    host->retry.handler = ngx_http_wt_h2_host_retry_handler;
    host->retry.data = host;
    host->retry.log = ngx_cycle->log;

    ngx_queue_insert_head(&ngx_http_wt_h2_hosts, &host->queue);

    return host;
}


void
ngx_http_wt_h2_leave(ngx_http_wt_h2_stream_t *st)
{
    ngx_http_wt_h2_host_t  *host;

    host = st->host;

    if (host == NULL) {
        return;
    }

    st->host = NULL;

    ngx_queue_remove(&st->queue);
    host->nwaiting--;

    if (st->timer.timer_set) {
        ngx_del_timer(&st->timer);
    }

    ngx_http_wt_h2_post(host);
}


static void
ngx_http_wt_h2_wait_handler(ngx_event_t *ev)
{
    ngx_http_wt_h2_host_t    *host;
    ngx_http_wt_h2_stream_t  *st;

    st = ev->data;
    host = st->host;

    if (host->nconnecting == 0) {

        /* else there will be a message of why not */

        ngx_log_error(NGX_LOG_ERR, ev->log, NGX_ETIMEDOUT,
                      "no stream of webtransport worker \"%V\" got free",
                      &host->name);
    }

    st->timedout = 1;
    ngx_http_wt_h2_finish(st, NGX_HTTP_WT_H2_UNREACHABLE);
}


void
ngx_http_wt_h2_post(ngx_http_wt_h2_host_t *host)
{
    ngx_post_event(&host->event, &ngx_posted_events);
}


static void
ngx_http_wt_h2_host_handler(ngx_event_t *ev)
{
    ngx_int_t                 rc;
    ngx_queue_t              *q;
    ngx_http_wt_h2_t         *h2;
    ngx_http_wt_h2_host_t    *host;
    ngx_http_wt_h2_stream_t  *st;

    host = ev->data;

    ngx_log_debug3(NGX_LOG_DEBUG_HTTP, ev->log, 0,
                   "wt h2 host %V waiting:%ui connecting:%ui", &host->name,
                   host->nwaiting, host->nconnecting);

    while (!ngx_queue_empty(&host->waiting)) {

        h2 = ngx_http_wt_h2_host_slot(host);
        if (h2 == NULL) {
            break;
        }

        q = ngx_queue_head(&host->waiting);
        st = ngx_queue_data(q, ngx_http_wt_h2_stream_t, queue);

        ngx_http_wt_h2_attach(h2, st);
    }

    while (!host->retry.timer_set
           && host->nconnecting < ngx_http_wt_h2_host_needs(host))
    {
        rc = ngx_http_wt_h2_connect(host);

        if (rc != NGX_OK) {
            ngx_http_wt_h2_give_up(host, (rc == NGX_ERROR)
                                         ? NGX_HTTP_WT_H2_ERROR
                                         : NGX_HTTP_WT_H2_UNREACHABLE, 0);
            break;
        }
    }

    if (!ngx_queue_empty(&host->waiting)) {
        return;
    }

    if (!ngx_queue_empty(&host->connections)) {
        ngx_http_wt_h2_host_rest(host);
        return;
    }

    if (ev->posted) {
        ngx_delete_posted_event(ev);
    }

    if (host->retry.timer_set) {
        ngx_del_timer(&host->retry);
    }

    ngx_queue_remove(&host->queue);
    ngx_free(host);
}


/* the oldest connection with a free slot, so that others become idle */

static ngx_http_wt_h2_t *
ngx_http_wt_h2_host_slot(ngx_http_wt_h2_host_t *host)
{
    ngx_queue_t       *q;
    ngx_http_wt_h2_t  *h2;

    for (q = ngx_queue_head(&host->connections);
         q != ngx_queue_sentinel(&host->connections);
         q = ngx_queue_next(q))
    {
        h2 = ngx_queue_data(q, ngx_http_wt_h2_t, queue);

        if (ngx_http_wt_h2_slots(h2)) {
            return h2;
        }
    }

    return NULL;
}


/* how many connections should be in the making */

static ngx_uint_t
ngx_http_wt_h2_host_needs(ngx_http_wt_h2_host_t *host)
{
    ngx_queue_t       *q;
    ngx_http_wt_h2_t  *h2;

    if (host->nwaiting == 0) {
        return 0;
    }

    if (!host->known) {
        return 1;
    }

    if (host->max_streams) {
        return (host->nwaiting - 1) / host->max_streams + 1;
    }

    /* it takes none now: another connection would hear the same */

    for (q = ngx_queue_head(&host->connections);
         q != ngx_queue_sentinel(&host->connections);
         q = ngx_queue_next(q))
    {
        h2 = ngx_queue_data(q, ngx_http_wt_h2_t, queue);

        if (h2->ready && !h2->goaway && !h2->failed) {
            return 0;
        }
    }

    return 1;
}


/* connections without streams were kept for those that waited */

static void
ngx_http_wt_h2_host_rest(ngx_http_wt_h2_host_t *host)
{
    ngx_queue_t       *q;
    ngx_http_wt_h2_t  *h2;

    for (q = ngx_queue_head(&host->connections);
         q != ngx_queue_sentinel(&host->connections);
         q = ngx_queue_next(q))
    {
        h2 = ngx_queue_data(q, ngx_http_wt_h2_t, queue);

        if (h2->ready && !h2->idle && ngx_queue_empty(&h2->streams)) {
            ngx_http_wt_h2_post_write(h2);
        }
    }
}


static void
ngx_http_wt_h2_give_up(ngx_http_wt_h2_host_t *host, ngx_http_wt_h2_end_e how,
    ngx_uint_t timedout)
{
    ngx_queue_t              *q, list;
    ngx_http_wt_h2_stream_t  *st;

    if (ngx_queue_empty(&host->waiting)) {
        return;
    }

    if (ngx_http_wt_h2_host_hopes(host)) {

        /* they wait on, for their time; the next attempt is not made at once */

        if (!host->retry.timer_set) {
            host->delay = ngx_max(2 * host->delay, NGX_HTTP_WT_H2_MIN_PAUSE);
            host->delay = ngx_min(host->delay, NGX_HTTP_WT_H2_MAX_PAUSE);

            ngx_add_timer(&host->retry, host->delay);
        }

        return;
    }

    /* those who try again at once are not among them */

    ngx_queue_init(&list);
    ngx_queue_add(&list, &host->waiting);
    ngx_queue_init(&host->waiting);

    while (!ngx_queue_empty(&list)) {

        q = ngx_queue_head(&list);
        st = ngx_queue_data(q, ngx_http_wt_h2_stream_t, queue);

        st->timedout = timedout;
        ngx_http_wt_h2_finish(st, how);
    }
}


/* there is another connection that has, or may get, a stream to give */

static ngx_uint_t
ngx_http_wt_h2_host_hopes(ngx_http_wt_h2_host_t *host)
{
    ngx_queue_t       *q;
    ngx_http_wt_h2_t  *h2;

    for (q = ngx_queue_head(&host->connections);
         q != ngx_queue_sentinel(&host->connections);
         q = ngx_queue_next(q))
    {
        h2 = ngx_queue_data(q, ngx_http_wt_h2_t, queue);

        if (!h2->suspect && !h2->goaway && !h2->failed && !h2->broken) {
            return 1;
        }
    }

    return 0;
}


static void
ngx_http_wt_h2_host_retry_handler(ngx_event_t *ev)
{
    ngx_http_wt_h2_post(ev->data);
}


/*
 * NGX_DECLINED: it has failed at once, and there is none; NGX_ERROR: because
 * we have no memory or no sockets.  Both were logged.
 */

static ngx_int_t
ngx_http_wt_h2_connect(ngx_http_wt_h2_host_t *host)
{
    ngx_int_t          rc;
    ngx_log_t         *log;
    ngx_pool_t        *pool;
    ngx_http_wt_h2_t  *h2;

    pool = ngx_create_pool(NGX_DEFAULT_POOL_SIZE, ngx_cycle->log);
    if (pool == NULL) {
        return NGX_ERROR;
    }

    h2 = ngx_pcalloc(pool, sizeof(ngx_http_wt_h2_t));
    if (h2 == NULL) {
        ngx_destroy_pool(pool);
        return NGX_ERROR;
    }

    log = &h2->log;

    *log = *ngx_cycle->log;
    log->handler = ngx_http_wt_h2_log_error;
    log->data = h2;
    log->action = "connecting to webtransport worker";

    pool->log = log;

    h2->pool = pool;
    h2->host = host;
    h2->delay = NGX_HTTP_WT_H2_MIN_DELAY;
    h2->send_timeout = host->conf->send_timeout;

    ngx_queue_init(&h2->streams);
    ngx_queue_init(&h2->writable);

    h2->timer.handler = ngx_http_wt_h2_timeout_handler;
    h2->timer.data = h2;
    h2->timer.log = log;

    h2->retry.handler = ngx_http_wt_h2_retry_handler;
    h2->retry.data = h2;
    h2->retry.log = log;

    ngx_queue_insert_tail(&host->connections, &h2->queue);
    host->nconnecting++;

    ngx_add_timer(&h2->timer, host->conf->connect_timeout);

    rc = ngx_http_wt_h2_try(h2);

    if (rc != NGX_OK) {
        ngx_http_wt_h2_free(h2);
    }

    return rc;
}


/*
 * nginx logs a full backlog as if the worker were dead, so it gets a log that
 * keeps silent about errors.
 */

static ngx_int_t
ngx_http_wt_h2_try(ngx_http_wt_h2_t *h2)
{
    ngx_err_t               err;
    ngx_int_t               rc;
    ngx_log_t               log;
    ngx_connection_t       *c;
    ngx_http_wt_h2_host_t  *host;
    ngx_peer_connection_t   pc;

    host = h2->host;

    log = h2->log;
    log.log_level = NGX_LOG_ALERT;

    ngx_memzero(&pc, sizeof(ngx_peer_connection_t));

    pc.sockaddr = &host->sockaddr.sockaddr;
    pc.socklen = host->socklen;
    pc.name = &host->name;
    pc.get = ngx_event_get_peer;
    pc.so_keepalive = host->conf->socket_keepalive;
    pc.log = &log;
    pc.log_error = NGX_ERROR_ERR;

    ngx_set_socket_errno(0);

    rc = ngx_event_connect_peer(&pc);

    if (rc == NGX_ERROR) {

        /* nginx has logged it */

        return NGX_ERROR;
    }

    if (rc == NGX_DECLINED) {

        err = ngx_socket_errno;

        if (err == NGX_EAGAIN && pc.sockaddr->sa_family == AF_UNIX) {

            /* the listen queue is full, which is not a failure */

            ngx_add_timer(&h2->retry, h2->delay);

            h2->delay = ngx_min(2 * h2->delay, NGX_HTTP_WT_H2_MAX_DELAY);

            return NGX_OK;
        }

        ngx_log_error(NGX_LOG_ERR, &h2->log, err, "connect() to %V failed",
                      &host->name);
        return NGX_DECLINED;
    }

    c = pc.connection;

    h2->connection = c;
    h2->log.connection = c->number;

    c->log = &h2->log;
    c->read->log = c->log;
    c->write->log = c->log;
    c->pool = h2->pool;
    c->data = h2;

    c->read->handler = ngx_http_wt_h2_connect_handler;
    c->write->handler = ngx_http_wt_h2_connect_handler;

    if (rc == NGX_OK) {
        ngx_post_event(c->write, &ngx_posted_events);
    }

    return NGX_OK;
}


static void
ngx_http_wt_h2_retry_handler(ngx_event_t *ev)
{
    ngx_int_t          rc;
    ngx_http_wt_h2_t  *h2;

    h2 = ev->data;

    ngx_log_debug0(NGX_LOG_DEBUG_HTTP, ev->log, 0, "wt h2 connect again");

    rc = ngx_http_wt_h2_try(h2);

    if (rc != NGX_OK) {
        h2->exhausted = (rc == NGX_ERROR);
        ngx_http_wt_h2_unreachable(h2, 0);
    }
}


static void
ngx_http_wt_h2_connect_handler(ngx_event_t *ev)
{
    int                err;
    socklen_t          len;
    ngx_connection_t  *c;
    ngx_http_wt_h2_t  *h2;

    c = ev->data;
    h2 = c->data;

    ngx_log_debug1(NGX_LOG_DEBUG_HTTP, c->log, 0,
                   "wt h2 connect write:%d", ev->write);

    if (c->close) {

        /* worker_shutdown_timeout */

        ngx_http_wt_h2_unreachable(h2, 0);
        return;
    }

    err = 0;
    len = sizeof(int);

    if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, (void *) &err, &len) == -1) {
        err = ngx_socket_errno;
    }

    if (err) {
        ngx_log_error(NGX_LOG_ERR, c->log, err, "connect() to %V failed",
                      &h2->host->name);

        ngx_http_wt_h2_unreachable(h2, err == NGX_ETIMEDOUT);
        return;
    }

    if (!c->write->ready) {

        /* it was the other event that woke us */

        return;
    }

    ngx_http_wt_h2_connected(h2);
}


static void
ngx_http_wt_h2_connected(ngx_http_wt_h2_t *h2)
{
    ngx_connection_t       *c;
    ngx_http_wt_h2_host_t  *host;

    c = h2->connection;
    host = h2->host;

    /* it logs what fails, and works without */

    (void) ngx_tcp_nodelay(c);

    if (host->ssl == NULL) {
        ngx_http_wt_h2_begin(h2);
        return;
    }

    c->log->action = "TLS handshaking with webtransport worker";

    ngx_http_wt_tls_connect(c, host->conf, &host->ssl_name,
                            ngx_http_wt_h2_tls_done);
}


static void
ngx_http_wt_h2_tls_done(ngx_connection_t *c, ngx_int_t rc)
{
    unsigned int          len;
    ngx_http_wt_h2_t     *h2;
    const unsigned char  *alpn;

    h2 = c->data;

    if (rc != NGX_OK) {
        h2->exhausted = (rc == NGX_ERROR);
        ngx_http_wt_h2_unreachable(h2, 0);
        return;
    }

    SSL_get0_alpn_selected(c->ssl->connection, &alpn, &len);

    if (len != 2 || ngx_memcmp(alpn, "h2", 2) != 0) {
        ngx_log_error(NGX_LOG_ERR, c->log, 0,
                      "webtransport worker does not offer HTTP/2: "
                      "it has not selected \"h2\" with ALPN");

        ngx_http_wt_h2_unreachable(h2, 0);
        return;
    }

    ngx_http_wt_h2_begin(h2);
}


static void
ngx_http_wt_h2_begin(ngx_http_wt_h2_t *h2)
{
    if (ngx_http_wt_h2_start(h2) != NGX_OK) {
        ngx_http_wt_h2_exhausted(h2);
        ngx_http_wt_h2_unreachable(h2, 0);
    }
}


void
ngx_http_wt_h2_limits(ngx_http_wt_h2_t *h2, uint32_t max_streams)
{
    ngx_http_wt_h2_host_t  *host;

    host = h2->host;

    host->known = 1;
    host->max_streams = max_streams;

    if (!h2->ready) {
        h2->ready = 1;
        host->nconnecting--;
        host->delay = 0;

        ngx_del_timer(&h2->timer);

        h2->log.action = "talking to webtransport worker";
    }

    ngx_http_wt_h2_post(host);
}


/* it takes too long, was idle long enough or does not answer the PING */

static void
ngx_http_wt_h2_timeout_handler(ngx_event_t *ev)
{
    ngx_http_wt_h2_t  *h2;

    h2 = ev->data;

    if (h2->suspect) {
        ngx_http_wt_h2_silent(h2);
        return;
    }

    if (h2->ready) {
        ngx_http_wt_h2_shutdown(h2);
        return;
    }

    if (h2->connection == NULL) {
        ngx_log_error(NGX_LOG_ERR, &h2->log, NGX_EAGAIN,
                      "connect() to %V failed", &h2->host->name);

    } else if (h2->session == NULL && h2->connection->ssl == NULL) {
        ngx_log_error(NGX_LOG_ERR, &h2->log, NGX_ETIMEDOUT,
                      "connect() to %V failed", &h2->host->name);

    } else {
        ngx_log_error(NGX_LOG_ERR, &h2->log, NGX_ETIMEDOUT,
                      "webtransport worker does not answer");
    }

    ngx_http_wt_h2_unreachable(h2, 1);
}


void
ngx_http_wt_h2_unreachable(ngx_http_wt_h2_t *h2, ngx_uint_t timedout)
{
    ngx_http_wt_h2_end_e    how;
    ngx_http_wt_h2_host_t  *host;

    host = h2->host;
    how = h2->exhausted ? NGX_HTTP_WT_H2_ERROR : NGX_HTTP_WT_H2_UNREACHABLE;

    ngx_http_wt_h2_free(h2);
    ngx_http_wt_h2_give_up(host, how, timedout);
}


void
ngx_http_wt_h2_free(ngx_http_wt_h2_t *h2)
{
    ngx_connection_t  *c;

    c = h2->connection;

    ngx_queue_remove(&h2->queue);

    if (!h2->ready) {
        h2->host->nconnecting--;
    }

    ngx_http_wt_h2_post(h2->host);

    if (h2->timer.timer_set) {
        ngx_del_timer(&h2->timer);
    }

    if (h2->retry.timer_set) {
        ngx_del_timer(&h2->retry);
    }

    if (h2->session) {
        nghttp2_session_del(h2->session);
    }

    if (h2->start) {

        /* in the middle of a frame there is no polite end */

        ngx_free(h2->start);
        c->error = 1;
    }

    if (c) {
        ngx_http_wt_tls_close(c);
        ngx_close_connection(c);
    }

    ngx_destroy_pool(h2->pool);
}


static u_char *
ngx_http_wt_h2_log_error(ngx_log_t *log, u_char *buf, size_t len)
{
    u_char            *p;
    ngx_http_wt_h2_t  *h2;

    h2 = log->data;

    p = ngx_snprintf(buf, len, " while %s", log->action);
    len -= p - buf;

    return ngx_snprintf(p, len, ", upstream: \"%V\"", &h2->host->name);
}
