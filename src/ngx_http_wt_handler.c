/*
 * What happens to an extended CONNECT between nginx's parser and the session.
 *
 * Inside nginx the request is a GET.  Only a location with webtransport_pass
 * or webtransport_echo may answer it with success: refusals come before the
 * access phase, and whatever slips through, such as a "return 200" of the
 * server, is caught by a header filter.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include <ngx_http_wt_backend.h>
#include <ngx_http_wt_conf.h>


static ngx_int_t ngx_http_wt_post_read_handler(ngx_http_request_t *r);
static ngx_int_t ngx_http_wt_set_method(ngx_http_request_t *r);
static ngx_int_t ngx_http_wt_preaccess_handler(ngx_http_request_t *r);
static ngx_int_t ngx_http_wt_header_filter(ngx_http_request_t *r);


static ngx_http_output_header_filter_pt  ngx_http_wt_next_header_filter;


ngx_int_t
ngx_http_wt_request_init(ngx_conf_t *cf)
{
    ngx_http_handler_pt        *h;
    ngx_http_core_main_conf_t  *cmcf;

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);

    h = ngx_array_push(&cmcf->phases[NGX_HTTP_POST_READ_PHASE].handlers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    *h = ngx_http_wt_post_read_handler;

    h = ngx_array_push(&cmcf->phases[NGX_HTTP_PREACCESS_PHASE].handlers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    *h = ngx_http_wt_preaccess_handler;

    ngx_http_wt_next_header_filter = ngx_http_top_header_filter;
    ngx_http_top_header_filter = ngx_http_wt_header_filter;

    return NGX_OK;
}


static ngx_int_t
ngx_http_wt_post_read_handler(ngx_http_request_t *r)
{
    ngx_http_wt_srv_conf_t      *wscf;
    ngx_http_wt_glue_connect_t  *connect;

    connect = ngx_http_wt_glue_get_connect(r);

    if (connect == NULL || r != r->main) {
        return NGX_DECLINED;
    }

    if (ngx_http_wt_set_method(r) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    /*
     * What follows the header is not a body, and has no end: modules that
     * would read one, such as mirror, find it read.
     */

    r->request_body = ngx_pcalloc(r->pool, sizeof(ngx_http_request_body_t));
    if (r->request_body == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    /* RFC 9220, 3: 501 for a :protocol that is not known */

    if (!ngx_http_wt_str_is(&connect->protocol, "webtransport")
        && !ngx_http_wt_str_is(&connect->protocol, "webtransport-h3"))
    {
        ngx_log_error(NGX_LOG_INFO, r->connection->log, 0,
                      "client sent CONNECT with an unknown :protocol");
        return NGX_HTTP_NOT_IMPLEMENTED;
    }

    /* the server by SNI has WebTransport on; this is the one by :authority */

    wscf = ngx_http_get_module_srv_conf(r, ngx_http_webtransport_module);

    if (!wscf->enable) {
        ngx_log_error(NGX_LOG_INFO, r->connection->log, 0,
                      "client asked for a webtransport session from a server "
                      "with \"webtransport off\"");
        return NGX_HTTP_NOT_ALLOWED;
    }

    return NGX_DECLINED;
}


/* for logs and variables only: r->method remains that of a GET */

static ngx_int_t
ngx_http_wt_set_method(ngx_http_request_t *r)
{
    u_char     *p;
    ngx_str_t   line;

    ngx_str_set(&r->method_name, "CONNECT");

    line.len = sizeof("CONNECT  HTTP/3.0") - 1 + r->unparsed_uri.len;

    line.data = ngx_pnalloc(r->pool, line.len);
    if (line.data == NULL) {
        return NGX_ERROR;
    }

    p = ngx_cpymem(line.data, "CONNECT ", sizeof("CONNECT ") - 1);
    p = ngx_cpymem(p, r->unparsed_uri.data, r->unparsed_uri.len);
    ngx_memcpy(p, " HTTP/3.0", sizeof(" HTTP/3.0") - 1);

    r->request_line = line;

    return NGX_OK;
}


static ngx_int_t
ngx_http_wt_preaccess_handler(ngx_http_request_t *r)
{
    ngx_http_wt_loc_conf_t  *wlcf;

    /* error pages may come from anywhere, but not with a success */

    if (r != r->main
        || r->err_status
        || ngx_http_wt_glue_get_connect(r) == NULL)
    {
        return NGX_DECLINED;
    }

    wlcf = ngx_http_get_module_loc_conf(r, ngx_http_webtransport_module);

    if (ngx_http_wt_is_handled(wlcf)) {
        return NGX_DECLINED;
    }

    /* draft-ietf-webtrans-http3-16, 3.2: 405 where there is no WebTransport */

    ngx_log_error(NGX_LOG_INFO, r->connection->log, 0,
                  "client asked for a webtransport session in a location "
                  "without \"webtransport_pass\"");

    return NGX_HTTP_NOT_ALLOWED;
}


static ngx_int_t
ngx_http_wt_header_filter(ngx_http_request_t *r)
{
    ngx_http_wt_session_t  *s;

    if (r != r->main
        || r->headers_out.status < NGX_HTTP_OK
        || r->headers_out.status >= NGX_HTTP_SPECIAL_RESPONSE
        || ngx_http_wt_glue_get_connect(r) == NULL)
    {
        return ngx_http_wt_next_header_filter(r);
    }

    s = ngx_http_get_module_ctx(r, ngx_http_webtransport_module);

    if (s && s->accepted) {
        return ngx_http_wt_next_header_filter(r);
    }

    /* a client would take this for a session */

    ngx_log_error(NGX_LOG_INFO, r->connection->log, 0,
                  "response %ui to a webtransport request that no "
                  "\"webtransport_pass\" has accepted", r->headers_out.status);

    return ngx_http_filter_finalize_request(r, &ngx_http_webtransport_module,
                                            NGX_HTTP_NOT_ALLOWED);
}


ngx_int_t
ngx_http_wt_handler(ngx_http_request_t *r)
{
    void                          *peer;
    ngx_int_t                      rc;
    ngx_http_wt_srv_conf_t        *wscf;
    ngx_http_wt_loc_conf_t        *wlcf;
    const ngx_http_wt_peer_ops_t  *ops;
    ngx_http_wt_glue_connect_t    *connect;

    connect = ngx_http_wt_glue_get_connect(r);

    if (connect == NULL || r != r->main) {
        return NGX_HTTP_NOT_ALLOWED;
    }

    wscf = ngx_http_get_module_srv_conf(r, ngx_http_webtransport_module);
    wlcf = ngx_http_get_module_loc_conf(r, ngx_http_webtransport_module);

    rc = ngx_http_wt_check_origin(r, wlcf->origins);
    if (rc != NGX_OK) {
        return rc;
    }

    if (wlcf->echo) {
        ops = wlcf->echo;
        peer = NULL;

    } else {
        ops = &ngx_http_wt_backend_ops;

        peer = ngx_http_wt_backend_create(r, &wlcf->backend);
        if (peer == NULL) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }
    }

    return ngx_http_wt_session_create(r, connect, &wlcf->session, ops, peer,
                                      wscf->max_sessions);
}
