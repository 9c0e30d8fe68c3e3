"""TLS to workers: grpcs://, grpcs+unary://, https://."""

import asyncio

import pytest

from lib.certificate import Authority
from lib.sessions import echoed, refused
from lib.worker import passed, server, upstream

pytestmark = pytest.mark.kinds("grpc", "unary", "http_backend")

# with sockets of Python, which tell more of a connection
h2 = pytest.mark.kinds("h2")

WRONG = "certificate.*(is not trusted|verify error)"
WRONG_NAME = "certificate.*(is not for|does not match)"


def trusting(authority, more=""):
    return f"""webtransport_ssl_verify on;
        webtransport_ssl_trusted_certificate {authority.path}; {more}"""


async def distrusted(ngx, client, reason):
    """The session is refused; the log tells why, though perhaps without its
    id: connections may be shared."""
    await refused(ngx, client, 502, ".*(no worker could be reached|TLS hand)")
    await ngx.wait_log(rf"\[error\].*{reason}")


async def works(ngx, client, worker):
    async with client(ngx) as conn:
        session = await conn.session()
        await echoed(session, await worker.session())
        session.close()
        await session.closed()


@pytest.fixture
def strange(tmp_path):
    """An authority that nobody trusts."""
    return Authority(tmp_path, "strange")


@pytest.mark.parametrize("tcp", [False, True], ids=["local", "port"])
async def test_without_verification(nginx, client, workers, authority, tcp):
    """Which is the default, as in nginx's other modules."""
    worker = await workers(tcp=tcp, tls=authority.issue("any.test"))
    ngx = nginx(passed(worker))
    await works(ngx, client, worker)
    assert "[error]" not in ngx.error_log()


async def test_name_of_the_upstream_is_verified(nginx, client, workers,
                                                authority):
    worker = await workers(tls=authority.issue("workers"))
    ngx = nginx(passed(worker.passed_as("workers"), trusting(authority)),
                http=upstream(server(worker)))
    await works(ngx, client, worker)


@pytest.mark.parametrize("name, good", [
    ("app.test", True), ("APP.test", True), ("$arg_none.app.test", False),
    ("other.test", False)])
async def test_name(nginx, client, workers, authority, name, good):
    worker = await workers(tls=authority.issue("app.test", "x.test"))
    more = trusting(authority, f"webtransport_ssl_name {name};")
    ngx = nginx(passed(worker, more))
    if good:
        await works(ngx, client, worker)
    else:
        await distrusted(ngx, client, WRONG_NAME)
        assert not worker.sessions


async def test_authority_nobody_trusts(nginx, client, workers, authority,
                                       strange):
    worker = await workers(tls=strange.issue("app.test"))
    more = trusting(authority, "webtransport_ssl_name app.test;")
    ngx = nginx(passed(worker, more))
    await distrusted(ngx, client, WRONG)
    assert not worker.sessions


@pytest.mark.parametrize("depth, good", [(1, False), (3, True)])
@pytest.mark.kinds("http_backend")
async def test_depth_of_a_chain(nginx, client, workers, authority, tmp_path,
                                depth, good):
    middle = Authority(tmp_path, "middle", authority)
    lower = Authority(tmp_path, "lower", middle)
    worker = await workers(tls=lower.issue("app.test"))
    more = trusting(authority, f"""webtransport_ssl_name app.test;
        webtransport_ssl_verify_depth {depth};""")
    ngx = nginx(passed(worker, more))
    if good:
        await works(ngx, client, worker)
    else:
        await distrusted(ngx, client, WRONG)


async def test_expired_certificate(nginx, client, workers, authority):
    worker = await workers(tls=authority.issue("app.test", days=-1))
    more = trusting(authority, "webtransport_ssl_name app.test;")
    ngx = nginx(passed(worker, more))
    await distrusted(ngx, client, WRONG + ".*expired")


@pytest.mark.parametrize("revoked", [False, True])
async def test_revoked_certificate(nginx, client, workers, authority,
                                   revoked):
    certificate = authority.issue("app.test")
    worker = await workers(tls=certificate)
    crl = authority.revoke(*[certificate] if revoked else [])
    more = trusting(authority, f"""webtransport_ssl_name app.test;
        webtransport_ssl_crl {crl};""")
    ngx = nginx(passed(worker, more))
    if revoked:
        await distrusted(ngx, client, WRONG + ".*revoked")
    else:
        await works(ngx, client, worker)


@pytest.mark.parametrize("how", ["right", "password", "none", "wrong"])
async def test_certificate_of_nginx(nginx, client, workers, authority,
                                    strange, tmp_path, how):
    worker = await workers(tls=authority.issue("app.test"),
                           client_ca=authority.path)
    password = b"secret" if how == "password" else None
    issuer = strange if how == "wrong" else authority
    own = issuer.issue("nginx.test", password=password)
    more = "" if how == "none" else f"""
        webtransport_ssl_certificate {own.path};
        webtransport_ssl_certificate_key {own.key_path};"""
    if password:
        (tmp_path / "passwords").write_bytes(password + b"\n")
        more += f"webtransport_ssl_password_file {tmp_path}/passwords;"
    ngx = nginx(passed(worker, more))
    if how in ("right", "password"):
        await works(ngx, client, worker)
    else:
        async with client(ngx) as conn:
            assert await conn.refused() == 502
        await ngx.wait_log(r"\[error\].*webtransport session ")
        assert not worker.sessions


async def test_worker_without_tls(nginx, client, worker):
    plain = worker.passed
    worker.tls = True
    assert worker.passed != plain
    ngx = nginx(passed(worker, "webtransport_connect_timeout 300ms;"))
    async with client(ngx) as conn:
        # one that knows only HTTP/1.1 waits for the end of a line
        assert await conn.refused() in (502, 504)
    await ngx.wait_log(r"\[error\].*TLS hand")


async def test_tls_worker_without_tls_in_nginx(nginx, client, workers,
                                               authority):
    worker = await workers(tls=authority.issue("app.test"))
    worker.tls = None
    ngx = nginx(passed(worker, "webtransport_accept_timeout 1s;"
                               "webtransport_read_timeout 1s;"))
    async with client(ngx) as conn:
        assert await conn.refused() in (502, 504)


@pytest.mark.parametrize("scheme", ["grpcs://", "grpcs+unary://", "https://"])
@pytest.mark.kinds("raw")
async def test_silence_in_the_handshake(nginx, client, workers, scheme):
    async def script(reader, writer):
        await reader.read()

    silent = await workers(script=script, scheme=scheme)
    ngx = nginx(passed(silent, "webtransport_connect_timeout 300ms;"))
    line = await refused(ngx, client, 504, ".*")
    assert float(line["time"]) < 3


@pytest.mark.parametrize("scheme", ["grpcs://", "grpcs+unary://", "https://"])
@pytest.mark.kinds("raw")
async def test_client_leaves_in_the_handshake(nginx, client, workers, scheme):
    async def script(reader, writer):
        await reader.read()

    silent = await workers(script=script, scheme=scheme)
    ngx = nginx(passed(silent))
    async with client(ngx) as conn:
        conn.connect()
        await ngx.until(lambda: silent.connections, "a connection")
    await ngx.idle()


# ---- what the worker sees ---------------------------------------------------


def sockets(worker):
    return [conn.writer.get_extra_info("ssl_object")
            for conn in worker.connections]


@h2
async def test_alpn(nginx, client, workers, authority):
    worker = await workers(tls=authority.issue("app.test"))
    ngx = nginx(passed(worker))
    async with client(ngx) as conn:
        await conn.session()
        call = await worker.session()
        assert sockets(worker)[0].selected_alpn_protocol() == "h2"
        assert call.header(":scheme") == "https"


@pytest.mark.parametrize("alpn", [[], ["http/1.1"]], ids=["none", "http/1.1"])
@h2
async def test_worker_without_h2(nginx, client, workers, authority, alpn):
    """No ALPN is no HTTP/2."""
    worker = await workers(tls=authority.issue("app.test"), absent=True)
    worker.context.set_alpn_protocols(alpn)
    await worker.start()
    ngx = nginx(passed(worker))
    await distrusted(ngx, client, "ALPN")


@pytest.mark.parametrize("more, name", [
    ("", None),
    ("webtransport_ssl_server_name on;", "localhost"),
    ("webtransport_ssl_server_name on; webtransport_ssl_name app.test;",
     "app.test"),
    ("webtransport_ssl_server_name on; webtransport_ssl_name $host;",
     "localhost"),
    ("webtransport_ssl_server_name on; webtransport_ssl_name app.test:443;",
     "app.test"),
    ("webtransport_ssl_server_name on; webtransport_ssl_name 127.0.0.1;",
     None)])
@pytest.mark.kinds("h2", "http_backend")
async def test_server_name(nginx, client, workers, authority, more, name):
    worker = await workers(tls=authority.issue("app.test"), absent=True)
    names = []

    def seen(sock, server_name, context):
        names.append(server_name)

    worker.context.sni_callback = seen
    await worker.start()
    ngx = nginx(passed(worker, more))
    async with client(ngx) as conn:
        await conn.session()
    assert names == [name]


@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
@h2
async def test_protocols(nginx, client, workers, authority, version):
    worker = await workers(tls=authority.issue("app.test"))
    ngx = nginx(passed(worker, f"webtransport_ssl_protocols {version};"))
    async with client(ngx) as conn:
        await conn.session()
        assert sockets(worker)[0].version() == version


@h2
async def test_ciphers(nginx, client, workers, authority):
    worker = await workers(tls=authority.issue("app.test"))
    ngx = nginx(passed(worker, """webtransport_ssl_protocols TLSv1.2;
        webtransport_ssl_ciphers ECDHE-ECDSA-AES128-GCM-SHA256;"""))
    async with client(ngx) as conn:
        await conn.session()
        assert sockets(worker)[0].cipher()[0] == (
            "ECDHE-ECDSA-AES128-GCM-SHA256")


@h2
async def test_names_do_not_share_a_connection(nginx, client, workers,
                                               authority):
    """A connection that was verified for one name is not for another."""
    worker = await workers(tls=authority.issue("a.test", "b.test"))
    more = trusting(authority, "webtransport_ssl_name $arg_name;")
    ngx = nginx(passed(worker, more))
    async with client(ngx) as conn:
        for name in ("a.test", "b.test", "a.test"):
            session = await conn.session(f"/?name={name}")
            await echoed(session, await worker.session())
        assert await conn.refused("/?name=c.test") == 502
    assert len({call.conn for call in worker.calls}) == 2


@h2
async def test_locations_with_other_rules_do_not_share(nginx, client, workers,
                                                       authority):
    """Nor is one that nobody verified for a location that verifies."""
    worker = await workers(tls=authority.issue("app.test"))
    checked = passed(worker, trusting(
        authority, "webtransport_ssl_name other.test;"))
    ngx = nginx(passed(worker) + checked.replace("/", "/checked", 1))
    async with client(ngx) as conn:
        await conn.session()
        assert await conn.refused("/checked") == 502


@pytest.mark.parametrize("keepalive", ["", "keepalive 4;"],
                         ids=["module", "directive"])
@pytest.mark.kinds("http_backend")
async def test_connections_are_kept(nginx, client, workers, authority,
                                    keepalive):
    worker = await workers(tls=authority.issue("app.test"))
    ngx = nginx(passed(worker.passed_as("workers")),
                http=upstream(server(worker), keepalive))
    async with client(ngx) as conn:
        session = await conn.session()
        backend = await worker.session()
        for _ in range(10):
            await echoed(session, backend)
    assert worker.connections <= 2 < len(backend.calls)
    assert "[error]" not in ngx.error_log()


@pytest.mark.parametrize("how", ["close", "abort"])
@pytest.mark.kinds("http_backend")
async def test_worker_closes_idle_connections(nginx, client, workers,
                                              authority, how):
    worker = await workers(tls=authority.issue("app.test"))
    ngx = nginx(passed(worker))
    async with client(ngx) as conn:
        session = await conn.session()
        backend = await worker.session()
        for _ in range(3):
            await backend.settle()
            await conn.ping()
            for writer in list(worker.open):
                getattr(writer if how == "close" else writer.transport, how)()
            await conn.ping()
            await echoed(session, backend)
        seqs = [call.seq for call in backend.calls]
        assert len(seqs) == len(set(seqs))
    assert worker.connections == 4
    assert "[error]" not in ngx.error_log()


@pytest.mark.kinds("http_backend")
async def test_idle_connections_do_not_outlive_nginx(nginx, client, workers,
                                                     authority):
    worker = await workers(tls=authority.issue("app.test"))
    ngx = nginx(passed(worker))
    await works(ngx, client, worker)
    assert worker.open
    await asyncio.to_thread(ngx.stop)
    await ngx.until(lambda: not worker.open, "connections to be closed")


async def come_and_gone(conn, worker, path):
    """A session; what is left of it is a connection."""
    session = await conn.session(path)
    backend = await worker.session()
    await backend.settle()
    session.close()
    await backend.closed()
    await conn.ping()


@pytest.mark.parametrize("keepalive", ["", "keepalive 4;"],
                         ids=["module", "directive"])
@pytest.mark.kinds("http_backend")
async def test_names_do_not_share_a_kept_connection(
        nginx, client, workers, authority, keepalive):
    worker = await workers(tls=authority.issue("a.test", "b.test"))
    more = trusting(authority, "webtransport_ssl_name $arg_name;")
    ngx = nginx(passed(worker.passed_as("workers"), more),
                http=upstream(server(worker), keepalive))
    async with client(ngx) as conn:
        for name in ("a.test", "b.test"):
            await come_and_gone(conn, worker, f"/?name={name}")
        assert await conn.refused("/?name=c.test") == 502


@pytest.mark.parametrize("keepalive", ["", "keepalive 4;"],
                         ids=["module", "directive"])
@pytest.mark.kinds("http_backend")
async def test_locations_with_other_rules_do_not_share_kept_connections(
        nginx, client, workers, authority, keepalive):
    worker = await workers(tls=authority.issue("app.test"))
    name = worker.passed_as("workers")
    checked = passed(name, trusting(
        authority, "webtransport_ssl_name other.test;"))
    ngx = nginx(passed(name) + checked.replace("/", "/checked", 1),
                http=upstream(server(worker), keepalive))
    async with client(ngx) as conn:
        await come_and_gone(conn, worker, "/")
        assert worker.open
        assert await conn.refused("/checked") == 502
        await come_and_gone(conn, worker, "/")


async def test_much_over_tls(nginx, client, workers, authority):
    worker = await workers(tls=authority.issue("app.test"))
    ngx = nginx(passed(worker))
    async with client(ngx) as conn:
        session = await conn.session()
        backend = await worker.session()
        await echoed(session, backend, bytes(range(256)) * 200)
        stream = session.open_uni()
        data = bytes(range(256)) * 2000
        sender = asyncio.create_task(stream.send(data, True))
        assert await backend.read_all(6) == data
        await sender
