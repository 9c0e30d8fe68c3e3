/*
 * What the sessions of one QUIC connection share.
 */


#ifndef _NGX_HTTP_WT_CONN_H_INCLUDED_
#define _NGX_HTTP_WT_CONN_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http_wt.h>
#include <ngx_http_wt_glue.h>
#include <ngx_http_wt_datagram.h>


/*
 * In the pool of the QUIC connection; its end is a cleanup of that pool.
 * Sessions and streams leave before, with their QUIC streams.
 */

struct ngx_http_wt_conn_s {
    ngx_http_wt_qconn_t      *qconn;

    ngx_queue_t               sessions;
    ngx_uint_t                nsessions;

    /* streams whose CONNECT has not come, or is not answered */
    ngx_queue_t               early;
    ngx_uint_t                nearly;

    /* datagrams likewise; their id is the session's */
    ngx_http_wt_datagram_queue_t
                              datagrams;

    /* connect ids of sessions that have ended, a ring; NULL before */
    uint64_t                 *closed;
    ngx_uint_t                nclosed;

    /* the session whose turn it is to send a datagram */
    ngx_http_wt_session_t    *turn;

    /* keeps silent sessions alive; set while there are some that want it */
    ngx_event_t               ping;

    /* of the client's SETTINGS */
    const char               *draft;
    ngx_uint_t                draft_rank;

    unsigned                  settings_done:1;
    unsigned                  h3_datagram:1;
};


extern const ngx_http_wt_glue_ops_t  ngx_http_wt_conn_ops;

/* set by the directives' layer: what a server wants, or NULL */
extern ngx_http_wt_glue_params_t *(*ngx_http_wt_conn_negotiate)(
    ngx_http_conf_ctx_t *ctx);


/* Encodes SETTINGS and transport parameters into "params", from "pool". */
ngx_int_t ngx_http_wt_conn_params(ngx_http_wt_glue_params_t *params,
    ngx_uint_t max_sessions, ngx_pool_t *pool);

void ngx_http_wt_conn_add(ngx_http_wt_conn_t *wc, ngx_http_wt_session_t *s);
void ngx_http_wt_conn_remove(ngx_http_wt_conn_t *wc,
    ngx_http_wt_session_t *s);

/* The session is open: it gets its early streams and datagrams. */
void ngx_http_wt_conn_release(ngx_http_wt_conn_t *wc,
    ngx_http_wt_session_t *s);

/* A stream's session id has been read. */
void ngx_http_wt_conn_stream(ngx_http_wt_conn_t *wc,
    ngx_http_wt_stream_t *ws, uint64_t session_id);

/* A stream whose session, or whose session id, does not come. */
void ngx_http_wt_conn_early_handler(ngx_event_t *ev);

/* The stream is not early any more, or is being closed. */
void ngx_http_wt_conn_early_remove(ngx_http_wt_stream_t *ws);

/* Can the client do WebTransport?  Valid once settings_done. */
ngx_uint_t ngx_http_wt_conn_capable(ngx_http_wt_conn_t *wc);


#endif /* _NGX_HTTP_WT_CONN_H_INCLUDED_ */
