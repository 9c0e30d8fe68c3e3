
/*
 * Copyright (C) The WebTransport for nginx authors
 */


#ifndef _NGX_HTTP_WT_JSON_WIRE_H_INCLUDED_
#define _NGX_HTTP_WT_JSON_WIRE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http_wt_json.h>


/*
 * Protobuf's bytes, https://protobuf.dev/programming-guides/encoding/, for code
 * that knows a message from a table only; nanopb's needs generated structs.
 */


#define NGX_HTTP_WT_JSON_VARINT   0
#define NGX_HTTP_WT_JSON_FIXED64  1
#define NGX_HTTP_WT_JSON_LEN      2
#define NGX_HTTP_WT_JSON_FIXED32  5


/* a value as it was read: a number, or bytes; the other one is 0 or empty */

typedef struct {
    uint64_t                   number;
    ngx_str_t                  data;
} ngx_http_wt_json_wire_t;


/* a message that is being written; it moves when it grows */

typedef struct {
    u_char                    *start;
    u_char                    *pos;
    u_char                    *end;
    ngx_pool_t                *pool;
} ngx_http_wt_json_buf_t;


ngx_uint_t ngx_http_wt_json_wire_type(const ngx_http_wt_json_field_t *field);

/*
 * Both return the position behind what they have read, or NULL if it is cut or
 * malformed.  Groups are malformed: proto3 has none.
 */
u_char *ngx_http_wt_json_read_tag(u_char *p, u_char *last, ngx_uint_t *number,
    ngx_uint_t *type);
u_char *ngx_http_wt_json_read(u_char *p, u_char *last, ngx_uint_t type,
    ngx_http_wt_json_wire_t *value);

/* NGX_ERROR: no memory.  "room" is for bytes that the caller writes at pos. */

ngx_int_t ngx_http_wt_json_room(ngx_http_wt_json_buf_t *b, size_t n);
ngx_int_t ngx_http_wt_json_write_tag(ngx_http_wt_json_buf_t *b,
    ngx_uint_t number, ngx_uint_t type);
ngx_int_t ngx_http_wt_json_write_varint(ngx_http_wt_json_buf_t *b, uint64_t v);
ngx_int_t ngx_http_wt_json_write_fixed64(ngx_http_wt_json_buf_t *b,
    uint64_t v);
ngx_int_t ngx_http_wt_json_write_data(ngx_http_wt_json_buf_t *b,
    ngx_uint_t number, ngx_str_t *data);

/*
 * What is written between these two is the value of field "number"; *start is
 * a note from the one to the other.
 */
ngx_int_t ngx_http_wt_json_nest(ngx_http_wt_json_buf_t *b, ngx_uint_t number,
    size_t *start);
ngx_int_t ngx_http_wt_json_unnest(ngx_http_wt_json_buf_t *b, size_t start);


#endif /* _NGX_HTTP_WT_JSON_WIRE_H_INCLUDED_ */
