
/*
 * Copyright (C) The WebTransport for nginx authors
 */


#ifndef _NGX_HTTP_WT_MSG_H_INCLUDED_
#define _NGX_HTTP_WT_MSG_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <webtransport.pb.h>


/*
 * Messages between nginx and workers, see webtransport.proto, which also says
 * what every field means.  The structs are generated from it: numbers keep
 * their types, strings and bytes are ngx_str_t, "optional" fields and messages
 * have a has_ flag, repeated fields a _count.
 *
 * Nothing here allocates or copies a payload.
 */


#define NGX_HTTP_WT_MSG_VERSION         1

typedef ngx_http_wt_pb_Header           ngx_http_wt_msg_header_t;
typedef ngx_http_wt_pb_Limits           ngx_http_wt_msg_limits_t;
typedef ngx_http_wt_pb_StreamData       ngx_http_wt_msg_data_t;
typedef ngx_http_wt_pb_StreamAbort      ngx_http_wt_msg_abort_t;
typedef ngx_http_wt_pb_Datagram         ngx_http_wt_msg_datagram_t;
typedef ngx_http_wt_pb_Credit           ngx_http_wt_msg_credit_t;
typedef ngx_http_wt_pb_Drain            ngx_http_wt_msg_drain_t;
typedef ngx_http_wt_pb_Ping             ngx_http_wt_msg_ping_t;


/* StreamData.open */

#define NGX_HTTP_WT_OPEN_NONE           ngx_http_wt_pb_Open_NONE
#define NGX_HTTP_WT_OPEN_BIDI           ngx_http_wt_pb_Open_BIDI
#define NGX_HTTP_WT_OPEN_UNI            ngx_http_wt_pb_Open_UNI


/* Accept.framing */

#define NGX_HTTP_WT_FRAMING_RAW         ngx_http_wt_pb_Framing_RAW
#define NGX_HTTP_WT_FRAMING_WHOLE       ngx_http_wt_pb_Framing_WHOLE
#define NGX_HTTP_WT_FRAMING_U32         ngx_http_wt_pb_Framing_U32
#define NGX_HTTP_WT_FRAMING_LINES       ngx_http_wt_pb_Framing_LINES


/* commands: worker to nginx */

typedef ngx_http_wt_pb_Command          ngx_http_wt_command_t;
typedef ngx_http_wt_pb_Accept           ngx_http_wt_msg_accept_t;
typedef ngx_http_wt_pb_Reject           ngx_http_wt_msg_reject_t;
typedef ngx_http_wt_pb_Priority         ngx_http_wt_msg_priority_t;
typedef ngx_http_wt_pb_Close            ngx_http_wt_msg_close_t;
typedef ngx_http_wt_pb_UpdateRequest    ngx_http_wt_msg_update_t;


/* cmd->which_kind: the member of cmd->kind that is set */

/* no member: a kind that is not known, reserved, or missing */
#define NGX_HTTP_WT_CMD_UNKNOWN         0

#define NGX_HTTP_WT_CMD_ACCEPT          ngx_http_wt_pb_Command_accept_tag
#define NGX_HTTP_WT_CMD_REJECT          ngx_http_wt_pb_Command_reject_tag
#define NGX_HTTP_WT_CMD_DATA            ngx_http_wt_pb_Command_data_tag
#define NGX_HTTP_WT_CMD_RESET           ngx_http_wt_pb_Command_reset_tag
#define NGX_HTTP_WT_CMD_STOP            ngx_http_wt_pb_Command_stop_tag
#define NGX_HTTP_WT_CMD_DATAGRAM        ngx_http_wt_pb_Command_datagram_tag
#define NGX_HTTP_WT_CMD_CREDIT          ngx_http_wt_pb_Command_credit_tag
#define NGX_HTTP_WT_CMD_PRIORITY        ngx_http_wt_pb_Command_priority_tag
#define NGX_HTTP_WT_CMD_DRAIN           ngx_http_wt_pb_Command_drain_tag
#define NGX_HTTP_WT_CMD_CLOSE           ngx_http_wt_pb_Command_close_tag
#define NGX_HTTP_WT_CMD_ABORT           ngx_http_wt_pb_Command_abort_tag
#define NGX_HTTP_WT_CMD_UPDATE          ngx_http_wt_pb_Command_update_tag
#define NGX_HTTP_WT_CMD_PING            ngx_http_wt_pb_Command_ping_tag
#define NGX_HTTP_WT_CMD_PONG            ngx_http_wt_pb_Command_pong_tag


/* Accept.overflow */

#define NGX_HTTP_WT_OVERFLOW_DEFAULT    ngx_http_wt_pb_Accept_Overflow_DEFAULT
#define NGX_HTTP_WT_OVERFLOW_BLOCK      ngx_http_wt_pb_Accept_Overflow_BLOCK
#define NGX_HTTP_WT_OVERFLOW_CLOSE      ngx_http_wt_pb_Accept_Overflow_CLOSE


/* Accept.notify is a set of these bits, whatever else it contained */

#define NGX_HTTP_WT_NOTIFY_LIMITS                                             \
    (1 << ngx_http_wt_pb_Accept_Notify_LIMITS)
#define NGX_HTTP_WT_NOTIFY_STREAM_CREDIT                                      \
    (1 << ngx_http_wt_pb_Accept_Notify_STREAM_CREDIT)


/*
 * Handles one command; *cmd and what it points to are valid during the call
 * only.  Enums may have values that are not in the schema.  Anything but NGX_OK
 * ends the parsing, with this result.
 */
typedef ngx_int_t (*ngx_http_wt_command_pt)(void *data,
    ngx_http_wt_command_t *cmd);

/*
 * Parses a CommandBatch and calls the handler for each command in order, each
 * before the next one is parsed.  Unknown fields are ignored.
 *
 *     NGX_OK     all commands were handled
 *     NGX_ERROR  with *err set: the frame is malformed, *err tells how; the
 *                commands before that point were handled
 *     other      with *err NULL: what the handler returned
 */
ngx_int_t ngx_http_wt_msg_parse_commands(u_char *buf, size_t len,
    ngx_http_wt_command_pt handler, void *data, const char **err);

/*
 * What a CommandBatch says about itself, before any of its commands is run:
 * session_id, empty if absent, and seq, 0 if absent.  NGX_ERROR: malformed.
 */
ngx_int_t ngx_http_wt_msg_commands_head(u_char *buf, size_t len,
    ngx_str_t *session_id, uint64_t *seq);


/*
 * Events: nginx to worker.  An EventBatch is the concatenation of
 *
 *     ngx_http_wt_msg_batch()       where the batch must tell its session
 *     any number of events          each written by one of the functions below
 *
 * so that events are simply appended to the batch as they happen.  All the
 * functions return the position behind what they wrote.
 */

typedef ngx_http_wt_pb_EventBatch            ngx_http_wt_msg_batch_t;
typedef ngx_http_wt_pb_Context_MetaEntry     ngx_http_wt_msg_meta_t;
typedef ngx_http_wt_pb_Connect               ngx_http_wt_msg_connect_t;
typedef ngx_http_wt_pb_Connect_ParamsEntry   ngx_http_wt_msg_param_t;
typedef ngx_http_wt_pb_Counters              ngx_http_wt_msg_counters_t;
typedef ngx_http_wt_pb_Closed                ngx_http_wt_msg_closed_t;
typedef ngx_http_wt_pb_Result                ngx_http_wt_msg_result_t;


/* Drain.by */

#define NGX_HTTP_WT_DRAIN_UNKNOWN       ngx_http_wt_pb_Drain_By_UNKNOWN
#define NGX_HTTP_WT_DRAIN_CLIENT        ngx_http_wt_pb_Drain_By_CLIENT
#define NGX_HTTP_WT_DRAIN_NGINX         ngx_http_wt_pb_Drain_By_NGINX
#define NGX_HTTP_WT_DRAIN_CONTROL       ngx_http_wt_pb_Drain_By_CONTROL


/* Closed.by */

#define NGX_HTTP_WT_CLOSED_UNKNOWN      ngx_http_wt_pb_Closed_By_UNKNOWN
#define NGX_HTTP_WT_CLOSED_CLIENT       ngx_http_wt_pb_Closed_By_CLIENT
#define NGX_HTTP_WT_CLOSED_WORKER       ngx_http_wt_pb_Closed_By_WORKER
#define NGX_HTTP_WT_CLOSED_CONTROL      ngx_http_wt_pb_Closed_By_CONTROL
#define NGX_HTTP_WT_CLOSED_TIMEOUT      ngx_http_wt_pb_Closed_By_TIMEOUT
#define NGX_HTTP_WT_CLOSED_LOST         ngx_http_wt_pb_Closed_By_LOST
#define NGX_HTTP_WT_CLOSED_LIMIT        ngx_http_wt_pb_Closed_By_LIMIT
#define NGX_HTTP_WT_CLOSED_SHUTDOWN     ngx_http_wt_pb_Closed_By_SHUTDOWN
#define NGX_HTTP_WT_CLOSED_WORKER_LOST  ngx_http_wt_pb_Closed_By_WORKER_LOST
#define NGX_HTTP_WT_CLOSED_EXPIRED      ngx_http_wt_pb_Closed_By_EXPIRED
#define NGX_HTTP_WT_CLOSED_PROTOCOL     ngx_http_wt_pb_Closed_By_PROTOCOL


/* Result.status: codes of gRPC */

#define NGX_HTTP_WT_RESULT_OK                   0
#define NGX_HTTP_WT_RESULT_INVALID_ARGUMENT     3
#define NGX_HTTP_WT_RESULT_NOT_FOUND            5
#define NGX_HTTP_WT_RESULT_RESOURCE_EXHAUSTED   8
#define NGX_HTTP_WT_RESULT_FAILED_PRECONDITION  9
#define NGX_HTTP_WT_RESULT_OUT_OF_RANGE         11
#define NGX_HTTP_WT_RESULT_UNIMPLEMENTED        12


/* what stands in front of the fields of every event */
#define NGX_HTTP_WT_MSG_EVENT_HDR     8

/* the longest event but those that have a function for their length */
#define NGX_HTTP_WT_MSG_EVENT_MAX     48

/* the longest payload of an event */
#define NGX_HTTP_WT_MSG_PAYLOAD_MAX   (2 * 1024 * 1024 - 64)

/* exact lengths of what is written in front of a payload */
#define NGX_HTTP_WT_MSG_DATA_HDR      (NGX_HTTP_WT_MSG_EVENT_HDR + 18)
#define NGX_HTTP_WT_MSG_DATAGRAM_HDR  (NGX_HTTP_WT_MSG_EVENT_HDR + 4)


/*
 * The fields of a batch itself: "events" is empty, seq may be 0 for none.  The
 * second function returns NULL if there is not enough room before "last".
 */
size_t ngx_http_wt_msg_batch_len(ngx_http_wt_msg_batch_t *batch);
u_char *ngx_http_wt_msg_batch(u_char *p, u_char *last,
    ngx_http_wt_msg_batch_t *batch);

/*
 * Writes a StreamData event up to its payload, exactly NGX_HTTP_WT_MSG_DATA_HDR
 * bytes; "len" bytes of payload, at most NGX_HTTP_WT_MSG_PAYLOAD_MAX, have to
 * follow.  As the length does not depend on any value, the payload can be
 * received behind a gap of this length first.  stream_id is below 2^63.
 */
u_char *ngx_http_wt_msg_data_hdr(u_char *p, uint64_t stream_id, ngx_uint_t open,
    ngx_uint_t fin, size_t len);

/* The same for a Datagram event, NGX_HTTP_WT_MSG_DATAGRAM_HDR bytes. */
u_char *ngx_http_wt_msg_datagram_hdr(u_char *p, size_t len);

/* Events of at most NGX_HTTP_WT_MSG_EVENT_MAX bytes.  "code" may be NULL. */
u_char *ngx_http_wt_msg_reset(u_char *p, uint64_t stream_id, uint32_t *code);
u_char *ngx_http_wt_msg_stop(u_char *p, uint64_t stream_id, uint32_t *code);
u_char *ngx_http_wt_msg_credit(u_char *p, ngx_http_wt_msg_credit_t *credit);
u_char *ngx_http_wt_msg_drain(u_char *p, ngx_uint_t by, uint32_t deadline_ms);
u_char *ngx_http_wt_msg_ping(u_char *p, uint64_t id);
u_char *ngx_http_wt_msg_pong(u_char *p, uint64_t id);

/*
 * Events with strings.  The first function of a pair returns the length of the
 * event, or 0 if it cannot be written: its fields are longer than
 * NGX_HTTP_WT_MSG_PAYLOAD_MAX.  The second one returns NULL in this case, and
 * if there is not enough room before "last".
 *
 * Connect.protocols is an array of ngx_str_t, or NULL.
 */
size_t ngx_http_wt_msg_connect_len(ngx_http_wt_msg_connect_t *connect);
u_char *ngx_http_wt_msg_connect(u_char *p, u_char *last,
    ngx_http_wt_msg_connect_t *connect);

size_t ngx_http_wt_msg_closed_len(ngx_http_wt_msg_closed_t *closed);
u_char *ngx_http_wt_msg_closed(u_char *p, u_char *last,
    ngx_http_wt_msg_closed_t *closed);

size_t ngx_http_wt_msg_result_len(ngx_http_wt_msg_result_t *result);
u_char *ngx_http_wt_msg_result(u_char *p, u_char *last,
    ngx_http_wt_msg_result_t *result);

size_t ngx_http_wt_msg_limits_len(ngx_http_wt_msg_limits_t *limits);
u_char *ngx_http_wt_msg_limits(u_char *p, u_char *last,
    ngx_http_wt_msg_limits_t *limits);


#endif /* _NGX_HTTP_WT_MSG_H_INCLUDED_ */
