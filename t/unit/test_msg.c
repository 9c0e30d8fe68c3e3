
/*
 * Copyright (C) The WebTransport for nginx authors
 *
 * Bytes were made with protoc --encode, unless no encoder makes such bytes.
 */


#include "test_msg.h"
#include <ngx_http_wt_msg_hot.h>


static test_commands_t  commands;


/* commands */


static void
expect(const char *hex, const char *expected)
{
    test_bytes_t  b;

    b = test_bytes(hex);
    check(test_parse(&commands, b.data, b.len, 0) == NGX_OK);
    check_str(commands.log, expected);
    free(b.data);
}


static void
expect_error(const char *hex, const char *expected)
{
    test_bytes_t  b;

    b = test_bytes(hex);
    check(test_parse(&commands, b.data, b.len, 0) == NGX_ERROR);
    check_str(commands.log, expected);
    free(b.data);
}


static void
parses_accept(void)
{
    expect("1a2f0807122b0a046368617412080a03782d6112013112080a03782d62120163"
           "1880800420032a031201753802 42020103",
           "7 accept protocol=chat name=x-a value=1 name=x-b value=c"
           " window=65536 framing=3 overflow=2 notify=a "
           "user=u;");

    expect("1a{ 12{} }",
           "0 accept protocol= window=0 framing=0 overflow=0 notify=0;");
}


static void
parses_reject(void)
{
    expect("1a1d1a1b08ad0312100a0b72657472792d61667465721201331a0462757379",
           "0 reject 429 name=retry-after value=3 body=busy;");

    expect("1a{ 1a{} }", "0 reject 0 body=;");
}


static void
parses_data(void)
{
    expect("1a1622140805120568656c6c6f18012002280330e8073809",
           "0 data 5 data=hello fin=1 open=2 priority=3 ttl=1000 code=9;");

    expect("1a{ 08ac02 22{ 12{61} 2001 } } 1a{ 3a{ 0a{64} 1014 } }",
           "300 data 0 data=a fin=0 open=1 priority=0 ttl=0 code=0;"
           "0 datagram=d ttl=20;");
}


static void
parses_presence_of_codes(void)
{
    expect("1a062a0408041000", "0 reset 4 code=0;");
    expect("1a042a020804", "0 reset 4;");
    expect("1a0a3208080610ffffffff0f", "0 stop 6 code=4294967295;");
    expect("1a0432020806", "0 stop 6;");
}


static void
parses_small_commands(void)
{
    expect("1a0842060808108080041a064a040809 10081a05520310f403"
           "1a058a010208011a0e92010b08ffffffffffffffffff01",
           "0 credit 8 bytes=65536;0 priority 9 8;0 drain 500;0 ping 1;"
           "0 pong 18446744073709551615;");
}


static void
parses_close_and_abort(void)
{
    expect("1a135a1108effdb6f50d12076772c3bcc39f6518641a026200",
           "0 close 3735928559 reason=gr\xc3\xbc\xc3\x9f" "e flush=100;"
           "0 abort;");
}


static void
passes_reserved_and_unknown_commands_as_unknown(void)
{
    /* subscribe, publish, detach, no kind, a kind 30 */

    expect("1a0708016a031201631a{ 0802 7a{ 1a0175 } }1a039a01001a020803"
           "1a{ 0805 f201{ 0801 } }",
           "1 unknown;2 unknown;0 unknown;3 unknown;5 unknown;");

    expect("1a{}", "0 unknown;");
}


static void
an_empty_batch_has_no_commands(void)
{
    expect("", "");
    expect("0a0173 1009", "");
}


static void
the_order_of_fields_does_not_matter(void)
{
    /* the id behind the command, the stream's behind the data */

    expect("1a{ 22{ 12{61} 0805 1801 } 0807 }",
           "7 data 5 data=a fin=1 open=0 priority=0 ttl=0 code=0;");
}


static void
varints_may_be_padded(void)
{
    /* lengths of 3 bytes, numbers and tags of up to 10 */

    expect("1a918000 08878080808080808080 00 2a828000 0804",
           "7 reset 4;");
    expect("1a{ 2a{ 0884808080808080808000 } }", "0 reset 4;");
    expect("1a{ 2a{ 88808080 00 04 } }", "0 reset 4;");
}


static void
the_last_kind_of_a_command_wins(void)
{
    expect("1a{ 8a01{ 0801 } 2a{ 0804 } }", "0 reset 4;");

    /* the same kind twice is merged */

    expect("1a{ 5a{ 0807 } 5a{ 12{6869} } }", "0 close 7 reason=hi flush=0;");
    expect("1a{ 12{ 12{ 0a{61} } } 12{ 0a{70} 12{ 0a{62} } } }",
           "0 accept protocol=p name=a value= name=b value="
           " window=0 framing=0 overflow=0 notify=0;");

    /* and a former kind leaves nothing behind */

    expect("1a{ 5a{ 0807 12{6869} } 2a{ 0804 } 5a{ 1803 } }",
           "0 close 0 reason= flush=3;");
}


static void
takes_up_to_64_headers(void)
{
    size_t   i;
    u_char  *p, buf[512];

    /* batch, command, accept, headers */

    p = buf;
    *p++ = 0x1a; *p++ = 0x83; *p++ = 0x01;
    *p++ = 0x12; *p++ = 0x80; *p++ = 0x01;

    for (i = 0; i < 64; i++) {
        *p++ = 0x12; *p++ = 0x00;
    }

    check(test_parse(&commands, buf, p - buf, 0) == NGX_OK);
    check(commands.commands == 1);

    buf[1] += 2;
    buf[4] += 2;
    *p++ = 0x12; *p++ = 0x00;

    check(test_parse(&commands, buf, p - buf, 0) == NGX_ERROR);
    check(commands.commands == 0);
}


static void
notify_may_be_packed_or_not(void)
{
    expect("1a{ 12{ 42{ 01 03 } } }",
           "0 accept protocol= window=0 framing=0 overflow=0 notify=a;");
    expect("1a{ 12{ 4001 4003 } }",
           "0 accept protocol= window=0 framing=0 overflow=0 notify=a;");
    expect("1a{ 12{ 42{} } }",
           "0 accept protocol= window=0 framing=0 overflow=0 notify=0;");

    /* values that are not known */

    expect("1a{ 12{ 42{ 01 e807 03 ffffffffffffffffff01 } } }",
           "0 accept protocol= window=0 framing=0 overflow=0 notify=a;");
}


static void
unknown_fields_of_every_type_are_ignored(void)
{
    /* field 100: varint, 64 bits, string, 32 bits; in batch and command */

    expect("a00601 a1060000000000000000 a206{6161} a50600000000"
           "1a{ a00601 a1060000000000000000 a206{6161} a50600000000"
           "    2a{ a00601 0804 a206{61} } a00600 }", "0 reset 4;");

    /* of the batch itself */

    expect("0a{73} 1009 1a{ 2a{ 0804 } }", "0 reset 4;");
}


static void
strings_must_be_utf8_and_bytes_need_not(void)
{
    expect_error("1a{ 5a{ 12{ff} } }", "malformed: invalid utf-8");
    expect_error("1a{ 12{ 12{ 0a{ff} } } }", "malformed: invalid utf-8");

    expect("1a{ 3a{ 0a{ff} } }", "0 datagram=\xff ttl=0;");
    expect("1a{ 12{ 12{ 12{ff} } } }",
           "0 accept protocol= name= value=\xff"
           " window=0 framing=0 overflow=0 notify=0;");
}


static void
wrong_wire_types_are_malformed(void)
{
    /* a command, a message, bytes, a string, a number */

    expect_error("1801", "malformed: wrong wire type");
    expect_error("1a{ 2001 }", "malformed: wrong wire type");
    expect_error("1a{ 22{ 1005 } }", "malformed: callback failed");
    expect_error("1a{ 5a{ 1005 } }", "malformed: callback failed");
    expect_error("1a{ 22{ 0a{61} } }", "malformed: wrong wire type");

    /* groups, which proto3 does not have */

    expect_error("a306a406", "malformed: invalid wire_type");
}


static void
values_out_of_range_are_malformed(void)
{
    /* a varint of 11 bytes, 2^64, 2^32 in 32 bits, field 0 */

    expect_error("1a{ 22{ 08ffffffffffffffffffff01 } }",
                 "malformed: varint overflow");
    expect_error("1a{ 22{ 08ffffffffffffffffff02 } }",
                 "malformed: varint overflow");
    expect_error("1a{ 22{ 308080808010 } }", "malformed: integer too large");
    expect_error("1a{ 0000 }", "malformed: zero tag");

    /* lengths that are longer than what they are in */

    expect_error("1a{ 2203 0804 }", "malformed: parent stream too short");
    expect_error("1affffffff0f", "malformed: parent stream too short");
}


static void
truncation_anywhere_is_malformed(void)
{
    size_t        n;
    ngx_int_t     rc;
    test_bytes_t  b;

    /* data, and accept and close with all their fields: 24, 34, 24 bytes */

    b = test_bytes("1a{ 22{ 0805 12{68656c6c6f} 1801 2002 2803 30e807 3809 } }"
                   "1a{ 12{ 12{ 0a{782d61} 12{31} } 0a{63686174} 18808004"
                   "        2003 3802 42{0103} } 0807 }"
                   "1a{ 08ac02 5a{ 08effdb6f50d 12{6772c3bcc39f65} 1864 } }"
                   "a00601");

    for (n = 0; n <= b.len; n++) {
        rc = test_parse(&commands, b.data, n, 0);

        if (n == 0 || n == 24 || n == 58 || n == 82 || n == b.len) {
            check(rc == NGX_OK);

        } else {
            check(rc == NGX_ERROR);
        }

        if (test_failed) {
            printf("# at %u: %s\n", (unsigned) n, commands.log);
            break;
        }
    }

    free(b.data);
}


static void
commands_before_a_malformed_one_are_run(void)
{
    expect_error("1a{ 2a{ 0804 } } 1a{ 2a{ 0a{04} } }",
                 "0 reset 4;malformed: wrong wire type");
}


static void
the_handler_can_stop(void)
{
    test_bytes_t  b;

    b = test_bytes("1a042a020804 1a042a020804 1a042a020804");

    check(test_parse(&commands, b.data, b.len, 2) == NGX_DONE);
    check(commands.commands == 2);
    check_str(commands.log, "0 reset 4;");

    free(b.data);
}


static void
expect_head(const char *hex, const char *id, uint64_t number)
{
    uint64_t      seq;
    ngx_str_t     got;
    test_bytes_t  b;

    b = test_bytes(hex);

    check(ngx_http_wt_msg_commands_head(b.data, b.len, &got, &seq) == NGX_OK);
    check(got.len == strlen(id)
          && (got.len == 0 || memcmp(got.data, id, got.len) == 0));
    check(seq == number);

    free(b.data);
}


static void
the_head_of_a_batch_may_be_anywhere(void)
{
    expect_head("", "", 0);
    expect_head("1a{ 2a{ 0804 } }", "", 0);
    expect_head("0a{6162} 1007", "ab", 7);
    expect_head("1a{ 2a{ 0804 } } 108780 00 0a{6162}", "ab", 7);
    expect_head("0a{} 1000", "", 0);

    /* the last one counts; others are skipped, whatever their type */

    expect_head("0a{61} 0a{62} 1001 10ffffffffffffffffff01", "b",
                0xffffffffffffffffULL);
    expect_head("0801 12{31} 0d00000000 1100000000 00000000 7a{0a{61}}",
                "", 0);
}


static void
a_truncated_head_is_malformed(void)
{
    size_t        n;
    uint64_t      seq;
    ngx_str_t     id;
    ngx_int_t     rc;
    test_bytes_t  b, part;

    b = test_bytes("0a{6162} 10ac02 1a{ 2a{ 0804 } }");

    for (n = 0; n <= b.len; n++) {

        part.data = malloc(n + 1);
        memcpy(part.data, b.data, n);
        part.data = realloc(part.data, n ? n : 1);

        rc = ngx_http_wt_msg_commands_head(part.data, n, &id, &seq);

        check((rc == NGX_OK) == (n == 0 || n == 4 || n == 7 || n == b.len));

        free(part.data);
    }

    free(b.data);
}


/* events */


static u_char  buf[4096];


static void
data_header_has_a_fixed_length(void)
{
    u_char  *p;

    p = ngx_http_wt_msg_data_hdr(buf, 4, NGX_HTTP_WT_OPEN_NONE, 0, 0);
    check(p == buf + NGX_HTTP_WT_MSG_DATA_HDR);
    check_hex(buf, p, "22968000" "12928000" "08848080808080808000"
                      "1800" "2000" "12808000");

    p = ngx_http_wt_msg_data_hdr(buf, 0x7fffffffffffffffULL,
                                 NGX_HTTP_WT_OPEN_UNI, 1,
                                 NGX_HTTP_WT_MSG_PAYLOAD_MAX);
    check(p == buf + NGX_HTTP_WT_MSG_DATA_HDR);
    check_hex(buf, p, "22d6ff7f" "12d2ff7f" "08ffffffffffffffff7f"
                      "1801" "2002" "12c0ff7f");
}


static void
datagram_header_has_a_fixed_length(void)
{
    u_char  *p;

    p = ngx_http_wt_msg_datagram_hdr(buf, 0);
    check(p == buf + NGX_HTTP_WT_MSG_DATAGRAM_HDR);
    check_hex(buf, p, "22888000" "2a848000" "0a808000");

    p = ngx_http_wt_msg_datagram_hdr(buf, 1170);
    check(p == buf + NGX_HTTP_WT_MSG_DATAGRAM_HDR);
    check_hex(buf, p, "229a8900" "2a968900" "0a928900");
}


static void
what_nginx_writes_can_be_parsed(void)
{
    u_char  *p;

    /* StreamData and Datagram have the same fields in commands */

    p = ngx_http_wt_msg_data_hdr(buf, 6, NGX_HTTP_WT_OPEN_UNI, 1, 5);
    p = ngx_cpymem(p, "hello", 5);

    /* Event.data is 2, Command.data is 4; the batches' 4 and 3 */

    buf[0] = 0x1a;
    buf[4] = 0x22;

    check(test_parse(&commands, buf, p - buf, 0) == NGX_OK);
    check_str(commands.log,
              "0 data 6 data=hello fin=1 open=2 priority=0 ttl=0 code=0;");
}


static void
parses_user_and_metadata(void)
{
    /* with a session_id and expires_ms, which are not used */

    expect("1a{ 12{ 2a{ 0a0173 1200 1a{ 0a016b 120176 } 20e807 } } }"
           "1a{ 8201{ 120175 1a{ 0a0161 } 1a{ 0a0162 12026363 } } }",
           "0 accept protocol= window=0 framing=0 overflow=0 notify=0 user= "
           "key=k value=v;"
           "0 update user=u key=a value= key=b value=cc;");
}


static void
writes_batch_fields(void)
{
    u_char                   *p, *last;
    ngx_http_wt_msg_meta_t    meta[2];
    ngx_http_wt_msg_batch_t   batch;

    last = buf + sizeof(buf);

    ngx_memzero(&batch, sizeof(ngx_http_wt_msg_batch_t));
    ngx_str_set(&batch.session_id, "abc");

    p = ngx_http_wt_msg_batch(buf, last, &batch);
    check_hex(buf, p, "0a03616263");

    batch.seq = 300;
    p = ngx_http_wt_msg_batch(buf, last, &batch);
    check_hex(buf, p, "0a0361626310ac02");

    ngx_str_set(&meta[0].key, "k");
    ngx_str_set(&meta[0].value, "v");
    ngx_str_set(&meta[1].key, "l");
    ngx_str_set(&meta[1].value, "ww");

    batch.has_context = 1;
    batch.context.meta = meta;
    batch.context.meta_count = 2;
    ngx_str_set(&batch.context.user_id, "u");
    ngx_str_set(&batch.context.location, "/");
    ngx_str_set(&batch.context.node, "n");

    p = ngx_http_wt_msg_batch(buf, last, &batch);
    check_hex(buf, p, "0a0361626310ac02" "1a1a" "0a0175" "12060a016b120176"
              "12070a016c12027777" "1a012f" "22016e");

    check((size_t) (p - buf) == ngx_http_wt_msg_batch_len(&batch));
    check(ngx_http_wt_msg_batch(buf, p - 1, &batch) == NULL);
}


static void
writes_reset_and_stop(void)
{
    u_char    *p;
    uint32_t   code;

    code = 0;
    p = ngx_http_wt_msg_reset(buf, 4294967296ULL, &code);
    check_hex(buf, p, "228c8000" "1a888000" "0880808080101000");

    p = ngx_http_wt_msg_stop(buf, 4, NULL);
    check_hex(buf, p, "22868000" "22828000" "0804");
}


static void
writes_credit(void)
{
    u_char                    *p;
    ngx_http_wt_msg_credit_t   credit;

    credit.stream_id = (uint64_t) -1;
    credit.bytes = (uint64_t) -1;
    credit.bidi = (uint32_t) -1;
    credit.uni = (uint32_t) -1;

    p = ngx_http_wt_msg_credit(buf, &credit);

    check_hex(buf, p, "22a68000" "32a28000"
              "08ffffffffffffffffff01" "10ffffffffffffffffff01"
              "18ffffffff0f" "20ffffffff0f");

    /* the longest of the small events */
    check(p - buf <= NGX_HTTP_WT_MSG_EVENT_MAX);
    check(ngx_http_wt_pb_StreamAbort_size <= ngx_http_wt_pb_Credit_size);
    check(ngx_http_wt_pb_Drain_size <= ngx_http_wt_pb_Credit_size);
    check(ngx_http_wt_pb_Ping_size <= ngx_http_wt_pb_Credit_size);

    ngx_memzero(&credit, sizeof(ngx_http_wt_msg_credit_t));
    credit.bidi = 1;

    p = ngx_http_wt_msg_credit(buf, &credit);
    check_hex(buf, p, "22868000" "32828000" "1801");
}


static void
writes_drain_ping_and_pong(void)
{
    u_char  *p;

    p = ngx_http_wt_msg_drain(buf, NGX_HTTP_WT_DRAIN_NGINX, 10000);
    check_hex(buf, p, "22898000" "3a858000" "080210904e");

    p = ngx_http_wt_msg_ping(buf, 1);
    check_hex(buf, p, "22868000" "52828000" "0801");

    p = ngx_http_wt_msg_pong(buf, 0);
    check_hex(buf, p, "22848000" "5a808000");
}


static void
fill_connect(ngx_http_wt_msg_connect_t *c, ngx_http_wt_msg_header_t *headers,
    ngx_http_wt_msg_param_t *param, ngx_array_t *protocols, ngx_str_t *names)
{
    ngx_memzero(c, sizeof(ngx_http_wt_msg_connect_t));

    ngx_str_set(&headers[0].name, "origin");
    ngx_str_set(&headers[0].value, "https://example.org");
    ngx_str_set(&headers[1].name, "x");
    ngx_str_set(&headers[1].value, "\377\000");
    ngx_str_set(&headers[2].name, "x");
    ngx_str_null(&headers[2].value);

    ngx_str_set(&param->key, "APP");
    ngx_str_set(&param->value, "v");

    ngx_str_set(&names[0], "a");
    ngx_str_set(&names[1], "b");
    ngx_memzero(protocols, sizeof(ngx_array_t));
    protocols->elts = names;
    protocols->nelts = 2;

    c->version = NGX_HTTP_WT_MSG_VERSION;
    ngx_str_set(&c->scheme, "https");
    ngx_str_set(&c->authority, "example.org:443");
    ngx_str_set(&c->path, "/app");
    ngx_str_set(&c->query, "a=1");
    c->headers = headers;
    c->headers_count = 3;
    c->params = param;
    c->params_count = 1;
    ngx_str_set(&c->remote_addr, "192.0.2.1");
    c->remote_port = 50000;
    ngx_str_set(&c->server_addr, "192.0.2.2");
    c->server_port = 443;
    ngx_str_set(&c->server_name, "example.org");
    c->protocols = protocols;
    ngx_str_set(&c->draft, "02");
    c->has_limits = 1;
    c->limits.max_datagram = 1170;
    c->limits.rtt_us = 12000;
    c->stream_window = 65536;
    c->max_command = 1048576;
    c->streams_bidi = 100;
    c->streams_uni = 3;
}


static void
writes_connect(void)
{
    size_t                      len;
    u_char                     *p;
    ngx_str_t                   names[2];
    ngx_array_t                 protocols;
    test_bytes_t                b;
    ngx_http_wt_msg_param_t     param;
    ngx_http_wt_msg_header_t    headers[3];
    ngx_http_wt_msg_connect_t   connect;

    fill_connect(&connect, headers, &param, &protocols, names);

    len = ngx_http_wt_msg_connect_len(&connect);
    b = test_copy(buf, len);

    p = ngx_http_wt_msg_connect(b.data, b.data + len, &connect);

    check(p == b.data + len);
    check_hex(b.data, p, "22ac8100" "0aa88100"
        "0801120568747470731a0f6578616d706c652e6f72673a34343322042f617070"
        "2a03613d31321d0a066f726967696e121368747470733a2f2f6578616d706c65"
        "2e6f726732070a01781202ff0032030a01783a080a0341505012017642093139"
        "322e302e322e3148d0860352093139322e302e322e3258bb03620b6578616d70"
        "6c652e6f72676a01616a0162720230327a0608920920e05d8001808004880180"
        "8040900164980103");

    /* no room for the last byte, for the header */
    check(ngx_http_wt_msg_connect(b.data, b.data + len - 1, &connect) == NULL);
    check(ngx_http_wt_msg_connect(b.data, b.data + 7, &connect) == NULL);

    free(b.data);
}


static void
refuses_events_that_are_too_long(void)
{
    size_t                      len;
    u_char                     *p, *out;
    ngx_http_wt_msg_connect_t   connect;

    len = NGX_HTTP_WT_MSG_PAYLOAD_MAX;
    p = calloc(1, len + 64);
    out = malloc(len + 64);

    ngx_memzero(&connect, sizeof(ngx_http_wt_msg_connect_t));
    connect.path.data = p;

    /* a tag and a length of 3 bytes */

    connect.path.len = len - 4;
    check(ngx_http_wt_msg_connect_len(&connect)
          == len + NGX_HTTP_WT_MSG_EVENT_HDR);
    check(ngx_http_wt_msg_connect(out, out + len + 64, &connect)
          == out + len + NGX_HTTP_WT_MSG_EVENT_HDR);

    connect.path.len = len - 3;
    check(ngx_http_wt_msg_connect_len(&connect) == 0);
    check(ngx_http_wt_msg_connect(out, out + len + 64, &connect) == NULL);

    free(p);
    free(out);
}


static void
writes_closed(void)
{
    size_t                     len;
    u_char                    *p;
    ngx_http_wt_msg_closed_t   closed;

    ngx_memzero(&closed, sizeof(ngx_http_wt_msg_closed_t));

    closed.by = NGX_HTTP_WT_CLOSED_WORKER_LOST;
    closed.code = 0xffffffff;
    ngx_str_set(&closed.reason, "gone");
    closed.duration_ms = 12345678901ULL;
    closed.has_counters = 1;
    closed.counters.streams_in = 1;
    closed.counters.streams_out = 2;
    closed.counters.bytes_in = 3;
    closed.counters.bytes_out = 4;
    closed.counters.datagrams_in = 5;
    closed.counters.datagrams_out = 6;
    closed.counters.datagrams_dropped = 7;

    len = ngx_http_wt_msg_closed_len(&closed);
    p = ngx_http_wt_msg_closed(buf, buf + len, &closed);

    check(p == buf + len);
    check_hex(buf, p, "22a88000" "42a48000"
        "080810ffffffff0f1a04676f6e6520b5b8f0fe2d"
        "2a0e0801100218032004280530063807");
}


static void
writes_result(void)
{
    size_t                     len;
    u_char                    *p;
    ngx_http_wt_msg_result_t   result;

    ngx_memzero(&result, sizeof(ngx_http_wt_msg_result_t));

    result.id = 300;
    result.status = NGX_HTTP_WT_RESULT_OUT_OF_RANGE;
    ngx_str_set(&result.message, "too large");
    result.stream_id = 4294967296ULL;

    len = ngx_http_wt_msg_result_len(&result);
    p = ngx_http_wt_msg_result(buf, buf + len, &result);

    check(p == buf + len);
    check_hex(buf, p, "229a8000" "4a968000"
              "08ac02100b1a09746f6f206c61726765208080808010");
}


static void
writes_limits(void)
{
    size_t                     len;
    u_char                    *p;
    ngx_http_wt_msg_limits_t   limits;

    limits.max_datagram = 1170;
    ngx_str_set(&limits.remote_addr, "::1");
    limits.remote_port = 1;
    limits.rtt_us = 5;

    len = ngx_http_wt_msg_limits_len(&limits);
    p = ngx_http_wt_msg_limits(buf, buf + len, &limits);

    check(p == buf + len);
    check_hex(buf, p, "22908000" "628c8000" "08920912033a3a3118012005");
}


/* hot commands */


/*
 * Returns what a command of the length "len" is for the hot path, and checks
 * what is left for nanopb, or behind it.
 */

static ngx_int_t
hot(const char *hex, size_t len, ngx_http_wt_command_t *cmd)
{
    u_char               *end;
    ngx_int_t             rc;
    static test_bytes_t   b;

    free(b.data);

    b = test_bytes(hex);
    end = b.data + b.len;

    rc = ngx_http_wt_msg_hot_command(b.data, &end, cmd);

    check(end == b.data + len);

    return rc;
}


static void
hot_commands_do_without_nanopb(void)
{
    ngx_http_wt_command_t  cmd;

    /* another one follows */

    check(hot("1a{ 0807 22{ 0805 12{6869} 1801 2002 } } 1a00", 16, &cmd)
          == NGX_OK);
    check(cmd.id == 7);
    check(cmd.which_kind == NGX_HTTP_WT_CMD_DATA);
    check(cmd.kind.data.stream_id == 5);
    check(cmd.kind.data.data.len == 2);
    check(memcmp(cmd.kind.data.data.data, "hi", 2) == 0);
    check(cmd.kind.data.fin);
    check(cmd.kind.data.open == NGX_HTTP_WT_OPEN_UNI);
    check(cmd.kind.data.priority == 0);
    check(cmd.kind.data.ttl_ms == 0);
    check(cmd.kind.data.ttl_code == 0);

    check(hot("1a{ 3a{ 0a{68} 10ac02 } }", 10, &cmd) == NGX_OK);
    check(cmd.id == 0);
    check(cmd.which_kind == NGX_HTTP_WT_CMD_DATAGRAM);
    check(cmd.kind.datagram.data.len == 1);
    check(cmd.kind.datagram.ttl_ms == 300);

    check(hot("1a{ 3a{} }", 4, &cmd) == NGX_OK);
    check(cmd.kind.datagram.data.len == 0);
    check(cmd.kind.datagram.ttl_ms == 0);
}


static void
nanopb_gets_other_commands_one_by_one(void)
{
    ngx_http_wt_command_t  cmd;

    /* another kind, none, a reserved and an unknown field, another order */

    check(hot("1a{ 42{ 0808 1001 } } 1a00", 8, &cmd) == NGX_DECLINED);
    check(hot("1a{ 0807 } 1a00", 4, &cmd) == NGX_DECLINED);
    check(hot("1a{ 22{ 0804 2803 } } 1a00", 8, &cmd) == NGX_DECLINED);
    check(hot("1a{ 3a{ 1801 } } 1a00", 6, &cmd) == NGX_DECLINED);
    check(hot("1a{ 3a{ 0a{61} } 0807 } 1a00", 9, &cmd) == NGX_DECLINED);

    /* values and lengths that are out of range */

    check(hot("1a{ 3a{ 108080808010 } } 1a00", 10, &cmd) == NGX_DECLINED);
    check(hot("1a{ 3a{ 0a0261 } } 1a00", 7, &cmd) == NGX_DECLINED);
}


static void
nanopb_gets_all_that_is_no_command(void)
{
    ngx_http_wt_command_t  cmd;

    check(hot("0a0173 1a{ 3a{} }", 7, &cmd) == NGX_DECLINED);
    check(hot("1a05 3a00", 4, &cmd) == NGX_DECLINED);
    check(hot("1a80", 2, &cmd) == NGX_DECLINED);
}


static test_t  tests[] = {
    test(hot_commands_do_without_nanopb),
    test(nanopb_gets_other_commands_one_by_one),
    test(nanopb_gets_all_that_is_no_command),
    test(parses_accept),
    test(parses_reject),
    test(parses_data),
    test(parses_presence_of_codes),
    test(parses_small_commands),
    test(parses_close_and_abort),
    test(passes_reserved_and_unknown_commands_as_unknown),
    test(an_empty_batch_has_no_commands),
    test(the_order_of_fields_does_not_matter),
    test(varints_may_be_padded),
    test(the_last_kind_of_a_command_wins),
    test(takes_up_to_64_headers),
    test(notify_may_be_packed_or_not),
    test(unknown_fields_of_every_type_are_ignored),
    test(strings_must_be_utf8_and_bytes_need_not),
    test(wrong_wire_types_are_malformed),
    test(values_out_of_range_are_malformed),
    test(truncation_anywhere_is_malformed),
    test(commands_before_a_malformed_one_are_run),
    test(the_handler_can_stop),
    test(the_head_of_a_batch_may_be_anywhere),
    test(a_truncated_head_is_malformed),
    test(data_header_has_a_fixed_length),
    test(datagram_header_has_a_fixed_length),
    test(what_nginx_writes_can_be_parsed),
    test(parses_user_and_metadata),
    test(writes_batch_fields),
    test(writes_reset_and_stop),
    test(writes_credit),
    test(writes_drain_ping_and_pong),
    test(writes_connect),
    test(refuses_events_that_are_too_long),
    test(writes_closed),
    test(writes_result),
    test(writes_limits)
};


test_main(tests)
