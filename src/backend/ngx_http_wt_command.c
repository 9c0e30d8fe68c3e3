/*
 * Commands of the worker: one function for each kind.
 *
 * A command is run at once and completely, or not at all: if its answer finds
 * no room, or if a stream has more to send than it may hold, the batch is put
 * off with NGX_AGAIN, and given again later from the same command on.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_http.h>
#include <ngx_http_wt_proto.h>
#include <ngx_http_wt_relay.h>
#include <ngx_http_wt_utf8.h>


/* more credit is as good as this */
#define NGX_HTTP_WT_COMMAND_CREDIT  0x3fffffffffffffffLL


/* streams that only the client, or only we can send on */
#define ngx_http_wt_command_client_uni(id)                                    \
    (((id) & (NGX_HTTP_WT_STREAM_UNI|NGX_HTTP_WT_STREAM_LOCAL))               \
     == NGX_HTTP_WT_STREAM_UNI)
#define ngx_http_wt_command_our_uni(id)                                       \
    (((id) & (NGX_HTTP_WT_STREAM_UNI|NGX_HTTP_WT_STREAM_LOCAL))               \
     == (NGX_HTTP_WT_STREAM_UNI|NGX_HTTP_WT_STREAM_LOCAL))


static ngx_int_t ngx_http_wt_command_handler(void *data,
    ngx_http_wt_command_t *cmd);
static ngx_int_t ngx_http_wt_command_run(ngx_http_wt_backend_t *b,
    ngx_http_wt_command_t *cmd);
static ngx_int_t ngx_http_wt_command_data(ngx_http_wt_backend_t *b,
    ngx_http_wt_command_t *cmd);
static ngx_int_t ngx_http_wt_command_open(ngx_http_wt_backend_t *b,
    ngx_http_wt_command_t *cmd);
static ngx_int_t ngx_http_wt_command_push(ngx_http_wt_backend_t *b,
    ngx_http_wt_command_t *cmd);
static ngx_int_t ngx_http_wt_command_new_stream(ngx_http_wt_backend_t *b,
    ngx_http_wt_command_t *cmd, ngx_uint_t uni,
    ngx_http_wt_relay_stream_t **bsp);
static ngx_int_t ngx_http_wt_command_send(ngx_http_wt_backend_t *b,
    ngx_http_wt_command_t *cmd, ngx_http_wt_relay_stream_t *bs);
static ngx_int_t ngx_http_wt_command_write(ngx_http_wt_relay_stream_t *bs,
    ngx_str_t *data, ngx_uint_t message, ngx_uint_t fin);
static ngx_int_t ngx_http_wt_command_overflow(ngx_http_wt_backend_t *b,
    ngx_http_wt_relay_stream_t *bs);
static ngx_int_t ngx_http_wt_command_reset(ngx_http_wt_backend_t *b,
    ngx_http_wt_command_t *cmd);
static ngx_int_t ngx_http_wt_command_stop(ngx_http_wt_backend_t *b,
    ngx_http_wt_command_t *cmd);
static ngx_int_t ngx_http_wt_command_credit(ngx_http_wt_backend_t *b,
    ngx_http_wt_command_t *cmd);
static ngx_http_wt_relay_stream_t *ngx_http_wt_command_gone(
    ngx_http_wt_backend_t *b, uint64_t id);
static ngx_int_t ngx_http_wt_command_datagram(ngx_http_wt_backend_t *b,
    ngx_http_wt_command_t *cmd);
static ngx_int_t ngx_http_wt_command_update(ngx_http_wt_backend_t *b,
    ngx_http_wt_command_t *cmd);
static ngx_int_t ngx_http_wt_command_close(ngx_http_wt_backend_t *b,
    ngx_http_wt_command_t *cmd);
static ngx_int_t ngx_http_wt_command_ping(ngx_http_wt_backend_t *b,
    ngx_http_wt_command_t *cmd);
static ngx_int_t ngx_http_wt_command_find(ngx_http_wt_backend_t *b,
    ngx_http_wt_command_t *cmd, uint64_t id, ngx_http_wt_relay_stream_t **bsp);
static ngx_int_t ngx_http_wt_command_late(ngx_http_wt_backend_t *b,
    ngx_http_wt_command_t *cmd, uint64_t id);


ngx_int_t
ngx_http_wt_relay_input(ngx_http_wt_backend_t *b, u_char *buf, size_t len)
{
    ngx_int_t    rc;
    const char  *err;

    if (b->closing) {
        return NGX_OK;
    }

    b->ncommands = 0;

    rc = ngx_http_wt_msg_parse_commands(buf, len, ngx_http_wt_command_handler,
                                        b, &err);

    if (b->session == NULL) {
        return NGX_DONE;
    }

    if (rc == NGX_AGAIN) {
        b->stalled = 1;
        return NGX_AGAIN;
    }

    b->done = 0;

    if (rc == NGX_ERROR) {
        ngx_http_wt_relay_violation(b, "worker sent a malformed frame: %s",
                                    err);
        return NGX_DONE;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_wt_command_handler(void *data, ngx_http_wt_command_t *cmd)
{
    ngx_int_t               rc;
    ngx_http_wt_backend_t  *b;

    b = data;

    if (b->ncommands++ < b->done) {

        /* run when this batch was here the last time */

        return NGX_OK;
    }

    if (b->blocked
        || (b->result && ngx_http_wt_event_result(b) != NGX_OK))
    {
        return NGX_AGAIN;
    }

    if ((cmd->id || cmd->which_kind == NGX_HTTP_WT_CMD_PING)
        && ngx_http_wt_event_room(b, NGX_HTTP_WT_RELAY_RESULT, 0) == NULL)
    {
        return NGX_AGAIN;
    }

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, b->request->connection->log, 0,
                   "wt session %V command:%ui", &b->session->id,
                   (ngx_uint_t) cmd->which_kind);

    rc = ngx_http_wt_command_run(b, cmd);

    if (b->session == NULL || b->closing) {

        /* commands after the last one are ignored */

        return NGX_DONE;
    }

    b->done++;

    return rc;
}


/* NGX_OK, or NGX_DONE if the session has ended */

static ngx_int_t
ngx_http_wt_command_run(ngx_http_wt_backend_t *b, ngx_http_wt_command_t *cmd)
{
    switch (cmd->which_kind) {

    case NGX_HTTP_WT_CMD_ACCEPT:
        return ngx_http_wt_command_accept(b, cmd);

    case NGX_HTTP_WT_CMD_REJECT:
        return ngx_http_wt_command_reject(b, cmd);

    case NGX_HTTP_WT_CMD_PING:
        return ngx_http_wt_command_ping(b, cmd);

    case NGX_HTTP_WT_CMD_PONG:
        return ngx_http_wt_command_ok(b, cmd, 0);

    case NGX_HTTP_WT_CMD_UNKNOWN:
    case NGX_HTTP_WT_CMD_PRIORITY:

        return (cmd->id == 0) ? NGX_OK
               : ngx_http_wt_command_result(b, cmd,
                                            NGX_HTTP_WT_RESULT_UNIMPLEMENTED,
                                            "unknown command", 0);
    }

    if (!b->accepted) {
        ngx_http_wt_relay_violation(b, "worker sent a command before Accept");
        return NGX_DONE;
    }

    switch (cmd->which_kind) {

    case NGX_HTTP_WT_CMD_DATA:
        return ngx_http_wt_command_data(b, cmd);

    case NGX_HTTP_WT_CMD_RESET:
        return ngx_http_wt_command_reset(b, cmd);

    case NGX_HTTP_WT_CMD_STOP:
        return ngx_http_wt_command_stop(b, cmd);

    case NGX_HTTP_WT_CMD_DATAGRAM:
        return ngx_http_wt_command_datagram(b, cmd);

    case NGX_HTTP_WT_CMD_CREDIT:
        return ngx_http_wt_command_credit(b, cmd);

    case NGX_HTTP_WT_CMD_UPDATE:
        return ngx_http_wt_command_update(b, cmd);

    case NGX_HTTP_WT_CMD_DRAIN:
        ngx_http_wt_session_drain(b->session);
        return ngx_http_wt_command_ok(b, cmd, 0);

    default: /* NGX_HTTP_WT_CMD_CLOSE, NGX_HTTP_WT_CMD_ABORT */
        return ngx_http_wt_command_close(b, cmd);
    }
}


static ngx_int_t
ngx_http_wt_command_data(ngx_http_wt_backend_t *b, ngx_http_wt_command_t *cmd)
{
    ngx_int_t                    rc;
    ngx_http_wt_msg_data_t      *data;
    ngx_http_wt_relay_stream_t  *bs;

    data = &cmd->kind.data;

    if (data->open != NGX_HTTP_WT_OPEN_NONE) {
        return ngx_http_wt_command_open(b, cmd);
    }

    if (data->stream_id == 0) {
        return ngx_http_wt_command_push(b, cmd);
    }

    if (ngx_http_wt_command_client_uni(data->stream_id)) {
        ngx_http_wt_relay_violation(b, "worker sent data on stream %uL, on "
                                    "which only the client can send",
                                    data->stream_id);
        return NGX_DONE;
    }

    rc = ngx_http_wt_command_find(b, cmd, data->stream_id, &bs);
    if (rc != NGX_OK) {
        return (rc == NGX_DECLINED) ? NGX_OK : rc;
    }

    if (bs->finished) {
        return ngx_http_wt_command_result(b, cmd,
                                       NGX_HTTP_WT_RESULT_FAILED_PRECONDITION,
                                       "data after the end of the stream",
                                       bs->id);
    }

    if (bs->stream->send_done) {
        return ngx_http_wt_command_late(b, cmd, bs->id);
    }

    return ngx_http_wt_command_send(b, cmd, bs);
}


static ngx_int_t
ngx_http_wt_command_open(ngx_http_wt_backend_t *b, ngx_http_wt_command_t *cmd)
{
    ngx_int_t                    rc;
    ngx_uint_t                   open;
    ngx_http_wt_relay_stream_t  *bs;

    open = (ngx_uint_t) cmd->kind.data.open;

    if (open > NGX_HTTP_WT_OPEN_UNI) {
        return ngx_http_wt_command_result(b, cmd,
                                          NGX_HTTP_WT_RESULT_INVALID_ARGUMENT,
                                          "unknown kind of stream",
                                          cmd->kind.data.stream_id);
    }

    rc = ngx_http_wt_command_new_stream(b, cmd, open == NGX_HTTP_WT_OPEN_UNI,
                                        &bs);
    if (rc != NGX_OK) {
        return (rc == NGX_DECLINED) ? NGX_OK : rc;
    }

    return ngx_http_wt_command_send(b, cmd, bs);
}


/* one stream per session that carries messages whatever the framing is */

static ngx_int_t
ngx_http_wt_command_push(ngx_http_wt_backend_t *b, ngx_http_wt_command_t *cmd)
{
    ngx_int_t                    rc;
    ngx_http_wt_relay_stream_t  *bs;

    if (cmd->kind.data.fin) {
        return ngx_http_wt_command_result(b, cmd,
                                          NGX_HTTP_WT_RESULT_INVALID_ARGUMENT,
                                          "the push stream has no end", 0);
    }

    if (!b->push_opened) {

        rc = ngx_http_wt_command_new_stream(b, cmd, 1, &bs);
        if (rc != NGX_OK) {
            return (rc == NGX_DECLINED) ? NGX_OK : rc;
        }

        bs->framing = (b->framing == NGX_HTTP_WT_FRAMING_LINES)
                          ? NGX_HTTP_WT_FRAMING_LINES
                          : NGX_HTTP_WT_FRAMING_U32;
        b->push = bs;
        b->push_opened = 1;
    }

    bs = b->push;

    if (bs == NULL || bs->stream == NULL || bs->stream->send_done) {
        return ngx_http_wt_command_late(b, cmd, bs ? bs->id : 0);
    }

    return ngx_http_wt_command_send(b, cmd, bs);
}


/* NGX_DECLINED: the command has been answered */

static ngx_int_t
ngx_http_wt_command_new_stream(ngx_http_wt_backend_t *b,
    ngx_http_wt_command_t *cmd, ngx_uint_t uni,
    ngx_http_wt_relay_stream_t **bsp)
{
    uint64_t                     id;
    ngx_int_t                    rc;
    ngx_http_wt_stream_t        *ws;
    ngx_http_wt_relay_stream_t  *bs;

    id = cmd->kind.data.stream_id;

    rc = ngx_http_wt_session_open(b->session, id, uni, &ws);

    if (rc == NGX_DECLINED) {
        ngx_http_wt_relay_violation(b, "worker opened stream %uL, which is not "
                                    "a new id of that kind", id);
        return NGX_DONE;
    }

    b->opened[uni]++;
    bs = NULL;

    if (rc == NGX_OK) {
        bs = ngx_http_wt_relay_add_stream(b, ws);

        if (bs == NULL) {
            ngx_http_wt_stream_stop(ws, NGX_HTTP_WT_BY_LIMIT);
            ngx_http_wt_stream_reset(ws, NGX_HTTP_WT_BY_LIMIT);
        }
    }

    if (bs == NULL) {
        (void) ngx_http_wt_command_result(b, cmd,
                                        NGX_HTTP_WT_RESULT_RESOURCE_EXHAUSTED,
                                        "no more streams at the moment", id);
        return NGX_DECLINED;
    }

    bs->announced = 1;
    bs->fin = uni;

    *bsp = bs;

    return NGX_OK;
}


static ngx_int_t
ngx_http_wt_command_send(ngx_http_wt_backend_t *b, ngx_http_wt_command_t *cmd,
    ngx_http_wt_relay_stream_t *bs)
{
    ngx_uint_t               message, fin;
    ngx_http_wt_msg_data_t  *data;

    data = &cmd->kind.data;

    /* without data, "open" or "fin" stand alone */

    fin = data->fin;
    message = data->data.len || !(fin || data->open);

    if (bs->framing == NGX_HTTP_WT_FRAMING_WHOLE
        && (message || data->open == NGX_HTTP_WT_OPEN_NONE))
    {
        /* a message is the stream, its end belongs to it */

        fin = 1;
    }

    if (bs->framing == NGX_HTTP_WT_FRAMING_LINES && data->data.len
        && memchr(data->data.data, LF, data->data.len))
    {
        return ngx_http_wt_command_result(b, cmd,
                                          NGX_HTTP_WT_RESULT_INVALID_ARGUMENT,
                                          "a message contains a line feed",
                                          bs->id);
    }

    if (ngx_http_wt_command_write(bs, &data->data, message, fin) != NGX_OK) {
        ngx_http_wt_relay_end(b, NGX_HTTP_WT_BY_LIMIT,
                              NGX_HTTP_INTERNAL_SERVER_ERROR,
                              "no memory for data to the client");
        return NGX_DONE;
    }

    bs->finished = fin;

    if (ngx_http_wt_command_overflow(b, bs) != NGX_OK) {
        return NGX_DONE;
    }

    if (ngx_http_wt_relay_credit(b, bs)) {
        ngx_http_wt_relay_queue(b, bs);
    }

    return ngx_http_wt_command_ok(b, cmd, bs->id);
}


/* the boundary counts as data: it takes memory just as well */

static ngx_int_t
ngx_http_wt_command_write(ngx_http_wt_relay_stream_t *bs, ngx_str_t *data,
    ngx_uint_t message, ngx_uint_t fin)
{
    u_char                 len[NGX_HTTP_WT_FRAMING_U32_LEN];
    static u_char          lf[] = { LF };
    ngx_http_wt_stream_t  *ws;

    ws = bs->stream;

    bs->received += data->len;

    if (message && bs->framing == NGX_HTTP_WT_FRAMING_U32) {

        len[0] = (u_char) (data->len >> 24);
        len[1] = (u_char) (data->len >> 16);
        len[2] = (u_char) (data->len >> 8);
        len[3] = (u_char) data->len;

        bs->received += NGX_HTTP_WT_FRAMING_U32_LEN;

        if (ngx_http_wt_stream_send(ws, len, NGX_HTTP_WT_FRAMING_U32_LEN, 0)
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    if (message && bs->framing == NGX_HTTP_WT_FRAMING_LINES) {

        bs->received += sizeof(lf);

        if (ngx_http_wt_stream_send(ws, data->data, data->len, 0) != NGX_OK) {
            return NGX_ERROR;
        }

        return ngx_http_wt_stream_send(ws, lf, sizeof(lf), fin);
    }

    return ngx_http_wt_stream_send(ws, data->data, data->len, fin);
}


static ngx_int_t
ngx_http_wt_command_overflow(ngx_http_wt_backend_t *b,
    ngx_http_wt_relay_stream_t *bs)
{
    size_t  window;

    window = b->conf->upstream.buffer_size;

    if (bs->stream->pending <= window) {
        return NGX_OK;
    }

    if (b->overflow == NGX_HTTP_WT_OVERFLOW_CLOSE) {

        if (bs->framing != NGX_HTTP_WT_FRAMING_RAW
            && bs->stream->pending <= 2 * window)
        {
            /* a worker does not see the boundaries that it pays for */

            return NGX_OK;
        }

        ngx_http_wt_relay_end(b, NGX_HTTP_WT_BY_LIMIT,
                              NGX_HTTP_INTERNAL_SERVER_ERROR,
                              "worker sent more than a stream may hold");
        return NGX_DONE;
    }

    b->blocked = bs;

    return NGX_OK;
}


static ngx_int_t
ngx_http_wt_command_reset(ngx_http_wt_backend_t *b, ngx_http_wt_command_t *cmd)
{
    ngx_int_t                    rc;
    ngx_http_wt_stream_t        *ws;
    ngx_http_wt_msg_abort_t     *reset;
    ngx_http_wt_relay_stream_t  *bs;

    reset = &cmd->kind.reset;

    rc = ngx_http_wt_command_find(b, cmd, reset->stream_id, &bs);
    if (rc != NGX_OK) {
        return (rc == NGX_DECLINED) ? NGX_OK : rc;
    }

    if (ngx_http_wt_command_client_uni(bs->id)) {
        return ngx_http_wt_command_result(b, cmd,
                                       NGX_HTTP_WT_RESULT_FAILED_PRECONDITION,
                                       "only the client sends on this stream",
                                       bs->id);
    }

    ws = bs->stream;

    if (ws->send_done && !ws->fin_pending) {
        return ngx_http_wt_command_late(b, cmd, bs->id);
    }

    bs->finished = 1;

    ngx_http_wt_stream_reset(ws, reset->has_code ? reset->code : 0);
    ngx_http_wt_relay_unblock(b, bs);

    return ngx_http_wt_command_ok(b, cmd, bs->id);
}


static ngx_int_t
ngx_http_wt_command_stop(ngx_http_wt_backend_t *b, ngx_http_wt_command_t *cmd)
{
    ngx_int_t                    rc;
    ngx_http_wt_msg_abort_t     *stop;
    ngx_http_wt_relay_stream_t  *bs;

    stop = &cmd->kind.stop;

    rc = ngx_http_wt_command_find(b, cmd, stop->stream_id, &bs);
    if (rc != NGX_OK) {
        return (rc == NGX_DECLINED) ? NGX_OK : rc;
    }

    if (ngx_http_wt_command_our_uni(bs->id)) {
        return ngx_http_wt_command_result(b, cmd,
                                       NGX_HTTP_WT_RESULT_FAILED_PRECONDITION,
                                       "the client cannot send on this stream",
                                       bs->id);
    }

    if (bs->fin || bs->reset) {
        return ngx_http_wt_command_late(b, cmd, bs->id);
    }

    /* nothing more of this stream is told, not even what has been read */

    bs->announced = 1;
    bs->readable = 0;
    bs->fin = 1;

    ngx_http_wt_framing_free(&bs->input);

    ngx_http_wt_stream_stop(bs->stream, stop->has_code ? stop->code : 0);

    return ngx_http_wt_command_ok(b, cmd, bs->id);
}


static ngx_int_t
ngx_http_wt_command_credit(ngx_http_wt_backend_t *b,
    ngx_http_wt_command_t *cmd)
{
    ngx_int_t                    rc;
    ngx_http_wt_msg_credit_t    *credit;
    ngx_http_wt_relay_stream_t  *bs;

    credit = &cmd->kind.credit;

    if (b->window == 0) {
        return ngx_http_wt_command_result(b, cmd,
                                       NGX_HTTP_WT_RESULT_FAILED_PRECONDITION,
                                       "Accept.stream_window was not set",
                                       credit->stream_id);
    }

    bs = ngx_http_wt_command_gone(b, credit->stream_id);

    if (bs == NULL) {
        rc = ngx_http_wt_command_find(b, cmd, credit->stream_id, &bs);
        if (rc != NGX_OK) {
            return (rc == NGX_DECLINED) ? NGX_OK : rc;
        }
    }

    bs->credit += (int64_t) ngx_min(credit->bytes,
                                    NGX_HTTP_WT_COMMAND_CREDIT);
    bs->credit = ngx_min(bs->credit, NGX_HTTP_WT_COMMAND_CREDIT);

    if (bs->readable || bs->eof || bs->input.pos != bs->input.last) {
        ngx_http_wt_relay_queue(b, bs);
    }

    return ngx_http_wt_command_ok(b, cmd, bs->id);
}


/* a stream that has ended, but whose messages wait for this credit */

static ngx_http_wt_relay_stream_t *
ngx_http_wt_command_gone(ngx_http_wt_backend_t *b, uint64_t id)
{
    ngx_queue_t                 *q;
    ngx_http_wt_relay_stream_t  *bs;

    if (b->ngone == 0) {
        return NULL;
    }

    for (q = ngx_queue_head(&b->streams);
         q != ngx_queue_sentinel(&b->streams);
         q = ngx_queue_next(q))
    {
        bs = ngx_queue_data(q, ngx_http_wt_relay_stream_t, queue);

        if (bs->gone && bs->id == id) {
            return bs;
        }
    }

    return NULL;
}


static ngx_int_t
ngx_http_wt_command_datagram(ngx_http_wt_backend_t *b,
    ngx_http_wt_command_t *cmd)
{
    ngx_http_wt_msg_datagram_t  *dg;

    dg = &cmd->kind.datagram;

    if (ngx_http_wt_session_datagram(b->session, dg->data.data, dg->data.len,
                                     dg->ttl_ms)
        == NGX_DECLINED)
    {
        return ngx_http_wt_command_result(b, cmd,
                                          NGX_HTTP_WT_RESULT_OUT_OF_RANGE,
                                          "the datagram is too long", 0);
    }

    return ngx_http_wt_command_ok(b, cmd, 0);
}


static ngx_int_t
ngx_http_wt_command_update(ngx_http_wt_backend_t *b,
    ngx_http_wt_command_t *cmd)
{
    ngx_int_t  rc;

    rc = ngx_http_wt_context_update(&b->context, &cmd->kind.update,
                                    b->request->connection->log);
    if (rc != NGX_OK) {
        return ngx_http_wt_command_result(b, cmd,
                                        NGX_HTTP_WT_RESULT_RESOURCE_EXHAUSTED,
                                        "too much user and metadata", 0);
    }

    return ngx_http_wt_command_ok(b, cmd, 0);
}


static ngx_int_t
ngx_http_wt_command_close(ngx_http_wt_backend_t *b, ngx_http_wt_command_t *cmd)
{
    ngx_str_t                 reason;
    ngx_http_wt_msg_close_t  *close;

    (void) ngx_http_wt_command_ok(b, cmd, 0);

    b->closing = 1;

    if (cmd->which_kind == NGX_HTTP_WT_CMD_ABORT) {
        ngx_http_wt_session_abort(b->session, NGX_HTTP_WT_BY_WORKER);
        return NGX_DONE;
    }

    close = &cmd->kind.close;

    reason = close->reason;
    reason.len = ngx_http_wt_utf8_cut(reason.data, reason.len,
                                      NGX_HTTP_WT_REASON_MAX);

    if (close->flush_ms) {
        ngx_http_wt_session_flush_close(b->session, NGX_HTTP_WT_BY_WORKER,
                                        close->code, &reason,
                                        close->flush_ms);
        return NGX_DONE;
    }

    ngx_http_wt_session_close(b->session, NGX_HTTP_WT_BY_WORKER, close->code,
                              &reason);
    return NGX_DONE;
}


static ngx_int_t
ngx_http_wt_command_ping(ngx_http_wt_backend_t *b, ngx_http_wt_command_t *cmd)
{
    u_char  *p;

    p = ngx_http_wt_event_room(b, NGX_HTTP_WT_MSG_EVENT_MAX, 0);

    if (p) {
        p = ngx_http_wt_msg_pong(p, cmd->kind.ping.id);
        ngx_http_wt_event_done(b, p);
    }

    return ngx_http_wt_command_ok(b, cmd, 0);
}


/*
 * NGX_OK; NGX_DECLINED: the stream is gone, which has been said; NGX_DONE:
 * there never was such a stream, the session has ended.
 */

static ngx_int_t
ngx_http_wt_command_find(ngx_http_wt_backend_t *b, ngx_http_wt_command_t *cmd,
    uint64_t id, ngx_http_wt_relay_stream_t **bsp)
{
    ngx_int_t              rc;
    ngx_http_wt_stream_t  *ws;

    rc = ngx_http_wt_session_find(b->session, id, &ws);

    if (rc == NGX_OK && ws->peer) {
        *bsp = ws->peer;
        return NGX_OK;
    }

    if (rc == NGX_ERROR) {
        ngx_http_wt_relay_violation(b, "worker named stream %uL, which never "
                                    "existed", id);
        return NGX_DONE;
    }

    (void) ngx_http_wt_command_late(b, cmd, id);

    return NGX_DECLINED;
}


/* a command for what has ended meanwhile is not an error: it crossed the end */

static ngx_int_t
ngx_http_wt_command_late(ngx_http_wt_backend_t *b, ngx_http_wt_command_t *cmd,
    uint64_t id)
{
    b->session->counters.ignored++;

    if (cmd->id == 0) {
        return NGX_OK;
    }

    return ngx_http_wt_command_result(b, cmd,
                                      NGX_HTTP_WT_RESULT_FAILED_PRECONDITION,
                                      "the stream has ended", id);
}


ngx_int_t
ngx_http_wt_command_result(ngx_http_wt_backend_t *b,
    ngx_http_wt_command_t *cmd, ngx_uint_t status, const char *message,
    uint64_t stream_id)
{
    if (cmd->id == 0 && status == NGX_HTTP_WT_RESULT_OK) {
        return NGX_OK;
    }

    b->result = 1;
    b->result_id = cmd->id;
    b->result_status = status;
    b->result_message = message;
    b->result_stream = stream_id;

    /* without room, it is told before the next command is run */

    (void) ngx_http_wt_event_result(b);

    return NGX_OK;
}
