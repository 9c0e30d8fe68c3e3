
/*
 * Copyright (C) The WebTransport for nginx authors
 */


#ifndef _NGX_HTTP_WT_ERROR_H_INCLUDED_
#define _NGX_HTTP_WT_ERROR_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


/*
 * Codes of RESET_STREAM and STOP_SENDING on WebTransport streams: 32-bit codes
 * of applications are mapped into a range of HTTP/3 error codes.
 */


/* Returns the HTTP/3 error code of an application's code. */
uint64_t ngx_http_wt_error_from_app(uint32_t code);

/*
 * Finds the application's code of an HTTP/3 error code.  Returns NGX_OK, or
 * NGX_DECLINED if it has none: a code of HTTP/3 or of WebTransport itself, or
 * a reserved codepoint.  *code is then unchanged.
 */
ngx_int_t ngx_http_wt_error_to_app(uint64_t h3code, uint32_t *code);

/*
 * Returns the name of an error code of HTTP/3 or WebTransport, for logs:
 * "H3_MESSAGE_ERROR", "WT_SESSION_GONE"; "application error" for those that
 * have an application's code, "unknown error" for all others.
 */
const char *ngx_http_wt_error_name(uint64_t h3code);


#endif /* _NGX_HTTP_WT_ERROR_H_INCLUDED_ */
