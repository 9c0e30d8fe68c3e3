
/*
 * Copyright (C) The WebTransport for nginx authors
 */


#ifndef _NGX_HTTP_WT_JSON_H_INCLUDED_
#define _NGX_HTTP_WT_JSON_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


/*
 * The contract as JSON: https://protobuf.dev/programming-guides/json/ for the
 * messages of webtransport.proto, between their protobuf form and text.
 *
 * Printed:  lowerCamelCase names, 64-bit integers as strings, bytes as base64,
 *           enums by name (by number if it has none).  Fields with their
 *           default value are left out, unless the schema knows "absent" for
 *           them: members of a oneof and "optional" fields.
 *
 * Parsed:   also the names of the schema; every number also as a string and
 *           every 64-bit integer also as a number; enums also by number;
 *           base64 also with the URL's alphabet and without padding.  Null is
 *           absent, unknown fields are ignored.  An error is what has the wrong
 *           type or does not fit it, an unknown name of an enum, a field with
 *           both its names, two members of a oneof.  Of two equal names the
 *           last counts, as with most parsers.  Beyond the standard, an empty
 *           array may stand for an empty object, as in what PHP writes.
 *
 * The tables, ngx_http_wt_json_tables.c, are generated from the schema.
 */


/* types of fields */

#define NGX_HTTP_WT_JSON_BOOL           0
#define NGX_HTTP_WT_JSON_INT32          1
#define NGX_HTTP_WT_JSON_UINT32         2
#define NGX_HTTP_WT_JSON_UINT64         3
#define NGX_HTTP_WT_JSON_ENUM           4
#define NGX_HTTP_WT_JSON_DOUBLE         5
#define NGX_HTTP_WT_JSON_STRING         6
#define NGX_HTTP_WT_JSON_BYTES          7
#define NGX_HTTP_WT_JSON_MESSAGE        8


/* the label: PRESENCE is a singular field that differs from an absent one */

#define NGX_HTTP_WT_JSON_SINGULAR       0
#define NGX_HTTP_WT_JSON_PRESENCE       1
#define NGX_HTTP_WT_JSON_REPEATED       2
#define NGX_HTTP_WT_JSON_MAP            3


typedef struct {
    ngx_str_t                         name;
    int32_t                           value;
} ngx_http_wt_json_name_t;


typedef struct {
    ngx_uint_t                        n;
    const ngx_http_wt_json_name_t    *names;
} ngx_http_wt_json_enum_t;


typedef struct {
    ngx_str_t                         name;
    ngx_str_t                         schema_name;
    ngx_uint_t                        number;
    ngx_uint_t                        type;
    ngx_uint_t                        label;

    /* counted from 1 in the message, 0 for none */
    ngx_uint_t                        oneof;

    /* ngx_http_wt_json_enum_t, ngx_http_wt_json_msg_t, or NULL */
    const void                       *of;
} ngx_http_wt_json_field_t;


/* "of" a map is a message with the fields "key", a string, and "value" */

typedef struct {
    const char                       *name;
    ngx_uint_t                        n;
    const ngx_http_wt_json_field_t   *fields;
} ngx_http_wt_json_msg_t;


/* tables; there is one for every request and reply of the schema's services */

extern const ngx_http_wt_json_msg_t  ngx_http_wt_json_EventBatch;
extern const ngx_http_wt_json_msg_t  ngx_http_wt_json_CommandBatch;


/*
 * Prints a message that consists of n pieces of protobuf, divided anywhere.
 * The text is allocated from the pool, and at most by a constant factor larger
 * than the message.  NGX_ERROR: no memory, or not a message of this kind.
 */
ngx_int_t ngx_http_wt_json_print(const ngx_http_wt_json_msg_t *msg,
    ngx_str_t *in, ngx_uint_t n, ngx_str_t *out, ngx_pool_t *pool);

/*
 * Parses a text into a message, allocated from the pool.  NGX_ERROR: *err says
 * what is wrong and where, for a log: it quotes no values, only a malformed
 * escape sequence.  It is static or from the pool.
 */
ngx_int_t ngx_http_wt_json_parse(const ngx_http_wt_json_msg_t *msg,
    ngx_str_t *in, ngx_str_t *out, ngx_pool_t *pool, const char **err);


/* The same for an EventBatch, and for a CommandBatch. */

ngx_int_t ngx_http_wt_json_events(ngx_str_t *in, ngx_uint_t n, ngx_str_t *out,
    ngx_pool_t *pool);
ngx_int_t ngx_http_wt_json_commands(ngx_str_t *in, ngx_str_t *out,
    ngx_pool_t *pool, const char **err);


#endif /* _NGX_HTTP_WT_JSON_H_INCLUDED_ */
