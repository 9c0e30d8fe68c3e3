/*
 * The context of a session.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http_wt_context.h>


static ngx_http_wt_msg_meta_t *ngx_http_wt_context_find(
    ngx_http_wt_msg_meta_t *meta, ngx_uint_t n, ngx_str_t *key);
static ngx_int_t ngx_http_wt_context_store(ngx_http_wt_context_t *ctx,
    ngx_str_t *user_id, ngx_http_wt_msg_meta_t *meta, ngx_uint_t n,
    ngx_log_t *log);
static u_char *ngx_http_wt_context_copy(u_char *p, ngx_str_t *dst,
    ngx_str_t *src);
static void ngx_http_wt_context_message(ngx_http_wt_msg_batch_t *batch,
    ngx_http_wt_context_t *ctx, ngx_str_t *session_id, uint64_t seq);


ngx_int_t
ngx_http_wt_context_update(ngx_http_wt_context_t *ctx,
    ngx_http_wt_msg_update_t *update, ngx_log_t *log)
{
    ngx_str_t               *user_id, *key, *value;
    ngx_uint_t               i, n;
    ngx_http_wt_msg_meta_t  *entry, meta[NGX_HTTP_WT_CONTEXT_KEYS];

    if (update->user_id.len == 0 && update->meta_count == 0) {
        return NGX_OK;
    }

    user_id = update->user_id.len ? &update->user_id : &ctx->user_id;

    n = ctx->nmeta;

    if (n) {
        ngx_memcpy(meta, ctx->meta, n * sizeof(ngx_http_wt_msg_meta_t));
    }

    for (i = 0; i < update->meta_count; i++) {

        key = &update->meta[i].key;
        value = &update->meta[i].value;

        entry = ngx_http_wt_context_find(meta, n, key);

        if (value->len == 0) {

            if (entry) {
                *entry = meta[--n];
            }

            continue;
        }

        if (entry == NULL) {

            if (n == NGX_HTTP_WT_CONTEXT_KEYS) {
                return NGX_DECLINED;
            }

            entry = &meta[n++];
            entry->key = *key;
        }

        entry->value = *value;
    }

    return ngx_http_wt_context_store(ctx, user_id, meta, n, log);
}


static ngx_http_wt_msg_meta_t *
ngx_http_wt_context_find(ngx_http_wt_msg_meta_t *meta, ngx_uint_t n,
    ngx_str_t *key)
{
    ngx_uint_t  i;

    for (i = 0; i < n; i++) {
        if (meta[i].key.len == key->len
            && ngx_memcmp(meta[i].key.data, key->data, key->len) == 0)
        {
            return &meta[i];
        }
    }

    return NULL;
}


/* the strings may be those of "ctx" itself, or of a frame that will go */

static ngx_int_t
ngx_http_wt_context_store(ngx_http_wt_context_t *ctx, ngx_str_t *user_id,
    ngx_http_wt_msg_meta_t *meta, ngx_uint_t n, ngx_log_t *log)
{
    size_t                   size;
    u_char                  *p;
    ngx_uint_t               i;
    ngx_http_wt_msg_meta_t  *copy;

    size = user_id->len;

    for (i = 0; i < n; i++) {
        size += meta[i].key.len + meta[i].value.len;
    }

    if (size > NGX_HTTP_WT_CONTEXT_MAX) {
        return NGX_DECLINED;
    }

    copy = ngx_alloc(n * sizeof(ngx_http_wt_msg_meta_t) + size + 1, log);
    if (copy == NULL) {
        return NGX_ERROR;
    }

    p = (u_char *) (copy + n);

    for (i = 0; i < n; i++) {
        p = ngx_http_wt_context_copy(p, &copy[i].key, &meta[i].key);
        p = ngx_http_wt_context_copy(p, &copy[i].value, &meta[i].value);
    }

    (void) ngx_http_wt_context_copy(p, &ctx->user_id, user_id);

    ngx_http_wt_context_free(ctx);

    ctx->data = copy;
    ctx->meta = copy;
    ctx->nmeta = n;

    return NGX_OK;
}


static u_char *
ngx_http_wt_context_copy(u_char *p, ngx_str_t *dst, ngx_str_t *src)
{
    size_t   len;
    u_char  *last;

    len = src->len;
    last = len ? ngx_cpymem(p, src->data, len) : p;

    dst->data = p;
    dst->len = len;

    return last;
}


size_t
ngx_http_wt_context_batch_len(ngx_http_wt_context_t *ctx,
    ngx_str_t *session_id, uint64_t seq)
{
    ngx_http_wt_msg_batch_t  batch;

    ngx_http_wt_context_message(&batch, ctx, session_id, seq);

    return ngx_http_wt_msg_batch_len(&batch);
}


u_char *
ngx_http_wt_context_batch(u_char *p, u_char *last, ngx_http_wt_context_t *ctx,
    ngx_str_t *session_id, uint64_t seq)
{
    ngx_http_wt_msg_batch_t  batch;

    ngx_http_wt_context_message(&batch, ctx, session_id, seq);

    return ngx_http_wt_msg_batch(p, last, &batch);
}


static void
ngx_http_wt_context_message(ngx_http_wt_msg_batch_t *batch,
    ngx_http_wt_context_t *ctx, ngx_str_t *session_id, uint64_t seq)
{
    ngx_memzero(batch, sizeof(ngx_http_wt_msg_batch_t));

    batch->session_id = *session_id;
    batch->seq = seq;
    batch->has_context = 1;
    batch->context.user_id = ctx->user_id;
    batch->context.meta = ctx->meta;
    batch->context.meta_count = (pb_size_t) ctx->nmeta;
    batch->context.location = ctx->location;
    batch->context.node = ctx->node;
}


void
ngx_http_wt_context_free(ngx_http_wt_context_t *ctx)
{
    if (ctx->data) {
        ngx_free(ctx->data);
    }

    ctx->data = NULL;
    ctx->meta = NULL;
    ctx->nmeta = 0;
}
