/*
 * webtransport_origins: which pages may open sessions.  A browser sends no
 * cookies with WebTransport, but it sends the origin of the page.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include <ngx_http_wt_conf.h>


static ngx_int_t ngx_http_wt_find_origin(ngx_http_request_t *r,
    ngx_str_t **origin);
static ngx_uint_t ngx_http_wt_match_origin(ngx_http_request_t *r,
    ngx_str_t *origin, ngx_str_t *allowed);
static ngx_uint_t ngx_http_wt_same_host(ngx_http_request_t *r,
    ngx_str_t *origin);
static void ngx_http_wt_origin_host(ngx_str_t *origin, ngx_str_t *host);


ngx_int_t
ngx_http_wt_check_origin(ngx_http_request_t *r, ngx_array_t *origins)
{
    ngx_str_t   *origin, *allowed;
    ngx_uint_t   i;

    if (ngx_http_wt_find_origin(r, &origin) != NGX_OK) {
        return NGX_HTTP_FORBIDDEN;
    }

    if (origin == NULL) {
        /* not a browser */
        return NGX_OK;
    }

    if (origins == NULL) {
        if (ngx_http_wt_same_host(r, origin)) {
            return NGX_OK;
        }

    } else {
        allowed = origins->elts;

        for (i = 0; i < origins->nelts; i++) {
            if (ngx_http_wt_match_origin(r, origin, &allowed[i])) {
                return NGX_OK;
            }
        }
    }

    ngx_log_error(NGX_LOG_INFO, r->connection->log, 0,
                  "webtransport session refused to origin \"%V\": "
                  "not in \"webtransport_origins\"", origin);

    return NGX_HTTP_FORBIDDEN;
}


/* NGX_ERROR if there are several */

static ngx_int_t
ngx_http_wt_find_origin(ngx_http_request_t *r, ngx_str_t **origin)
{
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h;

    *origin = NULL;

    part = &r->headers_in.headers.part;
    h = part->elts;

    for (i = 0; /* void */ ; i++) {

        if (i >= part->nelts) {
            if (part->next == NULL) {
                return NGX_OK;
            }

            part = part->next;
            h = part->elts;
            i = 0;
        }

        if (!ngx_http_wt_str_is(&h[i].key, "origin")) {
            continue;
        }

        if (*origin) {
            return NGX_ERROR;
        }

        *origin = &h[i].value;
    }
}


static ngx_uint_t
ngx_http_wt_match_origin(ngx_http_request_t *r, ngx_str_t *origin,
    ngx_str_t *allowed)
{
    size_t   len;
    u_char  *star;

    if (ngx_http_wt_str_is(allowed, "*")) {
        return 1;
    }

    if (ngx_http_wt_str_is(allowed, "self")) {
        return ngx_http_wt_same_host(r, origin);
    }

    star = ngx_strlchr(allowed->data, allowed->data + allowed->len, '*');

    if (star == NULL) {
        return origin->len == allowed->len
               && ngx_strncasecmp(origin->data, allowed->data, origin->len)
                  == 0;
    }

    /* the asterisk stands for any labels of the host name */

    len = allowed->data + allowed->len - (star + 1);

    return origin->len > (size_t) (star - allowed->data) + len
           && ngx_strncasecmp(origin->data, allowed->data,
                              star - allowed->data)
              == 0
           && ngx_strncasecmp(origin->data + origin->len - len, star + 1, len)
              == 0;
}


/* scheme and port may differ: a page on port 443, sessions on another */

static ngx_uint_t
ngx_http_wt_same_host(ngx_http_request_t *r, ngx_str_t *origin)
{
    ngx_str_t  host;

    ngx_http_wt_origin_host(origin, &host);

    return host.len
           && host.len == r->headers_in.server.len
           && ngx_strncasecmp(host.data, r->headers_in.server.data, host.len)
              == 0;
}


static void
ngx_http_wt_origin_host(ngx_str_t *origin, ngx_str_t *host)
{
    u_char  *p, *last;

    ngx_str_null(host);

    last = origin->data + origin->len;

    p = ngx_strlcasestrn(origin->data, last, (u_char *) "://", 3 - 1);
    if (p == NULL) {
        return;
    }

    host->data = p + 3;

    if (host->data != last && *host->data == '[') {
        /* an IPv6 address keeps its brackets, as it does in :authority */
        p = ngx_strlchr(host->data, last, ']');
        p = p ? p + 1 : last;

    } else {
        p = ngx_strlchr(host->data, last, ':');
        p = p ? p : last;
    }

    host->len = p - host->data;
}
