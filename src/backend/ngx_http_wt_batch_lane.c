/*
 * A lane: one batch on its way, as many attempts as it takes.
 *
 * The result of an attempt is handled from a posted event, because a call may
 * be done before it has returned to us.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_http.h>
#include <ngx_http_wt_batch.h>


/* between attempts, in milliseconds; the time doubles from min to max */
#define NGX_HTTP_WT_LANE_MIN_DELAY   100
#define NGX_HTTP_WT_LANE_MAX_DELAY   5000

/* the longest Retry-After that is obeyed */
#define NGX_HTTP_WT_LANE_MAX_AFTER   30000

/* how often a lane looks if nginx is exiting */
#define NGX_HTTP_WT_LANE_TICK        1000

/* how long nginx's exit is put off for the last calls, in milliseconds */
#define NGX_HTTP_WT_LANE_LINGER      5000

/* the last attempts of a session have at least this time */
#define NGX_HTTP_WT_LANE_MIN_TIMEOUT 1000


static void ngx_http_wt_lane_attempt(ngx_http_wt_lane_t *lane);
static ngx_int_t ngx_http_wt_lane_begin(ngx_http_wt_lane_t *lane);
static void ngx_http_wt_lane_done(ngx_http_wt_call_t *call,
    ngx_http_wt_call_end_e how);
static void ngx_http_wt_lane_handler(ngx_event_t *ev);
static void ngx_http_wt_lane_watch(ngx_http_wt_lane_t *lane);
static void ngx_http_wt_lane_called(ngx_http_wt_lane_t *lane);
static void ngx_http_wt_lane_peer(ngx_http_wt_lane_t *lane);
static ngx_int_t ngx_http_wt_lane_again(ngx_http_wt_lane_t *lane);
static ngx_msec_t ngx_http_wt_lane_delay(ngx_http_wt_lane_t *lane);
static void ngx_http_wt_lane_wait(ngx_http_wt_lane_t *lane, ngx_msec_t delay);
static void ngx_http_wt_lane_release(ngx_http_wt_lane_t *lane);


void
ngx_http_wt_lane_init(ngx_http_wt_lane_t *lane)
{
    lane->call.data = lane;
    lane->call.done = ngx_http_wt_lane_done;
    lane->call.log = &lane->log;

    lane->event.handler = ngx_http_wt_lane_handler;
    lane->event.data = lane;
    lane->event.log = &lane->log;

    lane->backoff = NGX_HTTP_WT_LANE_MIN_DELAY;
}


void
ngx_http_wt_lane_start(ngx_http_wt_lane_t *lane)
{
    lane->attempts = 0;
    lane->sent = 0;
    lane->deadline = ngx_current_msec + lane->call.conf->unary_timeout;

    if (lane->repeat) {

        /* lanes that pause remember how long the last time was */

        lane->backoff = NGX_HTTP_WT_LANE_MIN_DELAY;
    }

    ngx_http_wt_lane_attempt(lane);
}


static void
ngx_http_wt_lane_attempt(ngx_http_wt_lane_t *lane)
{
    lane->attempts++;
    lane->state = NGX_HTTP_WT_LANE_CALLING;
    lane->log.action = "calling webtransport worker";

    ngx_log_debug3(NGX_LOG_DEBUG_HTTP, &lane->log, 0,
                   "wt session %V batch %uL attempt %ui",
                   lane->call.id, lane->seq, lane->attempts);

    if (ngx_http_wt_lane_begin(lane) != NGX_OK) {

        lane->call.status = NGX_HTTP_INTERNAL_SERVER_ERROR;
        lane->call.reason = "no memory for the call";

        ngx_http_wt_lane_done(&lane->call, NGX_HTTP_WT_CALL_RETRY);
        return;
    }

    if (lane->last && lane->state == NGX_HTTP_WT_LANE_CALLING) {
        ngx_add_timer(&lane->event, NGX_HTTP_WT_LANE_TICK);
    }
}


void
ngx_http_wt_lane_hurry(ngx_http_wt_lane_t *lane)
{
    lane->last = 1;
    lane->deadline = ngx_current_msec + lane->call.conf->unary_timeout;

    if (lane->state == NGX_HTTP_WT_LANE_CALLING) {
        ngx_add_timer(&lane->event, NGX_HTTP_WT_LANE_TICK);
    }
}


static ngx_int_t
ngx_http_wt_lane_begin(ngx_http_wt_lane_t *lane)
{
    ngx_msec_int_t       left;
    ngx_http_wt_call_t  *call;

    call = &lane->call;

    call->timeout = call->conf->upstream.read_timeout;

    if (lane->last) {
        left = (ngx_msec_int_t) (lane->deadline - ngx_current_msec);
        left = ngx_max(left, NGX_HTTP_WT_LANE_MIN_TIMEOUT);

        call->timeout = ngx_min(call->timeout, (ngx_msec_t) left);
    }

    ngx_str_null(&call->response);
    ngx_str_null(&call->peer);

    call->status = NGX_HTTP_BAD_GATEWAY;
    call->reason = NULL;
    call->delay = 0;
    call->sent = 0;
    call->link = NULL;

    ngx_memzero(&call->upstream, sizeof(ngx_http_wt_upstream_t));

    call->pool = ngx_create_pool(NGX_DEFAULT_POOL_SIZE / 4, &lane->log);
    if (call->pool == NULL) {
        return NGX_ERROR;
    }

    call->request = ngx_http_wt_batch_request(lane->original, call->pool,
                                              &lane->log);
    if (call->request == NULL) {
        return NGX_ERROR;
    }

    return call->conf->call->begin(call);
}


static void
ngx_http_wt_lane_done(ngx_http_wt_call_t *call, ngx_http_wt_call_end_e how)
{
    ngx_http_wt_lane_t  *lane;

    lane = call->data;

    lane->how = how;
    lane->state = NGX_HTTP_WT_LANE_CALLED;

    if (lane->event.timer_set) {
        ngx_del_timer(&lane->event);
    }

    ngx_post_event(&lane->event, &ngx_posted_events);
}


static void
ngx_http_wt_lane_handler(ngx_event_t *ev)
{
    ngx_http_wt_lane_t  *lane;

    lane = ev->data;

    ev->timedout = 0;

    ngx_log_debug3(NGX_LOG_DEBUG_HTTP, ev->log, 0,
                   "wt session %V %s lane state:%d",
                   lane->call.id, lane->name, lane->state);

    switch (lane->state) {

    case NGX_HTTP_WT_LANE_CALLING:
        ngx_http_wt_lane_watch(lane);
        return;

    case NGX_HTTP_WT_LANE_CALLED:
        ngx_http_wt_lane_called(lane);
        return;

    case NGX_HTTP_WT_LANE_WAITING:

        if (ngx_exiting && lane->last) {
            lane->state = NGX_HTTP_WT_LANE_ENDED;
            lane->ended(lane, NGX_HTTP_WT_CALL_FAILED);
            return;
        }

        if ((ngx_msec_int_t) (lane->until - ngx_current_msec) > 0) {
            ngx_http_wt_lane_wait(lane, lane->until - ngx_current_msec);
            return;
        }

        ngx_http_wt_lane_attempt(lane);
        return;

    case NGX_HTTP_WT_LANE_PAUSED:
        lane->state = NGX_HTTP_WT_LANE_IDLE;
        lane->ready(lane);
        return;

    default:
        return;
    }
}


/* a call that outlived its session */

static void
ngx_http_wt_lane_watch(ngx_http_wt_lane_t *lane)
{
    ngx_msec_int_t  left;

    if (ngx_exiting && !lane->exiting) {
        lane->exiting = 1;
        lane->until = ngx_current_msec + NGX_HTTP_WT_LANE_LINGER;
    }

    if (!lane->exiting) {
        ngx_add_timer(&lane->event, NGX_HTTP_WT_LANE_TICK);
        return;
    }

    left = (ngx_msec_int_t) (lane->until - ngx_current_msec);

    if (left > 0) {
        ngx_add_timer(&lane->event, (ngx_msec_t) left);
        return;
    }

    ngx_http_wt_lane_peer(lane);
    ngx_http_wt_lane_release(lane);

    ngx_cpystrn(lane->reason, (u_char *) "no answer, and nginx is exiting",
                NGX_HTTP_WT_LANE_REASON);

    lane->state = NGX_HTTP_WT_LANE_ENDED;
    lane->ended(lane, NGX_HTTP_WT_CALL_FAILED);
}


static void
ngx_http_wt_lane_called(ngx_http_wt_lane_t *lane)
{
    ngx_http_wt_call_end_e  how;

    how = lane->how;

    if (lane->call.sent) {
        lane->sent = 1;
    }

    ngx_http_wt_lane_peer(lane);

    if (how == NGX_HTTP_WT_CALL_OK) {
        lane->backoff = NGX_HTTP_WT_LANE_MIN_DELAY;

    } else {

        /* the call's own text goes with its pool */

        ngx_cpystrn(lane->reason,
                    (u_char *) (lane->call.reason ? lane->call.reason
                                                  : "the call failed"),
                    NGX_HTTP_WT_LANE_REASON);

        if (how == NGX_HTTP_WT_CALL_RETRY
            && ngx_http_wt_lane_again(lane) == NGX_OK)
        {
            return;
        }
    }

    lane->state = NGX_HTTP_WT_LANE_ENDED;
    lane->ended(lane, how);
}


static void
ngx_http_wt_lane_peer(ngx_http_wt_lane_t *lane)
{
    ngx_str_t  *peer;

    peer = &lane->call.peer;

    lane->peer.data = lane->peer_data;
    lane->peer.len = ngx_min(peer->len, NGX_SOCKADDR_STRLEN);

    if (lane->peer.len) {
        ngx_memcpy(lane->peer_data, peer->data, lane->peer.len);
    }
}


/* NGX_OK: there will be another attempt */

static ngx_int_t
ngx_http_wt_lane_again(ngx_http_wt_lane_t *lane)
{
    ngx_uint_t      level;
    ngx_msec_t      delay, after;
    ngx_msec_int_t  left;

    if (!lane->repeat || (ngx_exiting && lane->last)) {
        return NGX_DECLINED;
    }

    left = (ngx_msec_int_t) (lane->deadline - ngx_current_msec);
    delay = ngx_http_wt_lane_delay(lane);

    if (left < (ngx_msec_int_t) delay) {

        /* a last attempt in the end, unless it would follow too closely */

        if (left < (ngx_msec_int_t) delay / 2) {
            return NGX_DECLINED;
        }

        delay = left;
    }

    after = ngx_min(lane->call.delay, NGX_HTTP_WT_LANE_MAX_AFTER);
    after = ngx_min(after, (ngx_msec_t) left);

    delay = ngx_max(delay, after);

    /* once is enough for a batch */

    level = (lane->attempts == 1) ? NGX_LOG_WARN : NGX_LOG_INFO;

    ngx_log_error(level, &lane->log, 0,
                  "webtransport session %V: batch %uL failed at worker "
                  "\"%V\": %s; it will be repeated in %Mms, for %Mms at most",
                  lane->call.id, lane->seq, &lane->peer, lane->reason,
                  delay, (ngx_msec_t) left);

    ngx_http_wt_lane_release(lane);

    lane->state = NGX_HTTP_WT_LANE_WAITING;
    lane->until = ngx_current_msec + delay;

    ngx_http_wt_lane_wait(lane, delay);

    return NGX_OK;
}


/* between a half and the whole of the time, so that sessions spread */

static ngx_msec_t
ngx_http_wt_lane_delay(ngx_http_wt_lane_t *lane)
{
    ngx_msec_t  half;

    half = lane->backoff / 2;

    lane->backoff = ngx_min(2 * lane->backoff, NGX_HTTP_WT_LANE_MAX_DELAY);

    return half + (ngx_msec_t) ngx_random() % (half + 1);
}


static void
ngx_http_wt_lane_wait(ngx_http_wt_lane_t *lane, ngx_msec_t delay)
{
    /* a timer keeps nginx from exiting, so no long ones */

    ngx_add_timer(&lane->event, ngx_min(delay, NGX_HTTP_WT_LANE_TICK));
}


void
ngx_http_wt_lane_pause(ngx_http_wt_lane_t *lane)
{
    lane->state = NGX_HTTP_WT_LANE_PAUSED;

    ngx_add_timer(&lane->event, ngx_http_wt_lane_delay(lane));
}


void
ngx_http_wt_lane_free(ngx_http_wt_lane_t *lane)
{
    if (lane->event.timer_set) {
        ngx_del_timer(&lane->event);
    }

    if (lane->event.posted) {
        ngx_delete_posted_event(&lane->event);
    }

    ngx_http_wt_lane_release(lane);

    if (lane->prefix) {
        ngx_free(lane->prefix);
        lane->prefix = NULL;
    }

    if (lane->events) {
        ngx_free(lane->events);
        lane->events = NULL;
    }

    lane->state = NGX_HTTP_WT_LANE_IDLE;
}


/* the end of an attempt */

static void
ngx_http_wt_lane_release(ngx_http_wt_lane_t *lane)
{
    ngx_http_wt_call_t  *call;

    call = &lane->call;

    if (call->pool == NULL) {
        return;
    }

    if (call->request) {
        call->conf->call->cancel(call);
    }

    if (call->sent) {
        lane->sent = 1;
    }

    ngx_destroy_pool(call->pool);

    call->pool = NULL;
    call->request = NULL;

    /* they were in the pool */

    ngx_str_null(&call->response);
    ngx_str_null(&call->peer);

    call->reason = NULL;
    call->link = NULL;
}
