/*
 * The transport of workers behind a socket: one connection is one session, a
 * frame is a 4-byte big-endian length and a batch.
 *
 * When a session ends, its last events may still wait in the buffer.  Then the
 * connection outlives the session: it sends what is left, ends its side and
 * waits a little for the worker to do the same, because closing a socket with
 * unread bytes may take from the other side what it has not read yet.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_http.h>
#include <ngx_http_wt_relay.h>
#include <ngx_http_wt_upstream.h>


#define NGX_HTTP_WT_UNIX_HEADER   4

/* what is allocated for commands to begin with */
#define NGX_HTTP_WT_UNIX_BUFFER   4096

/* how many reads before others get their turn */
#define NGX_HTTP_WT_UNIX_READS    16

/* how long the connection outlives its session, in milliseconds */
#define NGX_HTTP_WT_UNIX_LINGER   5000


/*
 * In the request's pool, from connect() to close().  The buffer is on the
 * heap while there is something in it.
 */

typedef struct {
    ngx_http_wt_backend_t     *backend;
    ngx_connection_t          *connection;
    ngx_http_wt_upstream_t     upstream;

    u_char                    *start;        /* commands */
    u_char                    *pos;
    u_char                    *last;
    u_char                    *end;
    size_t                     size;         /* for the next buffer */
    off_t                      received;

    unsigned                   stalled:1;    /* commands are not wanted */
    unsigned                   running:1;
    unsigned                   broken:1;     /* nothing can be sent */
} ngx_http_wt_unix_t;


/* a connection without a session, in its own pool */

typedef struct {
    ngx_connection_t          *connection;
    u_char                    *start;        /* events, on the heap */
    u_char                    *pos;
    u_char                    *last;
} ngx_http_wt_unix_rest_t;


static void ngx_http_wt_unix_frame(u_char *p, size_t len);
static ngx_int_t ngx_http_wt_unix_connect(ngx_http_wt_backend_t *b);
static void ngx_http_wt_unix_connected(void *data, ngx_connection_t *c);
static void ngx_http_wt_unix_failed(void *data, ngx_uint_t status);
static ngx_int_t ngx_http_wt_unix_send(ngx_http_wt_backend_t *b);
static void ngx_http_wt_unix_write_handler(ngx_event_t *wev);
static void ngx_http_wt_unix_resume(ngx_http_wt_backend_t *b);
static void ngx_http_wt_unix_read_handler(ngx_event_t *rev);
static ngx_int_t ngx_http_wt_unix_read(ngx_http_wt_unix_t *u);
static ngx_int_t ngx_http_wt_unix_batches(ngx_http_wt_unix_t *u);
static ngx_int_t ngx_http_wt_unix_room(ngx_http_wt_unix_t *u, size_t size);
static void ngx_http_wt_unix_free_buffer(ngx_http_wt_unix_t *u);
static void ngx_http_wt_unix_close(ngx_http_wt_backend_t *b);
static void ngx_http_wt_unix_linger(ngx_connection_t *c,
    ngx_http_wt_output_t *out, ngx_msec_t timeout);
static void ngx_http_wt_unix_linger_handler(ngx_event_t *ev);
static ngx_int_t ngx_http_wt_unix_linger_send(ngx_http_wt_unix_rest_t *rest);
static ngx_int_t ngx_http_wt_unix_discard(ngx_connection_t *c);
static void ngx_http_wt_unix_close_connection(ngx_connection_t *c);


const ngx_http_wt_transport_t  ngx_http_wt_unix = {
    ngx_string("unix"),
    0,
    NGX_HTTP_WT_UNIX_HEADER,
    ngx_http_wt_unix_frame,
    ngx_http_wt_unix_connect,
    ngx_http_wt_unix_send,
    NULL,
    ngx_http_wt_unix_resume,
    ngx_http_wt_unix_close
};


static void
ngx_http_wt_unix_frame(u_char *p, size_t len)
{
    p[0] = (u_char) (len >> 24);
    p[1] = (u_char) (len >> 16);
    p[2] = (u_char) (len >> 8);
    p[3] = (u_char) len;
}


static ngx_int_t
ngx_http_wt_unix_connect(ngx_http_wt_backend_t *b)
{
    ngx_http_wt_unix_t  *u;

    u = ngx_pcalloc(b->request->pool, sizeof(ngx_http_wt_unix_t));
    if (u == NULL) {
        return NGX_ERROR;
    }

    b->link = u;

    u->backend = b;
    u->size = NGX_HTTP_WT_UNIX_BUFFER;

    u->upstream.id = &b->session->id;
    u->upstream.request = b->request;
    u->upstream.conf = &b->conf->upstream;
    u->upstream.data = u;
    u->upstream.backend = &b->session->backend;
    u->upstream.connected = ngx_http_wt_unix_connected;
    u->upstream.failed = ngx_http_wt_unix_failed;

    return ngx_http_wt_upstream_connect(&u->upstream);
}


static void
ngx_http_wt_unix_connected(void *data, ngx_connection_t *c)
{
    ngx_http_wt_unix_t *u = data;

    u->connection = c;

    c->data = u;
    c->read->handler = ngx_http_wt_unix_read_handler;
    c->write->handler = ngx_http_wt_unix_write_handler;

    ngx_http_wt_relay_connected(u->backend);
}


static void
ngx_http_wt_unix_failed(void *data, ngx_uint_t status)
{
    ngx_http_wt_unix_t *u = data;

    ngx_http_wt_relay_failed(u->backend, status,
                             "no worker could be reached");
}


static ngx_int_t
ngx_http_wt_unix_send(ngx_http_wt_backend_t *b)
{
    ssize_t                n;
    ngx_event_t           *wev;
    ngx_connection_t      *c;
    ngx_http_wt_unix_t    *u;
    ngx_http_wt_output_t  *out;

    u = b->link;
    out = &b->out;
    c = u->connection;
    wev = c->write;

    while (out->pos != out->last && !u->broken) {

        n = c->send(c, out->pos, out->last - out->pos);

        if (n == NGX_AGAIN) {

            if (!wev->timer_set) {
                ngx_add_timer(wev, b->conf->upstream.send_timeout);
            }

            if (ngx_handle_write_event(wev, 0) == NGX_OK) {
                return NGX_AGAIN;
            }

            n = NGX_ERROR;
        }

        if (n == NGX_ERROR) {

            /*
             * The worker has gone, but what it sent before it went has to be
             * read: only then is it lost.
             */

            u->broken = 1;
            ngx_post_event(c->read, &ngx_posted_events);
            break;
        }

        out->pos += n;

        if (wev->timer_set) {

            /* it moves: the time begins anew */

            ngx_del_timer(wev);
        }
    }

    if (u->broken) {
        out->pos = out->last;
    }

    if (wev->timer_set) {
        ngx_del_timer(wev);
    }

    return NGX_OK;
}


static void
ngx_http_wt_unix_write_handler(ngx_event_t *wev)
{
    ngx_connection_t    *c;
    ngx_http_wt_unix_t  *u;

    c = wev->data;
    u = c->data;

    ngx_log_debug1(NGX_LOG_DEBUG_HTTP, c->log, 0,
                   "wt session %V worker write", &u->backend->session->id);

    if (wev->timedout) {
        ngx_http_wt_relay_failed(u->backend, NGX_HTTP_GATEWAY_TIME_OUT,
                                 "worker timed out: it does not read");
        return;
    }

    ngx_http_wt_relay_write(u->backend);
}


static void
ngx_http_wt_unix_resume(ngx_http_wt_backend_t *b)
{
    ngx_event_t         *rev;
    ngx_http_wt_unix_t  *u;

    u = b->link;
    rev = u->connection->read;

    u->stalled = 0;

    if (rev->timer_set) {
        ngx_del_timer(rev);
    }

    ngx_post_event(rev, &ngx_posted_events);
}


static void
ngx_http_wt_unix_read_handler(ngx_event_t *rev)
{
    ngx_int_t               rc;
    ngx_connection_t       *c;
    ngx_http_wt_unix_t     *u;
    ngx_http_wt_backend_t  *b;

    c = rev->data;
    u = c->data;
    b = u->backend;

    ngx_log_debug1(NGX_LOG_DEBUG_HTTP, c->log, 0,
                   "wt session %V worker read", &b->session->id);

    if (rev->timedout) {
        ngx_http_wt_relay_failed(b, NGX_HTTP_BAD_GATEWAY, "worker lost");
        return;
    }

    rc = ngx_http_wt_unix_read(u);

    if (rc == NGX_DONE) {
        return;
    }

    if (u->stalled && rev->pending_eof && !rev->timer_set) {

        /*
         * The worker has gone, but what it left is not read while a client
         * does not read.  A client that never does must not keep it for ever.
         */

        ngx_add_timer(rev, b->conf->upstream.send_timeout);
    }

    if (rc == NGX_OK) {
        ngx_post_event(rev, &ngx_posted_next_events);
    }

    if (ngx_handle_read_event(rev, 0) != NGX_OK) {
        ngx_http_wt_relay_failed(b, NGX_HTTP_BAD_GATEWAY, "worker lost");
    }
}


/*
 * NGX_OK: there may be more to read; NGX_AGAIN: not now; NGX_DONE: the session
 * has ended.
 */

static ngx_int_t
ngx_http_wt_unix_read(ngx_http_wt_unix_t *u)
{
    ssize_t                 n;
    ngx_int_t               rc;
    ngx_uint_t              i;
    ngx_connection_t       *c;
    ngx_http_wt_backend_t  *b;

    b = u->backend;
    c = u->connection;

    for (i = 0; i < NGX_HTTP_WT_UNIX_READS; i++) {

        if (u->stalled) {
            return NGX_AGAIN;
        }

        rc = ngx_http_wt_unix_batches(u);

        if (rc != NGX_OK) {
            return rc;
        }

        if (c->read->eof) {
            return NGX_AGAIN;
        }

        if (ngx_http_wt_unix_room(u, u->size) != NGX_OK) {
            return NGX_DONE;
        }

        n = c->recv(c, u->last, u->end - u->last);

        if (n == NGX_AGAIN) {

            if (u->pos == u->last) {
                ngx_http_wt_unix_free_buffer(u);
            }

            return NGX_AGAIN;
        }

        if (n == NGX_ERROR || n == 0) {

            c->read->eof = 1;

            ngx_http_wt_relay_failed(b, NGX_HTTP_BAD_GATEWAY, "worker lost");

            return b->session ? NGX_AGAIN : NGX_DONE;
        }

        u->received += n;
        u->last += n;

        if (u->last == u->end) {

            /* much comes, larger reads will do */

            u->size = ngx_min(2 * u->size, NGX_HTTP_WT_UNIX_HEADER
                                           + ngx_http_wt_relay_max_command(b));
        }

        ngx_http_wt_relay_heard(b);
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_wt_unix_batches(ngx_http_wt_unix_t *u)
{
    u_char                 *p;
    size_t                  len;
    ngx_int_t               rc;
    ngx_http_wt_backend_t  *b;

    b = u->backend;

    for ( ;; ) {

        p = u->pos;

        if (u->last - p < NGX_HTTP_WT_UNIX_HEADER) {
            return NGX_OK;
        }

        len = (size_t) p[0] << 24 | p[1] << 16 | p[2] << 8 | p[3];

        if (len > ngx_http_wt_relay_max_command(b)) {

            if (b->closing) {
                u->pos = u->last;
                return NGX_OK;
            }

            ngx_http_wt_relay_violation(b, "worker sent a frame of %uz bytes, "
                                        "more than %uz", len,
                                        ngx_http_wt_relay_max_command(b));
            return NGX_DONE;
        }

        if ((size_t) (u->last - p) < NGX_HTTP_WT_UNIX_HEADER + len) {

            u->size = ngx_max(u->size, NGX_HTTP_WT_UNIX_HEADER + len);

            return NGX_OK;
        }

        u->running = 1;

        rc = ngx_http_wt_relay_input(b, p + NGX_HTTP_WT_UNIX_HEADER, len);

        u->running = 0;

        if (rc == NGX_AGAIN) {
            u->stalled = 1;
            return NGX_AGAIN;
        }

        if (rc == NGX_DONE) {
            ngx_http_wt_unix_free_buffer(u);
            return NGX_DONE;
        }

        u->pos = p + NGX_HTTP_WT_UNIX_HEADER + len;
    }
}


/* the bytes from "pos" on will have "size" bytes, and at least one is free */

static ngx_int_t
ngx_http_wt_unix_room(ngx_http_wt_unix_t *u, size_t size)
{
    size_t   len;
    u_char  *p;

    len = u->last - u->pos;
    size = ngx_max(size, len + 1);

    if (u->start && (size_t) (u->end - u->pos) >= size) {
        return NGX_OK;
    }

    if (u->start && (size_t) (u->end - u->start) >= size) {

        ngx_memmove(u->start, u->pos, len);

        u->pos = u->start;
        u->last = u->start + len;

        return NGX_OK;
    }

    p = ngx_alloc(size, u->connection->log);
    if (p == NULL) {
        ngx_http_wt_relay_end(u->backend, NGX_HTTP_WT_BY_LIMIT,
                              NGX_HTTP_INTERNAL_SERVER_ERROR,
                              "no memory for commands");
        return NGX_ERROR;
    }

    if (len) {
        ngx_memcpy(p, u->pos, len);
    }

    ngx_http_wt_unix_free_buffer(u);

    u->start = p;
    u->pos = p;
    u->last = p + len;
    u->end = p + size;

    return NGX_OK;
}


static void
ngx_http_wt_unix_free_buffer(ngx_http_wt_unix_t *u)
{
    if (u->start) {
        ngx_free(u->start);
    }

    u->start = NULL;
    u->pos = NULL;
    u->last = NULL;
    u->end = NULL;
}


static void
ngx_http_wt_unix_close(ngx_http_wt_backend_t *b)
{
    ngx_msec_t           timeout;
    ngx_connection_t    *c;
    ngx_http_wt_unix_t  *u;

    u = b->link;

    if (u == NULL) {
        return;
    }

    ngx_http_wt_upstream_free(&u->upstream, b->lost);

    if (!u->running) {
        ngx_http_wt_unix_free_buffer(u);
    }

    /* else: the last command, which is being run, is still in the buffer */

    c = u->connection;

    if (c == NULL) {
        return;
    }

    u->connection = NULL;

    ngx_http_wt_upstream_count(b->request, c->sent, u->received);

    if (u->broken || c->read->error || c->write->timedout) {
        ngx_http_wt_unix_close_connection(c);
        return;
    }

    timeout = ngx_min(b->conf->upstream.send_timeout, NGX_HTTP_WT_UNIX_LINGER);

    ngx_http_wt_unix_linger(c, &b->out, timeout);
}


static void
ngx_http_wt_unix_linger(ngx_connection_t *c, ngx_http_wt_output_t *out,
    ngx_msec_t timeout)
{
    ngx_http_wt_unix_rest_t  *rest;

    /* session and request are going: nothing of them may be used */

    c->log = ngx_cycle->log;
    c->read->log = c->log;
    c->write->log = c->log;
    c->pool->log = c->log;

    rest = ngx_palloc(c->pool, sizeof(ngx_http_wt_unix_rest_t));
    if (rest == NULL) {
        ngx_http_wt_unix_close_connection(c);
        return;
    }

    rest->connection = c;
    rest->start = out->start;
    rest->pos = out->pos;
    rest->last = out->last;

    ngx_memzero(out, sizeof(ngx_http_wt_output_t));

    c->data = rest;
    c->read->handler = ngx_http_wt_unix_linger_handler;
    c->write->handler = ngx_http_wt_unix_linger_handler;

    if (c->write->timer_set) {
        ngx_del_timer(c->write);
    }

    if (c->read->timer_set) {
        ngx_del_timer(c->read);
    }

    ngx_add_timer(c->read, timeout);

    /* not from here, which is deep in somebody else's stack */

    ngx_post_event(c->write, &ngx_posted_events);
}


static void
ngx_http_wt_unix_linger_handler(ngx_event_t *ev)
{
    ngx_connection_t         *c;
    ngx_http_wt_unix_rest_t  *rest;

    c = ev->data;
    rest = c->data;

    ngx_log_debug1(NGX_LOG_DEBUG_HTTP, c->log, 0,
                   "wt worker connection %d lingers", c->fd);

    if (ev->timedout || c->close
        || ngx_http_wt_unix_linger_send(rest) != NGX_OK
        || ngx_http_wt_unix_discard(c) != NGX_OK
        || ngx_handle_read_event(c->read, 0) != NGX_OK
        || ngx_handle_write_event(c->write, 0) != NGX_OK)
    {
        if (rest->start) {
            ngx_free(rest->start);
        }

        ngx_http_wt_unix_close_connection(c);
    }
}


static ngx_int_t
ngx_http_wt_unix_linger_send(ngx_http_wt_unix_rest_t *rest)
{
    ssize_t            n;
    ngx_connection_t  *c;

    c = rest->connection;

    if (rest->start == NULL) {
        return NGX_OK;
    }

    while (rest->pos != rest->last) {

        n = c->send(c, rest->pos, rest->last - rest->pos);

        if (n == NGX_AGAIN) {
            return NGX_OK;
        }

        if (n == NGX_ERROR) {
            return NGX_ERROR;
        }

        rest->pos += n;
    }

    ngx_free(rest->start);
    rest->start = NULL;

    if (ngx_shutdown_socket(c->fd, NGX_WRITE_SHUTDOWN) == -1) {
        return NGX_ERROR;
    }

    return NGX_OK;
}


/* NGX_ERROR: the worker has ended its side, too */

static ngx_int_t
ngx_http_wt_unix_discard(ngx_connection_t *c)
{
    ssize_t     n;
    u_char      buf[4096];
    ngx_uint_t  i;

    for (i = 0; i < NGX_HTTP_WT_UNIX_READS; i++) {

        n = c->recv(c, buf, sizeof(buf));

        if (n == NGX_AGAIN) {
            return NGX_OK;
        }

        if (n == NGX_ERROR || n == 0) {
            return NGX_ERROR;
        }
    }

    ngx_post_event(c->read, &ngx_posted_next_events);

    return NGX_OK;
}


static void
ngx_http_wt_unix_close_connection(ngx_connection_t *c)
{
    ngx_pool_t  *pool;

    pool = c->pool;

    ngx_close_connection(c);
    ngx_destroy_pool(pool);
}
