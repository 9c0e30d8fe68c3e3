
/*
 * Copyright (C) The WebTransport for nginx authors
 */


#ifndef _NGX_HTTP_WT_VARINT_H_INCLUDED_
#define _NGX_HTTP_WT_VARINT_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


/*
 * RFC 9000, 16.  Variable-Length Integer Encoding.
 */


/*
 * Reads a varint at p, of any length that can encode it.  Returns the position
 * behind it, or NULL if it does not end before "end"; *out is then unchanged.
 */
u_char *ngx_http_wt_varint_parse(u_char *p, u_char *end, uint64_t *out);

/* Returns the shortest length of v, which must be <= NGX_HTTP_WT_VARINT_MAX. */
size_t ngx_http_wt_varint_len(uint64_t v);

/*
 * Writes v, ngx_http_wt_varint_len(v) bytes of it, and returns the position
 * behind it.
 */
u_char *ngx_http_wt_varint_write(u_char *p, uint64_t v);


#endif /* _NGX_HTTP_WT_VARINT_H_INCLUDED_ */
