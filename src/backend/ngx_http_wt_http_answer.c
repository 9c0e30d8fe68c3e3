/*
 * Answers in HTTP/1.1.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include <ngx_http_wt_glue_compat.h>
#include <ngx_http_wt_http.h>


/* what is allocated for a body of unknown length to begin with */
#define NGX_HTTP_WT_HTTP_BODY      4096

/* the longest Retry-After, in seconds */
#define NGX_HTTP_WT_HTTP_AFTER     3600


typedef struct {
    ngx_str_t                   name;
    ngx_int_t                 (*handler)(ngx_http_wt_http_answer_t *answer,
                                  ngx_str_t *value);
} ngx_http_wt_answer_field_t;


static void ngx_http_wt_answer_clear(ngx_http_wt_http_answer_t *answer);
static ngx_int_t ngx_http_wt_answer_status(ngx_http_wt_http_answer_t *answer);
static ngx_int_t ngx_http_wt_answer_fields(ngx_http_wt_http_answer_t *answer);
static ngx_int_t ngx_http_wt_answer_field(ngx_http_wt_http_answer_t *answer);
static ngx_int_t ngx_http_wt_answer_field_length(
    ngx_http_wt_http_answer_t *answer, ngx_str_t *value);
static ngx_int_t ngx_http_wt_answer_field_transfer(
    ngx_http_wt_http_answer_t *answer, ngx_str_t *value);
static ngx_int_t ngx_http_wt_answer_field_encoding(
    ngx_http_wt_http_answer_t *answer, ngx_str_t *value);
static ngx_int_t ngx_http_wt_answer_field_type(
    ngx_http_wt_http_answer_t *answer, ngx_str_t *value);
static ngx_int_t ngx_http_wt_answer_field_connection(
    ngx_http_wt_http_answer_t *answer, ngx_str_t *value);
static ngx_int_t ngx_http_wt_answer_field_after(
    ngx_http_wt_http_answer_t *answer, ngx_str_t *value);
static ngx_int_t ngx_http_wt_answer_fields_done(
    ngx_http_wt_http_answer_t *answer);
static ngx_int_t ngx_http_wt_answer_length(ngx_http_wt_http_answer_t *answer);
static ngx_int_t ngx_http_wt_answer_chunks(ngx_http_wt_http_answer_t *answer);
static ngx_int_t ngx_http_wt_answer_body(ngx_http_wt_http_answer_t *answer,
    size_t len);
static ngx_int_t ngx_http_wt_answer_fail(ngx_http_wt_http_answer_t *answer,
    const char *fmt, ...);


static const ngx_http_wt_answer_field_t  ngx_http_wt_answer_known[] = {
    { ngx_string("Content-Length"), ngx_http_wt_answer_field_length },
    { ngx_string("Transfer-Encoding"), ngx_http_wt_answer_field_transfer },
    { ngx_string("Content-Encoding"), ngx_http_wt_answer_field_encoding },
    { ngx_string("Content-Type"), ngx_http_wt_answer_field_type },
    { ngx_string("Connection"), ngx_http_wt_answer_field_connection },
    { ngx_string("Retry-After"), ngx_http_wt_answer_field_after },
    { ngx_null_string, NULL }
};


ngx_int_t
ngx_http_wt_http_answer_init(ngx_http_wt_http_answer_t *answer,
    ngx_http_request_t *r, size_t limit)
{
    u_char  *p;

    p = ngx_palloc(r->pool, NGX_HTTP_WT_HTTP_HEADER);
    if (p == NULL) {
        return NGX_ERROR;
    }

    answer->request = r;
    answer->limit = limit;

    answer->in.start = p;
    answer->in.end = p + NGX_HTTP_WT_HTTP_HEADER;
    answer->in.temporary = 1;

    ngx_http_wt_http_answer_reset(answer);

    return NGX_OK;
}


void
ngx_http_wt_http_answer_reset(ngx_http_wt_http_answer_t *answer)
{
    answer->in.pos = answer->in.start;
    answer->in.last = answer->in.start;

    ngx_http_wt_answer_clear(answer);
}


static void
ngx_http_wt_answer_clear(ngx_http_wt_http_answer_t *answer)
{
    ngx_memzero(&answer->state, sizeof(ngx_http_wt_http_answer_t)
                                - offsetof(ngx_http_wt_http_answer_t, state));

    answer->length = -1;

    answer->request->state = 0;
}


ngx_int_t
ngx_http_wt_http_answer_room(ngx_http_wt_http_answer_t *answer)
{
    ngx_buf_t  *in;

    in = &answer->in;

    if (answer->state > NGX_HTTP_WT_HTTP_FIELDS) {

        /* all of it has gone to the body */

        in->pos = in->start;
        in->last = in->start;
    }

    if (in->last == in->end) {
        return ngx_http_wt_answer_fail(answer, "the header of the answer is "
                                       "too long");
    }

    return NGX_OK;
}


ngx_uint_t
ngx_http_wt_http_answer_keeps(ngx_http_wt_http_answer_t *answer)
{
    /* bytes behind the answer are not ours, but whose? */

    return answer->state != NGX_HTTP_WT_HTTP_CLOSE
           && answer->in.pos == answer->in.last
           && !answer->close
           && (answer->keep
               || answer->status.http_version > NGX_HTTP_VERSION_10);
}


ngx_int_t
ngx_http_wt_http_answer_parse(ngx_http_wt_http_answer_t *answer)
{
    ngx_int_t   rc;
    ngx_buf_t  *in;

    in = &answer->in;

    answer->received = 1;

    while (answer->state <= NGX_HTTP_WT_HTTP_FIELDS) {

        rc = (answer->state == NGX_HTTP_WT_HTTP_STATUS)
                 ? ngx_http_wt_answer_status(answer)
                 : ngx_http_wt_answer_fields(answer);

        if (rc != NGX_OK) {
            return rc;
        }
    }

    switch (answer->state) {

    case NGX_HTTP_WT_HTTP_LENGTH:
        return ngx_http_wt_answer_length(answer);

    case NGX_HTTP_WT_HTTP_CHUNKED:
        return ngx_http_wt_answer_chunks(answer);

    default: /* NGX_HTTP_WT_HTTP_CLOSE */

        if (ngx_http_wt_answer_body(answer, in->last - in->pos) != NGX_OK) {
            return NGX_ERROR;
        }

        return NGX_AGAIN;
    }
}


static ngx_int_t
ngx_http_wt_answer_status(ngx_http_wt_http_answer_t *answer)
{
    ngx_int_t            rc;
    ngx_http_request_t  *r;

    r = answer->request;

    rc = ngx_http_parse_status_line(r, &answer->in, &answer->status);

    if (rc == NGX_AGAIN) {
        return NGX_AGAIN;
    }

    if (rc != NGX_OK || r->http_major != 1) {
        return ngx_http_wt_answer_fail(answer, "the answer is not HTTP/1");
    }

    answer->state = NGX_HTTP_WT_HTTP_FIELDS;
    r->state = 0;

    return NGX_OK;
}


static ngx_int_t
ngx_http_wt_answer_fields(ngx_http_wt_http_answer_t *answer)
{
    ngx_int_t            rc;
    ngx_http_request_t  *r;

    r = answer->request;

    for ( ;; ) {

        rc = ngx_http_parse_header_line(r, &answer->in, 1);

        if (rc == NGX_AGAIN) {
            return NGX_AGAIN;
        }

        if (rc == NGX_HTTP_PARSE_HEADER_DONE) {
            r->state = 0;
            return ngx_http_wt_answer_fields_done(answer);
        }

        if (rc != NGX_OK) {
            return ngx_http_wt_answer_fail(answer, "the answer has a "
                                           "malformed header");
        }

        if (ngx_http_wt_answer_field(answer) != NGX_OK) {
            return NGX_ERROR;
        }
    }
}


static ngx_int_t
ngx_http_wt_answer_field(ngx_http_wt_http_answer_t *answer)
{
    ngx_str_t                          name, value;
    ngx_http_request_t                *r;
    const ngx_http_wt_answer_field_t  *field;

    r = answer->request;

    name.data = r->header_name_start;
    name.len = r->header_name_end - r->header_name_start;

    value.data = r->header_start;
    value.len = r->header_end - r->header_start;

    for (field = ngx_http_wt_answer_known; field->name.len; field++) {

        if (field->name.len == name.len
            && ngx_strncasecmp(field->name.data, name.data, name.len) == 0)
        {
            return field->handler(answer, &value);
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_wt_answer_field_length(ngx_http_wt_http_answer_t *answer,
    ngx_str_t *value)
{
    off_t  n;

    n = ngx_atoof(value->data, value->len);

    /* RFC 9110, 8.6: two different lengths are an error, as is no number */

    if (n == NGX_ERROR
        || (answer->length != -1 && answer->length != n))
    {
        return ngx_http_wt_answer_fail(answer, "the answer has an invalid "
                                       "Content-Length");
    }

    answer->length = n;

    return NGX_OK;
}


static ngx_int_t
ngx_http_wt_answer_field_transfer(ngx_http_wt_http_answer_t *answer,
    ngx_str_t *value)
{
    if (value->len == sizeof("chunked") - 1
        && ngx_strncasecmp(value->data, (u_char *) "chunked", value->len) == 0)
    {
        answer->chunked = 1;
        return NGX_OK;
    }

    answer->encoded = 1;

    return NGX_OK;
}


static ngx_int_t
ngx_http_wt_answer_field_encoding(ngx_http_wt_http_answer_t *answer,
    ngx_str_t *value)
{
    if (value->len != sizeof("identity") - 1
        || ngx_strncasecmp(value->data, (u_char *) "identity", value->len)
           != 0)
    {
        answer->encoded = 1;
    }

    return NGX_OK;
}


/* in lower case and without parameters */

static ngx_int_t
ngx_http_wt_answer_field_type(ngx_http_wt_http_answer_t *answer,
    ngx_str_t *value)
{
    u_char  *p, *last;

    last = ngx_strlchr(value->data, value->data + value->len, ';');

    if (last == NULL) {
        last = value->data + value->len;
    }

    while (last > value->data && (last[-1] == ' ' || last[-1] == '\t')) {
        last--;
    }

    p = value->data;

    answer->ntype = ngx_min(last - p, NGX_HTTP_WT_HTTP_TYPE);

    ngx_strlow(answer->type, p, answer->ntype);

    return NGX_OK;
}


static ngx_int_t
ngx_http_wt_answer_field_connection(ngx_http_wt_http_answer_t *answer,
    ngx_str_t *value)
{
    u_char  *last;

    last = value->data + value->len;

    if (ngx_strlcasestrn(value->data, last, (u_char *) "close", 5 - 1)) {
        answer->close = 1;
    }

    if (ngx_strlcasestrn(value->data, last, (u_char *) "keep-alive", 10 - 1)) {
        answer->keep = 1;
    }

    return NGX_OK;
}


/* seconds; a date would need clocks that agree */

static ngx_int_t
ngx_http_wt_answer_field_after(ngx_http_wt_http_answer_t *answer,
    ngx_str_t *value)
{
    ngx_uint_t  i, n;

    n = 0;

    for (i = 0; i < value->len; i++) {

        if (value->data[i] < '0' || value->data[i] > '9') {
            return NGX_OK;
        }

        n = 10 * n + value->data[i] - '0';
        n = ngx_min(n, NGX_HTTP_WT_HTTP_AFTER);
    }

    answer->after = n;

    return NGX_OK;
}


static ngx_int_t
ngx_http_wt_answer_fields_done(ngx_http_wt_http_answer_t *answer)
{
    ngx_uint_t  code;

    code = answer->status.code;

    ngx_log_debug3(NGX_LOG_DEBUG_HTTP, answer->request->connection->log, 0,
                   "wt http status:%ui length:%O chunked:%d",
                   code, answer->length, answer->chunked);

    if (code < NGX_HTTP_OK) {

        if (code == NGX_HTTP_SWITCHING_PROTOCOLS) {
            return ngx_http_wt_answer_fail(answer, "the worker answered "
                                           "with the status 101");
        }

        /* RFC 9110, 15.2: any number of them may come before the answer */

        ngx_http_wt_answer_clear(answer);

        answer->received = 1;

        return NGX_OK;
    }

    if (code >= NGX_HTTP_SPECIAL_RESPONSE) {
        return NGX_DECLINED;
    }

    if (answer->encoded) {
        return ngx_http_wt_answer_fail(answer, "the answer is compressed, or "
                                       "encoded in another way");
    }

    if (answer->chunked && answer->length != -1) {

        /* RFC 9112, 6.3: "ought to be handled as an error" */

        return ngx_http_wt_answer_fail(answer, "the answer has both a length "
                                       "and chunks");
    }

    if (code == NGX_HTTP_NO_CONTENT) {
        answer->length = 0;
        answer->chunked = 0;
    }

    if (answer->length > (off_t) answer->limit) {
        return ngx_http_wt_answer_fail(answer, "the answer is too large: %O "
                                       "bytes", answer->length);
    }

    if (answer->chunked) {
        answer->state = NGX_HTTP_WT_HTTP_CHUNKED;

    } else if (answer->length != -1) {
        answer->state = NGX_HTTP_WT_HTTP_LENGTH;
        answer->rest = answer->length;

    } else {
        answer->state = NGX_HTTP_WT_HTTP_CLOSE;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_wt_answer_length(ngx_http_wt_http_answer_t *answer)
{
    size_t      n;
    ngx_buf_t  *in;

    in = &answer->in;

    n = (size_t) ngx_min((off_t) (in->last - in->pos), answer->rest);

    if (ngx_http_wt_answer_body(answer, n) != NGX_OK) {
        return NGX_ERROR;
    }

    answer->rest -= n;

    return answer->rest ? NGX_AGAIN : NGX_OK;
}


static ngx_int_t
ngx_http_wt_answer_chunks(ngx_http_wt_http_answer_t *answer)
{
    size_t               n;
    ngx_int_t            rc;
    ngx_buf_t           *in;
    ngx_http_chunked_t  *chunks;

    in = &answer->in;
    chunks = &answer->chunks;

    for ( ;; ) {

        rc = ngx_http_wt_glue_parse_chunked(answer->request, in, chunks);

        if (rc == NGX_OK) {

            n = (size_t) ngx_min((off_t) (in->last - in->pos), chunks->size);

            if (ngx_http_wt_answer_body(answer, n) != NGX_OK) {
                return NGX_ERROR;
            }

            chunks->size -= n;
            continue;
        }

        if (rc == NGX_DONE) {
            return NGX_OK;
        }

        if (rc == NGX_AGAIN) {
            return NGX_AGAIN;
        }

        return ngx_http_wt_answer_fail(answer, "the answer has malformed "
                                       "chunks");
    }
}


/* moves "len" bytes from the input to the body */

static ngx_int_t
ngx_http_wt_answer_body(ngx_http_wt_http_answer_t *answer, size_t len)
{
    u_char      *p;
    size_t       size;
    ngx_pool_t  *pool;

    pool = answer->request->pool;

    if (len == 0) {
        return NGX_OK;
    }

    if (len > answer->limit - answer->len) {
        return ngx_http_wt_answer_fail(answer, "the answer is too large: "
                                       "more than %uz bytes", answer->limit);
    }

    if (len > answer->size - answer->len) {

        size = (answer->length != -1) ? (size_t) answer->length
                                      : ngx_max(2 * answer->size,
                                                NGX_HTTP_WT_HTTP_BODY);
        size = ngx_max(size, answer->len + len);

        p = ngx_palloc(pool, size);
        if (p == NULL) {
            return ngx_http_wt_answer_fail(answer, "no memory for the answer");
        }

        if (answer->body) {
            ngx_memcpy(p, answer->body, answer->len);
            (void) ngx_pfree(pool, answer->body);
        }

        answer->body = p;
        answer->size = size;
    }

    ngx_memcpy(answer->body + answer->len, answer->in.pos, len);

    answer->len += len;
    answer->in.pos += len;

    return NGX_OK;
}


/* it is no answer, and asking once more would not help */

static ngx_int_t
ngx_http_wt_answer_fail(ngx_http_wt_http_answer_t *answer, const char *fmt,
    ...)
{
    u_char   *last;
    va_list   args;

    va_start(args, fmt);
    last = ngx_vslprintf(answer->reason,
                         answer->reason + NGX_HTTP_WT_HTTP_REASON - 1,
                         fmt, args);
    va_end(args);

    *last = '\0';

    return NGX_ERROR;
}
