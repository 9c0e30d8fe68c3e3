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
#include <ngx_http_wt_call.h>
#include <ngx_http_wt_glue.h>
#include <ngx_http_wt_session.h>


typedef struct {
    ngx_http_wt_glue_receive_t  receive;
} ngx_http_wt_main_conf_t;


typedef struct {
    ngx_flag_t                  enable;
    ngx_uint_t                  max_streams_bidi;
    ngx_uint_t                  max_streams_uni;
    ngx_uint_t                  max_sessions;
    ngx_uint_t                  max_datagram_size;

    ngx_http_wt_glue_params_t   params;
} ngx_http_wt_srv_conf_t;


/*
 * TLS to workers: what nginx's functions for it need, besides the members of
 * ngx_http_upstream_conf_t
 */

typedef struct {
    ngx_uint_t                  protocols;
    ngx_str_t                   ciphers;
    ngx_uint_t                  verify_depth;
    ngx_str_t                   trusted_certificate;
    ngx_str_t                   crl;
    ngx_str_t                   certificate;
    ngx_str_t                   certificate_key;
    ngx_array_t                *passwords;
    ngx_array_t                *conf_commands;
} ngx_http_wt_ssl_conf_t;


/* what a URL in webtransport_pass begins with */

typedef struct {
    ngx_str_t                       name;
    const ngx_http_wt_transport_t  *transport;
    const ngx_http_wt_call_ops_t   *call;
    in_port_t                       port;
    ngx_str_t                       alpn;      /* of TLS, or empty */
    ngx_uint_t                      uri;       /* there may be one */
} ngx_http_wt_scheme_t;


typedef struct {
    const ngx_http_wt_peer_ops_t *echo;       /* NULL: it is off */
    ngx_array_t                *origins;      /* of ngx_str_t */
    ngx_http_wt_session_conf_t  session;
    ngx_http_wt_backend_conf_t  backend;
    const ngx_http_wt_scheme_t *scheme;       /* NULL: no URL */
    ngx_http_wt_ssl_conf_t      ssl;
} ngx_http_wt_loc_conf_t;


/* a location where a session may end up */
#define ngx_http_wt_is_handled(wlcf)                                          \
    ((wlcf)->echo || (wlcf)->backend.upstream.upstream)


/* content handler of locations with webtransport_pass or webtransport_echo */
ngx_int_t ngx_http_wt_handler(ngx_http_request_t *r);

/* webtransport_pass, webtransport_param, webtransport_set_header */
char *ngx_http_wt_pass(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
char *ngx_http_wt_set_value(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);

/* what "if" and "limit_except" blocks take from their location */
void ngx_http_wt_inherit_pass(ngx_http_wt_loc_conf_t *prev,
    ngx_http_wt_loc_conf_t *conf);

void ngx_http_wt_create_backend_conf(ngx_http_wt_backend_conf_t *conf);
char *ngx_http_wt_merge_backend_conf(ngx_conf_t *cf,
    ngx_http_wt_backend_conf_t *prev, ngx_http_wt_backend_conf_t *conf);

/* webtransport_ssl_password_file */
char *ngx_http_wt_ssl_password_file(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);

void ngx_http_wt_create_ssl_conf(ngx_http_wt_loc_conf_t *conf);

/* makes conf->backend.upstream.ssl if the workers' URL asks for TLS */
char *ngx_http_wt_merge_ssl_conf(ngx_conf_t *cf, ngx_http_wt_loc_conf_t *prev,
    ngx_http_wt_loc_conf_t *conf);

/* phase handlers and the header filter; the order is theirs, see the file */
ngx_int_t ngx_http_wt_request_init(ngx_conf_t *cf);

/* NGX_OK, or NGX_HTTP_FORBIDDEN: W3C WebTransport, RFC 6454 */
ngx_int_t ngx_http_wt_check_origin(ngx_http_request_t *r,
    ngx_array_t *origins);

ngx_int_t ngx_http_wt_add_variables(ngx_conf_t *cf);


#endif /* _NGX_HTTP_WT_CONF_H_INCLUDED_ */
