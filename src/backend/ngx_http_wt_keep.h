/*
 * Connections to HTTP/1.1 workers that wait for their next request.
 */


#ifndef _NGX_HTTP_WT_KEEP_H_INCLUDED_
#define _NGX_HTTP_WT_KEEP_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_event_connect.h>


/* how many per process, beyond which the oldest goes; how long, in ms */
#define NGX_HTTP_WT_KEEP_MAX       32
#define NGX_HTTP_WT_KEEP_TIMEOUT   60000

/* how much a connection may be used: requests, and time in ms */
#define NGX_HTTP_WT_KEEP_REQUESTS  1000
#define NGX_HTTP_WT_KEEP_TIME      3600000


/*
 * Takes over a connection to this address: it is kept, or closed if it is of
 * no use to others.  Nothing may be under way on it, no timer set.
 */
void ngx_http_wt_keep_put(ngx_connection_t *c, struct sockaddr *sockaddr,
    socklen_t socklen);

/*
 * NGX_DONE: there was one for the peer's address, made with this TLS context,
 * or without TLS if there is none; it is pc->connection now, pc->cached is
 * set, and logs and handlers are to be set.  NGX_DECLINED: there is none.
 */
ngx_int_t ngx_http_wt_keep_take(ngx_peer_connection_t *pc, ngx_ssl_t *ssl);


#endif /* _NGX_HTTP_WT_KEEP_H_INCLUDED_ */
