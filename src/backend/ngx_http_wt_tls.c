/*
 * The client's side of TLS handshakes with workers, by nginx's own functions:
 * it is this module that knows the name the certificate has to be for.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_http.h>
#include <ngx_http_wt_tls.h>


/*
 * A handshake, in the connection's pool.  nginx's handler has no room for
 * data of ours and c->data belongs to the caller, so it is found as the data
 * of a pool cleanup.
 */

typedef struct {
    ngx_http_upstream_conf_t   *conf;
    ngx_str_t                   name;        /* ends with a zero byte */
    ngx_http_wt_tls_done_pt     done;
    unsigned                    address:1;   /* the name is one */
} ngx_http_wt_tls_t;


static ngx_http_wt_tls_t *ngx_http_wt_tls_create(ngx_connection_t *c,
    ngx_str_t *name);
static void ngx_http_wt_tls_cleanup(void *data);
static ngx_int_t ngx_http_wt_tls_begin(ngx_connection_t *c,
    ngx_http_wt_tls_t *tls);
static void ngx_http_wt_tls_handler(ngx_connection_t *c);
static ngx_int_t ngx_http_wt_tls_verify(ngx_connection_t *c,
    ngx_http_wt_tls_t *tls);
static ngx_int_t ngx_http_wt_tls_check_name(ngx_connection_t *c,
    ngx_http_wt_tls_t *tls);


void
ngx_http_wt_tls_connect(ngx_connection_t *c, ngx_http_upstream_conf_t *conf,
    ngx_str_t *name, ngx_http_wt_tls_done_pt done)
{
    ngx_int_t           rc;
    ngx_http_wt_tls_t  *tls;

    /* what nginx logs of a failure is the worker's fault */

    c->log_error = NGX_ERROR_ERR;

    tls = ngx_http_wt_tls_create(c, name);
    if (tls == NULL) {
        done(c, NGX_ERROR);
        return;
    }

    tls->conf = conf;
    tls->done = done;

    rc = ngx_http_wt_tls_begin(c, tls);

    if (rc == NGX_AGAIN) {
        c->ssl->handler = ngx_http_wt_tls_handler;
        return;
    }

    if (rc == NGX_OK) {
        rc = ngx_http_wt_tls_verify(c, tls);
    }

    done(c, rc);
}


static ngx_http_wt_tls_t *
ngx_http_wt_tls_create(ngx_connection_t *c, ngx_str_t *name)
{
    u_char              *p;
    ngx_addr_t           addr;
    ngx_http_wt_tls_t   *tls;
    ngx_pool_cleanup_t  *cln;

    p = ngx_pnalloc(c->pool, name->len + 1);
    if (p == NULL) {
        return NULL;
    }

    cln = ngx_pool_cleanup_add(c->pool, sizeof(ngx_http_wt_tls_t));
    if (cln == NULL) {
        return NULL;
    }

    cln->handler = ngx_http_wt_tls_cleanup;

    tls = cln->data;
    ngx_memzero(tls, sizeof(ngx_http_wt_tls_t));

    tls->name.data = p;
    tls->name.len = name->len;

    if (name->len > 2 && name->data[0] == '['
        && name->data[name->len - 1] == ']')
    {
        /* IPv6, as in URLs */

        tls->name.len -= 2;
        ngx_memcpy(p, name->data + 1, tls->name.len);

    } else {
        ngx_memcpy(p, name->data, tls->name.len);
    }

    p[tls->name.len] = '\0';

    tls->address = ngx_parse_addr(c->pool, &addr, tls->name.data,
                                  tls->name.len) == NGX_OK;

    return tls;
}


static void
ngx_http_wt_tls_cleanup(void *data)
{
    /* only a mark: all memory is in the pool */
}


static ngx_int_t
ngx_http_wt_tls_begin(ngx_connection_t *c, ngx_http_wt_tls_t *tls)
{
    ngx_int_t  rc;

    if (ngx_ssl_create_connection(tls->conf->ssl, c,
                                  NGX_SSL_BUFFER|NGX_SSL_CLIENT)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    /* what could not be sent may be given again from another place */

    SSL_set_mode(c->ssl->connection, SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);

    /*
     * RFC 6066, Section 3: "Literal IPv4 and IPv6 addresses are not permitted
     * in "HostName"."
     */

    if (tls->conf->ssl_server_name && tls->name.len && !tls->address) {

        if (SSL_set_tlsext_host_name(c->ssl->connection,
                                     (char *) tls->name.data)
            == 0)
        {
            ngx_ssl_error(NGX_LOG_ERR, c->log, 0,
                          "SSL_set_tlsext_host_name(\"%V\") failed",
                          &tls->name);
            return NGX_ERROR;
        }
    }

    rc = ngx_ssl_handshake(c);

    return (rc == NGX_ERROR) ? NGX_DECLINED : rc;
}


static void
ngx_http_wt_tls_handler(ngx_connection_t *c)
{
    ngx_int_t            rc;
    ngx_http_wt_tls_t   *tls;
    ngx_pool_cleanup_t  *cln;

    cln = c->pool->cleanup;

    while (cln->handler != ngx_http_wt_tls_cleanup) {
        cln = cln->next;
    }

    tls = cln->data;

    rc = c->ssl->handshaked ? ngx_http_wt_tls_verify(c, tls) : NGX_DECLINED;

    if (rc != NGX_OK && (c->read->timedout || c->write->timedout)) {
        ngx_log_error(NGX_LOG_ERR, c->log, NGX_ETIMEDOUT,
                      "TLS handshake with webtransport worker timed out");
    }

    tls->done(c, rc);
}


static ngx_int_t
ngx_http_wt_tls_verify(ngx_connection_t *c, ngx_http_wt_tls_t *tls)
{
    long  rc;

    if (!tls->conf->ssl_verify) {
        return NGX_OK;
    }

    rc = SSL_get_verify_result(c->ssl->connection);

    if (rc != X509_V_OK) {
        ngx_log_error(NGX_LOG_ERR, c->log, 0,
                      "certificate of webtransport worker is not trusted: "
                      "%s (%l)", X509_verify_cert_error_string(rc), rc);
        return NGX_DECLINED;
    }

    if (ngx_http_wt_tls_check_name(c, tls) != NGX_OK) {
        ngx_log_error(NGX_LOG_ERR, c->log, 0,
                      "certificate of webtransport worker is not for \"%V\"",
                      &tls->name);
        return NGX_DECLINED;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_wt_tls_check_name(ngx_connection_t *c, ngx_http_wt_tls_t *tls)
{
    int    rc;
    X509  *cert;

    if (!tls->address) {
        return ngx_ssl_check_host(c, &tls->name);
    }

    /* nginx compares with names only */

    cert = SSL_get_peer_certificate(c->ssl->connection);
    if (cert == NULL) {
        return NGX_ERROR;
    }

    rc = X509_check_ip_asc(cert, (char *) tls->name.data, 0);

    X509_free(cert);

    return (rc == 1) ? NGX_OK : NGX_ERROR;
}


ngx_int_t
ngx_http_wt_tls_name(ngx_http_request_t *r, ngx_http_upstream_conf_t *conf,
    ngx_str_t *authority, ngx_str_t *name)
{
    u_char  *p, *last;

    if (conf->ssl_name == NULL) {
        *name = *authority;

    } else if (ngx_http_complex_value(r, conf->ssl_name, name) != NGX_OK) {
        return NGX_ERROR;
    }

    /* without the port; an IPv6 address is in brackets */

    p = name->data;
    last = p + name->len;

    if (p != last && *p == '[') {
        p = ngx_strlchr(p, last, ']');
    }

    p = p ? ngx_strlchr(p, last, ':') : NULL;

    if (p) {
        name->len = p - name->data;
    }

    return NGX_OK;
}


void
ngx_http_wt_tls_close(ngx_connection_t *c)
{
    if (c->ssl == NULL) {
        return;
    }

    /* close_notify is sent, but the worker's is not waited for */

    c->ssl->no_wait_shutdown = 1;

    if (ngx_ssl_shutdown(c) == NGX_AGAIN) {

        /* the socket is full: then without */

        c->error = 1;
        (void) ngx_ssl_shutdown(c);
    }
}
