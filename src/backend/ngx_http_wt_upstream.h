/*
 * Chooses a worker with nginx's own balancers, and connects to it.
 */


#ifndef _NGX_HTTP_WT_UPSTREAM_H_INCLUDED_
#define _NGX_HTTP_WT_UPSTREAM_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_event_connect.h>
#include <ngx_http.h>


/*
 * The way to one worker, part of its owner.  Begins with
 * ngx_http_wt_upstream_connect(), ends with ngx_http_wt_upstream_free().
 * Uses r->upstream, as balancers expect, and r->upstream_states, so that
 * $upstream_addr and its siblings work.
 */

typedef struct {

    /* set by the owner */

    ngx_str_t                  *id;          /* the session's, for the log */
    ngx_http_request_t         *request;
    ngx_http_upstream_conf_t   *conf;
    void                       *data;

    /* NULL, or where the name of the peer is put */
    ngx_str_t                  *backend;

    /*
     * NULL: a connection is made, and given to connected().  Else the owner's
     * own way to the peer that was chosen, which begins now and ends, but not
     * from within this call, with ngx_http_wt_upstream_retry() if the peer is
     * no good.  It calls ngx_http_wt_upstream_ready() when the peer can be
     * talked to, and this may be from within.  NGX_OK, or NGX_ERROR without
     * memory.
     */
    ngx_int_t                 (*open)(void *data, ngx_peer_connection_t *pc);

    /*
     * The connection belongs to the callee; its handlers are to be set.  With
     * open() it is NULL.
     */
    void                      (*connected)(void *data, ngx_connection_t *c);

    /* There is no worker: 502, 503 or 504. */
    void                      (*failed)(void *data, ngx_uint_t status);

    /*
     * Without open(): a connection that ngx_http_wt_upstream_keep() has kept
     * will do, and peer.cached tells of it.
     */
    unsigned                    keep:1;

    /* the latest connection is one that we, and not nginx, had kept */
    unsigned                    kept:1;

    /* while it is being connected, and then the owner's: NULL */
    ngx_connection_t           *connection;

    ngx_event_t                 retry;       /* the backlog is full */
    ngx_msec_t                  delay;
    ngx_msec_t                  deadline;
} ngx_http_wt_upstream_t;


/*
 * Tries peers until one is connected or none is left, now or later.  NGX_OK:
 * one of the callbacks was or will be called; NGX_ERROR without memory.
 */
ngx_int_t ngx_http_wt_upstream_connect(ngx_http_wt_upstream_t *up);

/* The peer chosen for open() can be talked to: connected() is called. */
void ngx_http_wt_upstream_ready(ngx_http_wt_upstream_t *up);

/*
 * The peer is no good: 502, 503 or 504.  Another one is tried, if there is
 * one and webtransport_next_upstream allows, or failed() is called.
 */
void ngx_http_wt_upstream_retry(ngx_http_wt_upstream_t *up,
    ngx_uint_t status);

/*
 * The connection turned out to be an old one that had ended, before anything
 * was read from it: a new one to the same peer is made.
 */
void ngx_http_wt_upstream_again(ngx_http_wt_upstream_t *up);

/*
 * The end of it, with a connection that may be used by others.  It is given to
 * the "keepalive" directive, if there is one, or else kept by ourselves.
 */
void ngx_http_wt_upstream_keep(ngx_http_wt_upstream_t *up, ngx_connection_t *c);

/* Closes a connection, whatever is in it, and destroys its pool. */
void ngx_http_wt_upstream_close_connection(ngx_connection_t *c);

/*
 * The end of it, safe to run twice: closes a connection that is not the
 * owner's yet and gives the peer back.  "failed" is set if the worker did not
 * keep up with what a live one does: it counts for max_fails.
 */
void ngx_http_wt_upstream_free(ngx_http_wt_upstream_t *up, ngx_uint_t failed);

/* The worker has answered with an HTTP status: $upstream_status and others. */
void ngx_http_wt_upstream_answered(ngx_http_request_t *r, ngx_uint_t status);

/*
 * The worker has answered: it is alive, and may get further sessions.  nginx
 * would see that only when the peer is freed, at the end of this one.
 */
void ngx_http_wt_upstream_alive(ngx_http_request_t *r);

/* Bytes exchanged with the worker so far. */
void ngx_http_wt_upstream_count(ngx_http_request_t *r, off_t sent,
    off_t received);


#endif /* _NGX_HTTP_WT_UPSTREAM_H_INCLUDED_ */
