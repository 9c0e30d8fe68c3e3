/*
 * A session's streams by their ids in the contract, and its datagrams.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_http.h>
#include <ngx_http_wt_conn.h>
#include <ngx_http_wt_proto.h>
#include <ngx_http_wt_session.h>
#include <ngx_http_wt_varint.h>


/* ids from here on are chosen by nginx, those below by client and worker */
#define NGX_HTTP_WT_NGINX_ID  0x100000000ULL


static void ngx_http_wt_session_insert(ngx_rbtree_node_t *temp,
    ngx_rbtree_node_t *node, ngx_rbtree_node_t *sentinel);
static void ngx_http_wt_session_add_stream(ngx_http_wt_session_t *s,
    ngx_http_wt_stream_t *ws, uint64_t id);


void
ngx_http_wt_session_init_streams(ngx_http_wt_session_t *s)
{
    ngx_uint_t  i;

    ngx_rbtree_init(&s->streams, &s->sentinel, ngx_http_wt_session_insert);

    for (i = 0; i < 4; i++) {
        s->next_id[i] = 4 + i;
    }

    s->next_nginx_id[0] = NGX_HTTP_WT_NGINX_ID | NGX_HTTP_WT_STREAM_LOCAL;
    s->next_nginx_id[1] = NGX_HTTP_WT_NGINX_ID | NGX_HTTP_WT_STREAM_LOCAL
                          | NGX_HTTP_WT_STREAM_UNI;
}


static void
ngx_http_wt_session_insert(ngx_rbtree_node_t *temp, ngx_rbtree_node_t *node,
    ngx_rbtree_node_t *sentinel)
{
    ngx_rbtree_node_t     **p;
    ngx_http_wt_stream_t   *ws, *wst;

    ws = (ngx_http_wt_stream_t *) node;

    for ( ;; ) {
        wst = (ngx_http_wt_stream_t *) temp;

        p = (ws->id < wst->id) ? &temp->left : &temp->right;

        if (*p == sentinel) {
            break;
        }

        temp = *p;
    }

    *p = node;
    node->parent = temp;
    node->left = sentinel;
    node->right = sentinel;
    ngx_rbt_red(node);
}


static void
ngx_http_wt_session_add_stream(ngx_http_wt_session_t *s,
    ngx_http_wt_stream_t *ws, uint64_t id)
{
    ws->id = id;
    ngx_rbtree_insert(&s->streams, &ws->node);
}


void
ngx_http_wt_session_stream(ngx_http_wt_session_t *s, ngx_http_wt_stream_t *ws)
{
    uint64_t  *next;

    next = &s->next_id[ws->qs->id & 0x03];

    ngx_http_wt_session_add_stream(s, ws, *next);
    *next += 4;

    s->counters.streams_in++;
    ngx_http_wt_session_touch(s);

    ngx_http_wt_stream_attach(ws, s);
}


ngx_int_t
ngx_http_wt_session_find(ngx_http_wt_session_t *s, uint64_t id,
    ngx_http_wt_stream_t **wsp)
{
    uint64_t               next;
    ngx_rbtree_node_t     *node;
    ngx_http_wt_stream_t  *ws;

    node = s->streams.root;

    while (node != s->streams.sentinel) {
        ws = (ngx_http_wt_stream_t *) node;

        if (id == ws->id) {
            *wsp = ws;
            return NGX_OK;
        }

        node = (id < ws->id) ? node->left : node->right;
    }

    /* ids of a kind rise, so this needs no memory */

    next = (id < NGX_HTTP_WT_NGINX_ID)
               ? s->next_id[id & 0x03]
               : (id & NGX_HTTP_WT_STREAM_LOCAL)
                     ? s->next_nginx_id[(id & NGX_HTTP_WT_STREAM_UNI) != 0]
                     : 0;

    return (id > 3 && id < next) ? NGX_DECLINED : NGX_ERROR;
}


ngx_int_t
ngx_http_wt_session_open(ngx_http_wt_session_t *s, uint64_t id, ngx_uint_t uni,
    ngx_http_wt_stream_t **wsp)
{
    uint64_t               *next;
    ngx_uint_t              kind;
    ngx_http_wt_stream_t   *ws;
    ngx_http_wt_qstream_t  *qs;

    kind = NGX_HTTP_WT_STREAM_LOCAL | (uni ? NGX_HTTP_WT_STREAM_UNI : 0);

    if (id == 0) {
        next = &s->next_nginx_id[uni];
        id = *next;

    } else {
        next = &s->next_id[kind];

        if ((id & 0x03) != kind || id < *next || id >= NGX_HTTP_WT_NGINX_ID) {
            return NGX_DECLINED;
        }
    }

    *next = id + 4;

    qs = ngx_http_wt_glue_stream_open(s->conn->qconn, !uni);
    if (qs == NULL) {
        return NGX_BUSY;
    }

    ws = ngx_http_wt_stream_create(qs);
    if (ws == NULL) {
        ngx_http_wt_glue_stream_close(qs, NGX_HTTP_WT_ERR_SESSION_GONE);
        return NGX_BUSY;
    }

    ngx_http_wt_session_add_stream(s, ws, id);

    s->counters.streams_out++;
    ngx_http_wt_session_touch(s);

    ngx_http_wt_stream_start(ws, s);

    *wsp = ws;

    return NGX_OK;
}


uint64_t
ngx_http_wt_session_streams_left(ngx_http_wt_session_t *s, ngx_uint_t uni)
{
    return ngx_http_wt_glue_streams_left(s->conn->qconn, !uni);
}


ngx_int_t
ngx_http_wt_session_input(ngx_http_wt_session_t *s, u_char *data, size_t len)
{
    s->counters.datagrams_in++;
    ngx_http_wt_session_touch(s);

    return s->peer_ops->datagram(s, data, len);
}


ngx_int_t
ngx_http_wt_session_datagram(ngx_http_wt_session_t *s, u_char *data,
    size_t len, ngx_msec_t ttl)
{
    if (s->ended) {
        return NGX_OK;
    }

    ngx_http_wt_session_touch(s);

    if (len > ngx_http_wt_session_datagram_max(s)) {
        s->counters.datagrams_dropped++;
        return NGX_DECLINED;
    }

    if (s->datagrams.n == s->datagrams.max) {

        /* a burst within one turn of the event loop loses nothing yet */

        ngx_http_wt_glue_datagram_flush(s->conn->qconn);
    }

    s->counters.datagrams_dropped +=
        ngx_http_wt_datagram_queue_push(&s->datagrams, 0, data, len, ttl,
                                        s->request->connection->log);

    ngx_http_wt_glue_datagram_post(s->conn->qconn);

    return NGX_OK;
}


size_t
ngx_http_wt_session_datagram_max(ngx_http_wt_session_t *s)
{
    size_t  max, id_len;

    max = ngx_http_wt_glue_datagram_max(s->conn->qconn);
    id_len = ngx_http_wt_varint_len(s->connect_id / 4);

    return (max > id_len) ? max - id_len : 0;
}
