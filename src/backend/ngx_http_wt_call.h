/*
 * One attempt to deliver one batch of events and to get a batch of commands
 * for it.  What a batch is, and what becomes of it if the attempt fails, is
 * the business of ngx_http_wt_backend_batch.c; how it travels, that of gRPC
 * (ngx_http_wt_call_grpc.c) or HTTP (ngx_http_wt_call_http.c).
 */


#ifndef _NGX_HTTP_WT_CALL_H_INCLUDED_
#define _NGX_HTTP_WT_CALL_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include <ngx_http_wt_backend.h>
#include <ngx_http_wt_upstream.h>


/* how an attempt ended */

typedef enum {
    NGX_HTTP_WT_CALL_OK,           /* the answer is in "response" */
    NGX_HTTP_WT_CALL_RETRY,        /* the worker may do better the next time */
    NGX_HTTP_WT_CALL_FAILED        /* it will not */
} ngx_http_wt_call_end_e;


typedef struct ngx_http_wt_call_s  ngx_http_wt_call_t;


/*
 * Part of its owner.  What is allocated for an attempt is in "pool", which the
 * owner makes before begin() and destroys after done() or cancel(); it also is
 * the pool of "request".
 */

struct ngx_http_wt_call_s {
    void                       *data;         /* of the owner */
    void                      (*done)(ngx_http_wt_call_t *call,
                                  ngx_http_wt_call_end_e how);

    ngx_http_wt_backend_conf_t *conf;
    ngx_str_t                  *id;           /* of the session, for logs */
    ngx_log_t                  *log;
    ngx_pool_t                 *pool;

    /* for nginx's balancers, parsers and variables: see ngx_http_wt_batch.h */
    ngx_http_request_t         *request;

    /* the EventBatch in protobuf, in two pieces */
    ngx_str_t                   body[2];

    /* fields of webtransport_set_header for this session: name, value */
    ngx_http_wt_header_t       *headers;
    ngx_uint_t                  nheaders;

    /* the longest answer in protobuf */
    size_t                      max_response;

    /* how long the worker may take for its answer */
    ngx_msec_t                  timeout;

    /* no two workers may get it, and none twice: a batch of datagrams */
    ngx_uint_t                  once;

    /* Connect: a worker that does not want it may be passed over at once */
    ngx_uint_t                  first;

    /*
     * The result, to be read in done().  "response" is a CommandBatch in
     * protobuf, in "pool" or in a buffer of the call, both valid until the
     * call's next begin() or cancel().
     */
    ngx_str_t                   response;
    ngx_uint_t                  status;       /* HTTP, for who has no answer */
    const char                 *reason;       /* for the log, in "pool" */
    ngx_msec_t                  delay;        /* Retry-After; 0: none */
    ngx_str_t                   peer;         /* whom it went to, in "pool" */
    ngx_uint_t                  sent;         /* a worker got some of it */

    ngx_http_wt_upstream_t      upstream;
    void                       *link;         /* of the transport's */
};


struct ngx_http_wt_call_ops_s {
    ngx_str_t                   name;         /* "grpc+unary", "http" */

    /*
     * Chooses a worker and delivers the batch: done() will be called, perhaps
     * before this function returns.  NGX_OK, or NGX_ERROR without memory:
     * done() is not called.
     */
    ngx_int_t                 (*begin)(ngx_http_wt_call_t *call);

    /*
     * The attempt is given up, or was done: connection, stream and timers are
     * released.  Safe to run twice; done() is not called.
     */
    void                      (*cancel)(ngx_http_wt_call_t *call);
};


#endif /* _NGX_HTTP_WT_CALL_H_INCLUDED_ */
