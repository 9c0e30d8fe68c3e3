#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_http.h>
#include <ngx_http_wt_echo.h>


#define NGX_HTTP_WT_DISCARD_BUFFER  16384

/* a count of bytes that is sure to fit into 64 bits */
#define NGX_HTTP_WT_GENERATE_DIGITS  18

/* bytes of a generated stream repeat after this many: a prime */
#define NGX_HTTP_WT_GENERATE_PERIOD  251


/* a stream that generates; in the stream's pool */

typedef struct {
    uint64_t                  offset;
    uint64_t                  count;
    ngx_uint_t                digits;
} ngx_http_wt_generate_t;


static ngx_int_t ngx_http_wt_discard_connect(ngx_http_wt_session_t *s);
static void ngx_http_wt_discard_opened(ngx_http_wt_stream_t *ws);
static void ngx_http_wt_discard_readable(ngx_http_wt_stream_t *ws);
static void ngx_http_wt_generate_readable(ngx_http_wt_stream_t *ws);
static ngx_int_t ngx_http_wt_generate_count(ngx_http_wt_generate_t *gen,
    u_char *p, u_char *last);
static void ngx_http_wt_generate_send(ngx_http_wt_stream_t *ws);
static void ngx_http_wt_discard_code(ngx_http_wt_stream_t *ws,
    uint32_t *code);
static void ngx_http_wt_discard_sent(ngx_http_wt_stream_t *ws, size_t n);
static void ngx_http_wt_generate_sent(ngx_http_wt_stream_t *ws, size_t n);
static void ngx_http_wt_discard_stream_closed(ngx_http_wt_stream_t *ws);
static ngx_int_t ngx_http_wt_discard_datagram(ngx_http_wt_session_t *s,
    u_char *data, size_t len);
static void ngx_http_wt_discard_session(ngx_http_wt_session_t *s);


const ngx_http_wt_peer_ops_t  ngx_http_wt_discard_ops = {
    ngx_string("discard"),
    ngx_http_wt_discard_connect,
    ngx_http_wt_discard_opened,
    ngx_http_wt_discard_readable,
    ngx_http_wt_discard_code,
    ngx_http_wt_discard_code,
    ngx_http_wt_discard_sent,
    ngx_http_wt_discard_stream_closed,
    ngx_http_wt_discard_datagram,
    ngx_http_wt_discard_session,
    ngx_http_wt_discard_session,
    ngx_http_wt_discard_session,
    ngx_http_wt_discard_session
};


const ngx_http_wt_peer_ops_t  ngx_http_wt_generate_ops = {
    ngx_string("generate"),
    ngx_http_wt_discard_connect,
    ngx_http_wt_discard_opened,
    ngx_http_wt_generate_readable,
    ngx_http_wt_discard_code,
    ngx_http_wt_discard_code,
    ngx_http_wt_generate_sent,
    ngx_http_wt_discard_stream_closed,
    ngx_http_wt_discard_datagram,
    ngx_http_wt_discard_session,
    ngx_http_wt_discard_session,
    ngx_http_wt_discard_session,
    ngx_http_wt_discard_session
};


static u_char  ngx_http_wt_discard_buf[NGX_HTTP_WT_DISCARD_BUFFER];


static ngx_int_t
ngx_http_wt_discard_connect(ngx_http_wt_session_t *s)
{
    s->backend = s->peer_ops->name;

    (void) ngx_http_wt_session_accept(s, NULL, NULL, 0);

    return NGX_OK;
}


static void
ngx_http_wt_discard_opened(ngx_http_wt_stream_t *ws)
{
}


static void
ngx_http_wt_discard_readable(ngx_http_wt_stream_t *ws)
{
    ssize_t  n;

    if (ws->recv_done) {
        return;
    }

    do {
        n = ngx_http_wt_stream_recv(ws, ngx_http_wt_discard_buf,
                                    NGX_HTTP_WT_DISCARD_BUFFER);
    } while (n > 0);

    if (n == 0 && (ws->id & NGX_HTTP_WT_STREAM_UNI) == 0) {

        /* a FIN needs no memory */

        (void) ngx_http_wt_stream_send(ws, NULL, 0, 1);
    }
}


static void
ngx_http_wt_generate_readable(ngx_http_wt_stream_t *ws)
{
    ssize_t                  n;
    ngx_http_wt_generate_t  *gen;

    if (ws->id & NGX_HTTP_WT_STREAM_UNI) {
        ngx_http_wt_discard_readable(ws);
        return;
    }

    if (ws->recv_done) {
        return;
    }

    gen = ws->peer;

    if (gen == NULL) {
        gen = ngx_pcalloc(ws->qs->connection->pool,
                          sizeof(ngx_http_wt_generate_t));
        if (gen == NULL) {
            ngx_http_wt_session_close(ws->session, NGX_HTTP_WT_BY_LIMIT,
                                      NGX_HTTP_WT_BY_LIMIT, NULL);
            return;
        }

        ws->peer = gen;
    }

    do {
        n = ngx_http_wt_stream_recv(ws, ngx_http_wt_discard_buf,
                                    NGX_HTTP_WT_DISCARD_BUFFER);

        if (n > 0
            && ngx_http_wt_generate_count(gen, ngx_http_wt_discard_buf,
                                          ngx_http_wt_discard_buf + n)
               != NGX_OK)
        {
            ngx_http_wt_stream_stop(ws, 0);
            ngx_http_wt_stream_reset(ws, 0);
            return;
        }

    } while (n > 0);

    if (n == 0) {
        ngx_http_wt_generate_send(ws);
    }
}


static ngx_int_t
ngx_http_wt_generate_count(ngx_http_wt_generate_t *gen, u_char *p,
    u_char *last)
{
    for ( /* void */ ; p != last; p++) {

        if (*p < '0' || *p > '9'
            || gen->digits == NGX_HTTP_WT_GENERATE_DIGITS)
        {
            return NGX_ERROR;
        }

        gen->digits++;
        gen->count = gen->count * 10 + (*p - '0');
    }

    return NGX_OK;
}


static void
ngx_http_wt_generate_send(ngx_http_wt_stream_t *ws)
{
    size_t                   n;
    u_char                  *p;
    ngx_uint_t               i;
    ngx_http_wt_generate_t  *gen;

    static u_char            bytes[NGX_HTTP_WT_DISCARD_BUFFER
                                   + NGX_HTTP_WT_GENERATE_PERIOD];

    gen = ws->peer;

    if (bytes[1] == 0) {
        for (i = 0; i < sizeof(bytes); i++) {
            bytes[i] = i % NGX_HTTP_WT_GENERATE_PERIOD;
        }
    }

    /* after a stop all is taken, until the write event tells of it */

    while (ws->pending == 0 && !ws->send_done
           && !ws->qs->connection->write->error)
    {
        p = bytes + gen->offset % NGX_HTTP_WT_GENERATE_PERIOD;
        n = ngx_min(gen->count - gen->offset, NGX_HTTP_WT_DISCARD_BUFFER);

        gen->offset += n;

        if (ngx_http_wt_stream_send(ws, p, n, gen->offset == gen->count)
            != NGX_OK)
        {
            ngx_http_wt_session_close(ws->session, NGX_HTTP_WT_BY_LIMIT,
                                      NGX_HTTP_WT_BY_LIMIT, NULL);
            return;
        }

        if (gen->offset == gen->count) {
            return;
        }
    }
}


static void
ngx_http_wt_discard_code(ngx_http_wt_stream_t *ws, uint32_t *code)
{
    /* a client that gives up one direction gets nothing in the other */

    ngx_http_wt_stream_reset(ws, code ? *code : 0);
    ngx_http_wt_stream_stop(ws, code ? *code : 0);
}


static void
ngx_http_wt_discard_sent(ngx_http_wt_stream_t *ws, size_t n)
{
}


static void
ngx_http_wt_generate_sent(ngx_http_wt_stream_t *ws, size_t n)
{
    ngx_http_wt_generate_t  *gen;

    gen = ws->peer;

    if (gen && gen->offset && gen->offset != gen->count) {
        ngx_http_wt_generate_send(ws);
    }
}


static void
ngx_http_wt_discard_stream_closed(ngx_http_wt_stream_t *ws)
{
}


static ngx_int_t
ngx_http_wt_discard_datagram(ngx_http_wt_session_t *s, u_char *data,
    size_t len)
{
    return NGX_OK;
}


static void
ngx_http_wt_discard_session(ngx_http_wt_session_t *s)
{
}
