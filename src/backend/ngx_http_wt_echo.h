/*
 * Built-in services for smoke tests and benchmarks, as RFC 862 to 864 have
 * them for TCP.
 *
 * Echo: a bidirectional stream is echoed on itself, a unidirectional one on a
 * new one of ours, a datagram as a datagram.  Resets and stops are answered in
 * kind.
 *
 * Discard: everything is read and dropped; the FIN of a bidirectional stream
 * is answered with a FIN.
 *
 * Generate: a client's bidirectional stream asks for a number of bytes, in
 * decimal digits and FIN, and gets them: byte i is i % 251.  Anything else in
 * such a stream is answered with reset and stop.
 */


#ifndef _NGX_HTTP_WT_ECHO_H_INCLUDED_
#define _NGX_HTTP_WT_ECHO_H_INCLUDED_


#include <ngx_http_wt_session.h>


extern const ngx_http_wt_peer_ops_t  ngx_http_wt_echo_ops;
extern const ngx_http_wt_peer_ops_t  ngx_http_wt_discard_ops;
extern const ngx_http_wt_peer_ops_t  ngx_http_wt_generate_ops;


#endif /* _NGX_HTTP_WT_ECHO_H_INCLUDED_ */
