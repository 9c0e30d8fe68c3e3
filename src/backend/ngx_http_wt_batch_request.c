/*
 * Requests that stand in for a session's: see ngx_http_wt_batch.h.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_http.h>
#include <ngx_http_wt_batch.h>


/* values of variables that are kept, in bytes */
#define NGX_HTTP_WT_ORIGINAL_VALUES  8192


static ngx_int_t ngx_http_wt_original_connection(ngx_connection_t *dst,
    ngx_connection_t *src, ngx_pool_t *pool);
static ngx_int_t ngx_http_wt_original_request(ngx_http_request_t *dst,
    ngx_http_request_t *src, ngx_pool_t *pool);
static ngx_int_t ngx_http_wt_original_headers(ngx_http_request_t *dst,
    ngx_http_request_t *src, ngx_pool_t *pool);
static void ngx_http_wt_original_link(ngx_http_request_t *r,
    ngx_table_elt_t *h);
static ngx_int_t ngx_http_wt_original_variables(ngx_http_request_t *dst,
    ngx_http_request_t *src, ngx_pool_t *pool);
static ngx_int_t ngx_http_wt_original_session(ngx_http_wt_session_t *dst,
    ngx_http_wt_session_t *src, ngx_pool_t *pool);
static ngx_int_t ngx_http_wt_original_str(ngx_str_t *dst, ngx_str_t *src,
    ngx_pool_t *pool);


ngx_http_wt_original_t *
ngx_http_wt_batch_original(ngx_http_wt_session_t *s, ngx_pool_t *pool)
{
    ngx_http_request_t      *r;
    ngx_http_wt_original_t  *o;

    r = s->request;

    o = ngx_pcalloc(pool, sizeof(ngx_http_wt_original_t));
    if (o == NULL) {
        return NULL;
    }

    o->http_connection.addr_conf = r->http_connection->addr_conf;
    o->http_connection.conf_ctx = r->http_connection->conf_ctx;

    if (ngx_http_wt_original_connection(&o->connection, r->connection, pool)
        != NGX_OK
        || ngx_http_wt_original_request(&o->request, r, pool) != NGX_OK
        || ngx_http_wt_original_headers(&o->request, r, pool) != NGX_OK
        || ngx_http_wt_original_variables(&o->request, r, pool) != NGX_OK
        || ngx_http_wt_original_session(&o->session, s, pool) != NGX_OK)
    {
        return NULL;
    }

    o->request.http_connection = &o->http_connection;

    return o;
}


static ngx_int_t
ngx_http_wt_original_connection(ngx_connection_t *dst, ngx_connection_t *src,
    ngx_pool_t *pool)
{
    /* so that nobody asks the socket, there is none in the copy */

    if (ngx_connection_local_sockaddr(src, NULL, 0) != NGX_OK) {
        return NGX_ERROR;
    }

    dst->fd = (ngx_socket_t) -1;
    dst->type = src->type;
    dst->listening = src->listening;
    dst->number = src->number;
    dst->start_time = src->start_time;
    dst->requests = src->requests;

    dst->socklen = src->socklen;
    dst->local_socklen = src->local_socklen;

    dst->sockaddr = ngx_palloc(pool, src->socklen);
    dst->local_sockaddr = ngx_palloc(pool, src->local_socklen);

    if (dst->sockaddr == NULL || dst->local_sockaddr == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(dst->sockaddr, src->sockaddr, src->socklen);
    ngx_memcpy(dst->local_sockaddr, src->local_sockaddr, src->local_socklen);

    return ngx_http_wt_original_str(&dst->addr_text, &src->addr_text, pool);
}


static ngx_int_t
ngx_http_wt_original_request(ngx_http_request_t *dst, ngx_http_request_t *src,
    ngx_pool_t *pool)
{
    dst->signature = NGX_HTTP_MODULE;

    dst->main_conf = src->main_conf;
    dst->srv_conf = src->srv_conf;
    dst->loc_conf = src->loc_conf;

    dst->read_event_handler = ngx_http_request_empty_handler;
    dst->write_event_handler = ngx_http_request_empty_handler;

    dst->start_sec = src->start_sec;
    dst->start_msec = src->start_msec;
    dst->method = src->method;
    dst->http_version = src->http_version;
    dst->request_length = src->request_length;
    dst->http_state = src->http_state;
    dst->count = 1;

    dst->headers_in.content_length_n = -1;
    dst->headers_in.keep_alive_n = -1;
    dst->headers_out.content_length_n = -1;
    dst->headers_out.last_modified_time = -1;

    if (ngx_http_wt_original_str(&dst->request_line, &src->request_line, pool)
        != NGX_OK
        || ngx_http_wt_original_str(&dst->uri, &src->uri, pool) != NGX_OK
        || ngx_http_wt_original_str(&dst->args, &src->args, pool) != NGX_OK
        || ngx_http_wt_original_str(&dst->exten, &src->exten, pool) != NGX_OK
        || ngx_http_wt_original_str(&dst->unparsed_uri, &src->unparsed_uri,
                                    pool)
           != NGX_OK
        || ngx_http_wt_original_str(&dst->method_name, &src->method_name, pool)
           != NGX_OK
        || ngx_http_wt_original_str(&dst->http_protocol, &src->http_protocol,
                                    pool)
           != NGX_OK
        || ngx_http_wt_original_str(&dst->schema, &src->schema, pool)
           != NGX_OK
        || ngx_http_wt_original_str(&dst->headers_in.server,
                                    &src->headers_in.server, pool)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_wt_original_headers(ngx_http_request_t *dst, ngx_http_request_t *src,
    ngx_pool_t *pool)
{
    ngx_str_t         lowcase;
    ngx_uint_t        i;
    ngx_table_elt_t  *h, *copy;
    ngx_list_part_t  *part;

    if (ngx_list_init(&dst->headers_in.headers, pool, 20,
                      sizeof(ngx_table_elt_t))
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    part = &src->headers_in.headers.part;
    h = part->elts;

    for (i = 0; /* void */; i++) {

        if (i >= part->nelts) {
            if (part->next == NULL) {
                break;
            }

            part = part->next;
            h = part->elts;
            i = 0;
        }

        copy = ngx_list_push(&dst->headers_in.headers);
        if (copy == NULL) {
            return NGX_ERROR;
        }

        copy->hash = h[i].hash;
        copy->next = NULL;

        lowcase.data = h[i].lowcase_key;
        lowcase.len = h[i].key.len;

        if (ngx_http_wt_original_str(&copy->key, &h[i].key, pool) != NGX_OK
            || ngx_http_wt_original_str(&copy->value, &h[i].value, pool)
               != NGX_OK
            || ngx_http_wt_original_str(&lowcase, &lowcase, pool) != NGX_OK)
        {
            return NGX_ERROR;
        }

        copy->lowcase_key = lowcase.data;

        ngx_http_wt_original_link(dst, copy);
    }

    return NGX_OK;
}


/* nginx has pointers to headers that it knows: headers_in.host and others */

static void
ngx_http_wt_original_link(ngx_http_request_t *r, ngx_table_elt_t *h)
{
    ngx_table_elt_t            **ph;
    ngx_http_header_t           *hh;
    ngx_http_core_main_conf_t   *cmcf;

    cmcf = ngx_http_get_module_main_conf(r, ngx_http_core_module);

    hh = ngx_hash_find(&cmcf->headers_in_hash, h->hash, h->lowcase_key,
                       h->key.len);

    if (hh == NULL || hh->offset == 0) {
        return;
    }

    ph = (ngx_table_elt_t **) ((u_char *) &r->headers_in + hh->offset);

    while (*ph) {
        ph = &(*ph)->next;
    }

    *ph = h;
}


/*
 * "set", auth_request_set and regular expressions with names write their
 * results nowhere else.  Others will be evaluated again when they are needed.
 */

static ngx_int_t
ngx_http_wt_original_variables(ngx_http_request_t *dst,
    ngx_http_request_t *src, ngx_pool_t *pool)
{
    size_t                      left;
    ngx_uint_t                  i, n;
    ngx_http_core_main_conf_t  *cmcf;
    ngx_http_variable_value_t  *v, *copy;

    cmcf = ngx_http_get_module_main_conf(src, ngx_http_core_module);

    n = cmcf->variables.nelts;

    copy = ngx_pcalloc(pool, n * sizeof(ngx_http_variable_value_t));
    if (copy == NULL) {
        return NGX_ERROR;
    }

    v = src->variables;
    left = NGX_HTTP_WT_ORIGINAL_VALUES;

    for (i = 0; i < n; i++) {

        if (!v[i].valid || v[i].no_cacheable || v[i].len > left) {
            continue;
        }

        copy[i] = v[i];

        if (v[i].len) {
            copy[i].data = ngx_pnalloc(pool, v[i].len);
            if (copy[i].data == NULL) {
                return NGX_ERROR;
            }

            ngx_memcpy(copy[i].data, v[i].data, v[i].len);
        }

        left -= v[i].len;
    }

    dst->variables = copy;

    return NGX_OK;
}


static ngx_int_t
ngx_http_wt_original_session(ngx_http_wt_session_t *dst,
    ngx_http_wt_session_t *src, ngx_pool_t *pool)
{
    dst->draft = src->draft;
    dst->started = src->started;

    return ngx_http_wt_original_str(&dst->id, &src->id, pool);
}


static ngx_int_t
ngx_http_wt_original_str(ngx_str_t *dst, ngx_str_t *src, ngx_pool_t *pool)
{
    u_char  *p;

    if (src->data == NULL) {
        ngx_str_null(dst);
        return NGX_OK;
    }

    /* some take it for granted that there is a zero behind a header's value */

    p = ngx_pnalloc(pool, src->len + 1);
    if (p == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(p, src->data, src->len);
    p[src->len] = '\0';

    dst->data = p;
    dst->len = src->len;

    return NGX_OK;
}


ngx_http_request_t *
ngx_http_wt_batch_request(ngx_http_wt_original_t *original, ngx_pool_t *pool,
    ngx_log_t *log)
{
    size_t                      size;
    ngx_connection_t           *c;
    ngx_http_request_t         *r;
    ngx_http_core_main_conf_t  *cmcf;

    r = ngx_palloc(pool, sizeof(ngx_http_request_t));
    c = ngx_palloc(pool, sizeof(ngx_connection_t));

    if (r == NULL || c == NULL) {
        return NULL;
    }

    *r = original->request;
    *c = original->connection;

    c->data = r;
    c->pool = pool;
    c->log = log;

    c->read = ngx_pcalloc(pool, sizeof(ngx_event_t));
    c->write = ngx_pcalloc(pool, sizeof(ngx_event_t));

    r->ctx = ngx_pcalloc(pool, sizeof(void *) * ngx_http_max_module);

    cmcf = ngx_http_get_module_main_conf(r, ngx_http_core_module);

    size = cmcf->variables.nelts * sizeof(ngx_http_variable_value_t);
    r->variables = ngx_palloc(pool, size);

    if (c->read == NULL || c->write == NULL || r->ctx == NULL
        || r->variables == NULL
        || ngx_list_init(&r->headers_out.headers, pool, 4,
                         sizeof(ngx_table_elt_t))
           != NGX_OK
        || ngx_list_init(&r->headers_out.trailers, pool, 4,
                         sizeof(ngx_table_elt_t))
           != NGX_OK)
    {
        return NULL;
    }

    ngx_memcpy(r->variables, original->request.variables, size);

    c->read->data = c;
    c->read->log = log;
    c->write->data = c;
    c->write->log = log;

    r->connection = c;
    r->pool = pool;
    r->main = r;

    r->headers_in.headers.pool = pool;

    if (original->request.headers_in.headers.last
        == &original->request.headers_in.headers.part)
    {
        r->headers_in.headers.last = &r->headers_in.headers.part;
    }

    ngx_http_set_ctx(r, &original->session, ngx_http_webtransport_module);

    return r;
}


void
ngx_http_wt_batch_states(ngx_http_request_t *r, ngx_http_request_t *from)
{
    ngx_str_t                  *peer;
    ngx_uint_t                  i, n;
    ngx_http_upstream_state_t  *src, *dst;

    if (from->upstream_states == NULL || from->upstream_states->nelts == 0) {
        return;
    }

    src = from->upstream_states->elts;
    n = from->upstream_states->nelts;

    if (r->upstream_states == NULL) {
        r->upstream_states = ngx_array_create(r->pool, n,
                                            sizeof(ngx_http_upstream_state_t));
        if (r->upstream_states == NULL) {
            return;
        }

    } else {

        /* an empty one separates the peers of different locations */

        dst = ngx_array_push(r->upstream_states);
        if (dst == NULL) {
            return;
        }

        ngx_memzero(dst, sizeof(ngx_http_upstream_state_t));
    }

    for (i = 0; i < n; i++) {

        peer = NULL;

        if (src[i].peer) {
            peer = ngx_palloc(r->pool, sizeof(ngx_str_t));

            if (peer == NULL
                || ngx_http_wt_original_str(peer, src[i].peer, r->pool)
                   != NGX_OK)
            {
                return;
            }
        }

        dst = ngx_array_push(r->upstream_states);
        if (dst == NULL) {
            return;
        }

        *dst = src[i];
        dst->peer = peer;
    }
}
