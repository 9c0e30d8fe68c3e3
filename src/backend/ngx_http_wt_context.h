/*
 * What nginx remembers of a session for workers that do not: the user and the
 * metadata of Accept.session and Command.update.
 */


#ifndef _NGX_HTTP_WT_CONTEXT_H_INCLUDED_
#define _NGX_HTTP_WT_CONTEXT_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http_wt_msg.h>


/* keys and values of Context.meta and Context.user_id, together */
#define NGX_HTTP_WT_CONTEXT_MAX   4096

/* keys */
#define NGX_HTTP_WT_CONTEXT_KEYS  64


/* zeroed: nothing to remember */

typedef struct {
    ngx_str_t                  user_id;
    ngx_http_wt_msg_meta_t    *meta;
    ngx_uint_t                 nmeta;

    /* of the configuration */
    ngx_str_t                  location;
    ngx_str_t                  node;

    void                      *data;         /* on the heap: user_id, meta */
} ngx_http_wt_context_t;


/*
 * Merges what the worker says.  NGX_OK; NGX_DECLINED: it would be too much,
 * nothing has changed; NGX_ERROR without memory.
 */
ngx_int_t ngx_http_wt_context_update(ngx_http_wt_context_t *ctx,
    ngx_http_wt_msg_update_t *update, ngx_log_t *log);

/*
 * What stands in front of the events of a batch: session, number (0: none) and
 * context.  The length, 0 if it cannot be written; and the bytes themselves,
 * which returns the position behind them, or NULL without room.
 */
size_t ngx_http_wt_context_batch_len(ngx_http_wt_context_t *ctx,
    ngx_str_t *session_id, uint64_t seq);
u_char *ngx_http_wt_context_batch(u_char *p, u_char *last,
    ngx_http_wt_context_t *ctx, ngx_str_t *session_id, uint64_t seq);

void ngx_http_wt_context_free(ngx_http_wt_context_t *ctx);


#endif /* _NGX_HTTP_WT_CONTEXT_H_INCLUDED_ */
