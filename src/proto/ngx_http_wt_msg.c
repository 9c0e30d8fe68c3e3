
/*
 * Copyright (C) The WebTransport for nginx authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <pb_decode.h>
#include <pb_encode.h>
#include <ngx_http_wt_utf8.h>
#include <ngx_http_wt_msg.h>
#include <ngx_http_wt_msg_hot.h>


/*
 * Lengths in front of a payload are varints of this many bytes, longer than
 * needed for small values: so their place is known before their value is.
 */

#define NGX_HTTP_WT_MSG_LEN_SIZE   3

/* CommandBatch.session_id and seq, which no generated struct has */
#define NGX_HTTP_WT_MSG_HEAD_ID    1
#define NGX_HTTP_WT_MSG_HEAD_SEQ   2

/* a stream id as a varint: 63 bits */
#define NGX_HTTP_WT_MSG_ID_SIZE    9

#define ngx_http_wt_msg_tag(field, type)                                      \
    (u_char) (ngx_http_wt_pb_##field##_tag << 3 | (type))


typedef struct {
    ngx_http_wt_command_pt   handler;
    void                    *data;
    ngx_int_t                rc;
} ngx_http_wt_msg_parse_t;


static ngx_int_t ngx_http_wt_msg_parse_part(u_char *p, u_char *last,
    ngx_http_wt_msg_parse_t *parse, const char **err);
static bool ngx_http_wt_pb_read(pb_istream_t *stream, pb_byte_t *buf,
    size_t n);
static bool ngx_http_wt_pb_decode_str(pb_istream_t *stream,
    const pb_field_t *field);
static bool ngx_http_wt_pb_encode_str(pb_ostream_t *stream,
    const pb_field_t *field, ngx_str_t *str);
static size_t ngx_http_wt_msg_event_len(const pb_msgdesc_t *desc, void *msg);
static u_char *ngx_http_wt_msg_event(u_char *p, u_char *last, ngx_uint_t kind,
    const pb_msgdesc_t *desc, void *msg);
static u_char *ngx_http_wt_msg_abort(u_char *p, ngx_uint_t kind,
    uint64_t stream_id, uint32_t *code);
static u_char *ngx_http_wt_msg_event_hdr(u_char *p, ngx_uint_t kind,
    size_t len);
static u_char *ngx_http_wt_msg_varint(u_char *p, uint64_t v, ngx_uint_t size);


ngx_int_t
ngx_http_wt_msg_parse_commands(u_char *buf, size_t len,
    ngx_http_wt_command_pt handler, void *data, const char **err)
{
    u_char                   *p, *end, *last;
    ngx_int_t                 rc;
    ngx_http_wt_command_t     cmd;
    ngx_http_wt_msg_parse_t   parse;

    *err = NULL;

    parse.handler = handler;
    parse.data = data;

    last = buf + len;

    for (p = buf; p != last; p = end) {

        end = last;

        if (ngx_http_wt_msg_hot_command(p, &end, &cmd) == NGX_OK) {
            rc = handler(data, &cmd);

        } else {
            rc = ngx_http_wt_msg_parse_part(p, end, &parse, err);
        }

        if (rc != NGX_OK) {
            return rc;
        }
    }

    return NGX_OK;
}


/* some fields of a CommandBatch; such parts in a row make a whole */

static ngx_int_t
ngx_http_wt_msg_parse_part(u_char *p, u_char *last,
    ngx_http_wt_msg_parse_t *parse, const char **err)
{
    pb_istream_t                 stream;
    ngx_http_wt_pb_CommandBatch  batch;

    /* a callback of our own is how others know that its data are in memory */

    ngx_memzero(&stream, sizeof(pb_istream_t));
    stream.callback = ngx_http_wt_pb_read;
    stream.state = p;
    stream.bytes_left = last - p;

    parse->rc = NGX_OK;

    batch.commands = parse;

    if (pb_decode(&stream, &ngx_http_wt_pb_CommandBatch_msg, &batch)) {
        return NGX_OK;
    }

    if (parse->rc != NGX_OK) {
        return parse->rc;
    }

    *err = stream.errmsg ? stream.errmsg : "wrong wire type";

    return NGX_ERROR;
}


ngx_int_t
ngx_http_wt_msg_commands_head(u_char *buf, size_t len, ngx_str_t *session_id,
    uint64_t *seq)
{
    bool            eof;
    uint32_t        tag, n;
    pb_istream_t    stream;
    pb_wire_type_t  type;

    ngx_str_null(session_id);
    *seq = 0;

    stream = pb_istream_from_buffer(buf, len);

    while (pb_decode_tag(&stream, &type, &tag, &eof)) {

        if (tag == NGX_HTTP_WT_MSG_HEAD_ID && type == PB_WT_STRING) {
            if (!pb_decode_varint32(&stream, &n) || n > stream.bytes_left) {
                return NGX_ERROR;
            }

            session_id->data = buf + len - stream.bytes_left;
            session_id->len = n;

            if (!pb_read(&stream, NULL, n)) {
                return NGX_ERROR;
            }

            continue;
        }

        if (tag == NGX_HTTP_WT_MSG_HEAD_SEQ && type == PB_WT_VARINT) {
            if (!pb_decode_varint(&stream, seq)) {
                return NGX_ERROR;
            }

            continue;
        }

        if (!pb_skip_field(&stream, type)) {
            return NGX_ERROR;
        }
    }

    return eof ? NGX_OK : NGX_ERROR;
}


static bool
ngx_http_wt_pb_read(pb_istream_t *stream, pb_byte_t *buf, size_t n)
{
    u_char  *p;

    p = stream->state;
    stream->state = p + n;

    if (n == 1) {
        *buf = *p;
        return true;
    }

    ngx_memcpy(buf, p, n);

    return true;
}


/*
 * Callbacks of nanopb, named in webtransport.options.  They are called with an
 * input stream, limited to the field, or with an output stream.
 */


bool
ngx_http_wt_pb_commands(pb_istream_t *istream, pb_ostream_t *ostream,
    const pb_field_t *field)
{
    ngx_http_wt_command_t     cmd;
    ngx_http_wt_msg_parse_t  *parse;

    if (istream == NULL) {
        return false;
    }

    if (istream->callback != ngx_http_wt_pb_read) {
        PB_RETURN_ERROR(istream, "wrong wire type");
    }

    /* members of the union are initialized when they are found */

    cmd.id = 0;
    cmd.which_kind = NGX_HTTP_WT_CMD_UNKNOWN;

    if (!pb_decode_ex(istream, &ngx_http_wt_pb_Command_msg, &cmd,
                      PB_DECODE_NOINIT))
    {
        return false;
    }

    parse = *(void **) field->pData;

    parse->rc = parse->handler(parse->data, &cmd);

    return (parse->rc == NGX_OK);
}


bool
ngx_http_wt_pb_accept(pb_istream_t *istream, pb_ostream_t *ostream,
    const pb_field_t *field)
{
    uint64_t     v;
    ngx_uint_t  *bits;

    if (field->tag != ngx_http_wt_pb_Accept_notify_tag) {
        return ngx_http_wt_pb_str(istream, ostream, field);
    }

    if (istream == NULL) {
        return false;
    }

    /* packed or not; called again as long as there is input */

    if (istream->bytes_left == 0) {
        return true;
    }

    if (!pb_decode_varint(istream, &v)) {
        return false;
    }

    bits = field->pData;

    if (v < 32) {
        *bits |= (ngx_uint_t) 1 << v;
    }

    return true;
}


bool
ngx_http_wt_pb_connect(pb_istream_t *istream, pb_ostream_t *ostream,
    const pb_field_t *field)
{
    ngx_str_t    *str;
    ngx_uint_t    i;
    ngx_array_t  *a;

    if (field->tag != ngx_http_wt_pb_Connect_protocols_tag) {
        return ngx_http_wt_pb_str(istream, ostream, field);
    }

    if (ostream == NULL) {
        return false;
    }

    a = *(void **) field->pData;

    if (a == NULL) {
        return true;
    }

    str = a->elts;

    for (i = 0; i < a->nelts; i++) {
        if (!ngx_http_wt_pb_encode_str(ostream, field, &str[i])) {
            return false;
        }
    }

    return true;
}


bool
ngx_http_wt_pb_str(pb_istream_t *istream, pb_ostream_t *ostream,
    const pb_field_t *field)
{
    ngx_str_t  *str;

    if (istream) {
        return ngx_http_wt_pb_decode_str(istream, field);
    }

    str = field->pData;

    if (str->len == 0) {
        return true;
    }

    return ngx_http_wt_pb_encode_str(ostream, field, str);
}


static bool
ngx_http_wt_pb_decode_str(pb_istream_t *stream, const pb_field_t *field)
{
    ngx_str_t  *str;

    /* for other wire types nanopb passes a copy of the value on its stack */

    if (stream->callback != ngx_http_wt_pb_read) {
        PB_RETURN_ERROR(stream, "wrong wire type");
    }

    str = field->pData;

    str->data = stream->state;
    str->len = stream->bytes_left;

    stream->state = str->data + str->len;
    stream->bytes_left = 0;

    if (PB_LTYPE(field->type) == PB_LTYPE_STRING
        && !ngx_http_wt_utf8_valid(str->data, str->len))
    {
        PB_RETURN_ERROR(stream, "invalid utf-8");
    }

    return true;
}


static bool
ngx_http_wt_pb_encode_str(pb_ostream_t *stream, const pb_field_t *field,
    ngx_str_t *str)
{
    return pb_encode_tag_for_field(stream, field)
           && pb_encode_string(stream, str->data, str->len);
}


size_t
ngx_http_wt_msg_batch_len(ngx_http_wt_msg_batch_t *batch)
{
    size_t  len;

    if (!pb_get_encoded_size(&len, &ngx_http_wt_pb_EventBatch_msg, batch)) {
        return 0;
    }

    return len;
}


u_char *
ngx_http_wt_msg_batch(u_char *p, u_char *last, ngx_http_wt_msg_batch_t *batch)
{
    pb_ostream_t  stream;

    stream = pb_ostream_from_buffer(p, last - p);

    if (!pb_encode(&stream, &ngx_http_wt_pb_EventBatch_msg, batch)) {
        return NULL;
    }

    return p + stream.bytes_written;
}


u_char *
ngx_http_wt_msg_data_hdr(u_char *p, uint64_t stream_id, ngx_uint_t open,
    ngx_uint_t fin, size_t len)
{
    size_t  size;

    size = NGX_HTTP_WT_MSG_DATA_HDR - NGX_HTTP_WT_MSG_EVENT_HDR + len;

    p = ngx_http_wt_msg_event_hdr(p, ngx_http_wt_pb_Event_data_tag, size);

    *p++ = ngx_http_wt_msg_tag(StreamData_stream_id, PB_WT_VARINT);
    p = ngx_http_wt_msg_varint(p, stream_id, NGX_HTTP_WT_MSG_ID_SIZE);

    *p++ = ngx_http_wt_msg_tag(StreamData_fin, PB_WT_VARINT);
    *p++ = (u_char) (fin ? 1 : 0);

    *p++ = ngx_http_wt_msg_tag(StreamData_open, PB_WT_VARINT);
    *p++ = (u_char) open;

    *p++ = ngx_http_wt_msg_tag(StreamData_data, PB_WT_STRING);

    return ngx_http_wt_msg_varint(p, len, NGX_HTTP_WT_MSG_LEN_SIZE);
}


u_char *
ngx_http_wt_msg_datagram_hdr(u_char *p, size_t len)
{
    size_t  size;

    size = NGX_HTTP_WT_MSG_DATAGRAM_HDR - NGX_HTTP_WT_MSG_EVENT_HDR + len;

    p = ngx_http_wt_msg_event_hdr(p, ngx_http_wt_pb_Event_datagram_tag, size);

    *p++ = ngx_http_wt_msg_tag(Datagram_data, PB_WT_STRING);

    return ngx_http_wt_msg_varint(p, len, NGX_HTTP_WT_MSG_LEN_SIZE);
}


u_char *
ngx_http_wt_msg_reset(u_char *p, uint64_t stream_id, uint32_t *code)
{
    return ngx_http_wt_msg_abort(p, ngx_http_wt_pb_Event_reset_tag, stream_id,
                                 code);
}


u_char *
ngx_http_wt_msg_stop(u_char *p, uint64_t stream_id, uint32_t *code)
{
    return ngx_http_wt_msg_abort(p, ngx_http_wt_pb_Event_stop_tag, stream_id,
                                 code);
}


static u_char *
ngx_http_wt_msg_abort(u_char *p, ngx_uint_t kind, uint64_t stream_id,
    uint32_t *code)
{
    ngx_http_wt_msg_abort_t  msg;

    msg.stream_id = stream_id;
    msg.has_code = (code != NULL);
    msg.code = code ? *code : 0;

    return ngx_http_wt_msg_event(p, p + NGX_HTTP_WT_MSG_EVENT_MAX, kind,
                                 &ngx_http_wt_pb_StreamAbort_msg, &msg);
}


u_char *
ngx_http_wt_msg_credit(u_char *p, ngx_http_wt_msg_credit_t *credit)
{
    return ngx_http_wt_msg_event(p, p + NGX_HTTP_WT_MSG_EVENT_MAX,
                                 ngx_http_wt_pb_Event_credit_tag,
                                 &ngx_http_wt_pb_Credit_msg, credit);
}


u_char *
ngx_http_wt_msg_drain(u_char *p, ngx_uint_t by, uint32_t deadline_ms)
{
    ngx_http_wt_msg_drain_t  msg;

    msg.by = by;
    msg.deadline_ms = deadline_ms;

    return ngx_http_wt_msg_event(p, p + NGX_HTTP_WT_MSG_EVENT_MAX,
                                 ngx_http_wt_pb_Event_drain_tag,
                                 &ngx_http_wt_pb_Drain_msg, &msg);
}


u_char *
ngx_http_wt_msg_ping(u_char *p, uint64_t id)
{
    ngx_http_wt_msg_ping_t  msg;

    msg.id = id;

    return ngx_http_wt_msg_event(p, p + NGX_HTTP_WT_MSG_EVENT_MAX,
                                 ngx_http_wt_pb_Event_ping_tag,
                                 &ngx_http_wt_pb_Ping_msg, &msg);
}


u_char *
ngx_http_wt_msg_pong(u_char *p, uint64_t id)
{
    ngx_http_wt_msg_ping_t  msg;

    msg.id = id;

    return ngx_http_wt_msg_event(p, p + NGX_HTTP_WT_MSG_EVENT_MAX,
                                 ngx_http_wt_pb_Event_pong_tag,
                                 &ngx_http_wt_pb_Ping_msg, &msg);
}


size_t
ngx_http_wt_msg_connect_len(ngx_http_wt_msg_connect_t *connect)
{
    return ngx_http_wt_msg_event_len(&ngx_http_wt_pb_Connect_msg, connect);
}


u_char *
ngx_http_wt_msg_connect(u_char *p, u_char *last,
    ngx_http_wt_msg_connect_t *connect)
{
    return ngx_http_wt_msg_event(p, last, ngx_http_wt_pb_Event_connect_tag,
                                 &ngx_http_wt_pb_Connect_msg, connect);
}


size_t
ngx_http_wt_msg_closed_len(ngx_http_wt_msg_closed_t *closed)
{
    return ngx_http_wt_msg_event_len(&ngx_http_wt_pb_Closed_msg, closed);
}


u_char *
ngx_http_wt_msg_closed(u_char *p, u_char *last,
    ngx_http_wt_msg_closed_t *closed)
{
    return ngx_http_wt_msg_event(p, last, ngx_http_wt_pb_Event_closed_tag,
                                 &ngx_http_wt_pb_Closed_msg, closed);
}


size_t
ngx_http_wt_msg_result_len(ngx_http_wt_msg_result_t *result)
{
    return ngx_http_wt_msg_event_len(&ngx_http_wt_pb_Result_msg, result);
}


u_char *
ngx_http_wt_msg_result(u_char *p, u_char *last,
    ngx_http_wt_msg_result_t *result)
{
    return ngx_http_wt_msg_event(p, last, ngx_http_wt_pb_Event_result_tag,
                                 &ngx_http_wt_pb_Result_msg, result);
}


size_t
ngx_http_wt_msg_limits_len(ngx_http_wt_msg_limits_t *limits)
{
    return ngx_http_wt_msg_event_len(&ngx_http_wt_pb_Limits_msg, limits);
}


u_char *
ngx_http_wt_msg_limits(u_char *p, u_char *last,
    ngx_http_wt_msg_limits_t *limits)
{
    return ngx_http_wt_msg_event(p, last, ngx_http_wt_pb_Event_limits_tag,
                                 &ngx_http_wt_pb_Limits_msg, limits);
}


static size_t
ngx_http_wt_msg_event_len(const pb_msgdesc_t *desc, void *msg)
{
    size_t  len;

    if (!pb_get_encoded_size(&len, desc, msg)
        || len > NGX_HTTP_WT_MSG_PAYLOAD_MAX)
    {
        return 0;
    }

    return NGX_HTTP_WT_MSG_EVENT_HDR + len;
}


static u_char *
ngx_http_wt_msg_event(u_char *p, u_char *last, ngx_uint_t kind,
    const pb_msgdesc_t *desc, void *msg)
{
    size_t        len;
    pb_ostream_t  stream;

    if (last - p < NGX_HTTP_WT_MSG_EVENT_HDR) {
        return NULL;
    }

    /* the header has a fixed length, so it can be written last */

    stream = pb_ostream_from_buffer(p + NGX_HTTP_WT_MSG_EVENT_HDR,
                                    last - p - NGX_HTTP_WT_MSG_EVENT_HDR);

    if (!pb_encode(&stream, desc, msg)) {
        return NULL;
    }

    len = stream.bytes_written;

    if (len > NGX_HTTP_WT_MSG_PAYLOAD_MAX) {
        return NULL;
    }

    return ngx_http_wt_msg_event_hdr(p, kind, len) + len;
}


/* EventBatch.events with an Event of "kind", whose fields take "len" bytes */

static u_char *
ngx_http_wt_msg_event_hdr(u_char *p, ngx_uint_t kind, size_t len)
{
    *p++ = ngx_http_wt_msg_tag(EventBatch_events, PB_WT_STRING);
    p = ngx_http_wt_msg_varint(p, 1 + NGX_HTTP_WT_MSG_LEN_SIZE + len,
                               NGX_HTTP_WT_MSG_LEN_SIZE);

    *p++ = (u_char) (kind << 3 | PB_WT_STRING);

    return ngx_http_wt_msg_varint(p, len, NGX_HTTP_WT_MSG_LEN_SIZE);
}


/* a varint of protobuf with exactly "size" bytes */

static u_char *
ngx_http_wt_msg_varint(u_char *p, uint64_t v, ngx_uint_t size)
{
    while (--size) {
        *p++ = (u_char) (v | 0x80);
        v >>= 7;
    }

    *p++ = (u_char) (v & 0x7f);

    return p;
}
