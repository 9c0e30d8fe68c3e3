/*
 * Choosing a worker and connecting to it.
 *
 * nginx's balancers know a request by r->upstream, and so does the log: the
 * session's request gets one, of which only the peer's part is used.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_event_connect.h>
#include <ngx_http.h>
#include <ngx_http_wt_keep.h>
#include <ngx_http_wt_tls.h>
#include <ngx_http_wt_upstream.h>


#define ngx_http_wt_upstream_log(up, err, fmt, ...)                           \
    ngx_log_error(NGX_LOG_ERR, (up)->request->connection->log, err,           \
                  "webtransport session %V: " fmt, (up)->id, ##__VA_ARGS__)


/* how long a full backlog is given to become shorter, in milliseconds */
#define NGX_HTTP_WT_UPSTREAM_MIN_DELAY  5
#define NGX_HTTP_WT_UPSTREAM_MAX_DELAY  50


static ngx_int_t ngx_http_wt_upstream_states(ngx_http_request_t *r);
static void ngx_http_wt_upstream_try(ngx_http_wt_upstream_t *up);
static ngx_int_t ngx_http_wt_upstream_begin(ngx_http_wt_upstream_t *up);
static ngx_int_t ngx_http_wt_upstream_open(ngx_http_wt_upstream_t *up);
static ngx_int_t ngx_http_wt_upstream_peer(ngx_http_wt_upstream_t *up);
static ngx_int_t ngx_http_wt_upstream_choose(ngx_http_wt_upstream_t *up);
static ngx_int_t ngx_http_wt_upstream_opened(ngx_http_wt_upstream_t *up,
    ngx_int_t rc);
static ngx_int_t ngx_http_wt_upstream_name(ngx_http_wt_upstream_t *up,
    ngx_str_t *name);
static void ngx_http_wt_upstream_connected(ngx_http_wt_upstream_t *up);
static ngx_int_t ngx_http_wt_upstream_next(ngx_http_wt_upstream_t *up,
    ngx_uint_t status);
static ngx_uint_t ngx_http_wt_upstream_failure(ngx_uint_t status);
static void ngx_http_wt_upstream_failed(ngx_http_wt_upstream_t *up,
    ngx_uint_t status);
static void ngx_http_wt_upstream_handler(ngx_event_t *ev);
static void ngx_http_wt_upstream_retry_handler(ngx_event_t *ev);
static void ngx_http_wt_upstream_same(ngx_http_wt_upstream_t *up);
static void ngx_http_wt_upstream_close(ngx_http_wt_upstream_t *up);


ngx_int_t
ngx_http_wt_upstream_connect(ngx_http_wt_upstream_t *up)
{
    ngx_http_request_t            *r;
    ngx_http_upstream_t           *u;
    ngx_http_upstream_srv_conf_t  *uscf;

    r = up->request;
    uscf = up->conf->upstream;

    if (ngx_http_upstream_create(r) != NGX_OK
        || ngx_http_wt_upstream_states(r) != NGX_OK)
    {
        return NGX_ERROR;
    }

    u = r->upstream;

    u->conf = up->conf;
    u->upstream = uscf;

    /* failures of the connection are logged by us, with the session's id */

    u->peer.log_error = NGX_ERROR_INFO;
    u->peer.so_keepalive = up->conf->socket_keepalive;

    if (uscf->peer.init(r, uscf) != NGX_OK) {
        return NGX_ERROR;
    }

    u->peer.start_time = ngx_current_msec;

    if (up->conf->next_upstream_tries
        && u->peer.tries > up->conf->next_upstream_tries)
    {
        u->peer.tries = up->conf->next_upstream_tries;
    }

    up->retry.handler = ngx_http_wt_upstream_retry_handler;
    up->retry.data = up;
    up->retry.log = r->connection->log;

    ngx_http_wt_upstream_try(up);

    return NGX_OK;
}


static ngx_int_t
ngx_http_wt_upstream_states(ngx_http_request_t *r)
{
    ngx_http_upstream_state_t  *state;

    if (r->upstream_states == NULL) {
        r->upstream_states = ngx_array_create(r->pool, 1,
                                            sizeof(ngx_http_upstream_state_t));

        return r->upstream_states ? NGX_OK : NGX_ERROR;
    }

    /* an empty one separates the peers of different locations */

    state = ngx_array_push(r->upstream_states);
    if (state == NULL) {
        return NGX_ERROR;
    }

    ngx_memzero(state, sizeof(ngx_http_upstream_state_t));

    return NGX_OK;
}


static void
ngx_http_wt_upstream_try(ngx_http_wt_upstream_t *up)
{
    ngx_int_t  rc;

    do {
        rc = ngx_http_wt_upstream_begin(up);

        if (rc == NGX_OK) {
            rc = up->open ? ngx_http_wt_upstream_choose(up)
                          : ngx_http_wt_upstream_open(up);
            rc = ngx_http_wt_upstream_opened(up, rc);
        }

    } while (rc == NGX_DECLINED);
}


static ngx_int_t
ngx_http_wt_upstream_begin(ngx_http_wt_upstream_t *up)
{
    ngx_http_upstream_t        *u;
    ngx_http_upstream_state_t  *state;

    up->request->connection->log->action = "connecting to webtransport worker";

    u = up->request->upstream;

    state = ngx_array_push(up->request->upstream_states);
    if (state == NULL) {
        ngx_http_wt_upstream_failed(up, NGX_HTTP_INTERNAL_SERVER_ERROR);
        return NGX_ERROR;
    }

    ngx_memzero(state, sizeof(ngx_http_upstream_state_t));

    state->response_time = (ngx_msec_t) -1;
    state->connect_time = (ngx_msec_t) -1;
    state->header_time = (ngx_msec_t) -1;

    u->state = state;
    u->start_time = ngx_current_msec;

    up->delay = NGX_HTTP_WT_UPSTREAM_MIN_DELAY;
    up->deadline = ngx_current_msec + up->conf->connect_timeout;

    return NGX_OK;
}


/*
 * nginx logs every failure of connect(), and a full backlog as if the worker
 * were dead, so it gets a log that keeps silent about errors.  The result is
 * that of ngx_event_connect_peer(), with NGX_DECLINED the reason is in errno.
 */

static ngx_int_t
ngx_http_wt_upstream_open(ngx_http_wt_upstream_t *up)
{
    ngx_int_t             rc;
    ngx_log_t             log, *rlog;
    ngx_connection_t     *c;
    ngx_http_upstream_t  *u;

    u = up->request->upstream;
    rlog = up->request->connection->log;

    log = *rlog;
    log.log_level = NGX_LOG_ALERT;

    u->peer.log = &log;
    ngx_set_socket_errno(0);

    rc = ngx_http_wt_upstream_peer(up);

    u->peer.log = rlog;

    if (rc != NGX_OK && rc != NGX_AGAIN && rc != NGX_DONE) {
        return rc;
    }

    c = u->peer.connection;

    c->log = rlog;
    c->read->log = rlog;
    c->write->log = rlog;

    u->peer.connection = NULL;
    up->connection = c;

    if (c->pool == NULL) {
        c->pool = ngx_create_pool(256, rlog);
        if (c->pool == NULL) {
            return NGX_ERROR;
        }
    }

    c->pool->log = rlog;

    return rc;
}


/*
 * ngx_event_connect_peer(), but between the choice of a peer and the new
 * connection there may be one that was kept.  nginx's "keepalive" directive
 * has been asked before that, as part of the choice.
 */

static ngx_int_t
ngx_http_wt_upstream_peer(ngx_http_wt_upstream_t *up)
{
    ngx_int_t               rc;
    ngx_event_get_peer_pt   get;
    ngx_peer_connection_t  *pc;

    pc = &up->request->upstream->peer;
    get = pc->get;

    up->kept = 0;

    if (!up->keep || get == ngx_event_get_peer) {

        /* the latter: it is to be a new one */

        return ngx_event_connect_peer(pc);
    }

    rc = get(pc, pc->data);

    if (rc != NGX_OK) {
        return rc;
    }

    if (ngx_http_wt_keep_take(pc, up->conf->ssl) == NGX_DONE) {
        up->kept = 1;
        return NGX_DONE;
    }

    pc->get = ngx_event_get_peer;

    rc = ngx_event_connect_peer(pc);

    pc->get = get;

    return rc;
}


/*
 * Only the peer is chosen, its owner knows how to get to it.  The result is
 * that of ngx_http_wt_upstream_open(), but never NGX_DECLINED.
 */

static ngx_int_t
ngx_http_wt_upstream_choose(ngx_http_wt_upstream_t *up)
{
    ngx_int_t             rc;
    ngx_http_upstream_t  *u;

    u = up->request->upstream;

    u->peer.log = up->request->connection->log;

    rc = u->peer.get(&u->peer, u->peer.data);

    if (u->peer.connection) {

        /* of the "keepalive" directive: put there by another protocol */

        up->connection = u->peer.connection;
        u->peer.connection = NULL;

        ngx_http_wt_upstream_close(up);
    }

    if (rc != NGX_OK && rc != NGX_DONE) {

        /* a balancer of somebody else's may say anything */

        return (rc == NGX_ERROR) ? NGX_ERROR : NGX_BUSY;
    }

    if (up->open(up->data, &u->peer) != NGX_OK) {
        return NGX_ERROR;
    }

    return NGX_AGAIN;
}


/* NGX_DECLINED: the next peer has to be tried */

static ngx_int_t
ngx_http_wt_upstream_opened(ngx_http_wt_upstream_t *up, ngx_int_t rc)
{
    ngx_err_t             err;
    ngx_connection_t     *c;
    ngx_http_upstream_t  *u;

    err = ngx_socket_errno;
    u = up->request->upstream;

    if (rc != NGX_ERROR && u->peer.name && u->state->peer == NULL
        && ngx_http_wt_upstream_name(up, u->peer.name) != NGX_OK)
    {
        rc = NGX_ERROR;
    }

    switch (rc) {

    case NGX_OK:
    case NGX_DONE:
        ngx_http_wt_upstream_connected(up);
        return NGX_OK;

    case NGX_AGAIN:

        if (up->open) {
            return NGX_OK;
        }

        c = up->connection;

        c->data = up;
        c->read->handler = ngx_http_wt_upstream_handler;
        c->write->handler = ngx_http_wt_upstream_handler;

        ngx_add_timer(c->write, up->conf->connect_timeout);
        return NGX_OK;

    case NGX_DECLINED:

        if (err == NGX_EAGAIN && u->peer.sockaddr->sa_family == AF_UNIX
            && (ngx_msec_int_t) (up->deadline - ngx_current_msec) > 0)
        {
            /* the listen queue is full, which is not a failure */

            ngx_add_timer(&up->retry, up->delay);

            up->delay = ngx_min(2 * up->delay, NGX_HTTP_WT_UPSTREAM_MAX_DELAY);

            return NGX_OK;
        }

        ngx_http_wt_upstream_log(up, err, "connect() to %V failed",
                                 u->peer.name);

        return ngx_http_wt_upstream_next(up, (err == NGX_EAGAIN)
                                              ? NGX_HTTP_GATEWAY_TIME_OUT
                                              : NGX_HTTP_BAD_GATEWAY);

    case NGX_BUSY:
        ngx_http_wt_upstream_log(up, 0, "no live workers in %V",
                                 &up->conf->upstream->host);

        ngx_http_wt_upstream_failed(up, NGX_HTTP_BAD_GATEWAY);
        return NGX_OK;

    default: /* NGX_ERROR */
        ngx_http_wt_upstream_failed(up, NGX_HTTP_INTERNAL_SERVER_ERROR);
        return NGX_OK;
    }
}


/*
 * The name is copied: a peer that was resolved may be gone, with its memory,
 * when the access log is written.
 */

static ngx_int_t
ngx_http_wt_upstream_name(ngx_http_wt_upstream_t *up, ngx_str_t *name)
{
    ngx_str_t   *copy;
    ngx_pool_t  *pool;

    pool = up->request->pool;

    copy = ngx_palloc(pool, sizeof(ngx_str_t));
    if (copy == NULL) {
        return NGX_ERROR;
    }

    copy->len = name->len;
    copy->data = ngx_pstrdup(pool, name);
    if (copy->data == NULL) {
        return NGX_ERROR;
    }

    up->request->upstream->state->peer = copy;

    if (up->backend) {
        *up->backend = *copy;
    }

    return NGX_OK;
}


static void
ngx_http_wt_upstream_connected(ngx_http_wt_upstream_t *up)
{
    if (up->connection->write->timer_set) {
        ngx_del_timer(up->connection->write);
    }

    /* it logs what fails, and works without */

    (void) ngx_tcp_nodelay(up->connection);

    ngx_http_wt_upstream_ready(up);
}


void
ngx_http_wt_upstream_ready(ngx_http_wt_upstream_t *up)
{
    ngx_connection_t     *c;
    ngx_http_upstream_t  *u;

    u = up->request->upstream;
    c = up->connection;

    u->state->connect_time = ngx_current_msec - u->start_time;

    up->connection = NULL;
    up->connected(up->data, c);
}


void
ngx_http_wt_upstream_retry(ngx_http_wt_upstream_t *up, ngx_uint_t status)
{
    if (ngx_http_wt_upstream_next(up, status) == NGX_DECLINED) {
        ngx_http_wt_upstream_try(up);
    }
}


static ngx_int_t
ngx_http_wt_upstream_next(ngx_http_wt_upstream_t *up, ngx_uint_t status)
{
    ngx_uint_t            tries;
    ngx_msec_t            timeout;
    ngx_http_upstream_t  *u;

    u = up->request->upstream;
    u->state->status = status;

    ngx_http_wt_upstream_free(up, 1);

    tries = u->peer.tries;
    timeout = up->conf->next_upstream_timeout;

    if (tries == 0
        || !(up->conf->next_upstream & ngx_http_wt_upstream_failure(status))
        || (timeout && ngx_current_msec - u->peer.start_time >= timeout))
    {
        ngx_http_wt_upstream_failed(up, status);
        return NGX_OK;
    }

    return NGX_DECLINED;
}


static ngx_uint_t
ngx_http_wt_upstream_failure(ngx_uint_t status)
{
    switch (status) {

    case NGX_HTTP_GATEWAY_TIME_OUT:
        return NGX_HTTP_UPSTREAM_FT_TIMEOUT;

    case NGX_HTTP_SERVICE_UNAVAILABLE:
        return NGX_HTTP_UPSTREAM_FT_HTTP_503;

    default:
        return NGX_HTTP_UPSTREAM_FT_ERROR;
    }
}


static void
ngx_http_wt_upstream_failed(ngx_http_wt_upstream_t *up, ngx_uint_t status)
{
    ngx_http_upstream_t  *u;

    u = up->request->upstream;

    if (u->state) {
        u->state->status = status;
    }

    ngx_http_wt_upstream_free(up, 0);

    up->failed(up->data, status);
}


static void
ngx_http_wt_upstream_handler(ngx_event_t *ev)
{
    int                      err;
    socklen_t                len;
    ngx_int_t                rc;
    ngx_connection_t        *c;
    ngx_http_wt_upstream_t  *up;

    c = ev->data;
    up = c->data;

    c->log->action = "connecting to webtransport worker";

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, c->log, 0,
                   "wt session %V connect write:%d", up->id,
                   ev->write);

    if (ev->timedout) {
        ngx_http_wt_upstream_log(up, NGX_ETIMEDOUT, "connect() to %V failed",
                                 up->request->upstream->peer.name);

        rc = ngx_http_wt_upstream_next(up, NGX_HTTP_GATEWAY_TIME_OUT);
        goto next;
    }

    err = 0;
    len = sizeof(int);

    if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, (void *) &err, &len) == -1) {
        err = ngx_socket_errno;
    }

    if (err) {
        ngx_http_wt_upstream_log(up, err, "connect() to %V failed",
                                 up->request->upstream->peer.name);

        rc = ngx_http_wt_upstream_next(up, NGX_HTTP_BAD_GATEWAY);
        goto next;
    }

    if (!c->write->ready) {

        /* it was the other event that woke us */

        return;
    }

    ngx_http_wt_upstream_connected(up);
    return;

next:

    if (rc == NGX_DECLINED) {
        ngx_http_wt_upstream_try(up);
    }
}


static void
ngx_http_wt_upstream_retry_handler(ngx_event_t *ev)
{
    ngx_http_wt_upstream_t  *up;

    up = ev->data;

    ngx_log_debug1(NGX_LOG_DEBUG_HTTP, ev->log, 0,
                   "wt session %V connect again", up->id);

    ngx_http_wt_upstream_same(up);
}


void
ngx_http_wt_upstream_again(ngx_http_wt_upstream_t *up)
{
    ngx_log_debug1(NGX_LOG_DEBUG_HTTP, up->request->connection->log, 0,
                   "wt session %V connects anew", up->id);

    up->delay = NGX_HTTP_WT_UPSTREAM_MIN_DELAY;
    up->deadline = ngx_current_msec + up->conf->connect_timeout;

    ngx_http_wt_upstream_same(up);
}


/* the same peer, so that the balancer need not know */

static void
ngx_http_wt_upstream_same(ngx_http_wt_upstream_t *up)
{
    ngx_int_t              rc;
    ngx_http_upstream_t   *u;
    ngx_event_get_peer_pt  get;

    u = up->request->upstream;

    up->request->connection->log->action = "connecting to webtransport worker";

    u->peer.cached = 0;
    u->peer.connection = NULL;

    get = u->peer.get;
    u->peer.get = ngx_event_get_peer;

    rc = ngx_http_wt_upstream_open(up);

    u->peer.get = get;

    if (ngx_http_wt_upstream_opened(up, rc) == NGX_DECLINED) {
        ngx_http_wt_upstream_try(up);
    }
}


void
ngx_http_wt_upstream_free(ngx_http_wt_upstream_t *up, ngx_uint_t failed)
{
    ngx_http_upstream_t  *u;

    if (up->retry.timer_set) {
        ngx_del_timer(&up->retry);
    }

    ngx_http_wt_upstream_close(up);

    u = up->request->upstream;

    if (u == NULL) {
        return;
    }

    if (u->state && u->state->response_time == (ngx_msec_t) -1) {
        u->state->response_time = ngx_current_msec - u->start_time;
    }

    if (u->peer.free && u->peer.sockaddr) {
        u->peer.free(&u->peer, u->peer.data, failed ? NGX_PEER_FAILED : 0);
        u->peer.sockaddr = NULL;
    }
}


static void
ngx_http_wt_upstream_close(ngx_http_wt_upstream_t *up)
{
    ngx_connection_t  *c;

    c = up->connection;

    if (c) {
        up->connection = NULL;
        ngx_http_wt_upstream_close_connection(c);
    }
}


void
ngx_http_wt_upstream_close_connection(ngx_connection_t *c)
{
    ngx_pool_t  *pool;

    ngx_http_wt_tls_close(c);

    pool = c->pool;

    ngx_close_connection(c);

    if (pool) {
        ngx_destroy_pool(pool);
    }
}


void
ngx_http_wt_upstream_keep(ngx_http_wt_upstream_t *up, ngx_connection_t *c)
{
    socklen_t             socklen;
    ngx_uint_t            theirs;
    ngx_sockaddr_t        sockaddr;
    ngx_http_upstream_t  *u;

    u = up->request->upstream;

    /* the peer may be gone when it has been given back */

    socklen = u->peer.socklen;
    ngx_memcpy(&sockaddr, u->peer.sockaddr, socklen);

    theirs = u->peer.cached && !up->kept;

    /* what the "keepalive" directive of nginx looks at, and takes */

    u->keepalive = 1;
    u->request_body_sent = 1;
    u->peer.connection = c;

    ngx_http_wt_upstream_free(up, 0);

    c = u->peer.connection;

    if (c == NULL) {
        return;
    }

    u->peer.connection = NULL;

    if (theirs) {

        /* the directive had it and does not want it back: its limits */

        ngx_http_wt_upstream_close_connection(c);
        return;
    }

    ngx_http_wt_keep_put(c, &sockaddr.sockaddr, socklen);
}


void
ngx_http_wt_upstream_alive(ngx_http_request_t *r)
{
    ngx_peer_connection_t             *pc;
    ngx_http_upstream_rr_peer_t       *peer;
    ngx_http_upstream_rr_peer_data_t  *rrp;

    if (r->upstream == NULL) {

        /* a call per batch: each of them gives its peer back */

        return;
    }

    pc = &r->upstream->peer;

    if (pc->free != ngx_http_upstream_free_round_robin_peer) {
        /* a balancer whose data is not known */
        return;
    }

    rrp = pc->data;
    peer = rrp->current;

    if (peer == NULL) {
        return;
    }

    ngx_http_upstream_rr_peers_rlock(rrp->peers);
    ngx_http_upstream_rr_peer_lock(rrp->peers, peer);

    if (peer->accessed < peer->checked) {
        peer->fails = 0;
    }

    ngx_http_upstream_rr_peer_unlock(rrp->peers, peer);
    ngx_http_upstream_rr_peers_unlock(rrp->peers);
}


void
ngx_http_wt_upstream_answered(ngx_http_request_t *r, ngx_uint_t status)
{
    ngx_http_upstream_t        *u;
    ngx_http_upstream_state_t  *state;

    u = r->upstream;

    if (u && u->state) {
        u->state->status = status;
        u->state->header_time = ngx_current_msec - u->start_time;
        return;
    }

    if (u == NULL && r->upstream_states && r->upstream_states->nelts) {

        /* copied from a call: what it meant for the session counts */

        state = r->upstream_states->elts;
        state[r->upstream_states->nelts - 1].status = status;
    }
}


void
ngx_http_wt_upstream_count(ngx_http_request_t *r, off_t sent, off_t received)
{
    ngx_http_upstream_t  *u;

    u = r->upstream;

    if (u && u->state) {
        u->state->bytes_sent = sent;
        u->state->bytes_received = received;
    }
}
