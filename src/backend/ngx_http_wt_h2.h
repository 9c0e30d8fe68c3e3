/*
 * HTTP/2 to workers: streams on connections that all sessions of this nginx
 * worker share, with nghttp2 for framing, HPACK and flow control (RFC 9113).
 *
 * Knows nothing of gRPC, sessions and events.  Connections belong to this
 * file's pool of them, streams to who opens them.
 */


#ifndef _NGX_HTTP_WT_H2_H_INCLUDED_
#define _NGX_HTTP_WT_H2_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include <ngx_http_wt_session.h>


typedef struct ngx_http_wt_h2_s         ngx_http_wt_h2_t;
typedef struct ngx_http_wt_h2_host_s    ngx_http_wt_h2_host_t;
typedef struct ngx_http_wt_h2_stream_s  ngx_http_wt_h2_stream_t;


/* how a stream ended */

typedef enum {
    NGX_HTTP_WT_H2_DONE,           /* the worker has ended its side */
    NGX_HTTP_WT_H2_RESET,          /* RST_STREAM, see error_code */
    NGX_HTTP_WT_H2_REFUSED,        /* certainly not processed: REFUSED_STREAM,
                                      GOAWAY, or the stream was never sent */
    NGX_HTTP_WT_H2_LOST,           /* the connection is gone */
    NGX_HTTP_WT_H2_TIMEOUT,        /* the worker does not read */
    NGX_HTTP_WT_H2_UNREACHABLE,    /* there was no connection: connect(),
                                      TLS or the HTTP/2 preface failed; see
                                      "timedout" */
    NGX_HTTP_WT_H2_ERROR           /* not the worker's fault: we have no
                                      memory or no sockets */
} ngx_http_wt_h2_end_e;


/*
 * Whose connections a stream may use: they are shared by all streams for which
 * address, window and what concerns TLS are the same.  Used during the call
 * only, except "conf", which has to live as long as the configuration.
 */

typedef struct {
    struct sockaddr            *sockaddr;
    socklen_t                   socklen;
    ngx_str_t                  *name;         /* for logs */
    ngx_str_t                   ssl_name;     /* SNI and certificate, if TLS */

    /* connect_timeout, send_timeout, socket_keepalive, ssl, ssl_... */
    ngx_http_upstream_conf_t   *conf;

    ngx_msec_t                  keepalive;    /* of a connection that is idle */
    size_t                      window;       /* of a stream, worker to nginx;
                                                 at least 65535 */
} ngx_http_wt_h2_peer_t;


/*
 * What a stream's owner does.  May be called from within functions of nghttp2:
 * all functions below can be called from all of them.
 */

typedef struct {

    /*
     * There is a connection: call ngx_http_wt_h2_request(), now.  Never called
     * from within another call.  If no request is made, end() follows.
     */
    void                      (*ready)(ngx_http_wt_h2_stream_t *st);

    /* A field of a response header or of the trailers, ":status" too. */
    void                      (*header)(ngx_http_wt_h2_stream_t *st,
                                  ngx_str_t *name, ngx_str_t *value);

    /*
     * A header block is complete.  Informational responses (1xx) are not
     * told.  "trailers": DATA or a first block came before.
     */
    void                      (*headers)(ngx_http_wt_h2_stream_t *st,
                                  ngx_uint_t trailers);

    /*
     * Bytes of the response, valid during the call.  They have to be given
     * back with ngx_http_wt_h2_consumed(), or the worker sends no more than
     * "window" of them.
     */
    void                      (*data)(ngx_http_wt_h2_stream_t *st,
                                  u_char *buf, size_t len);

    /*
     * What is to be sent now; *pos == *last: nothing.  Then the owner is told
     * with sent() how many bytes of it were taken.
     */
    void                      (*output)(ngx_http_wt_h2_stream_t *st,
                                  u_char **pos, u_char **last);
    void                      (*sent)(ngx_http_wt_h2_stream_t *st, size_t n);

    /* Everything was taken and there is room for more; never from within
     * another call. */
    void                      (*writable)(ngx_http_wt_h2_stream_t *st);

    /*
     * The stream is over, and the owner's again: nothing will be called any
     * more.  The worker may have ended its side while ours was open; then
     * ours has been reset with NO_ERROR.
     */
    void                      (*end)(ngx_http_wt_h2_stream_t *st,
                                  ngx_http_wt_h2_end_e how);
} ngx_http_wt_h2_ops_t;


/*
 * Part of its owner, which zeroes it once and sets "ops" and "data"; from
 * ngx_http_wt_h2_open() to ops->end() or ngx_http_wt_h2_close(), whichever is
 * first, and perhaps from another open() on.
 */

struct ngx_http_wt_h2_stream_s {
    const ngx_http_wt_h2_ops_t *ops;
    void                       *data;

    /* all below is of ngx_http_wt_h2.c; read error_code and timedout in
     * ops->end() */

    ngx_http_wt_h2_host_t      *host;         /* it waits for a connection */
    ngx_http_wt_h2_t           *h2;           /* it has one */
    ngx_http_upstream_conf_t   *conf;
    ngx_queue_t                 queue;        /* of one of both */
    ngx_queue_t                 writable;     /* h2->writable, if queued */
    ngx_event_t                 timer;        /* nothing is taken */

    /* when the request was made: the time, and h2->heard */
    ngx_msec_t                  begun;
    ngx_uint_t                  heard;

    int32_t                     id;           /* 0: no request was made */
    uint32_t                    error_code;   /* as on the wire */
    size_t                      unconsumed;

    unsigned                    timedout:1;
    unsigned                    fin:1;        /* no output after this one */
    unsigned                    eof:1;        /* and all was taken */
    unsigned                    sent:1;       /* the request's HEADERS were */
    unsigned                    informational:1;   /* block of a 1xx */
    unsigned                    headers:1;    /* the first block has come */
    unsigned                    deferred:1;   /* by us: nothing to send */
    unsigned                    queued:1;
};


/*
 * Takes a stream on a connection with the peer: ops->ready() or ops->end() will
 * be called, not from within.  NGX_OK, or NGX_ERROR without memory: then
 * nothing is called.
 */
ngx_int_t ngx_http_wt_h2_open(ngx_http_wt_h2_stream_t *st,
    ngx_http_wt_h2_peer_t *peer);

/*
 * Sends HEADERS, from ops->ready() only; the body follows from ops->output().
 * NGX_OK or NGX_ERROR without memory.
 */
ngx_int_t ngx_http_wt_h2_request(ngx_http_wt_h2_stream_t *st,
    ngx_http_wt_header_t *headers, ngx_uint_t n);

/* There is something to send, or (fin) nothing will come after it. */
void ngx_http_wt_h2_write(ngx_http_wt_h2_stream_t *st, ngx_uint_t fin);

/* "n" bytes that came with ops->data() have been dealt with.  No more counts
 * than has come. */
void ngx_http_wt_h2_consumed(ngx_http_wt_h2_stream_t *st, size_t n);

/*
 * There is no answer.  If nothing at all was heard of the worker since the
 * request was made, it may be the connection that is dead, and other streams
 * had better not get it.  ngx_http_wt_h2_close() sees to that, too.
 */
void ngx_http_wt_h2_suspect(ngx_http_wt_h2_stream_t *st);

/*
 * Ends the stream, in any state; nothing is called any more.  RST_STREAM with
 * the code if the worker knows of the stream.  Safe to run twice.
 */
void ngx_http_wt_h2_close(ngx_http_wt_h2_stream_t *st, uint32_t code);


#endif /* _NGX_HTTP_WT_H2_H_INCLUDED_ */
