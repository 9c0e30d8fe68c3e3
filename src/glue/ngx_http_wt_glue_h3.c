/*
 * The HTTP/3 connection: our SETTINGS instead of nginx's, and the client's,
 * which nginx reads but ignores.
 */


#include <ngx_http_wt_glue_internal.h>


/* nginx's two settings and the frame's header */
#define NGX_HTTP_WT_GLUE_SETTINGS_MAX  (6 * 8)


typedef enum {
    NGX_HTTP_WT_GLUE_CONTROL_TYPE = 0,
    NGX_HTTP_WT_GLUE_CONTROL_FRAME,
    NGX_HTTP_WT_GLUE_CONTROL_LENGTH,
    NGX_HTTP_WT_GLUE_CONTROL_ID,
    NGX_HTTP_WT_GLUE_CONTROL_VALUE,
    NGX_HTTP_WT_GLUE_CONTROL_DONE
} ngx_http_wt_glue_control_state_e;


static ngx_uint_t ngx_http_wt_glue_is_hq(ngx_connection_t *c,
    ngx_http_v3_srv_conf_t *h3scf);
static ngx_int_t ngx_http_wt_glue_send_settings(ngx_connection_t *c,
    ngx_http_wt_glue_conn_t *gc, ngx_http_v3_srv_conf_t *h3scf);
static ssize_t ngx_http_wt_glue_control_recv(ngx_connection_t *c, u_char *buf,
    size_t size);
static ngx_int_t ngx_http_wt_glue_control_parse(ngx_http_wt_glue_conn_t *gc,
    u_char *p, u_char *last);
static ngx_int_t ngx_http_wt_glue_control_value(ngx_http_wt_glue_conn_t *gc,
    uint64_t value, size_t len);


ngx_int_t
ngx_http_wt_glue_h3_init(ngx_connection_t *c)
{
    ngx_http_v3_session_t     *h3c;
    ngx_http_v3_srv_conf_t    *h3scf;
    ngx_http_wt_glue_conn_t   *gc;
    ngx_http_core_loc_conf_t  *clcf;

    gc = ngx_http_wt_glue_get_conn(c);

    h3scf = ngx_http_get_module_srv_conf(
                  ((ngx_http_connection_t *) c->data)->conf_ctx,
                  ngx_http_v3_module);

    if (ngx_http_wt_glue_is_hq(c, h3scf)) {
        return gc->nginx_conf->init(c);
    }

    if (ngx_http_v3_init_session(c) != NGX_OK) {
        return NGX_ERROR;
    }

    h3c = ngx_http_v3_get_session(c);
    clcf = ngx_http_v3_get_module_loc_conf(c, ngx_http_core_module);
    ngx_add_timer(&h3c->keepalive, clcf->keepalive_timeout);

    ngx_http_wt_glue_peer_params(gc);

    if (ngx_http_wt_glue_ops->open(&gc->pub) != NGX_OK) {
        return NGX_ERROR;
    }

    if (ngx_http_wt_glue_send_settings(c, gc, h3scf) != NGX_OK) {
        return NGX_ERROR;
    }

    if (h3scf->max_table_capacity > 0
        && ngx_http_v3_get_uni_stream(c, NGX_HTTP_V3_STREAM_DECODER) == NULL)
    {
        return NGX_ERROR;
    }

    return NGX_OK;
}


static ngx_uint_t
ngx_http_wt_glue_is_hq(ngx_connection_t *c, ngx_http_v3_srv_conf_t *h3scf)
{
    unsigned int          len;
    const unsigned char  *data;

    if (!h3scf->enable_hq) {
        return 0;
    }

    SSL_get0_alpn_selected(c->ssl->connection, &data, &len);

    return len == sizeof(NGX_HTTP_V3_HQ_PROTO) - 1
           && ngx_strncmp(data, NGX_HTTP_V3_HQ_PROTO, len) == 0;
}


static ngx_int_t
ngx_http_wt_glue_send_settings(ngx_connection_t *c,
    ngx_http_wt_glue_conn_t *gc, ngx_http_v3_srv_conf_t *h3scf)
{
    u_char                 *p, *buf;
    size_t                  len, size;
    ngx_str_t              *settings;
    ngx_connection_t       *cc;
    ngx_http_v3_session_t  *h3c;

    cc = ngx_http_v3_get_uni_stream(c, NGX_HTTP_V3_STREAM_CONTROL);
    if (cc == NULL) {
        return NGX_ERROR;
    }

    settings = &gc->pub.params->settings;

    size = NGX_HTTP_WT_GLUE_SETTINGS_MAX + settings->len;

    buf = ngx_pnalloc(cc->pool, size);
    if (buf == NULL) {
        return NGX_ERROR;
    }

#define ngx_http_wt_glue_v(p, v)                                              \
    (u_char *) ngx_http_v3_encode_varlen_int(p, v)
#define ngx_http_wt_glue_vlen(v)                                              \
    ngx_http_v3_encode_varlen_int(NULL, v)

    len = ngx_http_wt_glue_vlen(NGX_HTTP_V3_PARAM_MAX_TABLE_CAPACITY)
          + ngx_http_wt_glue_vlen(h3scf->max_table_capacity)
          + ngx_http_wt_glue_vlen(NGX_HTTP_V3_PARAM_BLOCKED_STREAMS)
          + ngx_http_wt_glue_vlen(h3scf->max_blocked_streams)
          + settings->len;

    p = ngx_http_wt_glue_v(buf, NGX_HTTP_V3_FRAME_SETTINGS);
    p = ngx_http_wt_glue_v(p, len);
    p = ngx_http_wt_glue_v(p, NGX_HTTP_V3_PARAM_MAX_TABLE_CAPACITY);
    p = ngx_http_wt_glue_v(p, h3scf->max_table_capacity);
    p = ngx_http_wt_glue_v(p, NGX_HTTP_V3_PARAM_BLOCKED_STREAMS);
    p = ngx_http_wt_glue_v(p, h3scf->max_blocked_streams);
    p = ngx_cpymem(p, settings->data, settings->len);

    h3c = ngx_http_v3_get_session(c);
    h3c->total_bytes += p - buf;

    if (cc->send(cc, buf, p - buf) != p - buf) {
        return NGX_ERROR;
    }

    return NGX_OK;
}


void
ngx_http_wt_glue_control_init(ngx_connection_t *c, ngx_http_wt_glue_conn_t *gc)
{
    if (gc->control.recv) {
        /* a second control stream: nginx ends the connection */
        return;
    }

    gc->control.recv = c->recv;

    c->recv = ngx_http_wt_glue_control_recv;
}


static ssize_t
ngx_http_wt_glue_control_recv(ngx_connection_t *c, u_char *buf, size_t size)
{
    ssize_t                      n;
    ngx_int_t                    rc;
    ngx_http_wt_glue_conn_t     *gc;
    ngx_http_wt_glue_control_t  *control;

    gc = ngx_http_wt_glue_get_conn(c->quic->parent);
    control = &gc->control;

    n = control->recv(c, buf, size);

    if (n <= 0) {
        return n;
    }

    rc = ngx_http_wt_glue_control_parse(gc, buf, buf + n);

    if (rc != NGX_OK) {
        ngx_http_wt_glue_conn_close(&gc->pub, rc, "invalid SETTINGS");
        control->state = NGX_HTTP_WT_GLUE_CONTROL_DONE;
    }

    if (control->state == NGX_HTTP_WT_GLUE_CONTROL_DONE) {
        c->recv = control->recv;
    }

    return n;
}


/* NGX_OK or an HTTP/3 error code */

static ngx_int_t
ngx_http_wt_glue_control_parse(ngx_http_wt_glue_conn_t *gc, u_char *p,
    u_char *last)
{
    u_char                      *next;
    uint64_t                     value;
    ngx_int_t                    rc;
    ngx_http_wt_glue_control_t  *control;

    control = &gc->control;

    while (p != last && control->state != NGX_HTTP_WT_GLUE_CONTROL_DONE) {

        /* varints only: collect one */

        control->vbuf[control->vlen++] = *p++;

        next = ngx_http_wt_glue_varint(control->vbuf,
                                       control->vbuf + control->vlen, &value);
        if (next == NULL) {
            continue;
        }

        rc = ngx_http_wt_glue_control_value(gc, value, control->vlen);
        if (rc != NGX_OK) {
            return rc;
        }

        control->vlen = 0;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_wt_glue_control_value(ngx_http_wt_glue_conn_t *gc, uint64_t value,
    size_t len)
{
    ngx_int_t                    rc;
    ngx_http_wt_glue_control_t  *control;

    control = &gc->control;

    switch (control->state) {

    case NGX_HTTP_WT_GLUE_CONTROL_TYPE:
        control->state = NGX_HTTP_WT_GLUE_CONTROL_FRAME;
        return NGX_OK;

    case NGX_HTTP_WT_GLUE_CONTROL_FRAME:

        /* RFC 9114, 6.2.1: the first frame MUST be SETTINGS */

        if (value != NGX_HTTP_V3_FRAME_SETTINGS) {
            return NGX_HTTP_V3_ERR_MISSING_SETTINGS;
        }

        control->state = NGX_HTTP_WT_GLUE_CONTROL_LENGTH;
        return NGX_OK;

    case NGX_HTTP_WT_GLUE_CONTROL_LENGTH:
        control->length = value;
        control->state = NGX_HTTP_WT_GLUE_CONTROL_ID;
        break;

    case NGX_HTTP_WT_GLUE_CONTROL_ID:
    default: /* NGX_HTTP_WT_GLUE_CONTROL_VALUE */

        if (len > control->length) {
            return NGX_HTTP_V3_ERR_FRAME_ERROR;
        }

        control->length -= len;

        if (control->state == NGX_HTTP_WT_GLUE_CONTROL_ID) {

            if (control->length == 0) {
                return NGX_HTTP_V3_ERR_FRAME_ERROR;
            }

            control->id = value;
            control->state = NGX_HTTP_WT_GLUE_CONTROL_VALUE;
            return NGX_OK;
        }

        rc = ngx_http_wt_glue_ops->setting(&gc->pub, control->id, value);
        if (rc != NGX_OK) {
            return rc;
        }

        control->state = NGX_HTTP_WT_GLUE_CONTROL_ID;
    }

    if (control->length == 0) {
        control->state = NGX_HTTP_WT_GLUE_CONTROL_DONE;
        ngx_http_wt_glue_ops->settings_done(&gc->pub);
    }

    return NGX_OK;
}
