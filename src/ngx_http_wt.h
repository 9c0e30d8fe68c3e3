/*
 * Types that several layers name.  A leaf: includes nothing of the module.
 */


#ifndef _NGX_HTTP_WT_H_INCLUDED_
#define _NGX_HTTP_WT_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>


typedef struct ngx_http_wt_conn_s      ngx_http_wt_conn_t;
typedef struct ngx_http_wt_session_s   ngx_http_wt_session_t;
typedef struct ngx_http_wt_stream_s    ngx_http_wt_stream_t;
typedef struct ngx_http_wt_peer_ops_s  ngx_http_wt_peer_ops_t;


/* does an ngx_str_t hold this literal? */
#define ngx_http_wt_str_is(str, literal)                                      \
    ((str)->len == sizeof(literal) - 1                                        \
     && ngx_memcmp((str)->data, literal, sizeof(literal) - 1) == 0)


/* of the module, see docs/changes.md */
#define NGX_HTTP_WT_VERSION            "0.1.0"


extern ngx_module_t  ngx_http_webtransport_module;


/* bytes and limits that are not worth a directive */

/* streams and datagrams held per connection until their CONNECT comes */
#define NGX_HTTP_WT_EARLY_STREAMS      16
#define NGX_HTTP_WT_EARLY_DATAGRAMS    16

/* how long they are held, and how long a CONNECT waits for SETTINGS; ms */
#define NGX_HTTP_WT_EARLY_TIMEOUT      5000
#define NGX_HTTP_WT_SETTINGS_TIMEOUT   5000

/* closed sessions a connection remembers */
#define NGX_HTTP_WT_CLOSED_SESSIONS    64

/* how long the end of a client's CONNECT stream is waited for; ms */
#define NGX_HTTP_WT_LINGER_TIMEOUT     3000

/* PINGs are no closer, even if the client's idle timeout asks for it; ms */
#define NGX_HTTP_WT_PING_INTERVAL      100

/* how often a flush looks for outstanding acknowledgements; ms */
#define NGX_HTTP_WT_FLUSH_INTERVAL     20

/* 128 random bits as URL-safe base64 */
#define NGX_HTTP_WT_SESSION_ID_LEN     22


#endif /* _NGX_HTTP_WT_H_INCLUDED_ */
