/*
 * TLS to workers: grpcs:// and https://.
 */


#ifndef _NGX_HTTP_WT_TLS_H_INCLUDED_
#define _NGX_HTTP_WT_TLS_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_http.h>


/*
 * Called once when the handshake is over: NGX_OK, and the connection is ready
 * for c->recv() and c->send(); NGX_DECLINED: it failed, or the certificate is
 * not the worker's; or NGX_ERROR, which is not the worker's fault.  Both have
 * been logged.  The handlers of both events are to be set again.  The callee
 * may close the connection.
 */
typedef void (*ngx_http_wt_tls_done_pt)(ngx_connection_t *c, ngx_int_t rc);

/*
 * Begins a handshake on a connection to a worker.  "conf" has ssl,
 * ssl_session_reuse (unused: 0), ssl_server_name and ssl_verify; "name" is for
 * SNI and the certificate, without port.  c->data is not touched, c->pool is
 * used.  May call "done" at once.  There is no timer: one that the caller has
 * set on c->read or c->write ends the handshake with NGX_DECLINED.
 */
void ngx_http_wt_tls_connect(ngx_connection_t *c,
    ngx_http_upstream_conf_t *conf, ngx_str_t *name,
    ngx_http_wt_tls_done_pt done);

/*
 * The name of a worker, for ngx_http_wt_tls_connect(): webtransport_ssl_name,
 * or else the host in "authority".
 */
ngx_int_t ngx_http_wt_tls_name(ngx_http_request_t *r,
    ngx_http_upstream_conf_t *conf, ngx_str_t *authority, ngx_str_t *name);

/*
 * To be called before ngx_close_connection(): says goodbye if that is possible
 * at once, and frees what belongs to TLS.  Harmless for a connection without
 * TLS, in the middle of a handshake, and twice.
 */
void ngx_http_wt_tls_close(ngx_connection_t *c);


#endif /* _NGX_HTTP_WT_TLS_H_INCLUDED_ */
