
/*
 * Copyright (C) The WebTransport for nginx authors
 *
 * Feeds input to the capsule parser in pieces and writes down what comes out,
 * so that results of different splits can be compared.
 */


#ifndef _NGX_HTTP_WT_TEST_CAPSULE_H_INCLUDED_
#define _NGX_HTTP_WT_TEST_CAPSULE_H_INCLUDED_


#include "test.h"
#include <ngx_http_wt_capsule.h>


#define TEST_MAX_DATAGRAM  1500


typedef struct {
    ngx_http_wt_capsule_parser_t   parser;

    /* how often a buffer was asked for */
    ngx_uint_t                     buffers;

    /* no more input wanted: closed or failed */
    ngx_uint_t                     failed;

    char                           log[65536];
    size_t                         len;
} test_feed_t;


static inline void
test_feed_init(test_feed_t *f)
{
    memset(&f->parser, 0, sizeof(ngx_http_wt_capsule_parser_t));
    f->parser.max_datagram = TEST_MAX_DATAGRAM;
    f->buffers = 0;
    f->failed = 0;
    f->len = 0;
    f->log[0] = '\0';
}


static inline void
test_feed_log(test_feed_t *f, const char *fmt, ...)
{
    va_list  args;

    /* what does not fit is left out in every run alike */

    va_start(args, fmt);

    if (f->len < sizeof(f->log) - 8192) {
        f->len += vsnprintf(f->log + f->len, 8192, fmt, args);
    }

    va_end(args);
}


static inline void
test_feed_capsule(test_feed_t *f, ngx_http_wt_capsule_t *c)
{
    const char  *name;

    switch (c->type) {
    case NGX_HTTP_WT_CAPSULE_DATAGRAM:         name = "datagram"; break;
    case NGX_HTTP_WT_CAPSULE_CLOSE:            name = "close"; break;
    case NGX_HTTP_WT_CAPSULE_DRAIN:            name = "drain"; break;
    case NGX_HTTP_WT_CAPSULE_MAX_DATA:         name = "max_data"; break;
    case NGX_HTTP_WT_CAPSULE_MAX_STREAMS_BIDI: name = "max_bidi"; break;
    case NGX_HTTP_WT_CAPSULE_MAX_STREAMS_UNI:  name = "max_uni"; break;
    case NGX_HTTP_WT_CAPSULE_DATA_BLOCKED:     name = "data_blocked"; break;
    case NGX_HTTP_WT_CAPSULE_BLOCKED_BIDI:     name = "bidi_blocked"; break;
    case NGX_HTTP_WT_CAPSULE_BLOCKED_UNI:      name = "uni_blocked"; break;
    default:                                   name = "?"; break;
    }

    test_feed_log(f, "%s %llu %u:%s;", name, (unsigned long long) c->value,
                  (unsigned) c->data.len, test_hex(c->data.data, c->data.len));
}


static inline void
test_feed_error(test_feed_t *f, ngx_int_t rc)
{
    test_feed_log(f, "%s error %lx;", f->parser.fatal ? "connection" : "stream",
                  (long) rc);
    f->failed = 1;
}


/* one piece of input, in memory of exactly its size */

static inline void
test_feed_piece(test_feed_t *f, const u_char *data, size_t len)
{
    u_char                 *pos, *last;
    ngx_int_t               rc;
    test_bytes_t            b;
    ngx_http_wt_capsule_t   c;

    b = test_copy(data, len);

    pos = b.data;
    last = b.data + b.len;

    while (!f->failed) {

        memset(&c, 0xa5, sizeof(ngx_http_wt_capsule_t));

        rc = ngx_http_wt_capsule_parse(&f->parser, &pos, last, &c);

        if (rc == NGX_OK) {
            test_feed_capsule(f, &c);

        } else if (rc == NGX_AGAIN) {
            check(pos == last);
            break;

        } else if (rc == NGX_DECLINED) {
            check(f->parser.need > f->parser.size);
            free(f->parser.buf);
            f->parser.size = f->parser.need;
            f->parser.buf = malloc(f->parser.size);
            f->buffers++;

        } else {
            check(rc > 0);
            test_feed_error(f, rc);
        }
    }

    free(b.data);
}


static inline void
test_feed_finish(test_feed_t *f)
{
    ngx_int_t  rc;

    if (!f->failed) {
        rc = ngx_http_wt_capsule_finish(&f->parser);

        if (rc == NGX_OK) {
            test_feed_log(f, "fin;");

        } else {
            test_feed_error(f, rc);
        }
    }

    if (f->parser.dropped) {
        test_feed_log(f, "dropped %u;", (unsigned) f->parser.dropped);
    }

    check(f->buffers <= 2);
    free(f->parser.buf);
}


#endif /* _NGX_HTTP_WT_TEST_CAPSULE_H_INCLUDED_ */
