
/*
 * Copyright (C) The WebTransport for nginx authors
 */


#ifndef _NGX_HTTP_WT_JSON_LOAD_H_INCLUDED_
#define _NGX_HTTP_WT_JSON_LOAD_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <jansson.h>
#include <ngx_http_wt_json.h>


/*
 * JSON's values as protobuf has them, from the library's.
 */


#define NGX_HTTP_WT_JSON_NO_MEMORY  "no memory"


/*
 * Parses a text, to be freed with json_decref().  NULL: *err says what is
 * wrong, and at which line and column.
 */
json_t *ngx_http_wt_json_load(ngx_str_t *in, ngx_pool_t *pool,
    const char **err);

/* Each of these returns NULL, or what is wrong with the value. */

const char *ngx_http_wt_json_enum(const ngx_http_wt_json_enum_t *e,
    json_t *value, uint64_t *v);
const char *ngx_http_wt_json_integer(ngx_uint_t type, json_t *value,
    uint64_t *v);
const char *ngx_http_wt_json_double(json_t *value, double *d);


#endif /* _NGX_HTTP_WT_JSON_LOAD_H_INCLUDED_ */
