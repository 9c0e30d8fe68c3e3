#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_http.h>
#include <ngx_http_wt_echo.h>


#define NGX_HTTP_WT_ECHO_BUFFER  16384


static ngx_int_t ngx_http_wt_echo_connect(ngx_http_wt_session_t *s);
static void ngx_http_wt_echo_opened(ngx_http_wt_stream_t *ws);
static void ngx_http_wt_echo_readable(ngx_http_wt_stream_t *ws);
static ssize_t ngx_http_wt_echo_recv(ngx_http_wt_stream_t *ws, u_char *buf,
    size_t *len);
static ngx_http_wt_stream_t *ngx_http_wt_echo_sink(ngx_http_wt_stream_t *ws);
static void ngx_http_wt_echo_reset(ngx_http_wt_stream_t *ws, uint32_t *code);
static void ngx_http_wt_echo_stop(ngx_http_wt_stream_t *ws, uint32_t *code);
static void ngx_http_wt_echo_sent(ngx_http_wt_stream_t *ws, size_t n);
static void ngx_http_wt_echo_stream_closed(ngx_http_wt_stream_t *ws);
static ngx_int_t ngx_http_wt_echo_datagram(ngx_http_wt_session_t *s,
    u_char *data, size_t len);
static void ngx_http_wt_echo_streams(ngx_http_wt_session_t *s);
static void ngx_http_wt_echo_drain(ngx_http_wt_session_t *s);
static void ngx_http_wt_echo_flush(ngx_http_wt_session_t *s);
static void ngx_http_wt_echo_closed(ngx_http_wt_session_t *s);


const ngx_http_wt_peer_ops_t  ngx_http_wt_echo_ops = {
    ngx_string("echo"),
    ngx_http_wt_echo_connect,
    ngx_http_wt_echo_opened,
    ngx_http_wt_echo_readable,
    ngx_http_wt_echo_reset,
    ngx_http_wt_echo_stop,
    ngx_http_wt_echo_sent,
    ngx_http_wt_echo_stream_closed,
    ngx_http_wt_echo_datagram,
    ngx_http_wt_echo_streams,
    ngx_http_wt_echo_drain,
    ngx_http_wt_echo_flush,
    ngx_http_wt_echo_closed
};


static ngx_int_t
ngx_http_wt_echo_connect(ngx_http_wt_session_t *s)
{
    s->backend = ngx_http_wt_echo_ops.name;

    (void) ngx_http_wt_session_accept(s, NULL, NULL, 0);

    return NGX_OK;
}


static void
ngx_http_wt_echo_opened(ngx_http_wt_stream_t *ws)
{
}


/*
 * The stream that echoes this one: itself, or the other half of a pair whose
 * halves point to each other.  NULL if the client allows no more streams.
 */

static ngx_http_wt_stream_t *
ngx_http_wt_echo_sink(ngx_http_wt_stream_t *ws)
{
    ngx_http_wt_stream_t  *sink;

    if ((ws->id & NGX_HTTP_WT_STREAM_UNI) == 0) {
        return ws;
    }

    if (ws->peer) {
        return ws->peer;
    }

    if (ngx_http_wt_session_open(ws->session, 0, 1, &sink) != NGX_OK) {
        return NULL;
    }

    ws->peer = sink;
    sink->peer = ws;

    return sink;
}


static void
ngx_http_wt_echo_readable(ngx_http_wt_stream_t *ws)
{
    size_t                  len;
    ssize_t                 n;
    ngx_http_wt_stream_t   *sink;
    ngx_http_wt_session_t  *s;
    static u_char           buf[NGX_HTTP_WT_ECHO_BUFFER];

    s = ws->session;

    if (ws->recv_done) {
        return;
    }

    sink = ngx_http_wt_echo_sink(ws);

    if (sink == NULL) {

        /*
         * With no stream allowed by the client this one waits.  Where nginx
         * has no connection slot, waiting would only keep more of them.
         */

        if (ngx_http_wt_session_streams_left(s, 1)) {
            ngx_http_wt_stream_stop(ws, 0);
        }

        return;
    }

    /* what the client does not read stops it from writing */

    while (sink->pending == 0) {

        n = ngx_http_wt_echo_recv(ws, buf, &len);

        if (n < 0 && len == 0) {
            return;
        }

        if (ngx_http_wt_stream_send(sink, buf, len, n == 0) != NGX_OK) {
            ngx_http_wt_session_close(s, NGX_HTTP_WT_BY_LIMIT,
                                      NGX_HTTP_WT_BY_LIMIT, NULL);
            return;
        }

        if (n <= 0) {
            return;
        }
    }
}


/*
 * Fills the buffer as far as possible: an end that is already there then goes
 * out with the last bytes.  Returns what the last read did.
 */

static ssize_t
ngx_http_wt_echo_recv(ngx_http_wt_stream_t *ws, u_char *buf, size_t *len)
{
    ssize_t  n;

    *len = 0;

    do {
        n = ngx_http_wt_stream_recv(ws, buf + *len,
                                    NGX_HTTP_WT_ECHO_BUFFER - *len);
        if (n <= 0) {
            return n;
        }

        *len += n;

    } while (*len < NGX_HTTP_WT_ECHO_BUFFER);

    return n;
}


static void
ngx_http_wt_echo_reset(ngx_http_wt_stream_t *ws, uint32_t *code)
{
    ngx_http_wt_stream_t  *sink;

    sink = ngx_http_wt_echo_sink(ws);

    if (sink) {
        ngx_http_wt_stream_reset(sink, code ? *code : 0);
    }
}


static void
ngx_http_wt_echo_stop(ngx_http_wt_stream_t *ws, uint32_t *code)
{
    ngx_http_wt_stream_t  *source;

    source = (ws->id & NGX_HTTP_WT_STREAM_UNI) ? ws->peer : ws;

    if (source) {
        ngx_http_wt_stream_stop(source, code ? *code : 0);
    }
}


static void
ngx_http_wt_echo_sent(ngx_http_wt_stream_t *ws, size_t n)
{
    ngx_http_wt_stream_t  *source;

    source = (ws->id & NGX_HTTP_WT_STREAM_UNI) ? ws->peer : ws;

    if (source && ws->pending == 0) {
        ngx_http_wt_echo_readable(source);
    }
}


static void
ngx_http_wt_echo_stream_closed(ngx_http_wt_stream_t *ws)
{
    ngx_http_wt_stream_t  *other;

    other = ws->peer;

    if (other) {
        other->peer = NULL;
        ws->peer = NULL;
    }
}


static ngx_int_t
ngx_http_wt_echo_datagram(ngx_http_wt_session_t *s, u_char *data, size_t len)
{
    return ngx_http_wt_session_datagram(s, data, len, 0);
}


static void
ngx_http_wt_echo_streams(ngx_http_wt_session_t *s)
{
    ngx_rbtree_node_t     *node;
    ngx_http_wt_stream_t  *ws;

    if (s->streams.root == s->streams.sentinel) {
        return;
    }

    /* streams that wait for a stream to be echoed on */

    for (node = ngx_rbtree_min(s->streams.root, s->streams.sentinel);
         node;
         node = ngx_rbtree_next(&s->streams, node))
    {
        ws = (ngx_http_wt_stream_t *) node;

        if ((ws->id & NGX_HTTP_WT_STREAM_LOCAL) == 0 && ws->peer == NULL
            && (ws->id & NGX_HTTP_WT_STREAM_UNI))
        {
            ngx_http_wt_echo_readable(ws);
        }
    }
}


static void
ngx_http_wt_echo_drain(ngx_http_wt_session_t *s)
{
}


static void
ngx_http_wt_echo_flush(ngx_http_wt_session_t *s)
{
}


static void
ngx_http_wt_echo_closed(ngx_http_wt_session_t *s)
{
}
