
/*
 * Copyright (C) The WebTransport for nginx authors
 *
 * Generated from webtransport.proto, see "generate".  Fields are in the order
 * of their numbers, messages behind those that they contain.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http_wt_json.h>


#define field(json, name, number, type, label, oneof, of)                     \
    { ngx_string(json), ngx_string(name), number,                             \
      NGX_HTTP_WT_JSON_##type, NGX_HTTP_WT_JSON_##label, oneof, of }


static const ngx_http_wt_json_field_t
ngx_http_wt_json_Context_MetaEntry_fields[] = {
    field("key", "key", 1, STRING, PRESENCE, 0, NULL),
    field("value", "value", 2, STRING, PRESENCE, 0, NULL),
};

static const ngx_http_wt_json_msg_t
ngx_http_wt_json_Context_MetaEntry = {
    "Context.MetaEntry", 2,
    ngx_http_wt_json_Context_MetaEntry_fields
};


static const ngx_http_wt_json_field_t
ngx_http_wt_json_Context_fields[] = {
    field("userId", "user_id", 1, STRING, SINGULAR, 0, NULL),
    field("meta", "meta",
          2, MESSAGE, MAP, 0, &ngx_http_wt_json_Context_MetaEntry),
    field("location", "location", 3, STRING, SINGULAR, 0, NULL),
    field("node", "node", 4, STRING, SINGULAR, 0, NULL),
};

static const ngx_http_wt_json_msg_t
ngx_http_wt_json_Context = {
    "Context", 4,
    ngx_http_wt_json_Context_fields
};


static const ngx_http_wt_json_field_t
ngx_http_wt_json_Header_fields[] = {
    field("name", "name", 1, STRING, SINGULAR, 0, NULL),
    field("value", "value", 2, BYTES, SINGULAR, 0, NULL),
};

static const ngx_http_wt_json_msg_t
ngx_http_wt_json_Header = {
    "Header", 2,
    ngx_http_wt_json_Header_fields
};


static const ngx_http_wt_json_field_t
ngx_http_wt_json_Connect_ParamsEntry_fields[] = {
    field("key", "key", 1, STRING, PRESENCE, 0, NULL),
    field("value", "value", 2, STRING, PRESENCE, 0, NULL),
};

static const ngx_http_wt_json_msg_t
ngx_http_wt_json_Connect_ParamsEntry = {
    "Connect.ParamsEntry", 2,
    ngx_http_wt_json_Connect_ParamsEntry_fields
};


static const ngx_http_wt_json_field_t
ngx_http_wt_json_Limits_fields[] = {
    field("maxDatagram", "max_datagram", 1, UINT32, SINGULAR, 0, NULL),
    field("remoteAddr", "remote_addr", 2, STRING, SINGULAR, 0, NULL),
    field("remotePort", "remote_port", 3, UINT32, SINGULAR, 0, NULL),
    field("rttUs", "rtt_us", 4, UINT32, SINGULAR, 0, NULL),
};

static const ngx_http_wt_json_msg_t
ngx_http_wt_json_Limits = {
    "Limits", 4,
    ngx_http_wt_json_Limits_fields
};


static const ngx_http_wt_json_field_t
ngx_http_wt_json_OpenStream_fields[] = {
    field("streamId", "stream_id", 1, UINT64, SINGULAR, 0, NULL),
    field("canSend", "can_send", 2, BOOL, SINGULAR, 0, NULL),
    field("canReceive", "can_receive", 3, BOOL, SINGULAR, 0, NULL),
    field("received", "received", 4, UINT64, SINGULAR, 0, NULL),
    field("sent", "sent", 5, UINT64, SINGULAR, 0, NULL),
};

static const ngx_http_wt_json_msg_t
ngx_http_wt_json_OpenStream = {
    "OpenStream", 5,
    ngx_http_wt_json_OpenStream_fields
};


static const ngx_http_wt_json_field_t
ngx_http_wt_json_Attach_fields[] = {
    field("clean", "clean", 1, BOOL, SINGULAR, 0, NULL),
    field("streams", "streams",
          2, MESSAGE, REPEATED, 0, &ngx_http_wt_json_OpenStream),
};

static const ngx_http_wt_json_msg_t
ngx_http_wt_json_Attach = {
    "Attach", 2,
    ngx_http_wt_json_Attach_fields
};


static const ngx_http_wt_json_field_t
ngx_http_wt_json_Connect_fields[] = {
    field("version", "version", 1, UINT32, SINGULAR, 0, NULL),
    field("scheme", "scheme", 2, STRING, SINGULAR, 0, NULL),
    field("authority", "authority", 3, BYTES, SINGULAR, 0, NULL),
    field("path", "path", 4, BYTES, SINGULAR, 0, NULL),
    field("query", "query", 5, BYTES, SINGULAR, 0, NULL),
    field("headers", "headers",
          6, MESSAGE, REPEATED, 0, &ngx_http_wt_json_Header),
    field("params", "params",
          7, MESSAGE, MAP, 0, &ngx_http_wt_json_Connect_ParamsEntry),
    field("remoteAddr", "remote_addr", 8, STRING, SINGULAR, 0, NULL),
    field("remotePort", "remote_port", 9, UINT32, SINGULAR, 0, NULL),
    field("serverAddr", "server_addr", 10, STRING, SINGULAR, 0, NULL),
    field("serverPort", "server_port", 11, UINT32, SINGULAR, 0, NULL),
    field("serverName", "server_name", 12, STRING, SINGULAR, 0, NULL),
    field("protocols", "protocols", 13, STRING, REPEATED, 0, NULL),
    field("draft", "draft", 14, STRING, SINGULAR, 0, NULL),
    field("limits", "limits",
          15, MESSAGE, PRESENCE, 0, &ngx_http_wt_json_Limits),
    field("streamWindow", "stream_window", 16, UINT32, SINGULAR, 0, NULL),
    field("maxCommand", "max_command", 17, UINT32, SINGULAR, 0, NULL),
    field("streamsBidi", "streams_bidi", 18, UINT32, SINGULAR, 0, NULL),
    field("streamsUni", "streams_uni", 19, UINT32, SINGULAR, 0, NULL),
    field("attach", "attach",
          20, MESSAGE, PRESENCE, 0, &ngx_http_wt_json_Attach),
};

static const ngx_http_wt_json_msg_t
ngx_http_wt_json_Connect = {
    "Connect", 20,
    ngx_http_wt_json_Connect_fields
};


static const ngx_http_wt_json_name_t
ngx_http_wt_json_Open_names[] = {
    { ngx_string("NONE"), 0 },
    { ngx_string("BIDI"), 1 },
    { ngx_string("UNI"), 2 },
};

static const ngx_http_wt_json_enum_t
ngx_http_wt_json_Open = {
    3, ngx_http_wt_json_Open_names
};


static const ngx_http_wt_json_field_t
ngx_http_wt_json_StreamData_fields[] = {
    field("streamId", "stream_id", 1, UINT64, SINGULAR, 0, NULL),
    field("data", "data", 2, BYTES, SINGULAR, 0, NULL),
    field("fin", "fin", 3, BOOL, SINGULAR, 0, NULL),
    field("open", "open", 4, ENUM, SINGULAR, 0, &ngx_http_wt_json_Open),
    field("priority", "priority", 5, UINT32, SINGULAR, 0, NULL),
    field("ttlMs", "ttl_ms", 6, UINT32, SINGULAR, 0, NULL),
    field("ttlCode", "ttl_code", 7, UINT32, SINGULAR, 0, NULL),
};

static const ngx_http_wt_json_msg_t
ngx_http_wt_json_StreamData = {
    "StreamData", 7,
    ngx_http_wt_json_StreamData_fields
};


static const ngx_http_wt_json_field_t
ngx_http_wt_json_StreamAbort_fields[] = {
    field("streamId", "stream_id", 1, UINT64, SINGULAR, 0, NULL),
    field("code", "code", 2, UINT32, PRESENCE, 0, NULL),
    field("sessionId", "session_id", 3, STRING, SINGULAR, 0, NULL),
};

const ngx_http_wt_json_msg_t
ngx_http_wt_json_StreamAbort = {
    "StreamAbort", 3,
    ngx_http_wt_json_StreamAbort_fields
};


static const ngx_http_wt_json_field_t
ngx_http_wt_json_Datagram_fields[] = {
    field("data", "data", 1, BYTES, SINGULAR, 0, NULL),
    field("ttlMs", "ttl_ms", 2, UINT32, SINGULAR, 0, NULL),
};

static const ngx_http_wt_json_msg_t
ngx_http_wt_json_Datagram = {
    "Datagram", 2,
    ngx_http_wt_json_Datagram_fields
};


static const ngx_http_wt_json_field_t
ngx_http_wt_json_Credit_fields[] = {
    field("streamId", "stream_id", 1, UINT64, SINGULAR, 0, NULL),
    field("bytes", "bytes", 2, UINT64, SINGULAR, 0, NULL),
    field("bidi", "bidi", 3, UINT32, SINGULAR, 0, NULL),
    field("uni", "uni", 4, UINT32, SINGULAR, 0, NULL),
};

static const ngx_http_wt_json_msg_t
ngx_http_wt_json_Credit = {
    "Credit", 4,
    ngx_http_wt_json_Credit_fields
};


static const ngx_http_wt_json_name_t
ngx_http_wt_json_Drain_By_names[] = {
    { ngx_string("UNKNOWN"), 0 },
    { ngx_string("CLIENT"), 1 },
    { ngx_string("NGINX"), 2 },
    { ngx_string("CONTROL"), 3 },
};

static const ngx_http_wt_json_enum_t
ngx_http_wt_json_Drain_By = {
    4, ngx_http_wt_json_Drain_By_names
};


static const ngx_http_wt_json_field_t
ngx_http_wt_json_Drain_fields[] = {
    field("by", "by", 1, ENUM, SINGULAR, 0, &ngx_http_wt_json_Drain_By),
    field("deadlineMs", "deadline_ms", 2, UINT32, SINGULAR, 0, NULL),
};

static const ngx_http_wt_json_msg_t
ngx_http_wt_json_Drain = {
    "Drain", 2,
    ngx_http_wt_json_Drain_fields
};


static const ngx_http_wt_json_name_t
ngx_http_wt_json_Closed_By_names[] = {
    { ngx_string("UNKNOWN"), 0 },
    { ngx_string("CLIENT"), 1 },
    { ngx_string("WORKER"), 2 },
    { ngx_string("CONTROL"), 3 },
    { ngx_string("TIMEOUT"), 4 },
    { ngx_string("LOST"), 5 },
    { ngx_string("LIMIT"), 6 },
    { ngx_string("SHUTDOWN"), 7 },
    { ngx_string("WORKER_LOST"), 8 },
    { ngx_string("EXPIRED"), 9 },
    { ngx_string("PROTOCOL"), 10 },
};

static const ngx_http_wt_json_enum_t
ngx_http_wt_json_Closed_By = {
    11, ngx_http_wt_json_Closed_By_names
};


static const ngx_http_wt_json_field_t
ngx_http_wt_json_Counters_fields[] = {
    field("streamsIn", "streams_in", 1, UINT64, SINGULAR, 0, NULL),
    field("streamsOut", "streams_out", 2, UINT64, SINGULAR, 0, NULL),
    field("bytesIn", "bytes_in", 3, UINT64, SINGULAR, 0, NULL),
    field("bytesOut", "bytes_out", 4, UINT64, SINGULAR, 0, NULL),
    field("datagramsIn", "datagrams_in", 5, UINT64, SINGULAR, 0, NULL),
    field("datagramsOut", "datagrams_out", 6, UINT64, SINGULAR, 0, NULL),
    field("datagramsDropped", "datagrams_dropped",
          7, UINT64, SINGULAR, 0, NULL),
};

static const ngx_http_wt_json_msg_t
ngx_http_wt_json_Counters = {
    "Counters", 7,
    ngx_http_wt_json_Counters_fields
};


static const ngx_http_wt_json_field_t
ngx_http_wt_json_Closed_fields[] = {
    field("by", "by", 1, ENUM, SINGULAR, 0, &ngx_http_wt_json_Closed_By),
    field("code", "code", 2, UINT32, SINGULAR, 0, NULL),
    field("reason", "reason", 3, STRING, SINGULAR, 0, NULL),
    field("durationMs", "duration_ms", 4, UINT64, SINGULAR, 0, NULL),
    field("counters", "counters",
          5, MESSAGE, PRESENCE, 0, &ngx_http_wt_json_Counters),
};

static const ngx_http_wt_json_msg_t
ngx_http_wt_json_Closed = {
    "Closed", 5,
    ngx_http_wt_json_Closed_fields
};


static const ngx_http_wt_json_field_t
ngx_http_wt_json_Result_fields[] = {
    field("id", "id", 1, UINT64, SINGULAR, 0, NULL),
    field("status", "status", 2, INT32, SINGULAR, 0, NULL),
    field("message", "message", 3, STRING, SINGULAR, 0, NULL),
    field("streamId", "stream_id", 4, UINT64, SINGULAR, 0, NULL),
    field("count", "count", 5, UINT64, SINGULAR, 0, NULL),
};

static const ngx_http_wt_json_msg_t
ngx_http_wt_json_Result = {
    "Result", 5,
    ngx_http_wt_json_Result_fields
};


static const ngx_http_wt_json_field_t
ngx_http_wt_json_Ping_fields[] = {
    field("id", "id", 1, UINT64, SINGULAR, 0, NULL),
};

static const ngx_http_wt_json_msg_t
ngx_http_wt_json_Ping = {
    "Ping", 1,
    ngx_http_wt_json_Ping_fields
};


static const ngx_http_wt_json_field_t
ngx_http_wt_json_Expiring_fields[] = {
    field("graceMs", "grace_ms", 1, UINT32, SINGULAR, 0, NULL),
};

static const ngx_http_wt_json_msg_t
ngx_http_wt_json_Expiring = {
    "Expiring", 1,
    ngx_http_wt_json_Expiring_fields
};


static const ngx_http_wt_json_name_t
ngx_http_wt_json_Member_What_names[] = {
    { ngx_string("NONE"), 0 },
    { ngx_string("JOINED"), 1 },
    { ngx_string("LEFT"), 2 },
    { ngx_string("OCCUPIED"), 3 },
    { ngx_string("VACATED"), 4 },
};

static const ngx_http_wt_json_enum_t
ngx_http_wt_json_Member_What = {
    5, ngx_http_wt_json_Member_What_names
};


static const ngx_http_wt_json_field_t
ngx_http_wt_json_Member_fields[] = {
    field("what", "what", 1, ENUM, SINGULAR, 0, &ngx_http_wt_json_Member_What),
    field("channel", "channel", 2, STRING, SINGULAR, 0, NULL),
    field("sessionId", "session_id", 3, STRING, SINGULAR, 0, NULL),
    field("userId", "user_id", 4, STRING, SINGULAR, 0, NULL),
};

static const ngx_http_wt_json_msg_t
ngx_http_wt_json_Member = {
    "Member", 4,
    ngx_http_wt_json_Member_fields
};


static const ngx_http_wt_json_field_t
ngx_http_wt_json_Event_fields[] = {
    field("connect", "connect",
          1, MESSAGE, PRESENCE, 1, &ngx_http_wt_json_Connect),
    field("data", "data",
          2, MESSAGE, PRESENCE, 1, &ngx_http_wt_json_StreamData),
    field("reset", "reset",
          3, MESSAGE, PRESENCE, 1, &ngx_http_wt_json_StreamAbort),
    field("stop", "stop",
          4, MESSAGE, PRESENCE, 1, &ngx_http_wt_json_StreamAbort),
    field("datagram", "datagram",
          5, MESSAGE, PRESENCE, 1, &ngx_http_wt_json_Datagram),
    field("credit", "credit",
          6, MESSAGE, PRESENCE, 1, &ngx_http_wt_json_Credit),
    field("drain", "drain", 7, MESSAGE, PRESENCE, 1, &ngx_http_wt_json_Drain),
    field("closed", "closed",
          8, MESSAGE, PRESENCE, 1, &ngx_http_wt_json_Closed),
    field("result", "result",
          9, MESSAGE, PRESENCE, 1, &ngx_http_wt_json_Result),
    field("ping", "ping", 10, MESSAGE, PRESENCE, 1, &ngx_http_wt_json_Ping),
    field("pong", "pong", 11, MESSAGE, PRESENCE, 1, &ngx_http_wt_json_Ping),
    field("limits", "limits",
          12, MESSAGE, PRESENCE, 1, &ngx_http_wt_json_Limits),
    field("expiring", "expiring",
          13, MESSAGE, PRESENCE, 1, &ngx_http_wt_json_Expiring),
    field("member", "member",
          14, MESSAGE, PRESENCE, 1, &ngx_http_wt_json_Member),
};

static const ngx_http_wt_json_msg_t
ngx_http_wt_json_Event = {
    "Event", 14,
    ngx_http_wt_json_Event_fields
};


static const ngx_http_wt_json_field_t
ngx_http_wt_json_EventBatch_fields[] = {
    field("sessionId", "session_id", 1, STRING, SINGULAR, 0, NULL),
    field("seq", "seq", 2, UINT64, SINGULAR, 0, NULL),
    field("context", "context",
          3, MESSAGE, PRESENCE, 0, &ngx_http_wt_json_Context),
    field("events", "events", 4, MESSAGE, REPEATED, 0, &ngx_http_wt_json_Event),
};

const ngx_http_wt_json_msg_t
ngx_http_wt_json_EventBatch = {
    "EventBatch", 4,
    ngx_http_wt_json_EventBatch_fields
};


static const ngx_http_wt_json_name_t
ngx_http_wt_json_Framing_names[] = {
    { ngx_string("RAW"), 0 },
    { ngx_string("WHOLE"), 1 },
    { ngx_string("U32"), 2 },
    { ngx_string("LINES"), 3 },
};

static const ngx_http_wt_json_enum_t
ngx_http_wt_json_Framing = {
    4, ngx_http_wt_json_Framing_names
};


static const ngx_http_wt_json_field_t
ngx_http_wt_json_UpdateRequest_MetaEntry_fields[] = {
    field("key", "key", 1, STRING, PRESENCE, 0, NULL),
    field("value", "value", 2, STRING, PRESENCE, 0, NULL),
};

static const ngx_http_wt_json_msg_t
ngx_http_wt_json_UpdateRequest_MetaEntry = {
    "UpdateRequest.MetaEntry", 2,
    ngx_http_wt_json_UpdateRequest_MetaEntry_fields
};


static const ngx_http_wt_json_field_t
ngx_http_wt_json_UpdateRequest_fields[] = {
    field("sessionId", "session_id", 1, STRING, SINGULAR, 0, NULL),
    field("userId", "user_id", 2, STRING, SINGULAR, 0, NULL),
    field("meta", "meta",
          3, MESSAGE, MAP, 0, &ngx_http_wt_json_UpdateRequest_MetaEntry),
    field("expiresMs", "expires_ms", 4, UINT32, SINGULAR, 0, NULL),
};

const ngx_http_wt_json_msg_t
ngx_http_wt_json_UpdateRequest = {
    "UpdateRequest", 4,
    ngx_http_wt_json_UpdateRequest_fields
};


static const ngx_http_wt_json_field_t
ngx_http_wt_json_SubscribeRequest_fields[] = {
    field("sessionId", "session_id", 1, STRING, SINGULAR, 0, NULL),
    field("channel", "channel", 2, STRING, SINGULAR, 0, NULL),
    field("userId", "user_id", 3, STRING, SINGULAR, 0, NULL),
    field("maxConnections", "max_connections", 4, UINT32, SINGULAR, 0, NULL),
    field("history", "history", 5, UINT32, SINGULAR, 0, NULL),
    field("sinceId", "since_id", 6, STRING, SINGULAR, 0, NULL),
};

const ngx_http_wt_json_msg_t
ngx_http_wt_json_SubscribeRequest = {
    "SubscribeRequest", 6,
    ngx_http_wt_json_SubscribeRequest_fields
};


static const ngx_http_wt_json_name_t
ngx_http_wt_json_Accept_Overflow_names[] = {
    { ngx_string("DEFAULT"), 0 },
    { ngx_string("BLOCK"), 1 },
    { ngx_string("CLOSE"), 2 },
};

static const ngx_http_wt_json_enum_t
ngx_http_wt_json_Accept_Overflow = {
    3, ngx_http_wt_json_Accept_Overflow_names
};


static const ngx_http_wt_json_name_t
ngx_http_wt_json_Accept_Notify_names[] = {
    { ngx_string("NOTHING"), 0 },
    { ngx_string("LIMITS"), 1 },
    { ngx_string("MEMBERS"), 2 },
    { ngx_string("STREAM_CREDIT"), 3 },
};

static const ngx_http_wt_json_enum_t
ngx_http_wt_json_Accept_Notify = {
    4, ngx_http_wt_json_Accept_Notify_names
};


static const ngx_http_wt_json_field_t
ngx_http_wt_json_Accept_fields[] = {
    field("protocol", "protocol", 1, STRING, SINGULAR, 0, NULL),
    field("headers", "headers",
          2, MESSAGE, REPEATED, 0, &ngx_http_wt_json_Header),
    field("streamWindow", "stream_window", 3, UINT32, SINGULAR, 0, NULL),
    field("framing", "framing",
          4, ENUM, SINGULAR, 0, &ngx_http_wt_json_Framing),
    field("session", "session",
          5, MESSAGE, PRESENCE, 0, &ngx_http_wt_json_UpdateRequest),
    field("subscribe", "subscribe",
          6, MESSAGE, REPEATED, 0, &ngx_http_wt_json_SubscribeRequest),
    field("overflow", "overflow",
          7, ENUM, SINGULAR, 0, &ngx_http_wt_json_Accept_Overflow),
    field("notify", "notify",
          8, ENUM, REPEATED, 0, &ngx_http_wt_json_Accept_Notify),
};

static const ngx_http_wt_json_msg_t
ngx_http_wt_json_Accept = {
    "Accept", 8,
    ngx_http_wt_json_Accept_fields
};


static const ngx_http_wt_json_field_t
ngx_http_wt_json_Reject_fields[] = {
    field("status", "status", 1, UINT32, SINGULAR, 0, NULL),
    field("headers", "headers",
          2, MESSAGE, REPEATED, 0, &ngx_http_wt_json_Header),
    field("body", "body", 3, BYTES, SINGULAR, 0, NULL),
};

static const ngx_http_wt_json_msg_t
ngx_http_wt_json_Reject = {
    "Reject", 3,
    ngx_http_wt_json_Reject_fields
};


static const ngx_http_wt_json_field_t
ngx_http_wt_json_Priority_fields[] = {
    field("streamId", "stream_id", 1, UINT64, SINGULAR, 0, NULL),
    field("priority", "priority", 2, UINT32, SINGULAR, 0, NULL),
};

static const ngx_http_wt_json_msg_t
ngx_http_wt_json_Priority = {
    "Priority", 2,
    ngx_http_wt_json_Priority_fields
};


static const ngx_http_wt_json_field_t
ngx_http_wt_json_Close_fields[] = {
    field("code", "code", 1, UINT32, SINGULAR, 0, NULL),
    field("reason", "reason", 2, STRING, SINGULAR, 0, NULL),
    field("flushMs", "flush_ms", 3, UINT32, SINGULAR, 0, NULL),
};

static const ngx_http_wt_json_msg_t
ngx_http_wt_json_Close = {
    "Close", 3,
    ngx_http_wt_json_Close_fields
};


static const ngx_http_wt_json_msg_t
ngx_http_wt_json_Abort = {
    "Abort", 0,
    NULL
};


static const ngx_http_wt_json_name_t
ngx_http_wt_json_Delivery_names[] = {
    { ngx_string("PUSH"), 0 },
    { ngx_string("NEW_STREAM"), 1 },
    { ngx_string("DATAGRAM"), 2 },
};

static const ngx_http_wt_json_enum_t
ngx_http_wt_json_Delivery = {
    3, ngx_http_wt_json_Delivery_names
};


static const ngx_http_wt_json_field_t
ngx_http_wt_json_PublishRequest_fields[] = {
    field("channels", "channels", 1, STRING, REPEATED, 0, NULL),
    field("location", "location", 2, STRING, SINGULAR, 0, NULL),
    field("data", "data", 3, BYTES, PRESENCE, 1, NULL),
    field("text", "text", 4, STRING, PRESENCE, 1, NULL),
    field("delivery", "delivery",
          5, ENUM, SINGULAR, 0, &ngx_http_wt_json_Delivery),
    field("except", "except", 6, STRING, REPEATED, 0, NULL),
    field("exceptUsers", "except_users", 7, STRING, REPEATED, 0, NULL),
    field("messageId", "message_id", 8, STRING, SINGULAR, 0, NULL),
    field("ttlMs", "ttl_ms", 9, UINT32, SINGULAR, 0, NULL),
};

const ngx_http_wt_json_msg_t
ngx_http_wt_json_PublishRequest = {
    "PublishRequest", 9,
    ngx_http_wt_json_PublishRequest_fields
};


static const ngx_http_wt_json_msg_t
ngx_http_wt_json_Detach = {
    "Detach", 0,
    NULL
};


static const ngx_http_wt_json_field_t
ngx_http_wt_json_Command_fields[] = {
    field("id", "id", 1, UINT64, SINGULAR, 0, NULL),
    field("accept", "accept",
          2, MESSAGE, PRESENCE, 1, &ngx_http_wt_json_Accept),
    field("reject", "reject",
          3, MESSAGE, PRESENCE, 1, &ngx_http_wt_json_Reject),
    field("data", "data",
          4, MESSAGE, PRESENCE, 1, &ngx_http_wt_json_StreamData),
    field("reset", "reset",
          5, MESSAGE, PRESENCE, 1, &ngx_http_wt_json_StreamAbort),
    field("stop", "stop",
          6, MESSAGE, PRESENCE, 1, &ngx_http_wt_json_StreamAbort),
    field("datagram", "datagram",
          7, MESSAGE, PRESENCE, 1, &ngx_http_wt_json_Datagram),
    field("credit", "credit",
          8, MESSAGE, PRESENCE, 1, &ngx_http_wt_json_Credit),
    field("priority", "priority",
          9, MESSAGE, PRESENCE, 1, &ngx_http_wt_json_Priority),
    field("drain", "drain", 10, MESSAGE, PRESENCE, 1, &ngx_http_wt_json_Drain),
    field("close", "close", 11, MESSAGE, PRESENCE, 1, &ngx_http_wt_json_Close),
    field("abort", "abort", 12, MESSAGE, PRESENCE, 1, &ngx_http_wt_json_Abort),
    field("subscribe", "subscribe",
          13, MESSAGE, PRESENCE, 1, &ngx_http_wt_json_SubscribeRequest),
    field("unsubscribe", "unsubscribe",
          14, MESSAGE, PRESENCE, 1, &ngx_http_wt_json_SubscribeRequest),
    field("publish", "publish",
          15, MESSAGE, PRESENCE, 1, &ngx_http_wt_json_PublishRequest),
    field("update", "update",
          16, MESSAGE, PRESENCE, 1, &ngx_http_wt_json_UpdateRequest),
    field("ping", "ping", 17, MESSAGE, PRESENCE, 1, &ngx_http_wt_json_Ping),
    field("pong", "pong", 18, MESSAGE, PRESENCE, 1, &ngx_http_wt_json_Ping),
    field("detach", "detach",
          19, MESSAGE, PRESENCE, 1, &ngx_http_wt_json_Detach),
};

static const ngx_http_wt_json_msg_t
ngx_http_wt_json_Command = {
    "Command", 19,
    ngx_http_wt_json_Command_fields
};


static const ngx_http_wt_json_field_t
ngx_http_wt_json_CommandBatch_fields[] = {
    field("sessionId", "session_id", 1, STRING, SINGULAR, 0, NULL),
    field("seq", "seq", 2, UINT64, SINGULAR, 0, NULL),
    field("commands", "commands",
          3, MESSAGE, REPEATED, 0, &ngx_http_wt_json_Command),
};

const ngx_http_wt_json_msg_t
ngx_http_wt_json_CommandBatch = {
    "CommandBatch", 3,
    ngx_http_wt_json_CommandBatch_fields
};


static const ngx_http_wt_json_field_t
ngx_http_wt_json_SendStreamRequest_fields[] = {
    field("sessionId", "session_id", 1, STRING, SINGULAR, 0, NULL),
    field("data", "data", 2, BYTES, PRESENCE, 1, NULL),
    field("userId", "user_id", 3, STRING, SINGULAR, 0, NULL),
    field("text", "text", 4, STRING, PRESENCE, 1, NULL),
    field("streamId", "stream_id", 5, UINT64, SINGULAR, 0, NULL),
    field("open", "open", 6, ENUM, SINGULAR, 0, &ngx_http_wt_json_Open),
    field("fin", "fin", 7, BOOL, SINGULAR, 0, NULL),
};

const ngx_http_wt_json_msg_t
ngx_http_wt_json_SendStreamRequest = {
    "SendStreamRequest", 7,
    ngx_http_wt_json_SendStreamRequest_fields
};


static const ngx_http_wt_json_field_t
ngx_http_wt_json_SendDatagramRequest_fields[] = {
    field("sessionId", "session_id", 1, STRING, SINGULAR, 0, NULL),
    field("data", "data", 2, BYTES, PRESENCE, 1, NULL),
    field("userId", "user_id", 3, STRING, SINGULAR, 0, NULL),
    field("text", "text", 4, STRING, PRESENCE, 1, NULL),
    field("ttlMs", "ttl_ms", 5, UINT32, SINGULAR, 0, NULL),
};

const ngx_http_wt_json_msg_t
ngx_http_wt_json_SendDatagramRequest = {
    "SendDatagramRequest", 5,
    ngx_http_wt_json_SendDatagramRequest_fields
};


static const ngx_http_wt_json_field_t
ngx_http_wt_json_CloseRequest_fields[] = {
    field("sessionId", "session_id", 1, STRING, SINGULAR, 0, NULL),
    field("userId", "user_id", 2, STRING, SINGULAR, 0, NULL),
    field("code", "code", 3, UINT32, SINGULAR, 0, NULL),
    field("reason", "reason", 4, STRING, SINGULAR, 0, NULL),
    field("flushMs", "flush_ms", 5, UINT32, SINGULAR, 0, NULL),
    field("deadlineMs", "deadline_ms", 6, UINT32, SINGULAR, 0, NULL),
};

const ngx_http_wt_json_msg_t
ngx_http_wt_json_CloseRequest = {
    "CloseRequest", 6,
    ngx_http_wt_json_CloseRequest_fields
};


static const ngx_http_wt_json_field_t
ngx_http_wt_json_SendReply_fields[] = {
    field("streamId", "stream_id", 1, UINT64, SINGULAR, 0, NULL),
    field("credit", "credit", 2, UINT64, SINGULAR, 0, NULL),
    field("delivered", "delivered", 3, UINT64, SINGULAR, 0, NULL),
    field("dropped", "dropped", 4, UINT64, SINGULAR, 0, NULL),
    field("recovered", "recovered", 5, UINT64, SINGULAR, 0, NULL),
};

const ngx_http_wt_json_msg_t
ngx_http_wt_json_SendReply = {
    "SendReply", 5,
    ngx_http_wt_json_SendReply_fields
};


static const ngx_http_wt_json_field_t
ngx_http_wt_json_ListRequest_fields[] = {
    field("sessionId", "session_id", 1, STRING, SINGULAR, 0, NULL),
    field("userId", "user_id", 2, STRING, SINGULAR, 0, NULL),
    field("channel", "channel", 3, STRING, SINGULAR, 0, NULL),
    field("location", "location", 4, STRING, SINGULAR, 0, NULL),
    field("limit", "limit", 5, UINT32, SINGULAR, 0, NULL),
    field("cursor", "cursor", 6, STRING, SINGULAR, 0, NULL),
};

const ngx_http_wt_json_msg_t
ngx_http_wt_json_ListRequest = {
    "ListRequest", 6,
    ngx_http_wt_json_ListRequest_fields
};


static const ngx_http_wt_json_field_t
ngx_http_wt_json_SessionInfo_fields[] = {
    field("sessionId", "session_id", 1, STRING, SINGULAR, 0, NULL),
    field("context", "context",
          2, MESSAGE, PRESENCE, 0, &ngx_http_wt_json_Context),
    field("channels", "channels", 3, STRING, REPEATED, 0, NULL),
    field("limits", "limits",
          4, MESSAGE, PRESENCE, 0, &ngx_http_wt_json_Limits),
    field("counters", "counters",
          5, MESSAGE, PRESENCE, 0, &ngx_http_wt_json_Counters),
    field("ageMs", "age_ms", 6, UINT64, SINGULAR, 0, NULL),
    field("state", "state", 7, STRING, SINGULAR, 0, NULL),
};

const ngx_http_wt_json_msg_t
ngx_http_wt_json_SessionInfo = {
    "SessionInfo", 7,
    ngx_http_wt_json_SessionInfo_fields
};


static const ngx_http_wt_json_field_t
ngx_http_wt_json_SessionList_fields[] = {
    field("sessions", "sessions",
          1, MESSAGE, REPEATED, 0, &ngx_http_wt_json_SessionInfo),
    field("cursor", "cursor", 2, STRING, SINGULAR, 0, NULL),
};

const ngx_http_wt_json_msg_t
ngx_http_wt_json_SessionList = {
    "SessionList", 2,
    ngx_http_wt_json_SessionList_fields
};


static const ngx_http_wt_json_field_t
ngx_http_wt_json_ChannelInfo_fields[] = {
    field("channel", "channel", 1, STRING, SINGULAR, 0, NULL),
    field("connections", "connections", 2, UINT64, SINGULAR, 0, NULL),
    field("users", "users", 3, UINT64, SINGULAR, 0, NULL),
    field("lastId", "last_id", 4, STRING, SINGULAR, 0, NULL),
};

static const ngx_http_wt_json_msg_t
ngx_http_wt_json_ChannelInfo = {
    "ChannelInfo", 4,
    ngx_http_wt_json_ChannelInfo_fields
};


static const ngx_http_wt_json_field_t
ngx_http_wt_json_ChannelList_fields[] = {
    field("channels", "channels",
          1, MESSAGE, REPEATED, 0, &ngx_http_wt_json_ChannelInfo),
    field("cursor", "cursor", 2, STRING, SINGULAR, 0, NULL),
};

const ngx_http_wt_json_msg_t
ngx_http_wt_json_ChannelList = {
    "ChannelList", 2,
    ngx_http_wt_json_ChannelList_fields
};


static const ngx_http_wt_json_field_t
ngx_http_wt_json_StatsRequest_fields[] = {
    field("location", "location", 1, STRING, SINGULAR, 0, NULL),
};

const ngx_http_wt_json_msg_t
ngx_http_wt_json_StatsRequest = {
    "StatsRequest", 1,
    ngx_http_wt_json_StatsRequest_fields
};


static const ngx_http_wt_json_field_t
ngx_http_wt_json_Stats_RefusedEntry_fields[] = {
    field("key", "key", 1, STRING, PRESENCE, 0, NULL),
    field("value", "value", 2, UINT64, PRESENCE, 0, NULL),
};

static const ngx_http_wt_json_msg_t
ngx_http_wt_json_Stats_RefusedEntry = {
    "Stats.RefusedEntry", 2,
    ngx_http_wt_json_Stats_RefusedEntry_fields
};


static const ngx_http_wt_json_field_t
ngx_http_wt_json_Stats_fields[] = {
    field("connections", "connections", 1, UINT64, SINGULAR, 0, NULL),
    field("streams", "streams", 2, UINT64, SINGULAR, 0, NULL),
    field("total", "total",
          3, MESSAGE, PRESENCE, 0, &ngx_http_wt_json_Counters),
    field("rttAvgMs", "rtt_avg_ms", 4, DOUBLE, SINGULAR, 0, NULL),
    field("rttP99Ms", "rtt_p99_ms", 5, DOUBLE, SINGULAR, 0, NULL),
    field("workerAvgMs", "worker_avg_ms", 6, DOUBLE, SINGULAR, 0, NULL),
    field("workerP99Ms", "worker_p99_ms", 7, DOUBLE, SINGULAR, 0, NULL),
    field("memory", "memory", 8, UINT64, SINGULAR, 0, NULL),
    field("channels", "channels", 9, UINT64, SINGULAR, 0, NULL),
    field("refused", "refused",
          10, MESSAGE, MAP, 0, &ngx_http_wt_json_Stats_RefusedEntry),
};

const ngx_http_wt_json_msg_t
ngx_http_wt_json_Stats = {
    "Stats", 10,
    ngx_http_wt_json_Stats_fields
};
