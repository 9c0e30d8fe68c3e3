/*
 * gRPC over HTTP/2: what a call looks like on the wire, see
 * PROTOCOL-HTTP2.md of grpc.  Shared by the streaming and the unary
 * transport.
 */


#ifndef _NGX_HTTP_WT_GRPC_H_INCLUDED_
#define _NGX_HTTP_WT_GRPC_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event_connect.h>
#include <ngx_http.h>
#include <ngx_http_wt_backend.h>
#include <ngx_http_wt_h2.h>


/* in front of a message: compressed flag, length */
#define NGX_HTTP_WT_GRPC_HEADER       5

/* the longest grpc-message that is kept, for the log */
#define NGX_HTTP_WT_GRPC_MESSAGE      256

/*
 * The longest list of fields of a request, as RFC 9113 counts them.  nghttp2
 * gives up above 64 KB, and servers before that.
 */
#define NGX_HTTP_WT_GRPC_FIELDS       32768

/* for the log, if what we had to do for a call was too much */
#define NGX_HTTP_WT_GRPC_NO_MEMORY    "no memory or no sockets for a call"
#define NGX_HTTP_WT_GRPC_TOO_LARGE    "too much metadata for a call"

/* the longest ngx_http_wt_grpc_text() */
#define NGX_HTTP_WT_GRPC_TEXT         (NGX_HTTP_WT_GRPC_MESSAGE + 64)


/* https://grpc.io/docs/guides/status-codes/ */

typedef enum {
    NGX_HTTP_WT_GRPC_OK = 0,
    NGX_HTTP_WT_GRPC_CANCELLED = 1,
    NGX_HTTP_WT_GRPC_UNKNOWN = 2,
    NGX_HTTP_WT_GRPC_INVALID_ARGUMENT = 3,
    NGX_HTTP_WT_GRPC_DEADLINE_EXCEEDED = 4,
    NGX_HTTP_WT_GRPC_NOT_FOUND = 5,
    NGX_HTTP_WT_GRPC_ALREADY_EXISTS = 6,
    NGX_HTTP_WT_GRPC_PERMISSION_DENIED = 7,
    NGX_HTTP_WT_GRPC_RESOURCE_EXHAUSTED = 8,
    NGX_HTTP_WT_GRPC_FAILED_PRECONDITION = 9,
    NGX_HTTP_WT_GRPC_ABORTED = 10,
    NGX_HTTP_WT_GRPC_OUT_OF_RANGE = 11,
    NGX_HTTP_WT_GRPC_UNIMPLEMENTED = 12,
    NGX_HTTP_WT_GRPC_INTERNAL = 13,
    NGX_HTTP_WT_GRPC_UNAVAILABLE = 14,
    NGX_HTTP_WT_GRPC_DATA_LOSS = 15,
    NGX_HTTP_WT_GRPC_UNAUTHENTICATED = 16
} ngx_http_wt_grpc_status_e;


/* what a call asks for */

typedef struct {
    ngx_http_wt_backend_conf_t *conf;
    ngx_str_t                   path;
    ngx_msec_t                  timeout;      /* 0: none */

    /* of webtransport_set_header; not all of them can be metadata */
    ngx_http_wt_header_t       *headers;
    ngx_uint_t                  nheaders;
} ngx_http_wt_grpc_request_t;


/* what the worker has said so far; zeroed before each call */

typedef struct {
    ngx_uint_t                  http_status;
    ngx_uint_t                  status;
    size_t                      message_len;
    u_char                      message[NGX_HTTP_WT_GRPC_MESSAGE];

    unsigned                    has_status:1; /* in grpc-status, or failed */
    unsigned                    local:1;      /* it was us who found it */
    unsigned                    grpc:1;       /* content-type is right */
} ngx_http_wt_grpc_response_t;


/*
 * Puts messages together.  Part of its owner, zeroed and with the first four
 * members set; what is kept of messages is on the heap, from
 * ngx_http_wt_grpc_input() to ngx_http_wt_grpc_input_free().
 */

typedef struct {

    /*
     * A message; it stays where it is until this returns.  NGX_OK; NGX_AGAIN:
     * not now, and none after it; other results end it all.
     */
    ngx_int_t                 (*message)(void *data, u_char *buf, size_t len);
    void                       *data;

    ngx_http_wt_grpc_response_t
                               *response;
    size_t                      max;          /* bytes of a message */

    /* cleared by the owner: messages are wanted again */
    unsigned                    stalled:1;

    u_char                     *start;
    u_char                     *pos;          /* == last: nothing is kept */
    u_char                     *last;
    u_char                     *end;
    size_t                      unconsumed;
} ngx_http_wt_grpc_input_t;


/*
 * The connections that the call may use, for the peer that was chosen.  NGX_OK
 * or NGX_ERROR without memory.
 */
ngx_int_t ngx_http_wt_grpc_peer(ngx_http_request_t *r,
    ngx_http_wt_backend_conf_t *conf, ngx_peer_connection_t *pc,
    ngx_http_wt_h2_peer_t *peer);

/*
 * For ops->ready().  NGX_OK; NGX_DECLINED: there is too much metadata, which
 * was logged; or NGX_ERROR without memory.
 */
ngx_int_t ngx_http_wt_grpc_request(ngx_http_wt_h2_stream_t *st,
    ngx_http_wt_grpc_request_t *req, ngx_log_t *log);

/* What stands in front of a message. */
void ngx_http_wt_grpc_frame(u_char *p, size_t len);

/*
 * For ops->data(), and after a stall with no bytes.  What message() said; or
 * NGX_ERROR: without memory, or because this is no message that can be taken,
 * then "response" says why.
 */
ngx_int_t ngx_http_wt_grpc_input(ngx_http_wt_grpc_input_t *in, u_char *p,
    size_t len);

/*
 * How many bytes more the worker may send: as many as were run.  Those kept of
 * a message that is not complete count, too, because it may be longer than
 * the window; but not what waits behind a stall.
 */
size_t ngx_http_wt_grpc_input_consumed(ngx_http_wt_grpc_input_t *in);

void ngx_http_wt_grpc_input_free(ngx_http_wt_grpc_input_t *in);

/* For ops->header(). */
void ngx_http_wt_grpc_header(ngx_http_wt_grpc_response_t *resp,
    ngx_str_t *name, ngx_str_t *value);

/*
 * For ops->headers(), of the first block.  NGX_OK: messages or a status will
 * follow; NGX_DECLINED: a status has come with it; NGX_ERROR: this is no
 * gRPC, which is the end of the call.
 */
ngx_int_t ngx_http_wt_grpc_headers(ngx_http_wt_grpc_response_t *resp);

/* For ops->end(): whatever happened, there is a status now. */
void ngx_http_wt_grpc_end(ngx_http_wt_grpc_response_t *resp,
    ngx_http_wt_h2_stream_t *st, ngx_http_wt_h2_end_e how);

/* We have found what is wrong: this is the status. */
void ngx_http_wt_grpc_fail(ngx_http_wt_grpc_response_t *resp,
    ngx_http_wt_grpc_status_e status, const char *fmt, ...);

/* For the log: the status, and what was said of it; returns its end. */
u_char *ngx_http_wt_grpc_text(ngx_http_wt_grpc_response_t *resp, u_char *p,
    u_char *last);

/* A client that has no answer yet gets this HTTP status. */
ngx_uint_t ngx_http_wt_grpc_http(ngx_http_wt_grpc_response_t *resp);

/* A client that has been accepted gets this code. */
ngx_http_wt_by_e ngx_http_wt_grpc_by(ngx_http_wt_grpc_response_t *resp);


#endif /* _NGX_HTTP_WT_GRPC_H_INCLUDED_ */
