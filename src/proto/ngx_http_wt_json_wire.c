
/*
 * Copyright (C) The WebTransport for nginx authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http_wt_json_wire.h>


#define NGX_HTTP_WT_JSON_VARINT_MAX   10


static u_char *ngx_http_wt_json_read_fixed(u_char *p, u_char *last, size_t n,
    uint64_t *v);
static u_char *ngx_http_wt_json_read_varint(u_char *p, u_char *last,
    uint64_t *v);
static size_t ngx_http_wt_json_varint_len(uint64_t v);
static u_char *ngx_http_wt_json_varint(u_char *p, uint64_t v);


ngx_uint_t
ngx_http_wt_json_wire_type(const ngx_http_wt_json_field_t *field)
{
    switch (field->type) {

    case NGX_HTTP_WT_JSON_STRING:
    case NGX_HTTP_WT_JSON_BYTES:
    case NGX_HTTP_WT_JSON_MESSAGE:
        return NGX_HTTP_WT_JSON_LEN;

    case NGX_HTTP_WT_JSON_DOUBLE:
        return NGX_HTTP_WT_JSON_FIXED64;

    default:
        return NGX_HTTP_WT_JSON_VARINT;
    }
}


u_char *
ngx_http_wt_json_read_tag(u_char *p, u_char *last, ngx_uint_t *number,
    ngx_uint_t *type)
{
    uint64_t  tag;

    p = ngx_http_wt_json_read_varint(p, last, &tag);

    if (p == NULL || tag < (1 << 3) || tag > 0xffffffff) {
        return NULL;
    }

    *number = (ngx_uint_t) (tag >> 3);
    *type = tag & 7;

    return p;
}


u_char *
ngx_http_wt_json_read(u_char *p, u_char *last, ngx_uint_t type,
    ngx_http_wt_json_wire_t *value)
{
    uint64_t  len;

    value->number = 0;
    ngx_str_null(&value->data);

    switch (type) {

    case NGX_HTTP_WT_JSON_VARINT:
        return ngx_http_wt_json_read_varint(p, last, &value->number);

    case NGX_HTTP_WT_JSON_FIXED64:
        return ngx_http_wt_json_read_fixed(p, last, 8, &value->number);

    case NGX_HTTP_WT_JSON_FIXED32:
        return ngx_http_wt_json_read_fixed(p, last, 4, &value->number);

    case NGX_HTTP_WT_JSON_LEN:

        p = ngx_http_wt_json_read_varint(p, last, &len);

        if (p == NULL || len > (uint64_t) (last - p)) {
            return NULL;
        }

        value->data.data = p;
        value->data.len = (size_t) len;

        return p + len;

    default: /* groups, which proto3 does not have */
        return NULL;
    }
}


static u_char *
ngx_http_wt_json_read_fixed(u_char *p, u_char *last, size_t n, uint64_t *v)
{
    size_t  i;

    if ((size_t) (last - p) < n) {
        return NULL;
    }

    for (i = 0; i < n; i++) {
        *v |= (uint64_t) p[i] << (8 * i);
    }

    return p + n;
}


/* of up to 10 bytes, longer than needed or not */

static u_char *
ngx_http_wt_json_read_varint(u_char *p, u_char *last, uint64_t *v)
{
    ngx_uint_t  shift;

    *v = 0;

    for (shift = 0; shift < 70 && p < last; shift += 7) {

        *v |= (uint64_t) (*p & 0x7f) << shift;

        if (*p++ < 0x80) {
            return p;
        }
    }

    return NULL;
}


ngx_int_t
ngx_http_wt_json_room(ngx_http_wt_json_buf_t *b, size_t n)
{
    size_t   size;
    u_char  *p;

    if (b->start && (size_t) (b->end - b->pos) >= n) {
        return NGX_OK;
    }

    size = 2 * (b->end - b->start) + n;

    p = ngx_pnalloc(b->pool, size);
    if (p == NULL) {
        return NGX_ERROR;
    }

    if (b->start) {
        b->pos = ngx_cpymem(p, b->start, b->pos - b->start);
        (void) ngx_pfree(b->pool, b->start);

    } else {
        b->pos = p;
    }

    b->start = p;
    b->end = p + size;

    return NGX_OK;
}


ngx_int_t
ngx_http_wt_json_write_tag(ngx_http_wt_json_buf_t *b, ngx_uint_t number,
    ngx_uint_t type)
{
    return ngx_http_wt_json_write_varint(b, (uint64_t) number << 3 | type);
}


ngx_int_t
ngx_http_wt_json_write_varint(ngx_http_wt_json_buf_t *b, uint64_t v)
{
    if (ngx_http_wt_json_room(b, NGX_HTTP_WT_JSON_VARINT_MAX) != NGX_OK) {
        return NGX_ERROR;
    }

    b->pos = ngx_http_wt_json_varint(b->pos, v);

    return NGX_OK;
}


ngx_int_t
ngx_http_wt_json_write_fixed64(ngx_http_wt_json_buf_t *b, uint64_t v)
{
    ngx_uint_t  i;

    if (ngx_http_wt_json_room(b, 8) != NGX_OK) {
        return NGX_ERROR;
    }

    for (i = 0; i < 8; i++) {
        *b->pos++ = (u_char) (v >> (8 * i));
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_wt_json_write_data(ngx_http_wt_json_buf_t *b, ngx_uint_t number,
    ngx_str_t *data)
{
    if (ngx_http_wt_json_write_tag(b, number, NGX_HTTP_WT_JSON_LEN) != NGX_OK
        || ngx_http_wt_json_write_varint(b, data->len) != NGX_OK
        || ngx_http_wt_json_room(b, data->len) != NGX_OK)
    {
        return NGX_ERROR;
    }

    b->pos = ngx_cpymem(b->pos, data->data, data->len);

    return NGX_OK;
}


/* one byte is left for the length; the value moves if it needs more */

ngx_int_t
ngx_http_wt_json_nest(ngx_http_wt_json_buf_t *b, ngx_uint_t number,
    size_t *start)
{
    if (ngx_http_wt_json_write_tag(b, number, NGX_HTTP_WT_JSON_LEN) != NGX_OK
        || ngx_http_wt_json_room(b, 1) != NGX_OK)
    {
        return NGX_ERROR;
    }

    b->pos++;
    *start = b->pos - b->start;

    return NGX_OK;
}


ngx_int_t
ngx_http_wt_json_unnest(ngx_http_wt_json_buf_t *b, size_t start)
{
    size_t   len, more;
    u_char  *p;

    len = b->pos - b->start - start;
    more = ngx_http_wt_json_varint_len(len) - 1;

    if (more) {
        if (ngx_http_wt_json_room(b, more) != NGX_OK) {
            return NGX_ERROR;
        }

        p = b->start + start;
        ngx_memmove(p + more, p, len);
        b->pos += more;
    }

    (void) ngx_http_wt_json_varint(b->start + start - 1, len);

    return NGX_OK;
}


static size_t
ngx_http_wt_json_varint_len(uint64_t v)
{
    size_t  n;

    for (n = 1; v > 0x7f; n++) {
        v >>= 7;
    }

    return n;
}


static u_char *
ngx_http_wt_json_varint(u_char *p, uint64_t v)
{
    while (v > 0x7f) {
        *p++ = (u_char) (v | 0x80);
        v >>= 7;
    }

    *p++ = (u_char) v;

    return p;
}
