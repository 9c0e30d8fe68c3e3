/*
 * Directives for TLS to workers: grpcs:// and https:// in webtransport_pass.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include <ngx_http_wt_conf.h>


static ngx_int_t ngx_http_wt_ssl_create(ngx_conf_t *cf,
    ngx_http_wt_loc_conf_t *conf);
static ngx_int_t ngx_http_wt_ssl_identity(ngx_conf_t *cf, ngx_ssl_t *ssl,
    ngx_http_wt_ssl_conf_t *conf);
static ngx_int_t ngx_http_wt_ssl_trust(ngx_conf_t *cf, ngx_ssl_t *ssl,
    ngx_http_wt_ssl_conf_t *conf);


char *
ngx_http_wt_ssl_password_file(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_wt_loc_conf_t *wlcf = conf;

    ngx_str_t  *value;

    if (wlcf->ssl.passwords != NGX_CONF_UNSET_PTR) {
        return "is duplicate";
    }

    value = cf->args->elts;

    wlcf->ssl.passwords = ngx_ssl_read_password_file(cf, &value[1]);

    return wlcf->ssl.passwords ? NGX_CONF_OK : NGX_CONF_ERROR;
}


void
ngx_http_wt_create_ssl_conf(ngx_http_wt_loc_conf_t *conf)
{
    /*
     * set by ngx_pcalloc():
     *
     *     conf->ssl.protocols = 0
     *     conf->ssl.ciphers = { 0, NULL }
     *     conf->ssl.trusted_certificate = { 0, NULL }
     *     conf->ssl.crl = { 0, NULL }
     *     conf->ssl.certificate = { 0, NULL }
     *     conf->ssl.certificate_key = { 0, NULL }
     */

    conf->ssl.verify_depth = NGX_CONF_UNSET_UINT;
    conf->ssl.passwords = NGX_CONF_UNSET_PTR;
    conf->ssl.conf_commands = NGX_CONF_UNSET_PTR;

    conf->backend.upstream.ssl_name = NGX_CONF_UNSET_PTR;
    conf->backend.upstream.ssl_server_name = NGX_CONF_UNSET;
    conf->backend.upstream.ssl_verify = NGX_CONF_UNSET;
}


char *
ngx_http_wt_merge_ssl_conf(ngx_conf_t *cf, ngx_http_wt_loc_conf_t *prev,
    ngx_http_wt_loc_conf_t *conf)
{
    ngx_http_upstream_conf_t  *up, *prev_up;

    up = &conf->backend.upstream;
    prev_up = &prev->backend.upstream;

    ngx_conf_merge_bitmask_value(conf->ssl.protocols, prev->ssl.protocols,
                                 (NGX_CONF_BITMASK_SET
                                  |NGX_SSL_TLSv1_2|NGX_SSL_TLSv1_3));
    ngx_conf_merge_str_value(conf->ssl.ciphers, prev->ssl.ciphers, "DEFAULT");
    ngx_conf_merge_uint_value(conf->ssl.verify_depth, prev->ssl.verify_depth,
                              1);
    ngx_conf_merge_str_value(conf->ssl.trusted_certificate,
                             prev->ssl.trusted_certificate, "");
    ngx_conf_merge_str_value(conf->ssl.crl, prev->ssl.crl, "");
    ngx_conf_merge_str_value(conf->ssl.certificate, prev->ssl.certificate, "");
    ngx_conf_merge_str_value(conf->ssl.certificate_key,
                             prev->ssl.certificate_key, "");
    ngx_conf_merge_ptr_value(conf->ssl.passwords, prev->ssl.passwords, NULL);
    ngx_conf_merge_ptr_value(conf->ssl.conf_commands, prev->ssl.conf_commands,
                             NULL);
    ngx_conf_merge_ptr_value(up->ssl_name, prev_up->ssl_name, NULL);
    ngx_conf_merge_value(up->ssl_server_name, prev_up->ssl_server_name, 0);
    ngx_conf_merge_value(up->ssl_verify, prev_up->ssl_verify, 0);

    if (conf->scheme == NULL || conf->scheme->alpn.len == 0) {
        return NGX_CONF_OK;
    }

    if (up->ssl_verify && conf->ssl.trusted_certificate.len == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"webtransport_ssl_verify on\" needs "
                           "\"webtransport_ssl_trusted_certificate\"");
        return NGX_CONF_ERROR;
    }

    return (ngx_http_wt_ssl_create(cf, conf) == NGX_OK) ? NGX_CONF_OK
                                                        : NGX_CONF_ERROR;
}


static ngx_int_t
ngx_http_wt_ssl_create(ngx_conf_t *cf, ngx_http_wt_loc_conf_t *conf)
{
    ngx_str_t            alpn;
    ngx_ssl_t           *ssl;
    ngx_pool_cleanup_t  *cln;

    ssl = ngx_pcalloc(cf->pool, sizeof(ngx_ssl_t));
    if (ssl == NULL) {
        return NGX_ERROR;
    }

    ssl->log = cf->log;

    if (ngx_ssl_create(ssl, conf->ssl.protocols, NULL) != NGX_OK) {
        return NGX_ERROR;
    }

    cln = ngx_pool_cleanup_add(cf->pool, 0);
    if (cln == NULL) {
        ngx_ssl_cleanup_ctx(ssl);
        return NGX_ERROR;
    }

    cln->handler = ngx_ssl_cleanup_ctx;
    cln->data = ssl;

    conf->backend.upstream.ssl = ssl;
    alpn = conf->scheme->alpn;

    if (SSL_CTX_set_alpn_protos(ssl->ctx, alpn.data, (unsigned) alpn.len)
        != 0)
    {
        ngx_ssl_error(NGX_LOG_EMERG, cf->log, 0,
                      "SSL_CTX_set_alpn_protos() failed");
        return NGX_ERROR;
    }

    if (ngx_ssl_ciphers(cf, ssl, &conf->ssl.ciphers, 0) != NGX_OK
        || ngx_http_wt_ssl_identity(cf, ssl, &conf->ssl) != NGX_OK
        || ngx_ssl_conf_commands(cf, ssl, conf->ssl.conf_commands) != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (conf->backend.upstream.ssl_verify) {
        return ngx_http_wt_ssl_trust(cf, ssl, &conf->ssl);
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_wt_ssl_identity(ngx_conf_t *cf, ngx_ssl_t *ssl,
    ngx_http_wt_ssl_conf_t *conf)
{
    if (conf->certificate.len == 0) {
        return NGX_OK;
    }

    if (conf->certificate_key.len == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"webtransport_ssl_certificate %V\" needs "
                           "\"webtransport_ssl_certificate_key\"",
                           &conf->certificate);
        return NGX_ERROR;
    }

    return ngx_ssl_certificate(cf, ssl, &conf->certificate,
                               &conf->certificate_key, conf->passwords);
}


static ngx_int_t
ngx_http_wt_ssl_trust(ngx_conf_t *cf, ngx_ssl_t *ssl,
    ngx_http_wt_ssl_conf_t *conf)
{
    if (ngx_ssl_trusted_certificate(cf, ssl, &conf->trusted_certificate,
                                    conf->verify_depth)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_ssl_crl(cf, ssl, &conf->crl);
}
