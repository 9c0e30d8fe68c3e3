"""What nginx -t says of configurations, right and wrong ones."""

import re

import pytest


def refused(nginx, server="", **kwargs):
    status, output = nginx.check(server, **kwargs)
    assert status != 0, output
    return output


def accepted(nginx, server="", **kwargs):
    status, output = nginx.check(server, **kwargs)
    assert status == 0, output
    return output


EVERYTHING = """
    webtransport_max_streams 10 20;
    webtransport_max_sessions 4;
    webtransport_max_datagram_size 1200;
    webtransport_origins https://a.test https://*.b.test self;
    webtransport_datagram_queue 16;
    webtransport_keepalive 15s;
    webtransport_idle_timeout 5m;
    webtransport_buffer_size 32k;
    webtransport_connect_timeout 1s;
    webtransport_accept_timeout 2s;
    webtransport_send_timeout 3s;
    webtransport_worker_timeout 0;
    webtransport_framing lines;
    webtransport_max_message_size 8k;
    webtransport_overflow close;
    webtransport_param name $remote_addr;
    webtransport_set_header X-User $remote_user;
    webtransport_next_upstream error timeout;
    webtransport_next_upstream_tries 2;
    webtransport_next_upstream_timeout 5s;
    webtransport_read_timeout 5s;
    webtransport_unary_timeout 0;
    webtransport_unary_error continue;
    webtransport_format protobuf;
    webtransport_grpc_keepalive 10m;
    webtransport_user $remote_user;
    webtransport_node edge-3;
    webtransport_ssl_verify on;
    webtransport_ssl_verify_depth 2;
    webtransport_ssl_trusted_certificate %CERTIFICATE%;
    webtransport_ssl_name $host;
    webtransport_ssl_server_name on;
    webtransport_ssl_certificate %CERTIFICATE%;
    webtransport_ssl_certificate_key %KEY%;
    webtransport_ssl_password_file %CERTIFICATE%;
    webtransport_ssl_protocols TLSv1.3;
    webtransport_ssl_ciphers HIGH;
"""


@pytest.fixture
def everything(certificate):
    return (EVERYTHING.replace("%CERTIFICATE%", str(certificate.path))
            .replace("%KEY%", str(certificate.key_path)))


@pytest.mark.parametrize("level", ["http", "server"])
@pytest.mark.parametrize("scheme", ["", "grpcs://"])
def test_every_directive_is_accepted_where_it_belongs(nginx, everything, level,
                                                      scheme):
    accepted(nginx, "location / { webtransport_pass %sunix:/run/app.sock; }"
             % scheme + (everything if level == "server" else ""),
             http=everything if level == "http" else "")


@pytest.mark.parametrize("scheme", ["", "https://"])
def test_locations_take_what_is_not_of_the_connection(nginx, everything,
                                                      scheme):
    lines = [line for line in everything.splitlines() if "_max_s" not in line
             and "_max_datagram" not in line]
    accepted(nginx, "location / { webtransport_pass %sunix:/run/app.sock;"
             % scheme + "\n".join(lines) + "}")


@pytest.mark.parametrize("address", [
    "unix:/run/app.sock", "127.0.0.1:9000", "[::1]:9000", "app"])
def test_workers_are_sockets_addresses_and_upstreams(nginx, address):
    accepted(nginx, "location / { webtransport_pass %s; }" % address,
             http="upstream app { server unix:/run/app.sock; }")


@pytest.mark.parametrize("scheme", ["grpc", "grpcs", "grpc+unary",
                                    "grpcs+unary", "http", "https", "GRPC"])
@pytest.mark.parametrize("address", [
    "unix:/run/app.sock", "127.0.0.1:9000", "127.0.0.1", "[::1]:9000", "app"])
def test_workers_may_have_urls(nginx, scheme, address):
    accepted(nginx, "location / { webtransport_pass %s://%s; }"
             % (scheme, address),
             http="upstream app { server unix:/run/app.sock; }")


@pytest.mark.parametrize("address", [
    "unix:/run/app.sock:/wt", "127.0.0.1:9000/wt?x=y", "app/", "app/a/b"])
def test_http_urls_may_have_uris(nginx, address):
    accepted(nginx, "location / { webtransport_pass http://%s; }" % address,
             http="upstream app { server unix:/run/app.sock; }")


def test_conf_commands_are_of_the_tls_library(nginx):
    """BoringSSL has none, and says so."""
    status, output = nginx.check(
        "location / { webtransport_pass grpcs://127.0.0.1:9000;"
        "webtransport_ssl_conf_command Options PrioritizeChaCha; }")
    assert status == 0 or "SSL_CONF_cmd() is not available" in output


@pytest.mark.parametrize("conf, message", [
    ("webtransport_max_streams 5;",
     'invalid number of arguments in "webtransport_max_streams"'),
    ("webtransport_max_streams 0 5;", 'invalid number of streams "0"'),
    ("webtransport_max_streams 5 many;", 'invalid number of streams "many"'),
    ("webtransport_max_streams 5 70000;", 'invalid number of streams "70000"'),
    ("webtransport_max_streams 5 5; webtransport_max_streams 6 6;",
     '"webtransport_max_streams" directive is duplicate'),
    ("webtransport_max_sessions 0;",
     "value must be between 1 and 65535"),
    ("webtransport_max_datagram_size 10;",
     "value must be between 64 and 65535"),
    ("webtransport_datagram_queue 0;", "value must be between 1 and 65535"),
    ("webtransport_keepalive 0;", 'invalid time "0" in '
     '"webtransport_keepalive", it must be "off" or between 100ms and 24d'),
    ("webtransport_keepalive on;", 'invalid time "on"'),
    ("webtransport_keepalive 99ms;", 'invalid time "99ms"'),
    ("webtransport_keepalive 25d;", 'invalid time "25d"'),
    ("webtransport_keepalive;", "invalid number of arguments"),
    ("webtransport_keepalive 1s; webtransport_keepalive off;",
     '"webtransport_keepalive" directive is duplicate'),
    ("webtransport_idle_timeout 0;",
     'invalid time "0" in "webtransport_idle_timeout"'),
    ("webtransport_idle_timeout -1s;", 'invalid time "-1s"'),
    ("webtransport_idle_timeout 1000y;", 'invalid time "1000y"'),
    ("webtransport_idle_timeout off; webtransport_idle_timeout off;",
     '"webtransport_idle_timeout" directive is duplicate'),
    ("webtransport_origins a.test;", 'invalid origin "a.test"'),
    ("webtransport_origins https://*.*.test;",
     'invalid origin "https://*.*.test"'),
    ("webtransport_origins *; webtransport_origins self;",
     '"webtransport_origins" directive is duplicate'),
    ("webtransport_buffer_size 1k;",
     '"webtransport_buffer_size" must be between 4096 and 16777216'),
    ("webtransport_buffer_size 1000m;",
     '"webtransport_buffer_size" must be between 4096 and 16777216'),
    ("webtransport_buffer_size big;",
     '"webtransport_buffer_size" directive invalid value'),
    ("webtransport_max_message_size 0;",
     '"webtransport_max_message_size" must be between 1 and'),
    ("webtransport_max_message_size 16m;",
     '"webtransport_max_message_size" must be between 1 and'),
    ("webtransport_framing json;", 'invalid value "json"'),
    ("webtransport_overflow drop;", 'invalid value "drop"'),
    ("webtransport_accept_timeout 0;",
     '"webtransport_accept_timeout"'),
    ("webtransport_connect_timeout never;",
     '"webtransport_connect_timeout" directive invalid value'),
    ("webtransport_param '' x;", '"webtransport_param" directive needs a '
     "name"),
    ("webtransport_param a $no_such_variable;",
     'unknown "no_such_variable" variable'),
    ("webtransport_set_header ':path' x;",
     'invalid header name ":path" in "webtransport_set_header"'),
    ("webtransport_set_header 'a b' x;",
     'invalid header name "a b" in "webtransport_set_header"'),
    ("webtransport_pass unix:/run/app.sock;",
     '"webtransport_pass" directive is not allowed here'),
    ("webtransport_echo;",
     '"webtransport_echo" directive is not allowed here'),
])
def test_wrong_values_are_named(nginx, conf, message):
    assert message in refused(nginx, conf)


@pytest.mark.parametrize("location, message", [
    ("webtransport_echo; webtransport_echo;",
     '"webtransport_echo" directive is duplicate'),
    ("webtransport_pass unix:/a; webtransport_pass unix:/b;",
     '"webtransport_pass" directive is duplicate'),
    ("webtransport_echo bytes;",
     'invalid parameter "bytes" of "webtransport_echo"'),
    ("webtransport_echo; webtransport_pass unix:/a;",
     '"webtransport_pass" directive contradicts "webtransport_echo"'),
    ("webtransport_pass unix:/a; webtransport_echo;",
     '"webtransport_echo" directive contradicts "webtransport_pass"'),
    ("webtransport_pass unix:/a; proxy_pass http://127.0.0.1;",
     '"webtransport_pass" contradicts another handler'),
    ("webtransport_pass ftp://a;", 'unsupported scheme in '
     '"webtransport_pass ftp://a"'),
    ("webtransport_pass grpc://;", "unsupported scheme"),
    ("webtransport_pass grpc+http://a;", "unsupported scheme"),
    ("webtransport_pass grpc://127.0.0.1/uri;", "invalid host"),
    ("webtransport_pass http://$backend;", "does not take variables"),
    ("webtransport_pass unix:/a; webtransport_read_timeout 0;",
     '"webtransport_read_timeout" must not be 0'),
    ("webtransport_pass unix:/a; webtransport_next_upstream http_500;",
     'invalid value "http_500"'),
    ("webtransport_pass unix:/a; webtransport_unary_error retry;",
     'invalid value "retry"'),
    ("webtransport_pass unix:/a; webtransport_format xml;",
     'invalid value "xml"'),
    ("webtransport_pass unix:/a; webtransport_user $nothing;",
     'unknown "nothing" variable'),
    ("webtransport_pass grpcs://127.0.0.1; webtransport_ssl_verify on;",
     '"webtransport_ssl_verify on" needs '
     '"webtransport_ssl_trusted_certificate"'),
    ("webtransport_pass https://127.0.0.1; webtransport_ssl_certificate a;",
     '"webtransport_ssl_certificate a" needs'),
    ("webtransport_pass https://127.0.0.1; webtransport_ssl_protocols SSLv3;",
     'invalid value "SSLv3"'),
    ("webtransport_pass https://127.0.0.1; webtransport_ssl_verify on;"
     "webtransport_ssl_trusted_certificate /nonexistent;", "/nonexistent"),
    ("webtransport_pass unix:;", "no path in the unix domain socket"),
    ("webtransport_pass $backend;", "does not take variables"),
    ("webtransport_pass nowhere;", 'no port in upstream "nowhere"'),
    ("webtransport on;", '"webtransport" directive is not allowed here'),
    ("webtransport_max_sessions 5;",
     '"webtransport_max_sessions" directive is not allowed here'),
])
def test_wrong_locations_are_named(nginx, location, message):
    assert message in refused(nginx, "location / { %s }" % location)


@pytest.mark.parametrize("directive", ["webtransport_echo",
                                       "webtransport_pass unix:/a"])
def test_location_needs_webtransport_on(nginx, directive):
    output = refused(nginx, "location / { %s; }" % directive,
                     webtransport=False)
    assert '"%s" needs "webtransport on"' % directive.split()[0] in output


def test_webtransport_is_on_or_off(nginx):
    output = refused(nginx, "webtransport yes;", webtransport=False)
    assert 'invalid value "yes" in "webtransport" directive' in output


def test_webtransport_needs_http3(nginx):
    output = refused(nginx, http="server { listen 127.0.0.1:%PORT% ssl; "
                     "server_name x; http3 off; webtransport on; }")
    assert '"webtransport on" needs HTTP/3' in output


def test_budget_of_connections_is_warned_about(nginx):
    output = accepted(nginx, "webtransport_max_streams 300 300;",
                      connections=1000)
    assert ('a single client can take 607 of 1000 "worker_connections"'
            in output)

    output = accepted(nginx, "webtransport_max_streams 100 100;",
                      connections=1000)
    assert "worker_connections" not in output


def test_configuration_without_webtransport_is_untouched(nginx):
    accepted(nginx, "location / { return 200; }", webtransport=False)


def test_http_may_come_before_events(nginx):
    def swapped(ngx):
        events, http = re.split("(?=^http)", ngx.conf.partition("events")[2],
                                maxsplit=1, flags=re.M)
        return (ngx.conf.partition("events")[0] + http + "events" + events)

    status, output = nginx.check("location / { webtransport_echo; }",
                                 edit=swapped)
    assert status == 0, output
