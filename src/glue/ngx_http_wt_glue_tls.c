/*
 * Negotiation during the TLS handshake.  The transport parameters have to say
 * what the server chosen by SNI offers, so they are set once more when the
 * server name callback has chosen it; nginx set its own before.
 */


#include <ngx_http_wt_glue_internal.h>


/* RFC 9221, 3.  Transport Parameter */
#define NGX_HTTP_WT_GLUE_TP_MAX_DATAGRAM  0x20

/* nginx knows none above this */
#define NGX_HTTP_WT_GLUE_TP_KNOWN         0x40


static void ngx_http_wt_glue_mend_params(ngx_ssl_conn_t *ssl_conn);
static ngx_int_t ngx_http_wt_glue_negotiate(ngx_connection_t *c);
static ngx_http_wt_glue_conn_t *ngx_http_wt_glue_create_conn(
    ngx_connection_t *c);
static void ngx_http_wt_glue_set_limits(ngx_http_wt_glue_conn_t *gc);
static ngx_int_t ngx_http_wt_glue_set_params(ngx_http_wt_glue_conn_t *gc);
static void ngx_http_wt_glue_conn_cleanup(void *data);


int
ngx_http_wt_glue_servername(ngx_ssl_conn_t *ssl_conn, int *ad, void *arg)
{
    int                rc;
    ngx_connection_t  *c;

    rc = ngx_http_ssl_servername(ssl_conn, ad, arg);

    if (rc == SSL_TLSEXT_ERR_ALERT_FATAL) {
        return rc;
    }

    c = ngx_ssl_get_connection(ssl_conn);

    if (!c->listening->quic || ngx_quic_get_connection(c) == NULL) {
        return rc;
    }

    ngx_http_wt_glue_mend_params(ssl_conn);

    if (ngx_http_wt_glue_negotiate(c) != NGX_OK) {
        *ad = SSL_AD_INTERNAL_ERROR;
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    }

    return rc;
}


/*
 * nginx looks at 16 bits of a transport parameter's id only.  Browsers send
 * reserved ones with random ids, RFC 9000, 18.1: of some thousand connections
 * one is refused, or gets a wrong limit, because such an id is taken for a
 * known one.  nginx has not read them yet, so their low bits are changed to
 * those of an unknown one.
 */

static void
ngx_http_wt_glue_mend_params(ngx_ssl_conn_t *ssl_conn)
{
#if (NGX_HTTP_WT_HAVE_BORINGSSL)
    u_char         *p, *end, *next;
    size_t          len;
    uint64_t        id, size;
    const uint8_t  *params;

    SSL_get_peer_quic_transport_params(ssl_conn, &params, &len);

    p = (u_char *) params;
    end = p + len;

    while (p != end) {
        next = ngx_http_wt_glue_varint(p, end, &id);
        if (next == NULL) {
            return;
        }

        if (id > 0xffff && (id & 0xffff) < NGX_HTTP_WT_GLUE_TP_KNOWN) {
            next[-1] = 0xff;
            next[-2] = 0xff;
        }

        p = ngx_http_wt_glue_varint(next, end, &size);
        if (p == NULL || size > (uint64_t) (end - p)) {
            return;
        }

        p += size;
    }
#endif
}


static ngx_int_t
ngx_http_wt_glue_negotiate(ngx_connection_t *c)
{
    ngx_http_connection_t      *hc;
    ngx_http_v3_srv_conf_t     *h3scf;
    ngx_http_wt_glue_conn_t    *gc;
    ngx_http_wt_glue_params_t  *params;

    hc = c->data;

    h3scf = ngx_http_get_module_srv_conf(hc->conf_ctx, ngx_http_v3_module);

    if (!h3scf->enable) {
        return NGX_OK;
    }

    params = ngx_http_wt_glue_ops->negotiate(hc->conf_ctx);
    if (params == NULL) {
        return NGX_OK;
    }

    /* the callback runs again after HelloRetryRequest */

    gc = ngx_http_wt_glue_get_conn(c);

    if (gc == NULL) {
        gc = ngx_http_wt_glue_create_conn(c);
        if (gc == NULL) {
            return NGX_ERROR;
        }
    }

    gc->pub.params = params;

    ngx_http_wt_glue_set_limits(gc);

    /*
     * Early data can not be tapped: it arrives before there are keys or
     * handlers of ours, and a DATAGRAM frame in it ends the connection.
     */

    ngx_http_wt_glue_disable_early_data(c->ssl->connection);

    return ngx_http_wt_glue_set_params(gc);
}


static ngx_http_wt_glue_conn_t *
ngx_http_wt_glue_create_conn(ngx_connection_t *c)
{
    ngx_pool_cleanup_t       *cln;
    ngx_quic_connection_t    *qc;
    ngx_http_wt_glue_conn_t  *gc;

    gc = ngx_pcalloc(c->pool, sizeof(ngx_http_wt_glue_conn_t));
    if (gc == NULL) {
        return NULL;
    }

    cln = ngx_pool_cleanup_add(c->pool, 0);
    if (cln == NULL) {
        return NULL;
    }

    cln->handler = ngx_http_wt_glue_conn_cleanup;
    cln->data = gc;

    qc = ngx_quic_get_connection(c);

    gc->pub.connection = c;
    gc->nginx_conf = qc->conf;
    gc->conf = *qc->conf;

    gc->conf.init = ngx_http_wt_glue_h3_init;

    /*
     * nginx sets a code for bidirectional streams only; without one a stream
     * that finds no free connection slot ends the whole connection.
     */

    gc->conf.stream_reject_code_uni = NGX_HTTP_V3_ERR_REQUEST_REJECTED;

    qc->conf = &gc->conf;

    /*
     * While the first datagram is handled, nginx has not set its handler yet;
     * the listening socket's handler will do this.
     */

    if (c != ngx_http_wt_glue_starting) {
        ngx_http_wt_glue_tap_install(gc);
    }

    return gc;
}


static void
ngx_http_wt_glue_set_limits(ngx_http_wt_glue_conn_t *gc)
{
    uint64_t                    data;
    ngx_quic_tp_t              *tp;
    ngx_quic_connection_t      *qc;
    ngx_http_wt_glue_params_t  *params;

    qc = ngx_quic_get_connection(gc->pub.connection);
    tp = &qc->tp;
    params = gc->pub.params;

    tp->initial_max_streams_bidi = params->max_streams_bidi;
    tp->initial_max_streams_uni = params->max_streams_uni
                                  + NGX_HTTP_V3_MAX_UNI_STREAMS;

    /* as much as all streams together, so that none blocks another */

    data = (uint64_t) gc->conf.stream_buffer_size
           * (tp->initial_max_streams_bidi + tp->initial_max_streams_uni);

    tp->initial_max_data = ngx_min(data, 0x3fffffff);

    qc->streams.recv_max_data = tp->initial_max_data;
    qc->streams.recv_window = tp->initial_max_data;
    qc->streams.client_max_streams_bidi = tp->initial_max_streams_bidi;
    qc->streams.client_max_streams_uni = tp->initial_max_streams_uni;

    gc->limits[0].told = tp->initial_max_streams_uni;
    gc->limits[0].seen = tp->initial_max_streams_uni;
    gc->limits[1].told = tp->initial_max_streams_bidi;
    gc->limits[1].seen = tp->initial_max_streams_bidi;
}


static ngx_int_t
ngx_http_wt_glue_set_params(ngx_http_wt_glue_conn_t *gc)
{
    u_char                     *p, *last;
    ssize_t                     len;
    ngx_connection_t           *c;
    ngx_quic_connection_t      *qc;
    ngx_http_wt_glue_params_t  *params;

    c = gc->pub.connection;
    qc = ngx_quic_get_connection(c);
    params = gc->pub.params;

    len = ngx_quic_create_transport_params(NULL, NULL, &qc->tp, NULL);

    p = ngx_pnalloc(c->pool, len + params->transport_params.len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    len = ngx_quic_create_transport_params(p, p + len, &qc->tp, NULL);
    if (len < 0) {
        return NGX_ERROR;
    }

    last = ngx_cpymem(p + len, params->transport_params.data,
                      params->transport_params.len);

    if (SSL_set_quic_transport_params(c->ssl->connection, p, last - p) == 0) {
        ngx_log_error(NGX_LOG_INFO, c->log, 0,
                      "webtransport: SSL_set_quic_transport_params() failed");
        return NGX_ERROR;
    }

    return NGX_OK;
}


static void
ngx_http_wt_glue_conn_cleanup(void *data)
{
    ngx_http_wt_glue_conn_t *gc = data;

    if (gc->freed) {
        *gc->freed = 1;
    }

    if (gc->datagrams.timer_set) {
        ngx_del_timer(&gc->datagrams);
    }

    if (gc->datagrams.posted) {
        ngx_delete_posted_event(&gc->datagrams);
    }

    ngx_http_wt_glue_train_drop(gc);
}


void
ngx_http_wt_glue_peer_params(ngx_http_wt_glue_conn_t *gc)
{
    u_char         *p, *end;
    size_t          len;
    uint64_t        id, size;
    const uint8_t  *params;

    SSL_get_peer_quic_transport_params(gc->pub.connection->ssl->connection,
                                       &params, &len);

    /* nginx has checked that these are well-formed */

    p = (u_char *) params;
    end = p + len;

    while (p != end) {
        p = ngx_http_wt_glue_varint(p, end, &id);
        if (p == NULL) {
            return;
        }

        p = ngx_http_wt_glue_varint(p, end, &size);
        if (p == NULL || size > (uint64_t) (end - p)) {
            return;
        }

        if (id == NGX_HTTP_WT_GLUE_TP_MAX_DATAGRAM) {
            (void) ngx_http_wt_glue_varint(p, p + size,
                                           &gc->pub.peer_max_datagram);
            return;
        }

        p += size;
    }
}
