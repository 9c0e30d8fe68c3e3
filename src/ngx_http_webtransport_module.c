/*
 * The module: directives, their defaults and checks, and the hooks into
 * nginx's start.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_http.h>
#include <ngx_http_wt_conf.h>
#include <ngx_http_wt_conn.h>
#include <ngx_http_wt_echo.h>


/* QUIC stream ids have room for more, connection slots do not */
#define NGX_HTTP_WT_MAX_STREAMS        65535
#define NGX_HTTP_WT_MAX_DATAGRAM_SIZE  65535

/* of times that may be off; above, nginx's timers would not be told apart */
#define NGX_HTTP_WT_MIN_TIME           100
#define NGX_HTTP_WT_MAX_TIME           (24 * 24 * 3600 * 1000)

/* more packets at once would keep everybody else waiting */
#define NGX_HTTP_WT_MAX_BATCH          1024


static ngx_int_t ngx_http_wt_preconfiguration(ngx_conf_t *cf);
static ngx_int_t ngx_http_wt_postconfiguration(ngx_conf_t *cf);
static ngx_int_t ngx_http_wt_init_server(ngx_conf_t *cf,
    ngx_http_wt_srv_conf_t *wscf);
static ngx_http_wt_glue_params_t *ngx_http_wt_negotiate(
    ngx_http_conf_ctx_t *ctx);
static void *ngx_http_wt_create_main_conf(ngx_conf_t *cf);
static char *ngx_http_wt_init_main_conf(ngx_conf_t *cf, void *conf);
static void *ngx_http_wt_create_srv_conf(ngx_conf_t *cf);
static char *ngx_http_wt_merge_srv_conf(ngx_conf_t *cf, void *parent,
    void *child);
static void *ngx_http_wt_create_loc_conf(ngx_conf_t *cf);
static char *ngx_http_wt_merge_loc_conf(ngx_conf_t *cf, void *parent,
    void *child);
static char *ngx_http_wt_receive_batch(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_http_wt_max_streams(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_http_wt_time_or_off(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_http_wt_echo(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
static ngx_uint_t ngx_http_wt_asterisks(ngx_str_t *str);
static char *ngx_http_wt_origins(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);


static ngx_conf_num_bounds_t  ngx_http_wt_sessions_bounds = {
    ngx_conf_check_num_bounds, 1, 65535
};

static ngx_conf_num_bounds_t  ngx_http_wt_datagram_size_bounds = {
    ngx_conf_check_num_bounds, 64, NGX_HTTP_WT_MAX_DATAGRAM_SIZE
};

static ngx_conf_num_bounds_t  ngx_http_wt_datagram_queue_bounds = {
    ngx_conf_check_num_bounds, 1, 65535
};


static ngx_conf_enum_t  ngx_http_wt_framings[] = {
    { ngx_string("raw"), NGX_HTTP_WT_FRAMING_RAW },
    { ngx_string("whole"), NGX_HTTP_WT_FRAMING_WHOLE },
    { ngx_string("length"), NGX_HTTP_WT_FRAMING_U32 },
    { ngx_string("lines"), NGX_HTTP_WT_FRAMING_LINES },
    { ngx_null_string, 0 }
};

static ngx_conf_enum_t  ngx_http_wt_overflows[] = {
    { ngx_string("block"), NGX_HTTP_WT_OVERFLOW_BLOCK },
    { ngx_string("close"), NGX_HTTP_WT_OVERFLOW_CLOSE },
    { ngx_null_string, 0 }
};


static ngx_conf_enum_t  ngx_http_wt_formats[] = {
    { ngx_string("json"), NGX_HTTP_WT_FORMAT_JSON },
    { ngx_string("protobuf"), NGX_HTTP_WT_FORMAT_PROTOBUF },
    { ngx_null_string, 0 }
};

static ngx_conf_enum_t  ngx_http_wt_unary_errors[] = {
    { ngx_string("close"), NGX_HTTP_WT_UNARY_CLOSE },
    { ngx_string("continue"), NGX_HTTP_WT_UNARY_CONTINUE },
    { ngx_null_string, 0 }
};


/* 503 is what a worker says that is there, but cannot work */

static ngx_conf_bitmask_t  ngx_http_wt_next_upstreams[] = {
    { ngx_string("error"), NGX_HTTP_UPSTREAM_FT_ERROR },
    { ngx_string("timeout"), NGX_HTTP_UPSTREAM_FT_TIMEOUT },
    { ngx_string("unavailable"), NGX_HTTP_UPSTREAM_FT_HTTP_503 },
    { ngx_string("off"), NGX_HTTP_UPSTREAM_FT_OFF },
    { ngx_null_string, 0 }
};

static ngx_conf_bitmask_t  ngx_http_wt_ssl_protocols[] = {
    { ngx_string("TLSv1.2"), NGX_SSL_TLSv1_2 },
    { ngx_string("TLSv1.3"), NGX_SSL_TLSv1_3 },
    { ngx_null_string, 0 }
};


#define NGX_HTTP_WT_ALL_CONF                                                  \
    (NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF)

static ngx_command_t  ngx_http_wt_commands[] = {

    { ngx_string("webtransport"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_CONF_FLAG,
      ngx_conf_set_flag_slot,
      NGX_HTTP_SRV_CONF_OFFSET,
      offsetof(ngx_http_wt_srv_conf_t, enable),
      NULL },

    { ngx_string("webtransport_receive_batch"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE12,
      ngx_http_wt_receive_batch,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("webtransport_max_streams"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_CONF_TAKE2,
      ngx_http_wt_max_streams,
      NGX_HTTP_SRV_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("webtransport_max_sessions"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_num_slot,
      NGX_HTTP_SRV_CONF_OFFSET,
      offsetof(ngx_http_wt_srv_conf_t, max_sessions),
      &ngx_http_wt_sessions_bounds },

    { ngx_string("webtransport_max_datagram_size"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_num_slot,
      NGX_HTTP_SRV_CONF_OFFSET,
      offsetof(ngx_http_wt_srv_conf_t, max_datagram_size),
      &ngx_http_wt_datagram_size_bounds },

    { ngx_string("webtransport_echo"),
      NGX_HTTP_LOC_CONF|NGX_CONF_NOARGS|NGX_CONF_TAKE1,
      ngx_http_wt_echo,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("webtransport_origins"),
      NGX_HTTP_WT_ALL_CONF|NGX_CONF_1MORE,
      ngx_http_wt_origins,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("webtransport_datagram_queue"),
      NGX_HTTP_WT_ALL_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_num_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_wt_loc_conf_t, session.datagram_queue),
      &ngx_http_wt_datagram_queue_bounds },

    { ngx_string("webtransport_keepalive"),
      NGX_HTTP_WT_ALL_CONF|NGX_CONF_TAKE1,
      ngx_http_wt_time_or_off,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_wt_loc_conf_t, session.keepalive),
      NULL },

    { ngx_string("webtransport_idle_timeout"),
      NGX_HTTP_WT_ALL_CONF|NGX_CONF_TAKE1,
      ngx_http_wt_time_or_off,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_wt_loc_conf_t, session.idle_timeout),
      NULL },

    { ngx_string("webtransport_pass"),
      NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_http_wt_pass,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("webtransport_buffer_size"),
      NGX_HTTP_WT_ALL_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_size_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_wt_loc_conf_t, backend.upstream.buffer_size),
      NULL },

    { ngx_string("webtransport_connect_timeout"),
      NGX_HTTP_WT_ALL_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_wt_loc_conf_t, backend.upstream.connect_timeout),
      NULL },

    { ngx_string("webtransport_accept_timeout"),
      NGX_HTTP_WT_ALL_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_wt_loc_conf_t, backend.accept_timeout),
      NULL },

    { ngx_string("webtransport_send_timeout"),
      NGX_HTTP_WT_ALL_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_wt_loc_conf_t, backend.upstream.send_timeout),
      NULL },

    { ngx_string("webtransport_worker_timeout"),
      NGX_HTTP_WT_ALL_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_wt_loc_conf_t, backend.worker_timeout),
      NULL },

    { ngx_string("webtransport_framing"),
      NGX_HTTP_WT_ALL_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_enum_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_wt_loc_conf_t, backend.framing),
      &ngx_http_wt_framings },

    { ngx_string("webtransport_max_message_size"),
      NGX_HTTP_WT_ALL_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_size_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_wt_loc_conf_t, backend.max_message_size),
      NULL },

    { ngx_string("webtransport_overflow"),
      NGX_HTTP_WT_ALL_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_enum_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_wt_loc_conf_t, backend.overflow),
      &ngx_http_wt_overflows },

    { ngx_string("webtransport_read_timeout"),
      NGX_HTTP_WT_ALL_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_wt_loc_conf_t, backend.upstream.read_timeout),
      NULL },

    { ngx_string("webtransport_next_upstream"),
      NGX_HTTP_WT_ALL_CONF|NGX_CONF_1MORE,
      ngx_conf_set_bitmask_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_wt_loc_conf_t, backend.upstream.next_upstream),
      &ngx_http_wt_next_upstreams },

    { ngx_string("webtransport_next_upstream_tries"),
      NGX_HTTP_WT_ALL_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_num_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_wt_loc_conf_t, backend.upstream.next_upstream_tries),
      NULL },

    { ngx_string("webtransport_next_upstream_timeout"),
      NGX_HTTP_WT_ALL_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_wt_loc_conf_t, backend.upstream.next_upstream_timeout),
      NULL },

    { ngx_string("webtransport_format"),
      NGX_HTTP_WT_ALL_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_enum_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_wt_loc_conf_t, backend.format),
      &ngx_http_wt_formats },

    { ngx_string("webtransport_unary_error"),
      NGX_HTTP_WT_ALL_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_enum_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_wt_loc_conf_t, backend.unary_error),
      &ngx_http_wt_unary_errors },

    { ngx_string("webtransport_unary_timeout"),
      NGX_HTTP_WT_ALL_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_wt_loc_conf_t, backend.unary_timeout),
      NULL },

    { ngx_string("webtransport_grpc_keepalive"),
      NGX_HTTP_WT_ALL_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_wt_loc_conf_t, backend.grpc_keepalive),
      NULL },

    { ngx_string("webtransport_user"),
      NGX_HTTP_WT_ALL_CONF|NGX_CONF_TAKE1,
      ngx_http_set_complex_value_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_wt_loc_conf_t, backend.user),
      NULL },

    { ngx_string("webtransport_node"),
      NGX_HTTP_WT_ALL_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_str_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_wt_loc_conf_t, backend.node),
      NULL },

    { ngx_string("webtransport_ssl_protocols"),
      NGX_HTTP_WT_ALL_CONF|NGX_CONF_1MORE,
      ngx_conf_set_bitmask_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_wt_loc_conf_t, ssl.protocols),
      &ngx_http_wt_ssl_protocols },

    { ngx_string("webtransport_ssl_ciphers"),
      NGX_HTTP_WT_ALL_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_str_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_wt_loc_conf_t, ssl.ciphers),
      NULL },

    { ngx_string("webtransport_ssl_name"),
      NGX_HTTP_WT_ALL_CONF|NGX_CONF_TAKE1,
      ngx_http_set_complex_value_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_wt_loc_conf_t, backend.upstream.ssl_name),
      NULL },

    { ngx_string("webtransport_ssl_server_name"),
      NGX_HTTP_WT_ALL_CONF|NGX_CONF_FLAG,
      ngx_conf_set_flag_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_wt_loc_conf_t, backend.upstream.ssl_server_name),
      NULL },

    { ngx_string("webtransport_ssl_verify"),
      NGX_HTTP_WT_ALL_CONF|NGX_CONF_FLAG,
      ngx_conf_set_flag_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_wt_loc_conf_t, backend.upstream.ssl_verify),
      NULL },

    { ngx_string("webtransport_ssl_verify_depth"),
      NGX_HTTP_WT_ALL_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_num_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_wt_loc_conf_t, ssl.verify_depth),
      NULL },

    { ngx_string("webtransport_ssl_trusted_certificate"),
      NGX_HTTP_WT_ALL_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_str_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_wt_loc_conf_t, ssl.trusted_certificate),
      NULL },

    { ngx_string("webtransport_ssl_crl"),
      NGX_HTTP_WT_ALL_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_str_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_wt_loc_conf_t, ssl.crl),
      NULL },

    { ngx_string("webtransport_ssl_certificate"),
      NGX_HTTP_WT_ALL_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_str_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_wt_loc_conf_t, ssl.certificate),
      NULL },

    { ngx_string("webtransport_ssl_certificate_key"),
      NGX_HTTP_WT_ALL_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_str_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_wt_loc_conf_t, ssl.certificate_key),
      NULL },

    { ngx_string("webtransport_ssl_password_file"),
      NGX_HTTP_WT_ALL_CONF|NGX_CONF_TAKE1,
      ngx_http_wt_ssl_password_file,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_wt_loc_conf_t, ssl.passwords),
      NULL },

    { ngx_string("webtransport_ssl_conf_command"),
      NGX_HTTP_WT_ALL_CONF|NGX_CONF_TAKE2,
      ngx_conf_set_keyval_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_wt_loc_conf_t, ssl.conf_commands),
      NULL },

    { ngx_string("webtransport_param"),
      NGX_HTTP_WT_ALL_CONF|NGX_CONF_TAKE2,
      ngx_http_wt_set_value,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_wt_loc_conf_t, backend.params),
      NULL },

    { ngx_string("webtransport_set_header"),
      NGX_HTTP_WT_ALL_CONF|NGX_CONF_TAKE2,
      ngx_http_wt_set_value,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_wt_loc_conf_t, backend.headers),
      (void *) 1 },

      ngx_null_command
};


static ngx_http_module_t  ngx_http_webtransport_module_ctx = {
    ngx_http_wt_preconfiguration,          /* preconfiguration */
    ngx_http_wt_postconfiguration,         /* postconfiguration */

    ngx_http_wt_create_main_conf,          /* create main configuration */
    ngx_http_wt_init_main_conf,            /* init main configuration */

    ngx_http_wt_create_srv_conf,           /* create server configuration */
    ngx_http_wt_merge_srv_conf,            /* merge server configuration */

    ngx_http_wt_create_loc_conf,           /* create location configuration */
    ngx_http_wt_merge_loc_conf             /* merge location configuration */
};


ngx_module_t  ngx_http_webtransport_module = {
    NGX_MODULE_V1,
    &ngx_http_webtransport_module_ctx,     /* module context */
    ngx_http_wt_commands,                  /* module directives */
    NGX_HTTP_MODULE,                       /* module type */
    NULL,                                  /* init master */
    ngx_http_wt_glue_init_module,          /* init module */
    ngx_http_wt_glue_init_process,         /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    NULL,                                  /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


static ngx_int_t
ngx_http_wt_preconfiguration(ngx_conf_t *cf)
{
    return ngx_http_wt_add_variables(cf);
}


static ngx_int_t
ngx_http_wt_postconfiguration(ngx_conf_t *cf)
{
    ngx_uint_t                   i, on;
    ngx_http_wt_srv_conf_t      *wscf;
    ngx_http_wt_main_conf_t     *wmcf;
    ngx_http_core_srv_conf_t   **cscfp;
    ngx_http_core_main_conf_t   *cmcf;

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);
    wmcf = ngx_http_conf_get_module_main_conf(cf,
                                              ngx_http_webtransport_module);

    on = 0;
    cscfp = cmcf->servers.elts;

    for (i = 0; i < cmcf->servers.nelts; i++) {
        wscf = cscfp[i]->ctx->srv_conf[ngx_http_webtransport_module.ctx_index];

        if (wscf->enable) {
            on = 1;

            if (ngx_http_wt_init_server(cf, wscf) != NGX_OK) {
                return NGX_ERROR;
            }
        }
    }

    ngx_http_wt_conn_negotiate = ngx_http_wt_negotiate;

    if (ngx_http_wt_glue_postconfiguration(cf, on, &ngx_http_wt_conn_ops,
                                           &wmcf->receive)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    return on ? ngx_http_wt_request_init(cf) : NGX_OK;
}


static ngx_int_t
ngx_http_wt_init_server(ngx_conf_t *cf, ngx_http_wt_srv_conf_t *wscf)
{
    ngx_uint_t                  slots;
    ngx_event_conf_t           *ecf;
    ngx_http_wt_glue_params_t  *params;

    params = &wscf->params;

    params->max_streams_bidi = wscf->max_streams_bidi;
    params->max_streams_uni = wscf->max_streams_uni;
    params->max_datagram_frame_size = wscf->max_datagram_size;

    if (ngx_http_wt_conn_params(params, wscf->max_sessions, cf->pool)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    /* the connection, its streams, HTTP/3's six; see docs/directives.md */

    slots = 1 + 6 + wscf->max_streams_bidi + wscf->max_streams_uni;

    if (ngx_get_conf(cf->cycle->conf_ctx, ngx_events_module) == NULL) {
        /* the "events" block comes later */
        return NGX_OK;
    }

    ecf = ngx_event_get_conf(cf->cycle->conf_ctx, ngx_event_core_module);

    if (ecf->connections != NGX_CONF_UNSET_UINT
        && slots > ecf->connections / 2)
    {
        ngx_conf_log_error(NGX_LOG_WARN, cf, 0,
                           "a single client can take %ui of %ui "
                           "\"worker_connections\": raise them or lower "
                           "\"webtransport_max_streams\"",
                           slots, ecf->connections);
    }

    return NGX_OK;
}


static ngx_http_wt_glue_params_t *
ngx_http_wt_negotiate(ngx_http_conf_ctx_t *ctx)
{
    ngx_http_wt_srv_conf_t  *wscf;

    wscf = ctx->srv_conf[ngx_http_webtransport_module.ctx_index];

    return wscf->enable ? &wscf->params : NULL;
}


static void *
ngx_http_wt_create_main_conf(ngx_conf_t *cf)
{
    ngx_http_wt_main_conf_t  *conf;

    conf = ngx_pcalloc(cf->pool, sizeof(ngx_http_wt_main_conf_t));
    if (conf == NULL) {
        return NULL;
    }

    conf->receive.batch = NGX_CONF_UNSET_UINT;
    conf->receive.gro = NGX_CONF_UNSET_UINT;

    return conf;
}


static char *
ngx_http_wt_init_main_conf(ngx_conf_t *cf, void *conf)
{
    ngx_http_wt_main_conf_t *wmcf = conf;

    ngx_conf_init_uint_value(wmcf->receive.batch, 32);
    ngx_conf_init_uint_value(wmcf->receive.gro, 1);

    return NGX_CONF_OK;
}


static void *
ngx_http_wt_create_srv_conf(ngx_conf_t *cf)
{
    ngx_http_wt_srv_conf_t  *conf;

    conf = ngx_pcalloc(cf->pool, sizeof(ngx_http_wt_srv_conf_t));
    if (conf == NULL) {
        return NULL;
    }

    /*
     * set by ngx_pcalloc():
     *
     *     conf->params = { 0 }
     */

    conf->enable = NGX_CONF_UNSET;
    conf->max_streams_bidi = NGX_CONF_UNSET_UINT;
    conf->max_streams_uni = NGX_CONF_UNSET_UINT;
    conf->max_sessions = NGX_CONF_UNSET_UINT;
    conf->max_datagram_size = NGX_CONF_UNSET_UINT;

    return conf;
}


static char *
ngx_http_wt_merge_srv_conf(ngx_conf_t *cf, void *parent, void *child)
{
    ngx_http_wt_srv_conf_t *prev = parent;
    ngx_http_wt_srv_conf_t *conf = child;

    ngx_http_v3_srv_conf_t  *h3scf;

    ngx_conf_merge_value(conf->enable, prev->enable, 0);

    ngx_conf_merge_uint_value(conf->max_streams_bidi, prev->max_streams_bidi,
                              64);
    ngx_conf_merge_uint_value(conf->max_streams_uni, prev->max_streams_uni,
                              64);
    ngx_conf_merge_uint_value(conf->max_sessions, prev->max_sessions, 16);
    ngx_conf_merge_uint_value(conf->max_datagram_size,
                              prev->max_datagram_size,
                              NGX_HTTP_WT_MAX_DATAGRAM_SIZE);

    if (conf->enable) {
        h3scf = ngx_http_conf_get_module_srv_conf(cf, ngx_http_v3_module);

        if (!h3scf->enable) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "\"webtransport on\" needs HTTP/3, but "
                               "\"http3\" is off in the same server");
            return NGX_CONF_ERROR;
        }
    }

    return NGX_CONF_OK;
}


static void *
ngx_http_wt_create_loc_conf(ngx_conf_t *cf)
{
    ngx_http_wt_loc_conf_t  *conf;

    conf = ngx_pcalloc(cf->pool, sizeof(ngx_http_wt_loc_conf_t));
    if (conf == NULL) {
        return NULL;
    }

    /*
     * set by ngx_pcalloc():
     *
     *     conf->echo = NULL
     *     conf->scheme = NULL
     */

    conf->origins = NGX_CONF_UNSET_PTR;
    conf->session.datagram_queue = NGX_CONF_UNSET_UINT;
    conf->session.keepalive = NGX_CONF_UNSET_MSEC;
    conf->session.idle_timeout = NGX_CONF_UNSET_MSEC;

    ngx_http_wt_create_backend_conf(&conf->backend);
    ngx_http_wt_create_ssl_conf(conf);

    return conf;
}


static char *
ngx_http_wt_merge_loc_conf(ngx_conf_t *cf, void *parent, void *child)
{
    ngx_http_wt_loc_conf_t *prev = parent;
    ngx_http_wt_loc_conf_t *conf = child;

    ngx_http_wt_srv_conf_t    *wscf;
    ngx_http_core_loc_conf_t  *clcf;

    ngx_conf_merge_ptr_value(conf->origins, prev->origins, NULL);
    ngx_conf_merge_uint_value(conf->session.datagram_queue,
                              prev->session.datagram_queue, 128);
    ngx_conf_merge_msec_value(conf->session.keepalive,
                              prev->session.keepalive,
                              NGX_HTTP_WT_KEEPALIVE_LATEST);
    ngx_conf_merge_msec_value(conf->session.idle_timeout,
                              prev->session.idle_timeout, 0);

    conf->backend.datagram_queue = conf->session.datagram_queue;

    if (ngx_http_wt_merge_backend_conf(cf, &prev->backend, &conf->backend)
        != NGX_CONF_OK)
    {
        return NGX_CONF_ERROR;
    }

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    if (clcf->noname && !ngx_http_wt_is_handled(conf)) {

        /* "if" and "limit_except" blocks do what their location does */

        ngx_http_wt_inherit_pass(prev, conf);

        if (ngx_http_wt_is_handled(conf)) {
            clcf->handler = ngx_http_wt_handler;
        }
    }

    if (ngx_http_wt_merge_ssl_conf(cf, prev, conf) != NGX_CONF_OK) {
        return NGX_CONF_ERROR;
    }

    if (ngx_http_wt_is_handled(conf)) {

        if (clcf->handler != ngx_http_wt_handler) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "\"%s\" contradicts another handler in the "
                               "same location",
                               conf->echo ? "webtransport_echo"
                                          : "webtransport_pass");
            return NGX_CONF_ERROR;
        }

        wscf = ngx_http_conf_get_module_srv_conf(cf,
                                                 ngx_http_webtransport_module);

        if (!wscf->enable) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "\"%s\" needs \"webtransport on\" in its "
                               "server",
                               conf->echo ? "webtransport_echo"
                                          : "webtransport_pass");
            return NGX_CONF_ERROR;
        }
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_wt_receive_batch(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_wt_main_conf_t *wmcf = conf;

    ngx_int_t   n;
    ngx_str_t  *value;

    if (wmcf->receive.batch != NGX_CONF_UNSET_UINT) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (ngx_http_wt_str_is(&value[1], "off")) {
        wmcf->receive.batch = 0;

        return (cf->args->nelts == 2) ? NGX_CONF_OK
                                      : "has a parameter that \"off\" excludes";
    }

    n = ngx_atoi(value[1].data, value[1].len);

    if (n < 1 || n > NGX_HTTP_WT_MAX_BATCH) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid number of packets \"%V\" in \"%V\", it "
                           "must be \"off\" or between 1 and %d",
                           &value[1], &cmd->name, NGX_HTTP_WT_MAX_BATCH);
        return NGX_CONF_ERROR;
    }

    wmcf->receive.batch = n;

    if (cf->args->nelts == 2) {
        return NGX_CONF_OK;
    }

    if (ngx_http_wt_str_is(&value[2], "gro=on")) {
        wmcf->receive.gro = 1;

    } else if (ngx_http_wt_str_is(&value[2], "gro=off")) {
        wmcf->receive.gro = 0;

    } else {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid parameter \"%V\" in \"%V\", it must be "
                           "\"gro=on\" or \"gro=off\"",
                           &value[2], &cmd->name);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_wt_max_streams(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_wt_srv_conf_t *wscf = conf;

    ngx_int_t    n;
    ngx_str_t   *value;
    ngx_uint_t   i;

    if (wscf->max_streams_bidi != NGX_CONF_UNSET_UINT) {
        return "is duplicate";
    }

    value = cf->args->elts;

    for (i = 1; i <= 2; i++) {

        n = ngx_atoi(value[i].data, value[i].len);

        /* at least one request stream, or there is no CONNECT */

        if (n == NGX_ERROR || n > NGX_HTTP_WT_MAX_STREAMS
            || (i == 1 && n == 0))
        {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid number of streams \"%V\" in \"%V\", "
                               "it must be between %d and %d",
                               &value[i], &cmd->name, i == 1 ? 1 : 0,
                               NGX_HTTP_WT_MAX_STREAMS);
            return NGX_CONF_ERROR;
        }

        if (i == 1) {
            wscf->max_streams_bidi = n;

        } else {
            wscf->max_streams_uni = n;
        }
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_wt_time_or_off(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    char  *p = conf;

    ngx_int_t    ms;
    ngx_str_t   *value;
    ngx_msec_t  *msp;

    msp = (ngx_msec_t *) (p + cmd->offset);

    if (*msp != NGX_CONF_UNSET_MSEC) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (ngx_http_wt_str_is(&value[1], "off")) {
        *msp = 0;
        return NGX_CONF_OK;
    }

    ms = ngx_parse_time(&value[1], 0);

    if (ms < NGX_HTTP_WT_MIN_TIME || ms > NGX_HTTP_WT_MAX_TIME) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid time \"%V\" in \"%V\", it must be "
                           "\"off\" or between 100ms and 24d",
                           &value[1], &cmd->name);
        return NGX_CONF_ERROR;
    }

    *msp = ms;

    return NGX_CONF_OK;
}


static char *
ngx_http_wt_echo(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_wt_loc_conf_t *wlcf = conf;

    ngx_str_t                 *value;
    ngx_http_core_loc_conf_t  *clcf;

    if (wlcf->echo) {
        return "is duplicate";
    }

    if (ngx_http_wt_is_handled(wlcf)) {
        return "contradicts \"webtransport_pass\" in the same location";
    }

    value = cf->args->elts;

    if (cf->args->nelts == 1) {
        wlcf->echo = &ngx_http_wt_echo_ops;

    } else if (ngx_http_wt_str_is(&value[1], "discard")) {
        wlcf->echo = &ngx_http_wt_discard_ops;

    } else if (ngx_http_wt_str_is(&value[1], "generate")) {
        wlcf->echo = &ngx_http_wt_generate_ops;

    } else {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid parameter \"%V\" of \"%V\", it must be "
                           "\"discard\", \"generate\" or absent",
                           &value[1], &cmd->name);
        return NGX_CONF_ERROR;
    }

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);
    clcf->handler = ngx_http_wt_handler;

    return NGX_CONF_OK;
}


static ngx_uint_t
ngx_http_wt_asterisks(ngx_str_t *str)
{
    size_t      i;
    ngx_uint_t  n;

    n = 0;

    for (i = 0; i < str->len; i++) {
        n += (str->data[i] == '*');
    }

    return n;
}


static char *
ngx_http_wt_origins(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_wt_loc_conf_t *wlcf = conf;

    ngx_str_t   *value, *origin;
    ngx_uint_t   i;

    if (wlcf->origins != NGX_CONF_UNSET_PTR) {
        return "is duplicate";
    }

    value = cf->args->elts;

    wlcf->origins = ngx_array_create(cf->pool, cf->args->nelts - 1,
                                     sizeof(ngx_str_t));
    if (wlcf->origins == NULL) {
        return NGX_CONF_ERROR;
    }

    for (i = 1; i < cf->args->nelts; i++) {

        if (!ngx_http_wt_str_is(&value[i], "*")
            && !ngx_http_wt_str_is(&value[i], "self")
            && (ngx_strstr(value[i].data, "://") == NULL
                || ngx_http_wt_asterisks(&value[i]) > 1))
        {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid origin \"%V\" in \"%V\", it must be "
                               "\"*\", \"self\" or like "
                               "\"https://example.com\", with one \"*\" at "
                               "most",
                               &value[i], &cmd->name);
            return NGX_CONF_ERROR;
        }

        origin = ngx_array_push(wlcf->origins);
        if (origin == NULL) {
            return NGX_CONF_ERROR;
        }

        *origin = value[i];
    }

    return NGX_CONF_OK;
}
