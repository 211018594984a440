"""Writers: NumPy in, a thread that sends, memory that is bounded, breaks that are got over."""

from __future__ import annotations

import secrets
import threading
import time
from types import TracebackType
from typing import Any, Callable, Iterator, Optional, Sequence, TypeVar

import grpc
from numpy.typing import ArrayLike

from ptychoserve import _batching, _input, errors
from ptychoserve._batching import FrameFormat, Frames, Item, Message, Positions
from ptychoserve._connection import Connection
from ptychoserve._ingest import HALF_CLOSE, Ingest
from ptychoserve._input import FrameIds
from ptychoserve.errors import PtychoserveError
from ptychoserve.options import WriterOptions
from ptychoserve.report import WriterReport

Self = TypeVar("Self", bound="Writer")


class Writer:
    """What `FrameWriter` and `PositionWriter` have in common.

    As a context manager it closes on a clean exit, which waits until the server has all of it safe,
    and cancels when there was an exception. Thread-safe.
    """

    _kind: type[Item]
    _most_items: int

    def __init__(self, connect: Callable[[], Connection], session: str,
                 options: WriterOptions) -> None:
        self._ingest = Ingest(self._kind, self._most_items, session, options,
                              producer=secrets.token_hex(8), now=time.monotonic())
        self._options = options
        self._connect = connect
        self._session = session
        self._changed = threading.Condition()  # Guards _ingest and _call.
        self._call: Optional[Any] = None
        self._thread = threading.Thread(target=self._run, daemon=True,
                                        name=f"ptychoserve {self._kind.noun}")
        self._thread.start()

    def __enter__(self: Self) -> Self:
        return self

    def __exit__(self, kind: Optional[type[BaseException]], error: Optional[BaseException],
                 trace: Optional[TracebackType]) -> None:
        if error is None:
            self.close()
        else:
            self.cancel()

    @property
    def report(self) -> WriterReport:
        """What was sent, and what has become of it."""
        with self._changed:
            return self._ingest.report

    @property
    def error(self) -> Optional[PtychoserveError]:
        """That by which the writer has ended; None while it lives and after a clean close."""
        with self._changed:
            return self._ingest.error

    def flush(self, timeout_s: Optional[float] = None) -> WriterReport:
        """Waits until the server has dealt with all that was pushed: it is in its memory.

        Raises:
            DeadlineExceeded: not within the timeout; the writer goes on.
            PtychoserveError: that by which the writer has ended.
        """
        with self._changed:
            self._ingest.hurry()
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._ingest.finished or self._ingest.flushed,
                                   timeout_s)
            if self._ingest.flushed:
                return self._ingest.report
            raise (self._ingest.error or self._ingest.late("flush"))

    def close(self, timeout_s: Optional[float] = None) -> WriterReport:
        """Sends what waits, and ends the stream once the server has all of it safe.

        That is on its disk when it keeps a journal, else in its memory. Breaks are got over within
        the timeout; after it the writer is cancelled. Closing again does nothing more. A session
        that has ended meanwhile is no error if it has all that was pushed.

        Raises:
            DeadlineExceeded: not within the timeout; the message says how much was not sent.
            PtychoserveError: that by which the writer has ended.
        """
        with self._changed:
            self._ingest.close()
            self._changed.notify_all()
            if not self._changed.wait_for(lambda: self._ingest.finished, timeout_s):
                self._cancel(self._ingest.late("close"))
        self._thread.join()
        with self._changed:
            if self._ingest.error is not None:
                raise self._ingest.error
            return self._ingest.report

    def cancel(self) -> None:
        """Ends the writer at once. What was not acknowledged may be lost."""
        with self._changed:
            self._cancel(errors.Cancelled("the writer was cancelled"))
        self._thread.join()

    def _cancel(self, why: PtychoserveError) -> None:
        self._ingest.cancel(why)
        if self._call is not None:
            self._call.cancel()
        self._changed.notify_all()

    def _push(self, make_items: Callable[[int], Iterator[Item]], timeout_s: Optional[float],
              copy: bool = True) -> None:
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        for item in make_items(self._ingest.block_bytes):
            with self._changed:
                while not self._ingest.take(item, copy):
                    left = None if deadline is None else deadline - time.monotonic()
                    if left is not None and left <= 0:
                        raise self._ingest.full()
                    self._changed.wait(left)
                if self._ingest.stirred:
                    self._changed.notify_all()

    # --- On the writer's thread ---------------------------------------------------------------

    def _run(self) -> None:
        connection = self._connect()
        try:
            pause: Optional[float] = 0.0
            while pause is not None:
                pause = self._attempt(connection)
                with self._changed:
                    self._changed.notify_all()
                    if pause is not None and self._changed.wait_for(
                            lambda: self._ingest.finished, pause):
                        pause = None
        except Exception as error:  # Of a callback: nobody else would hear of it.
            with self._changed:
                self._ingest.fail(error)
                self._changed.notify_all()
        finally:
            connection.channel.close()

    def _attempt(self, connection: Connection) -> Optional[float]:
        """One call, from its first message to its end; the pause before the next one."""
        over = threading.Event()
        stream = connection.method(self._kind.method, session=self._session, raw_requests=True)
        with self._changed:
            first = self._ingest.open()
            try:
                call = self._call = stream(self._requests(first, over))
            except PtychoserveError as no_token:
                return self._ingest.on_end(no_token, time.monotonic())
            if self._ingest.stopped:
                call.cancel()
        unanswered = threading.Event()

        def give_up() -> None:
            unanswered.set()
            call.cancel()

        patience = threading.Timer(self._options.open_timeout_s, give_up)
        patience.daemon = True
        patience.start()
        error: Optional[PtychoserveError] = None
        try:
            for ack in call:
                patience.cancel()
                with self._changed:
                    self._ingest.on_ack(ack, time.monotonic())
                    if self._ingest.stopped:
                        call.cancel()
                    self._changed.notify_all()
        except grpc.RpcError as rpc_error:
            error = connection.error(rpc_error)
            if unanswered.is_set():
                error = errors.Unavailable("the server has not answered within "
                                           f"{self._options.open_timeout_s:g} s")
        finally:
            patience.cancel()
            call.cancel()  # If a callback has failed; else it has ended.
            with self._changed:
                over.set()
                self._call = None
                self._changed.notify_all()
        with self._changed:
            return self._ingest.on_end(error, time.monotonic())

    def _requests(self, first: bytes, over: threading.Event) -> Iterator[bytes]:
        """Messages of one call, on a thread of gRPC, until the call is over."""
        yield first
        while True:
            with self._changed:
                while True:
                    if over.is_set():
                        return
                    what = self._ingest.next(time.monotonic())
                    if what is HALF_CLOSE:
                        return
                    if isinstance(what, Message):
                        break
                    self._changed.wait(what)
                self._changed.notify_all()
            yield what.join()


class FrameWriter(Writer):
    """Sends frames to a session. Made by `Session.frame_writer`.

    A thread of the writer batches, sends, and keeps to the credit that the server grants. When the
    connection breaks or the server restarts, it connects again, and sends again what the server
    does not have. What cannot be got over (unknown session, session ended, a later writer of the
    same producer, a server that stays away) is raised by the next `push`, `flush` or `close`.
    """

    _kind = Frames
    _most_items = _batching.MAX_FRAMES_PER_BATCH

    def __init__(self, connect: Callable[[], Connection], session: str,
                 frame_format: FrameFormat, options: WriterOptions) -> None:
        self._format = frame_format
        super().__init__(connect, session, options)

    def push(self, frame_ids: FrameIds, frames: ArrayLike, *, copy: bool = True,
             timeout_s: Optional[float] = None) -> None:
        """Takes one frame or several, and returns; waits only while there is no room.

        Args:
            frame_ids: the id of the frame; of several, that of the first, when the others follow,
                or one each. Ids say which point of the scan it is, nothing about order.
            frames: counts, [rows, cols] or [frames, rows, cols], of the session's type.
            copy: whether they are copied, and may be written to again at once. Without, they are
                sent from where they are, and must stay as they are until the writer has closed.
            timeout_s: how long to wait for room; None: as long as the writer lives; 0: not at all.

        Raises:
            ResourceExhausted: no room within the timeout. Of several frames, the first ones may
                have been taken; pushing them again does no harm.
            InvalidArgument: another type or shape than the session's.
            FailedPrecondition: closed, or the session has ended.
        """
        self._push(lambda size: _input.frames(self._format, frame_ids, frames, size), timeout_s,
                   copy)

    def push_encoded(self, frame_ids: FrameIds, frames: Sequence[Any], *,
                     timeout_s: Optional[float] = None) -> None:
        """Takes frames that are encoded as the writer's `encoding` says.

        Args:
            frame_ids: as for `push`.
            frames: one frame, or a sequence of them, each bytes or a buffer.
            timeout_s: as for `push`.

        Raises: as `push`.
        """
        self._push(lambda size: _input.encoded_frames(self._format, frame_ids, frames, size),
                   timeout_s)

    def skip(self, first_frame_id: int, count: int = 1, *,
             timeout_s: Optional[float] = None) -> None:
        """Declares that the detector has lost these frames and that nobody will send them.

        Raises: as `push`; InvalidArgument for a count below 1.
        """
        self._push(lambda _: _input.skipped(first_frame_id, count), timeout_s)


class PositionWriter(Writer):
    """Sends positions or encoder samples. Made by `Session.position_writer`; as `FrameWriter`."""

    _kind = Positions
    _most_items = _batching.MAX_POSITIONS_PER_BATCH

    def push(self, frame_ids: FrameIds, *, x_m: ArrayLike, y_m: ArrayLike,
             timeout_s: Optional[float] = None) -> None:
        """Takes positions: where the beam's centre is during each frame.

        Args:
            frame_ids: as for `FrameWriter.push`.
            x_m, y_m: metres of the stage; numbers, or arrays [positions].
            timeout_s: as for `FrameWriter.push`.

        Raises: as `FrameWriter.push`.
        """
        self._push(lambda size: _input.positions(frame_ids, x_m, y_m, size), timeout_s)

    def push_encoder_samples(self, first_sample: int, *, x_counts: ArrayLike, y_counts: ArrayLike,
                             timeout_s: Optional[float] = None) -> None:
        """Takes raw encoder samples first_sample, first_sample + 1, ...; see `scan.encoder`.

        Args:
            first_sample: index of the first one, >= 0.
            x_counts, y_counts: arrays [samples].
            timeout_s: as for `FrameWriter.push`.

        Raises: as `FrameWriter.push`.
        """
        self._push(lambda size: _input.encoder_samples(first_sample, x_counts, y_counts, size),
                   timeout_s)
