/*
 * Application protocols that a client offers for a session.
 */


#ifndef _NGX_HTTP_WT_PROTOCOLS_H_INCLUDED_
#define _NGX_HTTP_WT_PROTOCOLS_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>


/*
 * What the request's WT-Available-Protocols offers, in its order: ngx_str_t in
 * the request's pool.  NULL if it offers none, or if the field is malformed
 * and thus has to be ignored.
 */
ngx_array_t *ngx_http_wt_protocols_offered(ngx_http_request_t *r);

/* Is "name" one of them? */
ngx_uint_t ngx_http_wt_protocols_find(ngx_array_t *protocols,
    ngx_str_t *name);


#endif /* _NGX_HTTP_WT_PROTOCOLS_H_INCLUDED_ */
