/*
 * A WebTransport stream of a session.
 */


#ifndef _NGX_HTTP_WT_STREAM_H_INCLUDED_
#define _NGX_HTTP_WT_STREAM_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http_wt.h>
#include <ngx_http_wt_glue.h>
#include <ngx_http_wt_proto.h>


/* low bits of the contract's stream ids, which are those of QUIC */
#define NGX_HTTP_WT_STREAM_LOCAL  0x01
#define NGX_HTTP_WT_STREAM_UNI    0x02


typedef struct ngx_http_wt_chunk_s  ngx_http_wt_chunk_t;


/*
 * Lives in the pool of its QUIC stream, and ends with it, in
 * ngx_http_wt_stream_close() only; the output queue is on the heap.
 *
 * Both directions end on their own.  When both have, the stream is closed.
 */

struct ngx_http_wt_stream_s {
    ngx_rbtree_node_t         node;        /* session->streams, by id */
    ngx_queue_t               queue;       /* conn->early, or unused */

    ngx_http_wt_qstream_t    *qs;
    ngx_http_wt_session_t    *session;     /* NULL while early */

    /* the contract's id: client 4, 6, 8 ..., ours 5, 7, 9 ... */
    uint64_t                  id;

    /* of the peer's, for this stream */
    void                     *peer;

    /* output that QUIC has not taken; in order, bounded by the peer */
    ngx_http_wt_chunk_t      *out;
    ngx_http_wt_chunk_t      *last_out;    /* valid if "out" is not NULL */
    size_t                    pending;

    /*
     * A client's stream: the session id while it is being read.  Ours: the
     * header, until it leaves with the first bytes.
     */
    u_char                    hdr[2 * NGX_HTTP_WT_VARINT_LEN];
    ngx_uint_t                hdr_len;

    ngx_event_t               event;       /* timer while early, then posted
                                              when both directions are done */

    unsigned                  recv_done:1; /* FIN or reset seen, or stopped */
    unsigned                  send_done:1; /* FIN or reset sent, or stopped */
    unsigned                  fin_pending:1;
    unsigned                  closed:1;
};


/*
 * Reads from the client.  Number of bytes, 0 once at the FIN, NGX_AGAIN, or
 * NGX_ERROR: nothing more will come, and ops->reset() has been called if the
 * client has reset the stream.  The stream may be gone after 0 and NGX_ERROR
 * only if its sending side had ended; it is closed from a posted event, so
 * that it stays valid until the caller returns to the event loop.
 */
ssize_t ngx_http_wt_stream_recv(ngx_http_wt_stream_t *ws, u_char *buf,
    size_t size);

/*
 * Sends to the client; what QUIC does not take now is copied and counted in
 * ws->pending, and ops->sent() tells when it leaves.  After FIN, reset or stop
 * the data is ignored.  NGX_OK, or NGX_ERROR if memory is short, in which
 * case the session has to end.
 */
ngx_int_t ngx_http_wt_stream_send(ngx_http_wt_stream_t *ws, u_char *data,
    size_t len, ngx_uint_t fin);

/* RESET_STREAM with an application code; drops what is pending */
void ngx_http_wt_stream_reset(ngx_http_wt_stream_t *ws, uint32_t code);

/* STOP_SENDING with an application code; nothing is read from then on */
void ngx_http_wt_stream_stop(ngx_http_wt_stream_t *ws, uint32_t code);

/*
 * The stream's only end.  Unfinished directions get the HTTP/3 code "code".
 * Calls ops->stream_closed(); repeat-safe until the memory is gone.
 */
void ngx_http_wt_stream_close(ngx_http_wt_stream_t *ws, uint64_t code);


/* for the session layer */

/* for a stream that the glue has just opened */
ngx_http_wt_stream_t *ngx_http_wt_stream_create(ngx_http_wt_qstream_t *qs);

/*
 * A stream of ours joins its session.  Its header leaves with the first call
 * of ngx_http_wt_stream_send(), even of no bytes.
 */
void ngx_http_wt_stream_start(ngx_http_wt_stream_t *ws,
    ngx_http_wt_session_t *s);

/* A client's stream joins its session, which is open: events may flow. */
void ngx_http_wt_stream_attach(ngx_http_wt_stream_t *ws,
    ngx_http_wt_session_t *s);

/* glue ops; the first event of a client's stream creates ours */
void ngx_http_wt_stream_read(ngx_http_wt_qstream_t *qs);
void ngx_http_wt_stream_write(ngx_http_wt_qstream_t *qs);


#endif /* _NGX_HTTP_WT_STREAM_H_INCLUDED_ */
