"""The callable that a RunEngine is given: takes documents, never blocks, never raises."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Optional, Union

import numpy as np

from ptychoserve.bluesky import documents
from ptychoserve.bluesky.documents import Document
from ptychoserve.bluesky.files import Assets
from ptychoserve.bluesky.run import Feed, FromStart, Mapped, Run
from ptychoserve.client import Client
from ptychoserve.config import session_config
from ptychoserve.errors import DeadlineExceeded, PtychoserveError, ResourceExhausted, invalid
from ptychoserve.v1 import config_pb2

_log = logging.getLogger("ptychoserve.bluesky")
MOST_ERRORS = 100
MOST_RUNS = 1000  # Reports of runs that are over.
_DROPPABLE = ("event", "event_page")  # All others are small, and nothing works without them.


class Consumer:
    """Feeds sessions with the documents of a RunEngine: `RE.subscribe(consumer)`.

    Each run whose descriptor has the frames becomes a session, also when runs are interleaved;
    others are let pass. A thread of the consumer does the work: a call puts the document into a
    queue and returns. Nothing that goes wrong reaches the RunEngine; it is logged, as
    "ptychoserve.bluesky", and kept in `errors`.

        with Consumer("127.0.0.1:50051", frames="eiger_image", x="piezo_x", y="piezo_y",
                      settings={"optics": {...}, "detector": {"dtype": "u32"}},
                      from_start={"optics.photon_energy_ev": "energy_ev"}) as consumer:
            RE.subscribe(consumer)
            RE(plan())

    Args:
        server: "HOST:PORT", or a `Client`, which stays open.
        frames, x, y: data keys of the frames, and of the stage along x and y.
        settings: of the sessions, as `ptychoserve.session_config` takes them.
        config: a `v1.SessionConfig`, under `settings`.
        from_start: settings of a run's start document: "optics.photon_energy_ev" to the dotted
            path of the value there, or to a function of the document.
        units: of x and y where the descriptor has none: "mm", "um", ...
        stream: name of the stream.
        prefix: sessions are PREFIX-SCAN_ID-UID, with the first 8 characters of the run's uid.
        root_map: where folders of the documents' files are found here.
        queue_bytes: of what may wait. Beyond, events are dropped, and counted as `Run.lost`.
        file_timeout_s: how long a file may lack what a document says of it.

    Raises:
        InvalidArgument: a setting that there is not.
        Unavailable: no server answers.
    """

    def __init__(self, server: Union[str, Client], *, frames: str, x: str, y: str,
                 settings: Optional[Mapping[str, Any]] = None,
                 config: Optional[config_pb2.SessionConfig] = None,
                 from_start: Optional[FromStart] = None, units: str = "", stream: str = "primary",
                 prefix: str = "scan", root_map: Optional[Mapping[str, str]] = None,
                 queue_bytes: int = 1 << 30, file_timeout_s: float = 10.0) -> None:
        self._mapped = Mapped(frames, x, y, units, stream,
                              session_config(config, **(settings or {})), from_start or {}, prefix,
                              file_timeout_s)
        self._owns_client = isinstance(server, str)
        self._client = Client(server) if isinstance(server, str) else server
        self._queue_bytes = queue_bytes
        self._changed = threading.Condition()  # Guards all up to the thread.
        self._queue: deque[tuple[str, Document, int]] = deque()
        self._queued_bytes = 0
        self._busy = False
        self._closed = False
        self._runs: dict[str, Run] = {}
        self._errors: deque[Exception] = deque(maxlen=MOST_ERRORS)
        self._error_count = 0
        # Of the thread alone:
        self._feeds: dict[str, Feed] = {}
        self._of_descriptor: dict[str, Feed] = {}
        self._assets = Assets(root_map or {})
        self._newest = ""
        self._thread = threading.Thread(target=self._work, daemon=True, name="ptychoserve bluesky")
        self._thread.start()

    def __call__(self, name: str, document: Document) -> None:
        """Takes a document, and returns at once. Arrays in it must not be written to again."""
        size = _bytes_of(document)
        error: PtychoserveError
        with self._changed:
            full = self._queue and self._queued_bytes + size > self._queue_bytes
            if self._closed:
                error = invalid("document", name, "none once the consumer is closed")
            elif full and name in _DROPPABLE and isinstance(document, Mapping):
                error = ResourceExhausted(
                    f"{name} {document.get('seq_num')} was dropped: "
                    f"{self._queued_bytes / 1e6:.0f} MB wait for the server",
                    hint="is the server slow or away? queue_bytes allows for more")
                self._put(f"lost {name}", {"descriptor": document.get("descriptor"),
                                           "seq_num": document.get("seq_num")}, 0)
            else:
                self._put(name, document, size)
                return
        self._failed(error)

    def __enter__(self) -> "Consumer":
        return self

    def __exit__(self, kind: Optional[type[BaseException]], error: Optional[BaseException],
                 trace: Optional[TracebackType]) -> None:
        self.close()

    @property
    def runs(self) -> dict[str, Run]:
        """By uid, in their order: those under way, and the last ones that are over."""
        with self._changed:
            return dict(self._runs)

    @property
    def errors(self) -> list[Exception]:
        """The last 100; `error_count` has all."""
        with self._changed:
            return list(self._errors)

    @property
    def error_count(self) -> int:
        """How many there were."""
        with self._changed:
            return self._error_count

    def wait(self, timeout_s: Optional[float] = None) -> None:
        """Waits until all documents so far are dealt with: of runs that have stopped, all input is
        safe, and the server is told of the end. Reconstruction goes on after that:
        `client.session(run.session_id).wait()`.

        Raises: DeadlineExceeded: not within the timeout; it goes on.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: not self._queue and not self._busy, timeout_s):
                raise DeadlineExceeded(f"{len(self._queue)} documents wait after {timeout_s:g} s")

    def close(self, timeout_s: Optional[float] = None) -> None:
        """Deals with what waits, and ends. Sessions of runs without a stop document are stopped,
        and keep what they have.

        Raises: DeadlineExceeded: not within the timeout; it has ended without what still waited.
        """
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join(timeout_s)
        late = self._thread.is_alive()
        if late:
            with self._changed:
                waited = len(self._queue)
                self._queue.clear()
            for feed in list(self._feeds.values()):
                feed.cancel()
        if self._owns_client:
            self._client.close()
        if late:
            raise DeadlineExceeded(f"{waited} documents were left after {timeout_s:g} s")

    def _put(self, name: str, document: Document, size: int) -> None:
        self._queue.append((name, document, size))
        self._queued_bytes += size
        self._changed.notify_all()

    def _failed(self, error: Exception, run: Optional[Run] = None) -> None:
        _log.error("%s%s", f"run {run.scan_id or run.uid}: " if run else "", error,
                   exc_info=None if isinstance(error, PtychoserveError) else error)
        with self._changed:
            self._errors.append(error)
            self._error_count += 1
            if run is not None and len(run.errors) < MOST_ERRORS:
                run.errors.append(error)

    # --- On the thread --------------------------------------------------------------------------

    def _work(self) -> None:
        while True:
            with self._changed:
                self._busy = False
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._queue or self._closed)
                if not self._queue:
                    break
                name, document, size = self._queue.popleft()
                self._queued_bytes -= size
                self._busy = True
            feed: Optional[Feed] = None
            try:
                feed = self._feed_of(name, document)
                self._take(name, document, feed)
            except Exception as error:  # The RunEngine goes on, and so do the other documents.
                self._failed(error, feed.report if feed else None)
        for uid, feed in list(self._feeds.items()):
            try:
                self._end(uid, None)
            except Exception as error:
                self._failed(error, feed.report)

    def _feed_of(self, name: str, document: Document) -> Optional[Feed]:
        """None: of a run that is not under way, or of none."""
        if not isinstance(document, Mapping):
            raise invalid(name, f"a {type(document).__name__}", "a document, which is a mapping")
        if name in ("descriptor", "stop"):
            uid = documents.field(name, document, "run_start", str)
            if uid not in self._feeds:
                raise invalid(f"{name}.run_start", repr(uid), "the uid of a run under way",
                              hint="was the consumer subscribed in the middle of the run?")
            return self._feeds[uid]
        return self._of_descriptor.get(str(document.get("descriptor")))

    def _take(self, name: str, document: Document, feed: Optional[Feed]) -> None:
        if name == "start":
            self._begin(document)
        elif name == "descriptor":
            assert feed is not None  # Looked up.
            self._of_descriptor[documents.field(name, document, "uid", str)] = feed
            feed.descriptor(document)
        elif name in ("resource", "stream_resource"):
            self._assets.add_resource(name, document, self._newest)
        elif name in ("datum", "datum_page"):
            self._assets.add_datums(name, document)
        elif name == "stop":
            self._end(document["run_start"], document)
        elif name not in ("event", "event_page", "stream_datum", "lost event", "lost event_page"):
            raise invalid("document", repr(name), "a name of the event model, such as event")
        elif feed is None:
            raise invalid(f"{name}.descriptor", repr(document.get("descriptor")),
                          "the uid of a descriptor that came before")
        elif name == "stream_datum":
            feed.stream_datum(document, self._assets)
        elif name.startswith("lost "):
            feed.lost(name[len("lost "):], document)
        else:
            feed.event(name, document, self._assets)

    def _begin(self, document: Document) -> None:
        feed = Feed(self._client, self._mapped, document)
        self._newest = feed.report.uid
        if self._newest in self._feeds:
            raise invalid("start.uid", repr(self._newest), "one that is not under way already")
        self._feeds[self._newest] = feed
        with self._changed:
            self._runs[self._newest] = feed.report
            over = [uid for uid in self._runs if uid not in self._feeds]
            for uid in over[:max(0, len(over) - MOST_RUNS)]:
                del self._runs[uid]

    def _end(self, uid: str, document: Optional[Document]) -> None:
        feed = self._feeds.pop(uid)
        self._of_descriptor = {k: f for k, f in self._of_descriptor.items() if f is not feed}
        self._assets.forget(uid)
        try:
            feed.stop(document)
        finally:
            feed.cancel()  # After a close, nothing; else there is an error under way.


def _bytes_of(document: Any) -> int:
    """About what it holds in memory: of its arrays, as all else is small."""
    if isinstance(document, np.ndarray):
        return document.nbytes
    if isinstance(document, Mapping):
        return 256 + sum(map(_bytes_of, document.values()))
    if isinstance(document, (list, tuple)):
        return 8 * len(document) + sum(map(_bytes_of, document[:1])) * len(document)
    return 8
