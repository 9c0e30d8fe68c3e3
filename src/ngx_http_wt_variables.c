/*
 * $webtransport_* variables; docs/directives.md describes them.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include <ngx_http_wt_conf.h>


static ngx_int_t ngx_http_wt_variable_str(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_http_wt_variable_counter(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_http_wt_variable_draft(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_http_wt_variable_close_code(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_http_wt_variable_close_by(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_http_wt_variable_duration(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static void ngx_http_wt_variable_set(ngx_http_variable_value_t *v, u_char *data,
    size_t len);


#define ngx_http_wt_var(name, handler, member)                                \
    { ngx_string("webtransport_" name), NULL, handler, member,                \
      NGX_HTTP_VAR_NOCACHEABLE, 0 }

#define ngx_http_wt_counter(name)                                             \
    ngx_http_wt_var(#name, ngx_http_wt_variable_counter,                      \
                    offsetof(ngx_http_wt_session_t, counters.name))


static ngx_http_variable_t  ngx_http_wt_vars[] = {

    ngx_http_wt_var("session_id", ngx_http_wt_variable_str,
                    offsetof(ngx_http_wt_session_t, id)),
    ngx_http_wt_var("protocol", ngx_http_wt_variable_str,
                    offsetof(ngx_http_wt_session_t, protocol)),
    ngx_http_wt_var("backend", ngx_http_wt_variable_str,
                    offsetof(ngx_http_wt_session_t, backend)),
    ngx_http_wt_var("draft", ngx_http_wt_variable_draft, 0),

    ngx_http_wt_counter(streams_in),
    ngx_http_wt_counter(streams_out),
    ngx_http_wt_counter(bytes_in),
    ngx_http_wt_counter(bytes_out),
    ngx_http_wt_counter(datagrams_in),
    ngx_http_wt_counter(datagrams_out),
    ngx_http_wt_counter(datagrams_dropped),

    ngx_http_wt_var("close_code", ngx_http_wt_variable_close_code, 0),
    ngx_http_wt_var("close_by", ngx_http_wt_variable_close_by, 0),
    ngx_http_wt_var("duration", ngx_http_wt_variable_duration, 0),

      ngx_http_null_variable
};


ngx_int_t
ngx_http_wt_add_variables(ngx_conf_t *cf)
{
    ngx_http_variable_t  *var, *v;

    for (v = ngx_http_wt_vars; v->name.len; v++) {

        var = ngx_http_add_variable(cf, &v->name, v->flags);
        if (var == NULL) {
            return NGX_ERROR;
        }

        var->get_handler = v->get_handler;
        var->data = v->data;
    }

    return NGX_OK;
}


static void
ngx_http_wt_variable_set(ngx_http_variable_value_t *v, u_char *data, size_t len)
{
    v->valid = 1;
    v->no_cacheable = 0;
    v->not_found = 0;
    v->data = data;
    v->len = len;
}


static ngx_int_t
ngx_http_wt_variable_str(ngx_http_request_t *r, ngx_http_variable_value_t *v,
    uintptr_t data)
{
    ngx_str_t              *value;
    ngx_http_wt_session_t  *s;

    s = ngx_http_get_module_ctx(r->main, ngx_http_webtransport_module);

    if (s == NULL) {
        v->not_found = 1;
        return NGX_OK;
    }

    value = (ngx_str_t *) ((u_char *) s + data);

    if (value->len == 0) {
        v->not_found = 1;
        return NGX_OK;
    }

    ngx_http_wt_variable_set(v, value->data, value->len);

    return NGX_OK;
}


static ngx_int_t
ngx_http_wt_variable_counter(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    u_char                 *p;
    uint64_t               *counter;
    ngx_http_wt_session_t  *s;

    s = ngx_http_get_module_ctx(r->main, ngx_http_webtransport_module);

    if (s == NULL) {
        v->not_found = 1;
        return NGX_OK;
    }

    p = ngx_pnalloc(r->pool, NGX_INT64_LEN);
    if (p == NULL) {
        return NGX_ERROR;
    }

    counter = (uint64_t *) ((u_char *) s + data);

    ngx_http_wt_variable_set(v, p, ngx_sprintf(p, "%uL", *counter) - p);

    return NGX_OK;
}


static ngx_int_t
ngx_http_wt_variable_draft(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    ngx_http_wt_session_t  *s;

    s = ngx_http_get_module_ctx(r->main, ngx_http_webtransport_module);

    if (s == NULL) {
        v->not_found = 1;
        return NGX_OK;
    }

    ngx_http_wt_variable_set(v, (u_char *) s->draft, ngx_strlen(s->draft));

    return NGX_OK;
}


static ngx_int_t
ngx_http_wt_variable_close_code(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    u_char                 *p;
    ngx_http_wt_session_t  *s;

    s = ngx_http_get_module_ctx(r->main, ngx_http_webtransport_module);

    if (s == NULL || !s->ended) {
        v->not_found = 1;
        return NGX_OK;
    }

    p = ngx_pnalloc(r->pool, NGX_INT32_LEN);
    if (p == NULL) {
        return NGX_ERROR;
    }

    ngx_http_wt_variable_set(v, p, ngx_sprintf(p, "%uD", s->close_code) - p);

    return NGX_OK;
}


static ngx_int_t
ngx_http_wt_variable_close_by(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    ngx_str_t              *name;
    ngx_http_wt_session_t  *s;

    s = ngx_http_get_module_ctx(r->main, ngx_http_webtransport_module);

    if (s == NULL || !s->ended) {
        v->not_found = 1;
        return NGX_OK;
    }

    name = ngx_http_wt_session_by_name(s->close_by);

    ngx_http_wt_variable_set(v, name->data, name->len);

    return NGX_OK;
}


/* seconds with milliseconds, as $request_time */

static ngx_int_t
ngx_http_wt_variable_duration(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    u_char                 *p;
    ngx_msec_t              ms;
    ngx_http_wt_session_t  *s;

    s = ngx_http_get_module_ctx(r->main, ngx_http_webtransport_module);

    if (s == NULL) {
        v->not_found = 1;
        return NGX_OK;
    }

    ms = s->ended ? s->duration : ngx_current_msec - s->started;

    p = ngx_pnalloc(r->pool, NGX_TIME_T_LEN + 4);
    if (p == NULL) {
        return NGX_ERROR;
    }

    ngx_http_wt_variable_set(v, p, ngx_sprintf(p, "%T.%03M", (time_t) ms / 1000,
                                            ms % 1000)
                                - p);

    return NGX_OK;
}
