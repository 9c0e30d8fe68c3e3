/*
 * A WebTransport session: one accepted CONNECT request, its streams and
 * datagrams, and the peer they are relayed to.
 *
 *     client stream -> session -> peer            (events)
 *     peer -> session -> client stream            (commands)
 *
 * The peer is an application worker or the echo; it implements the ops below.
 */


#ifndef _NGX_HTTP_WT_SESSION_H_INCLUDED_
#define _NGX_HTTP_WT_SESSION_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include <ngx_http_wt.h>
#include <ngx_http_wt_glue.h>
#include <ngx_http_wt_capsule.h>
#include <ngx_http_wt_datagram.h>
#include <ngx_http_wt_stream.h>


/*
 * Who ended a session: Closed.By of the contract.  When nginx itself ends a
 * session, this is also the code the client sees.
 */

typedef enum {
    NGX_HTTP_WT_BY_UNKNOWN = 0,
    NGX_HTTP_WT_BY_CLIENT,
    NGX_HTTP_WT_BY_WORKER,
    NGX_HTTP_WT_BY_CONTROL,
    NGX_HTTP_WT_BY_TIMEOUT,
    NGX_HTTP_WT_BY_LOST,
    NGX_HTTP_WT_BY_LIMIT,
    NGX_HTTP_WT_BY_SHUTDOWN,
    NGX_HTTP_WT_BY_WORKER_LOST,
    NGX_HTTP_WT_BY_EXPIRED,
    NGX_HTTP_WT_BY_PROTOCOL
} ngx_http_wt_by_e;


typedef enum {
    NGX_HTTP_WT_SESSION_SETTINGS = 0,   /* waits for the client's SETTINGS */
    NGX_HTTP_WT_SESSION_CONNECTING,     /* waits for the peer */
    NGX_HTTP_WT_SESSION_OPEN,
    NGX_HTTP_WT_SESSION_FLUSHING,       /* closed by the peer, delivering */
    NGX_HTTP_WT_SESSION_LINGERING,      /* waits for the client's FIN */
    NGX_HTTP_WT_SESSION_CLOSED
} ngx_http_wt_session_state_e;


typedef struct {
    uint64_t                  streams_in;
    uint64_t                  streams_out;
    uint64_t                  bytes_in;       /* of streams */
    uint64_t                  bytes_out;
    uint64_t                  datagrams_in;
    uint64_t                  datagrams_out;
    uint64_t                  datagrams_dropped;
    uint64_t                  ignored;        /* commands that raced */
} ngx_http_wt_counters_t;


/* what the session layer needs of a location's configuration */

typedef struct {
    ngx_uint_t                datagram_queue;
    ngx_msec_t                keepalive;      /* 0: off */
    ngx_msec_t                idle_timeout;   /* 0: off */
} ngx_http_wt_session_conf_t;


/* a keepalive that is later than any: as late as QUIC's idle timeout allows */
#define NGX_HTTP_WT_KEEPALIVE_LATEST  NGX_MAX_INT32_VALUE


/*
 * In the request's pool; ended by ngx_http_wt_session_close(), which tells
 * client and peer, and freed with its request, from a posted event: a session
 * that a function was called with is valid until it returns to nginx.
 */

struct ngx_http_wt_session_s {
    ngx_queue_t               queue;          /* conn->sessions */

    ngx_http_request_t       *request;
    ngx_http_wt_conn_t       *conn;
    ngx_http_wt_session_conf_t
                             *conf;

    const ngx_http_wt_peer_ops_t
                             *peer_ops;
    void                     *peer;           /* of the peer's */

    uint64_t                  connect_id;     /* QUIC stream id */
    ngx_str_t                 id;             /* $webtransport_session_id */
    u_char                    id_data[NGX_HTTP_WT_SESSION_ID_LEN];

    ngx_http_wt_session_state_e
                              state;

    ngx_rbtree_t              streams;        /* by the contract's id */
    ngx_rbtree_node_t         sentinel;

    /* the next id of the client's streams, the least one of the worker's */
    uint64_t                  next_id[4];
    uint64_t                  next_nginx_id[2];   /* bidi, uni; >= 2^32 */

    ngx_http_wt_datagram_queue_t
                              datagrams;      /* to the client */

    ngx_http_wt_capsule_parser_t
                              capsules;
    ngx_chain_t              *out;            /* capsules to be sent */

    ngx_event_t               event;          /* timers, then posted to end */
    ngx_msec_t                started;
    ngx_msec_t                active;         /* of the last traffic */
    ngx_msec_t                deadline;       /* of a flush */

    ngx_http_wt_counters_t    counters;

    /* how it ended */
    ngx_http_wt_by_e          close_by;
    uint32_t                  close_code;
    ngx_str_t                 close_reason;
    ngx_msec_t                duration;

    /* the answer of a session that was not accepted */
    ngx_uint_t                reject_status;
    ngx_int_t                 reject_rc;

    ngx_str_t                 protocol;       /* chosen by the worker */
    ngx_str_t                 backend;        /* set by the peer: who it is */
    const char               *draft;

    unsigned                  accepted:1;     /* the 200 was sent */
    unsigned                  ended:1;        /* closed, peer told */
    unsigned                  drained:1;      /* DRAIN was sent */
    unsigned                  reject_sent:1;  /* nginx has no answer to make */
    unsigned                  fin_pending:1;  /* follows the capsules */
    unsigned                  settled:1;      /* no end of the client's to
                                                 wait for */
};


/*
 * The peer of a session.  All members are called with a live session, and
 * may call any function of the session layer.
 */

struct ngx_http_wt_peer_ops_s {
    ngx_str_t                 name;           /* "unix", "echo", for logs */

    /*
     * The CONNECT is good: decide.  The peer answers now or later by calling
     * ngx_http_wt_session_accept(), _reject() or _close().  NGX_OK, or
     * NGX_ERROR for 500.
     */
    ngx_int_t               (*connect)(ngx_http_wt_session_t *s);

    /* The client opened a stream. */
    void                    (*stream_opened)(ngx_http_wt_stream_t *ws);

    /*
     * Bytes or a FIN may be read with ngx_http_wt_stream_recv(); the peer
     * reads when it can, not necessarily now, until NGX_AGAIN.
     */
    void                    (*stream_readable)(ngx_http_wt_stream_t *ws);

    /* The client reset its sending side; *code, or NULL for no app code. */
    void                    (*stream_reset)(ngx_http_wt_stream_t *ws,
                                uint32_t *code);

    /* The client does not want our data any more; nginx has reset ours. */
    void                    (*stream_stop)(ngx_http_wt_stream_t *ws,
                                uint32_t *code);

    /* "n" pending bytes have been taken by QUIC. */
    void                    (*stream_sent)(ngx_http_wt_stream_t *ws,
                                size_t n);

    /*
     * The stream has ended, the peer drops its part.  At the end of a session
     * this is called for all its streams, before closed().
     */
    void                    (*stream_closed)(ngx_http_wt_stream_t *ws);

    /* NGX_OK or NGX_DECLINED if it was dropped.  Must not close anything. */
    ngx_int_t               (*datagram)(ngx_http_wt_session_t *s,
                                u_char *data, size_t len);

    /* The client has allowed more streams. */
    void                    (*streams)(ngx_http_wt_session_t *s);

    /* The client asked to wind the session up. */
    void                    (*drain)(ngx_http_wt_session_t *s);

    /*
     * The client may be about to end the session: what has been announced by
     * stream_readable() is to be read now, or it is lost.
     */
    void                    (*flush)(ngx_http_wt_session_t *s);

    /*
     * The session is over: close_by, close_code, close_reason, duration and
     * counters say how.  Called once for every session whose connect() was.
     * The peer forgets the session; s->peer is not used any more.
     */
    void                    (*closed)(ngx_http_wt_session_t *s);
};


/* one header of a response, Accept.headers and Reject.headers */

typedef struct {
    ngx_str_t                 name;
    ngx_str_t                 value;
} ngx_http_wt_header_t;


/*
 * For the request's content handler: creates a session for an extended
 * CONNECT and waits for SETTINGS.  Returns NGX_DONE, the session has taken
 * over the request, or an HTTP status.
 */
ngx_int_t ngx_http_wt_session_create(ngx_http_request_t *r,
    ngx_http_wt_glue_connect_t *connect, ngx_http_wt_session_conf_t *conf,
    const ngx_http_wt_peer_ops_t *ops, void *peer, ngx_uint_t max_sessions);

/*
 * The peer's answer: 200 with the headers, and events begin to flow, before
 * this function returns.  "protocol" may be empty.  NGX_ERROR: the session
 * has been closed.
 */
ngx_int_t ngx_http_wt_session_accept(ngx_http_wt_session_t *s,
    ngx_str_t *protocol, ngx_http_wt_header_t *headers, ngx_uint_t n);

/*
 * The peer's other answer, or a failure before there is one: the client gets
 * "status".  Body and headers may be empty.
 */
void ngx_http_wt_session_reject(ngx_http_wt_session_t *s, ngx_http_wt_by_e by,
    ngx_uint_t status, ngx_http_wt_header_t *headers, ngx_uint_t n,
    ngx_str_t *body);

/*
 * Ends the session: ops->closed(), WT_CLOSE_SESSION with code and reason
 * where the client is still there to read it, end of all streams.  The first
 * call counts.  "reason" is copied; it may be NULL.
 */
void ngx_http_wt_session_close(ngx_http_wt_session_t *s, ngx_http_wt_by_e by,
    uint32_t code, ngx_str_t *reason);

/* The same after what is queued was delivered, or after "flush" ms. */
void ngx_http_wt_session_flush_close(ngx_http_wt_session_t *s,
    ngx_http_wt_by_e by, uint32_t code, ngx_str_t *reason, ngx_msec_t flush);

/* Resets the CONNECT stream instead of sending a capsule. */
void ngx_http_wt_session_abort(ngx_http_wt_session_t *s, ngx_http_wt_by_e by);

/* WT_DRAIN_SESSION to the client, once. */
void ngx_http_wt_session_drain(ngx_http_wt_session_t *s);

/*
 * Queues a datagram to the client.  NGX_OK, or NGX_DECLINED if it is longer
 * than ngx_http_wt_session_datagram_max().  "ttl" in ms, 0 for none.
 */
ngx_int_t ngx_http_wt_session_datagram(ngx_http_wt_session_t *s,
    u_char *data, size_t len, ngx_msec_t ttl);

/* Longest payload of a datagram to the client now. */
size_t ngx_http_wt_session_datagram_max(ngx_http_wt_session_t *s);

/*
 * NGX_OK with *ws set, NGX_DECLINED: the stream existed and is gone,
 * NGX_ERROR: there never was such a stream.
 */
ngx_int_t ngx_http_wt_session_find(ngx_http_wt_session_t *s, uint64_t id,
    ngx_http_wt_stream_t **ws);

/*
 * Opens a stream to the client.  "id" is the worker's, or 0: nginx chooses,
 * see (*ws)->id.  NGX_OK; NGX_BUSY: the client allows no more streams now, or
 * nginx has no connection slot; the id is used up; NGX_DECLINED: the id does
 * not fit the kind, or is not above those used before.
 */
ngx_int_t ngx_http_wt_session_open(ngx_http_wt_session_t *s, uint64_t id,
    ngx_uint_t uni, ngx_http_wt_stream_t **ws);

/* Streams of the client that can be opened now, for Connect and Credit. */
uint64_t ngx_http_wt_session_streams_left(ngx_http_wt_session_t *s,
    ngx_uint_t uni);

/* "client", "worker", ... */
ngx_str_t *ngx_http_wt_session_by_name(ngx_http_wt_by_e by);

/* "webtransport session ID: message" */
#define ngx_http_wt_session_log(level, s, err, fmt, ...)                      \
    ngx_log_error(level, (s)->request->connection->log, err,                  \
                  "webtransport session %V: " fmt, &(s)->id, ##__VA_ARGS__)


/* within the session layer */

/* there is traffic; the timer of webtransport_idle_timeout looks later */
#define ngx_http_wt_session_touch(s)  ((s)->active = ngx_current_msec)

/* the session is open: webtransport_idle_timeout begins */
void ngx_http_wt_session_start_idle(ngx_http_wt_session_t *s);

/* SETTINGS are known: check what WebTransport requires, go on */
void ngx_http_wt_session_settings_done(ngx_http_wt_session_t *s);

/* a stream of the client's whose session this is */
void ngx_http_wt_session_stream(ngx_http_wt_session_t *s,
    ngx_http_wt_stream_t *ws);

/* a datagram of the client; results as of ops->datagram() */
ngx_int_t ngx_http_wt_session_input(ngx_http_wt_session_t *s, u_char *data,
    size_t len);

void ngx_http_wt_session_init_streams(ngx_http_wt_session_t *s);

/* ends the session by a reset of its CONNECT stream with an HTTP/3 code */
void ngx_http_wt_session_error(ngx_http_wt_session_t *s, ngx_http_wt_by_e by,
    uint64_t h3code);

/* read event handler while there is no answer: a client can only go away */
void ngx_http_wt_session_wait_handler(ngx_http_request_t *r);

/* WT_CLOSE_SESSION, if asked, and FIN */
void ngx_http_wt_session_send_close(ngx_http_wt_session_t *s,
    ngx_uint_t capsule);

/* a response of the worker's own; a result for nginx to finalize with */
ngx_int_t ngx_http_wt_session_send_reject(ngx_http_wt_session_t *s,
    ngx_uint_t status, ngx_http_wt_header_t *headers, ngx_uint_t n,
    ngx_str_t *body);

/* the client has ended its side, too */
void ngx_http_wt_session_settle(ngx_http_wt_session_t *s);


#endif /* _NGX_HTTP_WT_SESSION_H_INCLUDED_ */
