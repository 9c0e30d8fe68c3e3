
/*
 * Copyright (C) The WebTransport for nginx authors
 */


#ifndef _NGX_HTTP_WT_UTF8_H_INCLUDED_
#define _NGX_HTTP_WT_UTF8_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


/*
 * Returns 1 if the bytes are UTF-8 as in RFC 3629: shortest forms only, no
 * surrogates, nothing above U+10FFFF.  ngx_utf8_decode() lets surrogates pass.
 */
ngx_uint_t ngx_http_wt_utf8_valid(u_char *p, size_t len);

/*
 * Returns how many of the len bytes of valid UTF-8 fit into max bytes without
 * splitting a character.
 */
size_t ngx_http_wt_utf8_cut(u_char *p, size_t len, size_t max);


#endif /* _NGX_HTTP_WT_UTF8_H_INCLUDED_ */
