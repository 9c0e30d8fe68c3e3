/*
 * Configuration of the directives' layer.
 */


#ifndef _NGX_HTTP_WT_CONF_H_INCLUDED_
#define _NGX_HTTP_WT_CONF_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include <ngx_http_wt.h>
#include <ngx_http_wt_backend.h>
#include <ngx_http_wt_glue.h>
#include <ngx_http_wt_session.h>


typedef struct {
    ngx_flag_t                  enable;
    ngx_uint_t                  max_streams_bidi;
    ngx_uint_t                  max_streams_uni;
    ngx_uint_t                  max_sessions;
    ngx_uint_t                  max_datagram_size;

    ngx_http_wt_glue_params_t   params;
} ngx_http_wt_srv_conf_t;


typedef struct {
    ngx_flag_t                  echo;
    ngx_array_t                *origins;      /* of ngx_str_t */
    ngx_http_wt_session_conf_t  session;
    ngx_http_wt_backend_conf_t  backend;
} ngx_http_wt_loc_conf_t;


/* a location where a session may end up */
#define ngx_http_wt_is_handled(wlcf)                                          \
    ((wlcf)->echo || (wlcf)->backend.upstream.upstream)


/* content handler of locations with webtransport_pass or webtransport_echo */
ngx_int_t ngx_http_wt_handler(ngx_http_request_t *r);

/* webtransport_pass, webtransport_param, webtransport_set_header */
char *ngx_http_wt_pass(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
char *ngx_http_wt_set_value(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);

void ngx_http_wt_create_backend_conf(ngx_http_wt_backend_conf_t *conf);
char *ngx_http_wt_merge_backend_conf(ngx_conf_t *cf,
    ngx_http_wt_backend_conf_t *prev, ngx_http_wt_backend_conf_t *conf);

/* phase handlers and the header filter; the order is theirs, see the file */
ngx_int_t ngx_http_wt_request_init(ngx_conf_t *cf);

/* NGX_OK, or NGX_HTTP_FORBIDDEN: W3C WebTransport, RFC 6454 */
ngx_int_t ngx_http_wt_check_origin(ngx_http_request_t *r,
    ngx_array_t *origins);

ngx_int_t ngx_http_wt_add_variables(ngx_conf_t *cf);


#endif /* _NGX_HTTP_WT_CONF_H_INCLUDED_ */
