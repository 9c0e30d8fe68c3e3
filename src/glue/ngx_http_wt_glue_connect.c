/*
 * Extended CONNECT, RFC 9220.  nginx refuses the method and the pseudo-header,
 * so the beginning of the field section is edited before nginx reads it:
 * ":method" becomes GET and ":protocol" is left out.  Everything else, the
 * QPACK prefix included, stays as it came, and is nginx's to decode, to check
 * and to acknowledge.
 *
 * nginx's own parser finds the field lines.  Whatever it takes offence at is
 * passed on unchanged, for nginx to answer as it always does.
 */


#include <ngx_http_wt_glue_internal.h>


/* QPACK, RFC 9204, Appendix A: ":method: GET", indexed in the static table */
#define NGX_HTTP_WT_GLUE_METHOD_GET  0xd1


/* a field line in the buffer, by its offset from the buffer's start */

typedef struct {
    size_t                       start;
    size_t                       len;
} ngx_http_wt_glue_line_t;


struct ngx_http_wt_glue_section_s {
    ngx_http_v3_parse_headers_t  parse;
    size_t                       length_pos;   /* of the frame's length */
    size_t                       payload;      /* start of the section */
    size_t                       end;
    size_t                       parsed;
    size_t                       line;         /* start of the current one */
    uint64_t                     length;
    ngx_uint_t                   lines;
    ngx_http_wt_glue_line_t      method;
    ngx_http_wt_glue_line_t      protocol;
    ngx_str_t                    protocol_value;
};


static ngx_int_t ngx_http_wt_glue_section_open(ngx_connection_t *c,
    ngx_buf_t *b, ngx_http_wt_glue_section_t *s);
static ngx_int_t ngx_http_wt_glue_section_room(ngx_connection_t *c,
    ngx_buf_t *b, ngx_http_wt_glue_section_t *s);
static ngx_int_t ngx_http_wt_glue_section_parse(ngx_connection_t *c,
    ngx_buf_t *b, ngx_http_wt_glue_section_t *s);
static ngx_int_t ngx_http_wt_glue_section_line(ngx_http_wt_glue_section_t *s,
    ngx_http_wt_glue_line_t *line);
static u_char *ngx_http_wt_glue_prefix_end(u_char *p);
static ngx_int_t ngx_http_wt_glue_connect_add(ngx_connection_t *c,
    ngx_http_wt_glue_peek_t *peek, ngx_str_t *protocol);
static void ngx_http_wt_glue_section_edit(ngx_buf_t *b,
    ngx_http_wt_glue_section_t *s);
static void ngx_http_wt_glue_cut(ngx_buf_t *b, size_t start, size_t len);


ngx_int_t
ngx_http_wt_glue_connect_rewrite(ngx_connection_t *c,
    ngx_http_wt_glue_peek_t *peek)
{
    ngx_int_t                    rc;
    ngx_buf_t                   *b;
    ngx_http_wt_glue_section_t  *s, section;

    b = &peek->buf;
    s = peek->section;

    if (s == NULL) {
        s = &section;
        rc = ngx_http_wt_glue_section_open(c, b, s);

    } else {
        rc = NGX_OK;
    }

    if (rc == NGX_OK) {
        rc = ngx_http_wt_glue_section_parse(c, b, s);

        if ((rc == NGX_AGAIN || rc == NGX_BUSY) && s == &section) {

            /* most sections come as a whole, and end here */

            peek->section = ngx_palloc(c->pool,
                                       sizeof(ngx_http_wt_glue_section_t));
            if (peek->section == NULL) {
                return NGX_ERROR;
            }

            *peek->section = section;
        }
    }

    if (rc == NGX_DECLINED) {
        return NGX_OK;
    }

    if (rc != NGX_OK) {
        return rc;
    }

    if (ngx_http_wt_glue_connect_add(c, peek, &s->protocol_value) != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_http_wt_glue_section_edit(b, s);

    return NGX_OK;
}


/* NGX_DECLINED: an ordinary request */

static ngx_int_t
ngx_http_wt_glue_section_open(ngx_connection_t *c, ngx_buf_t *b,
    ngx_http_wt_glue_section_t *s)
{
    u_char     *p, *length, hdr[5];
    uint64_t    value;
    ngx_buf_t   fake;

    length = ngx_http_wt_glue_varint(b->pos, b->last, &value);

    p = ngx_http_wt_glue_varint(length, b->last, &value);
    if (p == NULL) {
        return NGX_AGAIN;
    }

    if (value < 3 || value > 0x3fffffff - 1) {
        return NGX_DECLINED;
    }

    if (b->last - p < 3) {
        return NGX_AGAIN;
    }

    /* most requests: no dynamic table, and a static method but CONNECT */

    if (p[0] == 0 && p[1] == 0 && p[2] >= 0xd0 && p[2] <= 0xd5) {
        return NGX_DECLINED;
    }

    ngx_memzero(s, sizeof(ngx_http_wt_glue_section_t));

    s->length_pos = length - b->pos;
    s->payload = p - b->pos;
    s->parsed = s->payload;
    s->end = s->payload + value;
    s->length = value;

    if (ngx_http_wt_glue_section_room(c, b, s) != NGX_OK) {
        return NGX_ERROR;
    }

    /*
     * At the section's end nginx's parser acknowledges it, which nginx will
     * do once more: it is told of one byte that never comes.
     */

    value++;

    hdr[0] = NGX_HTTP_V3_FRAME_HEADERS;
    hdr[1] = 0x80 | (value >> 24);
    hdr[2] = value >> 16;
    hdr[3] = value >> 8;
    hdr[4] = value;

    ngx_memzero(&fake, sizeof(ngx_buf_t));
    fake.pos = hdr;
    fake.last = hdr + sizeof(hdr);

    if (ngx_http_v3_parse_headers(c, &s->parse, &fake) != NGX_AGAIN) {
        return NGX_DECLINED;
    }

    return NGX_OK;
}


/* what has not come yet of the section will need it */

static ngx_int_t
ngx_http_wt_glue_section_room(ngx_connection_t *c, ngx_buf_t *b,
    ngx_http_wt_glue_section_t *s)
{
    size_t                     size, len;
    u_char                    *buf;
    ngx_http_core_srv_conf_t  *cscf;

    len = b->last - b->start;

    if (len >= s->end) {
        return NGX_OK;
    }

    cscf = ngx_http_v3_get_module_srv_conf(c, ngx_http_core_module);

    size = ngx_min(s->length, cscf->large_client_header_buffers.size) + len;

    buf = ngx_pnalloc(c->pool, size);
    if (buf == NULL) {
        return NGX_ERROR;
    }

    b->last = ngx_cpymem(buf, b->start, len);
    b->start = buf;
    b->pos = buf;
    b->end = buf + size;

    return NGX_OK;
}


/*
 * NGX_OK: an extended CONNECT; NGX_DECLINED: not one, or not for us to
 * judge; NGX_AGAIN; NGX_BUSY.
 */

static ngx_int_t
ngx_http_wt_glue_section_parse(ngx_connection_t *c, ngx_buf_t *b,
    ngx_http_wt_glue_section_t *s)
{
    ngx_int_t                 rc;
    ngx_buf_t                 in;
    ngx_http_wt_glue_line_t   line;

    while (s->parsed != s->end) {

        ngx_memzero(&in, sizeof(ngx_buf_t));

        in.pos = b->start + s->parsed;
        in.last = b->start + ngx_min((size_t) (b->last - b->start), s->end);

        rc = ngx_http_v3_parse_headers(c, &s->parse, &in);

        s->parsed = in.pos - b->start;

        if (rc == NGX_AGAIN
            && (b->last == b->end || s->parsed == s->end))
        {
            /*
             * pseudo-headers that fill the largest buffer, or a section that
             * ends in the middle of a line
             */
            return NGX_DECLINED;
        }

        if (rc == NGX_AGAIN || rc == NGX_BUSY) {
            return rc;
        }

        if (rc != NGX_OK) {
            return NGX_DECLINED;
        }

        if (s->line == 0) {
            s->line = ngx_http_wt_glue_prefix_end(b->start + s->payload)
                      - b->start;
        }

        line.start = s->line;
        line.len = s->parsed - s->line;

        s->line = s->parsed;

        rc = ngx_http_wt_glue_section_line(s, &line);

        if (rc == NGX_DONE) {
            break;
        }

        if (rc != NGX_OK) {
            return rc;
        }
    }

    return (s->method.len && s->protocol.len) ? NGX_OK : NGX_DECLINED;
}


/* NGX_DONE: the last pseudo-header has been seen; NGX_OK; NGX_DECLINED */

static ngx_int_t
ngx_http_wt_glue_section_line(ngx_http_wt_glue_section_t *s,
    ngx_http_wt_glue_line_t *line)
{
    ngx_str_t  *name, *value;

    name = &s->parse.field_rep.field.name;
    value = &s->parse.field_rep.field.value;

    if (name->len == 0 || name->data[0] != ':') {
        return NGX_DONE;
    }

    /* a request has five; nginx's parser copies each into the stream's pool */

    if (++s->lines > 5) {
        return NGX_DECLINED;
    }

    if (name->len == 7 && ngx_strncmp(name->data, ":method", 7) == 0) {

        if (value->len != 7 || ngx_strncmp(value->data, "CONNECT", 7) != 0) {
            return NGX_DECLINED;
        }

        s->method = *line;

    } else if (name->len == 9 && ngx_strncmp(name->data, ":protocol", 9) == 0)
    {
        s->protocol = *line;
        s->protocol_value = *value;
    }

    return NGX_OK;
}


/* RFC 9204, 4.5.1: Required Insert Count and Delta Base, complete */

static u_char *
ngx_http_wt_glue_prefix_end(u_char *p)
{
    if (*p++ == 0xff) {
        while (*p++ & 0x80) { /* void */ }
    }

    if ((*p++ & 0x7f) == 0x7f) {
        while (*p++ & 0x80) { /* void */ }
    }

    return p;
}


static ngx_int_t
ngx_http_wt_glue_connect_add(ngx_connection_t *c,
    ngx_http_wt_glue_peek_t *peek, ngx_str_t *protocol)
{
    ngx_http_wt_glue_connect_t  *connect;

    connect = ngx_palloc(c->pool, sizeof(ngx_http_wt_glue_connect_t));
    if (connect == NULL) {
        return NGX_ERROR;
    }

    connect->qconn = &peek->gc->pub;

    /* the value may live in QPACK's dynamic table */

    connect->protocol.len = protocol->len;
    connect->protocol.data = ngx_pstrdup(c->pool, protocol);

    peek->connect = connect;

    return (connect->protocol.data || protocol->len == 0) ? NGX_OK : NGX_ERROR;
}


static void
ngx_http_wt_glue_section_edit(ngx_buf_t *b, ngx_http_wt_glue_section_t *s)
{
    u_char    *p, *end;
    uint64_t   length;

    length = s->length - s->protocol.len - (s->method.len - 1);

    if (s->protocol.start > s->method.start) {
        ngx_http_wt_glue_cut(b, s->protocol.start, s->protocol.len);
    }

    b->start[s->method.start] = NGX_HTTP_WT_GLUE_METHOD_GET;
    ngx_http_wt_glue_cut(b, s->method.start + 1, s->method.len - 1);

    if (s->protocol.start < s->method.start) {
        ngx_http_wt_glue_cut(b, s->protocol.start, s->protocol.len);
    }

    /* the length keeps its size, which is in the first two bits */

    p = b->start + s->length_pos;
    end = b->start + s->payload;

    *p &= 0xc0;

    while (--end != p) {
        *end = length & 0xff;
        length >>= 8;
    }

    *p |= length;
}


static void
ngx_http_wt_glue_cut(ngx_buf_t *b, size_t start, size_t len)
{
    u_char  *p;

    p = b->start + start;

    ngx_memmove(p, p + len, b->last - p - len);

    b->last -= len;
}


ngx_http_wt_glue_connect_t *
ngx_http_wt_glue_get_connect(ngx_http_request_t *r)
{
    ngx_connection_t         *c;
    ngx_http_wt_glue_peek_t  *peek;

    c = r->connection;

    if (c->quic == NULL || ngx_http_wt_glue_get_conn(c->quic->parent) == NULL)
    {
        return NULL;
    }

    peek = ngx_http_wt_glue_get_peek(c);

    return peek ? peek->connect : NULL;
}


uint64_t
ngx_http_wt_glue_request_id(ngx_http_request_t *r)
{
    return r->connection->quic->id;
}


void
ngx_http_wt_glue_request_reset(ngx_http_request_t *r, uint64_t code)
{
    ngx_connection_t  *c;

    c = r->connection;

    (void) ngx_quic_reset_stream(c, code);
    (void) ngx_http_wt_glue_stop_sending(c, code);

    /* nothing more is expected: a STOP_SENDING of nginx's own would follow */

    if (c->quic->recv_state == NGX_QUIC_STREAM_RECV_RECV
        || c->quic->recv_state == NGX_QUIC_STREAM_RECV_SIZE_KNOWN)
    {
        c->quic->recv_state = NGX_QUIC_STREAM_RECV_RESET_READ;
    }
}


ngx_int_t
ngx_http_wt_glue_request_fin(ngx_http_request_t *r)
{
    return ngx_quic_shutdown_stream(r->connection, NGX_WRITE_SHUTDOWN);
}
