/*
 * Where the glue meets nginx: listening sockets, SSL contexts, and the check
 * that this nginx is the one the module was built for.
 */


#include <ngx_http_wt_glue_internal.h>


typedef struct {
    ngx_listening_t             *listening;
    ngx_connection_handler_pt    handler;
} ngx_http_wt_glue_listening_t;


static ngx_int_t ngx_http_wt_glue_check_nginx(ngx_conf_t *cf);
static void ngx_http_wt_glue_connection_handler(ngx_connection_t *c);
static ngx_connection_handler_pt ngx_http_wt_glue_saved_handler(
    ngx_listening_t *ls);
static void ngx_http_wt_glue_freed(void *data);


const ngx_http_wt_glue_ops_t  *ngx_http_wt_glue_ops;

/* the connection whose first datagram is being handled */
ngx_connection_t  *ngx_http_wt_glue_starting;

ngx_uint_t  ngx_http_wt_glue_datagrams;

/* of the newest cycle; an old worker process has its own copy */
static ngx_array_t  *ngx_http_wt_glue_listenings;
static ngx_uint_t    ngx_http_wt_glue_on;


ngx_int_t
ngx_http_wt_glue_postconfiguration(ngx_conf_t *cf, ngx_uint_t on,
    const ngx_http_wt_glue_ops_t *ops,
    const ngx_http_wt_glue_receive_t *receive)
{
    ngx_uint_t                   i;
    ngx_http_ssl_srv_conf_t     *sscf;
    ngx_http_core_srv_conf_t   **cscfp;
    ngx_http_core_main_conf_t   *cmcf;

    ngx_http_wt_glue_ops = ops;
    ngx_http_wt_glue_on = on;

    if (ngx_http_wt_glue_check_nginx(cf) != NGX_OK) {
        return NGX_ERROR;
    }

    if (ngx_http_wt_glue_receive_postconfiguration(cf, receive) != NGX_OK) {
        return NGX_ERROR;
    }

    if (!on) {
        return NGX_OK;
    }

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);

    cscfp = cmcf->servers.elts;

    for (i = 0; i < cmcf->servers.nelts; i++) {
        sscf = ngx_http_get_module_srv_conf(cscfp[i]->ctx,
                                            ngx_http_ssl_module);

        if (sscf->ssl.ctx == NULL) {
            continue;
        }

        if (SSL_CTX_set_tlsext_servername_callback(sscf->ssl.ctx,
                                                   ngx_http_wt_glue_servername)
            == 0)
        {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "webtransport: the TLS library has no "
                               "server name callback");
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_wt_glue_check_nginx(ngx_conf_t *cf)
{
    const char  *version;

    /*
     * nginx has compared versions and signatures already, but its signature
     * has a single bit for QUIC and does not know the TLS library, which
     * decides the layout of QUIC structures.
     */

    version = ngx_ssl_version();

    if ((ngx_strstr(version, "BoringSSL") != NULL)
        != NGX_HTTP_WT_HAVE_BORINGSSL)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "webtransport: the module was built with "
                           NGX_HTTP_WT_TLS_NAME ", but nginx runs with "
                           "\"%s\": build the module with the configure "
                           "arguments that \"nginx -V\" prints", version);
        return NGX_ERROR;
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_wt_glue_init_module(ngx_cycle_t *cycle)
{
    ngx_uint_t                     i;
    ngx_listening_t               *ls;
    ngx_http_wt_glue_listening_t  *gl;

    ngx_http_wt_glue_listenings = NULL;

    if (ngx_http_wt_glue_receive_init_module(cycle) != NGX_OK) {
        return NGX_ERROR;
    }

    if (!ngx_http_wt_glue_on) {
        return NGX_OK;
    }

    ngx_http_wt_glue_listenings = ngx_array_create(cycle->pool, 4,
                                         sizeof(ngx_http_wt_glue_listening_t));
    if (ngx_http_wt_glue_listenings == NULL) {
        return NGX_ERROR;
    }

    ls = cycle->listening.elts;

    for (i = 0; i < cycle->listening.nelts; i++) {

        if (!ls[i].quic) {
            continue;
        }

        if (ls[i].handler != ngx_http_init_connection) {
            ngx_log_error(NGX_LOG_WARN, cycle->log, 0,
                          "no webtransport on %V: another module handles its "
                          "connections", &ls[i].addr_text);
            continue;
        }

        gl = ngx_array_push(ngx_http_wt_glue_listenings);
        if (gl == NULL) {
            return NGX_ERROR;
        }

        gl->listening = &ls[i];
        gl->handler = ls[i].handler;

        ls[i].handler = ngx_http_wt_glue_connection_handler;
    }

    return NGX_OK;
}


ngx_http_wt_glue_conn_t *
ngx_http_wt_glue_get_conn(ngx_connection_t *c)
{
    ngx_quic_connection_t  *qc;

    qc = ngx_quic_get_connection(c);

    if (qc == NULL || qc->conf->init != ngx_http_wt_glue_h3_init) {
        return NULL;
    }

    return (ngx_http_wt_glue_conn_t *)
               ((u_char *) qc->conf - offsetof(ngx_http_wt_glue_conn_t, conf));
}


/* called for every new QUIC connection, c->quic == NULL, and every stream */

static void
ngx_http_wt_glue_connection_handler(ngx_connection_t *c)
{
    ngx_uint_t                  freed;
    ngx_pool_cleanup_t         *cln;
    ngx_http_wt_glue_conn_t    *gc;
    ngx_connection_handler_pt   handler;

    handler = ngx_http_wt_glue_saved_handler(c->listening);

    if (c->quic) {
        gc = ngx_http_wt_glue_get_conn(c->quic->parent);

        /* "hq" connections have no HTTP/3, and no upper layer */

        if (gc == NULL || gc->pub.data == NULL) {
            handler(c);
            return;
        }

        ngx_http_wt_glue_stream_init(c, gc, handler);
        return;
    }

    /* the handler reads the first datagram, and may free the connection */

    cln = ngx_http_wt_glue_watch(c->pool, &freed);
    if (cln == NULL) {
        handler(c);
        return;
    }

    ngx_http_wt_glue_starting = c;

    handler(c);

    ngx_http_wt_glue_starting = NULL;

    if (freed) {
        return;
    }

    cln->handler = NULL;

    gc = ngx_http_wt_glue_get_conn(c);

    if (gc) {
        ngx_http_wt_glue_tap_install(gc);
    }
}


static ngx_connection_handler_pt
ngx_http_wt_glue_saved_handler(ngx_listening_t *ls)
{
    ngx_uint_t                     i;
    ngx_http_wt_glue_listening_t  *gl;

    if (ngx_http_wt_glue_listenings) {
        gl = ngx_http_wt_glue_listenings->elts;

        for (i = 0; i < ngx_http_wt_glue_listenings->nelts; i++) {
            if (gl[i].listening == ls) {
                return gl[i].handler;
            }
        }
    }

    /* a socket of an older cycle in a single process */

    return ngx_http_init_connection;
}


ngx_pool_cleanup_t *
ngx_http_wt_glue_watch(ngx_pool_t *pool, ngx_uint_t *freed)
{
    ngx_pool_cleanup_t  *cln;

    *freed = 0;

    cln = ngx_pool_cleanup_add(pool, 0);
    if (cln == NULL) {
        return NULL;
    }

    cln->handler = ngx_http_wt_glue_freed;
    cln->data = freed;

    return cln;
}


static void
ngx_http_wt_glue_freed(void *data)
{
    ngx_uint_t *freed = data;

    *freed = 1;
}


u_char *
ngx_http_wt_glue_varint(u_char *p, u_char *end, uint64_t *value)
{
    size_t    len;
    uint64_t  v;

    if (p == end) {
        return NULL;
    }

    len = (size_t) 1 << (*p >> 6);

    if ((size_t) (end - p) < len) {
        return NULL;
    }

    v = *p++ & 0x3f;

    while (--len) {
        v = (v << 8) | *p++;
    }

    *value = v;

    return p;
}


void
ngx_http_wt_glue_conn_close(ngx_http_wt_qconn_t *qconn, uint64_t code,
    const char *reason)
{
    ngx_quic_finalize_connection(qconn->connection, code, reason);
}


void
ngx_http_wt_glue_conn_idle(ngx_http_wt_qconn_t *qconn)
{
    ngx_http_wt_glue_conn_t  *gc;

    gc = (ngx_http_wt_glue_conn_t *) qconn;

    if (gc->delayed_shutdown) {
        gc->delayed_shutdown = 0;
        ngx_quic_shutdown_connection(qconn->connection, gc->shutdown_code,
                                     gc->shutdown_reason);
    }
}


uint64_t
ngx_http_wt_glue_requests_max(ngx_http_wt_qconn_t *qconn)
{
    ngx_quic_connection_t  *qc;

    qc = ngx_quic_get_connection(qconn->connection);

    return qc->streams.client_max_streams_bidi;
}


ngx_uint_t
ngx_http_wt_glue_conn_acked(ngx_http_wt_qconn_t *qconn, void *owner)
{
    ngx_rbtree_t           *tree;
    ngx_rbtree_node_t      *node;
    ngx_quic_stream_t      *qs;
    ngx_quic_connection_t  *qc;
    ngx_http_wt_qstream_t  *stream;

    qc = ngx_quic_get_connection(qconn->connection);
    tree = &qc->streams.tree;

    if (tree->root == tree->sentinel) {
        return 1;
    }

    for (node = ngx_rbtree_min(tree->root, tree->sentinel);
         node;
         node = ngx_rbtree_next(tree, node))
    {
        qs = (ngx_quic_stream_t *) node;

        if (qs->connection) {
            stream = ngx_http_wt_glue_get_stream(qs->connection);

            if (stream == NULL || stream->owner != owner) {
                continue;
            }
        }

        if ((qs->send_state == NGX_QUIC_STREAM_SEND_SEND
             || qs->send_state == NGX_QUIC_STREAM_SEND_DATA_SENT)
            && qs->acked != qs->sent)
        {
            return 0;
        }
    }

    return 1;
}


ngx_msec_t
ngx_http_wt_glue_idle_timeout(ngx_http_wt_qconn_t *qconn)
{
    return ngx_quic_get_connection(qconn->connection)->tp.max_idle_timeout;
}


ngx_int_t
ngx_http_wt_glue_ping(ngx_http_wt_qconn_t *qconn)
{
    ngx_quic_frame_t       *frame;
    ngx_quic_connection_t  *qc;

    qc = ngx_quic_get_connection(qconn->connection);

    if (qc->closing) {
        return NGX_OK;
    }

    frame = ngx_quic_alloc_frame(qconn->connection);
    if (frame == NULL) {
        return NGX_ERROR;
    }

    frame->level = NGX_HTTP_WT_LEVEL_APP;
    frame->type = NGX_QUIC_FT_PING;

    ngx_quic_queue_frame(qc, frame);

    return NGX_OK;
}
