"""The client for asyncio: the classes of `ptychoserve` with coroutines in place of blocking calls.

    async with aio.Client("127.0.0.1:50051") as client:
        session = await client.create_session("scan-4711", optics=..., detector=..., scan=...)
        async with session:
            frames = session.frame_writer()
            async for k, frame in detector:
                await frames.push(k, frame)
        result = await session.result()

Arguments, results and errors are those of the methods of the same name there. All objects belong to
the event loop on which they were made, and need no lock.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from types import TracebackType
from typing import (Any, AsyncIterator, Awaitable, Callable, Iterator, Optional, Sequence, TypeVar,
                    Union)

import grpc
import grpc.aio
from numpy.typing import ArrayLike

from ptychoserve import _batching, _connection, _input, _requests, errors
from ptychoserve._batching import FrameFormat, Frames, Item, Message, Positions
from ptychoserve._connection import Connection
from ptychoserve._enums import short_name
from ptychoserve._files import replaced_file
from ptychoserve._ingest import HALF_CLOSE, Ingest
from ptychoserve._input import FrameIds
from ptychoserve._requests import FINAL, SessionEvent
from ptychoserve._retry import Attempts, Backoff
from ptychoserve.credentials import default_address
from ptychoserve.errors import (DataLoss, DeadlineExceeded, NotFound, PtychoserveError,
                                Unavailable)
from ptychoserve.frame import Frame, FrameAssembler
from ptychoserve.options import WriterOptions, client_options_of, options_of
from ptychoserve.report import WriterReport
from ptychoserve.result import Result
from ptychoserve.snapshot import Assembler, Snapshot
from ptychoserve.v1 import config_pb2, service_pb2, session_pb2, state_pb2

__all__ = ["Client", "FrameWriter", "PositionWriter", "Session", "Writer"]

T = TypeVar("T")
WriterT = TypeVar("WriterT", bound="Writer")


class _Changed:
    """Wakes all who wait, on one event loop."""

    def __init__(self) -> None:
        self._waiters: set[asyncio.Future] = set()

    def notify_all(self) -> None:
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
        self._waiters.clear()

    async def wait(self, timeout_s: Optional[float]) -> None:
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.add(waiter)
        try:
            await asyncio.wait_for(waiter, timeout_s)
        except asyncio.TimeoutError:
            pass
        finally:
            self._waiters.discard(waiter)

    async def wait_for(self, holds: Callable[[], bool], timeout_s: Optional[float]) -> bool:
        """Whether it holds by then."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while not holds():
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                return False
            await self.wait(left)
        return True


class Writer:
    """What `FrameWriter` and `PositionWriter` have in common; as `ptychoserve.writers.Writer`."""

    _kind: type[Item]
    _most_items: int

    def __init__(self, connect: Callable[[], Connection], session: str,
                 options: WriterOptions) -> None:
        self._ingest = Ingest(self._kind, self._most_items, session, options,
                              producer=secrets.token_hex(8), now=time.monotonic())
        self._session = session
        self._options = options
        self._connect = connect
        self._changed = _Changed()
        self._call: Optional[Any] = None
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def __aenter__(self: WriterT) -> WriterT:
        return self

    async def __aexit__(self, kind: Optional[type[BaseException]], error: Optional[BaseException],
                        trace: Optional[TracebackType]) -> None:
        if error is None:
            await self.close()
        else:
            await self.cancel()

    @property
    def report(self) -> WriterReport:
        """What was sent, and what has become of it."""
        return self._ingest.report

    @property
    def error(self) -> Optional[PtychoserveError]:
        """That by which the writer has ended; None while it lives and after a clean close."""
        return self._ingest.error

    async def flush(self, timeout_s: Optional[float] = None) -> WriterReport:
        """Waits until the server has dealt with all that was pushed."""
        self._ingest.hurry()
        self._changed.notify_all()
        await self._changed.wait_for(lambda: self._ingest.finished or self._ingest.flushed,
                                     timeout_s)
        if self._ingest.flushed:
            return self._ingest.report
        raise (self._ingest.error or self._ingest.late("flush"))

    async def close(self, timeout_s: Optional[float] = None) -> WriterReport:
        """Sends what waits, and ends the stream once the server has all of it safe."""
        self._ingest.close()
        self._changed.notify_all()
        if not await self._changed.wait_for(lambda: self._ingest.finished, timeout_s):
            self._cancel(self._ingest.late("close"))
        await asyncio.wait([self._task])
        if self._ingest.error is not None:
            raise self._ingest.error
        return self._ingest.report

    async def cancel(self) -> None:
        """Ends the writer at once. What was not acknowledged may be lost."""
        self._cancel(errors.Cancelled("the writer was cancelled"))
        await asyncio.wait([self._task])

    def _cancel(self, why: PtychoserveError) -> None:
        self._ingest.cancel(why)
        if self._call is not None:
            self._call.cancel()
        self._changed.notify_all()

    async def _push(self, make_items: Callable[[int], Iterator[Item]],
                    timeout_s: Optional[float], copy: bool = True) -> None:
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        for item in make_items(self._ingest.block_bytes):
            while not self._ingest.take(item, copy):
                left = None if deadline is None else deadline - time.monotonic()
                if left is not None and left <= 0:
                    raise self._ingest.full()
                await self._changed.wait(left)
            if self._ingest.stirred:
                self._changed.notify_all()
        await asyncio.sleep(0)  # Lets the sender run when there was nothing to wait for.

    # --- The writer's task ---------------------------------------------------------------------

    async def _run(self) -> None:
        connection = self._connect()
        try:
            pause: Optional[float] = 0.0
            while pause is not None:
                pause = await self._attempt(connection)
                self._changed.notify_all()
                if pause is not None and await self._changed.wait_for(
                        lambda: self._ingest.finished, pause):
                    pause = None
        except (Exception, asyncio.CancelledError) as error:  # Of a callback, or of the loop's end.
            self._ingest.fail(error)
            self._changed.notify_all()
        finally:
            await connection.channel.close()

    async def _attempt(self, connection: Connection) -> Optional[float]:
        """One call, from its first message to its end; the pause before the next one."""
        over = unanswered = False

        def give_up() -> None:
            nonlocal unanswered
            unanswered = True
            call.cancel()

        stream = connection.method(self._kind.method, session=self._session, raw_requests=True)
        first = self._ingest.open()
        try:
            call = self._call = stream(self._requests(first, lambda: over))
        except PtychoserveError as no_token:
            return self._ingest.on_end(no_token, time.monotonic())
        patience = asyncio.get_running_loop().call_later(self._options.open_timeout_s, give_up)
        error: Optional[PtychoserveError] = None
        try:
            async for ack in call:
                patience.cancel()
                self._ingest.on_ack(ack, time.monotonic())
                if self._ingest.stopped:
                    call.cancel()
                self._changed.notify_all()
        except grpc.RpcError as rpc_error:
            error = connection.error(rpc_error)
        except asyncio.CancelledError:
            if not self._ingest.stopped and not unanswered:  # Not of the call, but of the task.
                raise
            error = errors.Unavailable("the server has not answered within "
                                       f"{self._options.open_timeout_s:g} s")
        finally:
            over = True
            patience.cancel()
            call.cancel()
            self._call = None
            self._changed.notify_all()
        return self._ingest.on_end(error, time.monotonic())

    async def _requests(self, first: bytes, over: Callable[[], bool]) -> AsyncIterator[bytes]:
        """Messages of one call, until the call is over."""
        yield first
        while not over():
            what = self._ingest.next(time.monotonic())
            if what is HALF_CLOSE:
                return
            if isinstance(what, Message):
                self._changed.notify_all()
                yield what.join()
            else:
                await self._changed.wait(what)


class FrameWriter(Writer):
    """Sends frames to a session; as `ptychoserve.FrameWriter`."""

    _kind = Frames
    _most_items = _batching.MAX_FRAMES_PER_BATCH

    def __init__(self, connect: Callable[[], Connection], session: str,
                 frame_format: FrameFormat, options: WriterOptions) -> None:
        self._format = frame_format
        super().__init__(connect, session, options)

    async def push(self, frame_ids: FrameIds, frames: ArrayLike, *, copy: bool = True,
                   timeout_s: Optional[float] = None) -> None:
        """Takes one frame [rows, cols] or several [frames, rows, cols]; waits for room."""
        await self._push(lambda size: _input.frames(self._format, frame_ids, frames, size),
                         timeout_s, copy)

    async def push_encoded(self, frame_ids: FrameIds, frames: Sequence[Any], *,
                           timeout_s: Optional[float] = None) -> None:
        """Takes frames that are encoded as the writer's `encoding` says."""
        await self._push(lambda size: _input.encoded_frames(self._format, frame_ids, frames, size),
                         timeout_s)

    async def skip(self, first_frame_id: int, count: int = 1, *,
                   timeout_s: Optional[float] = None) -> None:
        """Declares that the detector has lost these frames."""
        await self._push(lambda _: _input.skipped(first_frame_id, count), timeout_s)


class PositionWriter(Writer):
    """Sends positions or encoder samples; as `ptychoserve.PositionWriter`."""

    _kind = Positions
    _most_items = _batching.MAX_POSITIONS_PER_BATCH

    async def push(self, frame_ids: FrameIds, *, x_m: ArrayLike, y_m: ArrayLike,
                   timeout_s: Optional[float] = None) -> None:
        """Takes positions, in metres of the stage."""
        await self._push(lambda size: _input.positions(frame_ids, x_m, y_m, size), timeout_s)

    async def push_encoder_samples(self, first_sample: int, *, x_counts: ArrayLike,
                                   y_counts: ArrayLike,
                                   timeout_s: Optional[float] = None) -> None:
        """Takes raw encoder samples."""
        await self._push(
            lambda size: _input.encoder_samples(first_sample, x_counts, y_counts, size), timeout_s)


class Client:
    """A connection to a ptychoserved; as `ptychoserve.Client`.

    An async context manager: entering waits for the connection, as `connect` does.
    """

    def __init__(self, address: str = "", **options: Any) -> None:
        self.address = address or default_address()
        self.options, self.credentials = client_options_of(options)
        self._connection = self._connect(_connection.SELDOM)

    async def __aenter__(self) -> "Client":
        return await self.connect()

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def connect(self) -> "Client":
        """Raises Unavailable: no server answers there within `connect_timeout_s`."""
        try:
            await asyncio.wait_for(self._connection.channel.channel_ready(),
                                   self.options.connect_timeout_s)
        except asyncio.TimeoutError:
            await self.close()
            raise _connection.no_answer(self.address, self.options) from None
        return self

    async def close(self) -> None:
        """Ends the connection. Writers have their own, and go on."""
        await self._connection.channel.close()

    async def info(self) -> service_pb2.ServerInfo:
        """`v1.ServerInfo`: version, devices, memory, limits."""
        return await self._unary("GetServerInfo", service_pb2.GetServerInfoRequest())

    async def create_session(self, session_id: str = "",
                             config: Optional[config_pb2.SessionConfig] = None,
                             **settings: Any) -> "Session":
        """Creates a session, or finds the one that has this id and this configuration."""
        request = _requests.create(session_id, config, False, settings)
        return Session(self, await self._unary("CreateSession", request, bool(session_id)))

    async def validate(self, config: Optional[config_pb2.SessionConfig] = None,
                       **settings: Any) -> session_pb2.Session:
        """Checks a configuration and plans it; creates nothing."""
        return await self._unary("CreateSession", _requests.create("", config, True, settings))

    async def session(self, session_id: str) -> "Session":
        """A session that exists, by id or full name."""
        request = session_pb2.GetSessionRequest(name=_requests.session_name(session_id))
        return Session(self, await self._unary("GetSession", request))

    async def sessions(self) -> list["Session"]:
        """All sessions, ordered by name."""
        found: list[Session] = []
        request = session_pb2.ListSessionsRequest(page_size=1000)
        while True:
            page = await self._unary("ListSessions", request)
            found += [Session(self, info) for info in page.sessions]
            if not page.next_page_token:
                return found
            request.page_token = page.next_page_token

    async def import_state(self, path: Union[str, os.PathLike], *, mode: str = "continue",
                           session_id: str = "",
                           config: Optional[config_pb2.SessionConfig] = None,
                           **settings: Any) -> "Session":
        """A new session from a file of `Session.export_state`."""
        parts = _requests.import_parts(path, mode, session_id, config, settings)
        try:
            return Session(self, await self._connection.method(
                "ImportState", session=session_id)(parts))
        except grpc.RpcError as error:
            raise self._connection.error(error) from None

    # --- For sessions ---------------------------------------------------------------------------

    def _connect(self, pauses_ms: tuple[int, int] = _connection.OFTEN) -> Connection:
        return Connection(grpc.aio, self.address, self.options, self.credentials, pauses_ms)

    async def _unary(self, name: str, request: Any, repeats: bool = True,
                     timeout_s: Optional[float] = None) -> Any:
        call = self._connection.method(name)
        limit_s = self.options.call_timeout_s if timeout_s is None else timeout_s
        return await self._again(lambda: call(request, timeout=limit_s), repeats, limit_s)

    async def _again(self, attempt: Callable[[], Awaitable[T]], repeats: bool = True,
                     limit_s: Optional[float] = None) -> T:
        """Makes attempts while the server is away, until the next one would be too late."""
        deadline = time.monotonic() + (limit_s or self.options.call_timeout_s)
        backoff = Backoff(0.05, 1.0)
        while True:
            try:
                return await attempt()
            except grpc.RpcError as rpc_error:
                error = self._connection.error(rpc_error)
                pause = backoff.next()
                late = time.monotonic() + pause >= deadline
                if not isinstance(error, Unavailable) or not repeats or late:
                    raise error from None
            await asyncio.sleep(pause)

    async def _watch(self, name: str, request: Any,
                     new_take: Callable[[], Callable[[Any], Optional[T]]]) -> AsyncIterator[T]:
        """What `new_take` makes of the messages of a call, which is opened again after a break."""
        method = self._connection.method(name)
        attempts = Attempts(self.options.watch_give_up_after_s, 0.1, 2.0, time.monotonic())
        while True:
            take = new_take()
            call = method(request)
            try:
                async for message in call:
                    attempts.alive(time.monotonic())
                    taken = take(message)
                    if taken is not None:
                        yield taken
                return
            except grpc.RpcError as error:
                pause = attempts.pause_after(self._connection.error(error), time.monotonic())
            finally:
                call.cancel()
            await asyncio.sleep(pause)


class Session:
    """A scan, its reconstruction and its result; as `ptychoserve.Session`."""

    def __init__(self, client: Client, info: session_pb2.Session) -> None:
        self._client = client
        self._writers: list[Writer] = []
        self._told = False  # By the caller, how it ends.
        self.info = info

    async def __aenter__(self) -> "Session":
        return self

    async def __aexit__(self, kind: Optional[type[BaseException]], error: Optional[BaseException],
                        trace: Optional[TracebackType]) -> None:
        if error is None:
            try:
                for writer in self._writers:
                    await writer.close()
            finally:
                await self._cancel_writers()
            if not self._told:
                await self.finish()
            return
        await self._cancel_writers()
        if not self._told:
            try:
                await self.stop()
            except PtychoserveError:
                pass  # It has ended, or the server is away: the exception under way says more.

    def __repr__(self) -> str:
        return f"<aio.Session {self.id} {self.state}>"

    @property
    def name(self) -> str:
        """"sessions/{id}"."""
        return self.info.name

    @property
    def id(self) -> str:
        """[a-z0-9-]{1,63}."""
        return self.info.name.partition("/")[2]

    @property
    def state(self) -> str:
        """As of the last call, "completed"."""
        return short_name(session_pb2.SessionState, self.info.state)

    @property
    def ended(self) -> bool:
        """Whether the state is final, as of the last call."""
        return self.info.state in FINAL

    @property
    def config(self) -> config_pb2.SessionConfig:
        """The effective configuration."""
        return self.info.config

    async def refresh(self) -> "Session":
        """Asks the server how things are; then `info` says."""
        return await self._call("GetSession", session_pb2.GetSessionRequest(name=self.name))

    async def update(self, **settings: Any) -> "Session":
        """Changes what can be changed while it runs."""
        return await self._call("UpdateSession", _requests.update(self.name, settings))

    async def finish(self, expected_frames: Optional[int] = None) -> "Session":
        """Declares the end of data; may be repeated."""
        self._told = True
        return await self._call("FinishScan", session_pb2.FinishScanRequest(
            name=self.name, expected_frames=expected_frames))

    async def test_orientation(self, timeout_s: float = 600.0) -> session_pb2.OrientationTest:
        """Which way the frames lie; see `ptychoserve.Session.test_orientation`."""
        return await self._client._unary("TestOrientation", _requests.test_orientation(self.name),
                                         timeout_s=timeout_s)

    async def stop(self, *, abort: bool = False) -> "Session":
        """Ends it, and keeps its result; with `abort`, without a last snapshot."""
        self._told = True
        return await self._call("StopSession", _requests.stop(self.name, abort))

    async def delete(self, *, force: bool = False) -> None:
        """Frees its memory and forgets its result; `force`: also when it has not ended."""
        self._told = True
        request = session_pb2.DeleteSessionRequest(name=self.name, force=force)
        call = self._client._connection.method("DeleteSession")
        repeated = False

        async def attempt() -> None:
            nonlocal repeated
            again, repeated = repeated, True
            try:
                await call(request, timeout=self._client.options.call_timeout_s)
            except grpc.RpcError as error:
                # Else the answer to an earlier call was lost.
                if not again or not isinstance(self._client._connection.error(error), NotFound):
                    raise

        await self._client._again(attempt)

    def frame_writer(self, *, encoding: str = "raw", **options: Any) -> FrameWriter:
        """Opens a stream of frames, on a connection of its own; returns at once."""
        form = _input.frame_format(self.info.config.detector, encoding)
        writer = FrameWriter(self._client._connect, self.name, form,
                             options_of(WriterOptions, options))
        self._writers.append(writer)
        return writer

    def position_writer(self, **options: Any) -> PositionWriter:
        """Opens a stream of positions, as `frame_writer` does."""
        writer = PositionWriter(self._client._connect, self.name,
                                options_of(WriterOptions, options))
        self._writers.append(writer)
        return writer

    async def snapshot(self, arrays: Any = ("object", "probe"), *, version: int = 0,
                       not_newer_than: int = 0, wait_s: float = 0.0,
                       **selection: Any) -> Snapshot:
        """One snapshot: the newest, or a version that is kept."""
        request = _requests.get_snapshot(self.name, arrays, version, not_newer_than, wait_s,
                                         selection)
        return await self._assembled("GetSnapshot", request, Assembler, wait_s)

    async def frame(self, frame_id: Optional[int] = None, *, expected: bool = False,
                    downsample: int = 1) -> Frame:
        """A frame of the detector as the session works with it."""
        request = _requests.get_frame(self.name, frame_id, expected, downsample)
        return await self._assembled("GetFrame", request, FrameAssembler)

    async def _assembled(self, name: str, request: Any, assembler: Callable[[], Any],
                         wait_s: float = 0.0) -> Any:
        method = self._client._connection.method(name)

        async def attempt() -> Any:
            take = assembler().add
            timeout = self._client.options.snapshot_timeout_s + wait_s
            async for chunk in method(request, timeout=timeout):
                whole = take(chunk)
                if whole is not None:
                    return whole
            raise DataLoss(f"{name} ended early")

        return await self._client._again(attempt)

    def watch(self, *, min_interval_s: float = 0.2) -> AsyncIterator[SessionEvent]:
        """Changes of state, warnings and progress, until the final state."""
        return self._client._watch("WatchSession",
                                   _requests.watch_session(self.name, min_interval_s),
                                   _requests.take_events)

    def watch_snapshots(self, arrays: Any = ("object", "probe"), *, min_interval_s: float = 0.0,
                        **selection: Any) -> AsyncIterator[Snapshot]:
        """Each new snapshot, until the final one."""
        return self._client._watch(
            "WatchSnapshots",
            _requests.watch_snapshots(self.name, arrays, min_interval_s, selection),
            _requests.take_snapshots)

    async def wait(self, timeout_s: Optional[float] = None) -> "Session":
        """Waits until the session has ended."""
        try:
            await asyncio.wait_for(self._follow(), timeout_s)
        except asyncio.TimeoutError:
            raise DeadlineExceeded(f"{self.name} has not ended within {timeout_s:g} s") from None
        await self.refresh()
        _requests.check_ended(self.info)
        return self

    async def _follow(self) -> None:
        async for event in self.watch(min_interval_s=60.0):
            if event.kind == "deleted":
                raise _requests.gone(self.name)

    async def result(self, timeout_s: Optional[float] = None) -> Result:
        """Waits for the end, and fetches all of the last snapshot."""
        await self.wait(timeout_s)
        return Result(await self.snapshot("all", area="canvas"), self.info)

    async def export_state(self, path: Union[str, os.PathLike], *, input: bool = True,
                           run: bool = True) -> None:
        """Writes the session to a file, as it is after the iteration under way."""
        request = state_pb2.ExportStateRequest(name=self.name, omit_input=not input,
                                               omit_run=not run)
        try:
            with replaced_file(path) as file:
                async for part in self._client._connection.method("ExportState")(
                        request):
                    file.write(part.data)
        except grpc.RpcError as error:
            raise self._client._connection.error(error) from None

    async def _cancel_writers(self) -> None:
        """Those that have not closed."""
        for writer in self._writers:
            await writer.cancel()

    async def _call(self, name: str, request: Any) -> "Session":
        self.info = await self._client._unary(name, request)
        return self
