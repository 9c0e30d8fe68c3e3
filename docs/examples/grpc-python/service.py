"""The service that nginx calls."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping

import grpc

import deliver
from call import Call
from connection import ProtocolError, pb
from session import NotFound, Session

try:
    import webtransport_pb2_grpc as pb_grpc
except ModuleNotFoundError as error:
    raise SystemExit(
        f"{error}\n"
        "webtransport_pb2_grpc is made from webtransport.proto, see README.md."
    ) from None

__all__ = ["Worker", "pb_grpc"]

logger = logging.getLogger(__name__)


class Leaving(Session):
    """For what still comes when the process ends."""

    async def on_connect(self) -> None:
        self.reject(503)


class Worker(pb_grpc.WorkerServicer):
    def __init__(self, routes: Mapping[bytes, type[Session]]) -> None:
        self._routes = routes
        self._sessions: set[Session] = set()
        self._leaving = False

    async def Session(
        self, request_iterator: object, context: grpc.aio.ServicerContext
    ) -> None:
        """Serves one session: a call is a session, and ends with it.

        It ends with OK after Closed.  An error that ends it before Accept is
        an HTTP status for the client, after Accept a close code.
        """
        call = Call(context)
        serving = asyncio.create_task(self._serve(call))

        try:
            await asyncio.shield(serving)
        except asyncio.CancelledError:
            # The call is over, and nobody hears how.  The session finds that
            # out when it reads, and ends in its own way.
            await serving
            return

        if not call.complete:
            await context.abort(
                grpc.StatusCode.ABORTED, "the session has failed"
            )

    async def Deliver(
        self, batch: pb.EventBatch, context: grpc.aio.ServicerContext
    ) -> pb.CommandBatch:
        """Handles one batch of a session."""
        try:
            return deliver.answer(batch, self._routes)
        except deliver.NoApplication as error:
            await context.abort(
                grpc.StatusCode.FAILED_PRECONDITION, str(error)
            )

    async def _serve(self, call: Call) -> None:
        try:
            await self._run(call)
        finally:
            call.close()
            await call.wait_closed()

    async def _run(self, call: Call) -> None:
        try:
            batch = await call.read()

            if not batch.events or not batch.events[0].HasField("connect"):
                raise ProtocolError("first event is not Connect")
        except (ProtocolError, ConnectionError) as error:
            logger.info("no session: %s", error)
            return

        connect = batch.events[0].connect
        kind = self._routes.get(connect.path, NotFound)

        if self._leaving:
            kind = Leaving

        session = kind(call, batch.session_id, connect)
        self._sessions.add(session)

        try:
            await session.run(batch.events[1:])
        finally:
            self._sessions.discard(session)

    def go_away(self) -> None:
        """Ends all sessions, and those that still come."""
        self._leaving = True

        for session in self._sessions:
            session.go_away()
