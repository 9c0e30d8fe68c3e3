/*
 * The peer of a session that is an application worker: what the directives'
 * layer needs to configure one, and to give one to a session.
 */


#ifndef _NGX_HTTP_WT_BACKEND_H_INCLUDED_
#define _NGX_HTTP_WT_BACKEND_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include <ngx_http_wt.h>
#include <ngx_http_wt_msg.h>
#include <ngx_http_wt_session.h>


/* what webtransport_buffer_size may be */
#define NGX_HTTP_WT_BACKEND_MIN_BUFFER    4096
#define NGX_HTTP_WT_BACKEND_MAX_BUFFER    (16 * 1024 * 1024)

/* what webtransport_max_message_size may be at most */
#define NGX_HTTP_WT_BACKEND_MAX_MESSAGE   NGX_HTTP_WT_MSG_PAYLOAD_MAX


typedef struct ngx_http_wt_backend_s    ngx_http_wt_backend_t;
typedef struct ngx_http_wt_transport_s  ngx_http_wt_transport_t;
typedef struct ngx_http_wt_call_ops_s   ngx_http_wt_call_ops_t;


/* webtransport_format */

#define NGX_HTTP_WT_FORMAT_JSON           0
#define NGX_HTTP_WT_FORMAT_PROTOBUF       1


/* webtransport_unary_error */

#define NGX_HTTP_WT_UNARY_CLOSE           0
#define NGX_HTTP_WT_UNARY_CONTINUE        1


/* webtransport_param and webtransport_set_header: the name in lower case for
 * headers */

typedef struct {
    ngx_str_t                        name;
    ngx_http_complex_value_t         value;
} ngx_http_wt_backend_value_t;


/* part of a location's configuration, which fills it */

typedef struct {

    /*
     * What nginx's balancers and this layer use of it:
     *
     *     upstream                of webtransport_pass, ngx_http_upstream_add()
     *     buffer_size             webtransport_buffer_size
     *     connect_timeout         webtransport_connect_timeout
     *     send_timeout            webtransport_send_timeout
     *     read_timeout            webtransport_read_timeout: of an answer
     *     socket_keepalive        for TCP
     *     next_upstream           webtransport_next_upstream: bits of
     *                             NGX_HTTP_UPSTREAM_FT_ERROR, _TIMEOUT and
     *                             _HTTP_503
     *     next_upstream_tries     0: all peers
     *     next_upstream_timeout   0: none
     *     ssl                     NULL: no TLS
     *     ssl_name                webtransport_ssl_name, or NULL
     *     ssl_server_name         webtransport_ssl_server_name
     *     ssl_verify              webtransport_ssl_verify
     *
     * All other members may be zero.
     */
    ngx_http_upstream_conf_t         upstream;

    const ngx_http_wt_transport_t   *transport;   /* &ngx_http_wt_unix ... */
    const ngx_http_wt_call_ops_t    *call;        /* of ngx_http_wt_batch */

    /* of a URL in webtransport_pass: host with port, path */
    ngx_str_t                        authority;
    ngx_str_t                        uri;

    ngx_uint_t                       format;      /* NGX_HTTP_WT_FORMAT_... */
    ngx_uint_t                       unary_error; /* NGX_HTTP_WT_UNARY_... */
    ngx_msec_t                       unary_timeout;
    ngx_msec_t                       grpc_keepalive;

    /* for Context */
    ngx_http_complex_value_t        *user;        /* or NULL */
    ngx_str_t                        node;
    ngx_str_t                        location;

    ngx_uint_t                       datagram_queue;
    ngx_msec_t                       accept_timeout;
    ngx_msec_t                       worker_timeout;      /* 0: none */

    ngx_uint_t                       framing;     /* NGX_HTTP_WT_FRAMING_... */
    size_t                           max_message_size;
    ngx_uint_t                       overflow;    /* NGX_HTTP_WT_OVERFLOW_
                                                     BLOCK or CLOSE */

    /* of ngx_http_wt_backend_value_t, or NULL */
    ngx_array_t                     *params;
    ngx_array_t                     *headers;
} ngx_http_wt_backend_conf_t;


extern const ngx_http_wt_peer_ops_t   ngx_http_wt_backend_ops;

/* one connection per session, a unix or TCP socket */
extern const ngx_http_wt_transport_t  ngx_http_wt_unix;

/* one gRPC call per session */
extern const ngx_http_wt_transport_t  ngx_http_wt_grpc;

/* one call per batch of events, over gRPC or HTTP: conf->call */
extern const ngx_http_wt_transport_t  ngx_http_wt_batch;
extern const ngx_http_wt_call_ops_t   ngx_http_wt_call_grpc;
extern const ngx_http_wt_call_ops_t   ngx_http_wt_call_http;


/*
 * Makes the peer of the session that will be created for this request, in
 * the request's pool.  NULL if memory is short.
 */
ngx_http_wt_backend_t *ngx_http_wt_backend_create(ngx_http_request_t *r,
    ngx_http_wt_backend_conf_t *conf);


#endif /* _NGX_HTTP_WT_BACKEND_H_INCLUDED_ */
