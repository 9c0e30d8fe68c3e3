"""Worker.Deliver: an echo that remembers nothing.

Any process may get any batch, and the same one again after a failure: so what
it needs to know comes with the batch, and the answer depends on nothing else.

Chat and cursors would have to reach other sessions, which takes the control
API; they are refused.
"""

from __future__ import annotations

from collections.abc import Container

import grpc

from connection import pb

# The key of Context.meta under which nginx keeps the path for us.
PATH = "path"

RESOURCE_EXHAUSTED = grpc.StatusCode.RESOURCE_EXHAUSTED.value[0]


class NoApplication(Exception):
    """The session is none that we have accepted."""


def answer(batch: pb.EventBatch, routes: Container[bytes]) -> pb.CommandBatch:
    """The commands for a batch of events."""
    commands = pb.CommandBatch(session_id=batch.session_id, seq=batch.seq)

    for event in batch.events:
        kind = event.WhichOneof("kind")

        if kind == "connect":
            command = _answer_connect(event.connect.path, routes)
        elif kind == "closed":
            command = None  # the place to clean up; also follows a Reject
        elif batch.context.meta.get(PATH) == "/echo":
            command = _echo(kind, event)
        else:
            raise NoApplication("no application in Context.meta")

        if command is not None:
            commands.commands.append(command)

    return commands


def _answer_connect(path: bytes, routes: Container[bytes]) -> pb.Command:
    if path == b"/echo":
        session = pb.UpdateRequest(meta={PATH: path.decode()})
        return pb.Command(accept=pb.Accept(session=session))

    status = 501 if path in routes else 404

    return pb.Command(reject=pb.Reject(status=status))


def _echo(kind: str | None, event: pb.Event) -> pb.Command | None:
    if kind == "data":
        return pb.Command(data=_echo_data(event.data))

    if kind == "reset":
        return pb.Command(reset=_echo_abort(event.reset))

    if kind == "stop":
        return pb.Command(stop=_echo_abort(event.stop))

    if kind == "datagram":
        return pb.Command(datagram=pb.Datagram(data=event.datagram.data))

    if kind == "ping":
        return pb.Command(pong=event.ping)

    if kind == "result" and event.result.status == RESOURCE_EXHAUSTED:
        # The stream could not be opened: the client need not send for it.
        stream_id = _other_side(event.result.stream_id)
        return pb.Command(stop=pb.StreamAbort(stream_id=stream_id))

    return None


def _echo_data(data: pb.StreamData) -> pb.StreamData:
    stream_id = _other_side(data.stream_id)

    return pb.StreamData(
        stream_id=stream_id,
        data=data.data,
        fin=data.fin,
        open=data.open if stream_id != data.stream_id else pb.NONE,
    )


def _echo_abort(abort: pb.StreamAbort) -> pb.StreamAbort:
    stream_id = _other_side(abort.stream_id)

    return pb.StreamAbort(stream_id=stream_id, code=abort.code)


def _other_side(stream_id: int) -> int:
    """The stream on which the echo travels.

    The one of the client's unidirectional stream 6 is our stream 7, and so
    on: both rise, and nothing has to be remembered.
    """
    return stream_id ^ 1 if stream_id & 2 else stream_id
