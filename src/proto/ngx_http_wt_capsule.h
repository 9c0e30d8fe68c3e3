
/*
 * Copyright (C) The WebTransport for nginx authors
 */


#ifndef _NGX_HTTP_WT_CAPSULE_H_INCLUDED_
#define _NGX_HTTP_WT_CAPSULE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http_wt_proto.h>


/*
 * What follows HEADERS on a CONNECT stream: HTTP/3 frames, and inside the DATA
 * frames a sequence of capsules, which may begin and end anywhere in them.
 */


/* Longest value of a capsule, other than DATAGRAM, that is not skipped. */
#define NGX_HTTP_WT_CAPSULE_VALUE_MAX  (4 + NGX_HTTP_WT_REASON_MAX)

/* Longest result of ngx_http_wt_capsule_close(). */
#define NGX_HTTP_WT_CAPSULE_CLOSE_LEN                                         \
    (1 + 2 + 2 + 2 + NGX_HTTP_WT_CAPSULE_VALUE_MAX)

/* Length of the result of ngx_http_wt_capsule_drain(). */
#define NGX_HTTP_WT_CAPSULE_DRAIN_LEN  (1 + 1 + 4 + 1)


/* a type, a length and a value: both frames and capsules are that */

typedef struct {
    uint64_t            type;

    /* the length, then how much of the value is still to come */
    uint64_t            left;

    /* ngx_http_wt_tlv_e */
    u_char              state;

    /* how many bytes of the type or the length are still to come */
    u_char              more;
} ngx_http_wt_tlv_t;


/*
 * The state of a CONNECT stream, part of the session object, which is also its
 * owner.  Zeroed before use; there is nothing to release.
 */

typedef struct {
    ngx_http_wt_tlv_t   frame;
    ngx_http_wt_tlv_t   capsule;

    /* set by the caller: longer datagrams in capsules are dropped */
    size_t              max_datagram;

    /* datagrams dropped so far */
    ngx_uint_t          dropped;

    /* set by the caller on NGX_DECLINED: a buffer of at least "need" bytes */
    u_char             *buf;
    size_t              size;
    size_t              need;

    /* bytes in the buffer */
    size_t              len;

    /* value of the current capsule is of no interest */
    unsigned            skip:1;

    /* WT_CLOSE_SESSION was received */
    unsigned            closed:1;

    /* the error that was returned is one of the connection, not the stream */
    unsigned            fatal:1;
} ngx_http_wt_capsule_parser_t;


typedef struct {
    /* NGX_HTTP_WT_CAPSULE_* */
    uint64_t            type;

    /* CLOSE: the application's code; flow control: the limit */
    uint64_t            value;

    /* CLOSE: the reason; DATAGRAM: the payload; valid until the next call */
    ngx_str_t           data;
} ngx_http_wt_capsule_t;


/*
 * Consumes input from *pos, up to "last", until one capsule is complete.
 * Resumes at any byte; keeps no input unless it must, see NGX_DECLINED.
 *
 *     NGX_OK        *out is CLOSE, DRAIN, DATAGRAM or one of flow control; call
 *                   again, there may be more
 *     NGX_AGAIN     all input was consumed
 *     NGX_DECLINED  a value does not come in one piece: set p->buf and p->size
 *                   to p->need bytes or more and call again.  "need" is
 *                   NGX_HTTP_WT_CAPSULE_VALUE_MAX, or max_datagram where this
 *                   is longer, so that it is asked for twice at most
 *     > 0           an HTTP/3 error code; p->fatal tells whether it is for the
 *                   connection or for the stream.  No more calls then
 */
ngx_int_t ngx_http_wt_capsule_parse(ngx_http_wt_capsule_parser_t *p,
    u_char **pos, u_char *last, ngx_http_wt_capsule_t *out);

/*
 * To be called on the FIN of the stream.  Returns NGX_OK if it is between two
 * frames and between two capsules, otherwise an error code as above.
 */
ngx_int_t ngx_http_wt_capsule_finish(ngx_http_wt_capsule_parser_t *p);

/*
 * Writes a DATA frame with a WT_CLOSE_SESSION capsule, at most
 * NGX_HTTP_WT_CAPSULE_CLOSE_LEN bytes, and returns the position behind it.  The
 * reason, which must be valid UTF-8, is cut to what is allowed.
 */
u_char *ngx_http_wt_capsule_close(u_char *p, uint32_t code, ngx_str_t *reason);

/*
 * Writes a DATA frame with a WT_DRAIN_SESSION capsule, exactly
 * NGX_HTTP_WT_CAPSULE_DRAIN_LEN bytes, and returns the position behind it.
 */
u_char *ngx_http_wt_capsule_drain(u_char *p);


#endif /* _NGX_HTTP_WT_CAPSULE_H_INCLUDED_ */
