"""Batches of a session: the requests that stand in for its own with nginx's
balancers and variables, answers that have to wait, and long sessions."""

import asyncio
import re
import signal
import time

import pytest

from lib import worker as w
from lib.sessions import echoed, take
from lib.worker import passed, pb, server, upstream

pytestmark = pytest.mark.kinds("http_backend", "unary")


async def pool(workers, count=3):
    first = await workers()
    return [first] + [await workers(pool=first) for _ in range(count - 1)]


def balanced(nginx, three, balancer, more="", where="location / "):
    return nginx(passed(three[0].passed_as("workers"), more)
                 .replace("location / ", where, 1),
                 http=upstream(*map(server, three), more=balancer))


def takers(three, id):
    """Which workers got batches of a session."""
    return [i for i, worker in enumerate(three)
            if any(call.batch.session_id == id for call in worker.calls)]


# ---- requests that stand in -------------------------------------------------


async def test_balancer_by_session(nginx, client, workers):
    """All batches of a session, the last one included, go to one worker."""
    three = await pool(workers)
    ngx = balanced(nginx, three, "hash $webtransport_session_id consistent;")
    async with client(ngx) as conn:
        used = set()
        for _ in range(8):
            session = await conn.session()
            backend = await three[0].session()
            await echoed(session, backend)
            session.send_datagram(b"x")
            await backend.find("datagram")
            session.close()
            await backend.closed()
            place, = takers(three, backend.id)
            used.add(place)
        assert len(used) > 1


KEYS = {
    "argument": "$arg_room",
    "header": "$http_room",
    "cookie": "$cookie_room",
    "set": "$room",
    "map": "$mapped",
    "regular expression": "$name",
    "arguments": "$uri$is_args$args",
    "request": "$request_uri",
    "first line": "$request",
}


@pytest.mark.parametrize("key", KEYS.values(), ids=KEYS)
async def test_balancer_by_what_the_client_sent(nginx, client, workers, key):
    three = await pool(workers)
    ngx = nginx(
        passed(three[0].passed_as("workers"), "set $room $arg_room;")
        .replace("location / ", "location ~ ^/(?<name>[a-z]*) ", 1),
        http=upstream(*map(server, three), more=f"hash {key};")
        + "map $arg_room $mapped { default x$arg_room; }")
    places = {}
    async with client(ngx) as conn:
        for room in "abcdefgh" * 2:
            session = await conn.session(
                f"/{room}?room={room}",
                headers=[("room", room), ("cookie", f"a=b; room={room}")])
            backend = await three[0].session()
            await echoed(session, backend)
            session.close()
            await backend.closed()
            place, = takers(three, backend.id)
            assert places.setdefault(room, place) == place
    assert len(set(places.values())) > 1


@pytest.mark.parametrize("balancer", [
    "ip_hash;", "least_conn;", "random;", "random two least_conn;",
    "zone z 64k;", "zone z 64k; least_conn; keepalive 4;",
    "hash $binary_remote_addr$remote_port;", "hash $request_id;"])
async def test_balancers(nginx, client, workers, balancer):
    three = await pool(workers)
    ngx = balanced(nginx, three, balancer)
    async with client(ngx) as conn:
        session = await conn.session()
        backend = await three[0].session()
        for _ in range(5):
            await echoed(session, backend)
        if "hash" in balancer and "request_id" not in balancer:
            assert len(takers(three, backend.id)) == 1
        session.close()
        await backend.closed()
    await ngx.idle()


VARIABLES = """http_host http_user_agent http_referer http_via
    http_x_forwarded_for http_cookie content_length content_type host
    binary_remote_addr remote_addr remote_port proxy_protocol_addr
    proxy_protocol_port proxy_protocol_server_addr proxy_protocol_server_port
    server_addr server_port server_protocol scheme https request_uri uri
    document_uri request document_root realpath_root query_string args is_args
    request_filename server_name request_method remote_user bytes_sent
    body_bytes_sent pipe request_completion request_body request_body_file
    request_length request_time request_id status sent_http_content_type
    sent_http_content_length sent_http_location sent_http_last_modified
    sent_http_connection sent_http_keep_alive sent_http_transfer_encoding
    sent_http_cache_control sent_http_link limit_rate connection
    connection_requests connection_time nginx_version hostname pid msec
    time_iso8601 time_local tcpinfo_rtt tcpinfo_rttvar http3 ssl_protocol
    ssl_cipher ssl_session_id ssl_client_verify ssl_server_name
    ssl_client_cert upstream_addr upstream_status upstream_response_time
    upstream_http_x upstream_cookie_x upstream_trailer_x upstream_bytes_sent
    proxy_host proxy_port proxy_add_x_forwarded_for arg_x cookie_x http_x
    sent_http_x sent_trailer_x webtransport_session_id webtransport_protocol
    webtransport_draft webtransport_streams_in webtransport_bytes_out
    webtransport_close_code webtransport_close_by webtransport_duration
    webtransport_backend""".split()


async def test_any_variable_may_be_asked_for(nginx, client, workers):
    three = await pool(workers, 2)
    key = "|".join("${%s}" % name for name in VARIABLES)
    ngx = nginx(passed(three[0].passed_as("workers")),
                http=upstream(*map(server, three), more=f'hash "{key}";'))
    async with client(ngx) as conn:
        session = await conn.session("/x?y", headers=[
            ("x", "1"), ("cookie", "x=y"), ("authorization", "Basic YTpi")])
        backend = await three[0].session()
        for _ in range(3):
            await echoed(session, backend)
        session.send_datagram(b"x")
        await backend.find("datagram")
        session.close()
        await backend.closed()
    await ngx.idle()


async def test_another_location_after_a_refusal(nginx, client, workers):
    """The access log has the peers of both."""
    first, second = await workers(), await workers()
    first.accept = [w.reject(503)]
    ngx = nginx(passed(first, "error_page 503 = @other;")
                + passed(second).replace("/", "@other", 1),
                http="""log_format up '$upstream_addr|$upstream_status|'
                        '$webtransport_backend';
                        access_log %DIR%/upstream.log up;""")
    async with client(ngx) as conn:
        session = await conn.session()
        await echoed(session, await second.session())
    line = await ngx.until((ngx.dir / "upstream.log").read_text, "the log")
    assert line == (f"{first.address} : {second.address}|503 : 200|"
                    f"{second.address}\n")


async def test_log_of_the_first_call(nginx, client, workers, socket_dir):
    absent = socket_dir / "absent"
    worker = await workers()
    ngx = nginx(passed(worker.passed_as("workers")),
                http=upstream(f"server unix:{absent};",
                              server(worker, "backup"))
                + """log_format up '$upstream_addr|$upstream_status|'
                     '$upstream_connect_time|$upstream_header_time|'
                     '$upstream_response_time|$webtransport_backend';
                     access_log %DIR%/upstream.log up;""")
    async with client(ngx) as conn:
        session = await conn.session()
        backend = await worker.session()
        for _ in range(20):
            await echoed(session, backend)
    line = await ngx.until((ngx.dir / "upstream.log").read_text, "the log")
    address, status, connect, header, response, name = line.strip().split("|")
    assert address == f"unix:{absent}, {worker.address}"
    assert status == "502, 200"
    assert re.fullmatch(r"-, 0\.\d{3}", connect)
    assert re.fullmatch(r"-, \d\.\d{3}", header)
    assert re.fullmatch(r"\d\.\d{3}, \d\.\d{3}", response)
    assert name == worker.address


# ---- answers that wait ------------------------------------------------------


async def test_results_of_many_commands(nginx, client, worker):
    """More than fit into the buffer: they go out with several batches, while
    the commands behind them wait."""
    ngx = nginx(passed(worker, "webtransport_buffer_size 4k;"))
    async with client(ngx) as conn:
        session = await conn.session()
        backend = await worker.session()
        for i in range(5):
            backend.send(*[w.command(1 + n, datagram=pb.Datagram(data=b"x"))
                           for n in range(400 * i, 400 * i + 400)])
        ids = [(await backend.find("result")).id for _ in range(2000)]
        assert ids == list(range(1, 2001))
        await echoed(session, backend)
    await ngx.idle()


async def test_results_while_a_client_does_not_read(nginx, client, worker):
    """One of both is what commands wait for, then the other."""
    ngx = nginx(passed(worker, "webtransport_buffer_size 4k;"))
    async with client(ngx, window=1000) as conn:
        session = await conn.session()
        backend = await worker.session()
        backend.send(w.data_(0, bytes(30000), open=pb.UNI),
                     *[w.command(1 + n, datagram=pb.Datagram(data=b"x"))
                       for n in range(1000)])
        stream = await session.accept_uni()
        for _ in range(5):
            session.send_datagram(b"not stopped")
            await backend.find("datagram")
        await take(stream, 30000)
        ids = [(await backend.find("result")).id for _ in range(1000)]
        assert ids == list(range(1, 1001))
        await echoed(session, backend)
    await ngx.idle()


async def test_close_while_commands_wait(nginx, client, worker):
    ngx = nginx(passed(worker, "webtransport_buffer_size 4k;"))
    async with client(ngx, window=1000) as conn:
        session = await conn.session()
        backend = await worker.session()
        backend.send(w.data_(0, bytes(30000), open=pb.UNI),
                     w.data_(0, bytes(30000), open=pb.UNI))
        await session.accept_uni()
        session.close(3, "bye")
        assert (await backend.closed()).reason == "bye"
    await ngx.idle()


# ---- long sessions ----------------------------------------------------------


async def test_long_sessions_do_not_grow(nginx, client, worker, build):
    ngx = nginx(passed(worker))
    async with client(ngx) as conn:
        session = await conn.session()
        backend = await worker.session()

        async def some(count):
            for i in range(count):
                session.send_datagram(b"x" * 500)
                await backend.find("datagram")

        await some(100)
        before = ngx.rss()
        await some(1000)
        if not build.sanitized:
            assert ngx.rss() - before < 1 << 20


async def test_end_while_a_batch_is_tried_again(nginx, client, worker):
    """The batch comes, and then the last one."""
    ngx = nginx(passed(worker))
    async with client(ngx) as conn:
        session = await conn.session()
        backend = await worker.session()
        await backend.settle()
        await worker.stop()
        stream = session.open_uni()
        stream.write(b"late", True)
        await ngx.wait_log("will be repeated")
        session.close(3, "bye")
        await session.closed()
        await worker.start()
        assert await backend.read_all(6) == b"late"
        assert (await backend.closed()).code == 3
        seqs = [call.seq for call in backend.calls]
        assert seqs == sorted(set(seqs))
    await ngx.idle()


async def test_reload_and_a_worker_that_is_down(nginx, client, worker):
    """A session of the old process goes on: it is tried as long as ever."""
    # the old process may not hear that the client has gone
    ngx = nginx("keepalive_timeout 4s;" + passed(worker))
    async with client(ngx) as conn:
        session = await conn.session()
        backend = await worker.session()
        await backend.settle()
        await worker.stop()
        stream = session.open_uni()
        stream.write(b"late", True)
        await ngx.wait_log("will be repeated")
        ngx.signal(signal.SIGHUP)
        await ngx.wait_log("gracefully shutting down")
        failures = ngx.error_log().count("failed at worker")
        await ngx.until(lambda: ngx.error_log().count("failed at worker")
                        > failures, "another attempt")
        await worker.start()
        assert await backend.read_all(6) == b"late"


async def test_exit_does_not_wait_for_a_worker_that_hangs(nginx, client,
                                                          worker):
    ngx = nginx(passed(worker))
    async with client(ngx) as conn:
        session = await conn.session()
        backend = await worker.session()
        await backend.settle()
        backend.pause()
        session.close(3, "bye")
        await session.closed()
    start = time.monotonic()
    await asyncio.to_thread(ngx.stop)
    assert time.monotonic() - start < 8
    assert "Closed could not be delivered" in ngx.error_log()
