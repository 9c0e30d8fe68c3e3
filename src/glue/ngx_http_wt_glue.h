/*
 * L0: the only door to nginx's private QUIC and HTTP/3 structures.
 *
 * An unpatched nginx has no extension points for QUIC.  The glue finds them in
 * function pointers nginx keeps for itself: the handler of a listening socket,
 * the read event handler of a QUIC connection, the callbacks of a QUIC
 * configuration and of an SSL context.  docs/architecture.md lists every
 * private symbol used and why.
 *
 * The glue knows streams, packets and DATAGRAM frames, but not WebTransport:
 * stream types, SETTINGS and transport parameters arrive as arguments.
 */


#ifndef _NGX_HTTP_WT_GLUE_H_INCLUDED_
#define _NGX_HTTP_WT_GLUE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>


typedef struct ngx_http_wt_qconn_s    ngx_http_wt_qconn_t;
typedef struct ngx_http_wt_qstream_s  ngx_http_wt_qstream_t;


/* what a server wants of the QUIC connections it accepts; lives in its conf */

typedef struct {
    ngx_uint_t                max_streams_bidi;   /* requests included */
    ngx_uint_t                max_streams_uni;    /* without HTTP/3's three */
    uint64_t                  max_datagram_frame_size;

    uint64_t                  bidi_type;          /* signal value */
    uint64_t                  uni_type;           /* stream type */

    /* encoded: (id, value)s and (id, length, value)s */
    ngx_str_t                 settings;
    ngx_str_t                 transport_params;
} ngx_http_wt_glue_params_t;


/* how packets are received, on all addresses with WebTransport */

typedef struct {
    ngx_uint_t                batch;         /* packets at once, 0: nginx's */
    ngx_uint_t                gro;           /* UDP_GRO */
} ngx_http_wt_glue_receive_t;


/*
 * A QUIC connection whose server has WebTransport on.  Allocated from the
 * connection's pool, and gone with it.  Read only for upper layers, except
 * "data", which is theirs.
 */

struct ngx_http_wt_qconn_s {
    ngx_connection_t         *connection;
    void                     *data;
    ngx_http_wt_glue_params_t
                             *params;

    /* the peer's max_datagram_frame_size, RFC 9221, 3; 0 if absent */
    uint64_t                  peer_max_datagram;
};


/*
 * A QUIC stream taken over from nginx, or opened by us.  Allocated from the
 * stream's pool; ended by ngx_http_wt_glue_stream_close() only.  Read only
 * for upper layers, except "data" and "owner".
 */

struct ngx_http_wt_qstream_s {
    ngx_connection_t         *connection;
    ngx_http_wt_qconn_t      *qconn;
    void                     *data;
    void                     *owner;         /* see glue_conn_acked() */

    uint64_t                  id;

    /* error codes of RESET_STREAM and STOP_SENDING, valid with their bits */
    uint64_t                  reset_code;
    uint64_t                  stop_code;

    /* bytes read while the stream's type was being determined */
    u_char                   *pos;
    u_char                   *last;

    unsigned                  reset_received:1;
    unsigned                  stop_received:1;
    unsigned                  stop_sent:1;
};


/* an extended CONNECT, RFC 9220, 3, which nginx sees as a GET */

typedef struct {
    ngx_http_wt_qconn_t      *qconn;
    ngx_str_t                 protocol;
} ngx_http_wt_glue_connect_t;


typedef struct {

    /*
     * The server is known, the handshake goes on.  Returns what that server
     * wants, or NULL if it does not want WebTransport.
     */
    ngx_http_wt_glue_params_t *(*negotiate)(ngx_http_conf_ctx_t *ctx);

    /* The handshake is complete; sets qconn->data. */
    ngx_int_t (*open)(ngx_http_wt_qconn_t *qconn);

    /* One of the client's SETTINGS.  Returns NGX_OK or an HTTP/3 code. */
    ngx_int_t (*setting)(ngx_http_wt_qconn_t *qconn, uint64_t id,
        uint64_t value);

    /* All of the client's SETTINGS have been seen. */
    void (*settings_done)(ngx_http_wt_qconn_t *qconn);

    /*
     * The client opened a stream of the asked type; the type is consumed.
     * The callee owns the stream and may close it at once.
     */
    void (*stream)(ngx_http_wt_qstream_t *qs);

    /* A stream is readable, reset, or gone with its connection (c->close). */
    void (*read)(ngx_http_wt_qstream_t *qs);

    /* A stream is writable, or was stopped by the client. */
    void (*write)(ngx_http_wt_qstream_t *qs);

    /*
     * A DATAGRAM frame's payload.  Called before nginx handles the packet,
     * so it must not close anything.  Returns NGX_OK if a live session took
     * it, NGX_DECLINED if it was dropped, or an HTTP/3 error code, which
     * ends the connection.
     */
    ngx_int_t (*datagram)(ngx_http_wt_qconn_t *qconn, u_char *data,
        size_t len);

    /*
     * Asks for the next datagram to send: writes at most "room" bytes to "p",
     * returns their number, 0 if nothing waits, NGX_AGAIN if what waits needs
     * more room.  With "whole" set no packet has more: what does not fit is
     * to be dropped.
     */
    ssize_t (*next_datagram)(ngx_http_wt_qconn_t *qconn, u_char *p,
        size_t room, ngx_uint_t whole);

    /* The client has allowed more streams of ours. */
    void (*streams)(ngx_http_wt_qconn_t *qconn);

    /* Are there sessions that a graceful shutdown has to wait for? */
    ngx_uint_t (*busy)(ngx_http_wt_qconn_t *qconn);

} ngx_http_wt_glue_ops_t;


/*
 * Configuration: checks that this nginx is the one the module was built for
 * and wraps the callbacks of all SSL contexts; with "on" unset, does nothing
 * but the check.  Logs and returns NGX_ERROR when nginx does not match.
 */
ngx_int_t ngx_http_wt_glue_postconfiguration(ngx_conf_t *cf, ngx_uint_t on,
    const ngx_http_wt_glue_ops_t *ops,
    const ngx_http_wt_glue_receive_t *receive);

/* Wraps the handlers of QUIC listening sockets; called for every cycle. */
ngx_int_t ngx_http_wt_glue_init_module(ngx_cycle_t *cycle);

/* Replaces the read handlers of QUIC listening sockets. */
ngx_int_t ngx_http_wt_glue_init_process(ngx_cycle_t *cycle);

/* The extended CONNECT behind a request, or NULL for any other request. */
ngx_http_wt_glue_connect_t *ngx_http_wt_glue_get_connect(
    ngx_http_request_t *r);

/* The QUIC stream id of a request. */
uint64_t ngx_http_wt_glue_request_id(ngx_http_request_t *r);

/* RESET_STREAM and STOP_SENDING on a request's stream. */
void ngx_http_wt_glue_request_reset(ngx_http_request_t *r, uint64_t code);

/* FIN on a request's stream.  NGX_OK or NGX_ERROR. */
ngx_int_t ngx_http_wt_glue_request_fin(ngx_http_request_t *r);


/*
 * Opens a stream of ours.  NULL if the peer allows no more streams, memory
 * or connection slots are exhausted, or the connection is closing.
 */
ngx_http_wt_qstream_t *ngx_http_wt_glue_stream_open(
    ngx_http_wt_qconn_t *qconn, ngx_uint_t bidi);

/* Streams that the peer allows to be opened now. */
uint64_t ngx_http_wt_glue_streams_left(ngx_http_wt_qconn_t *qconn,
    ngx_uint_t bidi);

/*
 * Number of bytes, 0 at the end of the stream, NGX_AGAIN, or NGX_ERROR when
 * the client has reset the stream.
 */
ssize_t ngx_http_wt_glue_stream_recv(ngx_http_wt_qstream_t *qs, u_char *buf,
    size_t size);

/*
 * What could not be sent yet, or NGX_CHAIN_ERROR.  With "fin" set, FIN leaves
 * with the last byte if all of "in" is taken; "in" must not be empty then.
 */
ngx_chain_t *ngx_http_wt_glue_stream_send(ngx_http_wt_qstream_t *qs,
    ngx_chain_t *in, ngx_uint_t fin);

ngx_int_t ngx_http_wt_glue_stream_fin(ngx_http_wt_qstream_t *qs);
ngx_int_t ngx_http_wt_glue_stream_reset(ngx_http_wt_qstream_t *qs,
    uint64_t code);
ngx_int_t ngx_http_wt_glue_stream_stop(ngx_http_wt_qstream_t *qs,
    uint64_t code);

/*
 * Ends our interest in a stream.  What is not finished is reset and stopped
 * with "code"; unread bytes are given back to flow control.  "qs" and all
 * that was allocated from its pool is gone on return.
 */
void ngx_http_wt_glue_stream_close(ngx_http_wt_qstream_t *qs, uint64_t code);


/* Datagrams wait: ops->next_datagram() will be called in this loop turn. */
void ngx_http_wt_glue_datagram_post(ngx_http_wt_qconn_t *qconn);

/* Calls it now, if there is any hope of sending. */
void ngx_http_wt_glue_datagram_flush(ngx_http_wt_qconn_t *qconn);

/*
 * The largest datagram, with its quarter stream id, that fits into a packet
 * on the current path and into the peer's max_datagram_frame_size.
 */
size_t ngx_http_wt_glue_datagram_max(ngx_http_wt_qconn_t *qconn);

/* Sends queued frames now, so that no datagram overtakes them. */
void ngx_http_wt_glue_flush(ngx_http_wt_qconn_t *qconn);

/* Ends the connection with an HTTP/3 error.  "reason" must be static. */
void ngx_http_wt_glue_conn_close(ngx_http_wt_qconn_t *qconn, uint64_t code,
    const char *reason);

/* Request streams the client may have opened so far: their ids are below. */
uint64_t ngx_http_wt_glue_requests_max(ngx_http_wt_qconn_t *qconn);

/* Milliseconds without packets after which a connection is closed. */
ngx_msec_t ngx_http_wt_glue_idle_timeout(ngx_http_wt_qconn_t *qconn);

/* Sends a PING frame.  NGX_OK or NGX_ERROR. */
ngx_int_t ngx_http_wt_glue_ping(ngx_http_wt_qconn_t *qconn);

/*
 * Has the client acknowledged all bytes of the owner's streams?  Streams that
 * have been closed have no owner any more, and count.
 */
ngx_uint_t ngx_http_wt_glue_conn_acked(ngx_http_wt_qconn_t *qconn,
    void *owner);

/* The last session has ended: a delayed graceful shutdown may go on. */
void ngx_http_wt_glue_conn_idle(ngx_http_wt_qconn_t *qconn);

/* Smoothed round-trip time in microseconds. */
ngx_uint_t ngx_http_wt_glue_rtt(ngx_http_wt_qconn_t *qconn);


#endif /* _NGX_HTTP_WT_GLUE_H_INCLUDED_ */
