/*
 * Differences between nginx versions and TLS libraries, as capabilities.
 * Code tests NGX_HTTP_WT_HAVE_* and uses these names; no other file of the
 * module looks at a version.
 */


#ifndef _NGX_HTTP_WT_GLUE_COMPAT_H_INCLUDED_
#define _NGX_HTTP_WT_GLUE_COMPAT_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


#if (nginx_version < 1026002)
#error nginx 1.26.2 or newer is required
#endif

#if !(NGX_HTTP_V3)
#error nginx must be configured with --with-http_v3_module
#endif


/* 1.29.0 names encryption levels itself */

#if (nginx_version >= 1029000)
#define NGX_HTTP_WT_LEVEL_APP        NGX_QUIC_ENCRYPTION_APPLICATION
#define NGX_HTTP_WT_LEVEL_HANDSHAKE  NGX_QUIC_ENCRYPTION_HANDSHAKE
#else
#define NGX_HTTP_WT_LEVEL_APP        ssl_encryption_application
#define NGX_HTTP_WT_LEVEL_HANDSHAKE  ssl_encryption_handshake
#endif


/* what nginx sets qc->error to before it handles a packet */

#if (nginx_version >= 1029000)
#define NGX_HTTP_WT_QUIC_ERROR_UNSET  0
#else
#define NGX_HTTP_WT_QUIC_ERROR_UNSET  ((ngx_uint_t) -1)
#endif


/*
 * Calling nginx's frame handlers in place of its input handler means to know
 * what that does around them: nginx 1.26.2 to 1.31.4 have been compared.
 */

#define NGX_HTTP_WT_HAVE_DISPATCH  (nginx_version < 1032000)


/*
 * 1.27.5 does not let the congestion window grow while there is nothing to
 * send, and wants to be told.
 */

#if (nginx_version >= 1027005)
#define ngx_http_wt_glue_congestion_idle(c, idle)                             \
    ngx_quic_congestion_idle(c, idle)
#else
#define ngx_http_wt_glue_congestion_idle(c, idle)
#endif


/* the capabilities that nginx's own "quic_gso" needs */

#if ((NGX_HAVE_UDP_SEGMENT) && (NGX_HAVE_MSGHDR_MSG_CONTROL))
#define NGX_HTTP_WT_HAVE_GSO  1
#else
#define NGX_HTTP_WT_HAVE_GSO  0
#endif


/* 1.27.2 can keep the trailers of a chunked body, which nobody here wants */

#if (nginx_version >= 1027002)
#define ngx_http_wt_glue_parse_chunked(r, b, ctx)                             \
    ngx_http_parse_chunked(r, b, ctx, 0)
#else
#define ngx_http_wt_glue_parse_chunked(r, b, ctx)                             \
    ngx_http_parse_chunked(r, b, ctx)
#endif


/*
 * Several packets at once, with Linux's recvmmsg() and UDP_GRO.  What nginx
 * does with a packet has not changed from 1.26.2 to 1.31: the tree of
 * connection ids, qc->key_update and qc->close as events.
 */

#if (NGX_LINUX)
#define NGX_HTTP_WT_HAVE_RECEIVE  1
#ifndef UDP_GRO
#define UDP_GRO  104
#endif
#if (NGX_QUIC_BPF)
extern ngx_module_t  ngx_quic_bpf_module;
#endif
#endif


/* BoringSSL's AEAD contexts seal and open, OpenSSL's have a direction */

#ifdef OPENSSL_IS_BORINGSSL
#define ngx_http_wt_glue_seal_begin(secret)
#define ngx_http_wt_glue_seal_end(secret)
#define ngx_http_wt_glue_disable_early_data(ssl)                              \
    SSL_set_early_data_enabled(ssl, 0)
#else
#define ngx_http_wt_glue_seal_begin(secret)                                   \
    (void) EVP_CipherInit_ex((secret)->ctx, NULL, NULL, NULL, NULL, 1)
#define ngx_http_wt_glue_seal_end(secret)                                     \
    (void) EVP_CipherInit_ex((secret)->ctx, NULL, NULL, NULL, NULL, 0)
#define ngx_http_wt_glue_disable_early_data(ssl)                              \
    (void) SSL_set_max_early_data(ssl, 0)
#endif


/*
 * The TLS library and QUIC API that decide the layout of nginx's structures.
 * nginx's own module signature does not cover them.
 */

#ifdef OPENSSL_IS_BORINGSSL
#define NGX_HTTP_WT_HAVE_BORINGSSL  1
#define NGX_HTTP_WT_TLS_NAME        "BoringSSL"
#else
#define NGX_HTTP_WT_HAVE_BORINGSSL  0
#define NGX_HTTP_WT_TLS_NAME        "OpenSSL"
#endif


#endif /* _NGX_HTTP_WT_GLUE_COMPAT_H_INCLUDED_ */
