
/*
 * Copyright (C) The WebTransport for nginx authors
 *
 * As a test: vectors.  With the argument "filter" a filter, by which
 * t/test_json.py compares this with another implementation:
 *
 *   print EventBatch 12\n  and 12 bytes, answered by  ok 34\n     and 34 bytes
 *   parse CommandBatch 5\n and 5 bytes,  answered by  error 23\n  and 23 bytes
 */


#include "test_json.h"


#define print(msg, hex, text)                                                 \
    do {                                                                      \
        test_bytes_t   b_ = test_bytes(hex);                                  \
        test_result_t  r_ = test_print(&msg, b_.data, b_.len);                \
                                                                              \
        check_str((char *) r_.data, text);                                    \
        free(b_.data);                                                        \
        free(r_.data);                                                        \
    } while (0)

#define parse(msg, text, hex)                                                 \
    do {                                                                      \
        test_bytes_t   b_ = test_bytes(hex);                                  \
        test_result_t  r_ = test_parse_json(&msg, text, sizeof(text) - 1);    \
                                                                              \
        if (r_.rc != NGX_OK || r_.len != b_.len                               \
            || memcmp(r_.data, b_.data, b_.len) != 0)                         \
        {                                                                     \
            test_failed = 1;                                                  \
            printf("# %s:%d: %s\n#      got %s\n# expected %s\n",             \
                   __FILE__, __LINE__, text,                                  \
                   r_.rc ? (char *) r_.data : test_hex(r_.data, r_.len),      \
                   hex);                                                      \
        }                                                                     \
        free(b_.data);                                                        \
        free(r_.data);                                                        \
    } while (0)

#define refuse(msg, text, error)                                              \
    do {                                                                      \
        test_result_t  r_ = test_parse_json(&msg, text, sizeof(text) - 1);    \
                                                                              \
        check(r_.rc == NGX_ERROR);                                            \
        check_str(r_.rc ? (char *) r_.data : "parsed: " text, error);         \
        free(r_.data);                                                        \
    } while (0)

/* one command; one event */

#define command(text, hex)                                                    \
    parse(commands, "{\"commands\":[{" text "}]}", "1a{" hex "}")

#define bad_command(text, error)                                              \
    refuse(commands, "{\"commands\":[{" text "}]}", "commands[0]" error)

#define event(hex, text)                                                      \
    print(events, "22{" hex "}", "{\"events\":[{" text "}]}")


static void
prints_batches(void)
{
    print(events, "", "{}");

    print(events,
          "0a{616263} 10ac02 1a{ 0a{75} 12{ 0a{6b} 12{76} } 1a{2f61} 22{6e} }",
          "{\"sessionId\":\"abc\",\"seq\":\"300\",\"context\":{\"userId\":\"u\""
          ",\"meta\":{\"k\":\"v\"},\"location\":\"/a\",\"node\":\"n\"}}");

    print(events, "22{ 52{ 0801 } } 22{} 22{ 5a{} }",
          "{\"events\":[{\"ping\":{\"id\":\"1\"}},{},{\"pong\":{}}]}");
}


static void
prints_events(void)
{
    event("0a{ 0801 12{6874747073} 1a{61} 22{2f} 32{ 0a{78} 12{ff00} }"
          " 32{ 0a{78} } 3a{ 0a{415050} 12{76} } 48d08603 6a{61} 6a{62}"
          " 7a{ 089209 } a201{ 0801 12{ 0804 1001 2005 } } }",
          "\"connect\":{\"version\":1,\"scheme\":\"https\",\"authority\":"
          "\"YQ==\",\"path\":\"Lw==\",\"headers\":[{\"name\":\"x\",\"value\":"
          "\"/wA=\"},{\"name\":\"x\"}],\"params\":{\"APP\":\"v\"},"
          "\"remotePort\":50000,\"protocols\":[\"a\",\"b\"],\"limits\":"
          "{\"maxDatagram\":1170},\"attach\":{\"clean\":true,\"streams\":"
          "[{\"streamId\":\"4\",\"canSend\":true,\"received\":\"5\"}]}}");

    /* a header of fixed length, as nginx writes it */

    print(events, "22988000 12948000 08848080808080808000 1800 2002"
                  "12828000 6869",
          "{\"events\":[{\"data\":{\"streamId\":\"4\",\"open\":\"UNI\","
          "\"data\":\"aGk=\"}}]}");

    event("1a{ 0804 1000 }", "\"reset\":{\"streamId\":\"4\",\"code\":0}");
    event("22{ 0804 }", "\"stop\":{\"streamId\":\"4\"}");
    event("2a{ 0a{6162} }", "\"datagram\":{\"data\":\"YWI=\"}");
    event("42{ 0808 10ffffffff0f 1a{67c3bc22} 2a{ 3807 } }",
          "\"closed\":{\"by\":\"WORKER_LOST\",\"code\":4294967295,"
          "\"reason\":\"g\303\274\\\"\",\"counters\":"
          "{\"datagramsDropped\":\"7\"}}");
    event("4a{ 08ffffffffffffffffff01 10ffffffffffffffffff01 }",
          "\"result\":{\"id\":\"18446744073709551615\",\"status\":-1}");
    event("6a{ 08e807 }", "\"expiring\":{\"graceMs\":1000}");
    event("72{ 0804 12{63} }",
          "\"member\":{\"what\":\"VACATED\",\"channel\":\"c\"}");
}


static void
numbers_are_cut_to_their_type(void)
{
    event("42{ 1081808080 10 }", "\"closed\":{\"code\":1}");
    event("42{ 1080808080 10 }", "\"closed\":{}");
    event("4a{ 10ffffffff0f }", "\"result\":{\"status\":-1}");
    event("4a{ 108080808008 }", "\"result\":{\"status\":-2147483648}");
    event("4a{ 10ffffffff07 }", "\"result\":{\"status\":2147483647}");
    event("12{ 1802 }", "\"data\":{\"fin\":true}");
}


static void
unknown_values_of_enums_are_numbers(void)
{
    event("12{ 2063 }", "\"data\":{\"open\":99}");
    event("12{ 20ffffffffffffffffff01 }", "\"data\":{\"open\":-1}");
    print(commands, "1a{ 12{ 4001 4063 } }",
          "{\"commands\":[{\"accept\":{\"notify\":[\"LIMITS\",99]}}]}");
}


static void
prints_numbers_packed_or_not(void)
{
    print(commands, "1a{ 12{ 4001 42{ 0200 } 42{} 4003 } }",
          "{\"commands\":[{\"accept\":{\"notify\":[\"LIMITS\",\"MEMBERS\","
          "\"NOTHING\",\"STREAM_CREDIT\"]}}]}");
    print(commands, "1a{ 12{ 42{} } }", "{\"commands\":[{\"accept\":{}}]}");
    print(commands, "1a{ 12{ 42{ 0180 } } }", "error");
}


static void
parts_of_a_message_are_merged(void)
{
    print(events, "1a{ 0a{75} } 1a{ 22{6e} 0a{76} } 0a{61} 0a{62}",
          "{\"context\":{\"userId\":\"v\",\"node\":\"n\"},"
          "\"sessionId\":\"b\"}");

    /* a default overrides */

    event("12{ 1801 1800 }", "\"data\":{}");
    event("1a{ 1001 1000 }", "\"reset\":{\"code\":0}");
}


static void
the_last_member_of_a_oneof_counts(void)
{
    event("12{ 0804 } 52{ 0801 }", "\"ping\":{\"id\":\"1\"}");
    event("52{ 0801 } 12{ 0804 } 52{}", "\"ping\":{}");
    event("52{ 0801 } 52{}", "\"ping\":{\"id\":\"1\"}");

    /* its members differ from absent ones */

    print(ngx_http_wt_json_PublishRequest, "1a{}", "{\"data\":\"\"}");
    print(ngx_http_wt_json_PublishRequest, "1a{61} 22{}", "{\"text\":\"\"}");
}


static void
prints_maps(void)
{
    print(events, "1a{ 12{ 12{76} 0a{6b} } 12{ 0a{6b} 12{77} } 12{ 0a{6c} }"
                  "    12{ 12{78} } 12{ 0a{6100} 5801 } }",
          "{\"context\":{\"meta\":{\"k\":\"w\",\"l\":\"\",\"\":\"x\","
          "\"a\\u0000\":\"\"}}}");
    print(stats, "52{ 0a{61} 10ffffffffffffffffff01 } 52{}",
          "{\"refused\":{\"a\":\"18446744073709551615\",\"\":\"0\"}}");
    print(events, "1a{ 12{ 0a{ff} } }", "error");
    print(events, "1a{ 12{ 0a } }", "error");
}


static void
prints_doubles(void)
{
    print(stats, "210000000000000440 290000000000000000",
          "{\"rttAvgMs\":2.5}");
    print(stats, "21000000000000f07f 29000000000000f0ff 31010000000000f87f",
          "{\"rttAvgMs\":\"Infinity\",\"rttP99Ms\":\"-Infinity\","
          "\"workerAvgMs\":\"NaN\"}");
    print(stats, "2100000000000004", "error");
}


static void
unknown_fields_are_skipped(void)
{
    print(events, "f0ffffff0f01 f1ffffff0f0102030405060708 f2ffffff0f{6162}"
                  "f5ffffff0f01020304 1001",
          "{\"seq\":\"1\"}");

    /* so are known ones of another type */

    print(events, "0801 09ffffffffffffffff 0dffffffff 12{ff} 20ff01 1001",
          "{\"seq\":\"1\"}");
}


static void
malformed_messages_are_errors(void)
{
    print(events, "0a", "error");
    print(events, "0a02 61", "error");
    print(events, "0affffffffffffffffff01 61", "error");
    print(events, "10ff", "error");
    print(events, "10 80808080808080808080 00", "error");
    print(events, "00 00", "error");
    print(events, "808080808010 00", "error");
    print(events, "23 24", "error");
    print(events, "26 00", "error");
    print(events, "27 00", "error");
    print(events, "f5ffffff0f010203", "error");
    print(events, "22{ 12{ 12 } }", "error");
}


static void
strings_must_be_utf8_and_bytes_need_not(void)
{
    print(events, "0a{ff}", "error");
    print(events, "0a{eda080}", "error");
    event("2a{ 0a{ff} }", "\"datagram\":{\"data\":\"/w==\"}");
    print(events, "0a{ 00011f225c2f7f e282ac f09f9880 }",
          "{\"sessionId\":\"\\u0000\\u0001\\u001F\\\"\\\\/\177\342\202\254"
          "\360\237\230\200\"}");
}


static void
pieces_may_be_divided_anywhere(void)
{
    size_t         i, j;
    ngx_str_t      in[5];
    test_bytes_t   b, p[3];
    test_result_t  whole, r;

    b = test_bytes("0a{616263} 10ac02 1a{ 0a{75} } 22{ 12{ 0804 12{6869} } }"
                   "22{ 52{ 0801 } }");
    whole = test_print(&events, b.data, b.len);
    check(whole.rc == NGX_OK);

    memset(in, 0, sizeof(in));

    for (i = 0; i <= b.len; i++) {
        for (j = i; j <= b.len; j++) {

            p[0] = test_copy(b.data, i);
            p[1] = test_copy(b.data + i, j - i);
            p[2] = test_copy(b.data + j, b.len - j);

            in[0].data = p[0].data;
            in[0].len = p[0].len;
            in[2].data = p[1].data;
            in[2].len = p[1].len;
            in[4].data = p[2].data;
            in[4].len = p[2].len;

            r = test_print_pieces(&events, in, 5);
            check_str((char *) r.data, (char *) whole.data);

            free(r.data);
            free(p[0].data);
            free(p[1].data);
            free(p[2].data);
        }
    }

    r = test_print_pieces(&events, NULL, 0);
    check_str((char *) r.data, "{}");
    free(r.data);

    free(b.data);
    free(whole.data);
}


static void
parses_batches(void)
{
    parse(commands, "{}", "");
    parse(commands, " {\n} ", "");
    parse(commands, "{\"sessionId\":\"abc\",\"seq\":\"300\",\"commands\":[]}",
          "0a{616263} 10ac02");
    parse(commands, "{\"commands\":[{},{\"id\":1,\"abort\":{}},{\"id\":0}]}",
          "1a{} 1a{ 0801 62{} } 1a{}");
}


static void
parses_commands(void)
{
    command("\"accept\":{\"protocol\":\"chat\",\"headers\":[{\"name\":\"x\","
            "\"value\":\"MQ==\"},{}],\"streamWindow\":65536,\"framing\":"
            "\"LINES\",\"session\":{\"userId\":\"u\",\"meta\":{\"k\":\"v\","
            "\"\":\"\"},\"expiresMs\":1},\"subscribe\":[{\"channel\":\"c\"}],"
            "\"notify\":[\"LIMITS\",2,\"NOTHING\"]}",
            "12{ 0a{63686174} 12{ 0a{78} 12{31} } 12{} 18808004 2003"
            "    2a{ 12{75} 1a{ 0a{6b} 12{76} } 1a{ 0a{} 12{} } 2001 }"
            "    32{ 12{63} } 42{ 010200 } }");
    command("\"reject\":{\"status\":429,\"body\":\"YnVzeQ==\"}",
            "1a{ 08ad03 1a{62757379} }");
    command("\"id\":\"7\",\"data\":{\"streamId\":\"4\",\"data\":\"aGk=\","
            "\"fin\":true,\"open\":\"UNI\"}",
            "0807 22{ 0804 12{6869} 1801 2002 }");
    command("\"reset\":{\"streamId\":4,\"code\":0}", "2a{ 0804 1000 }");
    command("\"stop\":{\"streamId\":4}", "32{ 0804 }");
    command("\"datagram\":{\"data\":\"\",\"ttlMs\":1}", "3a{ 1001 }");
    command("\"publish\":{\"channels\":[\"a\",\"\"],\"text\":\"\","
            "\"delivery\":\"DATAGRAM\"}", "7a{ 0a{61} 0a{} 22{} 2802 }");
    command("\"detach\":{}", "9a01{}");
}


static void
takes_names_of_the_schema(void)
{
    command("\"data\":{\"stream_id\":4,\"ttl_code\":5}", "22{ 0804 3805 }");
    parse(commands, "{\"session_id\":\"a\"}", "0a{61}");
    refuse(commands, "{\"session_id\":\"a\",\"sessionId\":\"a\"}",
           "sessionId: has two values");
}


static void
of_equal_names_the_last_counts(void)
{
    parse(commands, "{\"seq\":1,\"seq\":2}", "1002");
    parse(commands, "{\"seq\":1,\"seq\":null}", "");
}


static void
ignores_what_it_does_not_know(void)
{
    parse(commands, "{\"a\":[{\"b\":null}],\"SessionId\":1,\"seq \":-1,"
                    "\"\":2}", "");
    command("\"later\":{\"x\":1},\"id\":2,\"kind\":3", "0802");
}


static void
null_is_absent(void)
{
    parse(commands, "{\"sessionId\":null,\"seq\":null,\"commands\":null}", "");
    command("\"data\":null,\"reset\":{\"streamId\":null,\"code\":null}",
            "2a{}");
    command("\"update\":{\"meta\":null}", "8201{}");

    refuse(commands, "{\"commands\":[null]}", "commands[0]: object expected");
    bad_command("\"publish\":{\"channels\":[\"a\",null]}",
                ".publish.channels[1]: string expected");
    bad_command("\"update\":{\"meta\":{\"k\":\"v\",\"l\":null}}",
                ".update.meta[1].value: string expected");
}


static void
only_one_member_of_a_oneof(void)
{
    bad_command("\"ping\":{},\"pong\":{}", ".pong: excluded by another field");
    bad_command("\"publish\":{\"text\":\"\",\"data\":\"\"}",
                ".publish.data: excluded by another field");
}


static void
parses_integers_in_every_form(void)
{
    parse(commands, "{\"seq\":0}", "");
    parse(commands, "{\"seq\":-0}", "");
    parse(commands, "{\"seq\":\"-0\"}", "");
    parse(commands, "{\"seq\":5}", "1005");
    parse(commands, "{\"seq\":5.0}", "1005");
    parse(commands, "{\"seq\":5e0}", "1005");
    parse(commands, "{\"seq\":0.5E+1}", "1005");
    parse(commands, "{\"seq\":\"5\"}", "1005");
    parse(commands, "{\"seq\":\"5.0\"}", "1005");
    parse(commands, "{\"seq\":\"500e-2\"}", "1005");
    parse(commands, "{\"seq\":9007199254740992.0}", "1080808080808080 10");
    parse(commands, "{\"seq\":9223372036854775807}", "10ffffffffffffffff7f");
    parse(commands, "{\"seq\":9223372036854775808}", "1080808080808080808001");
    parse(commands, "{\"seq\":18446744073709551615}",
          "10ffffffffffffffffff01");
    parse(commands, "{\"seq\":\"18446744073709551615\"}",
          "10ffffffffffffffffff01");
    command("\"close\":{\"code\":4294967295}", "5a{ 08ffffffff0f }");
    command("\"data\":{\"open\":-1}", "22{ 20ffffffffffffffffff01 }");
    command("\"data\":{\"open\":2147483647}", "22{ 20ffffffff07 }");
    command("\"data\":{\"open\":-2147483648}", "22{ 2080808080f8ffffffff01 }");
}


static void
refuses_integers_that_are_not_or_do_not_fit(void)
{
    refuse(commands, "{\"seq\":-1}", "seq: out of range");
    refuse(commands, "{\"seq\":\"-1\"}", "seq: out of range");
    refuse(commands, "{\"seq\":18446744073709551616}", "seq: out of range");
    refuse(commands, "{\"seq\":\"18446744073709551616\"}",
           "seq: out of range");
    refuse(commands, "{\"seq\":-9223372036854775809}", "seq: out of range");
    refuse(commands, "{\"seq\":0.5}", "seq: integer expected");
    refuse(commands, "{\"seq\":\"0.5\"}", "seq: integer expected");
    refuse(commands, "{\"seq\":\"NaN\"}", "seq: integer expected");
    refuse(commands, "{\"seq\":\"Infinity\"}", "seq: integer expected");
    refuse(commands, "{\"seq\":1e16}", "seq: not an exact integer");
    refuse(commands, "{\"seq\":true}", "seq: number expected");
    refuse(commands, "{\"seq\":[]}", "seq: number expected");
    refuse(commands, "{\"seq\":\"\"}", "seq: number expected");
    refuse(commands, "{\"seq\":\"-\"}", "seq: number expected");
    refuse(commands, "{\"seq\":\" 1\"}", "seq: number expected");
    refuse(commands, "{\"seq\":\"1 \"}", "seq: number expected");
    refuse(commands, "{\"seq\":\"+1\"}", "seq: number expected");
    refuse(commands, "{\"seq\":\"0x1\"}", "seq: number expected");
    refuse(commands, "{\"seq\":\"1\\u00002\"}", "seq: number expected");
    refuse(commands, "{\"seq\":\"1,2\"}", "seq: number expected");
    refuse(commands, "{\"seq\":\"1e400\"}", "seq: number expected");
    bad_command("\"close\":{\"code\":4294967296}",
                ".close.code: out of range");
    bad_command("\"close\":{\"code\":-1}", ".close.code: out of range");
    bad_command("\"data\":{\"open\":2147483648}", ".data.open: out of range");
    bad_command("\"data\":{\"open\":-2147483649}", ".data.open: out of range");
}


/* they are made strings, and nothing else is */

static void
long_integers_do_not_change_the_rest(void)
{
    parse(commands, "{\"commands\":[{\"id\":18446744073709551615,"
                    "\"close\":{\"reason\":\"\\\"1234567890123456789012\\\\\","
                    "\"code\":1}},{\"id\":12345678901234567890}],"
                    "\"a\":[0.1234567890123456789012,-1,true,"
                    "1234567890123456789012,1e5,"
                    "-1234567890123456789012,1234567890123456789012e-2]}",
          "1a{ 08ffffffffffffffffff01"
          "    5a{ 12{22313233343536373839303132333435363738393031325c}"
          "        0801 } }"
          "1a{ 08d295fcd8ceb1aaaaab01 }");

    refuse(commands, "{\"seq\":18446744073709551615",
           "line 1, column 29: '}' expected");
    refuse(commands, "{\"seq\":18446744073709551615,\"sessionId\":\"",
           "line 1, column 43: premature end of input");
    refuse(commands, "{\"seq\":18446744073709551615,\"sessionId\":\"\\",
           "line 1, column 44: invalid escape");
    refuse(commands, "[18446744073709551615,1e999]",
           "line 1, column 29: real number overflow");
}


static void
parses_doubles(void)
{
    parse(stats, "{\"rttAvgMs\":2.5,\"rttP99Ms\":0,\"workerAvgMs\":\"-1e1\"}",
          "210000000000000440 3100000000000024c0");
    parse(stats, "{\"rttAvgMs\":\"Infinity\",\"rttP99Ms\":\"-Infinity\"}",
          "21000000000000f07f 29000000000000f0ff");
    parse(stats, "{\"rttAvgMs\":\"NaN\"}", "21000000000000f87f");
    parse(stats, "{\"rttAvgMs\":36893488147419103232}", "210000000000000044");
    refuse(stats, "{\"rttAvgMs\":\"inf\"}", "rttAvgMs: number expected");
    refuse(stats, "{\"rttAvgMs\":\"\"}", "rttAvgMs: number expected");
    refuse(stats, "{\"rttAvgMs\":false}", "rttAvgMs: number expected");
}


static void
parses_booleans_and_names(void)
{
    command("\"data\":{\"fin\":true}", "22{ 1801 }");
    command("\"data\":{\"fin\":false}", "22{}");
    bad_command("\"data\":{\"fin\":1}", ".data.fin: true or false expected");
    bad_command("\"data\":{\"fin\":\"true\"}",
                ".data.fin: true or false expected");

    command("\"data\":{\"open\":\"NONE\"}", "22{}");
    command("\"data\":{\"open\":2}", "22{ 2002 }");
    bad_command("\"data\":{\"open\":\"uni\"}", ".data.open: unknown name");
    bad_command("\"data\":{\"open\":\"\"}", ".data.open: unknown name");
    bad_command("\"data\":{\"open\":\"UNI\\u0000\"}",
                ".data.open: unknown name");
    bad_command("\"data\":{\"open\":0.5}", ".data.open: integer expected");
    bad_command("\"accept\":{\"notify\":[1,\"X\"]}",
                ".accept.notify[1]: unknown name");
}


static void
parses_base64_of_both_alphabets(void)
{
    command("\"datagram\":{\"data\":\"+/8=\"}", "3a{ 0a{fbff} }");
    command("\"datagram\":{\"data\":\"-_8=\"}", "3a{ 0a{fbff} }");
    command("\"datagram\":{\"data\":\"-_8\"}", "3a{ 0a{fbff} }");
    command("\"datagram\":{\"data\":\"+/8\"}", "3a{ 0a{fbff} }");
    command("\"datagram\":{\"data\":\"YQ==\"}", "3a{ 0a{61} }");
    command("\"datagram\":{\"data\":\"YQ\"}", "3a{ 0a{61} }");
    command("\"datagram\":{\"data\":\"YWJj\"}", "3a{ 0a{616263} }");
    command("\"datagram\":{\"data\":\"YWJjZA==\"}", "3a{ 0a{61626364} }");
}


static void
refuses_what_is_not_base64(void)
{
    size_t         i;
    char           text[64];
    test_result_t  r;

    static char  *bad[] = {
        "Y", "YQ=", "YQ===", "Y===", "====", "==", "=", "YQ==YQ==", "YQ=Q",
        "YWJjZ", "YW Jj", "YWJj\\n", "+_8=", "Y\\u0000==", "YQ\\u0000\\u0000",
        "\\u00e4\\u00e4"
    };

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        sprintf(text, "{\"commands\":[{\"datagram\":{\"data\":\"%s\"}}]}",
                bad[i]);
        r = test_parse_json(&commands, text, strlen(text));
        check_str((char *) r.data,
                  "commands[0].datagram.data: base64 expected");
        free(r.data);
    }

    bad_command("\"datagram\":{\"data\":1}", ".datagram.data: string expected");
}


static void
parses_strings(void)
{
    command("\"close\":{\"reason\":\"\\u0000g\303\274\\u00df\\ud83d\\ude00"
            "\\n\"}", "5a{ 12{00 67c3bc c39f f09f9880 0a} }");
    bad_command("\"close\":{\"reason\":1}", ".close.reason: string expected");
    refuse(commands, "{\"sessionId\":\"\377\"}",
           "line 1, column 14: unable to decode byte 0xff");
    refuse(commands, "{\"sessionId\":\"\355\240\200\"}",
           "line 1, column 14: unable to decode byte 0xed");
    refuse(commands, "{\"sessionId\":\"\\ud800\"}",
           "line 1, column 21: invalid Unicode '\\uD800'");
}


static void
objects_and_arrays_are_not_the_same(void)
{
    refuse(commands, "[1]", "CommandBatch: object expected");
    refuse(commands, "{\"commands\":{}}", "commands: array expected");
    refuse(commands, "{\"commands\":[{},[0]]}", "commands[1]: object expected");
    bad_command("\"accept\":[{}]", ".accept: object expected");
    refuse(commands, "{\"commands\":[{},{}],\"seq\":[]}",
           "seq: number expected");
    bad_command("\"accept\":{\"notify\":[1,1],\"session\":{\"meta\":"
                "{\"a\":\"b\"},\"userId\":1}}",
                ".accept.session.userId: string expected");
    bad_command("\"accept\":{\"headers\":[{},{\"name\":{}}]}",
                ".accept.headers[1].name: string expected");
    bad_command("\"update\":{\"meta\":[\"a\"]}",
                ".update.meta: object expected");
}


static void
an_empty_array_may_be_an_object(void)
{
    parse(commands, "[]", "");
    parse(commands, "{\"commands\":[[],[]]}", "1a{} 1a{}");
    command("\"accept\":[]", "12{}");
    command("\"update\":{\"meta\":[]}", "8201{}");
}


static void
says_where_the_syntax_is_wrong(void)
{
    refuse(commands, "", "line 1, column 0: '[' or '{' expected");
    refuse(commands, "5", "line 1, column 1: '[' or '{' expected");
    refuse(commands, "{\n  \"seq\":: 1}", "line 2, column 9: unexpected token");
    refuse(commands, "{\"seq\":1", "line 1, column 8: '}' expected");
    refuse(commands, "{\"seq\":01}", "line 1, column 8: invalid token");
    refuse(commands, "{} x", "line 1, column 4: end of file expected");
    refuse(commands, "{}\0", "line 1, column 3: end of file expected");
    refuse(commands, "{\"a\\u0000\":1}",
           "line 1, column 10: NUL byte in object key not supported");
    refuse(commands, "\357\273\277{}", "line 1, column 1: '[' or '{' expected");
}


static void
depth_is_limited(void)
{
    size_t          i;
    char           *text;
    test_result_t   r;

    text = malloc(200000);
    memcpy(text, "{\"a\":", 5);

    for (i = 0; i < 90000; i++) {
        text[5 + i] = '[';
        text[5 + 90000 + i] = ']';
    }

    text[5 + 180000] = '}';

    r = test_parse_json(&commands, text, 180006);
    check_str((char *) r.data,
              "line 1, column 2053: maximum parsing depth reached");

    free(r.data);
    free(text);
}


static void
a_length_may_need_more_bytes(void)
{
    size_t         i, len;
    char          *text;
    u_char        *p;
    test_result_t  r, back;

    static size_t  lens[] = { 0, 3, 120, 123, 126, 129, 16377, 16380, 16383,
                              16386, 2097150, 2097153 };

    for (i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {

        len = lens[i] / 3 * 4;
        text = malloc(len + 64);
        p = (u_char *) text;
        p += sprintf(text, "{\"commands\":[{\"datagram\":{\"data\":\"");
        memset(p, 'a', len);
        strcpy((char *) p + len, "\"}}]}");

        if (lens[i] == 0) {
            strcpy(text, "{\"commands\":[{\"datagram\":{}}]}");
        }

        r = test_parse_json(&commands, text, strlen(text));
        check(r.rc == NGX_OK);
        check(r.len >= lens[i] + 4 && r.len <= lens[i] + 15);

        back = test_print(&commands, r.data, r.len);
        check(back.rc == NGX_OK);
        check(strcmp((char *) back.data, text) == 0);

        free(r.data);
        free(back.data);
        free(text);
    }
}


static test_t  tests[] = {
    test(prints_batches),
    test(prints_events),
    test(numbers_are_cut_to_their_type),
    test(unknown_values_of_enums_are_numbers),
    test(prints_numbers_packed_or_not),
    test(parts_of_a_message_are_merged),
    test(the_last_member_of_a_oneof_counts),
    test(prints_maps),
    test(prints_doubles),
    test(unknown_fields_are_skipped),
    test(malformed_messages_are_errors),
    test(strings_must_be_utf8_and_bytes_need_not),
    test(pieces_may_be_divided_anywhere),
    test(parses_batches),
    test(parses_commands),
    test(takes_names_of_the_schema),
    test(of_equal_names_the_last_counts),
    test(ignores_what_it_does_not_know),
    test(null_is_absent),
    test(only_one_member_of_a_oneof),
    test(parses_integers_in_every_form),
    test(refuses_integers_that_are_not_or_do_not_fit),
    test(long_integers_do_not_change_the_rest),
    test(parses_doubles),
    test(parses_booleans_and_names),
    test(parses_base64_of_both_alphabets),
    test(refuses_what_is_not_base64),
    test(parses_strings),
    test(objects_and_arrays_are_not_the_same),
    test(an_empty_array_may_be_an_object),
    test(says_where_the_syntax_is_wrong),
    test(depth_is_limited),
    test(a_length_may_need_more_bytes)
};


static const ngx_http_wt_json_msg_t *
filter_message(const char *name)
{
    size_t  i;

    static const ngx_http_wt_json_msg_t  *messages[] = {
        &events, &commands, &stats, &ngx_http_wt_json_PublishRequest
    };

    for (i = 0; i < sizeof(messages) / sizeof(messages[0]); i++) {
        if (strcmp(messages[i]->name, name) == 0) {
            return messages[i];
        }
    }

    fprintf(stderr, "unknown message \"%s\"\n", name);
    exit(2);
}


static int
filter(void)
{
    char                           op[8], name[32];
    u_char                        *in;
    size_t                         len;
    test_result_t                  r;
    const ngx_http_wt_json_msg_t  *msg;

    while (scanf("%7s %31s %zu", op, name, &len) == 3) {

        msg = filter_message(name);
        in = malloc(len + 1);

        if (getchar() != '\n' || fread(in, 1, len, stdin) != len) {
            return 2;
        }

        r = (op[1] == 'r') ? test_print(msg, in, len)
                           : test_parse_json(msg, in, len);

        printf("%s %zu\n", r.rc ? "error" : "ok", r.len);
        fwrite(r.data, 1, r.len, stdout);
        fflush(stdout);

        free(r.data);
        free(in);
    }

    return 0;
}


int
main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "filter") == 0) {
        return filter();
    }

    setvbuf(stdout, NULL, _IOLBF, 0);

    return test_run(tests, sizeof(tests) / sizeof(tests[0]));
}
