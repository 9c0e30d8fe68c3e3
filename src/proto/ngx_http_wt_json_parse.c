
/*
 * Copyright (C) The WebTransport for nginx authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <jansson.h>
#include <ngx_http_wt_json_load.h>
#include <ngx_http_wt_json_wire.h>
#include <ngx_http_wt_json.h>


#define NGX_HTTP_WT_JSON_PATH_LEN  256


/* where the parser is: in a field, or with "element" in one of its elements */

typedef struct ngx_http_wt_json_path_s  ngx_http_wt_json_path_t;

struct ngx_http_wt_json_path_s {
    ngx_http_wt_json_path_t         *parent;
    const ngx_http_wt_json_field_t  *field;
    size_t                           index;
    unsigned                         element:1;
};


typedef struct {
    ngx_http_wt_json_buf_t           buf;
    const ngx_http_wt_json_msg_t    *msg;

    /* NULL if the memory was not enough */
    const char                      *err;
} ngx_http_wt_json_ctx_t;


static ngx_int_t ngx_http_wt_json_parse_message(ngx_http_wt_json_ctx_t *ctx,
    ngx_http_wt_json_path_t *parent, const ngx_http_wt_json_msg_t *msg,
    json_t *object);
static ngx_uint_t ngx_http_wt_json_is_object(json_t *value);
static ngx_uint_t ngx_http_wt_json_mark(uint32_t *mask, ngx_uint_t bit);
static const ngx_http_wt_json_field_t *ngx_http_wt_json_named(
    const ngx_http_wt_json_msg_t *msg, const char *key);
static ngx_int_t ngx_http_wt_json_parse_field(ngx_http_wt_json_ctx_t *ctx,
    ngx_http_wt_json_path_t *path, json_t *value);
static ngx_int_t ngx_http_wt_json_parse_repeated(ngx_http_wt_json_ctx_t *ctx,
    ngx_http_wt_json_path_t *path, json_t *array);
static ngx_int_t ngx_http_wt_json_parse_map(ngx_http_wt_json_ctx_t *ctx,
    ngx_http_wt_json_path_t *path, json_t *map);
static ngx_int_t ngx_http_wt_json_parse_value(ngx_http_wt_json_ctx_t *ctx,
    ngx_http_wt_json_path_t *path, json_t *value);
static ngx_int_t ngx_http_wt_json_parse_string(ngx_http_wt_json_ctx_t *ctx,
    ngx_http_wt_json_path_t *path, json_t *value);
static ngx_int_t ngx_http_wt_json_parse_bytes(ngx_http_wt_json_ctx_t *ctx,
    ngx_http_wt_json_path_t *path, json_t *value);
static ngx_int_t ngx_http_wt_json_unpad(ngx_str_t *base64);
static ngx_int_t ngx_http_wt_json_parse_number(ngx_http_wt_json_ctx_t *ctx,
    ngx_http_wt_json_path_t *path, json_t *value);
static ngx_int_t ngx_http_wt_json_error(ngx_http_wt_json_ctx_t *ctx,
    ngx_http_wt_json_path_t *path, const char *text);
static u_char *ngx_http_wt_json_path(u_char *p, u_char *last,
    ngx_http_wt_json_path_t *path);


ngx_int_t
ngx_http_wt_json_commands(ngx_str_t *in, ngx_str_t *out, ngx_pool_t *pool,
    const char **err)
{
    return ngx_http_wt_json_parse(&ngx_http_wt_json_CommandBatch, in, out,
                                  pool, err);
}


ngx_int_t
ngx_http_wt_json_parse(const ngx_http_wt_json_msg_t *msg, ngx_str_t *in,
    ngx_str_t *out, ngx_pool_t *pool, const char **err)
{
    json_t                  *root;
    ngx_int_t                rc;
    ngx_http_wt_json_ctx_t   ctx;

    root = ngx_http_wt_json_load(in, pool, err);
    if (root == NULL) {
        return NGX_ERROR;
    }

    ngx_memzero(&ctx, sizeof(ngx_http_wt_json_ctx_t));
    ctx.buf.pool = pool;
    ctx.msg = msg;

    /* names go and base64 shrinks: a message is nearly always shorter */

    rc = ngx_http_wt_json_room(&ctx.buf, in->len);

    if (rc == NGX_OK) {
        rc = ngx_http_wt_json_parse_message(&ctx, NULL, msg, root);
    }

    json_decref(root);

    if (rc == NGX_OK) {
        out->data = ctx.buf.start;
        out->len = ctx.buf.pos - ctx.buf.start;
        return NGX_OK;
    }

    if (ctx.buf.start) {
        (void) ngx_pfree(pool, ctx.buf.start);
    }

    *err = ctx.err ? ctx.err : NGX_HTTP_WT_JSON_NO_MEMORY;

    return NGX_ERROR;
}


/*
 * Writes the fields of an object.  No message of the schema contains itself,
 * which the generator of the tables ensures; so the schema limits the depth of
 * this recursion.  The library's own limit is 2048 levels, for which 256 KB of
 * stack are enough.
 */

static ngx_int_t
ngx_http_wt_json_parse_message(ngx_http_wt_json_ctx_t *ctx,
    ngx_http_wt_json_path_t *parent, const ngx_http_wt_json_msg_t *msg,
    json_t *object)
{
    json_t                   *value;
    uint32_t                  seen, oneofs;
    const char               *key;
    ngx_http_wt_json_path_t   path;

    seen = 0;
    oneofs = 0;

    if (!ngx_http_wt_json_is_object(object)) {
        return ngx_http_wt_json_error(ctx, parent, "object expected");
    }

    json_object_foreach(object, key, value) {

        ngx_memzero(&path, sizeof(ngx_http_wt_json_path_t));
        path.parent = parent;
        path.field = ngx_http_wt_json_named(msg, key);

        if (path.field == NULL || json_is_null(value)) {
            continue;
        }

        if (ngx_http_wt_json_mark(&seen, path.field - msg->fields)) {
            return ngx_http_wt_json_error(ctx, &path, "has two values");
        }

        if (path.field->oneof
            && ngx_http_wt_json_mark(&oneofs, path.field->oneof - 1))
        {
            return ngx_http_wt_json_error(ctx, &path,
                                          "excluded by another field");
        }

        if (ngx_http_wt_json_parse_field(ctx, &path, value) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


/*
 * An empty array is what PHP writes for an empty object; the library's
 * functions for objects find nothing in it.
 */

static ngx_uint_t
ngx_http_wt_json_is_object(json_t *value)
{
    return json_is_object(value)
           || (json_is_array(value) && json_array_size(value) == 0);
}


/* sets a bit, and returns 1 if it was set before */

static ngx_uint_t
ngx_http_wt_json_mark(uint32_t *mask, ngx_uint_t bit)
{
    uint32_t  before;

    before = *mask;
    *mask |= (uint32_t) 1 << bit;

    return (before == *mask);
}


static const ngx_http_wt_json_field_t *
ngx_http_wt_json_named(const ngx_http_wt_json_msg_t *msg, const char *key)
{
    size_t                           len;
    ngx_uint_t                       i;
    const ngx_http_wt_json_field_t  *field;

    len = ngx_strlen(key);

    for (i = 0; i < msg->n; i++) {
        field = &msg->fields[i];

        if (field->name.len == len
            && ngx_memcmp(field->name.data, key, len) == 0)
        {
            return field;
        }

        if (field->schema_name.len == len
            && ngx_memcmp(field->schema_name.data, key, len) == 0)
        {
            return field;
        }
    }

    return NULL;
}


static ngx_int_t
ngx_http_wt_json_parse_field(ngx_http_wt_json_ctx_t *ctx,
    ngx_http_wt_json_path_t *path, json_t *value)
{
    switch (path->field->label) {

    case NGX_HTTP_WT_JSON_REPEATED:
        return ngx_http_wt_json_parse_repeated(ctx, path, value);

    case NGX_HTTP_WT_JSON_MAP:
        return ngx_http_wt_json_parse_map(ctx, path, value);

    default:
        return ngx_http_wt_json_parse_value(ctx, path, value);
    }
}


/* numbers are packed: one tag and one length for all of them */

static ngx_int_t
ngx_http_wt_json_parse_repeated(ngx_http_wt_json_ctx_t *ctx,
    ngx_http_wt_json_path_t *path, json_t *array)
{
    size_t      i, start;
    json_t     *value;
    ngx_uint_t  packed;

    if (!json_is_array(array)) {
        return ngx_http_wt_json_error(ctx, path, "array expected");
    }

    if (json_array_size(array) == 0) {
        return NGX_OK;
    }

    packed = (path->field->type < NGX_HTTP_WT_JSON_STRING);

    if (packed
        && ngx_http_wt_json_nest(&ctx->buf, path->field->number, &start)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    path->element = 1;

    json_array_foreach(array, i, value) {
        path->index = i;

        if (ngx_http_wt_json_parse_value(ctx, path, value) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    return packed ? ngx_http_wt_json_unnest(&ctx->buf, start) : NGX_OK;
}


static ngx_int_t
ngx_http_wt_json_parse_map(ngx_http_wt_json_ctx_t *ctx,
    ngx_http_wt_json_path_t *path, json_t *map)
{
    size_t                         start;
    json_t                        *value;
    ngx_str_t                      name;
    const char                    *key;
    ngx_http_wt_json_buf_t        *b;
    ngx_http_wt_json_path_t        entry;
    const ngx_http_wt_json_msg_t  *msg;

    if (!ngx_http_wt_json_is_object(map)) {
        return ngx_http_wt_json_error(ctx, path, "object expected");
    }

    b = &ctx->buf;
    msg = path->field->of;
    path->element = 1;

    ngx_memzero(&entry, sizeof(ngx_http_wt_json_path_t));
    entry.parent = path;
    entry.field = &msg->fields[1];

    json_object_foreach(map, key, value) {

        /* the library does not accept NULs in names */

        name.data = (u_char *) key;
        name.len = ngx_strlen(key);

        if (ngx_http_wt_json_nest(b, path->field->number, &start) != NGX_OK
            || ngx_http_wt_json_write_data(b, msg->fields[0].number, &name)
               != NGX_OK
            || ngx_http_wt_json_parse_value(ctx, &entry, value) != NGX_OK
            || ngx_http_wt_json_unnest(b, start) != NGX_OK)
        {
            return NGX_ERROR;
        }

        path->index++;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_wt_json_parse_value(ngx_http_wt_json_ctx_t *ctx,
    ngx_http_wt_json_path_t *path, json_t *value)
{
    size_t                           start;
    const ngx_http_wt_json_field_t  *field;

    field = path->field;

    switch (field->type) {

    case NGX_HTTP_WT_JSON_MESSAGE:

        if (ngx_http_wt_json_nest(&ctx->buf, field->number, &start) != NGX_OK
            || ngx_http_wt_json_parse_message(ctx, path, field->of, value)
               != NGX_OK)
        {
            return NGX_ERROR;
        }

        return ngx_http_wt_json_unnest(&ctx->buf, start);

    case NGX_HTTP_WT_JSON_STRING:
        return ngx_http_wt_json_parse_string(ctx, path, value);

    case NGX_HTTP_WT_JSON_BYTES:
        return ngx_http_wt_json_parse_bytes(ctx, path, value);

    default:
        return ngx_http_wt_json_parse_number(ctx, path, value);
    }
}


static ngx_int_t
ngx_http_wt_json_parse_string(ngx_http_wt_json_ctx_t *ctx,
    ngx_http_wt_json_path_t *path, json_t *value)
{
    ngx_str_t  str;

    if (!json_is_string(value)) {
        return ngx_http_wt_json_error(ctx, path, "string expected");
    }

    /* valid UTF-8, or the library would have refused it */

    str.data = (u_char *) json_string_value(value);
    str.len = json_string_length(value);

    if (str.len == 0 && path->field->label == NGX_HTTP_WT_JSON_SINGULAR) {
        return NGX_OK;
    }

    return ngx_http_wt_json_write_data(&ctx->buf, path->field->number, &str);
}


static ngx_int_t
ngx_http_wt_json_parse_bytes(ngx_http_wt_json_ctx_t *ctx,
    ngx_http_wt_json_path_t *path, json_t *value)
{
    ngx_int_t                rc;
    ngx_str_t                base64, data;
    ngx_http_wt_json_buf_t  *b;

    b = &ctx->buf;

    if (!json_is_string(value)) {
        return ngx_http_wt_json_error(ctx, path, "string expected");
    }

    base64.data = (u_char *) json_string_value(value);
    base64.len = json_string_length(value);

    if (ngx_http_wt_json_unpad(&base64) != NGX_OK) {
        return ngx_http_wt_json_error(ctx, path, "base64 expected");
    }

    if (base64.len == 0 && path->field->label == NGX_HTTP_WT_JSON_SINGULAR) {
        return NGX_OK;
    }

    data.len = base64.len / 4 * 3 + base64.len % 4 * 3 / 4;

    if (ngx_http_wt_json_write_tag(b, path->field->number,
                                   NGX_HTTP_WT_JSON_LEN)
        != NGX_OK
        || ngx_http_wt_json_write_varint(b, data.len) != NGX_OK
        || ngx_http_wt_json_room(b, data.len) != NGX_OK)
    {
        return NGX_ERROR;
    }

    data.data = b->pos;

    /* what is behind a NUL does not matter: a NUL is none of the characters */

    rc = strpbrk((char *) base64.data, "-_")
         ? ngx_decode_base64url(&data, &base64)
         : ngx_decode_base64(&data, &base64);

    if (rc != NGX_OK) {
        return ngx_http_wt_json_error(ctx, path, "base64 expected");
    }

    b->pos += data.len;

    return NGX_OK;
}


/* nginx's decoders need no padding, and ignore what is behind it */

static ngx_int_t
ngx_http_wt_json_unpad(ngx_str_t *base64)
{
    ngx_uint_t  n;

    if (base64->len % 4 == 0) {
        for (n = 0; n < 2 && base64->len; n++) {
            if (base64->data[base64->len - 1] == '=') {
                base64->len--;
            }
        }
    }

    if (base64->len % 4 == 1
        || ngx_strlchr(base64->data, base64->data + base64->len, '='))
    {
        return NGX_ERROR;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_wt_json_parse_number(ngx_http_wt_json_ctx_t *ctx,
    ngx_http_wt_json_path_t *path, json_t *value)
{
    double                           d;
    uint64_t                         v;
    ngx_uint_t                       wire;
    const char                      *err;
    const ngx_http_wt_json_field_t  *field;

    field = path->field;
    wire = ngx_http_wt_json_wire_type(field);
    err = NULL;

    switch (field->type) {

    case NGX_HTTP_WT_JSON_BOOL:
        v = json_is_true(value);
        err = json_is_boolean(value) ? NULL : "true or false expected";
        break;

    case NGX_HTTP_WT_JSON_ENUM:
        err = ngx_http_wt_json_enum(field->of, value, &v);
        break;

    case NGX_HTTP_WT_JSON_DOUBLE:
        err = ngx_http_wt_json_double(value, &d);
        ngx_memcpy(&v, &d, sizeof(double));
        break;

    default:
        err = ngx_http_wt_json_integer(field->type, value, &v);
    }

    if (err) {
        return ngx_http_wt_json_error(ctx, path, err);
    }

    if (field->label == NGX_HTTP_WT_JSON_SINGULAR && v == 0) {
        return NGX_OK;
    }

    /* elements of arrays are packed */

    if (field->label != NGX_HTTP_WT_JSON_REPEATED
        && ngx_http_wt_json_write_tag(&ctx->buf, field->number, wire)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    return (wire == NGX_HTTP_WT_JSON_FIXED64)
           ? ngx_http_wt_json_write_fixed64(&ctx->buf, v)
           : ngx_http_wt_json_write_varint(&ctx->buf, v);
}


static ngx_int_t
ngx_http_wt_json_error(ngx_http_wt_json_ctx_t *ctx,
    ngx_http_wt_json_path_t *path, const char *text)
{
    u_char  *p, *last, *err;

    err = ngx_pnalloc(ctx->buf.pool, NGX_HTTP_WT_JSON_PATH_LEN);
    if (err == NULL) {
        return NGX_ERROR;
    }

    last = err + NGX_HTTP_WT_JSON_PATH_LEN - 1;

    p = path ? ngx_http_wt_json_path(err, last, path)
             : ngx_slprintf(err, last, "%s", ctx->msg->name);

    p = ngx_slprintf(p, last, ": %s", text);
    *p = '\0';

    ctx->err = (char *) err;

    return NGX_ERROR;
}


static u_char *
ngx_http_wt_json_path(u_char *p, u_char *last, ngx_http_wt_json_path_t *path)
{
    if (path->parent) {
        p = ngx_http_wt_json_path(p, last, path->parent);
        p = ngx_slprintf(p, last, ".");
    }

    p = ngx_slprintf(p, last, "%V", &path->field->name);

    if (path->element) {
        p = ngx_slprintf(p, last, "[%uz]", path->index);
    }

    return p;
}
