/*
 * Directives of a location that passes sessions to a worker.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include <ngx_http_wt_conf.h>


static const ngx_http_wt_scheme_t *ngx_http_wt_scheme(ngx_str_t *url);
static void ngx_http_wt_target(ngx_http_wt_loc_conf_t *wlcf, ngx_url_t *u);
static ngx_int_t ngx_http_wt_header_name(ngx_str_t *name);
static ngx_array_t **ngx_http_wt_value_array(ngx_conf_t *cf, void *conf,
    ngx_command_t *cmd);


/* a name that another one begins with comes behind it */

static const ngx_http_wt_scheme_t  ngx_http_wt_schemes[] = {

    { ngx_string("grpc://"), &ngx_http_wt_grpc, NULL,
      80, ngx_null_string, 0 },

    { ngx_string("grpcs://"), &ngx_http_wt_grpc, NULL,
      443, ngx_string("\x02h2"), 0 },

    { ngx_string("grpc+unary://"), &ngx_http_wt_batch, &ngx_http_wt_call_grpc,
      80, ngx_null_string, 0 },

    { ngx_string("grpcs+unary://"), &ngx_http_wt_batch, &ngx_http_wt_call_grpc,
      443, ngx_string("\x02h2"), 0 },

    { ngx_string("http://"), &ngx_http_wt_batch, &ngx_http_wt_call_http,
      80, ngx_null_string, 1 },

    { ngx_string("https://"), &ngx_http_wt_batch, &ngx_http_wt_call_http,
      443, ngx_string("\x08http/1.1"), 1 },

    { ngx_null_string, NULL, NULL, 0, ngx_null_string, 0 }
};


char *
ngx_http_wt_pass(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_wt_loc_conf_t *wlcf = conf;

    ngx_url_t                    u;
    ngx_str_t                   *value;
    ngx_http_core_loc_conf_t    *clcf;
    ngx_http_wt_backend_conf_t  *backend;

    backend = &wlcf->backend;

    if (backend->upstream.upstream) {
        return "is duplicate";
    }

    if (wlcf->echo) {
        return "contradicts \"webtransport_echo\" in the same location";
    }

    value = cf->args->elts;

    if (ngx_http_script_variables_count(&value[1])) {
        return "does not take variables";
    }

    ngx_memzero(&u, sizeof(ngx_url_t));

    u.url = value[1];
    u.no_resolve = 1;

    backend->transport = &ngx_http_wt_unix;

    if (ngx_strstr(value[1].data, "://")) {

        wlcf->scheme = ngx_http_wt_scheme(&value[1]);

        if (wlcf->scheme == NULL) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "unsupported scheme in \"%V %V\": it takes "
                               "\"unix:/path\", \"host:port\", the name of "
                               "an \"upstream\", or one of these behind "
                               "\"grpc://\", \"grpcs://\", "
                               "\"grpc+unary://\", \"grpcs+unary://\", "
                               "\"http://\" or \"https://\"",
                               &cmd->name, &value[1]);
            return NGX_CONF_ERROR;
        }

        u.url.data += wlcf->scheme->name.len;
        u.url.len -= wlcf->scheme->name.len;
        u.default_port = wlcf->scheme->port;
        u.uri_part = wlcf->scheme->uri;

        backend->transport = wlcf->scheme->transport;
        backend->call = wlcf->scheme->call;
    }

    backend->upstream.upstream = ngx_http_upstream_add(cf, &u, 0);
    if (backend->upstream.upstream == NULL) {
        return NGX_CONF_ERROR;
    }

    ngx_http_wt_target(wlcf, &u);

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);
    clcf->handler = ngx_http_wt_handler;

    backend->location = clcf->name;

    return NGX_CONF_OK;
}


static const ngx_http_wt_scheme_t *
ngx_http_wt_scheme(ngx_str_t *url)
{
    const ngx_http_wt_scheme_t  *scheme;

    for (scheme = ngx_http_wt_schemes; scheme->name.len; scheme++) {
        if (url->len > scheme->name.len
            && ngx_strncasecmp(url->data, scheme->name.data, scheme->name.len)
               == 0)
        {
            return scheme;
        }
    }

    return NULL;
}


/* the authority, as nginx's own proxies have it, and the path */

static void
ngx_http_wt_target(ngx_http_wt_loc_conf_t *wlcf, ngx_url_t *u)
{
    ngx_http_wt_backend_conf_t  *backend;

    backend = &wlcf->backend;

    if (u->family == AF_UNIX) {
        ngx_str_set(&backend->authority, "localhost");

    } else {
        backend->authority = u->host;

        if (!u->no_port && u->port != u->default_port) {
            backend->authority.len = u->host.len + 1 + u->port_text.len;
        }
    }

    backend->uri = u->uri;

    if (backend->uri.len == 0) {
        ngx_str_set(&backend->uri, "/");
    }
}


void
ngx_http_wt_inherit_pass(ngx_http_wt_loc_conf_t *prev,
    ngx_http_wt_loc_conf_t *conf)
{
    conf->echo = prev->echo;
    conf->scheme = prev->scheme;

    conf->backend.upstream.upstream = prev->backend.upstream.upstream;
    conf->backend.transport = prev->backend.transport;
    conf->backend.call = prev->backend.call;
    conf->backend.authority = prev->backend.authority;
    conf->backend.uri = prev->backend.uri;
    conf->backend.location = prev->backend.location;
}


/* webtransport_param and webtransport_set_header */

char *
ngx_http_wt_set_value(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_str_t                          *value;
    ngx_array_t                       **values;
    ngx_http_wt_backend_value_t        *v;
    ngx_http_compile_complex_value_t    ccv;

    values = ngx_http_wt_value_array(cf, conf, cmd);
    if (values == NULL) {
        return NGX_CONF_ERROR;
    }

    value = cf->args->elts;

    if (value[1].len == 0) {
        return "needs a name";
    }

    v = ngx_array_push(*values);
    if (v == NULL) {
        return NGX_CONF_ERROR;
    }

    v->name = value[1];

    if (cmd->post && ngx_http_wt_header_name(&v->name) != NGX_OK) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid header name \"%V\" in \"%V\"",
                           &value[1], &cmd->name);
        return NGX_CONF_ERROR;
    }

    ngx_memzero(&ccv, sizeof(ngx_http_compile_complex_value_t));

    ccv.cf = cf;
    ccv.value = &value[2];
    ccv.complex_value = &v->value;

    if (ngx_http_compile_complex_value(&ccv) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


/* RFC 9110, 5.6.2: a token; RFC 9114, 4.2: in lower case */

static ngx_int_t
ngx_http_wt_header_name(ngx_str_t *name)
{
    u_char      ch;
    ngx_uint_t  i;

    for (i = 0; i < name->len; i++) {
        ch = ngx_tolower(name->data[i]);

        if ((ch < 'a' || ch > 'z') && (ch < '0' || ch > '9')
            && ngx_strchr("!#$%&'*+-.^_`|~", ch) == NULL)
        {
            return NGX_ERROR;
        }

        name->data[i] = ch;
    }

    return NGX_OK;
}


static ngx_array_t **
ngx_http_wt_value_array(ngx_conf_t *cf, void *conf, ngx_command_t *cmd)
{
    ngx_array_t  **values;

    values = (ngx_array_t **) ((u_char *) conf + cmd->offset);

    if (*values == NGX_CONF_UNSET_PTR) {
        *values = ngx_array_create(cf->pool, 4,
                                   sizeof(ngx_http_wt_backend_value_t));
        if (*values == NULL) {
            return NULL;
        }
    }

    return values;
}


void
ngx_http_wt_create_backend_conf(ngx_http_wt_backend_conf_t *conf)
{
    /*
     * set by ngx_pcalloc():
     *
     *     conf->upstream = { 0 }
     *     conf->upstream.next_upstream = 0
     *     conf->transport = NULL
     *     conf->call = NULL
     *     conf->datagram_queue = 0
     *     conf->authority = { 0, NULL }
     *     conf->uri = { 0, NULL }
     *     conf->location = { 0, NULL }
     *     conf->node = { 0, NULL }
     */

    conf->upstream.buffer_size = NGX_CONF_UNSET_SIZE;
    conf->upstream.connect_timeout = NGX_CONF_UNSET_MSEC;
    conf->upstream.send_timeout = NGX_CONF_UNSET_MSEC;
    conf->upstream.read_timeout = NGX_CONF_UNSET_MSEC;
    conf->upstream.next_upstream_tries = NGX_CONF_UNSET_UINT;
    conf->upstream.next_upstream_timeout = NGX_CONF_UNSET_MSEC;
    conf->accept_timeout = NGX_CONF_UNSET_MSEC;
    conf->worker_timeout = NGX_CONF_UNSET_MSEC;
    conf->framing = NGX_CONF_UNSET_UINT;
    conf->max_message_size = NGX_CONF_UNSET_SIZE;
    conf->overflow = NGX_CONF_UNSET_UINT;
    conf->format = NGX_CONF_UNSET_UINT;
    conf->unary_error = NGX_CONF_UNSET_UINT;
    conf->unary_timeout = NGX_CONF_UNSET_MSEC;
    conf->grpc_keepalive = NGX_CONF_UNSET_MSEC;
    conf->user = NGX_CONF_UNSET_PTR;
    conf->params = NGX_CONF_UNSET_PTR;
    conf->headers = NGX_CONF_UNSET_PTR;
}


char *
ngx_http_wt_merge_backend_conf(ngx_conf_t *cf,
    ngx_http_wt_backend_conf_t *prev, ngx_http_wt_backend_conf_t *conf)
{
    ngx_conf_merge_size_value(conf->upstream.buffer_size,
                              prev->upstream.buffer_size, 65536);
    ngx_conf_merge_msec_value(conf->upstream.connect_timeout,
                              prev->upstream.connect_timeout, 5000);
    ngx_conf_merge_msec_value(conf->upstream.send_timeout,
                              prev->upstream.send_timeout, 60000);
    ngx_conf_merge_msec_value(conf->upstream.read_timeout,
                              prev->upstream.read_timeout, 30000);
    ngx_conf_merge_bitmask_value(conf->upstream.next_upstream,
                                 prev->upstream.next_upstream,
                                 (NGX_CONF_BITMASK_SET
                                  |NGX_HTTP_UPSTREAM_FT_ERROR
                                  |NGX_HTTP_UPSTREAM_FT_TIMEOUT
                                  |NGX_HTTP_UPSTREAM_FT_HTTP_503));
    ngx_conf_merge_uint_value(conf->upstream.next_upstream_tries,
                              prev->upstream.next_upstream_tries, 0);
    ngx_conf_merge_msec_value(conf->upstream.next_upstream_timeout,
                              prev->upstream.next_upstream_timeout, 0);
    ngx_conf_merge_msec_value(conf->accept_timeout, prev->accept_timeout,
                              10000);
    ngx_conf_merge_msec_value(conf->worker_timeout, prev->worker_timeout,
                              60000);
    ngx_conf_merge_uint_value(conf->framing, prev->framing,
                              NGX_HTTP_WT_FRAMING_RAW);
    ngx_conf_merge_size_value(conf->max_message_size, prev->max_message_size,
                              65536);
    ngx_conf_merge_uint_value(conf->overflow, prev->overflow,
                              NGX_HTTP_WT_OVERFLOW_BLOCK);
    ngx_conf_merge_uint_value(conf->format, prev->format,
                              NGX_HTTP_WT_FORMAT_JSON);
    ngx_conf_merge_uint_value(conf->unary_error, prev->unary_error,
                              NGX_HTTP_WT_UNARY_CLOSE);
    ngx_conf_merge_msec_value(conf->unary_timeout, prev->unary_timeout, 60000);
    ngx_conf_merge_msec_value(conf->grpc_keepalive, prev->grpc_keepalive,
                              60000);
    ngx_conf_merge_ptr_value(conf->user, prev->user, NULL);
    ngx_conf_merge_str_value(conf->node, prev->node, "");
    ngx_conf_merge_ptr_value(conf->params, prev->params, NULL);
    ngx_conf_merge_ptr_value(conf->headers, prev->headers, NULL);

    if (conf->upstream.buffer_size < NGX_HTTP_WT_BACKEND_MIN_BUFFER
        || conf->upstream.buffer_size > NGX_HTTP_WT_BACKEND_MAX_BUFFER)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"webtransport_buffer_size\" must be between "
                           "%d and %d", NGX_HTTP_WT_BACKEND_MIN_BUFFER,
                           NGX_HTTP_WT_BACKEND_MAX_BUFFER);
        return NGX_CONF_ERROR;
    }

    if (conf->max_message_size == 0
        || conf->max_message_size > NGX_HTTP_WT_BACKEND_MAX_MESSAGE)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"webtransport_max_message_size\" must be between "
                           "1 and %d", NGX_HTTP_WT_BACKEND_MAX_MESSAGE);
        return NGX_CONF_ERROR;
    }

    if (conf->node.len == 0) {
        conf->node = cf->cycle->hostname;
    }

    if (conf->accept_timeout == 0 || conf->upstream.connect_timeout == 0
        || conf->upstream.send_timeout == 0
        || conf->upstream.read_timeout == 0)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"webtransport_connect_timeout\", "
                           "\"webtransport_accept_timeout\", "
                           "\"webtransport_send_timeout\" and "
                           "\"webtransport_read_timeout\" must not be 0");
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}
