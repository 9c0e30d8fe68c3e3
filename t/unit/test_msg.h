
/*
 * Copyright (C) The WebTransport for nginx authors
 *
 * Parses a CommandBatch and writes down the commands.
 */


#ifndef _NGX_HTTP_WT_TEST_MSG_H_INCLUDED_
#define _NGX_HTTP_WT_TEST_MSG_H_INCLUDED_


#include "test.h"
#include <ngx_http_wt_utf8.h>
#include <ngx_http_wt_msg.h>


typedef struct {
    /* the frame: strings must point into it */
    test_bytes_t   frame;

    ngx_uint_t     commands;

    /* the handler fails on the command with this number, from 1 */
    ngx_uint_t     stop;

    char           log[65536];
    size_t         len;
} test_commands_t;


static inline void
test_log(test_commands_t *t, const char *fmt, ...)
{
    va_list  args;

    va_start(args, fmt);

    if (t->len < sizeof(t->log) - 8192) {
        t->len += vsnprintf(t->log + t->len, 8192, fmt, args);
    }

    va_end(args);
}


static inline void
test_log_str(test_commands_t *t, const char *name, ngx_str_t *s)
{
    if (s->data) {
        check(s->data >= t->frame.data);
        check(s->data + s->len <= t->frame.data + t->frame.len);
    }

    test_log(t, "%s=%.*s", name, (int) ngx_min(s->len, 4096), s->data);
}


static inline void
test_log_headers(test_commands_t *t, ngx_http_wt_msg_header_t *h, ngx_uint_t n)
{
    ngx_uint_t  i;

    for (i = 0; i < n; i++) {
        test_log_str(t, " name", &h[i].name);
        test_log_str(t, " value", &h[i].value);
    }
}


static inline void
test_log_data(test_commands_t *t, ngx_http_wt_msg_data_t *d)
{
    test_log(t, "data %llu", (unsigned long long) d->stream_id);
    test_log_str(t, " data", &d->data);
    test_log(t, " fin=%d open=%u priority=%u ttl=%u code=%u", d->fin,
             (unsigned) d->open, d->priority, d->ttl_ms, d->ttl_code);
}


static inline void
test_log_abort(test_commands_t *t, const char *kind, ngx_http_wt_msg_abort_t *a)
{
    test_log(t, "%s %llu", kind, (unsigned long long) a->stream_id);

    if (a->has_code) {
        test_log(t, " code=%u", a->code);
    }
}


static inline void
test_log_update(test_commands_t *t, ngx_http_wt_msg_update_t *u)
{
    ngx_uint_t  i;

    test_log_str(t, " user", &u->user_id);

    for (i = 0; i < u->meta_count; i++) {
        test_log_str(t, " key", &u->meta[i].key);
        test_log_str(t, " value", &u->meta[i].value);
    }
}


static inline void
test_log_accept(test_commands_t *t, ngx_http_wt_msg_accept_t *a)
{
    test_log(t, "accept");
    test_log_str(t, " protocol", &a->protocol);
    test_log_headers(t, a->headers, a->headers_count);
    test_log(t, " window=%u framing=%u overflow=%u notify=%x",
             a->stream_window, (unsigned) a->framing, (unsigned) a->overflow,
             (unsigned) a->notify);

    if (a->has_session) {
        test_log_update(t, &a->session);
    }
}


static inline ngx_int_t
test_handler(void *data, ngx_http_wt_command_t *cmd)
{
    test_commands_t *t = data;

    if (++t->commands == t->stop) {
        return NGX_DONE;
    }

    test_log(t, "%llu ", (unsigned long long) cmd->id);

    switch (cmd->which_kind) {

    case NGX_HTTP_WT_CMD_UNKNOWN:
        test_log(t, "unknown");
        break;

    case NGX_HTTP_WT_CMD_ACCEPT:
        test_log_accept(t, &cmd->kind.accept);
        break;

    case NGX_HTTP_WT_CMD_REJECT:
        test_log(t, "reject %u", cmd->kind.reject.status);
        test_log_headers(t, cmd->kind.reject.headers,
                         cmd->kind.reject.headers_count);
        test_log_str(t, " body", &cmd->kind.reject.body);
        break;

    case NGX_HTTP_WT_CMD_DATA:
        test_log_data(t, &cmd->kind.data);
        break;

    case NGX_HTTP_WT_CMD_RESET:
        test_log_abort(t, "reset", &cmd->kind.reset);
        break;

    case NGX_HTTP_WT_CMD_STOP:
        test_log_abort(t, "stop", &cmd->kind.stop);
        break;

    case NGX_HTTP_WT_CMD_DATAGRAM:
        test_log_str(t, "datagram", &cmd->kind.datagram.data);
        test_log(t, " ttl=%u", cmd->kind.datagram.ttl_ms);
        break;

    case NGX_HTTP_WT_CMD_CREDIT:
        test_log(t, "credit %llu bytes=%llu",
                 (unsigned long long) cmd->kind.credit.stream_id,
                 (unsigned long long) cmd->kind.credit.bytes);
        break;

    case NGX_HTTP_WT_CMD_PRIORITY:
        test_log(t, "priority %llu %u",
                 (unsigned long long) cmd->kind.priority.stream_id,
                 cmd->kind.priority.priority);
        break;

    case NGX_HTTP_WT_CMD_DRAIN:
        test_log(t, "drain %u", cmd->kind.drain.deadline_ms);
        break;

    case NGX_HTTP_WT_CMD_CLOSE:
        test_log(t, "close %u", cmd->kind.close.code);
        test_log_str(t, " reason", &cmd->kind.close.reason);
        test_log(t, " flush=%u", cmd->kind.close.flush_ms);

        check(ngx_http_wt_utf8_valid(cmd->kind.close.reason.data,
                                     cmd->kind.close.reason.len));
        break;

    case NGX_HTTP_WT_CMD_UPDATE:
        test_log(t, "update");
        test_log_update(t, &cmd->kind.update);
        break;

    case NGX_HTTP_WT_CMD_ABORT:
        test_log(t, "abort");
        break;

    case NGX_HTTP_WT_CMD_PING:
        test_log(t, "ping %llu", (unsigned long long) cmd->kind.ping.id);
        break;

    case NGX_HTTP_WT_CMD_PONG:
        test_log(t, "pong %llu", (unsigned long long) cmd->kind.pong.id);
        break;

    default:
        check(cmd->which_kind == NGX_HTTP_WT_CMD_UNKNOWN);
    }

    test_log(t, ";");

    return NGX_OK;
}


/* parses a copy, in memory of exactly its size */

static inline ngx_int_t
test_parse(test_commands_t *t, const u_char *data, size_t len,
    ngx_uint_t stop)
{
    ngx_int_t    rc;
    const char  *err;

    t->frame = test_copy(data, len);
    t->commands = 0;
    t->stop = stop;
    t->len = 0;
    t->log[0] = '\0';

    rc = ngx_http_wt_msg_parse_commands(t->frame.data, t->frame.len,
                                        test_handler, t, &err);

    check((err != NULL) == (rc == NGX_ERROR));

    if (err) {
        test_log(t, "malformed: %s", err);
    }

    free(t->frame.data);

    return rc;
}


#endif /* _NGX_HTTP_WT_TEST_MSG_H_INCLUDED_ */
