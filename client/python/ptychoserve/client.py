"""The client, and sessions as it sees them."""

from __future__ import annotations

import os
import time
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Callable, Iterator, Optional, TypeVar, Union

import grpc

from ptychoserve import _connection, _input, _requests
from ptychoserve._connection import Connection
from ptychoserve._enums import short_name
from ptychoserve._files import replaced_file
from ptychoserve._requests import FINAL, SessionEvent
from ptychoserve._retry import Attempts, Backoff
from ptychoserve.credentials import default_address
from ptychoserve.errors import (DataLoss, DeadlineExceeded, NotFound, PtychoserveError,
                                Unavailable)
from ptychoserve.frame import Frame, FrameAssembler
from ptychoserve.options import WriterOptions, client_options_of, options_of
from ptychoserve.result import Result
from ptychoserve.snapshot import Assembler, Snapshot
from ptychoserve.v1 import config_pb2, service_pb2, session_pb2, state_pb2
from ptychoserve.writers import FrameWriter, PositionWriter, Writer

T = TypeVar("T")


class Client:
    """A connection to a ptychoserved. Thread-safe; a context manager that closes it.

        with ptychoserve.Client("127.0.0.1:50051") as client:
            print(client.info().version)

    Calls are made again for `call_timeout_s` while the server is away. Errors are those of
    `ptychoserve.errors`, with the fields that were wrong.

    Args:
        address: "host:port" or "unix:/path"; default: PTYCHOSERVE_SERVER, else "127.0.0.1:50051".
        options: of `ClientOptions` and of `Credentials`, as keyword arguments.

    Raises:
        Unavailable: no server answers there within `connect_timeout_s`.
        InvalidArgument: options that contradict each other; a token without TLS that would leave
            this machine.
    """

    def __init__(self, address: str = "", **options: Any) -> None:
        self.address = address or default_address()
        self.options, self.credentials = client_options_of(options)
        self._connection = self._connect(_connection.SELDOM)
        try:
            grpc.channel_ready_future(self._connection.channel).result(
                self.options.connect_timeout_s)
        except grpc.FutureTimeoutError:
            self.close()
            raise _connection.no_answer(self.address, self.options) from None

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the connection. Writers have their own, and go on."""
        self._connection.channel.close()

    def info(self) -> service_pb2.ServerInfo:
        """`v1.ServerInfo`: version, devices, memory, limits."""
        return self._unary("GetServerInfo", service_pb2.GetServerInfoRequest())

    def create_session(self, session_id: str = "",
                       config: Optional[config_pb2.SessionConfig] = None,
                       **settings: Any) -> "Session":
        """Creates a session, or finds the one that has this id and this configuration.

        Args:
            session_id: [a-z0-9-]{1,63}; empty: made by the server, and then each call makes one.
            config: a `v1.SessionConfig`; may be left out.
            settings: what `ptychoserve.session_config` takes, on top of `config`: optics, detector,
                scan, probe, schedule, run, snapshots, ...

        Raises:
            InvalidArgument: `violations` has every setting that is wrong.
            AlreadyExists: the id, with another configuration.
            ResourceExhausted: no room; the message has bytes needed and free.
        """
        request = _requests.create(session_id, config, False, settings)
        return Session(self, self._unary("CreateSession", request, repeats=bool(session_id)))

    def validate(self, config: Optional[config_pb2.SessionConfig] = None,
                 **settings: Any) -> session_pb2.Session:
        """Checks a configuration and plans it; creates nothing. Raises as `create_session`.

        Returns: `v1.Session` with the effective configuration, `device_bytes`, `warnings`.
        """
        return self._unary("CreateSession", _requests.create("", config, True, settings))

    def session(self, session_id: str) -> "Session":
        """A session that exists, by id or full name. Raises NotFound."""
        name = _requests.session_name(session_id)
        return Session(self, self._unary("GetSession", session_pb2.GetSessionRequest(name=name)))

    def sessions(self) -> list["Session"]:
        """All sessions, ordered by name."""
        found: list[Session] = []
        request = session_pb2.ListSessionsRequest(page_size=1000)
        while True:
            page = self._unary("ListSessions", request)
            found += [Session(self, info) for info in page.sessions]
            if not page.next_page_token:
                return found
            request.page_token = page.next_page_token

    def import_state(self, path: Union[str, os.PathLike], *, mode: str = "continue",
                     session_id: str = "", config: Optional[config_pb2.SessionConfig] = None,
                     **settings: Any) -> "Session":
        """A new session from a file of `Session.export_state`.

        Args:
            path: the file.
            mode: "continue" where it was, "rerun" from nothing, or "warm_start" with its object and
                probe.
            session_id: as for `create_session`.
            config, settings: a configuration in place of the file's; default: the file's.

        Raises:
            InvalidArgument: the file is none, not whole, or does not fit the configuration.
        """
        parts = _requests.import_parts(path, mode, session_id, config, settings)
        with self._translated():
            return Session(self, self._connection.method("ImportState", session=session_id)(parts))

    # --- For sessions ---------------------------------------------------------------------------

    def _connect(self, pauses_ms: tuple[int, int] = _connection.OFTEN) -> Connection:
        return Connection(grpc, self.address, self.options, self.credentials, pauses_ms)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except grpc.RpcError as error:
            raise self._connection.error(error) from None

    def _unary(self, name: str, request: Any, repeats: bool = True,
               timeout_s: Optional[float] = None) -> Any:
        call = self._connection.method(name)
        limit_s = self.options.call_timeout_s if timeout_s is None else timeout_s
        return self._again(lambda: call(request, timeout=limit_s), repeats, limit_s)

    def _again(self, attempt: Callable[[], T], repeats: bool = True,
               limit_s: Optional[float] = None) -> T:
        """Makes attempts while the server is away, until the next one would be too late."""
        deadline = time.monotonic() + (limit_s or self.options.call_timeout_s)
        backoff = Backoff(0.05, 1.0)
        while True:
            try:
                with self._translated():
                    return attempt()
            except Unavailable:
                pause = backoff.next()
                if not repeats or time.monotonic() + pause >= deadline:
                    raise
            time.sleep(pause)

    def _watch(self, name: str, request: Any, new_take: Callable[[], Callable[[Any], Optional[T]]],
               deadline: Optional[float] = None) -> Iterator[T]:
        """What `new_take` makes of the messages of a call, which is opened again after a break."""
        method = self._connection.method(name)
        attempts = Attempts(self.options.watch_give_up_after_s, 0.1, 2.0, time.monotonic())
        while True:
            take = new_take()
            left = None if deadline is None else max(deadline - time.monotonic(), 0)
            call = method(request, timeout=left)
            try:
                for message in call:
                    attempts.alive(time.monotonic())
                    taken = take(message)
                    if taken is not None:
                        yield taken
                return
            except grpc.RpcError as error:
                pause = attempts.pause_after(self._connection.error(error), time.monotonic())
            finally:
                call.cancel()
            time.sleep(pause)


class Session:
    """A scan, its reconstruction and its result. Made by `Client.create_session`.

    As a context manager it tells the end of the data. On a clean exit the writers that it has
    opened are closed, which waits until the server has their input safe, and then the scan is
    finished. On an exception the writers are cancelled and the session is stopped: it keeps what it
    has.

        with client.create_session("scan-4711", optics=..., detector=..., scan=...) as session:
            frames, positions = session.frame_writer(), session.position_writer()
            for k, (frame, x_m, y_m) in enumerate(detector):
                frames.push(k, frame)
                positions.push(k, x_m=x_m, y_m=y_m)
        result = session.result()

    Attributes:
        info: `v1.Session`, as of the last call; see `refresh`.
    """

    def __init__(self, client: Client, info: session_pb2.Session) -> None:
        self._client = client
        self._writers: list[Writer] = []
        self._told = False  # By the caller, how it ends.
        self.info = info

    def __enter__(self) -> "Session":
        return self

    def __exit__(self, kind: Optional[type[BaseException]], error: Optional[BaseException],
                 trace: Optional[TracebackType]) -> None:
        if error is None:
            try:
                for writer in self._writers:
                    writer.close()
            finally:
                self._cancel_writers()
            if not self._told:
                self.finish()
            return
        self._cancel_writers()
        if not self._told:
            try:
                self.stop()
            except PtychoserveError:
                pass  # It has ended, or the server is away: the exception under way says more.

    def __repr__(self) -> str:
        return f"<Session {self.id} {self.state}>"

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
        """As of the last call: "created", "receiving", "reconstructing", "refining", "completed",
        "stopped" or "failed"."""
        return short_name(session_pb2.SessionState, self.info.state)

    @property
    def ended(self) -> bool:
        """Whether the state is final, as of the last call."""
        return self.info.state in FINAL

    @property
    def config(self) -> config_pb2.SessionConfig:
        """The effective configuration, with all defaults filled in."""
        return self.info.config

    def refresh(self) -> "Session":
        """Asks the server how things are; then `info` says. Raises NotFound."""
        return self._call("GetSession", session_pb2.GetSessionRequest(name=self.name))

    def update(self, **settings: Any) -> "Session":
        """Changes what can be changed while it runs: run limits, snapshots, clear_region.

            session.update(run={"max_iterations": 500})

        Raises:
            InvalidArgument: a setting that is fixed, or a value out of range.
            FailedPrecondition: it has ended.
        """
        return self._call("UpdateSession", _requests.update(self.name, settings))

    def finish(self, expected_frames: Optional[int] = None) -> "Session":
        """Declares the end of data; may be repeated.

        Args:
            expected_frames: a number other than what has arrived becomes a warning.

        Raises: FailedPrecondition: it was stopped, or has failed.
        """
        self._told = True
        return self._call("FinishScan", session_pb2.FinishScanRequest(
            name=self.name, expected_frames=expected_frames))

    def test_orientation(self, timeout_s: float = 600.0) -> session_pb2.OrientationTest:
        """Finds out with the session's own frames which way these lie, and waits for the answer.

        As soon as 32 points take part, or all there will be; the run stands still meanwhile and goes
        on as if nothing had been. It takes parts of a second on a GPU, and up to minutes on a CPU.

        Returns: the trials by rising R-factor, and whether what was declared is `confirmed`.
        Raises: FailedPrecondition: the session has ended, or ends before; DeadlineExceeded.
        """
        return self._client._unary("TestOrientation", _requests.test_orientation(self.name),
                                   timeout_s=timeout_s)

    def stop(self, *, abort: bool = False) -> "Session":
        """Ends it, and keeps its result; with `abort`, without a last snapshot.

        Raises: FailedPrecondition: it has ended.
        """
        self._told = True
        return self._call("StopSession", _requests.stop(self.name, abort))

    def delete(self, *, force: bool = False) -> None:
        """Frees its memory and forgets its result; `force`: also when it has not ended.

        Raises: NotFound; FailedPrecondition: it has not ended.
        """
        self._told = True
        request = session_pb2.DeleteSessionRequest(name=self.name, force=force)
        call = self._client._connection.method("DeleteSession")
        repeated = False

        def attempt() -> None:
            nonlocal repeated
            again, repeated = repeated, True
            try:
                with self._client._translated():
                    call(request, timeout=self._client.options.call_timeout_s)
            except NotFound:
                if not again:  # Else the answer to an earlier call was lost.
                    raise

        self._client._again(attempt)

    def frame_writer(self, *, encoding: str = "raw", **options: Any) -> FrameWriter:
        """Opens a stream of frames, on a connection of its own; returns at once.

        Args:
            encoding: "raw" for arrays, "lz4" or "bslz4" for frames that are encoded.
            options: of `WriterOptions`, as keyword arguments.
        """
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

    def snapshot(self, arrays: Any = ("object", "probe"), *, version: int = 0,
                 not_newer_than: int = 0, wait_s: float = 0.0, **selection: Any) -> Snapshot:
        """One snapshot: the newest, or a version that is kept.

        Args:
            arrays: of `ptychoserve.ARRAYS`, or "all".
            version: a kept one; 0: the newest.
            not_newer_than: of this version or before, the answer is `unchanged`, without arrays,
            wait_s: after so long, 0..60, for a newer one.
            selection: area, uncovered, coverage_threshold, downsample, region of
                `ptychoserve.selection`.

        Raises: NotFound: the session, or the version.
        """
        request = _requests.get_snapshot(self.name, arrays, version, not_newer_than, wait_s,
                                         selection)
        return self._assembled("GetSnapshot", request, Assembler, wait_s)

    def frame(self, frame_id: Optional[int] = None, *, expected: bool = False,
              downsample: int = 1) -> Frame:
        """A frame of the detector as the session works with it.

        Args:
            frame_id: its id; default: that of the frame which has got to the device last.
            expected: also what the newest snapshot expects of it, if that shows the frame.
            downsample: mean over n x n pixels, 1..64.

        Raises:
            NotFound: the session, or the frame is not on the device.
            FailedPrecondition: the session has ended; it keeps its last frame alone.
        """
        request = _requests.get_frame(self.name, frame_id, expected, downsample)
        return self._assembled("GetFrame", request, FrameAssembler)

    def watch(self, *, min_interval_s: float = 0.2) -> Iterator[SessionEvent]:
        """Changes of state, warnings and progress, from the present state to the final one.

        Opens the call again when the connection or the server goes away; it then begins with how
        things are.

        Args:
            min_interval_s: least time between two of progress, 0.01..60.

        Raises: NotFound; Unavailable: the server has been away for `watch_give_up_after_s`.
        """
        return self._client._watch("WatchSession",
                                   _requests.watch_session(self.name, min_interval_s),
                                   _requests.take_events)

    def watch_snapshots(self, arrays: Any = ("object", "probe"), *, min_interval_s: float = 0.0,
                        **selection: Any) -> Iterator[Snapshot]:
        """Each new snapshot, until the final one; as `watch`.

        A reader that is slower than the run gets the latest; `Snapshot.skipped` tells how many it
        has missed.

        Args:
            arrays, selection: as for `snapshot`.
            min_interval_s: least time between two, 0..60.
        """
        return self._client._watch(
            "WatchSnapshots",
            _requests.watch_snapshots(self.name, arrays, min_interval_s, selection),
            _requests.take_snapshots)

    def wait(self, timeout_s: Optional[float] = None) -> "Session":
        """Waits until the session has ended.

        Raises:
            SessionFailed: it has failed.
            NotFound: it was deleted.
            DeadlineExceeded: it has not ended within the timeout.
        """
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        request = _requests.watch_session(self.name, 60.0)
        try:
            for event in self._client._watch("WatchSession", request, _requests.take_events,
                                             deadline):
                if event.kind == "deleted":
                    raise _requests.gone(self.name)
        except DeadlineExceeded:
            raise DeadlineExceeded(f"{self.name} has not ended within {timeout_s:g} s") from None
        self.refresh()
        _requests.check_ended(self.info)
        return self

    def result(self, timeout_s: Optional[float] = None) -> Result:
        """Waits for the end, and fetches all of the last snapshot. Raises as `wait`."""
        self.wait(timeout_s)
        return Result(self.snapshot("all", area="canvas"), self.info)

    def export_state(self, path: Union[str, os.PathLike], *, input: bool = True,
                     run: bool = True) -> None:
        """Writes the session to a file, as it is after the iteration under way; it goes on.

        Args:
            path: the file; it is there when all of it is.
            input: with what has come in; FailedPrecondition when the server does not have that.
            run: with object, probe and the place in the schedule.
        """
        request = state_pb2.ExportStateRequest(name=self.name, omit_input=not input,
                                               omit_run=not run)
        with replaced_file(path) as file, self._client._translated():
            for part in self._client._connection.method("ExportState")(request):
                file.write(part.data)

    def _assembled(self, name: str, request: Any, assembler: Callable[[], Any],
                   wait_s: float = 0.0) -> Any:
        """What comes in chunks, put together."""
        method = self._client._connection.method(name)

        def attempt() -> Any:
            take = assembler().add
            timeout = self._client.options.snapshot_timeout_s + wait_s
            for chunk in method(request, timeout=timeout):
                whole = take(chunk)
                if whole is not None:
                    return whole
            raise DataLoss(f"{name} ended early")

        return self._client._again(attempt)

    def _cancel_writers(self) -> None:
        """Those that have not closed."""
        for writer in self._writers:
            writer.cancel()

    def _call(self, name: str, request: Any) -> "Session":
        self.info = self._client._unary(name, request)
        return self
