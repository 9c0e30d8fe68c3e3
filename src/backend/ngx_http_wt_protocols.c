/*
 * WT-Available-Protocols, draft-ietf-webtrans-http3, 3.4: a structured field,
 * a List of Strings.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include <ngx_http_wt_protocols.h>


/* what a client may offer; more is ignored as a whole */
#define NGX_HTTP_WT_PROTOCOLS_MAX  32


static ngx_int_t ngx_http_wt_protocols_parse(ngx_array_t *protocols,
    ngx_str_t *field);
static u_char *ngx_http_wt_protocols_string(u_char *p, u_char *last,
    ngx_str_t *str, ngx_pool_t *pool);
static u_char *ngx_http_wt_protocols_params(u_char *p, u_char *last);
static u_char *ngx_http_wt_protocols_space(u_char *p, u_char *last);


ngx_array_t *
ngx_http_wt_protocols_offered(ngx_http_request_t *r)
{
    ngx_uint_t        i;
    ngx_array_t      *protocols;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h;

    static ngx_str_t  name = ngx_string("wt-available-protocols");

    protocols = NULL;

    part = &r->headers_in.headers.part;
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

        if (h[i].key.len != name.len
            || ngx_strncmp(h[i].lowcase_key, name.data, name.len) != 0)
        {
            continue;
        }

        if (protocols == NULL) {
            protocols = ngx_array_create(r->pool, 4, sizeof(ngx_str_t));
            if (protocols == NULL) {
                return NULL;
            }
        }

        /* RFC 9651, 4.2: if parsing fails, the entire field is ignored */

        if (ngx_http_wt_protocols_parse(protocols, &h[i].value) != NGX_OK) {
            return NULL;
        }
    }

    return protocols;
}


static ngx_int_t
ngx_http_wt_protocols_parse(ngx_array_t *protocols, ngx_str_t *field)
{
    u_char     *p, *last;
    ngx_str_t  *str;

    p = field->data;
    last = p + field->len;

    p = ngx_http_wt_protocols_space(p, last);

    if (p == last) {
        return NGX_OK;
    }

    for ( ;; ) {

        if (protocols->nelts == NGX_HTTP_WT_PROTOCOLS_MAX) {
            return NGX_ERROR;
        }

        str = ngx_array_push(protocols);
        if (str == NULL) {
            return NGX_ERROR;
        }

        p = ngx_http_wt_protocols_string(p, last, str, protocols->pool);
        if (p == NULL) {
            return NGX_ERROR;
        }

        p = ngx_http_wt_protocols_params(p, last);
        if (p == NULL) {
            return NGX_ERROR;
        }

        p = ngx_http_wt_protocols_space(p, last);

        if (p == last) {
            return NGX_OK;
        }

        if (*p != ',') {
            return NGX_ERROR;
        }

        p = ngx_http_wt_protocols_space(p + 1, last);
    }
}


/* RFC 9651, 3.3.3.  Strings */

static u_char *
ngx_http_wt_protocols_string(u_char *p, u_char *last, ngx_str_t *str,
    ngx_pool_t *pool)
{
    u_char  *d;

    if (p == last || *p++ != '"') {
        return NULL;
    }

    d = ngx_pnalloc(pool, last - p + 1);
    if (d == NULL) {
        return NULL;
    }

    str->data = d;

    while (p < last) {

        if (*p == '"') {
            str->len = d - str->data;
            return p + 1;
        }

        if (*p == '\\') {
            p++;

            if (p == last || (*p != '"' && *p != '\\')) {
                return NULL;
            }
        }

        if (*p < 0x20 || *p > 0x7e) {
            return NULL;
        }

        *d++ = *p++;
    }

    return NULL;
}


/* RFC 9651, 3.1.2.  Parameters, which mean nothing here */

static u_char *
ngx_http_wt_protocols_params(u_char *p, u_char *last)
{
    ngx_uint_t  quoted;

    if (p == last || *p != ';') {
        return p;
    }

    quoted = 0;

    for ( /* void */ ; p < last; p++) {

        if (quoted) {

            if (*p == '\\') {
                p++;

            } else if (*p == '"') {
                quoted = 0;
            }

            continue;
        }

        if (*p == '"') {
            quoted = 1;

        } else if (*p == ',') {
            break;
        }
    }

    return (quoted || p > last) ? NULL : p;
}


static u_char *
ngx_http_wt_protocols_space(u_char *p, u_char *last)
{
    while (p < last && (*p == ' ' || *p == '\t')) {
        p++;
    }

    return p;
}


ngx_uint_t
ngx_http_wt_protocols_find(ngx_array_t *protocols, ngx_str_t *name)
{
    ngx_str_t   *str;
    ngx_uint_t   i;

    if (protocols == NULL) {
        return 0;
    }

    str = protocols->elts;

    for (i = 0; i < protocols->nelts; i++) {
        if (str[i].len == name->len
            && ngx_memcmp(str[i].data, name->data, name->len) == 0)
        {
            return 1;
        }
    }

    return 0;
}
