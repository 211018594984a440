"""The bridge: sources on threads of their own, scans that come and go."""

from __future__ import annotations

import functools
import hashlib
import threading
import time
from itertools import groupby
from typing import Any, Callable, Iterable, Optional, Union

import zmq

from ptychoserve.bridges import eiger, panda, panda_tcp, sockets
from ptychoserve.bridges.messages import (BadMessage, EncoderBlock, EncoderStart, EncoderStop,
                                          Image, SeriesEnd, SeriesStart)
from ptychoserve.bridges.run_report import BadMessages, ScanReport
from ptychoserve.bridges.scan import Scan
from ptychoserve.bridges.silence import Due, Silence
from ptychoserve.client import Client
from ptychoserve.v1 import config_pb2

TICK_S = 0.05
QUIET_S = 10.0  # Longer than the pauses of most scans, shorter than a user's patience.
JOIN_S = 5.0
STREAMS = 4


class Bridge:
    """Feeds the sessions of a server from a detector and, if there is one, an encoder.

    Frame k of a series is point k of its session; sample s of an encoder's run belongs to point
    s // samples_per_frame. The runs of the encoder belong to the series in their order. A scan ends
    when both sources have said so, or a later series begins, or nothing has come for `idle_s`.

    Args:
        client: of the server.
        config: of the sessions; what it leaves open is filled in from what the detector says.
        prefix: session ids are "PREFIX-SERIES".
        detector: its address. A series that began before this bridge did goes on in the session
            that a bridge of the same detector has begun, and in no other.
        streams: of frames, to the server, for each session; it decodes what one of them brings on
            one core.
        channels: of the encoder; None: there is no encoder, and the bridge leaves the end of a scan
            to the session's own rules.
        idle_s: see above.
        quiet_s: a source that is silent for so long in the middle of a scan is named.
        report: called with what has become of each scan.
        log: called with what a user should know.
    """

    def __init__(self, client: Client, config: config_pb2.SessionConfig, *, prefix: str = "scan",
                 detector: str = "", streams: int = STREAMS,
                 channels: Optional[panda.Channels] = None,
                 idle_s: float = 60.0, quiet_s: float = QUIET_S,
                 report: Callable[[ScanReport], None] = print,
                 log: Callable[[str], None] = print) -> None:
        self._client = client
        self._config = config
        self._prefix = prefix
        self._detector = hashlib.sha256(detector.encode()).hexdigest()[:16]
        self._streams = streams
        self._channels = channels
        self._idle_s = idle_s
        self._quiet_s = quiet_s
        self._report = report
        self._log = log
        self._bad = BadMessages(log)
        self._stopped = threading.Event()
        self._failure: Optional[Exception] = None
        self._lock = threading.Lock()  # Guards _scans and who has which encoder run.
        self._scans: list[Scan] = []
        self._finished_series: Optional[int] = None
        self._encoder_waits: list[Any] = []  # What belongs to a scan that is not there yet.
        self._encoder_waits_since = 0.0
        self._encoder_known = False          # Whether a run has begun or ended before our eyes.
        self._encoder_scan: Optional[Scan] = None

    def stop(self) -> None:
        """Has `run` return soon; sessions stay as they are. May be called by a signal handler."""
        self._stopped.set()

    def run(self, eiger_socket: zmq.Socket,
            encoder: Union[zmq.Socket, panda_tcp.Connection, None] = None, *,
            scans: int = 0) -> None:
        """Reads the sources until `stop`, or until so many scans have ended (0: any number)."""
        threads = [self._reader("eiger", self.take_eiger, self.due_frames, lambda: list(
            self.decoded("eiger", sockets.receive(eiger_socket), eiger.decode)))]
        if encoder is not None:
            threads.append(self._reader("panda", self.take_panda, self.due_samples,
                                        functools.partial(self._read_encoder, encoder)))
        for thread in threads:
            thread.start()
        ended = 0
        while not self._stopped.wait(TICK_S):
            ended += self.finish_scans(time.monotonic())
            if scans and ended >= scans:
                self._stopped.set()
        for thread in threads:
            thread.join(JOIN_S)
        for scan in self._scans:  # A thread that waits for a server is set free.
            scan.leave()
            self._log(f"{scan.report.session}: left under way: {scan.progress}. The same command "
                      "goes on with it")
        for thread in threads:
            thread.join()
        if self._failure is not None:
            raise self._failure

    def _reader(self, source: str, take: Callable[[list[Any]], None],
                due: Callable[[], Optional[Due]],
                read: Callable[[], list[Any]]) -> threading.Thread:
        def run() -> None:
            silence = Silence(source, self._quiet_s, due, self._log, time.monotonic())
            try:
                while not self._stopped.is_set():
                    events = read()
                    if events:
                        take([event for event in events if event is not None])
                        silence.heard(time.monotonic())
                    else:
                        silence.nothing(time.monotonic())
            except Exception as error:  # A fault of the bridge, which `run` raises.
                self._failure = error
                self._stopped.set()

        return threading.Thread(target=run, name=f"bridge {source}")

    def _read_encoder(self, encoder: Union[zmq.Socket, panda_tcp.Connection]) -> list[Any]:
        if not isinstance(encoder, panda_tcp.Connection):
            decode = functools.partial(panda.decode, channels=self._channels or panda.Channels())
            return list(self.decoded("panda", sockets.receive(encoder), decode))
        try:
            return encoder.receive()
        except BadMessage as error:
            self._bad.add("panda", error)
            return [None]

    def decoded(self, source: str, messages: Iterable[list[bytes]],
                decode: Callable[[list[bytes]], Any]) -> Iterable[Any]:
        """What messages say; None for those that cannot be used, which are counted."""
        for parts in messages:
            try:
                yield decode(parts)
            except BadMessage as error:
                self._bad.add(source, error)
                yield None

    # --- What is due of the sources --------------------------------------------------------------

    def due_frames(self) -> Optional[Due]:
        """Of a series that has begun and has not ended."""
        with self._lock:
            scan = next((scan for scan in self._scans if not scan.frames_ended), None)
        if scan is None:
            return None
        return Due(scan.began, f"{scan.progress}; waits for more frames, or the end of the series")

    def due_samples(self) -> Optional[Due]:
        """Of a run that has begun and has not ended, or one that a series waits for."""
        with self._lock:
            scan = self._encoder_scan or next(
                (scan for scan in self._scans if not scan.has_encoder), None)
        if scan is None:
            return None
        waits_for = ("more samples, or the end of the run" if scan.has_encoder else
                     "a run of the encoder, which has to be armed for each series")
        return Due(scan.began, f"{scan.progress}; waits for {waits_for}")

    # --- The detector -------------------------------------------------------------------------

    def take_eiger(self, events: Iterable[Union[SeriesStart, Image, SeriesEnd]]) -> None:
        """What the detector says, in its order."""
        for (kind, series), group in groupby(events, lambda event: (type(event), event.series)):
            said: list[Any] = list(group)
            if kind is SeriesStart:
                self._begin(said[0], announced=True)
            elif kind is SeriesEnd:
                self._end_frames(series)
            else:
                self._push(series, said)

    def _push(self, series: int, images: list[Image]) -> None:
        scan = self._scan_of(series)
        if scan is None:
            if series == self._finished_series:
                self._bad.add("eiger", BadMessage("after_the_end", f"series {series}"),
                              len(images))
                return
            scan = self._begin(SeriesStart(series), announced=False)
        form = scan.form or images[0].form
        fitting = [image for image in images if image.form == form]
        if len(fitting) < len(images):
            other = next(image for image in images if image.form != form)
            self._bad.add("eiger", BadMessage(
                "wrong_shape", f"frame {other.frame} of series {series} is {other.form}; the "
                f"series began with {form}"), len(images) - len(fitting))
        if fitting:
            try:
                scan.push(fitting)
            except BadMessage as error:
                self._bad.add("eiger", error, len(fitting))

    def _begin(self, start: SeriesStart, announced: bool) -> Scan:
        with self._lock:
            for scan in self._scans:
                if scan.series == start.series and not scan.frames_ended:
                    return scan  # Said twice.
                scan.frames_ended = True  # If its own end did not come.
            scan = Scan(self._client, self._config, f"{self._prefix}-{start.series}", start,
                        announced, self._streams, self._detector, self._idle_s, self._stopped,
                        self._log)
            self._scans.append(scan)
        self._place_encoder()
        return scan

    def _end_frames(self, series: int) -> None:
        scan = self._scan_of(series)
        if scan is not None:
            scan.frames_ended = True

    def _scan_of(self, series: int) -> Optional[Scan]:
        with self._lock:
            return next((scan for scan in reversed(self._scans) if scan.series == series), None)

    # --- The encoder --------------------------------------------------------------------------

    def take_panda(self, events: Iterable[Union[EncoderStart, EncoderBlock, EncoderStop]]) -> None:
        """What the encoder says, in its order."""
        with self._lock:
            if not self._encoder_waits:
                self._encoder_waits_since = time.monotonic()
            self._encoder_waits += events
        self._place_encoder()

    def _place_encoder(self) -> None:
        """Gives what waits to the scans that it belongs to, as far as these are there."""
        with self._lock:
            waits, self._encoder_waits = self._encoder_waits, []
            for k, event in enumerate(waits):
                if not self._place(event):
                    self._encoder_waits = waits[k:]
                    return

    def _place(self, event: Union[EncoderStart, EncoderBlock, EncoderStop]) -> bool:
        """Whether it has found its scan. Runs without samples belong to none."""
        if isinstance(event, EncoderStart):
            self._end_encoder()  # If its own stop did not come.
            return True
        if self._encoder_scan is None:
            if isinstance(event, EncoderStop) and self._encoder_known:
                return True
            scan = next((scan for scan in self._scans if not scan.has_encoder), None)
            if scan is None:
                return False
            scan.has_encoder, self._encoder_scan = True, scan
        if isinstance(event, EncoderBlock):
            self._encoder_scan.push_samples(event)
        else:
            self._end_encoder()
        return True

    def _end_encoder(self) -> None:
        self._encoder_known = True
        if self._encoder_scan is not None:
            self._encoder_scan.encoder_ended = True
            self._encoder_scan = None

    def _expire_encoder(self, now: float) -> int:
        """Samples that no series has come for: nor will it, and they must not be the next one's.
        How many scans that ends, which is one or none."""
        with self._lock:
            if not self._encoder_waits or now - self._encoder_waits_since < self._idle_s:
                return 0
            samples = [len(event.x_counts) for event in self._encoder_waits
                       if isinstance(event, EncoderBlock)]
            self._encoder_waits = []
        if not samples:
            return 0
        self._bad.add("panda", BadMessage("no_series", f"{sum(samples)} samples"), len(samples))
        self._report(ScanReport(
            "", None, bad_messages=self._bad.take(),
            error=f"{sum(samples)} samples of the encoder came and no series of the detector "
                  f"within {self._idle_s:g} s: nothing is reconstructed. Is the detector armed, "
                  "and --eiger its address? ptychoserve-doctor with this --eiger looks"))
        return 1

    # --- The end of scans ---------------------------------------------------------------------

    def finish_scans(self, now: float) -> int:
        """Finishes those that are over; how many."""
        expired = self._expire_encoder(now)
        over = [scan for scan in list(self._scans) if self._is_over(scan, now)]
        for scan in over:
            report = scan.finish(end_of_data=self._channels is not None)
            with self._lock:
                self._scans.remove(scan)
                if self._encoder_scan is scan:
                    self._encoder_scan = None
                self._finished_series = scan.series
            report.bad_messages = self._bad.take()
            self._report(report)
        return expired + len(over)

    def _is_over(self, scan: Scan, now: float) -> bool:
        if scan.frames_ended and (scan.encoder_ended or self._channels is None):
            return True
        return now - scan.last_input > self._idle_s
