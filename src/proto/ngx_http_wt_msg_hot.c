
/*
 * Copyright (C) The WebTransport for nginx authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http_wt_msg_hot.h>


/* a varint of so many bytes cannot overflow */
#define NGX_HTTP_WT_MSG_HOT_VARINT  9

/* the key of a field with a number below 16 */
#define ngx_http_wt_msg_hot_key(field, type)                                  \
    (ngx_http_wt_pb_##field##_tag << 3 | (type))


static ngx_int_t ngx_http_wt_msg_hot_data(u_char *p, u_char *last,
    ngx_http_wt_msg_data_t *data);
static ngx_int_t ngx_http_wt_msg_hot_datagram(u_char *p, u_char *last,
    ngx_http_wt_msg_datagram_t *dg);
static u_char *ngx_http_wt_msg_hot_bytes(u_char *p, u_char *last,
    uint64_t len, ngx_str_t *value);
static u_char *ngx_http_wt_msg_hot_varint(u_char *p, u_char *last,
    uint64_t *v);


ngx_int_t
ngx_http_wt_msg_hot_command(u_char *p, u_char **end,
    ngx_http_wt_command_t *cmd)
{
    u_char    *last, *kind;
    uint64_t   len;

    if (*p != ngx_http_wt_msg_hot_key(CommandBatch_commands, PB_WT_STRING)) {
        return NGX_DECLINED;
    }

    p = ngx_http_wt_msg_hot_varint(p + 1, *end, &len);

    if (p == NULL || len > (uint64_t) (*end - p)) {
        return NGX_DECLINED;
    }

    last = p + len;
    *end = last;

    cmd->id = 0;

    if (p != last && *p == ngx_http_wt_msg_hot_key(Command_id, PB_WT_VARINT)) {

        p = ngx_http_wt_msg_hot_varint(p + 1, last, &cmd->id);
        if (p == NULL) {
            return NGX_DECLINED;
        }
    }

    /* and one kind, with which the command ends */

    if (p == last) {
        return NGX_DECLINED;
    }

    kind = p;
    p = ngx_http_wt_msg_hot_varint(p + 1, last, &len);

    if (p == NULL || len != (uint64_t) (last - p)) {
        return NGX_DECLINED;
    }

    switch (*kind) {

    case ngx_http_wt_msg_hot_key(Command_data, PB_WT_STRING):
        cmd->which_kind = NGX_HTTP_WT_CMD_DATA;
        return ngx_http_wt_msg_hot_data(p, last, &cmd->kind.data);

    case ngx_http_wt_msg_hot_key(Command_datagram, PB_WT_STRING):
        cmd->which_kind = NGX_HTTP_WT_CMD_DATAGRAM;
        return ngx_http_wt_msg_hot_datagram(p, last, &cmd->kind.datagram);

    default:
        return NGX_DECLINED;
    }
}


static ngx_int_t
ngx_http_wt_msg_hot_data(u_char *p, u_char *last, ngx_http_wt_msg_data_t *data)
{
    u_char    key;
    uint64_t  v;

    ngx_memzero(data, sizeof(ngx_http_wt_msg_data_t));

    while (p != last) {

        key = *p;

        p = ngx_http_wt_msg_hot_varint(p + 1, last, &v);
        if (p == NULL) {
            return NGX_DECLINED;
        }

        switch (key) {

        case ngx_http_wt_msg_hot_key(StreamData_stream_id, PB_WT_VARINT):
            data->stream_id = v;
            break;

        case ngx_http_wt_msg_hot_key(StreamData_data, PB_WT_STRING):

            p = ngx_http_wt_msg_hot_bytes(p, last, v, &data->data);
            if (p == NULL) {
                return NGX_DECLINED;
            }

            break;

        case ngx_http_wt_msg_hot_key(StreamData_fin, PB_WT_VARINT):

            if (v > 1) {
                return NGX_DECLINED;
            }

            data->fin = (v == 1);
            break;

        case ngx_http_wt_msg_hot_key(StreamData_open, PB_WT_VARINT):

            if (v > NGX_HTTP_WT_OPEN_UNI) {
                return NGX_DECLINED;
            }

            data->open = (ngx_http_wt_pb_Open) v;
            break;

        default:
            return NGX_DECLINED;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_wt_msg_hot_datagram(u_char *p, u_char *last,
    ngx_http_wt_msg_datagram_t *dg)
{
    u_char    key;
    uint64_t  v;

    ngx_memzero(dg, sizeof(ngx_http_wt_msg_datagram_t));

    while (p != last) {

        key = *p;

        p = ngx_http_wt_msg_hot_varint(p + 1, last, &v);
        if (p == NULL) {
            return NGX_DECLINED;
        }

        switch (key) {

        case ngx_http_wt_msg_hot_key(Datagram_data, PB_WT_STRING):

            p = ngx_http_wt_msg_hot_bytes(p, last, v, &dg->data);
            if (p == NULL) {
                return NGX_DECLINED;
            }

            break;

        case ngx_http_wt_msg_hot_key(Datagram_ttl_ms, PB_WT_VARINT):

            if (v > 0xffffffff) {
                return NGX_DECLINED;
            }

            dg->ttl_ms = (uint32_t) v;
            break;

        default:
            return NGX_DECLINED;
        }
    }

    return NGX_OK;
}


/* returns the end of the value, or NULL if it is cut short */

static u_char *
ngx_http_wt_msg_hot_bytes(u_char *p, u_char *last, uint64_t len,
    ngx_str_t *value)
{
    if (len > (uint64_t) (last - p)) {
        return NULL;
    }

    value->data = p;
    value->len = len;

    return p + len;
}


/* returns NULL also if the varint is longer than this needs to understand */

static u_char *
ngx_http_wt_msg_hot_varint(u_char *p, u_char *last, uint64_t *v)
{
    uint64_t    value;
    ngx_uint_t  shift;

    value = 0;

    for (shift = 0; shift < 7 * NGX_HTTP_WT_MSG_HOT_VARINT; shift += 7) {

        if (p == last) {
            return NULL;
        }

        value |= (uint64_t) (*p & 0x7f) << shift;

        if (*p++ < 0x80) {
            *v = value;
            return p;
        }
    }

    return NULL;
}
