
/*
 * Copyright (C) The WebTransport for nginx authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http_wt_proto.h>
#include <ngx_http_wt_varint.h>
#include <ngx_http_wt_utf8.h>
#include <ngx_http_wt_capsule.h>


typedef enum {
    ngx_http_wt_tlv_type = 0,
    ngx_http_wt_tlv_length,
    ngx_http_wt_tlv_value
} ngx_http_wt_tlv_e;


static ngx_int_t ngx_http_wt_tlv_read_type(ngx_http_wt_tlv_t *t, u_char **pos,
    u_char *last);
static ngx_int_t ngx_http_wt_tlv_read_length(ngx_http_wt_tlv_t *t,
    u_char **pos, u_char *last);
static ngx_int_t ngx_http_wt_tlv_read_varint(ngx_http_wt_tlv_t *t, uint64_t *v,
    u_char **pos, u_char *last);
static void ngx_http_wt_tlv_consumed(ngx_http_wt_tlv_t *t, size_t n);
static ngx_uint_t ngx_http_wt_tlv_partial(ngx_http_wt_tlv_t *t);
static ngx_int_t ngx_http_wt_capsule_check_frame(
    ngx_http_wt_capsule_parser_t *p);
static ngx_int_t ngx_http_wt_capsule_parse_data(
    ngx_http_wt_capsule_parser_t *p, u_char **pos, u_char *last,
    ngx_http_wt_capsule_t *out);
static ngx_int_t ngx_http_wt_capsule_check_length(
    ngx_http_wt_capsule_parser_t *p);
static ngx_int_t ngx_http_wt_capsule_read_value(
    ngx_http_wt_capsule_parser_t *p, u_char **pos, u_char *last,
    ngx_str_t *value);
static ngx_int_t ngx_http_wt_capsule_done(ngx_http_wt_capsule_parser_t *p,
    ngx_str_t *value, ngx_http_wt_capsule_t *out);


ngx_int_t
ngx_http_wt_capsule_parse(ngx_http_wt_capsule_parser_t *p, u_char **pos,
    u_char *last, ngx_http_wt_capsule_t *out)
{
    u_char             *start, *end;
    ngx_int_t           rc;
    ngx_http_wt_tlv_t  *f;

    f = &p->frame;

    while (*pos < last) {

        if (p->closed) {

            /*
             * -16, 6.  If any additional stream data is received on the
             * CONNECT stream after receiving a WT_CLOSE_SESSION capsule, the
             * stream MUST be reset with code H3_MESSAGE_ERROR.
             */

            return NGX_HTTP_WT_H3_MESSAGE_ERROR;
        }

        if (ngx_http_wt_tlv_read_type(f, pos, last) == NGX_AGAIN) {
            return NGX_AGAIN;
        }

        rc = ngx_http_wt_capsule_check_frame(p);

        if (rc != NGX_OK) {
            return rc;
        }

        if (ngx_http_wt_tlv_read_length(f, pos, last) == NGX_AGAIN) {
            return NGX_AGAIN;
        }

        start = *pos;
        end = ((uint64_t) (last - start) < f->left) ? last : start + f->left;

        if (f->type == NGX_HTTP_WT_FRAME_DATA) {
            rc = ngx_http_wt_capsule_parse_data(p, pos, end, out);

        } else {
            *pos = end;
            rc = NGX_AGAIN;
        }

        ngx_http_wt_tlv_consumed(f, *pos - start);

        if (rc != NGX_AGAIN) {
            return rc;
        }
    }

    return NGX_AGAIN;
}


ngx_int_t
ngx_http_wt_capsule_finish(ngx_http_wt_capsule_parser_t *p)
{
    if (ngx_http_wt_tlv_partial(&p->frame)) {

        /*
         * RFC 9114, 7.1.  When a stream terminates cleanly, if the last frame
         * on the stream was truncated, this MUST be treated as a connection
         * error of type H3_FRAME_ERROR.
         */

        p->fatal = 1;
        return NGX_HTTP_WT_H3_FRAME_ERROR;
    }

    if (ngx_http_wt_tlv_partial(&p->capsule)) {

        /*
         * RFC 9297, 3.3.  If the receive side of a stream carrying capsules is
         * terminated cleanly [...] and the last capsule on the stream was
         * truncated, this MUST be treated as if the message were malformed or
         * incomplete.
         */

        return NGX_HTTP_WT_H3_MESSAGE_ERROR;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_wt_capsule_check_frame(ngx_http_wt_capsule_parser_t *p)
{
    switch (p->frame.type) {

    case NGX_HTTP_WT_FRAME_HEADERS:
    case NGX_HTTP_WT_FRAME_H2_PRIORITY:
    case NGX_HTTP_WT_FRAME_CANCEL_PUSH:
    case NGX_HTTP_WT_FRAME_SETTINGS:
    case NGX_HTTP_WT_FRAME_PUSH_PROMISE:
    case NGX_HTTP_WT_FRAME_H2_PING:
    case NGX_HTTP_WT_FRAME_GOAWAY:
    case NGX_HTTP_WT_FRAME_H2_WINDOW_UPDATE:
    case NGX_HTTP_WT_FRAME_H2_CONTINUATION:
    case NGX_HTTP_WT_FRAME_MAX_PUSH_ID:

        /*
         * RFC 9114, 4.4.  Receipt of any other known frame type MUST be
         * treated as a connection error of type H3_FRAME_UNEXPECTED.
         */

        p->fatal = 1;
        return NGX_HTTP_WT_H3_FRAME_UNEXPECTED;

    case NGX_HTTP_WT_FRAME_WT_STREAM:

        /*
         * -16, 4.3.  Endpoints MUST NOT send WT_STREAM as a frame type on
         * HTTP/3 streams other than the very first bytes of a request stream.
         * Receiving this frame type in any other circumstances MUST be treated
         * as a connection error of type H3_FRAME_ERROR.
         */

        p->fatal = 1;
        return NGX_HTTP_WT_H3_FRAME_ERROR;

    default:

        /* RFC 9114, 9.  Frames of unknown types MUST be discarded */

        return NGX_OK;
    }
}


/* the part of a DATA frame from *pos to last */

static ngx_int_t
ngx_http_wt_capsule_parse_data(ngx_http_wt_capsule_parser_t *p, u_char **pos,
    u_char *last, ngx_http_wt_capsule_t *out)
{
    ngx_int_t           rc;
    ngx_str_t           value;
    ngx_http_wt_tlv_t  *c;

    c = &p->capsule;

    while (*pos < last) {

        if (c->state != ngx_http_wt_tlv_value) {

            if (ngx_http_wt_tlv_read_type(c, pos, last) == NGX_AGAIN
                || ngx_http_wt_tlv_read_length(c, pos, last) == NGX_AGAIN)
            {
                return NGX_AGAIN;
            }

            rc = ngx_http_wt_capsule_check_length(p);

            if (rc != NGX_OK) {
                return rc;
            }
        }

        rc = ngx_http_wt_capsule_read_value(p, pos, last, &value);

        if (rc != NGX_OK) {
            return rc;
        }

        if (p->skip) {
            continue;
        }

        return ngx_http_wt_capsule_done(p, &value, out);
    }

    return NGX_AGAIN;
}


/*
 * Called as soon as type and length are known, so that a wrong length needs no
 * value to be detected.
 */

static ngx_int_t
ngx_http_wt_capsule_check_length(ngx_http_wt_capsule_parser_t *p)
{
    uint64_t  len;

    len = p->capsule.left;
    p->skip = 0;
    p->len = 0;

    switch (p->capsule.type) {

    case NGX_HTTP_WT_CAPSULE_DATAGRAM:

        if (len > p->max_datagram) {
            p->dropped++;
            p->skip = 1;
        }

        return NGX_OK;

    case NGX_HTTP_WT_CAPSULE_CLOSE:

        /*
         * -16, 6.  If the Application Error Message exceeds 1024 bytes or is
         * not valid UTF-8, the receiver MUST reset the stream with code
         * H3_MESSAGE_ERROR.
         */

        if (len < 4 || len > NGX_HTTP_WT_CAPSULE_VALUE_MAX) {
            return NGX_HTTP_WT_H3_MESSAGE_ERROR;
        }

        return NGX_OK;

    case NGX_HTTP_WT_CAPSULE_DRAIN:

        /*
         * RFC 9297, 3.3.  A Capsule payload that contains additional bytes
         * after the identified fields or [...] terminates before the end of
         * the identified fields MUST be treated as [...] malformed.
         */

        if (len != 0) {
            return NGX_HTTP_WT_H3_MESSAGE_ERROR;
        }

        return NGX_OK;

    case NGX_HTTP_WT_CAPSULE_MAX_DATA:
    case NGX_HTTP_WT_CAPSULE_MAX_STREAMS_BIDI:
    case NGX_HTTP_WT_CAPSULE_MAX_STREAMS_UNI:
    case NGX_HTTP_WT_CAPSULE_DATA_BLOCKED:
    case NGX_HTTP_WT_CAPSULE_BLOCKED_BIDI:
    case NGX_HTTP_WT_CAPSULE_BLOCKED_UNI:

        if (len < 1 || len > NGX_HTTP_WT_VARINT_LEN) {
            return NGX_HTTP_WT_H3_MESSAGE_ERROR;
        }

        return NGX_OK;

    case NGX_HTTP_WT_CAPSULE_MAX_STREAM_DATA:
    case NGX_HTTP_WT_CAPSULE_STREAM_BLOCKED:

        /*
         * -16, 5.4.  Endpoints MUST treat receipt of a WT_MAX_STREAM_DATA or a
         * WT_STREAM_DATA_BLOCKED capsule as a session error.
         */

        return NGX_HTTP_WT_ERR_FLOW_CONTROL;

    default:

        /* RFC 9297, 3.2.  Capsules of unknown types MUST be dropped */

        p->skip = 1;

        return NGX_OK;
    }
}


static ngx_int_t
ngx_http_wt_capsule_read_value(ngx_http_wt_capsule_parser_t *p, u_char **pos,
    u_char *last, ngx_str_t *value)
{
    size_t              n;
    u_char             *start;
    ngx_uint_t          whole;
    ngx_http_wt_tlv_t  *c;

    c = &p->capsule;

    start = *pos;
    n = last - start;

    whole = (n >= c->left);

    if (whole) {
        n = c->left;
    }

    if (!p->skip && (p->len || !whole) && n) {

        if (p->size < p->len + c->left) {
            p->need = NGX_HTTP_WT_CAPSULE_VALUE_MAX;

            if (c->type == NGX_HTTP_WT_CAPSULE_DATAGRAM) {
                p->need = ngx_max(p->need, p->max_datagram);
            }

            return NGX_DECLINED;
        }

        ngx_memcpy(p->buf + p->len, start, n);
        p->len += n;
    }

    *pos += n;
    ngx_http_wt_tlv_consumed(c, n);

    if (!whole) {
        return NGX_AGAIN;
    }

    if (p->len) {
        value->len = p->len;
        value->data = p->buf;

    } else {
        value->len = n;
        value->data = start;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_wt_capsule_done(ngx_http_wt_capsule_parser_t *p, ngx_str_t *value,
    ngx_http_wt_capsule_t *out)
{
    u_char  *d, *end;

    d = value->data;
    end = d + value->len;

    out->type = p->capsule.type;
    out->value = 0;

    switch (out->type) {

    case NGX_HTTP_WT_CAPSULE_DATAGRAM:
        break;

    case NGX_HTTP_WT_CAPSULE_DRAIN:
        break;

    case NGX_HTTP_WT_CAPSULE_CLOSE:
        p->closed = 1;

        out->value = (uint32_t) d[0] << 24 | d[1] << 16 | d[2] << 8 | d[3];
        d += 4;

        if (!ngx_http_wt_utf8_valid(d, end - d)) {
            return NGX_HTTP_WT_H3_MESSAGE_ERROR;
        }

        break;

    default: /* flow control */
        d = ngx_http_wt_varint_parse(d, end, &out->value);

        if (d != end) {
            return NGX_HTTP_WT_H3_MESSAGE_ERROR;
        }
    }

    out->data.len = end - d;
    out->data.data = d;

    return NGX_OK;
}


/* does nothing if the type has been read already */

static ngx_int_t
ngx_http_wt_tlv_read_type(ngx_http_wt_tlv_t *t, u_char **pos, u_char *last)
{
    if (t->state != ngx_http_wt_tlv_type) {
        return NGX_OK;
    }

    if (ngx_http_wt_tlv_read_varint(t, &t->type, pos, last) == NGX_AGAIN) {
        return NGX_AGAIN;
    }

    t->state = ngx_http_wt_tlv_length;

    return NGX_OK;
}


/* does nothing if the length has been read already */

static ngx_int_t
ngx_http_wt_tlv_read_length(ngx_http_wt_tlv_t *t, u_char **pos, u_char *last)
{
    if (t->state == ngx_http_wt_tlv_value) {
        return NGX_OK;
    }

    if (ngx_http_wt_tlv_read_varint(t, &t->left, pos, last) == NGX_AGAIN) {
        return NGX_AGAIN;
    }

    t->state = ngx_http_wt_tlv_value;

    return NGX_OK;
}


static ngx_int_t
ngx_http_wt_tlv_read_varint(ngx_http_wt_tlv_t *t, uint64_t *v, u_char **pos,
    u_char *last)
{
    u_char  *p;

    for (p = *pos; p < last; /* void */ ) {

        if (t->more == 0) {
            t->more = (u_char) (1 << (*p >> 6));
            *v = *p++ & 0x3f;

        } else {
            *v = (*v << 8) + *p++;
        }

        if (--t->more == 0) {
            *pos = p;
            return NGX_OK;
        }
    }

    *pos = p;

    return NGX_AGAIN;
}


static void
ngx_http_wt_tlv_consumed(ngx_http_wt_tlv_t *t, size_t n)
{
    t->left -= n;

    if (t->left == 0) {
        t->state = ngx_http_wt_tlv_type;
    }
}


static ngx_uint_t
ngx_http_wt_tlv_partial(ngx_http_wt_tlv_t *t)
{
    return t->state != ngx_http_wt_tlv_type || t->more;
}


u_char *
ngx_http_wt_capsule_close(u_char *p, uint32_t code, ngx_str_t *reason)
{
    size_t  len, size;

    len = ngx_http_wt_utf8_cut(reason->data, reason->len,
                               NGX_HTTP_WT_REASON_MAX);

    size = ngx_http_wt_varint_len(NGX_HTTP_WT_CAPSULE_CLOSE)
           + ngx_http_wt_varint_len(4 + len) + 4 + len;

    p = ngx_http_wt_varint_write(p, NGX_HTTP_WT_FRAME_DATA);
    p = ngx_http_wt_varint_write(p, size);

    p = ngx_http_wt_varint_write(p, NGX_HTTP_WT_CAPSULE_CLOSE);
    p = ngx_http_wt_varint_write(p, 4 + len);

    *p++ = (u_char) (code >> 24);
    *p++ = (u_char) (code >> 16);
    *p++ = (u_char) (code >> 8);
    *p++ = (u_char) code;

    if (len == 0) {
        return p;
    }

    return ngx_cpymem(p, reason->data, len);
}


u_char *
ngx_http_wt_capsule_drain(u_char *p)
{
    p = ngx_http_wt_varint_write(p, NGX_HTTP_WT_FRAME_DATA);
    p = ngx_http_wt_varint_write(p,
                         ngx_http_wt_varint_len(NGX_HTTP_WT_CAPSULE_DRAIN) + 1);

    p = ngx_http_wt_varint_write(p, NGX_HTTP_WT_CAPSULE_DRAIN);

    return ngx_http_wt_varint_write(p, 0);
}
