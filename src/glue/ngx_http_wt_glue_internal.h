/*
 * What the files of the glue share.  Never included outside src/glue.
 */


#ifndef _NGX_HTTP_WT_GLUE_INTERNAL_H_INCLUDED_
#define _NGX_HTTP_WT_GLUE_INTERNAL_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_http.h>
#include <ngx_event_quic_connection.h>
#include <ngx_http_wt_glue.h>
#include <ngx_http_wt_glue_compat.h>


/* RFC 9221, 4.  Datagram Frame Types */
#define NGX_HTTP_WT_GLUE_FT_DATAGRAM      0x30
#define NGX_HTTP_WT_GLUE_FT_DATAGRAM_LEN  0x31

/* frames of a connection, of nginx's 10,000, that our output may take */
#define NGX_HTTP_WT_GLUE_FRAMES  4000

/* packet numbers remembered to recognise duplicates; a power of two */
#define NGX_HTTP_WT_GLUE_REPLAY  1024


/* reads the client's SETTINGS while nginx reads the control stream */

typedef struct {
    ssize_t                  (*recv)(ngx_connection_t *c, u_char *buf,
                                     size_t size);
    ngx_uint_t                 state;
    u_char                     vbuf[8];      /* a varint, maybe incomplete */
    ngx_uint_t                 vlen;
    uint64_t                   id;
    uint64_t                   length;
} ngx_http_wt_glue_control_t;


/* of a kind of streams of the client's */

typedef struct {
    uint64_t                   told;         /* what it has been sent */
    uint64_t                   seen;         /* of nginx's frames */
} ngx_http_wt_glue_limit_t;


/*
 * Packets that leave together: all but the last have the size of the first,
 * as UDP_SEGMENT wants it.
 */

typedef struct {
    u_char                    *pos;
    u_char                    *last;
    size_t                     segment;
} ngx_http_wt_glue_train_t;


/*
 * The glue's side of a QUIC connection.  nginx reaches its configuration
 * through qc->conf, so a private copy of it both gives every connection its
 * own callbacks and codes and leads back from a connection to this structure.
 */

typedef struct {
    ngx_http_wt_qconn_t        pub;          /* must be first */

    ngx_quic_conf_t            conf;
    ngx_quic_conf_t           *nginx_conf;

    ngx_event_handler_pt       input_handler;
    ngx_event_handler_pt       push_handler;
    ngx_uint_t                *freed;        /* set when the pool goes */

    ngx_http_wt_glue_control_t control;

    ngx_event_t                datagrams;    /* posted, or a timer */

    /* packets for which the socket had no room, on the heap, and their path */
    ngx_http_wt_glue_train_t   kept;
    u_char                    *kept_buf;
    uint64_t                   kept_path;
    uint64_t                   kept_cid;

    ngx_uint_t                 requests;     /* real ones, not streams */

    ngx_uint_t                 opened;       /* streams of ours, at most */

    ngx_http_wt_glue_limit_t   limits[2];    /* uni, bidi */

    uint64_t                   replay_last;  /* largest packet number */
    uint64_t                   replay[NGX_HTTP_WT_GLUE_REPLAY / 64];

    /* datagrams that may still be forgiven their overhead, this second */
    ngx_uint_t                 credit;
    time_t                     credit_time;

    /* to be closed with this once nginx has handled the packet */
    uint64_t                   close_code;
    const char                *close_reason;

    ngx_uint_t                 shutdown_code;
    const char                *shutdown_reason;

    unsigned                   closing:1;
    unsigned                   close_app:1;
    unsigned                   max_streams:1;    /* raised by this packet */
    unsigned                   datagrams_blocked:1;
    unsigned                   delayed_shutdown:1;
    unsigned                   nginx_first:1;    /* its turn to send */
    unsigned                   frames_short:1;   /* streams wait for frames */
    unsigned                   no_gso:1;         /* it has failed */
} ngx_http_wt_glue_conn_t;


typedef ssize_t (*ngx_http_wt_glue_recv_pt)(ngx_connection_t *c, u_char *buf,
    size_t size);


/* a field section that may turn out to be an extended CONNECT */
typedef struct ngx_http_wt_glue_section_s  ngx_http_wt_glue_section_t;


/*
 * A stream of the client's before it is known whose it is, c->data then; and
 * as long as it lives if it becomes nginx's.  In the stream's pool.
 */

typedef struct {
    ngx_http_wt_glue_conn_t   *gc;
    ngx_connection_handler_pt  handler;      /* nginx's */
    ngx_http_wt_glue_section_t
                              *section;
    ngx_buf_t                  buf;          /* what its owner has to see */

    /* of streams that are nginx's */

    ngx_http_wt_glue_recv_pt   recv;
    ngx_uint_t                *freed;        /* set when the pool goes */
    ngx_http_wt_glue_connect_t
                              *connect;      /* NULL: an ordinary request */

    /* the place in the sequence of frames of a request stream */

    uint64_t                   skip;         /* of the current frame */
    ngx_uint_t                 vlen;
    u_char                     vbuf[8];      /* a varint, maybe incomplete */
    unsigned                   frames:1;     /* a request stream */
    unsigned                   length:1;     /* the type has been seen */
} ngx_http_wt_glue_peek_t;


extern const ngx_http_wt_glue_ops_t  *ngx_http_wt_glue_ops;
extern ngx_connection_t  *ngx_http_wt_glue_starting;

/* DATAGRAM frames that the upper layer got in this turn of the receive loop */
extern ngx_uint_t  ngx_http_wt_glue_datagrams;


/* the glue's side of a QUIC connection, NULL if WebTransport is off there */
ngx_http_wt_glue_conn_t *ngx_http_wt_glue_get_conn(ngx_connection_t *c);

/*
 * Sets *freed when the pool is destroyed.  Whoever asked must unset the
 * handler of the cleanup before "freed" goes out of scope.
 */
ngx_pool_cleanup_t *ngx_http_wt_glue_watch(ngx_pool_t *pool,
    ngx_uint_t *freed);

/* quic.init of connections with WebTransport; checked by get_conn() */
ngx_int_t ngx_http_wt_glue_h3_init(ngx_connection_t *c);

/* negotiation, called once the server is known */
int ngx_http_wt_glue_servername(ngx_ssl_conn_t *ssl_conn, int *ad, void *arg);
void ngx_http_wt_glue_peer_params(ngx_http_wt_glue_conn_t *gc);

/* the receive loop: its part of the functions in ngx_http_wt_glue.h */
ngx_int_t ngx_http_wt_glue_receive_postconfiguration(ngx_conf_t *cf,
    const ngx_http_wt_glue_receive_t *conf);
ngx_int_t ngx_http_wt_glue_receive_init_module(ngx_cycle_t *cycle);

/* read event handler of QUIC connections with WebTransport */
void ngx_http_wt_glue_tap_install(ngx_http_wt_glue_conn_t *gc);

/*
 * Handles a decrypted packet in nginx's place.  NGX_OK: done, and the
 * connection may be gone; NGX_DECLINED: nothing has been done, and nginx has
 * to handle the packet.
 */
ngx_int_t ngx_http_wt_glue_dispatch(ngx_http_wt_glue_conn_t *gc,
    ngx_quic_header_t *pkt, uint64_t largest_pn);

/* the end of a DATAGRAM frame and its payload; NULL if it is malformed */
u_char *ngx_http_wt_glue_datagram(u_char *p, u_char *end, u_char **data);

/* a DATAGRAM frame for the upper layer; closes nothing, but notes errors */
void ngx_http_wt_glue_deliver(ngx_http_wt_glue_conn_t *gc, u_char *start,
    u_char *data, u_char *last);

/* has this packet's number been seen? */
ngx_uint_t ngx_http_wt_glue_replayed(ngx_http_wt_glue_conn_t *gc, uint64_t pn);

/* keeps the code of RESET_STREAM or STOP_SENDING for its stream */
void ngx_http_wt_glue_note_code(ngx_connection_t *c, ngx_quic_frame_t *frame);

/* frames of a connection: is it better to wait for some to be freed? */
ngx_uint_t ngx_http_wt_glue_frames_short(ngx_http_wt_glue_conn_t *gc);
void ngx_http_wt_glue_wake_streams(ngx_http_wt_glue_conn_t *gc);

/* puts together what nginx has to say of limits, before it sends anything */
void ngx_http_wt_glue_limits(ngx_http_wt_glue_conn_t *gc);

/* a stream opened by the client; takes it, or calls "handler" with it */
void ngx_http_wt_glue_stream_init(ngx_connection_t *c,
    ngx_http_wt_glue_conn_t *gc, ngx_connection_handler_pt handler);

/* what is known of a stream that has become nginx's, or NULL */
ngx_http_wt_glue_peek_t *ngx_http_wt_glue_get_peek(ngx_connection_t *c);

/* makes a stream ours; NULL without memory */
ngx_http_wt_qstream_t *ngx_http_wt_glue_create_stream(ngx_connection_t *c,
    ngx_http_wt_glue_conn_t *gc);

/*
 * The single end of a stream that is not nginx's: what is open is reset, and
 * stopped if asked, with "code".
 */
void ngx_http_wt_glue_end(ngx_connection_t *c, uint64_t code,
    ngx_uint_t stop);

/* the taken-over stream behind a connection, or NULL if it is nginx's */
ngx_http_wt_qstream_t *ngx_http_wt_glue_get_stream(ngx_connection_t *c);

/* STOP_SENDING, unless the stream has ended already */
ngx_int_t ngx_http_wt_glue_stop_sending(ngx_connection_t *c, uint64_t code);

/*
 * Looks for an extended CONNECT in the beginning of a request stream.
 * NGX_AGAIN: more bytes are needed; NGX_BUSY: QPACK insertions are; NGX_OK:
 * peek->buf is what nginx may see; NGX_ERROR or an HTTP/3 code otherwise.
 */
ngx_int_t ngx_http_wt_glue_connect_rewrite(ngx_connection_t *c,
    ngx_http_wt_glue_peek_t *peek);

void ngx_http_wt_glue_control_init(ngx_connection_t *c,
    ngx_http_wt_glue_conn_t *gc);

/* sends what datagrams the congestion window allows */
void ngx_http_wt_glue_send_datagrams(ngx_http_wt_glue_conn_t *gc);
void ngx_http_wt_glue_datagrams_init(ngx_http_wt_glue_conn_t *gc);

/*
 * Sends packets with datagrams, "*left" of them at most, and takes their
 * number from it.  NGX_OK: more may wait, NGX_DONE: nothing does, NGX_BUSY:
 * the congestion window is full, NGX_AGAIN: the socket is, NGX_ERROR.
 */
ngx_int_t ngx_http_wt_glue_train_send(ngx_http_wt_glue_conn_t *gc,
    ngx_uint_t *left);

/* sends what the socket did not take: NGX_OK, NGX_AGAIN or NGX_ERROR */
ngx_int_t ngx_http_wt_glue_train_resume(ngx_http_wt_glue_conn_t *gc);
void ngx_http_wt_glue_train_drop(ngx_http_wt_glue_conn_t *gc);

/* QUIC variable-length integer; NULL if "end" comes first */
u_char *ngx_http_wt_glue_varint(u_char *p, u_char *end, uint64_t *value);


#endif /* _NGX_HTTP_WT_GLUE_INTERNAL_H_INCLUDED_ */
