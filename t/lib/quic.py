"""aioquic's connection with the tests' own ideas about a few things.

 - Flow control follows what the test has read, so that a client that does not
   read looks like one; aioquic itself grants whatever arrives.
 - Any transport parameter, any frame, any stream id can be sent.
 - STOP_SENDING is answered with the same code, as browsers do.
 - A FIN is not lost.
 - What the server sent is kept: transport parameters, what packets had in
   them, STREAM frames, limits of streams.
"""

from collections import Counter, defaultdict, deque

from aioquic.quic import events
from aioquic.quic.connection import (
    CONNECTION_LIMIT_FRAME_CAPACITY,
    MAX_STREAM_DATA_FRAME_CAPACITY,
    QuicConnection,
)
from aioquic.quic.packet import QuicFrameType, pull_ack_frame
from aioquic.tls import Epoch

from lib.wire import read_varint, varint

# type, stream id, offset, length
STREAM_FRAME_OVERHEAD = 1 + 8 + 8 + 2


class Quic(QuicConnection):

    def __init__(self, *, parameters, window, streams, pacing, **kwargs):
        """parameters: extra or replaced transport parameters, id to bytes
        window: bytes that the server may send ahead, per stream
        streams: (bidi, uni) that the server may have open at first
        pacing: False to send everything at once
        """
        super().__init__(**kwargs)

        self.own_parameters = parameters
        self.peer_parameters = {}

        self.window = window
        self.unread = Counter()
        self._local_max_streams_bidi.value = streams[0]
        self._local_max_streams_bidi.sent = streams[0]
        self._local_max_streams_uni.value = streams[1]
        self._local_max_streams_uni.sent = streams[1]

        if not pacing:
            self._loss._pacer.next_send_time = lambda now: None

        self.frames = deque()
        self.answer_stop = True

        # DATAGRAM frames in each packet that had some
        self.datagram_packets = []

        # each 1-RTT packet, in order of arrival
        self.packets = []
        self._packet = None

        # STREAM frames by stream: offset, length, FIN
        self.stream_frames = defaultdict(set)

        # MAX_STREAMS frames, in order
        self.limits_bidi = []
        self.limits_uni = []

    # what is sent

    def send_frame(self, kind, payload):
        """Puts any frame into the next packet."""
        self.frames.append((kind, payload))

    def ignore_stream_limits(self):
        self._remote_max_streams_bidi = 1 << 60
        self._remote_max_streams_uni = 1 << 60

    def ignore_flow_control(self):
        self._remote_max_data = 1 << 60
        self._remote_max_stream_data_bidi_remote = 1 << 60
        self._remote_max_stream_data_uni = 1 << 60

    def grant_streams(self, bidi=0, uni=0):
        self._local_max_streams_bidi.value += bidi
        self._local_max_streams_uni.value += uni

    def _serialize_transport_parameters(self):
        data = super()._serialize_transport_parameters()
        parameters = read_parameters(data)
        parameters.update(self.own_parameters)
        return b"".join(varint(k) + varint(len(v)) + v
                        for k, v in parameters.items() if v is not None)

    def _write_connection_limits(self, builder, space):
        data = self._local_max_data
        limit = data.used - self.unread.total() + self._configuration.max_data
        if limit - data.value >= self._configuration.max_data // 2:
            data.value = limit

        for limit in (data, self._local_max_streams_bidi,
                      self._local_max_streams_uni):
            if limit.value != limit.sent:
                buf = builder.start_frame(
                    limit.frame_type, CONNECTION_LIMIT_FRAME_CAPACITY,
                    self._on_connection_limit_delivery, (limit,))
                buf.push_uint_var(limit.value)
                limit.sent = limit.value

        while self.frames:
            kind, payload = self.frames[0]
            buf = builder.start_frame(kind, len(varint(kind)) + len(payload))
            buf.push_bytes(payload)
            self.frames.popleft()

    def _write_stream_limits(self, builder, space, stream):
        if not stream.max_stream_data_local or stream.receiver.is_finished:
            return

        limit = (stream.receiver.highest_offset + self.window
                 - self.unread[stream.stream_id])
        if limit - stream.max_stream_data_local >= self.window // 2:
            stream.max_stream_data_local = limit

        if stream.max_stream_data_local != stream.max_stream_data_local_sent:
            buf = builder.start_frame(
                QuicFrameType.MAX_STREAM_DATA, MAX_STREAM_DATA_FRAME_CAPACITY,
                self._on_max_stream_data_delivery, (stream,))
            buf.push_uint_var(stream.stream_id)
            buf.push_uint_var(stream.max_stream_data_local)
            stream.max_stream_data_local_sent = stream.max_stream_data_local

    def _write_stream_frame(self, builder, space, stream, max_offset):
        # aioquic forgets a FIN for which a packet has no room left
        if min(builder.remaining_flight_space,
               builder.remaining_buffer_space) < STREAM_FRAME_OVERHEAD:
            return 0
        return super()._write_stream_frame(builder, space, stream, max_offset)

    # what is received

    def _parse_transport_parameters(self, data, from_session_ticket=False):
        if not from_session_ticket:
            self.peer_parameters = read_parameters(data)
        super()._parse_transport_parameters(data, from_session_ticket)

    def _handle_stop_sending_frame(self, context, frame_type, buf):
        stream_id, code = buf.pull_uint_var(), buf.pull_uint_var()
        self._assert_stream_can_send(frame_type, stream_id)
        stream = self._get_or_create_stream(frame_type, stream_id)
        if self.answer_stop and not stream.sender.is_finished:
            stream.sender.reset(code)
        self._events.append(events.StopSendingReceived(code, stream_id))

    def _payload_received(self, context, plain, *args, **kwargs):
        self._packet = packet = Packet(plain)
        if context.epoch == Epoch.ONE_RTT:
            self.packets.append(packet)
        result = super()._payload_received(context, plain, *args, **kwargs)
        packet.ack_eliciting = result[0]
        if packet.datagrams:
            self.datagram_packets.append(packet.datagrams)
        return result

    def _handle_ack_frame(self, context, frame_type, buf):
        start = buf.tell()
        self._packet.acked = pull_ack_frame(buf)[0]
        buf.seek(start)
        super()._handle_ack_frame(context, frame_type, buf)

    def _handle_stream_frame(self, context, frame_type, buf):
        start = buf.tell()
        super()._handle_stream_frame(context, frame_type, buf)
        end = buf.tell()
        buf.seek(start)
        stream_id = buf.pull_uint_var()
        offset = buf.pull_uint_var() if frame_type & 4 else 0
        length = buf.pull_uint_var() if frame_type & 2 else end - buf.tell()
        buf.seek(end)
        self.stream_frames[stream_id].add((offset, length,
                                           bool(frame_type & 1)))

    def _handle_max_streams_bidi_frame(self, context, frame_type, buf):
        super()._handle_max_streams_bidi_frame(context, frame_type, buf)
        self.limits_bidi.append(self._remote_max_streams_bidi)

    def _handle_max_streams_uni_frame(self, context, frame_type, buf):
        super()._handle_max_streams_uni_frame(context, frame_type, buf)
        self.limits_uni.append(self._remote_max_streams_uni)

    def _handle_datagram_frame(self, context, frame_type, buf):
        super()._handle_datagram_frame(context, frame_type, buf)
        self._packet.datagrams += 1

    def _handle_ping_frame(self, context, frame_type, buf):
        super()._handle_ping_frame(context, frame_type, buf)
        self._packet.pings += 1


class Packet:
    """What a packet of the server had in it."""

    def __init__(self, plain):
        self.size = len(plain)
        self.padding = self.size - len(plain.rstrip(b"\0"))
        self.datagrams = 0
        self.pings = 0
        self.acked = None           # ranges of packet numbers
        self.ack_eliciting = None


def read_parameters(data):
    """Transport parameters, id to bytes."""
    parameters, pos = {}, 0
    while pos < len(data):
        key, pos = read_varint(data, pos)
        size, pos = read_varint(data, pos)
        assert key not in parameters, f"repeated transport parameter {key:#x}"
        parameters[key] = data[pos:pos + size]
        pos += size
    return parameters
