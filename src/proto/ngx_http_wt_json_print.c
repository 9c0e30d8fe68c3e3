
/*
 * Copyright (C) The WebTransport for nginx authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <math.h>
#include <jansson.h>
#include <ngx_http_wt_utf8.h>
#include <ngx_http_wt_json_wire.h>
#include <ngx_http_wt_json.h>


static ngx_int_t ngx_http_wt_json_join(ngx_str_t *in, ngx_uint_t n,
    ngx_str_t *out);
static ngx_int_t ngx_http_wt_json_print_message(
    const ngx_http_wt_json_msg_t *msg, json_t *object, ngx_str_t *in);
static ngx_int_t ngx_http_wt_json_print_field(const ngx_http_wt_json_msg_t *msg,
    const ngx_http_wt_json_field_t *field, json_t *object,
    ngx_http_wt_json_wire_t *value);
static ngx_int_t ngx_http_wt_json_print_singular(
    const ngx_http_wt_json_field_t *field, json_t *object,
    ngx_http_wt_json_wire_t *value);
static ngx_int_t ngx_http_wt_json_print_repeated(
    const ngx_http_wt_json_field_t *field, json_t *object,
    ngx_http_wt_json_wire_t *value, ngx_uint_t packed);
static ngx_int_t ngx_http_wt_json_print_map(
    const ngx_http_wt_json_field_t *field, json_t *object,
    ngx_http_wt_json_wire_t *value);
static json_t *ngx_http_wt_json_child(json_t *object,
    const ngx_http_wt_json_field_t *field, json_t *(*create)(void));
static json_t *ngx_http_wt_json_print_value(
    const ngx_http_wt_json_field_t *field, ngx_http_wt_json_wire_t *value);
static json_t *ngx_http_wt_json_print_uint64(uint64_t v);
static json_t *ngx_http_wt_json_print_enum(const ngx_http_wt_json_enum_t *e,
    int32_t v);
static json_t *ngx_http_wt_json_print_double(uint64_t bits);
static json_t *ngx_http_wt_json_print_bytes(ngx_str_t *data);
static const ngx_http_wt_json_field_t *ngx_http_wt_json_field(
    const ngx_http_wt_json_msg_t *msg, ngx_uint_t number);
static ngx_int_t ngx_http_wt_json_dump(json_t *root, size_t size,
    ngx_str_t *out, ngx_pool_t *pool);
static int ngx_http_wt_json_dump_more(const char *data, size_t len, void *ctx);


ngx_int_t
ngx_http_wt_json_events(ngx_str_t *in, ngx_uint_t n, ngx_str_t *out,
    ngx_pool_t *pool)
{
    return ngx_http_wt_json_print(&ngx_http_wt_json_EventBatch, in, n, out,
                                  pool);
}


ngx_int_t
ngx_http_wt_json_print(const ngx_http_wt_json_msg_t *msg, ngx_str_t *in,
    ngx_uint_t n, ngx_str_t *out, ngx_pool_t *pool)
{
    json_t     *root;
    ngx_int_t   rc;
    ngx_str_t   data;

    if (ngx_http_wt_json_join(in, n, &data) != NGX_OK) {
        return NGX_ERROR;
    }

    rc = NGX_ERROR;
    root = json_object();

    if (root) {
        rc = ngx_http_wt_json_print_message(msg, root, &data);
    }

    if (n != 1) {
        free(data.data);
    }

    if (rc == NGX_OK) {
        rc = ngx_http_wt_json_dump(root, data.len, out, pool);
    }

    json_decref(root);

    return rc;
}


/* a value may begin in one piece and end in another: several are copied */

static ngx_int_t
ngx_http_wt_json_join(ngx_str_t *in, ngx_uint_t n, ngx_str_t *out)
{
    u_char      *p;
    ngx_uint_t   i;

    if (n == 1) {
        *out = in[0];
        return NGX_OK;
    }

    out->len = 0;

    for (i = 0; i < n; i++) {
        out->len += in[i].len;
    }

    /* not ngx_alloc(): this is no matter of a log */

    p = malloc(out->len + 1);
    if (p == NULL) {
        return NGX_ERROR;
    }

    out->data = p;

    for (i = 0; i < n; i++) {
        if (in[i].len) {
            p = ngx_cpymem(p, in[i].data, in[i].len);
        }
    }

    return NGX_OK;
}


/*
 * Adds the fields of a message to its object.  Called again for the same object
 * if the message comes in parts: protobuf merges them.  No message of the
 * schema contains itself, which the generator of the tables ensures; so the
 * schema limits the depth of this recursion.
 */

static ngx_int_t
ngx_http_wt_json_print_message(const ngx_http_wt_json_msg_t *msg,
    json_t *object, ngx_str_t *in)
{
    u_char                          *p, *last;
    ngx_uint_t                       number, type, wire;
    ngx_http_wt_json_wire_t         value;
    const ngx_http_wt_json_field_t  *field;

    p = in->data;
    last = p + in->len;

    while (p < last) {

        p = ngx_http_wt_json_read_tag(p, last, &number, &type);
        if (p == NULL) {
            return NGX_ERROR;
        }

        p = ngx_http_wt_json_read(p, last, type, &value);
        if (p == NULL) {
            return NGX_ERROR;
        }

        field = ngx_http_wt_json_field(msg, number);
        if (field == NULL) {
            continue;
        }

        wire = ngx_http_wt_json_wire_type(field);

        if (field->label == NGX_HTTP_WT_JSON_REPEATED
            && (type == wire || type == NGX_HTTP_WT_JSON_LEN))
        {
            if (ngx_http_wt_json_print_repeated(field, object, &value,
                                                type != wire)
                != NGX_OK)
            {
                return NGX_ERROR;
            }

            continue;
        }

        /* a field of another wire type is another field, an unknown one */

        if (type == wire
            && ngx_http_wt_json_print_field(msg, field, object, &value)
               != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_wt_json_print_field(const ngx_http_wt_json_msg_t *msg,
    const ngx_http_wt_json_field_t *field, json_t *object,
    ngx_http_wt_json_wire_t *value)
{
    json_t                          *child;
    ngx_uint_t                       i;
    const ngx_http_wt_json_field_t  *other;

    if (field->label == NGX_HTTP_WT_JSON_MAP) {
        return ngx_http_wt_json_print_map(field, object, value);
    }

    /* of the members of a oneof the last counts */

    if (field->oneof && json_object_size(object)) {

        for (i = 0; i < msg->n; i++) {
            other = &msg->fields[i];

            if (other->oneof == field->oneof && other != field) {
                (void) json_object_del(object, (char *) other->name.data);
            }
        }
    }

    if (field->type != NGX_HTTP_WT_JSON_MESSAGE) {
        return ngx_http_wt_json_print_singular(field, object, value);
    }

    child = ngx_http_wt_json_child(object, field, json_object);
    if (child == NULL) {
        return NGX_ERROR;
    }

    return ngx_http_wt_json_print_message(field->of, child, &value->data);
}


static ngx_int_t
ngx_http_wt_json_print_singular(const ngx_http_wt_json_field_t *field,
    json_t *object, ngx_http_wt_json_wire_t *value)
{
    json_t  *json;

    json = ngx_http_wt_json_print_value(field, value);
    if (json == NULL) {
        return NGX_ERROR;
    }

    /* protobuf has a number or a length, the other one is 0 */

    if (field->label == NGX_HTTP_WT_JSON_SINGULAR
        && value->number == 0 && value->data.len == 0)
    {
        json_decref(json);

        /* it may override an earlier value */
        (void) json_object_del(object, (char *) field->name.data);

        return NGX_OK;
    }

    /* this takes the value over, even if it fails */

    if (json_object_set_new_nocheck(object, (char *) field->name.data, json)
        != 0)
    {
        return NGX_ERROR;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_wt_json_print_repeated(const ngx_http_wt_json_field_t *field,
    json_t *object, ngx_http_wt_json_wire_t *value, ngx_uint_t packed)
{
    u_char                    *p, *last;
    json_t                    *array, *json;
    ngx_http_wt_json_wire_t   element;

    if (packed && value->data.len == 0) {
        return NGX_OK;
    }

    array = ngx_http_wt_json_child(object, field, json_array);
    if (array == NULL) {
        return NGX_ERROR;
    }

    p = value->data.data;
    last = p + value->data.len;

    do {
        if (packed) {
            p = ngx_http_wt_json_read(p, last,
                                      ngx_http_wt_json_wire_type(field),
                                      &element);
            if (p == NULL) {
                return NGX_ERROR;
            }

            value = &element;
        }

        json = (field->type == NGX_HTTP_WT_JSON_MESSAGE)
               ? json_object() : ngx_http_wt_json_print_value(field, value);

        if (json_array_append_new(array, json) != 0) {
            return NGX_ERROR;
        }

    } while (packed && p < last);

    if (field->type != NGX_HTTP_WT_JSON_MESSAGE) {
        return NGX_OK;
    }

    return ngx_http_wt_json_print_message(field->of, json, &value->data);
}


static ngx_int_t
ngx_http_wt_json_print_map(const ngx_http_wt_json_field_t *field,
    json_t *object, ngx_http_wt_json_wire_t *value)
{
    json_t                        *map, *entry, *key, *json;
    ngx_int_t                      rc;
    ngx_http_wt_json_wire_t       none;
    const ngx_http_wt_json_msg_t  *msg;

    ngx_memzero(&none, sizeof(ngx_http_wt_json_wire_t));

    msg = field->of;
    rc = NGX_ERROR;

    map = ngx_http_wt_json_child(object, field, json_object);
    entry = json_object();

    if (map == NULL || entry == NULL
        || ngx_http_wt_json_print_message(msg, entry, &value->data) != NGX_OK)
    {
        goto done;
    }

    key = json_object_get(entry, "key");
    json = json_incref(json_object_get(entry, "value"));

    if (json == NULL) {
        json = ngx_http_wt_json_print_value(&msg->fields[1], &none);
    }

    /* without a name it is the empty one */

    if (json_object_setn_new_nocheck(map, key ? json_string_value(key) : "",
                                     json_string_length(key), json)
        == 0)
    {
        rc = NGX_OK;
    }

done:

    json_decref(entry);

    return rc;
}


/* the object, array or map of a field, which exists if the field came before */

static json_t *
ngx_http_wt_json_child(json_t *object, const ngx_http_wt_json_field_t *field,
    json_t *(*create)(void))
{
    json_t  *child;

    child = json_object_get(object, (char *) field->name.data);
    if (child) {
        return child;
    }

    child = create();

    if (json_object_set_new_nocheck(object, (char *) field->name.data, child)
        != 0)
    {
        return NULL;
    }

    return child;
}


/* the value of a field that is no message; in *value a default is 0 or empty */

static json_t *
ngx_http_wt_json_print_value(const ngx_http_wt_json_field_t *field,
    ngx_http_wt_json_wire_t *value)
{
    switch (field->type) {

    case NGX_HTTP_WT_JSON_BOOL:
        return json_boolean(value->number);

    /* numbers of 32 bits are what remains of longer ones */

    case NGX_HTTP_WT_JSON_INT32:
        value->number = (uint32_t) value->number;
        return json_integer((int32_t) value->number);

    case NGX_HTTP_WT_JSON_UINT32:
        value->number = (uint32_t) value->number;
        return json_integer(value->number);

    case NGX_HTTP_WT_JSON_ENUM:
        value->number = (uint32_t) value->number;
        return ngx_http_wt_json_print_enum(field->of, (int32_t) value->number);

    case NGX_HTTP_WT_JSON_UINT64:
        return ngx_http_wt_json_print_uint64(value->number);

    case NGX_HTTP_WT_JSON_DOUBLE:
        return ngx_http_wt_json_print_double(value->number);

    case NGX_HTTP_WT_JSON_BYTES:
        return ngx_http_wt_json_print_bytes(&value->data);

    default: /* NGX_HTTP_WT_JSON_STRING */

        if (!ngx_http_wt_utf8_valid(value->data.data, value->data.len)) {
            return NULL;
        }

        return json_stringn_nocheck(value->data.len
                                    ? (char *) value->data.data : "",
                                    value->data.len);
    }
}


static json_t *
ngx_http_wt_json_print_uint64(uint64_t v)
{
    u_char  *p, buf[NGX_INT64_LEN];

    p = ngx_sprintf(buf, "%uL", v);

    return json_stringn_nocheck((char *) buf, p - buf);
}


static json_t *
ngx_http_wt_json_print_enum(const ngx_http_wt_json_enum_t *e, int32_t v)
{
    ngx_uint_t  i;

    for (i = 0; i < e->n; i++) {
        if (e->names[i].value == v) {
            return json_stringn_nocheck((char *) e->names[i].name.data,
                                        e->names[i].name.len);
        }
    }

    return json_integer(v);
}


static json_t *
ngx_http_wt_json_print_double(uint64_t bits)
{
    double  d;

    ngx_memcpy(&d, &bits, sizeof(double));

    if (isnan(d)) {
        return json_string_nocheck("NaN");
    }

    if (isinf(d)) {
        return json_string_nocheck(d < 0 ? "-Infinity" : "Infinity");
    }

    return json_real(d);
}


static json_t *
ngx_http_wt_json_print_bytes(ngx_str_t *data)
{
    json_t     *json;
    ngx_str_t   base64;

    if (data->len == 0) {
        return json_stringn_nocheck("", 0);
    }

    base64.data = malloc(ngx_base64_encoded_length(data->len));
    if (base64.data == NULL) {
        return NULL;
    }

    ngx_encode_base64(&base64, data);

    json = json_stringn_nocheck((char *) base64.data, base64.len);

    free(base64.data);

    return json;
}


/*
 * Numbers rise and are usually without gaps: the field of a number is where it
 * would be without any, or a little before.
 */

static const ngx_http_wt_json_field_t *
ngx_http_wt_json_field(const ngx_http_wt_json_msg_t *msg, ngx_uint_t number)
{
    ngx_uint_t  i;

    for (i = ngx_min(number, msg->n); i; i--) {

        if (msg->fields[i - 1].number == number) {
            return &msg->fields[i - 1];
        }

        if (msg->fields[i - 1].number < number) {
            break;
        }
    }

    return NULL;
}


static ngx_int_t
ngx_http_wt_json_dump(json_t *root, size_t size, ngx_str_t *out,
    ngx_pool_t *pool)
{
    ngx_int_t               rc;
    ngx_http_wt_json_buf_t  b;

    ngx_memzero(&b, sizeof(ngx_http_wt_json_buf_t));
    b.pool = pool;

    /* mostly payload, in base64, with names around it */

    rc = ngx_http_wt_json_room(&b, size / 3 * 4 + 512);

    if (rc == NGX_OK
        && json_dump_callback(root, ngx_http_wt_json_dump_more, &b,
                              JSON_COMPACT)
           != 0)
    {
        rc = NGX_ERROR;
    }

    if (rc == NGX_OK) {
        out->data = b.start;
        out->len = b.pos - b.start;
        return NGX_OK;
    }

    if (b.start) {
        (void) ngx_pfree(pool, b.start);
    }

    return NGX_ERROR;
}


static int
ngx_http_wt_json_dump_more(const char *data, size_t len, void *ctx)
{
    ngx_http_wt_json_buf_t *b = ctx;

    if (ngx_http_wt_json_room(b, len) != NGX_OK) {
        return -1;
    }

    b->pos = ngx_cpymem(b->pos, data, len);

    return 0;
}
