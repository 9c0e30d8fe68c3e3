/*
 * Workers that get a call per batch of events: what such a session consists
 * of.  Within the batch transport only.
 *
 *     ngx_http_wt_backend_batch.c     the transport: sessions, answers, ends
 *     ngx_http_wt_batch_lane.c        a batch at a time: attempts, retries
 *     ngx_http_wt_batch_request.c     requests for nginx's functions
 *     ngx_http_wt_call_*.c            one attempt
 */


#ifndef _NGX_HTTP_WT_BATCH_H_INCLUDED_
#define _NGX_HTTP_WT_BATCH_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_http.h>
#include <ngx_http_wt_backend.h>
#include <ngx_http_wt_call.h>
#include <ngx_http_wt_session.h>


/* the longest reason of a failure that is kept for the log */
#define NGX_HTTP_WT_LANE_REASON  192


/*
 * Stand-in requests.
 *
 * nginx's balancers, its HTTP parsers and its variables work on a request.
 * That of the session will not do: there may be two calls at a time, the last
 * ones come when it is gone, and balancers allocate from its pool with every
 * call, for days.  So each attempt gets a request of its own, in the pool of
 * the attempt, and with a connection that has addresses and a log, but no
 * socket, no events and no TLS.  It goes with the pool: what balancers,
 * variables and other modules have put into it or into its pool cannot be
 * found by the next attempt.
 *
 * All are made from one original, which is a copy of what the session's
 * request has, and lives in the pool of the batches.  It knows
 *
 *     the configuration, which lives as long as the worker process
 *     addresses, request line, URI, arguments, header fields
 *     variables that had a value, such as those of "set"
 *     the session, as far as the $webtransport_* variables need it
 *
 * and nothing of the body, the response, captures ($1), modules' contexts and
 * TLS: variables made of those are empty.  Nobody may finalize such a request,
 * send a response to it, or read from its connection.
 */

typedef struct {
    ngx_http_request_t         request;
    ngx_connection_t           connection;
    ngx_http_connection_t      http_connection;
    ngx_http_wt_session_t      session;
} ngx_http_wt_original_t;


typedef enum {
    NGX_HTTP_WT_LANE_IDLE = 0,
    NGX_HTTP_WT_LANE_CALLING,      /* done() of the call will come */
    NGX_HTTP_WT_LANE_CALLED,       /* it came, the event is posted */
    NGX_HTTP_WT_LANE_WAITING,      /* for the next attempt */
    NGX_HTTP_WT_LANE_ENDED,        /* the batch is its owner's business */
    NGX_HTTP_WT_LANE_PAUSED        /* no batch for a while */
} ngx_http_wt_lane_state_e;


typedef struct ngx_http_wt_lane_s  ngx_http_wt_lane_t;


/*
 * Delivers one batch at a time, part of its owner.  A batch begins with
 * ngx_http_wt_lane_start() and ends with ngx_http_wt_lane_free(), which the
 * owner calls after ended(), or whenever it likes to give the batch up.  All
 * callbacks come from events of the lane, with nothing else on the stack.
 */

struct ngx_http_wt_lane_s {

    /* set by the owner */

    void                      *data;
    const char                *name;         /* for debugging */
    ngx_http_wt_original_t    *original;
    ngx_log_t                  log;

    /* The answer is in "call", or "reason" tells why there is none. */
    void                     (*ended)(ngx_http_wt_lane_t *lane,
                                  ngx_http_wt_call_end_e how);

    /* A pause is over. */
    void                     (*ready)(ngx_http_wt_lane_t *lane);

    /* conf, id, headers and limits are set by the owner */
    ngx_http_wt_call_t         call;

    /* of the batch: its number, events in it, how it is repeated */
    uint64_t                   seq;
    ngx_uint_t                 nevents;
    ngx_msec_t                 deadline;
    ngx_uint_t                 attempts;

    u_char                    *prefix;       /* on the heap, as is */
    u_char                    *events;

    ngx_http_wt_lane_state_e   state;
    ngx_http_wt_call_end_e     how;
    ngx_event_t                event;        /* posted, or a timer */
    ngx_msec_t                 until;
    ngx_msec_t                 backoff;

    /* of the latest failure */
    u_char                     reason[NGX_HTTP_WT_LANE_REASON];
    ngx_str_t                  peer;
    u_char                     peer_data[NGX_SOCKADDR_STRLEN];

    unsigned                   repeat:1;     /* until the deadline */
    unsigned                   last:1;       /* which ends the call, too */
    unsigned                   sent:1;       /* a worker may have got it */
    unsigned                   exiting:1;    /* nginx, which "until" limits */
};


/*
 * Copies what stand-in requests will need into "pool".  NULL without memory.
 */
ngx_http_wt_original_t *ngx_http_wt_batch_original(ngx_http_wt_session_t *s,
    ngx_pool_t *pool);

/* A request for one attempt, in its pool.  NULL without memory. */
ngx_http_request_t *ngx_http_wt_batch_request(ngx_http_wt_original_t *original,
    ngx_pool_t *pool, ngx_log_t *log);

/*
 * Copies $upstream_addr and its siblings to the session's request, for its
 * access log.
 */
void ngx_http_wt_batch_states(ngx_http_request_t *r, ngx_http_request_t *from);


void ngx_http_wt_lane_init(ngx_http_wt_lane_t *lane);

/*
 * Begins to deliver what is in lane->prefix and lane->events, both of which
 * are the lane's, as call.body says.  The lane is idle before.
 */
void ngx_http_wt_lane_start(ngx_http_wt_lane_t *lane);

/* The session is over: the lane's time begins anew, and it is limited. */
void ngx_http_wt_lane_hurry(ngx_http_wt_lane_t *lane);

/* The batch is done or given up: the lane is idle.  Safe to run twice. */
void ngx_http_wt_lane_free(ngx_http_wt_lane_t *lane);

/* After a failure: the lane, which is idle, had better wait. */
void ngx_http_wt_lane_pause(ngx_http_wt_lane_t *lane);


#endif /* _NGX_HTTP_WT_BATCH_H_INCLUDED_ */
