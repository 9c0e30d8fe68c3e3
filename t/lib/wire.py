"""Numbers and encodings of QUIC, HTTP/3 and WebTransport."""

# RFC 9000, 9114, 9204, 9297

FRAME_DATA = 0x00
FRAME_HEADERS = 0x01
FRAME_CANCEL_PUSH = 0x03
FRAME_SETTINGS = 0x04
FRAME_PUSH_PROMISE = 0x05
FRAME_GOAWAY = 0x07
FRAME_MAX_PUSH_ID = 0x0d

STREAM_CONTROL = 0x00
STREAM_PUSH = 0x01
STREAM_QPACK_ENCODER = 0x02
STREAM_QPACK_DECODER = 0x03

SETTING_QPACK_MAX_TABLE_CAPACITY = 0x01
SETTING_QPACK_BLOCKED_STREAMS = 0x07
SETTING_ENABLE_CONNECT_PROTOCOL = 0x08
SETTING_H3_DATAGRAM = 0x33

H3_DATAGRAM_ERROR = 0x33
H3_NO_ERROR = 0x100
H3_GENERAL_PROTOCOL_ERROR = 0x101
H3_STREAM_CREATION_ERROR = 0x103
H3_CLOSED_CRITICAL_STREAM = 0x104
H3_FRAME_UNEXPECTED = 0x105
H3_FRAME_ERROR = 0x106
H3_EXCESSIVE_LOAD = 0x107
H3_ID_ERROR = 0x108
H3_SETTINGS_ERROR = 0x109
H3_MISSING_SETTINGS = 0x10a
H3_REQUEST_REJECTED = 0x10b
H3_REQUEST_CANCELLED = 0x10c
H3_MESSAGE_ERROR = 0x10e
H3_CONNECT_ERROR = 0x10f

QUIC_NO_ERROR = 0x00
QUIC_STREAM_LIMIT_ERROR = 0x04
QUIC_FRAME_ENCODING_ERROR = 0x07
QUIC_TRANSPORT_PARAMETER_ERROR = 0x08
QUIC_PROTOCOL_VIOLATION = 0x0a

TP_MAX_DATAGRAM_FRAME_SIZE = 0x20
TP_RESET_STREAM_AT = 0x1d
TP_RESET_STREAM_AT_LEGACY = 0x17f7586d2cb571

# WebTransport over HTTP/3; the draft that a number belongs to is its name

SETTING_H3_DATAGRAM_OLD = 0xffd277
SETTING_DRAFT_02 = 0x2b603742
SETTING_DRAFT_07 = 0xc671706a
SETTING_DRAFT_13 = 0x14e9cd29
SETTING_DRAFT_15 = 0x2c7cf000

STREAM_WT_UNI = 0x54
FRAME_WT_BIDI = 0x41

CAPSULE_DATAGRAM = 0x00
CAPSULE_CLOSE = 0x2843
CAPSULE_DRAIN = 0x78ae

WT_BUFFERED_STREAM_REJECTED = 0x3994bd84
WT_SESSION_GONE = 0x170d7b68

WT_CODE_FIRST = 0x52e4a40fa8db
WT_CODE_LAST = 0x52e5ac983162

# what Chromium 156 sends

CLIENT_SETTINGS = {
    SETTING_QPACK_MAX_TABLE_CAPACITY: 65536,
    SETTING_QPACK_BLOCKED_STREAMS: 100,
    SETTING_H3_DATAGRAM: 1,
    SETTING_H3_DATAGRAM_OLD: 1,
    SETTING_DRAFT_02: 1,
}


def varint(value, length=None):
    """Encodes an integer, in the least or in the given number of bytes."""
    if length is None:
        length = next(n for n in (1, 2, 4, 8) if value < 1 << (8 * n - 2))
    prefix = {1: 0, 2: 1, 4: 2, 8: 3}[length]
    return (value | prefix << (8 * length - 2)).to_bytes(length, "big")


def read_varint(data, pos=0):
    """Returns (value, next position), or None if more bytes are needed."""
    if pos >= len(data):
        return None
    length = 1 << (data[pos] >> 6)
    if pos + length > len(data):
        return None
    value = int.from_bytes(data[pos:pos + length], "big")
    return value & ((1 << (8 * length - 2)) - 1), pos + length


def read_tlv(data):
    """Returns (type, value, rest), or None if more bytes are needed."""
    kind = read_varint(data)
    size = kind and read_varint(data, kind[1])
    if not size or len(data) < size[0] + size[1]:
        return None
    end = size[0] + size[1]
    return kind[0], bytes(data[size[1]:end]), data[end:]


def frame(kind, payload=b""):
    """An HTTP/3 frame, or a capsule: both are type, length, value."""
    return varint(kind) + varint(len(payload)) + payload


capsule = frame


def data_frame(payload):
    return frame(FRAME_DATA, payload)


def settings_frame(settings):
    return frame(FRAME_SETTINGS, b"".join(varint(k) + varint(v)
                                          for k, v in settings.items()))


def read_settings(payload):
    pairs, pos = [], 0
    while pos < len(payload):
        key, pos = read_varint(payload, pos)
        value, pos = read_varint(payload, pos)
        pairs.append((key, value))
    assert len(dict(pairs)) == len(pairs), f"repeated setting: {pairs}"
    return dict(pairs)


def close_capsule(code=0, reason=b""):
    return capsule(CAPSULE_CLOSE, code.to_bytes(4, "big") + reason)


def app_to_h3(code):
    """An application's stream code on the wire."""
    return WT_CODE_FIRST + code + code // 0x1e


def h3_to_app(code):
    """The reverse; None if it is not an application's code."""
    if not WT_CODE_FIRST <= code <= WT_CODE_LAST or (code - 0x21) % 0x1f == 0:
        return None
    shifted = code - WT_CODE_FIRST
    return shifted - shifted // 0x1f


def grease(n=0):
    """A type that is reserved to exercise unknown types."""
    return 0x29 * n + 0x17


def h3_grease(n=0):
    """The same for frames, settings and streams of HTTP/3 itself."""
    return 0x1f * n + 0x21
