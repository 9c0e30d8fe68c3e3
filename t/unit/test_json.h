
/*
 * Copyright (C) The WebTransport for nginx authors
 *
 * JSON and protobuf, from one to the other, in memory of exactly that size.
 */


#ifndef _NGX_HTTP_WT_TEST_JSON_H_INCLUDED_
#define _NGX_HTTP_WT_TEST_JSON_H_INCLUDED_


#include "test.h"
#include <ngx_http_wt_json.h>


/* more messages of the schema, for what the two batches do not have */

extern const ngx_http_wt_json_msg_t  ngx_http_wt_json_Stats;
extern const ngx_http_wt_json_msg_t  ngx_http_wt_json_PublishRequest;

#define events    ngx_http_wt_json_EventBatch
#define commands  ngx_http_wt_json_CommandBatch
#define stats     ngx_http_wt_json_Stats


/* a result or the text of an error, with a NUL behind it; to be freed */

typedef struct {
    ngx_int_t    rc;
    u_char      *data;
    size_t       len;
} test_result_t;


static inline void
test_result(test_result_t *r, const void *data, size_t len)
{
    r->data = malloc(len + 1);
    r->len = len;

    memcpy(r->data, data, len);
    r->data[len] = '\0';
}


static inline test_result_t
test_print_pieces(const ngx_http_wt_json_msg_t *msg, ngx_str_t *in,
    ngx_uint_t n)
{
    ngx_log_t       log;
    ngx_str_t       out;
    ngx_pool_t     *pool;
    test_result_t   r;

    memset(&log, 0, sizeof(ngx_log_t));
    pool = ngx_create_pool(1024, &log);

    r.rc = ngx_http_wt_json_print(msg, in, n, &out, pool);

    if (r.rc == NGX_OK) {
        test_result(&r, out.data, out.len);

    } else {
        check(r.rc == NGX_ERROR);
        test_result(&r, "error", 5);
    }

    ngx_destroy_pool(pool);

    return r;
}


static inline test_result_t
test_print(const ngx_http_wt_json_msg_t *msg, const u_char *data, size_t len)
{
    ngx_str_t       in;
    test_bytes_t    b;
    test_result_t   r;

    b = test_copy(data, len);
    in.data = b.data;
    in.len = b.len;

    r = test_print_pieces(msg, &in, 1);

    free(b.data);

    return r;
}


static inline test_result_t
test_parse_json(const ngx_http_wt_json_msg_t *msg, const void *data,
    size_t len)
{
    ngx_log_t       log;
    ngx_str_t       in, out;
    ngx_pool_t     *pool;
    const char     *err;
    test_bytes_t    b;
    test_result_t   r;

    memset(&log, 0, sizeof(ngx_log_t));
    pool = ngx_create_pool(1024, &log);

    b = test_copy(data, len);
    in.data = b.data;
    in.len = b.len;
    err = NULL;

    r.rc = ngx_http_wt_json_parse(msg, &in, &out, pool, &err);

    free(b.data);

    if (r.rc == NGX_OK) {
        test_result(&r, out.data, out.len);

    } else {
        check(r.rc == NGX_ERROR);
        check(err != NULL);
        test_result(&r, err, strlen(err));
    }

    ngx_destroy_pool(pool);

    return r;
}


#endif /* _NGX_HTTP_WT_TEST_JSON_H_INCLUDED_ */
