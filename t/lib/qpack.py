"""A QPACK encoder that does what it is told.

pylsqpack decides by itself what goes into the dynamic table and when, which
is of no use to a test that wants a header block to arrive before the table
entry that it names.
"""

# RFC 9204, appendix A: the pairs and names that requests need

STATIC_PAIRS = {
    (b":path", b"/"): 1,
    (b":method", b"CONNECT"): 15,
    (b":method", b"GET"): 17,
    (b":method", b"HEAD"): 18,
    (b":method", b"POST"): 20,
    (b":scheme", b"https"): 23,
}

STATIC_NAMES = {b":authority": 0, b":path": 1, b"origin": 90}


def integer(value, bits, flags):
    """RFC 7541, 5.1"""
    limit = (1 << bits) - 1
    if value < limit:
        return bytes([flags | value])
    out, value = [flags | limit], value - limit
    while value >= 128:
        out.append(value % 128 | 128)
        value //= 128
    return bytes(out + [value])


def string(value, bits=7, flags=0):
    return integer(len(value), bits, flags) + value


class Encoder:
    """The client's dynamic table."""

    def __init__(self):
        self.entries = []

    def capacity(self, size):
        """The instruction that must come first on the encoder stream."""
        return integer(size, 5, 0x20)

    def insert(self, name, value):
        """Adds an entry; returns the instruction."""
        self.entries.append((name, value))
        return string(name, 5, 0x40) + string(value)

    def section(self, headers, capacity=4096):
        """A header block; uses whatever is in the dynamic table."""
        lines, required = [], 0

        base = len(self.entries)
        for name, value in headers:
            if (name, value) in self.entries:
                index = self.entries.index((name, value))
                required = max(required, index + 1)
                lines.append(integer(base - 1 - index, 6, 0x80))
            elif (name, value) in STATIC_PAIRS:
                lines.append(integer(STATIC_PAIRS[name, value], 6, 0xc0))
            elif name in STATIC_NAMES:
                lines.append(integer(STATIC_NAMES[name], 4, 0x50)
                             + string(value))
            else:
                lines.append(string(name, 3, 0x20) + string(value))

        if required == 0:
            return b"\0\0" + b"".join(lines)

        encoded = required % (2 * (capacity // 32)) + 1
        return (integer(encoded, 8, 0) + integer(base - required, 7, 0)
                + b"".join(lines))
