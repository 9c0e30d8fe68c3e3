
/*
 * Copyright (C) The WebTransport for nginx authors
 */


#include "test_capsule.h"
#include <ngx_http_wt_varint.h>


static test_feed_t  feed;


/*
 * Every input is fed at once, byte by byte, and in two pieces with every place
 * between them; the outcome must be the same.
 */

static void
expect_bytes(test_bytes_t b, const char *expected)
{
    size_t  i;

    test_feed_init(&feed);
    test_feed_piece(&feed, b.data, b.len);
    test_feed_finish(&feed);
    check_str(feed.log, expected);

    test_feed_init(&feed);

    for (i = 0; i < b.len; i++) {
        test_feed_piece(&feed, b.data + i, 1);
    }

    test_feed_finish(&feed);
    check_str(feed.log, expected);

    for (i = 0; i <= b.len && !test_failed; i++) {
        test_feed_init(&feed);
        test_feed_piece(&feed, b.data, i);
        test_feed_piece(&feed, b.data + i, b.len - i);
        test_feed_finish(&feed);
        check_str(feed.log, expected);
    }

    free(b.data);
}


static void
expect(const char *hex, const char *expected)
{
    expect_bytes(test_bytes(hex), expected);
}


/*
 * A capsule with "len" bytes "fill" after the bytes "hex", in one DATA frame,
 * and after it the bytes "tail".
 */

static test_bytes_t
capsule(uint64_t type, const char *hex, u_char fill, size_t len,
    const char *tail)
{
    u_char        *p, buf[8192];
    size_t         size;
    test_bytes_t   head, end;

    head = test_bytes(hex);
    end = test_bytes(tail);

    size = head.len + len;

    p = ngx_http_wt_varint_write(buf, NGX_HTTP_WT_FRAME_DATA);
    p = ngx_http_wt_varint_write(p, ngx_http_wt_varint_len(type)
                                 + ngx_http_wt_varint_len(size) + size);
    p = ngx_http_wt_varint_write(p, type);
    p = ngx_http_wt_varint_write(p, size);
    p = ngx_cpymem(p, head.data, head.len);
    memset(p, fill, len);
    p += len;
    p = ngx_cpymem(p, end.data, end.len);

    free(head.data);
    free(end.data);

    return test_copy(buf, p - buf);
}


static void
close_gives_code_and_reason(void)
{
    /* the vector of the digest */
    expect("00 07 68 43 04 00 00 00 00", "close 0 0:;fin;");

    expect("00 0a 6843 07 deadbeef 627965", "close 3735928559 3:627965;fin;");
    expect("00 09 6843 06 ffffffff c3bc", "close 4294967295 2:c3bc;fin;");

    /* varints that are longer than needed */
    expect("c000000000000000 4010 80002843 c000000000000004 00000007",
           "close 7 0:;fin;");
}


static void
close_with_longest_reason_is_accepted(void)
{
    char  log[4096];

    sprintf(log, "close 1 1024:%2048d;fin;", 0);
    memset(log + strlen("close 1 1024:"), '6', 2048);

    expect_bytes(capsule(NGX_HTTP_WT_CAPSULE_CLOSE, "00000001", 'f', 1024, ""),
                 log);
}


static void
close_with_longer_reason_is_malformed(void)
{
    expect_bytes(capsule(NGX_HTTP_WT_CAPSULE_CLOSE, "00000001", 'f', 1025, ""),
                 "stream error 10e;");

    /* does not wait for the value */
    expect("00 4800 6843 ffffffffffffffff", "stream error 10e;");
}


static void
close_without_whole_code_is_malformed(void)
{
    expect("00 06 6843 03 000000", "stream error 10e;");
    expect("00 03 6843 00", "stream error 10e;");
}


static void
close_with_invalid_utf8_is_malformed(void)
{
    expect("00 08 6843 05 00000000 ff", "stream error 10e;");
    expect("00 09 6843 06 00000000 c3c3", "stream error 10e;");
    expect("00 0a 6843 07 00000000 eda080", "stream error 10e;");
}


static void
bytes_after_close_are_an_error(void)
{
    /* in the same frame, in a new one, of a frame that would be skipped */
    expect("00 08 6843 04 00000000 00", "close 0 0:;stream error 10e;");
    expect("00 07 6843 04 00000000 00", "close 0 0:;stream error 10e;");
    expect("00 07 6843 04 00000000 00 00", "close 0 0:;stream error 10e;");
    expect("00 07 6843 04 00000000 21 00", "close 0 0:;stream error 10e;");
    expect("00 07 6843 04 00000000 00 07 6843 04 00000000",
           "close 0 0:;stream error 10e;");
}


static void
drain_is_empty(void)
{
    expect("00 05 800078ae 00", "drain 0 0:;fin;");
    expect("00 0a 800078ae 00 800078ae 00", "drain 0 0:;drain 0 0:;fin;");
    expect("00 06 800078ae 01 00", "stream error 10e;");
}


static void
datagrams_come_in_capsules(void)
{
    expect("00 02 00 00", "datagram 0 0:;fin;");
    expect("00 05 00 03 616263", "datagram 0 3:616263;fin;");
    expect("00 08 00 03 616263 00 01 64",
           "datagram 0 3:616263;datagram 0 1:64;fin;");
}


static void
datagrams_above_the_limit_are_dropped(void)
{
    char  log[8192];

    sprintf(log, "datagram 0 1499:%2998d;drain 0 0:;fin;", 0);
    memset(log + strlen("datagram 0 1499:"), '7', 2998);

    expect_bytes(capsule(NGX_HTTP_WT_CAPSULE_DATAGRAM, "", 'w', 1499,
                         "00 05 800078ae 00"), log);

    sprintf(log, "datagram 0 1500:%3000d;drain 0 0:;fin;", 0);
    memset(log + strlen("datagram 0 1500:"), '7', 3000);

    expect_bytes(capsule(NGX_HTTP_WT_CAPSULE_DATAGRAM, "", 'w', 1500,
                         "00 05 800078ae 00"), log);

    expect_bytes(capsule(NGX_HTTP_WT_CAPSULE_DATAGRAM, "", 'w', 1501,
                         "00 05 800078ae 00"), "drain 0 0:;fin;dropped 1;");
}


static void
flow_control_gives_its_value(void)
{
    expect("00 06 990b4d3d 01 25", "max_data 37 0:;fin;");
    expect("00 07 990b4d3f 02 7bbd", "max_bidi 15293 0:;fin;");
    expect("00 09 990b4d40 04 9d7f3e7d", "max_uni 494878333 0:;fin;");
    expect("00 0d 990b4d41 08 ffffffffffffffff",
           "data_blocked 4611686018427387903 0:;fin;");
    expect("00 06 990b4d43 01 00", "bidi_blocked 0 0:;fin;");
    expect("00 06 990b4d44 01 01", "uni_blocked 1 0:;fin;");
}


static void
flow_control_with_wrong_length_is_malformed(void)
{
    expect("00 05 990b4d3d 00", "stream error 10e;");
    expect("00 07 990b4d3d 02 2500", "stream error 10e;");
    expect("00 06 990b4d3d 01 7b", "stream error 10e;");
    expect("00 0e 990b4d3d 09 ffffffffffffffff 00", "stream error 10e;");

    /* does not wait for the value */
    expect("00 4800 990b4d3d ffffffffffffffff", "stream error 10e;");
}


static void
flow_control_of_streams_is_a_session_error(void)
{
    expect("00 06 990b4d3e 01 00", "stream error 45d4487;");
    expect("00 06 990b4d42 01 00", "stream error 45d4487;");
}


static void
unknown_capsules_are_skipped(void)
{
    /* GREASE: 0x29 * N + 0x17 */
    expect("00 02 17 00", "fin;");
    expect("00 05 4040 02 ffff", "fin;");

    /* known for HTTP/2 only */
    expect("00 07 990b4d38 02 0000 00 07 990b4d3c 02 0000", "fin;");

    expect("00 10 17 03 616263 800078ae 00 17 01 00 17 01 00",
           "drain 0 0:;fin;");
}


static void
unknown_capsules_of_any_length_need_no_memory(void)
{
    size_t   i;
    u_char  *piece;

    /* a frame and a capsule of almost 2^62 bytes */

    static u_char  head[] = {
        0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
        0x17, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xf0
    };

    piece = malloc(65536);
    memset(piece, 0, 65536);

    test_feed_init(&feed);
    test_feed_piece(&feed, head, sizeof(head));

    for (i = 0; i < 64; i++) {
        test_feed_piece(&feed, piece, 65536);
    }

    check(feed.buffers == 0);
    check(feed.parser.capsule.left == 0x3ffffffffffffff0ULL - 64 * 65536);
    check_str(feed.log, "");

    test_feed_finish(&feed);
    free(piece);
}


static void
capsules_may_straddle_frames(void)
{
    /* every byte in a frame of its own, empty frames between them */
    expect("00 01 68 00 00 00 01 43 00 01 06 00 01 00 00 01 00 00 00"
           "00 01 00 00 01 2a 00 01 c3 00 00 00 01 bc",
           "close 42 2:c3bc;fin;");

    expect("00 04 00 02 61 62 00 03 00 03 78 00 02 79 7a",
           "datagram 0 2:6162;datagram 0 3:78797a;fin;");
}


static void
unknown_frames_are_skipped(void)
{
    /* GREASE: 0x1f * N + 0x21; also in the middle of a capsule */
    expect("21 00 00 05 800078ae 00", "drain 0 0:;fin;");
    expect("21 03 000000 00 03 800078 4040 02 4141 00 02 ae 00",
           "drain 0 0:;fin;");

    /* PRIORITY_UPDATE is not known here */
    expect("800f0700 01 00", "fin;");
}


static void
known_frames_are_unexpected(void)
{
    size_t         i;
    char           hex[16];

    static u_char  types[] = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 0x0d };

    for (i = 0; i < sizeof(types); i++) {

        /* already the type alone */
        sprintf(hex, "%02x", types[i]);
        expect(hex, "connection error 105;");

        sprintf(hex, "0000 40%02x 00", types[i]);
        expect(hex, "connection error 105;");
    }
}


static void
wt_stream_signal_is_a_frame_error(void)
{
    expect("4041", "connection error 106;");
    expect("00 05 800078ae 00 4041 00", "drain 0 0:;connection error 106;");
}


static void
fin_between_capsules_is_clean(void)
{
    expect("", "fin;");
    expect("00 00", "fin;");
    expect("00 02 17 00", "fin;");
}


static void
fin_inside_a_frame_is_a_frame_error(void)
{
    expect("00", "connection error 106;");
    expect("40", "connection error 106;");
    expect("00 40", "connection error 106;");
    expect("00 01", "connection error 106;");
    expect("21 01", "connection error 106;");
    expect("00 06 800078ae 00", "drain 0 0:;connection error 106;");
    expect("00 08 6843 04 00000000", "close 0 0:;connection error 106;");
}


static void
fin_inside_a_capsule_is_malformed(void)
{
    expect("00 01 68", "stream error 10e;");
    expect("00 02 6843", "stream error 10e;");
    expect("00 03 6843 40", "stream error 10e;");
    expect("00 03 6843 04", "stream error 10e;");
    expect("00 06 6843 04 000000", "stream error 10e;");
    expect("00 03 17 02 00", "stream error 10e;");
    expect("00 03 00 02 00", "stream error 10e;");
}


static void
a_whole_capsule_needs_no_buffer(void)
{
    test_bytes_t  b;

    b = capsule(NGX_HTTP_WT_CAPSULE_CLOSE, "00000001", 'f', 1024, "");

    test_feed_init(&feed);
    test_feed_piece(&feed, b.data, b.len);
    check(feed.buffers == 0);
    test_feed_finish(&feed);

    free(b.data);
}


static void
a_split_capsule_asks_for_a_buffer(void)
{
    test_bytes_t  b;

    b = test_bytes("00 13 00 04 61626364 00 04 65666768 6843 04 00000000");

    test_feed_init(&feed);
    feed.parser.max_datagram = 64;

    test_feed_piece(&feed, b.data, 5);
    check(feed.buffers == 1);
    check(feed.parser.size == NGX_HTTP_WT_CAPSULE_VALUE_MAX);

    test_feed_piece(&feed, b.data + 5, 5);
    test_feed_piece(&feed, b.data + 10, 9);
    test_feed_piece(&feed, b.data + 19, b.len - 19);

    check(feed.buffers == 1);
    check_str(feed.log, "datagram 0 4:61626364;datagram 0 4:65666768;"
                        "close 0 0:;");

    test_feed_finish(&feed);
    free(b.data);
}


static void
the_state_of_an_idle_session_is_small(void)
{
    check(sizeof(ngx_http_wt_capsule_parser_t) <= 112);
}


static void
writes_close(void)
{
    u_char     *p, buf[NGX_HTTP_WT_CAPSULE_CLOSE_LEN];
    ngx_str_t   reason;

    ngx_str_null(&reason);
    p = ngx_http_wt_capsule_close(buf, 0, &reason);
    check_hex(buf, p, "00076843" "0400000000");

    ngx_str_set(&reason, "bye");
    p = ngx_http_wt_capsule_close(buf, 0xdeadbeef, &reason);
    check_hex(buf, p, "000a6843" "07deadbeef627965");
}


static void
writes_close_with_lengths_of_two_bytes(void)
{
    u_char     *p, buf[NGX_HTTP_WT_CAPSULE_CLOSE_LEN], text[60];
    ngx_str_t   reason;

    memset(text, 'a', sizeof(text));
    reason.data = text;

    /* 63 bytes of value, 66 of payload; then 64 and 68 */

    reason.len = 59;
    p = ngx_http_wt_capsule_close(buf, 1, &reason);
    check(p - buf == 1 + 2 + 2 + 1 + 4 + 59);
    check_hex(buf, buf + 8, "00" "4042" "6843" "3f" "0000");

    reason.len = 60;
    p = ngx_http_wt_capsule_close(buf, 1, &reason);
    check(p - buf == 1 + 2 + 2 + 2 + 4 + 60);
    check_hex(buf, buf + 8, "00" "4044" "6843" "4040" "00");
}


static void
writes_long_reasons_cut_between_characters(void)
{
    u_char                  text[1100], *p, *pos;
    ngx_str_t               reason;
    test_bytes_t            b;
    ngx_http_wt_capsule_t   c;

    b = test_copy(text, NGX_HTTP_WT_CAPSULE_CLOSE_LEN);
    reason.data = text;
    reason.len = sizeof(text);

    memset(text, 'a', sizeof(text));

    p = ngx_http_wt_capsule_close(b.data, 9, &reason);
    check(p == b.data + b.len);

    /* U+20AC at 1022 does not fit */

    text[1022] = 0xe2;
    text[1023] = 0x82;
    text[1024] = 0xac;

    p = ngx_http_wt_capsule_close(b.data, 9, &reason);
    check(p == b.data + b.len - 2);

    test_feed_init(&feed);
    pos = b.data;
    check(ngx_http_wt_capsule_parse(&feed.parser, &pos, p, &c) == NGX_OK);
    check(c.value == 9);
    check(c.data.len == 1022);
    check(pos == p);

    /* and at 1021 it does */

    memmove(text + 1021, text + 1022, 3);
    text[1024] = 'a';

    p = ngx_http_wt_capsule_close(b.data, 9, &reason);
    check(p == b.data + b.len);

    free(b.data);
}


static void
writes_drain(void)
{
    u_char  *p, buf[NGX_HTTP_WT_CAPSULE_DRAIN_LEN];

    p = ngx_http_wt_capsule_drain(buf);

    check(p == buf + sizeof(buf));
    check_hex(buf, p, "0005800078ae00");
}


static test_t  tests[] = {
    test(close_gives_code_and_reason),
    test(close_with_longest_reason_is_accepted),
    test(close_with_longer_reason_is_malformed),
    test(close_without_whole_code_is_malformed),
    test(close_with_invalid_utf8_is_malformed),
    test(bytes_after_close_are_an_error),
    test(drain_is_empty),
    test(datagrams_come_in_capsules),
    test(datagrams_above_the_limit_are_dropped),
    test(flow_control_gives_its_value),
    test(flow_control_with_wrong_length_is_malformed),
    test(flow_control_of_streams_is_a_session_error),
    test(unknown_capsules_are_skipped),
    test(unknown_capsules_of_any_length_need_no_memory),
    test(capsules_may_straddle_frames),
    test(unknown_frames_are_skipped),
    test(known_frames_are_unexpected),
    test(wt_stream_signal_is_a_frame_error),
    test(fin_between_capsules_is_clean),
    test(fin_inside_a_frame_is_a_frame_error),
    test(fin_inside_a_capsule_is_malformed),
    test(a_whole_capsule_needs_no_buffer),
    test(a_split_capsule_asks_for_a_buffer),
    test(the_state_of_an_idle_session_is_small),
    test(writes_close),
    test(writes_close_with_lengths_of_two_bytes),
    test(writes_long_reasons_cut_between_characters),
    test(writes_drain)
};


test_main(tests)
