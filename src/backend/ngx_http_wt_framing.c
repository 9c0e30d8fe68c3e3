/*
 * Message boundaries on byte streams.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http_wt_framing.h>


/* what a stream that starts to send gets */
#define NGX_HTTP_WT_FRAMING_BUFFER  4096


static ngx_int_t ngx_http_wt_framing_whole(ngx_http_wt_framing_t *f,
    size_t max, ngx_uint_t eof, ngx_str_t *msg);
static ngx_int_t ngx_http_wt_framing_u32(ngx_http_wt_framing_t *f, size_t max,
    ngx_uint_t eof, ngx_str_t *msg);
static ngx_int_t ngx_http_wt_framing_line(ngx_http_wt_framing_t *f,
    size_t max, ngx_uint_t eof, ngx_str_t *msg);


ngx_int_t
ngx_http_wt_framing_room(ngx_http_wt_framing_t *f, ngx_uint_t framing,
    size_t max, ngx_log_t *log)
{
    size_t   len, size;
    u_char  *p;

    if (f->last != f->end) {
        return NGX_OK;
    }

    len = f->last - f->pos;

    if (f->pos != f->start && len <= (size_t) (f->pos - f->start)) {

        /* the bytes to move are fewer than those which made the room */

        ngx_memmove(f->start, f->pos, len);
        f->pos = f->start;
        f->last = f->start + len;

        return NGX_OK;
    }

    /* one byte more than the longest message tells that it is too long */

    size = max + ((framing == NGX_HTTP_WT_FRAMING_U32)
                  ? NGX_HTTP_WT_FRAMING_U32_LEN : 1);

    size = ngx_min(size, ngx_max(2 * len, NGX_HTTP_WT_FRAMING_BUFFER));

    p = ngx_alloc(size, log);
    if (p == NULL) {
        return NGX_ERROR;
    }

    if (len) {
        ngx_memcpy(p, f->pos, len);
    }

    if (f->start) {
        ngx_free(f->start);
    }

    f->start = p;
    f->pos = p;
    f->last = p + len;
    f->end = p + size;

    return NGX_OK;
}


ngx_int_t
ngx_http_wt_framing_next(ngx_http_wt_framing_t *f, ngx_uint_t framing,
    size_t max, ngx_uint_t eof, ngx_str_t *msg)
{
    switch (framing) {

    case NGX_HTTP_WT_FRAMING_WHOLE:
        return ngx_http_wt_framing_whole(f, max, eof, msg);

    case NGX_HTTP_WT_FRAMING_U32:
        return ngx_http_wt_framing_u32(f, max, eof, msg);

    default: /* NGX_HTTP_WT_FRAMING_LINES */
        return ngx_http_wt_framing_line(f, max, eof, msg);
    }
}


static ngx_int_t
ngx_http_wt_framing_whole(ngx_http_wt_framing_t *f, size_t max,
    ngx_uint_t eof, ngx_str_t *msg)
{
    msg->data = f->pos;
    msg->len = f->last - f->pos;

    if (msg->len > max) {
        return NGX_DECLINED;
    }

    /* also a stream without bytes is a message: an empty one */

    return eof ? NGX_OK : NGX_AGAIN;
}


static ngx_int_t
ngx_http_wt_framing_u32(ngx_http_wt_framing_t *f, size_t max, ngx_uint_t eof,
    ngx_str_t *msg)
{
    size_t     len;
    u_char    *p;
    uint32_t   n;

    p = f->pos;
    len = f->last - p;

    if (len < NGX_HTTP_WT_FRAMING_U32_LEN) {
        return (eof && len) ? NGX_ERROR : NGX_AGAIN;
    }

    n = (uint32_t) p[0] << 24 | p[1] << 16 | p[2] << 8 | p[3];

    if (n > max) {
        return NGX_DECLINED;
    }

    if (n > len - NGX_HTTP_WT_FRAMING_U32_LEN) {
        return eof ? NGX_ERROR : NGX_AGAIN;
    }

    msg->data = p + NGX_HTTP_WT_FRAMING_U32_LEN;
    msg->len = n;

    return NGX_OK;
}


static ngx_int_t
ngx_http_wt_framing_line(ngx_http_wt_framing_t *f, size_t max, ngx_uint_t eof,
    ngx_str_t *msg)
{
    size_t   len;
    u_char  *lf;

    len = f->last - f->pos;

    msg->data = f->pos;

    lf = (len == f->scanned) ? NULL
                             : memchr(f->pos + f->scanned, LF,
                                      len - f->scanned);

    if (lf) {
        msg->len = lf - f->pos;
        f->scanned = msg->len;

        return (msg->len > max) ? NGX_DECLINED : NGX_OK;
    }

    f->scanned = len;

    if (len > max) {
        return NGX_DECLINED;
    }

    if (eof && len) {

        /* the last line may do without its end */

        msg->len = len;
        return NGX_OK;
    }

    return NGX_AGAIN;
}


void
ngx_http_wt_framing_consume(ngx_http_wt_framing_t *f, ngx_uint_t framing,
    ngx_str_t *msg)
{
    f->pos = msg->data + msg->len;
    f->scanned = 0;

    if (framing == NGX_HTTP_WT_FRAMING_LINES && f->pos != f->last) {
        f->pos++;
    }

    if (f->pos == f->last) {
        f->pos = f->start;
        f->last = f->start;
    }
}


void
ngx_http_wt_framing_trim(ngx_http_wt_framing_t *f)
{
    if (f->pos == f->last) {
        ngx_http_wt_framing_free(f);
    }
}


void
ngx_http_wt_framing_free(ngx_http_wt_framing_t *f)
{
    if (f->start) {
        ngx_free(f->start);
    }

    ngx_memzero(f, sizeof(ngx_http_wt_framing_t));
}
