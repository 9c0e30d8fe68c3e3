/*
 * The worker's answer to a Connect: Accept or Reject.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_http.h>
#include <ngx_http_wt_protocols.h>
#include <ngx_http_wt_relay.h>
#include <ngx_http_wt_upstream.h>


/* how much of a name is told */
#define NGX_HTTP_WT_COMMAND_NAME  64


static ngx_int_t ngx_http_wt_command_headers(ngx_http_wt_backend_t *b,
    ngx_http_wt_header_t *dst, ngx_http_wt_msg_header_t *src, ngx_uint_t n);
static void ngx_http_wt_command_bad_header(ngx_http_wt_backend_t *b,
    ngx_str_t *name);
static ngx_uint_t ngx_http_wt_command_header_valid(
    ngx_http_wt_msg_header_t *h);


ngx_int_t
ngx_http_wt_command_accept(ngx_http_wt_backend_t *b,
    ngx_http_wt_command_t *cmd)
{
    ngx_http_wt_header_t       *headers;
    ngx_http_wt_session_t      *s;
    ngx_http_wt_msg_accept_t   *accept;

    s = b->session;
    accept = &cmd->kind.accept;

    if (b->accepted) {
        ngx_http_wt_relay_violation(b, "worker sent a second Accept");
        return NGX_DONE;
    }

    if (accept->protocol.len
        && !ngx_http_wt_protocols_find(b->protocols, &accept->protocol))
    {
        ngx_http_wt_relay_violation(b, "worker accepted with a protocol "
                                    "that was not offered");
        return NGX_DONE;
    }

    if ((ngx_uint_t) accept->framing > NGX_HTTP_WT_FRAMING_LINES
        || (ngx_uint_t) accept->overflow > NGX_HTTP_WT_OVERFLOW_CLOSE)
    {
        ngx_http_wt_relay_violation(b, "worker accepted with an unknown "
                                    "framing or overflow policy");
        return NGX_DONE;
    }

    headers = ngx_palloc(b->request->pool,
                         (accept->headers_count + 1)
                         * sizeof(ngx_http_wt_header_t));

    if (headers == NULL
        || ngx_http_wt_command_headers(b, headers, accept->headers,
                                       accept->headers_count)
           != NGX_OK)
    {
        return NGX_DONE;
    }

    if (accept->has_session
        && ngx_http_wt_context_update(&b->context, &accept->session,
                                      b->request->connection->log)
           != NGX_OK)
    {
        ngx_http_wt_relay_violation(b, "worker accepted with more than %d "
                                    "bytes or %d keys of user and metadata",
                                    NGX_HTTP_WT_CONTEXT_MAX,
                                    NGX_HTTP_WT_CONTEXT_KEYS);
        return NGX_DONE;
    }

    b->window = accept->stream_window;
    b->notify = accept->notify;
    b->framing = accept->framing ? (ngx_uint_t) accept->framing
                                 : b->conf->framing;
    b->overflow = accept->overflow ? (ngx_uint_t) accept->overflow
                                   : b->conf->overflow;

    ngx_http_wt_relay_accepted(b);
    ngx_http_wt_upstream_answered(b->request, NGX_HTTP_OK);
    ngx_http_wt_upstream_alive(b->request);

    if (ngx_http_wt_session_accept(s, &accept->protocol, headers,
                                   accept->headers_count)
        != NGX_OK)
    {
        return NGX_DONE;
    }

    return ngx_http_wt_command_ok(b, cmd, 0);
}


ngx_int_t
ngx_http_wt_command_reject(ngx_http_wt_backend_t *b,
    ngx_http_wt_command_t *cmd)
{
    ngx_uint_t                 status;
    ngx_http_wt_header_t      *headers;
    ngx_http_wt_msg_reject_t  *reject;

    reject = &cmd->kind.reject;

    if (b->accepted) {
        ngx_http_wt_relay_violation(b, "worker sent Reject after Accept");
        return NGX_DONE;
    }

    status = reject->status ? reject->status : NGX_HTTP_FORBIDDEN;

    if (status < NGX_HTTP_SPECIAL_RESPONSE || status > 599) {
        ngx_http_wt_relay_violation(b, "worker rejected with status %ui",
                                    status);
        return NGX_DONE;
    }

    headers = ngx_palloc(b->request->pool,
                         (reject->headers_count + 1)
                         * sizeof(ngx_http_wt_header_t));

    if (headers == NULL
        || ngx_http_wt_command_headers(b, headers, reject->headers,
                                       reject->headers_count)
           != NGX_OK)
    {
        return NGX_DONE;
    }

    ngx_http_wt_upstream_answered(b->request, status);
    ngx_http_wt_upstream_alive(b->request);

    (void) ngx_http_wt_command_ok(b, cmd, 0);

    ngx_http_wt_session_reject(b->session, NGX_HTTP_WT_BY_WORKER, status,
                               headers, reject->headers_count, &reject->body);

    return NGX_DONE;
}


static ngx_int_t
ngx_http_wt_command_headers(ngx_http_wt_backend_t *b,
    ngx_http_wt_header_t *dst, ngx_http_wt_msg_header_t *src, ngx_uint_t n)
{
    ngx_uint_t  i;

    for (i = 0; i < n; i++) {

        if (!ngx_http_wt_command_header_valid(&src[i])) {
            ngx_http_wt_command_bad_header(b, &src[i].name);
            return NGX_ERROR;
        }

        dst[i].name = src[i].name;
        dst[i].value = src[i].value;
    }

    return NGX_OK;
}


/* what is wrong with the name must not be wrong with the log as well */

static void
ngx_http_wt_command_bad_header(ngx_http_wt_backend_t *b, ngx_str_t *name)
{
    size_t  i, len;
    u_char  text[NGX_HTTP_WT_COMMAND_NAME];

    len = ngx_min(name->len, NGX_HTTP_WT_COMMAND_NAME);

    for (i = 0; i < len; i++) {
        text[i] = (name->data[i] < 0x20 || name->data[i] > 0x7e)
                      ? '?' : name->data[i];
    }

    ngx_http_wt_relay_violation(b, "worker sent the header \"%*s\", which is "
                                "invalid or not its to send", len, text);
}


static ngx_uint_t
ngx_http_wt_command_header_valid(ngx_http_wt_msg_header_t *h)
{
    u_char      ch;
    ngx_uint_t  i;

    /* RFC 9110, 5.6.2, without upper case: RFC 9114, 4.2 */

    static u_char  others[] = "!#$%&'*+-.^_`|~";

    /* RFC 9114, 4.2; and what nginx itself sends */

    static ngx_str_t  refused[] = {
        ngx_string("connection"),
        ngx_string("content-length"),
        ngx_string("keep-alive"),
        ngx_string("proxy-connection"),
        ngx_string("te"),
        ngx_string("trailer"),
        ngx_string("transfer-encoding"),
        ngx_string("upgrade"),
        ngx_string("wt-protocol"),
        ngx_null_string
    };

    if (h->name.len == 0) {
        return 0;
    }

    for (i = 0; i < h->name.len; i++) {
        ch = h->name.data[i];

        if (!(ch >= 'a' && ch <= 'z') && !(ch >= '0' && ch <= '9')
            && (ch == '\0' || ngx_strchr(others, ch) == NULL))
        {
            return 0;
        }
    }

    for (i = 0; i < h->value.len; i++) {
        ch = h->value.data[i];

        if (ch == '\0' || ch == CR || ch == LF) {
            return 0;
        }
    }

    for (i = 0; refused[i].len; i++) {
        if (h->name.len == refused[i].len
            && ngx_memcmp(h->name.data, refused[i].data, h->name.len) == 0)
        {
            return 0;
        }
    }

    return h->name.len < sizeof("sec-webtransport-") - 1
           || ngx_memcmp(h->name.data, "sec-webtransport-",
                         sizeof("sec-webtransport-") - 1)
              != 0;
}
