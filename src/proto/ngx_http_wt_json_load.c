
/*
 * Copyright (C) The WebTransport for nginx authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <math.h>
#include <jansson.h>
#include <ngx_http_wt_json_load.h>


/* NUL is a character of protobuf's strings, too */
#define NGX_HTTP_WT_JSON_FLAGS    JSON_ALLOW_NUL

/* shorter integers fit into the library's */
#define NGX_HTTP_WT_JSON_LONG     19

/* integers above this may have lost digits as a double: 2^53 */
#define NGX_HTTP_WT_JSON_EXACT    9007199254740992.0

#define NGX_HTTP_WT_JSON_ERR_LEN  256


static const char *ngx_http_wt_json_load_error(json_error_t *error,
    ngx_pool_t *pool);
static ngx_int_t ngx_http_wt_json_quote(ngx_str_t *in, ngx_str_t *out);
static u_char *ngx_http_wt_json_token(u_char *p, u_char *last);
static ngx_uint_t ngx_http_wt_json_long(u_char *p, u_char *last);
static const char *ngx_http_wt_json_abs(json_t *value, uint64_t *abs,
    ngx_uint_t *negative);
static ngx_int_t ngx_http_wt_json_digits(const char *p, size_t len,
    uint64_t *v);


json_t *
ngx_http_wt_json_load(ngx_str_t *in, ngx_pool_t *pool, const char **err)
{
    json_t        *root;
    ngx_str_t      quoted;
    json_error_t   error;

    root = json_loadb((char *) in->data, in->len, NGX_HTTP_WT_JSON_FLAGS,
                      &error);

    if (root == NULL
        && json_error_code(&error) == json_error_numeric_overflow)
    {
        if (ngx_http_wt_json_quote(in, &quoted) != NGX_OK) {
            *err = NGX_HTTP_WT_JSON_NO_MEMORY;
            return NULL;
        }

        root = json_loadb((char *) quoted.data, quoted.len,
                          NGX_HTTP_WT_JSON_FLAGS, &error);

        free(quoted.data);
    }

    if (root == NULL) {
        *err = ngx_http_wt_json_load_error(&error, pool);
    }

    return root;
}


static const char *
ngx_http_wt_json_load_error(json_error_t *error, ngx_pool_t *pool)
{
    char    *excerpt;
    u_char  *p, *text;

    text = ngx_pnalloc(pool, NGX_HTTP_WT_JSON_ERR_LEN);

    /* the library says nothing if it has no memory, at best */

    if (text == NULL || error->text[0] == '\0') {
        return NGX_HTTP_WT_JSON_NO_MEMORY;
    }

    excerpt = strstr(error->text, " near ");
    if (excerpt) {
        *excerpt = '\0';
    }

    p = ngx_slprintf(text, text + NGX_HTTP_WT_JSON_ERR_LEN - 1,
                     "line %d, column %d: %s", error->line, error->column,
                     error->text);
    *p = '\0';

    return (char *) text;
}


/*
 * The library's integers have 63 bits and a sign, the schema has uint64.  So
 * after an overflow, and only then, all long integers are made strings, which
 * are as good for a field that is a number.
 */

static ngx_int_t
ngx_http_wt_json_quote(ngx_str_t *in, ngx_str_t *out)
{
    u_char  *p, *last, *start, *dst;

    p = in->data;
    last = p + in->len;

    dst = malloc(in->len + 2 * (in->len / NGX_HTTP_WT_JSON_LONG));
    if (dst == NULL) {
        return NGX_ERROR;
    }

    out->data = dst;

    while (p < last) {

        start = p;
        p = ngx_http_wt_json_token(p, last);

        if (ngx_http_wt_json_long(start, p)) {
            *dst++ = '"';
            dst = ngx_cpymem(dst, start, p - start);
            *dst++ = '"';

        } else {
            dst = ngx_cpymem(dst, start, p - start);
        }
    }

    out->len = dst - out->data;

    return NGX_OK;
}


/* the end of a string, of a number, or of any other character */

static u_char *
ngx_http_wt_json_token(u_char *p, u_char *last)
{
    if (*p == '"') {

        for (p++; p < last && *p != '"'; p++) {
            if (*p == '\\' && last - p > 1) {
                p++;
            }
        }

        return (p < last) ? p + 1 : last;
    }

    if (*p != '-' && (*p < '0' || *p > '9')) {
        return p + 1;
    }

    while (p < last && *p && ngx_strchr("+-.0123456789Ee", *p)) {
        p++;
    }

    return p;
}


static ngx_uint_t
ngx_http_wt_json_long(u_char *p, u_char *last)
{
    if (last - p < NGX_HTTP_WT_JSON_LONG) {
        return 0;
    }

    if (*p == '-') {
        p++;
    }

    while (p < last && *p >= '0' && *p <= '9') {
        p++;
    }

    return (p == last);
}


const char *
ngx_http_wt_json_enum(const ngx_http_wt_json_enum_t *e, json_t *value,
    uint64_t *v)
{
    size_t       len;
    ngx_uint_t   i;
    const char  *name;

    if (!json_is_string(value)) {
        return ngx_http_wt_json_integer(NGX_HTTP_WT_JSON_INT32, value, v);
    }

    name = json_string_value(value);
    len = json_string_length(value);

    for (i = 0; i < e->n; i++) {

        if (e->names[i].name.len == len
            && ngx_memcmp(e->names[i].name.data, name, len) == 0)
        {
            *v = (uint64_t) (int64_t) e->names[i].value;
            return NULL;
        }
    }

    return "unknown name";
}


/* *v is what protobuf has for it: negative numbers have 64 bits */

const char *
ngx_http_wt_json_integer(ngx_uint_t type, json_t *value, uint64_t *v)
{
    uint64_t     abs, max;
    ngx_uint_t   negative;
    const char  *err;

    err = ngx_http_wt_json_abs(value, &abs, &negative);
    if (err) {
        return err;
    }

    switch (type) {

    case NGX_HTTP_WT_JSON_INT32:
        max = negative ? 0x80000000 : 0x7fffffff;
        break;

    case NGX_HTTP_WT_JSON_UINT32:
        max = negative ? 0 : 0xffffffff;
        break;

    default: /* NGX_HTTP_WT_JSON_UINT64 */
        max = negative ? 0 : 0xffffffffffffffffULL;
    }

    if (abs > max) {
        return "out of range";
    }

    *v = negative ? -abs : abs;

    return NULL;
}


/* 5, "5", 5.0 and 5e0 are the same integer */

static const char *
ngx_http_wt_json_abs(json_t *value, uint64_t *abs, ngx_uint_t *negative)
{
    size_t       len;
    double       d;
    json_int_t   i;
    const char  *p, *err;

    if (json_is_integer(value)) {
        i = json_integer_value(value);
        *negative = (i < 0);
        *abs = (i < 0) ? -(uint64_t) i : (uint64_t) i;
        return NULL;
    }

    if (json_is_string(value)) {
        p = json_string_value(value);
        len = json_string_length(value);

        *negative = (*p == '-');

        switch (ngx_http_wt_json_digits(p + *negative, len - *negative, abs)) {

        case NGX_OK:
            return NULL;

        case NGX_ERROR:
            return "out of range";

        default: /* NGX_DECLINED: not only digits */
            break;
        }
    }

    err = ngx_http_wt_json_double(value, &d);
    if (err) {
        return err;
    }

    *negative = (d < 0);
    d = (d < 0) ? -d : d;

    if (isfinite(d) && d > NGX_HTTP_WT_JSON_EXACT) {
        return "not an exact integer";
    }

    if (!isfinite(d) || d != (double) (uint64_t) d) {
        return "integer expected";
    }

    *abs = (uint64_t) d;

    return NULL;
}


/* the whole range of uint64_t, for which neither nginx nor jansson has any */

static ngx_int_t
ngx_http_wt_json_digits(const char *p, size_t len, uint64_t *v)
{
    size_t    i;
    uint64_t  digit;

    if (len == 0) {
        return NGX_DECLINED;
    }

    for (i = 0; i < len; i++) {
        if (p[i] < '0' || p[i] > '9') {
            return NGX_DECLINED;
        }
    }

    *v = 0;

    for (i = 0; i < len; i++) {
        digit = p[i] - '0';

        if (*v > (0xffffffffffffffffULL - digit) / 10) {
            return NGX_ERROR;
        }

        *v = *v * 10 + digit;
    }

    return NGX_OK;
}


const char *
ngx_http_wt_json_double(json_t *value, double *d)
{
    size_t       len;
    json_t      *number;
    const char  *p;

    if (json_is_number(value)) {
        *d = json_number_value(value);
        return NULL;
    }

    if (!json_is_string(value)) {
        return "number expected";
    }

    p = json_string_value(value);
    len = json_string_length(value);

    if (strcmp(p, "NaN") == 0) {
        *d = NAN;
        return NULL;
    }

    if (strcmp(p, "Infinity") == 0 || strcmp(p, "-Infinity") == 0) {
        *d = (*p == '-') ? -INFINITY : INFINITY;
        return NULL;
    }

    /* a number in a string has a number's syntax, without spaces around it */

    if ((*p != '-' && (*p < '0' || *p > '9'))
        || p[len - 1] < '0' || p[len - 1] > '9')
    {
        return "number expected";
    }

    number = json_loadb(p, len, JSON_DECODE_ANY|JSON_DECODE_INT_AS_REAL, NULL);
    if (number == NULL) {
        return "number expected";
    }

    *d = json_number_value(number);

    json_decref(number);

    return NULL;
}
