"""The contract as JSON: src/proto/ngx_http_wt_json_*.c against Google's
implementation of the same mapping."""

import json
import random
import subprocess
import sys

import pytest
from google.protobuf import json_format
from google.protobuf.descriptor import FieldDescriptor

import webtransport_pb2 as pb
from lib.nginx import ROOT

PROTO = ROOT / "src/proto"
TABLES = "ngx_http_wt_json_tables.c"
ROUNDS = 1500


def test_tables_are_generated_from_the_schema(tmp_path):
    descriptors = tmp_path / "set"
    subprocess.run([sys.executable, "-m", "grpc_tools.protoc", "-I", PROTO,
                    f"--descriptor_set_out={descriptors}",
                    "webtransport.proto"], check=True)
    made = subprocess.run([sys.executable, PROTO / "json_tables.py"],
                          input=descriptors.read_bytes(), check=True,
                          capture_output=True).stdout
    assert made.decode() == (PROTO / TABLES).read_text(), \
        "run src/proto/generate"


# ---- the other implementation -----------------------------------------------

class Filter:
    """test_json.c as a filter."""

    def __init__(self):
        built = subprocess.run([ROOT / "t/unit/run", "json"],
                               capture_output=True, text=True)
        assert built.returncode == 0, built.stdout + built.stderr
        self.process = subprocess.Popen(
            [ROOT / "build/unit/test_json", "filter"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def ask(self, operation, kind, data):
        name = kind.DESCRIPTOR.name
        self.process.stdin.write(b"%s %s %d\n" % (operation, name.encode(),
                                                  len(data)) + data)
        self.process.stdin.flush()
        status, length = self.process.stdout.readline().split()
        answer = self.process.stdout.read(int(length))
        if status != b"ok":
            raise ValueError(answer.decode())
        return answer

    def print(self, kind, data):
        return self.ask(b"print", kind, data).decode()

    def parse(self, kind, text):
        data = text if isinstance(text, bytes) else text.encode()
        return kind.FromString(self.ask(b"parse", kind, data))

    def close(self):
        self.process.stdin.close()
        assert self.process.wait() == 0


@pytest.fixture(scope="module")
def ours():
    ours = Filter()
    yield ours
    ours.close()


def official(kind, text):
    # with that it ignores not only fields
    ignore = "unknown" in text
    return json_format.Parse(text, kind(), ignore_unknown_fields=ignore)


# ---- random messages --------------------------------------------------------

INTEGERS = [0, 1, 127, 128, 2**31 - 1, 2**32 - 1, 2**53, 2**53 + 1, 2**63 - 1,
            2**63, 2**64 - 1, -1, -2**31]
LIMITS = {FieldDescriptor.TYPE_UINT32: (0, 2**32),
          FieldDescriptor.TYPE_INT32: (-2**31, 2**31),
          FieldDescriptor.TYPE_UINT64: (0, 2**64)}
PARTS = ["", "a", "/", '"', "\\", "\n", "\0", "\x01", "\x7f", "ü", "€", "😀",
         "\u2028", "\uffff"]


def scalar(rng, field):
    if field.type in LIMITS:
        low, high = LIMITS[field.type]
        return rng.choice([n for n in INTEGERS if low <= n < high])
    if field.type == field.TYPE_BOOL:
        return rng.random() < 0.5
    if field.type == field.TYPE_ENUM:
        known = [value.number for value in field.enum_type.values]
        return rng.choice(known + [77, -1])
    if field.type == field.TYPE_DOUBLE:
        return rng.choice([0.0, 0.1, -2.5, 1e300, 5e-324, rng.random(),
                           float("inf"), float("-inf")])
    if field.type == field.TYPE_BYTES:
        return rng.randbytes(rng.choice([0, 1, 2, 3, 4, 50]))
    assert field.type == field.TYPE_STRING
    return "".join(rng.choices(PARTS, k=rng.randrange(5)))


def is_map(field):
    return (field.type == field.TYPE_MESSAGE
            and field.message_type.GetOptions().map_entry)


def fill(rng, message, maps=True):
    for field in message.DESCRIPTOR.fields:
        if rng.random() < 0.5 or (is_map(field) and not maps):
            continue
        value = getattr(message, field.name)
        if is_map(field):
            key, of = field.message_type.fields
            for _ in range(rng.randrange(4)):
                # jansson parses no name with a NUL
                name = scalar(rng, key).replace("\0", "")
                value[name] = scalar(rng, of)
        elif hasattr(value, "append") and field.type == field.TYPE_MESSAGE:
            for _ in range(rng.randrange(4)):
                fill(rng, value.add(), maps)
        elif hasattr(value, "append"):
            value.extend(scalar(rng, field) for _ in range(rng.randrange(4)))
        elif field.type == field.TYPE_MESSAGE:
            value.SetInParent()
            fill(rng, value, maps)
        else:
            setattr(message, field.name, scalar(rng, field))
    return message


@pytest.mark.parametrize("kind", [pb.EventBatch, pb.CommandBatch, pb.Stats,
                                  pb.PublishRequest])
def test_random_messages(ours, kind):
    rng = random.Random(kind.DESCRIPTOR.name)
    seen = set()

    for _ in range(ROUNDS):
        message = fill(rng, kind())
        data = message.SerializeToString()

        theirs = json_format.MessageToJson(message, indent=None)
        text = ours.print(kind, data)
        assert json.loads(text) == json.loads(theirs)
        assert official(kind, text) == message

        assert ours.parse(kind, text) == message
        assert ours.parse(kind, theirs) == message
        verbose = json_format.MessageToJson(
            message, preserving_proto_field_name=True,
            use_integers_for_enums=True, ensure_ascii=False,
            always_print_fields_with_no_presence=True)
        assert ours.parse(kind, verbose) == message

        seen.update(json.loads(text))

    assert seen == {field.json_name for field in kind.DESCRIPTOR.fields}


def test_random_bytes(ours):
    """What both take is the same.  Theirs also takes groups, which proto3 does
    not have, and drops entries of maps that have unknown fields."""
    rng = random.Random(5)
    taken = groups = 0

    for _ in range(4 * ROUNDS):
        kind = rng.choice([pb.EventBatch, pb.CommandBatch])
        data = bytearray(fill(rng, kind(), maps=False).SerializeToString())
        for _ in range(rng.randrange(1, 3)):
            if data:
                data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        try:
            message = kind.FromString(bytes(data))
            theirs = json_format.MessageToJson(message)
        except Exception:
            with pytest.raises(ValueError):
                ours.print(kind, bytes(data))
            continue
        try:
            text = ours.print(kind, bytes(data))
        except ValueError:
            groups += 1
            continue
        assert json.loads(text) == json.loads(theirs), bytes(data).hex()
        taken += 1

    assert taken > ROUNDS
    assert groups < taken / 20


# ---- texts ------------------------------------------------------------------

def seq(*values):
    return ['{"seq": %s}' % value for value in values]


def data(*values):
    return ['{"commands": [{"datagram": {"data": %s}}]}' % value
            for value in values]


def opened(*values):
    return ['{"commands": [{"data": {"open": %s}}]}' % value
            for value in values]


def code(*values):
    return ['{"commands": [{"close": {"code": %s}}]}' % value
            for value in values]


SAME = [
    "{}", "", " ", "[]", "1", "null", "{", '{"seq":}', "{}{}", "{'seq':1}",
    '{"seq":1,}', '{seq:1}', '{"seq":1} ', '{"sessionId":"\t"}',
    *seq("0", "1", "-1", '"1"', '"-1"', '""', '"a"', "1.0", "1e3", "1.5",
         '"1.5"', "18446744073709551615", "18446744073709551616",
         '"18446744073709551615"', '"18446744073709551616"', "null", "true",
         "[]", "{}", '" 1"', '"1 "', '"0x10"', "9007199254740992",
         "9007199254740993", '"NaN"', "01", "+1", ".5", "1."),
    *code("4294967295", "4294967296", '"4294967295"', "-1", "1.0", "4e9",
          "5e9"),
    *opened('"UNI"', '"uni"', "2", "0", "77", "-1", "2147483647", "null",
            "1.0", "[]", '""'),
    *data('""', '"YQ=="', '"YWI="', '"YWJj"', '"-_8="', '"+/8="', '"-_8"',
          "null", "1", '"YQ"', '"Y"'),
    '{"commands": null}', '{"commands": {}}', '{"commands": [null]}',
    '{"commands": [1]}', '{"commands": [{}]}',
    '{"commands": [{"data": {}, "reset": {}}]}',
    '{"commands": [{"data": null, "reset": {}}]}',
    '{"commands": [{"reset": {"code": 0}}]}',
    '{"commands": [{"reset": {"code": null}}]}',
    '{"commands": [{"data": {"fin": true}}]}',
    '{"commands": [{"data": {"fin": 1}}]}',
    '{"commands": [{"data": {"fin": "true"}}]}',
    '{"commands": [{"data": {"stream_id": 4}}]}',
    '{"commands": [{"update": {"meta": {"a": "b", "": ""}}}]}',
    '{"commands": [{"update": {"meta": {"a": 1}}}]}',
    '{"commands": [{"update": {"meta": {"a": null}}}]}',
    '{"commands": [{"accept": {"notify": ["LIMITS", 2, 77]}}]}',
    '{"commands": [{"accept": {"notify": "LIMITS"}}]}',
    '{"commands": [{"accept": {"notify": []}}]}',
    '{"commands": [{"accept": {"headers": [{"name": "x"}, {}]}}]}',
    '{"commands": [{"publish": {"channels": ["a", ""], "text": ""}}]}',
    '{"sessionId": 1}', '{"sessionId": "\\ud83d\\ude00 \\u0000"}',
    '{"unknown": {"a": [1, {}]}, "seq": 1}',
]


def outcome(parse, text):
    try:
        return parse(pb.CommandBatch, text)
    except (ValueError, json_format.ParseError):
        return None


@pytest.mark.parametrize("text", SAME)
def test_texts(ours, text):
    assert outcome(ours.parse, text) == outcome(official, text)


# Python takes the first three: as what it prints for fields that are unknown,
# as 1, and as the last of the two.  The mapping does not.

@pytest.mark.parametrize("text, error", [
    (opened('"uNI"')[0], "commands[0].data.open: unknown name"),
    (opened("true")[0], "commands[0].data.open: number expected"),
    ('{"session_id": "", "sessionId": ""}', "sessionId: has two values"),
    ('{"sessionId": "a\nb"', "line 1, column 16: unexpected newline"),
    ('{"commands": [{}, {"data": {"fin": 0}}]}',
     "commands[1].data.fin: true or false expected"),
])
def test_errors_say_where(ours, text, error):
    with pytest.raises(ValueError) as refused:
        ours.parse(pb.CommandBatch, text)
    assert str(refused.value) == error


def test_php_has_no_empty_objects(ours):
    text = json.dumps({"commands": [{"accept": []}, {"update": {"meta": []}}]})
    assert ours.parse(pb.CommandBatch, text) == official(
        pb.CommandBatch, text.replace("[]", "{}"))
