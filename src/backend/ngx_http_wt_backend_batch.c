/*
 * The transport of workers that get a call for each batch of events, and
 * answer it with a batch of commands: gRPC's unary calls, HTTP requests.
 *
 * A session has two lanes, one for streams and all that has an order, one for
 * datagrams.  In each there is one batch at a time.  What happens meanwhile
 * collects in the output buffer and in the queue of datagrams.
 *
 * What is here lives in its own pool, because the last batches are delivered
 * when the session and its request are gone.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_http.h>
#include <ngx_http_wt_batch.h>
#include <ngx_http_wt_relay.h>


/* a batch up to this length is copied, and the output buffer stays */
#define NGX_HTTP_WT_BATCH_SMALL  4096

/* answers that wait, counted in the longest ones */
#define NGX_HTTP_WT_BATCH_WAIT   4

/*
 * How many sessions may be over while their last batches are still on the way.
 * Each has a connection to a worker, so it is a share of those that there are.
 */
#define ngx_http_wt_batch_max_left()  (ngx_cycle->connection_n / 4 + 1)

#define ngx_http_wt_batch_log(level, batch, fmt, ...)                         \
    ngx_log_error(level, &(batch)->log, 0,                                    \
                  "webtransport session %V: " fmt, &(batch)->id, ##__VA_ARGS__)


/*
 * An answer of which some commands have to wait, or which waits for one that
 * has; on the heap.
 */

typedef struct {
    ngx_queue_t                 queue;
    ngx_uint_t                  connect;     /* to a Connect */
    size_t                      len;
    u_char                      data[1];
} ngx_http_wt_batch_answer_t;


/*
 * Made by connect(), destroyed from an event after close(), when the last
 * batch has been delivered or given up.
 */

typedef struct {
    ngx_http_wt_backend_t      *backend;     /* NULL after the session's end */
    ngx_http_wt_backend_conf_t *conf;
    ngx_pool_t                 *pool;
    ngx_log_t                   log;
    ngx_str_t                   id;
    ngx_str_t                   client;

    uint64_t                    seq;         /* of the latest batch */
    ngx_http_wt_lane_t          streams;
    ngx_http_wt_lane_t          datagrams;

    ngx_queue_t                 answers;     /* the first one has begun */
    size_t                      waiting;     /* bytes of them */

    ngx_event_t                 event;       /* posted: go on, or end */

    /* after close(): events, and what stands in front of them */
    ngx_http_wt_output_t        last;
    u_char                     *last_prefix;
    size_t                      last_prefix_len;
    uint64_t                    last_seq;

    unsigned                    known:1;     /* a worker may know of it */
    unsigned                    counted:1;   /* among those without session */
    unsigned                    overdue:1;   /* there are too many of them */
} ngx_http_wt_batch_t;


static void ngx_http_wt_batch_frame(u_char *p, size_t len);
static ngx_int_t ngx_http_wt_batch_connect(ngx_http_wt_backend_t *b);
static ngx_int_t ngx_http_wt_batch_init(ngx_http_wt_batch_t *batch,
    ngx_http_wt_backend_t *b);
static ngx_int_t ngx_http_wt_batch_headers(ngx_http_wt_batch_t *batch,
    ngx_http_wt_backend_t *b);
static void ngx_http_wt_batch_init_lane(ngx_http_wt_batch_t *batch,
    ngx_http_wt_lane_t *lane);
static u_char *ngx_http_wt_batch_log_handler(ngx_log_t *log, u_char *buf,
    size_t len);
static ngx_int_t ngx_http_wt_batch_send(ngx_http_wt_backend_t *b);
static u_char *ngx_http_wt_batch_prefix(ngx_http_wt_batch_t *batch,
    size_t room, size_t *len);
static void ngx_http_wt_batch_datagrams(ngx_http_wt_backend_t *b);
static void ngx_http_wt_batch_resume(ngx_http_wt_backend_t *b);
static void ngx_http_wt_batch_ended(ngx_http_wt_lane_t *lane,
    ngx_http_wt_call_end_e how);
static void ngx_http_wt_batch_answered(ngx_http_wt_batch_t *batch,
    ngx_http_wt_lane_t *lane);
static ngx_int_t ngx_http_wt_batch_pass(void *data,
    ngx_http_wt_command_t *cmd);
static ngx_int_t ngx_http_wt_batch_check(ngx_http_wt_batch_t *batch,
    ngx_http_wt_lane_t *lane);
static void ngx_http_wt_batch_facts(ngx_http_wt_batch_t *batch,
    ngx_http_wt_lane_t *lane);
static ngx_int_t ngx_http_wt_batch_run(ngx_http_wt_batch_t *batch,
    u_char *data, size_t len, ngx_uint_t connect);
static void ngx_http_wt_batch_hold(ngx_http_wt_batch_t *batch,
    ngx_http_wt_lane_t *lane);
static void ngx_http_wt_batch_unhold(ngx_http_wt_batch_t *batch,
    ngx_http_wt_batch_answer_t *answer);
static void ngx_http_wt_batch_failed(ngx_http_wt_batch_t *batch,
    ngx_http_wt_lane_t *lane);
static void ngx_http_wt_batch_refused(ngx_http_wt_batch_t *batch,
    ngx_http_wt_lane_t *lane);
static void ngx_http_wt_batch_given_up(ngx_http_wt_batch_t *batch,
    ngx_http_wt_lane_t *lane);
static void ngx_http_wt_batch_dropped(ngx_http_wt_batch_t *batch,
    ngx_http_wt_lane_t *lane);
static void ngx_http_wt_batch_next(ngx_http_wt_batch_t *batch,
    ngx_http_wt_lane_t *lane);
static void ngx_http_wt_batch_ready(ngx_http_wt_lane_t *lane);
static void ngx_http_wt_batch_handler(ngx_event_t *ev);
static void ngx_http_wt_batch_go_on(ngx_http_wt_batch_t *batch);
static void ngx_http_wt_batch_close(ngx_http_wt_backend_t *b);
static void ngx_http_wt_batch_take_last(ngx_http_wt_batch_t *batch,
    ngx_http_wt_backend_t *b);
static void ngx_http_wt_batch_finish(ngx_http_wt_batch_t *batch);
static void ngx_http_wt_batch_destroy(ngx_http_wt_batch_t *batch);


const ngx_http_wt_transport_t  ngx_http_wt_batch = {
    ngx_string("batch"),
    1,
    0,
    ngx_http_wt_batch_frame,
    ngx_http_wt_batch_connect,
    ngx_http_wt_batch_send,
    ngx_http_wt_batch_datagrams,
    ngx_http_wt_batch_resume,
    ngx_http_wt_batch_close
};


static ngx_uint_t  ngx_http_wt_batch_left;


/* events are a message without anything in between */

static void
ngx_http_wt_batch_frame(u_char *p, size_t len)
{
}


/* the first call finds a worker, as do all others */

static ngx_int_t
ngx_http_wt_batch_connect(ngx_http_wt_backend_t *b)
{
    ngx_pool_t           *pool;
    ngx_http_wt_batch_t  *batch;

    pool = ngx_create_pool(NGX_DEFAULT_POOL_SIZE / 4, ngx_cycle->log);
    if (pool == NULL) {
        return NGX_ERROR;
    }

    batch = ngx_pcalloc(pool, sizeof(ngx_http_wt_batch_t));

    if (batch == NULL) {
        ngx_destroy_pool(pool);
        return NGX_ERROR;
    }

    batch->pool = pool;

    if (ngx_http_wt_batch_init(batch, b) != NGX_OK) {
        ngx_destroy_pool(pool);
        return NGX_ERROR;
    }

    b->link = batch;

    ngx_http_wt_relay_connected(b);

    return NGX_OK;
}


static ngx_int_t
ngx_http_wt_batch_init(ngx_http_wt_batch_t *batch, ngx_http_wt_backend_t *b)
{
    u_char                  *p;
    ngx_http_wt_session_t   *s;
    ngx_http_wt_original_t  *original;

    s = b->session;

    batch->backend = b;
    batch->conf = b->conf;

    original = ngx_http_wt_batch_original(s, batch->pool);
    if (original == NULL || ngx_http_wt_batch_headers(batch, b) != NGX_OK) {
        return NGX_ERROR;
    }

    batch->id = original->session.id;
    batch->client = original->connection.addr_text;

    /* the same file and level as the request's, but nothing of the request */

    batch->log = *s->request->connection->log;
    batch->log.handler = ngx_http_wt_batch_log_handler;
    batch->log.data = batch;
    batch->log.action = NULL;

    batch->pool->log = &batch->log;

    ngx_queue_init(&batch->answers);

    batch->event.handler = ngx_http_wt_batch_handler;
    batch->event.data = batch;
    batch->event.log = &batch->log;

    batch->streams.name = "stream";
    batch->streams.original = original;
    batch->datagrams.name = "datagram";
    batch->datagrams.original = original;
    batch->datagrams.call.once = 1;

    ngx_http_wt_batch_init_lane(batch, &batch->streams);
    ngx_http_wt_batch_init_lane(batch, &batch->datagrams);

    /* the name of the worker may change with every call */

    p = ngx_pnalloc(s->request->pool, NGX_SOCKADDR_STRLEN);
    if (p == NULL) {
        return NGX_ERROR;
    }

    s->backend.data = p;
    s->backend.len = 0;

    /* that of a location which sent the request here, by error_page */

    b->request->upstream = NULL;

    return NGX_OK;
}


static ngx_int_t
ngx_http_wt_batch_headers(ngx_http_wt_batch_t *batch, ngx_http_wt_backend_t *b)
{
    u_char                       *p;
    ngx_str_t                     value;
    ngx_uint_t                    i, n;
    ngx_http_wt_header_t         *h;
    ngx_http_wt_backend_value_t  *v;

    if (b->conf->headers == NULL) {
        return NGX_OK;
    }

    v = b->conf->headers->elts;
    n = b->conf->headers->nelts;

    h = ngx_palloc(batch->pool, n * sizeof(ngx_http_wt_header_t));
    if (h == NULL) {
        return NGX_ERROR;
    }

    batch->streams.call.headers = h;

    for (i = 0; i < n; i++) {

        if (ngx_http_complex_value(b->request, &v[i].value, &value) != NGX_OK) {
            return NGX_ERROR;
        }

        if (value.len == 0) {
            continue;
        }

        h->name = v[i].name;
        h->value.len = value.len;
        h->value.data = ngx_pnalloc(batch->pool, value.len);

        if (h->value.data == NULL) {
            return NGX_ERROR;
        }

        ngx_memcpy(h->value.data, value.data, value.len);

        /* $uri and others may have any bytes: they must not end the field */

        for (p = h->value.data; p < h->value.data + value.len; p++) {
            if ((*p < ' ' && *p != '\t') || *p == 0x7f) {
                *p = ' ';
            }
        }

        h++;
    }

    n = h - batch->streams.call.headers;

    batch->streams.call.nheaders = n;
    batch->datagrams.call.nheaders = n;
    batch->datagrams.call.headers = batch->streams.call.headers;

    return NGX_OK;
}


static void
ngx_http_wt_batch_init_lane(ngx_http_wt_batch_t *batch,
    ngx_http_wt_lane_t *lane)
{
    lane->data = batch;
    lane->log = batch->log;
    lane->ended = ngx_http_wt_batch_ended;
    lane->ready = ngx_http_wt_batch_ready;

    lane->call.conf = batch->conf;
    lane->call.id = &batch->id;
    lane->call.max_response = ngx_http_wt_relay_max_command(batch->backend);

    ngx_http_wt_lane_init(lane);
}


static u_char *
ngx_http_wt_batch_log_handler(ngx_log_t *log, u_char *buf, size_t len)
{
    u_char               *p;
    ngx_http_wt_batch_t  *batch;

    batch = log->data;
    p = buf;

    if (log->action) {
        p = ngx_snprintf(buf, len, " while %s", log->action);
        len -= p - buf;
    }

    return ngx_snprintf(p, len, ", client: %V, webtransport session: %V",
                        &batch->client, &batch->id);
}


static ngx_int_t
ngx_http_wt_batch_send(ngx_http_wt_backend_t *b)
{
    u_char                *p;
    size_t                 len, size;
    ngx_http_wt_lane_t    *lane;
    ngx_http_wt_batch_t   *batch;
    ngx_http_wt_output_t  *out;

    batch = b->link;
    out = &b->out;
    lane = &batch->streams;

    if (lane->state != NGX_HTTP_WT_LANE_IDLE) {
        return NGX_AGAIN;
    }

    size = out->last - out->pos;
    p = ngx_http_wt_batch_prefix(batch,
                                 size <= NGX_HTTP_WT_BATCH_SMALL ? size : 0,
                                 &len);
    if (p == NULL) {
        b->failure = "no memory for events";
        return NGX_AGAIN;
    }

    lane->prefix = p;
    lane->call.body[0].data = p;
    lane->call.body[0].len = len;

    if (size <= NGX_HTTP_WT_BATCH_SMALL) {
        lane->call.body[1].data = ngx_cpymem(p + len, out->pos, size) - size;
        out->pos = out->last;

    } else {
        lane->events = out->start;
        lane->call.body[1].data = out->pos;
        ngx_memzero(out, sizeof(ngx_http_wt_output_t));
    }

    lane->call.body[1].len = size;

    /* other workers than those of the upstream are not found by waiting */

    lane->seq = batch->seq;
    lane->repeat = b->accepted;
    lane->call.first = !b->accepted;

    ngx_http_wt_lane_start(lane);

    return NGX_OK;
}


/*
 * What stands in front of the next batch, on the heap, with "room" bytes
 * behind it.
 */

static u_char *
ngx_http_wt_batch_prefix(ngx_http_wt_batch_t *batch, size_t room, size_t *len)
{
    u_char                 *p, *last;
    size_t                  size;
    ngx_http_wt_backend_t  *b;

    b = batch->backend;

    size = ngx_http_wt_context_batch_len(&b->context, &batch->id,
                                         batch->seq + 1);
    if (size == 0) {
        return NULL;
    }

    p = ngx_alloc(size + room, &batch->log);
    if (p == NULL) {
        return NULL;
    }

    last = ngx_http_wt_context_batch(p, p + size, &b->context, &batch->id,
                                     batch->seq + 1);
    if (last == NULL) {
        ngx_free(p);
        return NULL;
    }

    batch->seq++;
    *len = last - p;

    return p;
}


static void
ngx_http_wt_batch_datagrams(ngx_http_wt_backend_t *b)
{
    u_char               *p, *events;
    size_t                len, size;
    uint64_t              dropped;
    ngx_uint_t            n;
    ngx_http_wt_lane_t   *lane;
    ngx_http_wt_batch_t  *batch;

    batch = b->link;
    lane = &batch->datagrams;

    if (!b->accepted || lane->state != NGX_HTTP_WT_LANE_IDLE) {
        return;
    }

    n = b->datagrams.n;
    dropped = b->session->counters.datagrams_dropped;

    size = ngx_http_wt_event_take_datagrams(b, &events);

    if (size == 0) {
        return;
    }

    dropped = b->session->counters.datagrams_dropped - dropped;
    n -= b->datagrams.n + (ngx_uint_t) dropped;

    p = ngx_http_wt_batch_prefix(batch, 0, &len);

    if (p == NULL) {
        ngx_free(events);
        b->session->counters.datagrams_dropped += n;
        return;
    }

    lane->prefix = p;
    lane->events = events;
    lane->call.body[0].data = p;
    lane->call.body[0].len = len;
    lane->call.body[1].data = events;
    lane->call.body[1].len = size;

    lane->seq = batch->seq;
    lane->nevents = n;

    ngx_http_wt_lane_start(lane);
}


static void
ngx_http_wt_batch_resume(ngx_http_wt_backend_t *b)
{
    ngx_http_wt_batch_t  *batch;

    batch = b->link;

    ngx_post_event(&batch->event, &ngx_posted_events);
}


/* from an event of the lane */

static void
ngx_http_wt_batch_ended(ngx_http_wt_lane_t *lane, ngx_http_wt_call_end_e how)
{
    ngx_http_wt_batch_t  *batch;

    batch = lane->data;

    if (how != NGX_HTTP_WT_CALL_OK) {
        ngx_http_wt_batch_failed(batch, lane);
        return;
    }

    batch->known = 1;

    if (batch->backend == NULL) {
        ngx_http_wt_lane_free(lane);
        ngx_http_wt_batch_finish(batch);
        return;
    }

    if (ngx_http_wt_batch_check(batch, lane) != NGX_OK) {
        lane->call.status = NGX_HTTP_BAD_GATEWAY;
        ngx_http_wt_batch_failed(batch, lane);
        return;
    }

    ngx_http_wt_batch_facts(batch, lane);
    ngx_http_wt_relay_heard(batch->backend);

    ngx_http_wt_batch_answered(batch, lane);
}


/*
 * Commands may wait for two things.  If it is a client that does not read, the
 * lane of the next answer waits, too, and so do the events behind it.  If it is
 * room in the output buffer, then lanes have to go on, because only their next
 * batch makes room.
 */

static void
ngx_http_wt_batch_answered(ngx_http_wt_batch_t *batch,
    ngx_http_wt_lane_t *lane)
{
    ngx_int_t   rc;
    ngx_str_t  *response;

    response = &lane->call.response;

    if (ngx_queue_empty(&batch->answers)) {
        rc = ngx_http_wt_batch_run(batch, response->data, response->len,
                                   lane->seq == 1);

    } else if (response->len == 0) {
        rc = NGX_OK;

    } else if (batch->backend->blocked) {
        return;

    } else {
        rc = NGX_AGAIN;
    }

    if (rc == NGX_AGAIN) {
        ngx_http_wt_batch_hold(batch, lane);
    }

    ngx_http_wt_batch_next(batch, lane);
}


static ngx_int_t
ngx_http_wt_batch_pass(void *data, ngx_http_wt_command_t *cmd)
{
    return NGX_OK;
}


/* NGX_ERROR with the reason in the lane: it is not an answer to this batch */

static ngx_int_t
ngx_http_wt_batch_check(ngx_http_wt_batch_t *batch, ngx_http_wt_lane_t *lane)
{
    uint64_t     seq;
    ngx_str_t    id, *response;
    const char  *err;

    response = &lane->call.response;

    /* all of it, before any of it is run */

    if (ngx_http_wt_msg_parse_commands(response->data, response->len,
                                       ngx_http_wt_batch_pass, NULL, &err)
        != NGX_OK
        || ngx_http_wt_msg_commands_head(response->data, response->len, &id,
                                         &seq)
           != NGX_OK)
    {
        ngx_snprintf(lane->reason, NGX_HTTP_WT_LANE_REASON,
                     "the answer is malformed: %s%Z",
                     err ? err : "wrong wire type");
        return NGX_ERROR;
    }

    if (id.len
        && (id.len != batch->id.len
            || ngx_memcmp(id.data, batch->id.data, id.len) != 0))
    {
        ngx_cpystrn(lane->reason, (u_char *) "the answer has a session_id of "
                    "another session", NGX_HTTP_WT_LANE_REASON);
        return NGX_ERROR;
    }

    if (seq && seq != lane->seq) {
        ngx_snprintf(lane->reason, NGX_HTTP_WT_LANE_REASON,
                     "the answer has the seq %uL%Z", seq);
        return NGX_ERROR;
    }

    return NGX_OK;
}


/* what the access log may want to know of the call */

static void
ngx_http_wt_batch_facts(ngx_http_wt_batch_t *batch, ngx_http_wt_lane_t *lane)
{
    ngx_str_t              *name, *peer;
    ngx_http_wt_backend_t  *b;

    b = batch->backend;

    if (lane->seq == 1) {
        ngx_http_wt_batch_states(b->request, lane->call.request);
    }

    peer = &lane->call.peer;
    name = &b->session->backend;

    name->len = ngx_min(peer->len, NGX_SOCKADDR_STRLEN);
    ngx_memcpy(name->data, peer->data, name->len);
}


/*
 * Runs commands.  NGX_AGAIN: they have to wait; NGX_OK; NGX_DONE: the session
 * has ended.
 */

static ngx_int_t
ngx_http_wt_batch_run(ngx_http_wt_batch_t *batch, u_char *data, size_t len,
    ngx_uint_t connect)
{
    ngx_int_t               rc;
    ngx_http_wt_backend_t  *b;

    b = batch->backend;

    rc = len ? ngx_http_wt_relay_input(b, data, len) : NGX_OK;

    if (batch->backend == NULL) {
        return NGX_DONE;
    }

    if (rc == NGX_OK && connect && !b->accepted) {
        ngx_http_wt_relay_violation(b, "worker answered Connect without "
                                    "Accept or Reject");
        return NGX_DONE;
    }

    return rc;
}


static void
ngx_http_wt_batch_hold(ngx_http_wt_batch_t *batch, ngx_http_wt_lane_t *lane)
{
    ngx_str_t                   *response;
    ngx_http_wt_batch_answer_t  *answer;

    response = &lane->call.response;

    if (batch->waiting + response->len
        > NGX_HTTP_WT_BATCH_WAIT * lane->call.max_response)
    {
        ngx_http_wt_relay_end(batch->backend, NGX_HTTP_WT_BY_LIMIT,
                              NGX_HTTP_INTERNAL_SERVER_ERROR,
                              "worker sent more commands than there is room "
                              "for results");
        return;
    }

    answer = ngx_alloc(offsetof(ngx_http_wt_batch_answer_t, data)
                       + response->len, &batch->log);
    if (answer == NULL) {
        ngx_http_wt_relay_end(batch->backend, NGX_HTTP_WT_BY_LIMIT,
                              NGX_HTTP_INTERNAL_SERVER_ERROR,
                              "no memory for commands");
        return;
    }

    answer->connect = (lane->seq == 1);
    answer->len = response->len;
    ngx_memcpy(answer->data, response->data, response->len);

    ngx_queue_insert_tail(&batch->answers, &answer->queue);
    batch->waiting += response->len;
}


static void
ngx_http_wt_batch_unhold(ngx_http_wt_batch_t *batch,
    ngx_http_wt_batch_answer_t *answer)
{
    ngx_queue_remove(&answer->queue);
    batch->waiting -= answer->len;

    ngx_free(answer);
}


/* a batch was given up, and lane->reason says why */

static void
ngx_http_wt_batch_failed(ngx_http_wt_batch_t *batch, ngx_http_wt_lane_t *lane)
{
    ngx_http_wt_backend_t  *b;

    b = batch->backend;

    if (lane->sent) {
        batch->known = 1;
    }

    if (b == NULL) {
        ngx_http_wt_batch_given_up(batch, lane);
        ngx_http_wt_lane_free(lane);
        ngx_http_wt_batch_finish(batch);
        return;
    }

    if (lane == &batch->datagrams) {
        ngx_http_wt_batch_dropped(batch, lane);
        ngx_http_wt_lane_free(lane);
        ngx_http_wt_lane_pause(lane);
        return;
    }

    if (!b->accepted) {

        if (lane->call.request) {
            ngx_http_wt_batch_facts(batch, lane);
        }

        ngx_http_wt_batch_refused(batch, lane);

    } else {
        ngx_http_wt_batch_given_up(batch, lane);

        if (batch->conf->unary_error == NGX_HTTP_WT_UNARY_CLOSE) {
            ngx_http_wt_relay_failed(b, NGX_HTTP_BAD_GATEWAY,
                                     "worker did not take a batch of events");
        }
    }

    ngx_http_wt_batch_next(batch, lane);
}


/* the client gets what the worker said, as far as that is an answer for it */

static void
ngx_http_wt_batch_refused(ngx_http_wt_batch_t *batch, ngx_http_wt_lane_t *lane)
{
    ngx_str_t         reason;
    ngx_uint_t        status;
    ngx_http_wt_by_e  by;

    status = lane->call.status;

    reason.data = lane->reason;
    reason.len = ngx_strlen(lane->reason);

    by = (status < NGX_HTTP_INTERNAL_SERVER_ERROR) ? NGX_HTTP_WT_BY_WORKER
                                                   : NGX_HTTP_WT_BY_WORKER_LOST;

    ngx_http_wt_relay_left(batch->backend, by, status,
                           "worker did not take the session", &reason);
}


static void
ngx_http_wt_batch_given_up(ngx_http_wt_batch_t *batch,
    ngx_http_wt_lane_t *lane)
{
    const char  *what;

    if (lane->seq == batch->last_seq) {
        what = "Closed could not be delivered";

    } else if (lane->seq == 1) {
        what = "Connect could not be delivered";

    } else {
        what = "events could not be delivered";
    }

    ngx_http_wt_batch_log(NGX_LOG_ERR, batch,
                          "%s: batch %uL was given up after %ui attempts, the "
                          "last at worker \"%V\": %s", what, lane->seq,
                          lane->attempts, &lane->peer, lane->reason);
}


static void
ngx_http_wt_batch_dropped(ngx_http_wt_batch_t *batch, ngx_http_wt_lane_t *lane)
{
    batch->backend->session->counters.datagrams_dropped += lane->nevents;

    ngx_http_wt_batch_log(NGX_LOG_INFO, batch,
                          "%ui datagrams of batch %uL were dropped at worker "
                          "\"%V\": %s", lane->nevents, lane->seq,
                          &lane->peer, lane->reason);
}


/* the lane is free for the next batch */

static void
ngx_http_wt_batch_next(ngx_http_wt_batch_t *batch, ngx_http_wt_lane_t *lane)
{
    ngx_http_wt_lane_free(lane);

    if (batch->backend) {

        /* which may end the session */

        ngx_http_wt_relay_write(batch->backend);
    }

    if (batch->backend == NULL) {
        ngx_http_wt_batch_finish(batch);
    }
}


static void
ngx_http_wt_batch_ready(ngx_http_wt_lane_t *lane)
{
    ngx_http_wt_batch_t  *batch;

    batch = lane->data;

    if (batch->backend == NULL) {

        /* the session has ended in this turn; an event is posted */

        return;
    }

    ngx_http_wt_batch_datagrams(batch->backend);
}


/* posted: commands go on, or the session is over */

static void
ngx_http_wt_batch_handler(ngx_event_t *ev)
{
    ngx_http_wt_batch_t  *batch;

    batch = ev->data;

    ngx_log_debug1(NGX_LOG_DEBUG_HTTP, ev->log, 0,
                   "wt session %V batches go on", &batch->id);

    if (batch->backend) {
        ngx_http_wt_batch_go_on(batch);

    } else {
        ngx_http_wt_batch_finish(batch);
    }
}


static void
ngx_http_wt_batch_go_on(ngx_http_wt_batch_t *batch)
{
    ngx_int_t                    rc;
    ngx_queue_t                 *q;
    ngx_http_wt_lane_t          *lane, *other;
    ngx_http_wt_batch_answer_t  *answer;

    while (!ngx_queue_empty(&batch->answers)) {

        q = ngx_queue_head(&batch->answers);
        answer = ngx_queue_data(q, ngx_http_wt_batch_answer_t, queue);

        rc = ngx_http_wt_batch_run(batch, answer->data, answer->len,
                                   answer->connect);

        if (rc == NGX_AGAIN) {
            break;
        }

        ngx_http_wt_batch_unhold(batch, answer);

        if (rc == NGX_DONE) {
            ngx_http_wt_batch_finish(batch);
            return;
        }
    }

    /* lanes that waited */

    lane = &batch->streams;
    other = &batch->datagrams;

    if (lane->state != NGX_HTTP_WT_LANE_ENDED) {
        lane = other;
    }

    if (lane->state != NGX_HTTP_WT_LANE_ENDED) {
        return;
    }

    if (lane != other && other->state == NGX_HTTP_WT_LANE_ENDED) {
        ngx_post_event(&batch->event, &ngx_posted_events);
    }

    ngx_http_wt_batch_answered(batch, lane);
}


/*
 * The call in flight goes on: what it carries comes before what is left.  Both
 * get their time from now on.  Nothing is freed here, which may be called from
 * within a command or a failure.
 */

static void
ngx_http_wt_batch_close(ngx_http_wt_backend_t *b)
{
    ngx_http_wt_batch_t  *batch;

    batch = b->link;

    if (batch == NULL) {
        return;
    }

    if (b->connected && b->out.pos != b->out.last) {
        ngx_http_wt_batch_take_last(batch, b);
    }

    b->link = NULL;
    batch->backend = NULL;

    if (ngx_http_wt_batch_left < ngx_http_wt_batch_max_left()) {
        batch->counted = 1;
        ngx_http_wt_batch_left++;

    } else {
        batch->overdue = 1;
    }

    ngx_http_wt_lane_hurry(&batch->streams);

    ngx_post_event(&batch->event, &ngx_posted_events);
}


static void
ngx_http_wt_batch_take_last(ngx_http_wt_batch_t *batch,
    ngx_http_wt_backend_t *b)
{
    u_char  *p;

    p = ngx_http_wt_batch_prefix(batch, 0, &batch->last_prefix_len);

    if (p == NULL) {
        ngx_http_wt_batch_log(NGX_LOG_ERR, batch,
                              "no memory to tell the worker of the end");
        return;
    }

    batch->last_prefix = p;
    batch->last_seq = batch->seq;
    batch->last = b->out;

    ngx_memzero(&b->out, sizeof(ngx_http_wt_output_t));
}


/* the session is over, and nobody of it is on the stack */

static void
ngx_http_wt_batch_finish(ngx_http_wt_batch_t *batch)
{
    ngx_queue_t                 *q;
    ngx_http_wt_lane_t          *lane;
    ngx_http_wt_batch_answer_t  *answer;

    while (!ngx_queue_empty(&batch->answers)) {
        q = ngx_queue_head(&batch->answers);
        answer = ngx_queue_data(q, ngx_http_wt_batch_answer_t, queue);

        ngx_http_wt_batch_unhold(batch, answer);
    }

    ngx_http_wt_lane_free(&batch->datagrams);

    lane = &batch->streams;

    if (batch->overdue && (batch->known || lane->sent || lane->call.sent)) {
        ngx_http_wt_batch_log(NGX_LOG_ERR, batch,
                              "Closed could not be delivered: the last batches "
                              "of %ui sessions are still on the way",
                              ngx_http_wt_batch_left);
    }

    if (batch->overdue) {
        ngx_http_wt_lane_free(lane);
        ngx_http_wt_batch_destroy(batch);
        return;
    }

    if (lane->state == NGX_HTTP_WT_LANE_ENDED) {
        ngx_http_wt_lane_free(lane);
    }

    if (lane->state != NGX_HTTP_WT_LANE_IDLE) {
        return;
    }

    if (batch->last_prefix == NULL || !batch->known) {
        ngx_http_wt_batch_destroy(batch);
        return;
    }

    lane->prefix = batch->last_prefix;
    lane->events = batch->last.start;
    lane->seq = batch->last_seq;
    lane->repeat = 1;
    lane->call.first = 0;

    lane->call.body[0].data = batch->last_prefix;
    lane->call.body[0].len = batch->last_prefix_len;
    lane->call.body[1].data = batch->last.pos;
    lane->call.body[1].len = batch->last.last - batch->last.pos;

    batch->last_prefix = NULL;
    ngx_memzero(&batch->last, sizeof(ngx_http_wt_output_t));

    ngx_http_wt_lane_start(lane);
}


static void
ngx_http_wt_batch_destroy(ngx_http_wt_batch_t *batch)
{
    ngx_pool_t  *pool;

    ngx_log_debug1(NGX_LOG_DEBUG_HTTP, &batch->log, 0,
                   "wt session %V batches end", &batch->id);

    if (batch->event.posted) {
        ngx_delete_posted_event(&batch->event);
    }

    if (batch->counted) {
        ngx_http_wt_batch_left--;
    }

    if (batch->last_prefix) {
        ngx_free(batch->last_prefix);
    }

    if (batch->last.start) {
        ngx_free(batch->last.start);
    }

    pool = batch->pool;

    /* the log is in the pool */

    pool->log = ngx_cycle->log;

    ngx_destroy_pool(pool);
}
