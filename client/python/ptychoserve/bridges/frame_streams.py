"""Several streams of frames as one."""

from __future__ import annotations

import itertools
import threading
import time
from typing import Optional, Sequence

import numpy as np

from ptychoserve._flush import flush
from ptychoserve.bridges.messages import Form, Image
from ptychoserve.client import Session
from ptychoserve.errors import PtychoserveError
from ptychoserve.options import WriterOptions
from ptychoserve.writers import FrameWriter


class FrameStreams:
    """Sends the frames of a session by so many writers, each in turn about a message of them.

    A server decodes what one stream brings on one core at a time. Together they hold no more than
    one writer would.

    Args:
        producer: writer k is `PRODUCER.k`; see `WriterOptions.producer`.
    """

    def __init__(self, session: Session, form: Form, streams: int, producer: str) -> None:
        self._form = form
        options = WriterOptions()
        self._message_bytes = options.message_bytes
        self._writers: list[FrameWriter] = [
            session.frame_writer(encoding=form.encoding, producer=f"{producer}.{k}",
                                 queue_bytes=options.queue_bytes // streams,
                                 retain_bytes=options.retain_bytes // streams)
            for k in range(streams)]
        self._turns = itertools.cycle(self._writers)
        self._writer = next(self._turns)
        self._of_turn_bytes = 0  # What the present writer has got.

    def push(self, ids: Sequence[int], images: Sequence[Image]) -> None:
        """Takes frames, all of the form; waits while the server has no room."""
        if self._of_turn_bytes >= self._message_bytes:
            self._writer, self._of_turn_bytes = next(self._turns), 0
        self._of_turn_bytes += sum(len(image.data) for image in images)
        if self._form.encoding == "raw":
            self._writer.push(ids, np.stack([
                np.frombuffer(image.data, self._form.dtype).reshape(self._form.rows,
                                                                    self._form.cols)
                for image in images]))
        else:
            self._writer.push_encoded(ids, [image.data for image in images])

    def skip(self, first_frame_id: int, count: int) -> None:
        """Declares frames that nobody will send."""
        self._writer.skip(first_frame_id, count)

    def flush(self, stopped: threading.Event) -> None:
        """Waits until the server has dealt with all; see `_flush.flush`."""
        for writer in self._writers:
            flush(writer, stopped)

    def close(self, timeout_s: Optional[float] = None) -> None:
        """Sends what waits, and ends all streams within the timeout.

        Raises: as `Writer.close`, the first error of them.
        """
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        failure: Optional[PtychoserveError] = None
        for writer in self._writers:
            try:
                writer.close(None if deadline is None else max(0.0, deadline - time.monotonic()))
            except PtychoserveError as error:
                failure = failure or error
        if failure is not None:
            raise failure
