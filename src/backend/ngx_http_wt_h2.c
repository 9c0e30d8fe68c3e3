/*
 * HTTP/2 to workers: streams, and the callbacks of nghttp2.
 *
 * nghttp2 knows a stream of ours by its user data, which is NULL as soon as
 * the stream is its owner's again: nghttp2's own may live a little longer.  A
 * function of the owner may do anything to this stream or another, so after
 * one nothing is known until nghttp2 is asked again.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_http.h>
#include <ngx_http_wt_h2.h>
#include <ngx_http_wt_h2_internal.h>


/* how many GOAWAYs of a connection are logged: a worker that closes one in good
 * order sends two */
#define NGX_HTTP_WT_H2_GOAWAYS  2


static void ngx_http_wt_h2_timer_handler(ngx_event_t *ev);
static void ngx_http_wt_h2_detach(ngx_http_wt_h2_stream_t *st);
static ngx_http_wt_h2_stream_t *ngx_http_wt_h2_stream(ngx_http_wt_h2_t *h2,
    int32_t id);

static int ngx_http_wt_h2_on_begin_frame(nghttp2_session *session,
    const nghttp2_frame_hd *hd, void *data);
static int ngx_http_wt_h2_on_begin_headers(nghttp2_session *session,
    const nghttp2_frame *frame, void *data);
static int ngx_http_wt_h2_on_header(nghttp2_session *session,
    const nghttp2_frame *frame, const uint8_t *name, size_t namelen,
    const uint8_t *value, size_t valuelen, uint8_t flags, void *data);
static int ngx_http_wt_h2_on_frame(nghttp2_session *session,
    const nghttp2_frame *frame, void *data);
static void ngx_http_wt_h2_on_settings(ngx_http_wt_h2_t *h2);
static void ngx_http_wt_h2_on_goaway(ngx_http_wt_h2_t *h2,
    const nghttp2_goaway *goaway);
static void ngx_http_wt_h2_on_headers(ngx_http_wt_h2_t *h2, int32_t id);
static void ngx_http_wt_h2_on_end(ngx_http_wt_h2_t *h2, int32_t id);
static int ngx_http_wt_h2_on_invalid(nghttp2_session *session,
    const nghttp2_frame *frame, int error, void *data);
static int ngx_http_wt_h2_on_data(nghttp2_session *session, uint8_t flags,
    int32_t id, const uint8_t *buf, size_t len, void *data);
static int ngx_http_wt_h2_on_close(nghttp2_session *session, int32_t id,
    uint32_t error_code, void *data);
static int ngx_http_wt_h2_on_sent(nghttp2_session *session,
    const nghttp2_frame *frame, void *data);
static ssize_t ngx_http_wt_h2_take(nghttp2_session *session, int32_t id,
    uint8_t *buf, size_t size, uint32_t *flags, nghttp2_data_source *source,
    void *data);
static int ngx_http_wt_h2_put(nghttp2_session *session, nghttp2_frame *frame,
    const uint8_t *header, size_t len, nghttp2_data_source *source,
    void *data);
static void ngx_http_wt_h2_taken(ngx_http_wt_h2_t *h2,
    ngx_http_wt_h2_stream_t *st);


void
ngx_http_wt_h2_attach(ngx_http_wt_h2_t *h2, ngx_http_wt_h2_stream_t *st)
{
    ngx_http_wt_h2_leave(st);
    ngx_http_wt_h2_wake(h2);

    st->h2 = h2;
    st->timer.handler = ngx_http_wt_h2_timer_handler;
    ngx_queue_insert_tail(&h2->streams, &st->queue);

    h2->used = 1;
    h2->asked = st;

    st->ops->ready(st);

    if (h2->asked == st) {

        /* no memory for the request */

        ngx_http_wt_h2_finish(st, NGX_HTTP_WT_H2_ERROR);
    }
}


ngx_int_t
ngx_http_wt_h2_request(ngx_http_wt_h2_stream_t *st,
    ngx_http_wt_header_t *headers, ngx_uint_t n)
{
    int32_t                 id;
    ngx_uint_t              i;
    nghttp2_nv             *nva;
    ngx_http_wt_h2_t       *h2;
    nghttp2_data_provider   output;

    h2 = st->h2;

    if (h2 == NULL || h2->asked != st) {
        return NGX_ERROR;
    }

    nva = ngx_alloc(n * sizeof(nghttp2_nv), &h2->log);
    if (nva == NULL) {
        return NGX_ERROR;
    }

    for (i = 0; i < n; i++) {
        nva[i].name = headers[i].name.data;
        nva[i].namelen = headers[i].name.len;
        nva[i].value = headers[i].value.data;
        nva[i].valuelen = headers[i].value.len;
        nva[i].flags = NGHTTP2_NV_FLAG_NONE;
    }

    output.source.ptr = NULL;
    output.read_callback = ngx_http_wt_h2_take;

    id = nghttp2_submit_request(h2->session, NULL, nva, n, &output, st);

    ngx_free(nva);

    if (id < 0) {
        ngx_log_error(NGX_LOG_ERR, &h2->log, 0,
                      "request to webtransport worker failed: %s",
                      nghttp2_strerror(id));
        return NGX_ERROR;
    }

    st->id = id;
    st->begun = ngx_current_msec;
    st->heard = h2->heard;

    h2->asked = NULL;
    h2->nstreams++;

    /* until the request is sent, and all output with it */

    ngx_add_timer(&st->timer, st->conf->send_timeout);

    ngx_http_wt_h2_post_write(h2);

    return NGX_OK;
}


void
ngx_http_wt_h2_write(ngx_http_wt_h2_stream_t *st, ngx_uint_t fin)
{
    ngx_http_wt_h2_t  *h2;

    h2 = st->h2;

    if (fin) {
        st->fin = 1;
    }

    if (h2 == NULL || st->id == 0 || st->eof) {
        return;
    }

    if (!st->timer.timer_set) {
        ngx_add_timer(&st->timer, st->conf->send_timeout);
    }

    if (st->deferred) {
        st->deferred = 0;

        /* without memory the timer ends the stream */

        (void) nghttp2_session_resume_data(h2->session, st->id);
    }

    ngx_http_wt_h2_post_write(h2);
}


/* The worker does not take what there is, or does not even take the request. */

static void
ngx_http_wt_h2_timer_handler(ngx_event_t *ev)
{
    u_char                   *pos, *last;
    int32_t                   id;
    ngx_http_wt_h2_t         *h2;
    ngx_http_wt_h2_stream_t  *st;

    st = ev->data;
    h2 = st->h2;
    id = st->id;

    if (st->sent) {

        /* before that, nghttp2 does not know the stream */

        pos = NULL;
        last = NULL;

        st->ops->output(st, &pos, &last);

        if (ngx_http_wt_h2_stream(h2, id) != st
            || (pos == last && (st->eof || !st->fin)))
        {
            return;
        }
    }

    ngx_log_debug1(NGX_LOG_DEBUG_HTTP, &h2->log, 0,
                   "wt h2 stream %D is not read", id);

    ngx_http_wt_h2_suspect(st);

    (void) nghttp2_submit_rst_stream(h2->session, NGHTTP2_FLAG_NONE, id,
                                     NGHTTP2_CANCEL);

    st->timedout = 1;
    ngx_http_wt_h2_finish(st, NGX_HTTP_WT_H2_TIMEOUT);
}


void
ngx_http_wt_h2_consumed(ngx_http_wt_h2_stream_t *st, size_t n)
{
    ngx_http_wt_h2_t  *h2;

    h2 = st->h2;
    n = ngx_min(n, st->unconsumed);

    if (h2 == NULL || n == 0) {
        return;
    }

    st->unconsumed -= n;

    if (nghttp2_session_consume_stream(h2->session, st->id, n) != 0) {

        /* no memory: the worker would wait for ever */

        ngx_http_wt_h2_exhausted(h2);
    }

    ngx_http_wt_h2_post_write(h2);
}


void
ngx_http_wt_h2_close(ngx_http_wt_h2_stream_t *st, uint32_t code)
{
    ngx_http_wt_h2_leave(st);

    if (st->h2 == NULL) {
        return;
    }

    ngx_http_wt_h2_suspect(st);

    if (st->id) {
        (void) nghttp2_submit_rst_stream(st->h2->session, NGHTTP2_FLAG_NONE,
                                         st->id, code);
    }

    ngx_http_wt_h2_detach(st);
}


void
ngx_http_wt_h2_finish(ngx_http_wt_h2_stream_t *st, ngx_http_wt_h2_end_e how)
{
    ngx_http_wt_h2_leave(st);

    if (st->h2) {
        ngx_http_wt_h2_detach(st);
    }

    st->ops->end(st, how);
}


static void
ngx_http_wt_h2_detach(ngx_http_wt_h2_stream_t *st)
{
    ngx_http_wt_h2_t  *h2;

    h2 = st->h2;

    if (h2->asked == st) {
        h2->asked = NULL;
    }

    if (st->id) {
        (void) nghttp2_session_set_stream_user_data(h2->session, st->id, NULL);
    }

    if (st->queued) {
        st->queued = 0;
        ngx_queue_remove(&st->writable);
    }

    if (st->timer.timer_set) {
        ngx_del_timer(&st->timer);
    }

    ngx_queue_remove(&st->queue);

    st->h2 = NULL;
    st->id = 0;

    /* for an RST_STREAM, and it may have been the last one */

    ngx_http_wt_h2_post_write(h2);
}


/* NULL: it is its owner's again */

static ngx_http_wt_h2_stream_t *
ngx_http_wt_h2_stream(ngx_http_wt_h2_t *h2, int32_t id)
{
    return nghttp2_session_get_stream_user_data(h2->session, id);
}


ngx_int_t
ngx_http_wt_h2_callbacks(nghttp2_session_callbacks **callbacks)
{
    nghttp2_session_callbacks  *cb;

    if (nghttp2_session_callbacks_new(&cb) != 0) {
        return NGX_ERROR;
    }

    nghttp2_session_callbacks_set_on_begin_frame_callback(cb,
                                            ngx_http_wt_h2_on_begin_frame);
    nghttp2_session_callbacks_set_on_begin_headers_callback(cb,
                                            ngx_http_wt_h2_on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(cb,
                                            ngx_http_wt_h2_on_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(cb,
                                            ngx_http_wt_h2_on_frame);
    nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(cb,
                                            ngx_http_wt_h2_on_invalid);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb,
                                            ngx_http_wt_h2_on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(cb,
                                            ngx_http_wt_h2_on_close);
    nghttp2_session_callbacks_set_on_frame_send_callback(cb,
                                            ngx_http_wt_h2_on_sent);
    nghttp2_session_callbacks_set_send_data_callback(cb, ngx_http_wt_h2_put);

    *callbacks = cb;

    return NGX_OK;
}


static int
ngx_http_wt_h2_on_begin_frame(nghttp2_session *session,
    const nghttp2_frame_hd *hd, void *data)
{
    ngx_http_wt_h2_t  *h2 = data;

    if (hd->type == NGHTTP2_PUSH_PROMISE) {

        /*
         * Our SETTINGS came before any request.  nghttp2 looks at those that
         * were acknowledged, and sends a RST_STREAM for each promise till
         * then.
         */

        ngx_http_wt_h2_invalid(h2, "PUSH_PROMISE", 0);
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    }

    return 0;
}


static int
ngx_http_wt_h2_on_begin_headers(nghttp2_session *session,
    const nghttp2_frame *frame, void *data)
{
    ngx_http_wt_h2_t         *h2 = data;
    ngx_http_wt_h2_stream_t  *st;

    h2->block = 0;

    st = ngx_http_wt_h2_stream(h2, frame->hd.stream_id);

    if (st) {
        st->informational = 0;
    }

    return 0;
}


static int
ngx_http_wt_h2_on_header(nghttp2_session *session, const nghttp2_frame *frame,
    const uint8_t *name, size_t namelen, const uint8_t *value, size_t valuelen,
    uint8_t flags, void *data)
{
    int32_t                   id;
    ngx_str_t                 n, v;
    ngx_http_wt_h2_t         *h2 = data;
    ngx_http_wt_h2_stream_t  *st;

    id = frame->hd.stream_id;
    st = ngx_http_wt_h2_stream(h2, id);

    if (st == NULL) {
        return 0;
    }

    h2->block += namelen + valuelen + 32;

    if (h2->block > NGX_HTTP_WT_H2_FIELDS) {

        ngx_log_error(NGX_LOG_ERR, &h2->log, 0,
                      "webtransport worker sent too large header");

        (void) nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, id,
                                         NGHTTP2_ENHANCE_YOUR_CALM);

        st->error_code = NGHTTP2_INTERNAL_ERROR;
        ngx_http_wt_h2_finish(st, NGX_HTTP_WT_H2_RESET);

        /* the rest of the block is not told any more */

        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    }

    n.data = (u_char *) name;
    n.len = namelen;
    v.data = (u_char *) value;
    v.len = valuelen;

    /* pseudo-header fields come first, nghttp2 sees to this */

    if (n.len == 7 && ngx_strncmp(n.data, ":status", 7) == 0
        && v.len && v.data[0] == '1')
    {
        st->informational = 1;
    }

    if (!st->informational) {
        st->ops->header(st, &n, &v);
    }

    return 0;
}


static int
ngx_http_wt_h2_on_frame(nghttp2_session *session, const nghttp2_frame *frame,
    void *data)
{
    int32_t            id;
    ngx_http_wt_h2_t  *h2 = data;

    id = frame->hd.stream_id;

    switch (frame->hd.type) {

    case NGHTTP2_SETTINGS:
        if (!(frame->hd.flags & NGHTTP2_FLAG_ACK)) {
            ngx_http_wt_h2_on_settings(h2);
        }

        break;

    case NGHTTP2_GOAWAY:
        ngx_http_wt_h2_on_goaway(h2, &frame->goaway);
        break;

    case NGHTTP2_HEADERS:
        ngx_http_wt_h2_on_headers(h2, id);

        /* fall through */

    case NGHTTP2_DATA:
        h2->pings = 0;

        if (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) {
            ngx_http_wt_h2_on_end(h2, id);
        }

        break;
    }

    return 0;
}


static void
ngx_http_wt_h2_on_settings(ngx_http_wt_h2_t *h2)
{
    uint32_t  n;

    n = nghttp2_session_get_remote_settings(h2->session,
                                       NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS);

    ngx_log_debug1(NGX_LOG_DEBUG_HTTP, &h2->log, 0,
                   "wt h2 settings, streams:%uD", n);

    ngx_http_wt_h2_limits(h2, n);
}


/* nghttp2 itself ends the streams above last_stream_id: they are REFUSED */

static void
ngx_http_wt_h2_on_goaway(ngx_http_wt_h2_t *h2, const nghttp2_goaway *goaway)
{
    ngx_uint_t  level;

    h2->goaway = 1;

    if (h2->goaways < NGX_HTTP_WT_H2_GOAWAYS) {
        h2->goaways++;

        level = (goaway->error_code != NGHTTP2_NO_ERROR
                 || (!h2->used && h2->host->nwaiting)) ? NGX_LOG_ERR
                                                       : NGX_LOG_INFO;
    } else {
        level = NGX_LOG_DEBUG;
    }

    ngx_log_error(level, &h2->log, 0,
                  "webtransport worker sent GOAWAY, error %uD (%s), "
                  "last stream %D", goaway->error_code,
                  nghttp2_http2_strerror(goaway->error_code),
                  goaway->last_stream_id);

    ngx_http_wt_h2_post(h2->host);
}


static void
ngx_http_wt_h2_on_headers(ngx_http_wt_h2_t *h2, int32_t id)
{
    ngx_uint_t                trailers;
    ngx_http_wt_h2_stream_t  *st;

    st = ngx_http_wt_h2_stream(h2, id);

    if (st == NULL) {
        return;
    }

    if (st->informational) {
        st->informational = 0;
        return;
    }

    trailers = st->headers;
    st->headers = 1;

    st->ops->headers(st, trailers);
}


static void
ngx_http_wt_h2_on_end(ngx_http_wt_h2_t *h2, int32_t id)
{
    ngx_http_wt_h2_stream_t  *st;

    st = ngx_http_wt_h2_stream(h2, id);

    if (st == NULL) {
        return;
    }

    if (!st->eof) {

        /* what is left of the request is of no use any more */

        (void) nghttp2_submit_rst_stream(h2->session, NGHTTP2_FLAG_NONE, id,
                                         NGHTTP2_NO_ERROR);
    }

    ngx_http_wt_h2_finish(st, NGX_HTTP_WT_H2_DONE);
}


/*
 * A stream is reset for this, and its owner sees PROTOCOL_ERROR; if it is the
 * whole connection, a GOAWAY is sent, and logged then.
 */

static int
ngx_http_wt_h2_on_invalid(nghttp2_session *session, const nghttp2_frame *frame,
    int error, void *data)
{
    ngx_uint_t         level;
    ngx_http_wt_h2_t  *h2 = data;

    level = h2->invalid ? NGX_LOG_DEBUG : NGX_LOG_INFO;
    h2->invalid = 1;

    ngx_log_error(level, &h2->log, 0,
                  "webtransport worker sent invalid frame, type %ud, "
                  "stream %D: %s", (unsigned) frame->hd.type,
                  frame->hd.stream_id, nghttp2_strerror(error));

    return 0;
}


static int
ngx_http_wt_h2_on_data(nghttp2_session *session, uint8_t flags, int32_t id,
    const uint8_t *buf, size_t len, void *data)
{
    ngx_http_wt_h2_t         *h2 = data;
    ngx_http_wt_h2_stream_t  *st;

    /* a stream that holds its bytes back must not hold up others */

    if (nghttp2_session_consume_connection(session, len) != 0) {
        ngx_http_wt_h2_exhausted(h2);
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    }

    st = ngx_http_wt_h2_stream(h2, id);

    if (st) {
        st->unconsumed += len;
        st->ops->data(st, (u_char *) buf, len);
    }

    return 0;
}


static int
ngx_http_wt_h2_on_close(nghttp2_session *session, int32_t id,
    uint32_t error_code, void *data)
{
    ngx_http_wt_h2_t         *h2 = data;
    ngx_http_wt_h2_end_e      how;
    ngx_http_wt_h2_stream_t  *st;

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, &h2->log, 0,
                   "wt h2 stream %D closed, error:%uD", id, error_code);

    h2->nstreams--;

    if (h2->host->nwaiting) {
        ngx_http_wt_h2_post(h2->host);
    }

    st = ngx_http_wt_h2_stream(h2, id);

    if (st == NULL) {
        return 0;
    }

    if (error_code != NGHTTP2_REFUSED_STREAM) {

        /* also NO_ERROR: the end of the stream would have come before it */

        how = NGX_HTTP_WT_H2_RESET;

    } else if (st->sent || !nghttp2_session_check_request_allowed(session)) {
        how = NGX_HTTP_WT_H2_REFUSED;

    } else {

        /* it was nghttp2 who could not make HEADERS of the request */

        how = NGX_HTTP_WT_H2_ERROR;
    }

    st->error_code = error_code;
    ngx_http_wt_h2_finish(st, how);

    return 0;
}


static int
ngx_http_wt_h2_on_sent(nghttp2_session *session, const nghttp2_frame *frame,
    void *data)
{
    ngx_http_wt_h2_t         *h2 = data;
    ngx_http_wt_h2_stream_t  *st;

    switch (frame->hd.type) {

    case NGHTTP2_HEADERS:
        st = ngx_http_wt_h2_stream(h2, frame->hd.stream_id);

        if (st) {
            st->sent = 1;
        }

        break;

    case NGHTTP2_GOAWAY:

        /* by nghttp2, or in ngx_http_wt_h2_shutdown() without an error */

        if (frame->goaway.error_code == NGHTTP2_NO_ERROR) {
            break;
        }

        if (frame->goaway.opaque_data_len) {
            ngx_http_wt_h2_invalid(h2, (char *) frame->goaway.opaque_data,
                                   frame->goaway.opaque_data_len);
            break;
        }

        ngx_http_wt_h2_invalid(h2,
                          nghttp2_http2_strerror(frame->goaway.error_code), 0);
        break;
    }

    return 0;
}


/*
 * The payload of the next DATA frame, which ngx_http_wt_h2_put() copies right
 * after this.  nghttp2 allows for both windows, asks the streams in turn, and
 * not at all while nothing is allowed.
 */

static ssize_t
ngx_http_wt_h2_take(nghttp2_session *session, int32_t id, uint8_t *buf,
    size_t size, uint32_t *flags, nghttp2_data_source *source, void *data)
{
    size_t                    n;
    u_char                   *pos, *last;
    ngx_http_wt_h2_t         *h2 = data;
    ngx_http_wt_h2_stream_t  *st;

    st = ngx_http_wt_h2_stream(h2, id);

    if (st == NULL) {

        /* its RST_STREAM is on the way */

        return NGHTTP2_ERR_DEFERRED;
    }

    pos = NULL;
    last = NULL;

    st->ops->output(st, &pos, &last);

    if (ngx_http_wt_h2_stream(h2, id) != st) {
        return NGHTTP2_ERR_DEFERRED;
    }

    n = last - pos;

    if (n == 0 && !st->fin) {

        st->deferred = 1;

        if (st->timer.timer_set) {
            ngx_del_timer(&st->timer);
        }

        return NGHTTP2_ERR_DEFERRED;
    }

    h2->data = pos;
    h2->left = n - ngx_min(n, size);

    if (h2->left == 0 && st->fin) {
        st->eof = 1;
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    }

    *flags |= NGHTTP2_DATA_FLAG_NO_COPY;

    return n - h2->left;
}


/* nghttp2 pauses if there is no room for whatever frame comes next */

static int
ngx_http_wt_h2_put(nghttp2_session *session, nghttp2_frame *frame,
    const uint8_t *header, size_t len, nghttp2_data_source *source, void *data)
{
    int32_t                   id;
    ngx_http_wt_h2_t         *h2 = data;
    ngx_http_wt_h2_stream_t  *st;

    id = frame->hd.stream_id;
    st = ngx_http_wt_h2_stream(h2, id);

    h2->out = ngx_cpymem(h2->out, header, NGX_HTTP_WT_H2_HEADER);

    if (len) {
        h2->out = ngx_cpymem(h2->out, h2->data, len);
        st->ops->sent(st, len);
    }

    if (ngx_http_wt_h2_stream(h2, id) == st) {
        ngx_http_wt_h2_taken(h2, st);
    }

    return (h2->end - h2->out < NGX_HTTP_WT_H2_FRAME) ? NGHTTP2_ERR_PAUSE : 0;
}


static void
ngx_http_wt_h2_taken(ngx_http_wt_h2_t *h2, ngx_http_wt_h2_stream_t *st)
{
    if (h2->left) {

        /* it moves: the time begins anew */

        ngx_add_timer(&st->timer, st->conf->send_timeout);
        return;
    }

    if (st->timer.timer_set) {
        ngx_del_timer(&st->timer);
    }

    if (!st->fin && !st->queued) {
        st->queued = 1;
        ngx_queue_insert_tail(&h2->writable, &st->writable);
    }
}
