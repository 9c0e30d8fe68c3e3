"""The echo server of the benchmark on aioquic: /echo, /discard, /generate.

    aioquic_echo.py --listen 127.0.0.1:PORT --cert FILE --key FILE
    aioquic_echo.py --version
"""

import argparse
import asyncio
import importlib.metadata
import platform

from aioquic.asyncio import QuicConnectionProtocol, serve
from aioquic.h3.connection import H3_ALPN, H3Connection
from aioquic.h3.events import (DatagramReceived, HeadersReceived,
                               WebTransportStreamDataReceived)
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import ProtocolNegotiated

PERIOD = 251        # byte i of a generated stream is i % PERIOD
IDLE_SECONDS = 600  # sessions are silent while their memory is measured
WINDOW = 1 << 20    # aioquic's defaults


class Server(QuicConnectionProtocol):

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self._http = None
        self._paths = {}        # of sessions
        self._answers = {}      # the client's streams: the stream to answer on
        self._requests = {}     # of /generate: what has come of a number

    def quic_event_received(self, event):
        if isinstance(event, ProtocolNegotiated):
            self._http = H3Connection(self._quic, enable_webtransport=True)
        if self._http is not None:
            for http_event in self._http.handle_event(event):
                self._http_event_received(http_event)

    def _http_event_received(self, event):
        if isinstance(event, DatagramReceived):
            if self._paths.get(event.stream_id) == b"/echo":
                self._http.send_datagram(event.stream_id, event.data)
        elif isinstance(event, WebTransportStreamDataReceived):
            path = self._paths.get(event.session_id)
            if path is not None:
                HANDLERS[path](self, event)
        elif isinstance(event, HeadersReceived):
            self._answer(event.stream_id, dict(event.headers))

    def _answer(self, stream_id, headers):
        path = headers.get(b":path")
        known = (headers.get(b":protocol") == b"webtransport"
                 and path in HANDLERS)
        if known:
            self._paths[stream_id] = path
        self._http.send_headers(
            stream_id, [(b":status", b"200" if known else b"404"),
                        (b"sec-webtransport-http3-draft", b"draft02")],
            end_stream=not known)

    def _echo(self, event):
        if event.stream_id & 2 == 0:
            answer = event.stream_id
        else:
            answer = self._answers.get(event.stream_id)
            if answer is None:
                answer = self._http.create_webtransport_stream(
                    event.session_id, is_unidirectional=True)
                self._answers[event.stream_id] = answer
            if event.stream_ended:
                del self._answers[event.stream_id]
        self._quic.send_stream_data(answer, event.data, event.stream_ended)

    def _discard(self, event):
        if event.stream_ended:
            self._quic.send_stream_data(event.stream_id, b"", True)

    def _generate(self, event):
        digits = self._requests.pop(event.stream_id, b"") + event.data
        if not event.stream_ended:
            self._requests[event.stream_id] = digits
            return
        count = int(digits)
        pattern = bytes(range(PERIOD)) * (count // PERIOD + 1)
        self._quic.send_stream_data(event.stream_id, pattern[:count], True)


HANDLERS = {b"/echo": Server._echo, b"/discard": Server._discard,
            b"/generate": Server._generate}


async def main(options):
    configuration = QuicConfiguration(
        alpn_protocols=H3_ALPN, is_client=False, max_datagram_frame_size=65536,
        idle_timeout=IDLE_SECONDS, max_data=WINDOW, max_stream_data=WINDOW)
    configuration.load_cert_chain(options.cert, options.key)
    host, _, port = options.listen.rpartition(":")
    await serve(host, int(port), configuration=configuration,
                create_protocol=Server)
    print("ready", flush=True)
    await asyncio.get_running_loop().create_future()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--listen")
    parser.add_argument("--cert")
    parser.add_argument("--key")
    parser.add_argument("--version", action="store_true")
    arguments = parser.parse_args()
    if arguments.version:
        print(f"Python {platform.python_version()}, "
              f"aioquic {importlib.metadata.version('aioquic')}")
    else:
        asyncio.run(main(arguments))
