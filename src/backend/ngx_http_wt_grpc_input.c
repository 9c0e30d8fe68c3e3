/*
 * Messages of a call, put together from whatever pieces HTTP/2 delivers.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include <ngx_http_wt_grpc.h>


/* what is allocated to begin with */
#define NGX_HTTP_WT_GRPC_BUFFER  4096


static ngx_int_t ngx_http_wt_grpc_input_kept(ngx_http_wt_grpc_input_t *in,
    u_char **pos, u_char *last);
static ngx_int_t ngx_http_wt_grpc_input_need(ngx_http_wt_grpc_input_t *in,
    u_char *p, u_char *last, size_t *need);
static ngx_int_t ngx_http_wt_grpc_input_run(ngx_http_wt_grpc_input_t *in,
    u_char *p, size_t len);
static ngx_int_t ngx_http_wt_grpc_input_add(ngx_http_wt_grpc_input_t *in,
    u_char *p, size_t len);


ngx_int_t
ngx_http_wt_grpc_input(ngx_http_wt_grpc_input_t *in, u_char *p, size_t len)
{
    u_char     *last;
    size_t      need;
    ngx_int_t   rc;

    last = p + len;
    in->unconsumed += len;

    rc = ngx_http_wt_grpc_input_kept(in, &p, last);

    /* the others are run from where they are */

    while (rc == NGX_OK && p != last) {

        rc = ngx_http_wt_grpc_input_need(in, p, last, &need);

        if (rc != NGX_OK || (size_t) (last - p) < need) {
            break;
        }

        rc = ngx_http_wt_grpc_input_run(in, p, need);

        if (rc == NGX_OK) {
            p += need;
        }
    }

    if ((rc == NGX_OK || rc == NGX_AGAIN) && p != last) {
        if (ngx_http_wt_grpc_input_add(in, p, last - p) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    return rc;
}


/* messages that are in the buffer, or begin there */

static ngx_int_t
ngx_http_wt_grpc_input_kept(ngx_http_wt_grpc_input_t *in, u_char **pos,
    u_char *last)
{
    size_t      n, need;
    ngx_int_t   rc;

    if (in->stalled) {
        return NGX_AGAIN;
    }

    while (in->pos != in->last) {

        rc = ngx_http_wt_grpc_input_need(in, in->pos, in->last, &need);

        if (rc != NGX_OK) {
            return rc;
        }

        n = in->last - in->pos;

        if (n >= need) {

            rc = ngx_http_wt_grpc_input_run(in, in->pos, need);

            if (rc != NGX_OK) {
                return rc;
            }

            in->pos += need;
            continue;
        }

        n = ngx_min(need - n, (size_t) (last - *pos));

        if (n == 0) {
            return NGX_OK;
        }

        if (ngx_http_wt_grpc_input_add(in, *pos, n) != NGX_OK) {
            return NGX_ERROR;
        }

        *pos += n;
    }

    ngx_http_wt_grpc_input_free(in);

    return NGX_OK;
}


/* bytes of the message that begins at "p", as far as that is known */

static ngx_int_t
ngx_http_wt_grpc_input_need(ngx_http_wt_grpc_input_t *in, u_char *p,
    u_char *last, size_t *need)
{
    size_t  len;

    *need = NGX_HTTP_WT_GRPC_HEADER;

    if (last - p < NGX_HTTP_WT_GRPC_HEADER) {
        return NGX_OK;
    }

    if (p[0]) {

        /* nothing but "identity" was in grpc-accept-encoding */

        ngx_http_wt_grpc_fail(in->response, NGX_HTTP_WT_GRPC_INTERNAL,
                              "compressed message");
        return NGX_ERROR;
    }

    len = (size_t) p[1] << 24 | p[2] << 16 | p[3] << 8 | p[4];

    if (len > in->max) {
        ngx_http_wt_grpc_fail(in->response,
                              NGX_HTTP_WT_GRPC_RESOURCE_EXHAUSTED,
                              "message of %uz bytes, more than %uz", len,
                              in->max);
        return NGX_ERROR;
    }

    *need += len;

    return NGX_OK;
}


static ngx_int_t
ngx_http_wt_grpc_input_run(ngx_http_wt_grpc_input_t *in, u_char *p, size_t len)
{
    ngx_int_t  rc;

    rc = in->message(in->data, p + NGX_HTTP_WT_GRPC_HEADER,
                     len - NGX_HTTP_WT_GRPC_HEADER);

    if (rc == NGX_AGAIN) {
        in->stalled = 1;
    }

    return rc;
}


static ngx_int_t
ngx_http_wt_grpc_input_add(ngx_http_wt_grpc_input_t *in, u_char *p, size_t len)
{
    size_t   have, size;
    u_char  *start;

    have = in->last - in->pos;

    if ((size_t) (in->end - in->last) < len) {

        /* grows by a half, so that not every piece moves all before it */

        size = ngx_max(have + len, NGX_HTTP_WT_GRPC_BUFFER);
        size = ngx_max(size, have + have / 2);

        start = ngx_alloc(size, ngx_cycle->log);
        if (start == NULL) {
            return NGX_ERROR;
        }

        if (have) {
            ngx_memcpy(start, in->pos, have);
        }

        ngx_http_wt_grpc_input_free(in);

        in->start = start;
        in->pos = start;
        in->last = start + have;
        in->end = start + size;
    }

    in->last = ngx_cpymem(in->last, p, len);

    return NGX_OK;
}


size_t
ngx_http_wt_grpc_input_consumed(ngx_http_wt_grpc_input_t *in)
{
    size_t  n, left;

    left = in->stalled ? in->last - in->pos : 0;

    if (in->unconsumed <= left) {
        return 0;
    }

    n = in->unconsumed - left;
    in->unconsumed = left;

    return n;
}


void
ngx_http_wt_grpc_input_free(ngx_http_wt_grpc_input_t *in)
{
    if (in->start) {
        ngx_free(in->start);
    }

    in->start = NULL;
    in->pos = NULL;
    in->last = NULL;
    in->end = NULL;
}
