
/*
 * Copyright (C) The WebTransport for nginx authors
 */


/*
 * Numbers of WebTransport on the wire.  "-NN" is draft-ietf-webtrans-http3-NN;
 * a number without a draft is the same in all of them.
 */


#ifndef _NGX_HTTP_WT_PROTO_H_INCLUDED_
#define _NGX_HTTP_WT_PROTO_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


/*
 * The variants that differ on the wire, by the first draft that has them.
 * The peer's settings select one: the last in this list that it supports.
 */

typedef enum {
    NGX_HTTP_WT_DRAFT_NONE = 0,
    NGX_HTTP_WT_DRAFT_02,              /* -02 to -06 */
    NGX_HTTP_WT_DRAFT_07,              /* -07 to -12 */
    NGX_HTTP_WT_DRAFT_13,              /* -13, -14 */
    NGX_HTTP_WT_DRAFT_15               /* -15, -16 */
} ngx_http_wt_draft_e;


/* RFC 9000, 16.  Variable-Length Integer Encoding */
#define NGX_HTTP_WT_VARINT_MAX                 0x3fffffffffffffffULL
#define NGX_HTTP_WT_VARINT_LEN                 8

/* RFC 9297, 2.1.  Quarter Stream ID: at most 2^60 - 1 */
#define NGX_HTTP_WT_QUARTER_ID_MAX             0x0fffffffffffffffULL


/* HTTP/3 settings */

/* RFC 9220, 5.  SETTINGS_ENABLE_CONNECT_PROTOCOL */
#define NGX_HTTP_WT_SETTING_CONNECT_PROTOCOL   0x08

/* RFC 9297, 2.1.1.  The SETTINGS_H3_DATAGRAM HTTP/3 Setting */
#define NGX_HTTP_WT_SETTING_H3_DATAGRAM        0x33

/* draft-ietf-masque-h3-datagram-04.  H3_DATAGRAM, its codepoint then */
#define NGX_HTTP_WT_SETTING_H3_DATAGRAM_04     0xffd277

/* -02, 8.2.  SETTINGS_ENABLE_WEBTRANSPORT, to -06 */
#define NGX_HTTP_WT_SETTING_ENABLE_02          0x2b603742

/* -08, 8.2.  SETTINGS_WEBTRANSPORT_MAX_SESSIONS, -07 to -12 */
#define NGX_HTTP_WT_SETTING_MAX_SESSIONS_07    0xc671706a

/* -13, 9.2.  SETTINGS_WT_MAX_SESSIONS, to -14 */
#define NGX_HTTP_WT_SETTING_MAX_SESSIONS_13    0x14e9cd29

/* -15, 9.2.  SETTINGS_WT_ENABLED */
#define NGX_HTTP_WT_SETTING_ENABLED_15         0x2c7cf000

/* -12, 9.2.  Session flow control */
#define NGX_HTTP_WT_SETTING_MAX_DATA           0x2b61
#define NGX_HTTP_WT_SETTING_MAX_STREAMS_UNI    0x2b64
#define NGX_HTTP_WT_SETTING_MAX_STREAMS_BIDI   0x2b65


/* QUIC transport parameters */

/* RFC 9221, 3.  max_datagram_frame_size */
#define NGX_HTTP_WT_TP_MAX_DATAGRAM_SIZE       0x20

/* draft-ietf-quic-reliable-stream-reset-08, 3.  reset_stream_at */
#define NGX_HTTP_WT_TP_RESET_STREAM_AT         0x1d

/* draft-ietf-quic-reliable-stream-reset-07, 3.  reset_stream_at */
#define NGX_HTTP_WT_TP_RESET_STREAM_AT_07      0x17f7586d2cb571ULL


/* QUIC frame types */

/* RFC 9221, 4.  DATAGRAM, without and with a length */
#define NGX_HTTP_WT_QUIC_DATAGRAM              0x30
#define NGX_HTTP_WT_QUIC_DATAGRAM_LEN          0x31

/* draft-ietf-quic-reliable-stream-reset-08, 4.  RESET_STREAM_AT */
#define NGX_HTTP_WT_QUIC_RESET_STREAM_AT       0x24


/* RFC 9114, 7.2.  HTTP/3 frame types */
#define NGX_HTTP_WT_FRAME_DATA                 0x00
#define NGX_HTTP_WT_FRAME_HEADERS              0x01
#define NGX_HTTP_WT_FRAME_CANCEL_PUSH          0x03
#define NGX_HTTP_WT_FRAME_SETTINGS             0x04
#define NGX_HTTP_WT_FRAME_PUSH_PROMISE         0x05
#define NGX_HTTP_WT_FRAME_GOAWAY               0x07
#define NGX_HTTP_WT_FRAME_MAX_PUSH_ID          0x0d

/* RFC 9114, 7.2.8.  Frame types of HTTP/2 that have no counterpart */
#define NGX_HTTP_WT_FRAME_H2_PRIORITY          0x02
#define NGX_HTTP_WT_FRAME_H2_PING              0x06
#define NGX_HTTP_WT_FRAME_H2_WINDOW_UPDATE     0x08
#define NGX_HTTP_WT_FRAME_H2_CONTINUATION      0x09

/* -16, 4.3.  WT_STREAM, a signal in place of a frame: it has no length */
#define NGX_HTTP_WT_FRAME_WT_STREAM            0x41


/* RFC 9114, 6.2 and RFC 9204, 4.2.  Types of unidirectional streams */
#define NGX_HTTP_WT_STREAM_CONTROL             0x00
#define NGX_HTTP_WT_STREAM_PUSH                0x01
#define NGX_HTTP_WT_STREAM_QPACK_ENCODER       0x02
#define NGX_HTTP_WT_STREAM_QPACK_DECODER       0x03

/* -16, 4.2.  WebTransport unidirectional stream */
#define NGX_HTTP_WT_STREAM_WT                  0x54


/* Capsule types */

/* RFC 9297, 3.5.  The DATAGRAM Capsule */
#define NGX_HTTP_WT_CAPSULE_DATAGRAM           0x00

/* -16, 6.  WT_CLOSE_SESSION; since -02 */
#define NGX_HTTP_WT_CAPSULE_CLOSE              0x2843

/* -16, 4.7.  WT_DRAIN_SESSION; since -07 */
#define NGX_HTTP_WT_CAPSULE_DRAIN              0x78ae

/* -16, 5.6.  Flow control; since -12 */
#define NGX_HTTP_WT_CAPSULE_MAX_DATA           0x190b4d3d
#define NGX_HTTP_WT_CAPSULE_MAX_STREAMS_BIDI   0x190b4d3f
#define NGX_HTTP_WT_CAPSULE_MAX_STREAMS_UNI    0x190b4d40
#define NGX_HTTP_WT_CAPSULE_DATA_BLOCKED       0x190b4d41
#define NGX_HTTP_WT_CAPSULE_BLOCKED_BIDI       0x190b4d43
#define NGX_HTTP_WT_CAPSULE_BLOCKED_UNI        0x190b4d44

/* -16, 5.4.  Flow control of single streams, only for HTTP/2 */
#define NGX_HTTP_WT_CAPSULE_MAX_STREAM_DATA    0x190b4d3e
#define NGX_HTTP_WT_CAPSULE_STREAM_BLOCKED     0x190b4d42

/* -16, 6.  Application Error Message: at most 1024 bytes */
#define NGX_HTTP_WT_REASON_MAX                 1024


/* RFC 9114, 8.1.  HTTP/3 error codes */
#define NGX_HTTP_WT_H3_NO_ERROR                0x100
#define NGX_HTTP_WT_H3_GENERAL_PROTOCOL_ERROR  0x101
#define NGX_HTTP_WT_H3_INTERNAL_ERROR          0x102
#define NGX_HTTP_WT_H3_STREAM_CREATION_ERROR   0x103
#define NGX_HTTP_WT_H3_CLOSED_CRITICAL_STREAM  0x104
#define NGX_HTTP_WT_H3_FRAME_UNEXPECTED        0x105
#define NGX_HTTP_WT_H3_FRAME_ERROR             0x106
#define NGX_HTTP_WT_H3_EXCESSIVE_LOAD          0x107
#define NGX_HTTP_WT_H3_ID_ERROR                0x108
#define NGX_HTTP_WT_H3_SETTINGS_ERROR          0x109
#define NGX_HTTP_WT_H3_MISSING_SETTINGS        0x10a
#define NGX_HTTP_WT_H3_REQUEST_REJECTED        0x10b
#define NGX_HTTP_WT_H3_REQUEST_CANCELLED       0x10c
#define NGX_HTTP_WT_H3_REQUEST_INCOMPLETE      0x10d
#define NGX_HTTP_WT_H3_MESSAGE_ERROR           0x10e
#define NGX_HTTP_WT_H3_CONNECT_ERROR           0x10f
#define NGX_HTTP_WT_H3_VERSION_FALLBACK        0x110

/* RFC 9297, 5.2.  HTTP/3 Error Code */
#define NGX_HTTP_WT_H3_DATAGRAM_ERROR          0x33


/* -16, 9.5.  HTTP/3 error codes of WebTransport */

/* since -02 */
#define NGX_HTTP_WT_ERR_BUFFERED_REJECTED      0x3994bd84

/* since -03 */
#define NGX_HTTP_WT_ERR_SESSION_GONE           0x170d7b68

/* since -14 */
#define NGX_HTTP_WT_ERR_FLOW_CONTROL           0x045d4487

/* since -15 */
#define NGX_HTTP_WT_ERR_ALPN                   0x0817b3dd
#define NGX_HTTP_WT_ERR_REQUIREMENTS_NOT_MET   0x212c0d48

/* -16, 4.4.  Range of the codes of applications */
#define NGX_HTTP_WT_ERR_APP_FIRST              0x52e4a40fa8dbULL
#define NGX_HTTP_WT_ERR_APP_LAST               0x52e5ac983162ULL


#endif /* _NGX_HTTP_WT_PROTO_H_INCLUDED_ */
