"""Sessions: establish, refuse, close; and what else is on the connection."""

import asyncio
import re
import time

import pylsqpack
import pytest
from aioquic.tls import CipherSuite

from lib import worker as w
from lib.client import TIMEOUT, ConnectionLost, Session, Stream
from lib.wire import *
from lib.worker import pb

ECHO = "location / { webtransport_echo; }"


def passed(worker, more=""):
    return f"location / {{ webtransport_pass {worker.address}; {more} }}"


# ---- establish --------------------------------------------------------------


async def test_settings_suit_all_kinds_of_clients(nginx, client):
    ngx = nginx("webtransport_max_sessions 5;" + ECHO)
    async with client(ngx) as conn:
        settings = await conn.settings()
        assert settings[SETTING_ENABLE_CONNECT_PROTOCOL] == 1
        assert settings[SETTING_H3_DATAGRAM] == 1
        assert settings[SETTING_H3_DATAGRAM_OLD] == 1
        assert settings[SETTING_DRAFT_02] == 1
        assert settings[SETTING_DRAFT_07] == 5
        assert settings[SETTING_QPACK_MAX_TABLE_CAPACITY] == 4096


async def test_nothing_but_settings_is_on_the_control_stream(nginx, client):
    ngx = nginx(ECHO)
    async with client(ngx) as conn:
        await conn.session()
        assert conn.control_frames == []
        assert conn.other_streams == []


@pytest.mark.parametrize("directive, size", [
    ("", 65535),
    ("webtransport_max_datagram_size 1000;", 1000),
])
async def test_max_datagram_frame_size_is_advertised(nginx, client, directive,
                                                     size):
    ngx = nginx(directive + ECHO)
    async with client(ngx) as conn:
        value = conn.quic.peer_parameters[TP_MAX_DATAGRAM_FRAME_SIZE]
        assert read_varint(value) == (size, len(value))


async def test_server_without_webtransport_advertises_nothing(nginx, client):
    ngx = nginx(webtransport=False)
    async with client(ngx) as conn:
        settings = await conn.settings()
        assert not settings.keys() & {
            SETTING_ENABLE_CONNECT_PROTOCOL, SETTING_H3_DATAGRAM,
            SETTING_H3_DATAGRAM_OLD, SETTING_DRAFT_02, SETTING_DRAFT_07}
        assert TP_MAX_DATAGRAM_FRAME_SIZE not in conn.quic.peer_parameters


async def test_session_is_accepted_without_content_headers(nginx, client):
    ngx = nginx(ECHO)
    async with client(ngx) as conn:
        session = await conn.session("/any/path?query")
        names = [name for name, value in session.headers]
        assert not {b"content-length", b"content-type",
                    b"transfer-encoding"} & set(names)
        assert not session.ended


@pytest.mark.parametrize("headers, answer", [
    ([("sec-webtransport-http3-draft02", "1")], "draft02"),
    ([], None),
])
async def test_draft02_header_is_answered_only_if_present(nginx, client,
                                                          headers, answer):
    ngx = nginx(ECHO)
    async with client(ngx) as conn:
        session = await conn.session(headers=headers)
        assert session.header("sec-webtransport-http3-draft") == answer


@pytest.mark.parametrize("settings, protocol, draft", [
    ({SETTING_DRAFT_02: 1}, "webtransport", "02"),
    ({SETTING_DRAFT_07: 1}, "webtransport", "07"),
    ({SETTING_DRAFT_02: 1, SETTING_DRAFT_07: 1}, "webtransport", "07"),
    ({SETTING_DRAFT_07: 1, SETTING_DRAFT_13: 1}, "webtransport", "13"),
    ({SETTING_DRAFT_15: 1}, "webtransport-h3", "15"),
    ({}, "webtransport", "09"),
    ({}, "webtransport-h3", None),
])
async def test_every_draft_is_spoken(nginx, client, settings, protocol, draft):
    ngx = nginx(ECHO)
    settings = {SETTING_H3_DATAGRAM: 1, **settings}
    async with client(ngx, settings=settings) as conn:
        session = await conn.session(protocol=protocol)
        assert await session.echo() == b"ping"
        session.close()
        await session.closed()
    line = await ngx.logged(status="200")
    assert draft in (None, line["draft"])


@pytest.mark.parametrize("setting", [SETTING_H3_DATAGRAM,
                                     SETTING_H3_DATAGRAM_OLD])
async def test_datagram_setting_above_1_closes_the_connection(nginx, client,
                                                              setting):
    """RFC 9297, 2.1.1"""
    ngx = nginx(ECHO)
    async with client(ngx, settings={setting: 2}) as conn:
        assert await conn.closed() == H3_SETTINGS_ERROR


async def test_old_datagram_setting_is_enough(nginx, client):
    ngx = nginx(ECHO)
    settings = {SETTING_H3_DATAGRAM_OLD: 1, SETTING_DRAFT_02: 1}
    async with client(ngx, settings=settings) as conn:
        session = await conn.session()
        assert await session.echo_datagram() == b"ping"


async def test_connect_may_come_with_the_end_of_the_handshake(nginx, client):
    ngx = nginx(ECHO)
    sessions = []

    def first_flight(conn):
        conn.open_control(CLIENT_SETTINGS)
        sessions.append(conn.connect())
        stream = sessions[0].open_bidi()
        stream.write(b"early", True)
        sessions.append(stream)

    async with client(ngx, on_handshake=first_flight) as conn:
        session, stream = sessions
        assert await session.outcome() == 200
        assert await stream.read_all() == b"early"


@pytest.mark.parametrize("directive", ["quic_retry on;", "quic_gso on;"])
async def test_with_other_features_of_quic(nginx, client, directive):
    ngx = nginx(ECHO, http=directive)
    async with client(ngx) as conn:
        session = await conn.session()
        data = bytes(range(256)) * 1000
        assert await session.echo(data) == data
        for i in range(50):
            session.send_datagram(b"%d" % i)
        for i in range(50):
            assert await session.datagram() == b"%d" % i


@pytest.mark.parametrize("suite", [
    CipherSuite.AES_128_GCM_SHA256, CipherSuite.AES_256_GCM_SHA384,
    CipherSuite.CHACHA20_POLY1305_SHA256], ids=lambda suite: suite.name)
async def test_every_cipher_suite(nginx, client, suite):
    ngx = nginx(ECHO)
    async with client(ngx, cipher_suites=[suite]) as conn:
        session = await conn.session()
        for i in range(3):
            assert await session.echo_datagram(b"%d" % i) == b"%d" % i
            assert await session.echo(b"%d" % i) == b"%d" % i
            await conn.ping()
            conn.quic.request_key_update()


async def test_hello_retry_request(nginx, browser):
    """Chromium has to be asked for this curve; aioquic could not answer."""
    ngx = nginx("location / { webtransport_echo; webtransport_origins *; }",
                http="ssl_ecdh_curve secp384r1; keepalive_timeout 1s;")
    page = await browser.page(ngx)
    assert await page.evaluate("""async () => {
        const wt = await connect("/");
        const stream = await wt.createBidirectionalStream();
        await write(stream.writable, "hello");
        const answer = await readText(stream.readable);
        wt.close();
        return answer;
    }""") == "hello"
    await ngx.logged(status="200", close_by="client")


async def test_several_nginx_workers(nginx, client):
    ngx = nginx(ECHO, workers=3, reuseport=True)

    async def one(i):
        async with client(ngx) as conn:
            session = await conn.session()
            assert await session.echo_datagram(b"%d" % i) == b"%d" % i
            assert await session.echo(b"%d" % i) == b"%d" % i
            session.close(i)
            await session.closed()

    await asyncio.gather(*map(one, range(30)))
    await ngx.logged(30, status="200", close_by="client")


# ---- CONNECT on the wire ----------------------------------------------------


async def test_connect_arrives_byte_by_byte(nginx, client):
    ngx = nginx(ECHO)
    async with client(ngx) as conn:
        session = conn.new_stream(Session)
        block = conn.encoder.section(conn.connect_headers())
        await session.write_split(frame(FRAME_HEADERS, block))
        assert await session.outcome() == 200
        assert await session.echo() == b"ping"


@pytest.mark.parametrize("first", [23, 24, 1000, 1024])
@pytest.mark.parametrize("path", [1, 1500])
async def test_connect_arrives_in_two_pieces(nginx, client, first, path):
    ngx = nginx(ECHO)
    async with client(ngx) as conn:
        session = conn.new_stream(Session)
        block = conn.encoder.section(conn.connect_headers(
            "/".ljust(path, "x"), headers=[("x", "y" * 1500)]))
        await session.write_split(frame(FRAME_HEADERS, block), size=first)
        assert await session.outcome() == 200
        assert await session.echo() == b"ping"
    await ngx.logged(status="200")


@pytest.mark.parametrize("path", [10, 1000, 3000])
async def test_connect_cut_off_inside_of_a_line(nginx, client, path):
    """The frame is complete, its last line is not: nothing to wait for."""
    ngx = nginx(ECHO)
    async with client(ngx) as conn:
        session = conn.new_stream(Session)
        fields = [(b":method", b"CONNECT"), (b":protocol", b"webtransport"),
                  (b":path", b"/".ljust(path, b"x"))]
        block = conn.encoder.section(fields)[:-5]
        session.write(frame(FRAME_HEADERS, block))
        assert await session.outcome() in (400, H3_MESSAGE_ERROR)


async def test_connect_with_huffman_coding(nginx, client):
    ngx = nginx("""
        location = /huffman { webtransport_echo; }
        location / { deny all; }
    """)
    async with client(ngx) as conn:
        session = conn.new_stream(Session)
        _, block = pylsqpack.Encoder().encode(
            session.id, conn.connect_headers("/huffman"))
        session.write(frame(FRAME_HEADERS, block))
        assert await session.outcome() == 200


TABLE = [(b":protocol", b"webtransport"), (b":authority", b"localhost"),
         (b":path", b"/dynamic"), (b":method", b"CONNECT")]


async def test_connect_from_the_dynamic_table(nginx, client):
    ngx = nginx("location /dynamic { webtransport_echo; }")
    async with client(ngx) as conn:
        conn.encoder_stream.write(conn.insert(*TABLE))
        await conn.ping()
        session = await conn.session("/dynamic", authority="localhost")
        assert await session.echo() == b"ping"
        await conn.until(lambda: conn.decoder_instructions, "ack", what="ack")


@pytest.mark.parametrize("first", range(len(TABLE) + 1))
async def test_connect_waits_for_the_dynamic_table(nginx, client, first):
    ngx = nginx("location /dynamic { webtransport_echo; }")
    async with client(ngx) as conn:
        conn.encoder_stream.write(conn.insert(*TABLE[:first]))
        late = b"".join(conn.encoder.insert(*pair) for pair in TABLE[first:])
        session = conn.connect("/dynamic", authority="localhost")
        stream = session.open_bidi()
        stream.write(b"blocked too", True)
        await conn.ping()
        if late:
            assert session.status is None
            conn.encoder_stream.write(late)
        assert await session.outcome() == 200
        assert await stream.read_all() == b"blocked too"


async def test_ordinary_request_waits_for_the_dynamic_table(nginx, client):
    ngx = nginx("location = /x { return 200 $http_x; }" + ECHO)
    async with client(ngx) as conn:
        late = conn.insert((b"x", b"from the table"))
        request = conn.start_request("GET", "/x", [("x", "from the table")])
        await conn.ping()
        assert request.status is None
        conn.encoder_stream.write(late)
        assert (await request.complete()).body == b"from the table"


@pytest.mark.parametrize("name", ["scheme", "authority", "path"])
async def test_connect_without_a_pseudo_header_is_refused(nginx, client, name):
    ngx = nginx(ECHO)
    async with client(ngx) as conn:
        fields = [(k, v) for k, v in conn.connect_headers()
                  if k != b":" + name.encode()]
        session = conn.new_stream(Session)
        session.write(frame(FRAME_HEADERS, conn.encoder.section(fields)))
        assert await session.outcome() in (400, H3_MESSAGE_ERROR)
        assert await (await conn.session()).echo() == b"ping"


async def test_protocol_without_connect_is_refused(nginx, client):
    ngx = nginx(ECHO)
    async with client(ngx) as conn:
        request = conn.start_request("GET", "/", protocol="webtransport")
        assert await request.outcome() in (400, H3_MESSAGE_ERROR)


async def test_connect_without_protocol_is_refused(nginx, client):
    ngx = nginx(ECHO)
    async with client(ngx) as conn:
        assert await conn.refused(protocol=None) in (400, 405)


# ---- refuse -----------------------------------------------------------------


@pytest.mark.parametrize("protocol", ["websocket", "webtransport2", "w"])
async def test_unknown_protocol_is_refused_with_501(nginx, client, protocol):
    ngx = nginx(ECHO)
    async with client(ngx) as conn:
        assert await conn.refused(protocol=protocol) == 501
        assert await (await conn.session()).echo() == b"ping"


NO_WEBTRANSPORT = {
    "static": "location / { }",
    "return": "location / { return 200; }",
    "server_return": "return 200; location / { webtransport_echo; }",
    "server_if": "if ($request_uri) { return 200; } "
                 "location / { webtransport_echo; }",
    "error_page": "error_page 405 =200 /index.html; location / { }",
    "error_page_named": "error_page 405 =200 @ok; location / { } "
                        "location @ok { return 200; }",
    "try_files": "location / { try_files /index.html =404; }",
    "try_files_named": "location / { try_files /none @ok; } "
                       "location @ok { return 200; }",
    "rewrite": "rewrite ^ /index.html; location / { }",
    "index": "location / { index index.html; }",
    "proxy": "location / { proxy_pass http://unix:%DIR%/status; }",
    "stub_status": "location / { stub_status; }",
}


@pytest.mark.parametrize("conf", NO_WEBTRANSPORT.values(),
                         ids=NO_WEBTRANSPORT.keys())
async def test_no_session_where_no_webtransport_is(nginx, client, conf):
    ngx = nginx(conf)
    async with client(ngx) as conn:
        assert await conn.refused() == 405
        assert (await conn.request("GET", "/")).status == 200


async def test_refusal_does_not_hurt_a_session_beside_it(nginx, client):
    ngx = nginx("location /wt { webtransport_echo; }")
    async with client(ngx) as conn:
        session = await conn.session("/wt")
        assert await conn.refused("/no") == 405
        assert await session.echo() == b"ping"


async def test_ordinary_request_to_a_webtransport_location(nginx, client):
    ngx = nginx(ECHO)
    async with client(ngx) as conn:
        assert (await conn.request("GET", "/")).status >= 400
    assert (await ngx.curl("/"))[0] >= 400


@pytest.mark.parametrize("directive, origin, status", [
    ("", None, 200),
    ("", "https://localhost:%d", 200),
    ("", "https://evil.test", 403),
    ("", "https://localhost.evil.test", 403),
    ("", "https://evil.localhost", 403),
    ("", "null", 403),
    ("", "", 403),
    ("webtransport_origins *;", "https://evil.test", 200),
    ("webtransport_origins https://a.test;", "https://a.test", 200),
    ("webtransport_origins https://a.test;", "https://A.test", 200),
    ("webtransport_origins https://a.test;", "https://b.test", 403),
    ("webtransport_origins https://a.test;", "http://a.test", 403),
    ("webtransport_origins https://a.test;", "https://a.test.evil", 403),
    ("webtransport_origins https://a.test;", "https://a.tes", 403),
    ("webtransport_origins https://a.test;", "https://a.test:444", 403),
    ("webtransport_origins https://a.test;", "https://localhost:%d", 403),
    ("webtransport_origins https://a.test https://b.test:8443;",
     "https://b.test:8443", 200),
])
async def test_origin_is_checked(nginx, client, directive, origin, status):
    ngx = nginx(f"location / {{ webtransport_echo; {directive} }}")
    headers = [] if origin is None else [
        ("origin", origin.replace("%d", str(ngx.port)))]
    async with client(ngx) as conn:
        session = conn.connect(headers=headers)
        assert await session.outcome() == status


async def test_one_bad_origin_of_two_is_enough_to_refuse(nginx, client):
    ngx = nginx(ECHO)
    async with client(ngx) as conn:
        good = ("origin", f"https://localhost:{ngx.port}")
        evil = ("origin", "https://evil.test")
        for headers in ([good, evil], [evil, good]):
            session = conn.connect(headers=headers)
            assert await session.outcome() in (400, 403, H3_MESSAGE_ERROR)


@pytest.mark.parametrize("settings, max_datagram", [
    ({SETTING_DRAFT_02: 1}, 65536),
    ({SETTING_DRAFT_02: 1, SETTING_H3_DATAGRAM: 0}, 65536),
    ({SETTING_DRAFT_02: 1, SETTING_H3_DATAGRAM: 1}, None),
    ({SETTING_DRAFT_02: 1, SETTING_H3_DATAGRAM: 1}, 0),
], ids=["no setting", "setting 0", "no parameter", "parameter 0"])
async def test_client_without_datagrams_is_refused_but_stays_connected(
        nginx, client, settings, max_datagram):
    ngx = nginx("location /wt { webtransport_echo; }")
    async with client(ngx, settings=settings,
                      max_datagram=max_datagram) as conn:
        for _ in range(2):
            session = conn.connect("/wt")
            assert await session.until_reset() == H3_MESSAGE_ERROR
        assert (await conn.request("GET", "/")).status == 200


@pytest.mark.parametrize("id, value", [
    (0x0dea4e0e1c2b0003, b""),          # max_udp_payload_size, if cut short
    (0x10003, b"\x05"),
    (0x10009, b"\x00"),                  # initial_max_streams_uni
    (0x2afe187c36f00000, b"12345678"),  # of a server only
])
async def test_reserved_transport_parameter_is_no_other(nginx, client, id,
                                                        value):
    """nginx looks at 16 bits of the id; browsers send random ones."""
    ngx = nginx(ECHO)
    async with client(ngx, parameters={id: value}) as conn:
        session = await conn.session()
        stream = session.open_uni()
        stream.write(b"some", True)
        answer = await session.accept_uni()
        assert await answer.read_all() == b"some"


async def test_connect_waits_for_late_settings(nginx, client):
    ngx = nginx("location /wt { webtransport_echo; }")
    async with client(ngx, settings=None) as conn:
        session = conn.connect("/wt")
        with pytest.raises(TimeoutError):
            await session.response(timeout=1)
        assert session.reset_code is None
        assert (await conn.request("GET", "/")).status == 200
        conn.open_control(CLIENT_SETTINGS)
        assert await session.outcome() == 200
        assert await session.echo() == b"ping"


async def test_connect_without_settings_is_rejected(nginx, client):
    ngx = nginx("location /wt { webtransport_echo; }")
    async with client(ngx, settings=None) as conn:
        start = time.monotonic()
        session = conn.connect("/wt")
        assert await session.until_reset(15) == H3_REQUEST_REJECTED
        assert 4 < time.monotonic() - start < 8
        assert (await conn.request("GET", "/")).status == 200


async def test_client_that_leaves_before_its_settings(nginx, client):
    ngx = nginx(ECHO)
    async with client(ngx, settings=None) as conn:
        conn.connect()
        stalled = conn.new_stream(Session)
        stalled.write(frame(FRAME_HEADERS, b"\0\0")[:2])
        await conn.ping()
    await ngx.idle()


async def test_connect_reset_before_its_settings(nginx, client):
    ngx = nginx(ECHO)
    async with client(ngx, settings=None) as conn:
        session = conn.connect()
        await session.drain()
        session.reset(H3_REQUEST_CANCELLED)
        await conn.ping()
        conn.open_control(CLIENT_SETTINGS)
        assert await (await conn.session()).echo() == b"ping"


async def test_early_data_is_off_where_webtransport_is_on(nginx, client):
    ngx = nginx(http="""
        ssl_early_data on;
        server { %LISTEN% server_name a.test; webtransport on;
                 location / { return 200; } }
        server { %LISTEN% server_name b.test; location / { return 200; } }
    """)
    for name in ("a.test", "b.test"):
        tickets = []
        async with client(ngx, sni=name, on_ticket=tickets.append) as conn:
            await conn.until(lambda: tickets, "ack", what="a session ticket")

        async with client(ngx, sni=name, session_ticket=tickets[-1],
                          wait=False) as conn:
            response = await conn.request("GET", "/", authority=name)
            assert response.status == 200
            assert conn.handshake.session_resumed
            assert conn.handshake.early_data_accepted == (name == "b.test")


# ---- nginx around it --------------------------------------------------------


async def test_auth_request_allows_and_denies(nginx, client):
    ngx = nginx("""
        location / { auth_request /auth; webtransport_echo; }
        location = /auth {
            internal;
            if ($http_token = good) { return 204; }
            return 401;
        }
    """)
    async with client(ngx) as conn:
        session = await conn.session(headers=[("token", "good")])
        assert await session.echo() == b"ping"
        assert await conn.refused(headers=[("token", "bad")]) == 401
        assert await conn.refused() == 401


async def test_auth_request_by_a_proxied_service(nginx, client):
    ngx = nginx("""
        location / { auth_request /auth; webtransport_echo; }
        location = /auth {
            internal;
            proxy_pass http://unix:%DIR%/auth;
            proxy_pass_request_body off;
            proxy_set_header Content-Length "";
        }
    """, http="""
        server {
            listen unix:%DIR%/auth;
            if ($http_token = good) { return 200; }
            return 403;
        }
    """)
    async with client(ngx) as conn:
        session = await conn.session(headers=[("token", "good")])
        assert await session.echo() == b"ping"
        assert await conn.refused(headers=[("token", "bad")]) == 403


async def test_limit_conn_counts_sessions(nginx, client):
    ngx = nginx("location / { limit_conn zone 2; webtransport_echo; }",
                http="limit_conn_zone $server_name zone=zone:64k;")
    async with client(ngx) as conn, client(ngx) as other:
        first = await conn.session()
        await other.session()
        assert await conn.refused() == 503
        assert await other.refused() == 503
        first.close()
        await first.closed()
        await ngx.logged(status="200")
        await other.session()


async def test_limit_req_delays_and_refuses_sessions(nginx, client):
    ngx = nginx("limit_req zone=zone burst=1;" + ECHO,
                http="limit_req_zone $server_name zone=zone:64k rate=2r/s;")
    async with client(ngx) as conn:
        await conn.session()
        delayed = conn.connect()
        stream = delayed.open_bidi()
        stream.write(b"meanwhile", True)
        delayed.send_datagram(b"datagram")
        assert await conn.refused() == 503
        assert await delayed.outcome() == 200
        assert await stream.read_all() == b"meanwhile"
        assert await delayed.datagram() == b"datagram"


@pytest.mark.parametrize("rules, status", [
    ("allow 127.0.0.1; deny all;", 200),
    ("deny 127.0.0.1;", 403),
])
async def test_allow_and_deny(nginx, client, rules, status):
    ngx = nginx(f"location / {{ {rules} webtransport_echo; }}")
    async with client(ngx) as conn:
        assert await conn.connect().outcome() == status


@pytest.mark.parametrize("conf", [
    "rewrite ^/old/(.*)$ /new/$1;",
    "location /old { rewrite ^/old/(.*)$ /new/$1 last; }",
    "location /old { set $x 1; if ($x) { rewrite ^ /new/ last; } }",
], ids=["server", "location", "if"])
async def test_rewrite_leads_to_a_webtransport_location(nginx, client, conf):
    ngx = nginx(conf + "location /new { webtransport_echo; }")
    async with client(ngx) as conn:
        session = await conn.session("/old/x?y")
        assert await session.echo() == b"ping"


async def test_redirect_is_passed_on(nginx, client):
    ngx = nginx("location / { return 302 https://a.test/; }")
    async with client(ngx) as conn:
        session = conn.connect()
        assert await session.outcome() in (302, 405)


async def test_map_and_if_decide(nginx, client):
    ngx = nginx("""
        location / {
            if ($allowed = 0) { return 403; }
            webtransport_echo;
        }
    """, http="map $arg_token $allowed { default 0; secret 1; }")
    async with client(ngx) as conn:
        session = await conn.session("/?token=secret")
        assert await session.echo() == b"ping"
        assert await conn.refused("/?token=wrong") == 403


async def test_realip_changes_the_address(nginx, client):
    ngx = nginx("""
        set_real_ip_from 127.0.0.1;
        real_ip_header X-Real-IP;
        allow 192.0.2.7;
        deny all;
        location / { webtransport_echo; }
    """)
    async with client(ngx) as conn:
        assert await conn.refused() == 403
        session = await conn.session(headers=[("x-real-ip", "192.0.2.7")])
        session.close()
        await session.closed()
    await ngx.logged(remote="192.0.2.7", status="200")


async def test_access_log_tells_what_happened(nginx, client):
    ngx = nginx(ECHO)
    async with client(ngx) as conn:
        session = await conn.session("/path?query")
        assert await session.echo(b"12345") == b"12345"
        uni = session.open_uni()
        uni.write(b"123", True)
        assert await (await session.accept_uni()).read_all() == b"123"
        for data in (b"", b"datagram"):
            assert await session.echo_datagram(data) == data
        session.close(4321, "enough")
        await session.closed()
        line = await ngx.logged(status="200")

    expected = dict(method="CONNECT", uri="/path?query", http="HTTP/3.0",
                    host="localhost", streams_in="2", streams_out="1",
                    bytes_in="8", bytes_out="8", datagrams_in="2",
                    datagrams_out="2", datagrams_dropped="0",
                    close_code="4321", close_by="client", draft="02")
    assert expected.items() <= line.items()
    assert re.fullmatch(r"[A-Za-z0-9_-]{22}", line["session_id"])
    assert 0 <= float(line["duration"]) < 60


async def test_session_ids_differ(nginx, client):
    ngx = nginx(ECHO)
    async with client(ngx) as conn:
        for _ in range(20):
            session = await conn.session()
            session.close()
            await session.closed()
    await ngx.logged(20, status="200")
    assert len({line["session_id"] for line in ngx.access_log()}) == 20


async def test_access_log_of_a_refused_session(nginx, client):
    ngx = nginx(ECHO)
    async with client(ngx) as conn:
        await conn.refused(headers=[("origin", "https://evil.test")])
    line = await ngx.logged(status="403")
    assert line["method"] == "CONNECT"
    assert line["close_code"] == line["streams_in"] == "-"


# ---- several sessions, several servers --------------------------------------


async def test_sessions_on_one_connection_are_isolated(nginx, client):
    ngx = nginx(ECHO)
    async with client(ngx) as conn:
        sessions = [await conn.session(f"/{i}") for i in range(5)]
        for i, session in enumerate(sessions):
            session.send_datagram(b"%d" % i)
            session.open_uni().write(b"%d" % i, True)
        for i, session in enumerate(sessions):
            assert await session.datagram() == b"%d" % i
            stream = await session.accept_uni()
            assert await stream.read_all() == b"%d" % i

        held = [session.open_bidi() for session in sessions]
        for stream in held:
            stream.write(b"held")
            assert await stream.read() == b"held"

        sessions[2].close(1)
        assert await held[2].until_aborted() == WT_SESSION_GONE
        for i in (0, 1, 3, 4):
            held[i].write(b" on", True)
            assert await held[i].read_all() == b" on"
            assert await sessions[i].echo_datagram() == b"ping"


async def test_max_sessions_is_per_connection(nginx, client):
    ngx = nginx("webtransport_max_sessions 2;" + ECHO)
    async with client(ngx) as conn, client(ngx) as other:
        first = await conn.session()
        second = await conn.session()
        refused = conn.connect()
        assert await refused.outcome() in (429, H3_REQUEST_REJECTED)
        assert await (await other.session()).echo() == b"ping"
        first.close()
        await first.closed()
        third = await conn.session()
        assert await third.echo() == await second.echo() == b"ping"


ON = "server { %LISTEN% server_name a.test; webtransport on; " + ECHO + " }"
OFF = "server { %LISTEN% server_name b.test; location / { } }"


@pytest.mark.parametrize("order", [ON + OFF, OFF + ON],
                         ids=["default on", "default off"])
@pytest.mark.parametrize("sni", ["a.test", "b.test"])
@pytest.mark.parametrize("authority", ["a.test", "b.test"])
async def test_both_sni_and_host_must_have_webtransport(nginx, client, order,
                                                        sni, authority):
    ngx = nginx(http=order, webtransport=False)
    async with client(ngx, sni=sni, authority=authority) as conn:
        settings = await conn.settings()
        offered = {SETTING_H3_DATAGRAM, SETTING_DRAFT_02} <= settings.keys()
        parameter = TP_MAX_DATAGRAM_FRAME_SIZE in conn.quic.peer_parameters
        assert offered == parameter == (sni == "a.test")

        session = conn.connect()
        if sni == authority == "a.test":
            assert await session.outcome() == 200
            assert await session.echo() == b"ping"
            assert await session.echo_datagram() == b"ping"
        else:
            assert await session.outcome() != 200
        assert (await conn.request("GET", "/", authority="localhost"
                                   )).status == 200


@pytest.mark.parametrize("order, on", [(ON + OFF, True), (OFF + ON, False)],
                         ids=["default on", "default off"])
async def test_without_sni_the_default_server_decides(nginx, client, order,
                                                      on):
    ngx = nginx(http=order, webtransport=False)
    async with client(ngx, sni=None, authority="a.test") as conn:
        assert (SETTING_DRAFT_02 in await conn.settings()) == on
        assert (await conn.connect().outcome() == 200) == on


async def test_other_addresses_are_left_alone(nginx, client):
    ngx = nginx(ECHO, http="""
        server {
            listen 127.0.0.2:%PORT% quic;
            listen 127.0.0.2:%PORT% ssl;
            server_name localhost;
        }
    """)
    async with client(ngx, host="127.0.0.2") as conn:
        assert SETTING_H3_DATAGRAM not in await conn.settings()
        assert await conn.connect().outcome() != 200
        assert (await conn.request("GET", "/")).status == 200
    async with client(ngx) as conn:
        assert await (await conn.session()).echo() == b"ping"


async def test_ssl_reject_handshake_in_the_default_server(nginx, client):
    ngx = nginx(ECHO, http="server { %LISTEN% ssl_reject_handshake on; }")
    async with client(ngx) as conn:
        assert await (await conn.session()).echo() == b"ping"
    with pytest.raises(ConnectionLost) as error:
        async with client(ngx, sni="unknown.test"):
            pass
    assert error.value.code & 0x100


async def test_hq_still_works(nginx, client):
    ngx = nginx("http3_hq on; location /wt { webtransport_echo; }")
    async with client(ngx, alpn=["hq-interop"], settings=None) as conn:
        stream = conn.new_stream(Stream)
        stream.write(b"GET /index.html\r\n", True)
        assert await stream.read_all() == b"hello\n"


# ---- close ------------------------------------------------------------------

CLOSINGS = [
    (0, ""),
    (1, ""),
    (0, "only a reason"),
    (0xffffffff, "all ones"),
    (7, "\u00e4\u20ac\U0001f600"),
    (9, "x" * 1024),
]


@pytest.mark.parametrize("code, reason", CLOSINGS,
                         ids=lambda value: str(value)[:12])
async def test_close_of_the_client_reaches_the_worker(nginx, client, worker,
                                                      code, reason):
    ngx = nginx(passed(worker))
    async with client(ngx) as conn:
        session = await conn.session()
        backend = await worker.session()
        session.close(code, reason)
        closed = await backend.closed()
        assert closed.by == pb.Closed.CLIENT
        assert (closed.code, closed.reason) == (code, reason)
        assert await session.closed() == (0, b"")
        await backend.end()
    line = await ngx.logged(status="200")
    assert line["close_by"] == "client"
    assert line["close_code"] == str(code)


@pytest.mark.parametrize("code, reason", CLOSINGS,
                         ids=lambda value: str(value)[:12])
async def test_close_of_the_worker_reaches_the_client(nginx, client, worker,
                                                      code, reason):
    ngx = nginx(passed(worker))
    async with client(ngx) as conn:
        session = await conn.session()
        backend = await worker.session()
        backend.send(w.close(code, reason))
        assert await session.closed() == (code, reason.encode())
        closed = await backend.closed()
        assert (closed.by, closed.code) == (pb.Closed.WORKER, code)
        assert closed.reason == reason
    line = await ngx.logged(status="200")
    assert line["close_by"] == "worker"
    assert line["close_code"] == str(code)


@pytest.mark.parametrize("sent, received", [
    ("x" * 1025, "x" * 1024),
    ("x" * 1023 + "\u00e4", "x" * 1023),
    ("x" * 1022 + "\u20ac", "x" * 1022),
    ("x" * 1021 + "\U0001f600y", "x" * 1021),
    ("\u20ac" * 400, "\u20ac" * 341),
], ids=["1", "2 bytes", "3 bytes", "4 bytes", "many"])
async def test_long_reason_is_cut_at_a_character(nginx, client, worker, sent,
                                                 received):
    ngx = nginx(passed(worker))
    async with client(ngx) as conn:
        session = await conn.session()
        (await worker.session()).send(w.close(1, sent))
        assert await session.closed() == (1, received.encode())


async def test_worker_may_accept_and_close_at_once(nginx, client, worker):
    worker.accept = [w.accept(), w.close(401, "who are you?")]
    ngx = nginx(passed(worker))
    async with client(ngx) as conn:
        session = await conn.session()
        assert await session.closed() == (401, b"who are you?")


async def test_abort_of_the_worker_is_an_error_to_the_client(nginx, client,
                                                             worker):
    ngx = nginx(passed(worker))
    async with client(ngx) as conn:
        session = await conn.session()
        backend = await worker.session()
        backend.send(w.abort())
        await session.until_reset()
        assert session.capsules == []
        assert (await backend.closed()).by == pb.Closed.WORKER


async def test_fin_of_the_client_is_close_without_code(nginx, client, worker):
    ngx = nginx(passed(worker))
    async with client(ngx) as conn:
        session = await conn.session()
        backend = await worker.session()
        session.fin()
        closed = await backend.closed()
        assert (closed.by, closed.code, closed.reason) == (
            pb.Closed.CLIENT, 0, "")
        assert await session.closed() == (0, b"")


async def test_fin_together_with_connect(nginx, client, worker):
    ngx = nginx(passed(worker))
    async with client(ngx) as conn:
        session = conn.connect()
        session.fin()
        await session.finished()
        backend = worker.sessions and await worker.session()
        if backend:
            assert (await backend.closed()).by == pb.Closed.CLIENT
    await ngx.idle()


async def test_reset_of_connect_ends_the_session(nginx, client, worker):
    ngx = nginx(passed(worker))
    async with client(ngx) as conn:
        session = await conn.session()
        backend = await worker.session()
        session.reset(H3_REQUEST_CANCELLED)
        closed = await backend.closed()
        assert (closed.by, closed.code) == (pb.Closed.CLIENT, 0)
        assert (await conn.session()).status == 200


async def test_stop_of_connect_with_the_close(nginx, client, worker):
    """webtransport-go closes with all three at once; STOP_SENDING is first."""
    ngx = nginx(passed(worker))
    async with client(ngx) as conn:
        session = await conn.session()
        backend = await worker.session()
        session.stop_raw(WT_SESSION_GONE)
        session.close(77, "bye")
        closed = await backend.closed()
        assert closed.by == pb.Closed.CLIENT
        assert (closed.code, closed.reason) == (77, "bye")


async def test_stop_of_connect_ends_the_session(nginx, client, worker):
    ngx = nginx(passed(worker))
    async with client(ngx) as conn:
        session = await conn.session()
        backend = await worker.session()
        session.stop(H3_REQUEST_CANCELLED)
        assert (await backend.closed()).by == pb.Closed.CLIENT
        await session.finished()


async def test_client_gives_up_before_the_worker_answers(nginx, client,
                                                         worker):
    worker.accept = None
    ngx = nginx(passed(worker))
    async with client(ngx) as conn:
        session = conn.connect()
        backend = await worker.session()
        session.reset(H3_REQUEST_CANCELLED)
        assert (await backend.closed()).by == pb.Closed.CLIENT
        await backend.end()
    await ngx.idle()


async def test_lost_connection_ends_its_sessions(nginx, client, worker):
    ngx = nginx(passed(worker))
    async with client(ngx) as conn:
        for _ in range(3):
            await conn.session()
    for _ in range(3):
        backend = await worker.session()
        closed = await backend.closed()
        assert closed.by in (pb.Closed.LOST, pb.Closed.CLIENT)
        assert closed.code == 0
    await ngx.logged(3, status="200")
    await ngx.idle()


ENDS = {
    "client closes": lambda session, backend: session.close(1, "bye"),
    "client finishes": lambda session, backend: session.fin(),
    "client resets": lambda session, backend: session.reset(0x10c),
    "worker closes": lambda session, backend: backend.send(w.close(1, "bye")),
    "worker aborts": lambda session, backend: backend.send(w.abort()),
}


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS.keys())
async def test_end_of_a_session_resets_its_streams(nginx, client, worker, end):
    ngx = nginx(passed(worker))
    async with client(ngx) as conn:
        session = await conn.session()
        backend = await worker.session()

        bidi, uni = session.open_bidi(), session.open_uni()
        half = session.open_bidi()
        half.write(b"half closed", True)
        for stream in (bidi, uni):
            stream.write(b"open")
        for _ in range(3):
            await backend.accept_stream()
        backend.send(w.open_bidi(5, b"bidi"), w.open_uni(7, b"uni"))
        their_bidi = await session.accept_bidi()
        their_uni = await session.accept_uni()

        end(session, backend)

        for stream in (bidi, half, their_bidi, their_uni):
            assert await stream.until_reset() == WT_SESSION_GONE
        for stream in (bidi, uni, their_bidi):
            assert await stream.until_stop() == WT_SESSION_GONE
        assert half.stop_code is None
        assert await (await conn.session()).outcome() == 200


async def test_nothing_is_sent_after_the_close(nginx, client, worker):
    ngx = nginx(passed(worker))
    async with client(ngx) as conn:
        session = await conn.session()
        backend = await worker.session()
        backend.send(w.close(3), w.open_uni(7, b"late", True),
                     w.datagram(b"late"))
        assert await session.closed() == (3, b"")
        await conn.ping()
        assert not session.incoming[True] and not session.datagrams


async def test_silent_client_is_reaped(nginx, client, worker):
    ngx = nginx("keepalive_timeout 2s;" + passed(worker))
    async with client(ngx) as conn:
        await conn.session()
        await conn.ping()
        conn.vanish()
    backend = await worker.session()
    assert (await backend.closed(20)).by == pb.Closed.LOST
    await ngx.idle(20)


async def test_silent_session_outlives_keepalive_timeout(nginx, client):
    ngx = nginx("keepalive_timeout 1s;" + ECHO)
    async with client(ngx) as conn:
        session = await conn.session()
        with pytest.raises(TimeoutError):
            await session.datagram(timeout=4)
        assert await session.echo() == b"ping"


# ---- other requests at the same time ----------------------------------------


async def test_ordinary_requests_on_the_same_connection(nginx, client):
    ngx = nginx("location /wt { webtransport_echo; }")
    async with client(ngx) as conn:
        session = await conn.session("/wt")

        async def requests():
            for _ in range(30):
                assert (await conn.request("GET", "/")).body == b"hello\n"

        async def echoes():
            for i in range(30):
                assert await session.echo(b"%d" % i) == b"%d" % i

        await asyncio.gather(requests(), echoes())


@pytest.mark.parametrize("option, version", [("--http1.1", "1.1"),
                                             ("--http2", "2")])
async def test_other_http_versions_on_the_same_server(nginx, client, option,
                                                      version):
    ngx = nginx("location /wt { webtransport_echo; }")
    async with client(ngx) as conn:
        session = await conn.session("/wt")
        stream = session.open_bidi()
        stream.write(b"before ")
        assert await ngx.curl("/", option) == (200, version, b"hello\n")
        stream.write(b"and after", True)
        assert await stream.read_all() == b"before and after"


async def test_streams_do_not_count_as_requests(nginx, client):
    ngx = nginx("keepalive_requests 10; location /wt { webtransport_echo; }")
    async with client(ngx) as conn:
        session = await conn.session("/wt")
        for i in range(50):
            assert await session.echo(b"%d" % i) == b"%d" % i
        assert conn.goaways == []
        assert (await conn.request("GET", "/")).status == 200


async def test_keepalive_time_does_not_end_a_session(nginx, client):
    ngx = nginx("keepalive_time 1s; location /wt { webtransport_echo; }")
    async with client(ngx) as conn:
        session = await conn.session("/wt")
        with pytest.raises(TimeoutError):
            await session.datagram(timeout=1.5)
        for i in range(5):
            assert await session.echo(b"%d" % i) == b"%d" % i


async def test_body_limits_do_not_apply(nginx, client):
    ngx = nginx("""
        client_max_body_size 1; client_body_timeout 1s;
        client_header_timeout 1s; send_timeout 1s;
    """ + ECHO)
    async with client(ngx) as conn:
        session = await conn.session()
        session.send_capsule(grease(), bytes(1000))
        with pytest.raises(TimeoutError):
            await session.datagram(timeout=2)
        assert await session.echo(bytes(5000)) == bytes(5000)


# ---- what is logged, and how much fits ---------------------------------------


async def test_log_lines_cannot_be_forged(nginx, client):
    ngx = nginx("location / { webtransport_echo; }")
    async with client(ngx) as conn:
        session = await conn.session()
        session.close(1, b"x\n2026/01/01 [emerg] forged")
        await session.closed()
        assert await conn.refused(protocol="a\nb forged") in (400, 501)
    await ngx.logged(2)
    assert "forged" not in ngx.error_log()


async def test_response_and_close_that_exceed_the_stream_buffer(
        nginx, client, worker):
    ngx = nginx("http3_stream_buffer_size 512;" + passed(worker))
    worker.accept = None
    async with client(ngx) as conn:
        session = conn.connect()
        backend = await worker.session()
        backend.send(w.accept(headers=[("x-long", b"a" * 3000)]))
        assert await session.outcome() == 200
        assert dict(session.headers)[b"x-long"] == b"a" * 3000
        backend.send(w.close(7, "r" * 1024))
        assert await session.closed() == (7, b"r" * 1024)


async def test_close_of_a_connection_is_no_error(nginx, client):
    ngx = nginx("location / { webtransport_echo; }")
    async with client(ngx) as conn:
        await conn.session()
    await ngx.idle()
    assert "[error]" not in ngx.error_log()


@pytest.mark.parametrize("path", ["/app", "/old"])
async def test_no_connect_reaches_other_handlers(nginx, client, worker, path):
    """Nor does a rewrite open a way."""
    ngx = nginx("""
        location / { webtransport_echo; }
        location /app { proxy_pass http://%s; proxy_request_buffering off; }
        location /old { rewrite ^ /app last; }
    """ % worker.address)
    async with client(ngx) as conn:
        assert await conn.refused(path) == 405
        assert not worker.sessions


async def test_mirror_does_not_wait_for_a_body(nginx, client):
    ngx = nginx("""
        location / { mirror /m; webtransport_echo; }
        location = /m { internal; return 204; }
    """)
    async with client(ngx) as conn:
        session = await conn.session()
        assert await session.echo() == b"ping"


async def test_precondition_of_a_connect_is_ignored(nginx, client, worker):
    ngx = nginx(passed(worker))
    async with client(ngx) as conn:
        session = await conn.session(headers=[("if-match", '"x"')])
        assert session.status == 200
