/*
 * The built-in echo, for smoke tests and benchmarks: a bidirectional stream
 * is echoed on itself, a unidirectional one on a new one of ours, a datagram
 * as a datagram.  Resets and stops are answered in kind.
 */


#ifndef _NGX_HTTP_WT_ECHO_H_INCLUDED_
#define _NGX_HTTP_WT_ECHO_H_INCLUDED_


#include <ngx_http_wt_session.h>


extern const ngx_http_wt_peer_ops_t  ngx_http_wt_echo_ops;


#endif /* _NGX_HTTP_WT_ECHO_H_INCLUDED_ */
