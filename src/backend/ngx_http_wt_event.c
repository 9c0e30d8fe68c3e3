/*
 * Events on their way to the worker: the output buffer, and what is written
 * into it when.
 *
 * Most of it happens in ngx_http_wt_relay_write(), from a posted event: so all
 * that happened in one turn of the event loop shares a frame and a write.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_http.h>
#include <ngx_http_wt_relay.h>


/* how often a buffer is filled and sent before others get their turn */
#define NGX_HTTP_WT_EVENT_ROUNDS  8


static ngx_int_t ngx_http_wt_event_alloc(ngx_http_wt_backend_t *b,
    size_t size);
static ngx_uint_t ngx_http_wt_event_compact(ngx_http_wt_output_t *out);
static void ngx_http_wt_event_seal(ngx_http_wt_backend_t *b);
static void ngx_http_wt_event_sent(ngx_http_wt_backend_t *b);
static void ngx_http_wt_event_collect(ngx_http_wt_backend_t *b);
static ngx_int_t ngx_http_wt_event_control(ngx_http_wt_backend_t *b);
static ngx_int_t ngx_http_wt_event_opens(ngx_http_wt_backend_t *b);
static void ngx_http_wt_event_datagrams(ngx_http_wt_backend_t *b,
    ngx_uint_t all);
static u_char *ngx_http_wt_event_datagram_room(ngx_http_wt_backend_t *b,
    size_t len, ngx_uint_t all);


void
ngx_http_wt_relay_write(ngx_http_wt_backend_t *b)
{
    ngx_uint_t             i;
    ngx_http_wt_output_t  *out;

    out = &b->out;

    if (!b->connected) {
        return;
    }

    b->writing = 1;

    for (i = 0; i < NGX_HTTP_WT_EVENT_ROUNDS; i++) {

        ngx_http_wt_event_collect(b);
        ngx_http_wt_event_seal(b);

        if (b->datagrams.n && b->conf->transport->datagrams) {
            b->conf->transport->datagrams(b);
        }

        if (out->pos == out->last
            || b->conf->transport->send(b) != NGX_OK)
        {
            break;
        }

        ngx_http_wt_event_sent(b);
    }

    b->writing = 0;

    if (out->pos == out->last) {
        ngx_http_wt_event_free(b);
    }

    if (b->failure) {
        ngx_http_wt_relay_end(b, NGX_HTTP_WT_BY_LIMIT,
                              NGX_HTTP_INTERNAL_SERVER_ERROR, b->failure);
        return;
    }

    if (i == NGX_HTTP_WT_EVENT_ROUNDS && !b->event.posted) {
        ngx_post_event(&b->event, &ngx_posted_next_events);
    }

    if (b->stalled && b->blocked == NULL) {
        b->stalled = 0;
        b->conf->transport->resume(b);
    }
}


void
ngx_http_wt_event_post(ngx_http_wt_backend_t *b)
{
    if (!b->writing) {
        ngx_post_event(&b->event, &ngx_posted_events);
    }
}


u_char *
ngx_http_wt_event_room(ngx_http_wt_backend_t *b, size_t len,
    ngx_uint_t payload)
{
    size_t                 need, header;
    u_char                *limit;
    ngx_http_wt_output_t  *out;

    out = &b->out;
    header = b->conf->transport->header;

    if (out->start == NULL
        && ngx_http_wt_event_alloc(b, b->conf->upstream.buffer_size) != NGX_OK)
    {
        return NULL;
    }

    if (out->frame
        && (size_t) (out->last - out->frame) + len
           > header + NGX_HTTP_WT_RELAY_FRAME)
    {
        ngx_http_wt_event_seal(b);
    }

    need = out->frame ? len : header + len;

    limit = payload ? out->end : out->end + NGX_HTTP_WT_RELAY_RESERVE;

    while (limit - out->last < (ssize_t) need) {

        if (!ngx_http_wt_event_compact(out)) {
            return NULL;
        }
    }

    if (out->frame == NULL) {
        out->frame = out->last;
        out->last += header;
    }

    return out->last;
}


size_t
ngx_http_wt_event_left(ngx_http_wt_backend_t *b, u_char *p)
{
    u_char                *limit;
    ngx_http_wt_output_t  *out;

    out = &b->out;

    limit = out->frame + b->conf->transport->header + NGX_HTTP_WT_RELAY_FRAME;

    return ngx_min(limit, out->end) - p;
}


u_char *
ngx_http_wt_event_long(ngx_http_wt_backend_t *b, size_t len)
{
    size_t                 size;
    ngx_http_wt_output_t  *out;

    out = &b->out;
    size = b->conf->transport->header + len;

    if (size > b->conf->upstream.buffer_size) {

        /* a buffer of its own, once the other one has been sent */

        ngx_http_wt_event_seal(b);

        if (out->pos != out->last) {
            return NULL;
        }

        ngx_http_wt_event_free(b);

        if (ngx_http_wt_event_alloc(b, size) != NGX_OK) {
            return NULL;
        }
    }

    return ngx_http_wt_event_room(b, len, 1);
}


void
ngx_http_wt_event_done(ngx_http_wt_backend_t *b, u_char *p)
{
    b->out.last = p;
    ngx_http_wt_event_post(b);
}


static ngx_int_t
ngx_http_wt_event_alloc(ngx_http_wt_backend_t *b, size_t size)
{
    u_char                *p;
    ngx_http_wt_output_t  *out;

    p = ngx_alloc(size + NGX_HTTP_WT_RELAY_RESERVE,
                  b->request->connection->log);
    if (p == NULL) {
        b->failure = "no memory for events";
        ngx_http_wt_event_post(b);
        return NGX_ERROR;
    }

    out = &b->out;

    out->start = p;
    out->pos = p;
    out->last = p;
    out->end = p + size;
    out->frame = NULL;

    return NGX_OK;
}


void
ngx_http_wt_event_free(ngx_http_wt_backend_t *b)
{
    if (b->out.start) {
        ngx_free(b->out.start);
    }

    ngx_memzero(&b->out, sizeof(ngx_http_wt_output_t));
}


static ngx_uint_t
ngx_http_wt_event_compact(ngx_http_wt_output_t *out)
{
    size_t  sent, len;

    sent = out->pos - out->start;
    len = out->last - out->pos;

    /* no byte is moved more often than another one was sent */

    if (sent == 0 || sent < len) {
        return 0;
    }

    ngx_memmove(out->start, out->pos, len);

    out->pos = out->start;
    out->last = out->start + len;

    if (out->frame) {
        out->frame -= sent;
    }

    return 1;
}


/* the frame being written is complete; one without events never was */

static void
ngx_http_wt_event_seal(ngx_http_wt_backend_t *b)
{
    size_t                 len;
    ngx_http_wt_output_t  *out;

    out = &b->out;

    if (out->frame == NULL) {
        return;
    }

    len = out->last - out->frame - b->conf->transport->header;

    if (len) {
        b->conf->transport->frame(out->frame, len);

    } else {
        out->last = out->frame;
    }

    out->frame = NULL;
}


static void
ngx_http_wt_event_sent(ngx_http_wt_backend_t *b)
{
    ngx_http_wt_output_t  *out;

    out = &b->out;

    if ((size_t) (out->end - out->start) != b->conf->upstream.buffer_size) {

        /* made for a long event */

        ngx_http_wt_event_free(b);
        return;
    }

    out->pos = out->start;
    out->last = out->start;
}


/* what waits is written until the buffer is full */

static void
ngx_http_wt_event_collect(ngx_http_wt_backend_t *b)
{
    ngx_int_t                    rc;
    ngx_queue_t                 *q;
    ngx_http_wt_relay_stream_t  *bs;

    if (b->failure || ngx_http_wt_event_control(b) != NGX_OK) {
        return;
    }

    /* streams and datagrams share the buffer, and none waits for the other */

    ngx_http_wt_event_datagrams(b, 0);

    while (!ngx_queue_empty(&b->ready)) {

        q = ngx_queue_head(&b->ready);
        bs = ngx_queue_data(q, ngx_http_wt_relay_stream_t, ready);

        rc = ngx_http_wt_relay_stream(b, bs);

        if (rc == NGX_AGAIN) {
            return;
        }

        if (rc == NGX_ERROR) {
            b->failure = "no memory for messages";
            return;
        }

        if (rc == NGX_BUSY) {
            ngx_queue_remove(q);
            ngx_queue_insert_tail(&b->ready, q);
        }
    }

    ngx_http_wt_event_datagrams(b, 1);
}


static ngx_int_t
ngx_http_wt_event_control(ngx_http_wt_backend_t *b)
{
    u_char  *p;

    if (b->result) {
        if (ngx_http_wt_event_result(b) != NGX_OK) {
            return NGX_AGAIN;
        }
    }

    if (b->drain) {
        p = ngx_http_wt_event_room(b, NGX_HTTP_WT_MSG_EVENT_MAX, 0);
        if (p == NULL) {
            return NGX_AGAIN;
        }

        b->drain = 0;

        p = ngx_http_wt_msg_drain(p, NGX_HTTP_WT_DRAIN_CLIENT, 0);
        ngx_http_wt_event_done(b, p);
    }

    if (b->opens) {
        return ngx_http_wt_event_opens(b);
    }

    return NGX_OK;
}


/* the client lets the worker open more streams */

static ngx_int_t
ngx_http_wt_event_opens(ngx_http_wt_backend_t *b)
{
    u_char                    *p;
    uint64_t                   left, unused;
    uint32_t                   more[2];
    ngx_uint_t                 uni;
    ngx_http_wt_msg_credit_t   credit;

    for (uni = 0; uni < 2; uni++) {

        left = ngx_http_wt_session_streams_left(b->session, uni);
        unused = b->allowed[uni] - ngx_min(b->opened[uni], b->allowed[uni]);

        more[uni] = (left > unused)
                        ? (uint32_t) ngx_min(left - unused, 0xffffffff) : 0;
    }

    if (more[0] == 0 && more[1] == 0) {
        b->opens = 0;
        return NGX_OK;
    }

    p = ngx_http_wt_event_room(b, NGX_HTTP_WT_MSG_EVENT_MAX, 0);
    if (p == NULL) {
        return NGX_AGAIN;
    }

    b->opens = 0;

    b->allowed[0] += more[0];
    b->allowed[1] += more[1];

    credit.stream_id = 0;
    credit.bytes = 0;
    credit.bidi = more[0];
    credit.uni = more[1];

    p = ngx_http_wt_msg_credit(p, &credit);
    ngx_http_wt_event_done(b, p);

    return NGX_OK;
}


ngx_int_t
ngx_http_wt_event_result(ngx_http_wt_backend_t *b)
{
    u_char                    *p;
    ngx_http_wt_msg_result_t   result;

    p = ngx_http_wt_event_room(b, NGX_HTTP_WT_RELAY_RESULT, 0);
    if (p == NULL) {
        return NGX_AGAIN;
    }

    b->result = 0;

    ngx_memzero(&result, sizeof(ngx_http_wt_msg_result_t));

    result.id = b->result_id;
    result.status = b->result_status;
    result.stream_id = b->result_stream;
    result.message.data = (u_char *) b->result_message;
    result.message.len = ngx_strlen(b->result_message);

    p = ngx_http_wt_msg_result(p, p + NGX_HTTP_WT_RELAY_RESULT, &result);
    if (p == NULL) {
        b->failure = "a result is too long";
        return NGX_ERROR;
    }

    ngx_http_wt_event_done(b, p);

    return NGX_OK;
}


ngx_int_t
ngx_http_wt_event_datagram(ngx_http_wt_backend_t *b, u_char *data, size_t len)
{
    u_char      *p;
    ngx_uint_t   lost;

    if (b->datagrams.n == 0 && b->conf->transport->datagrams == NULL) {

        p = ngx_http_wt_event_datagram_room(b, len, 0);

        if (p) {
            p = ngx_http_wt_msg_datagram_hdr(p, len);
            ngx_http_wt_event_done(b, ngx_cpymem(p, data, len));

            return NGX_OK;
        }
    }

    lost = ngx_http_wt_datagram_queue_push(&b->datagrams, 0, data, len, 0,
                                           b->request->connection->log);

    b->session->counters.datagrams_dropped += lost;

    ngx_http_wt_event_post(b);

    return NGX_OK;
}


static void
ngx_http_wt_event_datagrams(ngx_http_wt_backend_t *b, ngx_uint_t all)
{
    u_char                        *p;
    ngx_http_wt_datagram_t        *dg;
    ngx_http_wt_datagram_queue_t  *q;

    q = &b->datagrams;

    if (b->conf->transport->datagrams) {
        return;
    }

    while (q->n) {

        dg = ngx_http_wt_datagram_queue_head(q,
                                     &b->session->counters.datagrams_dropped);
        if (dg == NULL) {
            return;
        }

        p = ngx_http_wt_event_datagram_room(b, dg->len, all);
        if (p == NULL) {
            return;
        }

        p = ngx_http_wt_msg_datagram_hdr(p, dg->len);
        ngx_http_wt_event_done(b, ngx_cpymem(p, dg->data, dg->len));

        ngx_http_wt_datagram_queue_delete(q, dg);
    }
}


size_t
ngx_http_wt_event_take_datagrams(ngx_http_wt_backend_t *b, u_char **buf)
{
    size_t                         size, len;
    u_char                        *p;
    uint64_t                      *dropped;
    ngx_http_wt_datagram_t        *dg;
    ngx_http_wt_datagram_queue_t  *q;

    q = &b->datagrams;
    dropped = &b->session->counters.datagrams_dropped;

    dg = ngx_http_wt_datagram_queue_head(q, dropped);
    if (dg == NULL) {
        return 0;
    }

    /* all of them, as far as a buffer goes, but at least one */

    size = ngx_min(b->conf->upstream.buffer_size,
                   q->n * NGX_HTTP_WT_MSG_DATAGRAM_HDR + q->bytes);
    size = ngx_max(size, NGX_HTTP_WT_MSG_DATAGRAM_HDR + dg->len);

    *buf = ngx_alloc(size, b->request->connection->log);
    if (*buf == NULL) {
        return 0;
    }

    p = *buf;

    do {
        len = NGX_HTTP_WT_MSG_DATAGRAM_HDR + dg->len;

        if ((size_t) (*buf + size - p) < len) {
            break;
        }

        p = ngx_http_wt_msg_datagram_hdr(p, dg->len);
        p = ngx_cpymem(p, dg->data, dg->len);

        ngx_http_wt_datagram_queue_delete(q, dg);

        dg = ngx_http_wt_datagram_queue_head(q, dropped);

    } while (dg);

    return p - *buf;
}


/* unless "all" is set, a half of the buffer is left to streams */

static u_char *
ngx_http_wt_event_datagram_room(ngx_http_wt_backend_t *b, size_t len,
    ngx_uint_t all)
{
    if (!all
        && (size_t) (b->out.last - b->out.pos)
           > b->conf->upstream.buffer_size / 2)
    {
        return NULL;
    }

    return ngx_http_wt_event_long(b, NGX_HTTP_WT_MSG_DATAGRAM_HDR + len);
}


ngx_int_t
ngx_http_wt_event_closed(ngx_http_wt_backend_t *b)
{
    u_char                    *p, *start;
    size_t                     len, unsent;
    ngx_http_wt_output_t      *out;
    ngx_http_wt_session_t     *s;
    ngx_http_wt_msg_closed_t   closed;

    s = b->session;
    out = &b->out;

    ngx_memzero(&closed, sizeof(ngx_http_wt_msg_closed_t));

    /* ngx_http_wt_by_e has the numbers of the contract */

    closed.by = (ngx_http_wt_pb_Closed_By) s->close_by;
    closed.code = s->close_code;
    closed.reason = s->close_reason;
    closed.duration_ms = s->duration;
    closed.has_counters = 1;
    closed.counters.streams_in = s->counters.streams_in;
    closed.counters.streams_out = s->counters.streams_out;
    closed.counters.bytes_in = s->counters.bytes_in;
    closed.counters.bytes_out = s->counters.bytes_out;
    closed.counters.datagrams_in = s->counters.datagrams_in;
    closed.counters.datagrams_out = s->counters.datagrams_out;
    closed.counters.datagrams_dropped = s->counters.datagrams_dropped;

    len = ngx_http_wt_msg_closed_len(&closed);
    p = ngx_http_wt_event_room(b, len, 0);

    if (p == NULL && out->start) {

        /* no room: what has not been sent moves to a larger buffer */

        ngx_http_wt_event_seal(b);

        start = out->start;
        p = out->pos;
        unsent = out->last - p;

        if (ngx_http_wt_event_alloc(b, unsent + b->conf->transport->header
                                       + len)
            != NGX_OK)
        {
            return NGX_ERROR;
        }

        out->last = ngx_cpymem(out->last, p, unsent);
        ngx_free(start);

        p = ngx_http_wt_event_room(b, len, 0);
    }

    if (p == NULL) {
        return NGX_ERROR;
    }

    p = ngx_http_wt_msg_closed(p, p + len, &closed);
    if (p == NULL) {
        return NGX_ERROR;
    }

    out->last = p;
    ngx_http_wt_event_seal(b);

    return NGX_OK;
}
