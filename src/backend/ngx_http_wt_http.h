/*
 * Answers of workers in HTTP/1.1, as they come in.  nginx's own functions
 * parse them; what is added is what a client has to know of an answer.
 */


#ifndef _NGX_HTTP_WT_HTTP_H_INCLUDED_
#define _NGX_HTTP_WT_HTTP_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>


/* status line and header fields of an answer, those of 1xx included */
#define NGX_HTTP_WT_HTTP_HEADER    16384

/* what is kept of a content type */
#define NGX_HTTP_WT_HTTP_TYPE      64

/* the longest reason */
#define NGX_HTTP_WT_HTTP_REASON    160


typedef enum {
    NGX_HTTP_WT_HTTP_STATUS = 0,
    NGX_HTTP_WT_HTTP_FIELDS,
    NGX_HTTP_WT_HTTP_LENGTH,       /* a body of known length, or none */
    NGX_HTTP_WT_HTTP_CHUNKED,
    NGX_HTTP_WT_HTTP_CLOSE         /* the end of the connection ends it */
} ngx_http_wt_http_state_e;


/* part of its owner, memory comes from the pool of "request" */

typedef struct {

    /* set by the owner: for nginx's parsers; of the body */
    ngx_http_request_t         *request;
    size_t                      limit;

    /* what is received, and has not been parsed */
    ngx_buf_t                   in;

    ngx_http_wt_http_state_e    state;
    ngx_http_status_t           status;
    ngx_http_chunked_t          chunks;

    u_char                     *body;
    size_t                      len;
    size_t                      size;
    off_t                       rest;        /* of a known length */
    off_t                       length;      /* Content-Length, -1: none */
    ngx_uint_t                  after;       /* Retry-After, in seconds */

    size_t                      ntype;
    u_char                      type[NGX_HTTP_WT_HTTP_TYPE];

    u_char                      reason[NGX_HTTP_WT_HTTP_REASON];

    unsigned                    received:1;  /* anything */
    unsigned                    chunked:1;
    unsigned                    encoded:1;   /* Content-Encoding, or another
                                                Transfer-Encoding */
    unsigned                    close:1;     /* Connection: close */
    unsigned                    keep:1;      /* Connection: keep-alive */
} ngx_http_wt_http_answer_t;


/* Once, before anything else. */
ngx_int_t ngx_http_wt_http_answer_init(ngx_http_wt_http_answer_t *answer,
    ngx_http_request_t *r, size_t limit);

/* Nothing has been received: for each connection. */
void ngx_http_wt_http_answer_reset(ngx_http_wt_http_answer_t *answer);

/*
 * There is room between in.last and in.end.  NGX_ERROR: there is none, and
 * "reason" says why.
 */
ngx_int_t ngx_http_wt_http_answer_room(ngx_http_wt_http_answer_t *answer);

/*
 * Parses what was received:
 *
 *     NGX_OK        the answer is complete
 *     NGX_AGAIN     it is not
 *     NGX_DECLINED  the status is that of an error, and the body not wanted
 *     NGX_ERROR     it is no answer, and "reason" says why
 */
ngx_int_t ngx_http_wt_http_answer_parse(ngx_http_wt_http_answer_t *answer);

/* After a complete answer: may the connection be used for another one? */
ngx_uint_t ngx_http_wt_http_answer_keeps(ngx_http_wt_http_answer_t *answer);


#endif /* _NGX_HTTP_WT_HTTP_H_INCLUDED_ */
