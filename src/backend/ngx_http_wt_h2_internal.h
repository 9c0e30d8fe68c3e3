/*
 * HTTP/2 to workers: what its three files share.  ngx_http_wt_h2_pool.c makes
 * connections and gives them to streams, ngx_http_wt_h2_conn.c reads, writes
 * and ends them, ngx_http_wt_h2.c is streams, and what nghttp2 tells of them.
 *
 * Connections are freed by event handlers only: what nghttp2 tells is noted,
 * and done by ngx_http_wt_h2_settle() when nghttp2 has returned.
 */


#ifndef _NGX_HTTP_WT_H2_INTERNAL_H_INCLUDED_
#define _NGX_HTTP_WT_H2_INTERNAL_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_http.h>
#include <ngx_http_wt_h2.h>
#include <nghttp2/nghttp2.h>


/*
 * A peer, on the heap while it has connections or streams that wait for one.
 * Freed by the handler of its event, which is posted whenever it loses one of
 * both.
 */

struct ngx_http_wt_h2_host_s {
    ngx_queue_t                 queue;        /* ngx_http_wt_h2_hosts */

    /* what is the same for all its connections */
    ngx_sockaddr_t              sockaddr;
    socklen_t                   socklen;
    ngx_str_t                   name;         /* for logs */
    ngx_str_t                   ssl_name;
    ngx_ssl_t                  *ssl;
    ngx_flag_t                  ssl_verify;
    ngx_flag_t                  ssl_server_name;
    size_t                      window;

    /* of the last stream that was opened */
    ngx_http_upstream_conf_t   *conf;
    ngx_msec_t                  keepalive;

    ngx_queue_t                 connections;
    ngx_uint_t                  nconnecting;  /* of them have no SETTINGS */
    ngx_queue_t                 waiting;      /* streams */
    ngx_uint_t                  nwaiting;
    ngx_event_t                 event;        /* posted: distribute them */

    /* one more connection has failed: the next one has to wait */
    ngx_event_t                 retry;
    ngx_msec_t                  delay;

    uint32_t                    max_streams;  /* as a connection last said */
    unsigned                    known:1;      /* one has */
};


/*
 * A connection, in its own pool.  Belongs to its host from
 * ngx_http_wt_h2_connect() to ngx_http_wt_h2_free().
 */

struct ngx_http_wt_h2_s {
    ngx_queue_t                 queue;        /* host->connections */
    ngx_http_wt_h2_host_t      *host;

    ngx_pool_t                 *pool;
    ngx_log_t                   log;
    ngx_connection_t           *connection;   /* NULL: the backlog is full */
    nghttp2_session            *session;      /* NULL: not connected */

    ngx_queue_t                 streams;
    ngx_queue_t                 writable;
    ngx_http_wt_h2_stream_t    *asked;        /* ready() is being called */
    ngx_uint_t                  nstreams;     /* as the peer sees it */
    ngx_uint_t                  heard;        /* how often something came */

    ngx_event_t                 timer;        /* being made, idle, suspect */
    ngx_event_t                 retry;
    ngx_msec_t                  delay;
    ngx_msec_t                  send_timeout;

    /* output that the socket did not take, on the heap */
    u_char                     *start;
    u_char                     *pos;
    u_char                     *last;

    /* of nghttp2's callbacks: where output goes, of a DATA frame what is sent
     * and how much is left, and how long the header block is so far */
    u_char                     *out;
    u_char                     *end;
    u_char                     *data;
    size_t                      left;
    size_t                      block;

    unsigned                    ready:1;      /* the peer's SETTINGS came */
    unsigned                    used:1;       /* there was a stream */
    unsigned                    idle:1;
    unsigned                    suspect:1;    /* a PING is not answered yet */
    unsigned                    pings:2;      /* since a call was answered */
    unsigned                    goaway:1;     /* was received */
    unsigned                    goaways:2;    /* were logged */
    unsigned                    invalid:1;    /* a frame was, and logged */
    unsigned                    failed:1;     /* it is over */
    unsigned                    exhausted:1;  /* and that is our own fault */
    unsigned                    broken:1;     /* nothing can be sent */
    unsigned                    logged:1;     /* why */
    unsigned                    busy:1;       /* nghttp2 is on the stack */
};


/* room in the output buffer for any frame: the header, and what nghttp2 puts
 * into one */
#define NGX_HTTP_WT_H2_HEADER   9
#define NGX_HTTP_WT_H2_FRAME    (16384 + 64)

/* the longest list of fields, as RFC 9113 counts them: told in SETTINGS */
#define NGX_HTTP_WT_H2_FIELDS   65536


/* ngx_http_wt_h2_pool.c */

/* The peer has told its limits, for the first time or again. */
void ngx_http_wt_h2_limits(ngx_http_wt_h2_t *h2, uint32_t max_streams);

/*
 * It was never of use: frees it, and the streams that wait for a connection
 * with its host wait no longer, unless there are others to wait for.
 */
void ngx_http_wt_h2_unreachable(ngx_http_wt_h2_t *h2, ngx_uint_t timedout);

/* Its host distributes streams again, or is freed, later. */
void ngx_http_wt_h2_post(ngx_http_wt_h2_host_t *host);

/* Closes it; no stream may be left. */
void ngx_http_wt_h2_free(ngx_http_wt_h2_t *h2);

/* A stream does not wait any longer. */
void ngx_http_wt_h2_leave(ngx_http_wt_h2_stream_t *st);


/* ngx_http_wt_h2_conn.c */

/* Begins to talk HTTP/2 on an established connection.  NGX_OK, or NGX_ERROR
 * without memory. */
ngx_int_t ngx_http_wt_h2_start(ngx_http_wt_h2_t *h2);

/* How many more streams it takes. */
ngx_uint_t ngx_http_wt_h2_slots(ngx_http_wt_h2_t *h2);

/* An idle connection is one no longer. */
void ngx_http_wt_h2_wake(ngx_http_wt_h2_t *h2);

/* Sends what nghttp2 has to send, later. */
void ngx_http_wt_h2_post_write(ngx_http_wt_h2_t *h2);

/* The worker does not talk HTTP/2 as it should: logged once. */
void ngx_http_wt_h2_invalid(ngx_http_wt_h2_t *h2, const char *reason,
    size_t len);

/* The same for what is our own fault: no memory. */
void ngx_http_wt_h2_exhausted(ngx_http_wt_h2_t *h2);

/* It is dead: the PING was not answered in time. */
void ngx_http_wt_h2_silent(ngx_http_wt_h2_t *h2);

/* Ends a connection without streams, with a GOAWAY if it can be sent. */
void ngx_http_wt_h2_shutdown(ngx_http_wt_h2_t *h2);


/* ngx_http_wt_h2.c */

ngx_int_t ngx_http_wt_h2_callbacks(nghttp2_session_callbacks **callbacks);

/* Gives a connection to a stream that waited. */
void ngx_http_wt_h2_attach(ngx_http_wt_h2_t *h2, ngx_http_wt_h2_stream_t *st);

/* The stream is its owner's again. */
void ngx_http_wt_h2_finish(ngx_http_wt_h2_stream_t *st,
    ngx_http_wt_h2_end_e how);


#endif /* _NGX_HTTP_WT_H2_INTERNAL_H_INCLUDED_ */
