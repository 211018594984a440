"""Positions of a PandA from its own data port, without anything between.

The client sends one line of options and gets OK; then, for each run, a header of lines up to an
empty one, blocks of samples, and a line that begins with END:

    missed: 0
    process: Unscaled
    format: Framed
    sample_bytes: 12
    fields:
     PCAP.TS_TRIG double Value
     INENC2.VAL int32 Value

    BIN, length of the block with these 8 bytes, samples one after the other; little-endian
    END 410 Ok

(PandABlocks-server, "Data Capture".) Samples are counted from the start of the run; `missed` are
those before the connection.
"""

from __future__ import annotations

import socket
import struct
import time
from typing import Callable, Optional, Union

import numpy as np

from ptychoserve.bridges.messages import (MAX_NUMBER, BadMessage, EncoderBlock, EncoderStart,
                                          EncoderStop)
from ptychoserve.bridges.panda import Channels
from ptychoserve.errors import invalid

PORT = 8889
OPTIONS = b"FRAMED UNSCALED\n"
BLOCK = struct.Struct("<4sI")
BLOCK_MARK = b"BIN "
MAX_BLOCK_BYTES = 64 << 20
MAX_LINE_BYTES = 4096
MAX_FIELDS = 256
TYPES = {"int32": "<i4", "uint32": "<u4", "int64": "<i8", "double": "<f8"}
RETRY_S = 1.0
TIMEOUT_S = 0.1
CONNECT_TIMEOUT_S = 5.0

Event = Union[EncoderStart, EncoderBlock, EncoderStop]


class Parser:
    """Bytes in, in any pieces; events out. Not to be used further once it has raised.

    Args:
        channels: "/NAME.CAPTURE" of the fields that hold the counts, as in the JSON messages.
        goes_on: whether the first run is one whose beginning has been told before.
    """

    def __init__(self, channels: Channels, goes_on: bool = False) -> None:
        self.in_run = goes_on
        self._goes_on = goes_on
        self._channels = channels
        self._bytes = bytearray()
        self._greeted = False
        self._header: list[str] = []
        self._sample: Optional[np.dtype] = None  # Of the run; None between runs.
        self._xy: tuple[str, str] = ("", "")
        self._next = 0
        self._rest = b""

    def feed(self, data: bytes) -> list[Event]:
        """Raises: BadMessage: this is not what a PandA sends."""
        self._bytes += data
        events: list[Event] = []
        while self._step(events):
            pass
        return events

    def _step(self, events: list[Event]) -> bool:
        """Whether there was enough for one step."""
        if self._sample is not None and len(self._bytes) < len(BLOCK_MARK):
            return False
        if self._sample is not None and self._bytes.startswith(BLOCK_MARK):
            return self._take_block(events)
        end = self._bytes.find(b"\n")
        if end < 0 or end > MAX_LINE_BYTES:
            if len(self._bytes) > MAX_LINE_BYTES:
                raise BadMessage("oversized", "a line without an end")
            return False
        line = self._bytes[:end].decode("ascii", "replace").rstrip("\r")
        del self._bytes[:end + 1]
        self._take_line(line, events)
        return True

    def _take_line(self, line: str, events: list[Event]) -> None:
        if not self._greeted:
            if line != "OK":
                raise BadMessage("wrong_value", f"it answers {line:.80}")
            self._greeted = True
        elif self._sample is not None:
            if not line.startswith("END"):
                raise BadMessage("wrong_value", f"neither BIN nor END: {line:.40}")
            self._sample, self.in_run = None, False
            events.append(EncoderStop())
        elif line:
            self._header.append(line)
            if len(self._header) > MAX_FIELDS:
                raise BadMessage("oversized", "a header of many lines")
        else:
            header, self._header = self._header, []
            self._begin(header)
            if not self._goes_on:
                events.append(EncoderStart())
            self._goes_on, self.in_run = False, True

    def _begin(self, header: list[str]) -> None:
        values = dict(line.split(": ", 1) for line in header if ": " in line[1:]
                      and not line.startswith(" "))
        fields = [line.split() for line in header if line.startswith(" ")]
        types, found = [], {}
        for k, field in enumerate(fields):
            if len(field) < 3 or field[1] not in TYPES:
                raise BadMessage("wrong_type", f"field {' '.join(field):.60}")
            types.append((f"f{k}", TYPES[field[1]]))
            found[f"/{field[0]}.{field[2]}"] = f"f{k}"
        for channel in self._channels:
            if channel not in found:
                raise BadMessage("missing_field", f"{channel}; there are {', '.join(found):.200}. "
                                 "--x-channel and --y-channel say which are read")
        sample = np.dtype(types)
        if values.get("format") != "Framed" or values.get("sample_bytes") != str(sample.itemsize):
            raise BadMessage("wrong_value", f"not framed samples of {sample.itemsize} bytes")
        missed = values.get("missed", "0")
        if not missed.isdecimal() or len(missed) > 18 or int(missed) > MAX_NUMBER:
            raise BadMessage("wrong_value", f"missed: {missed:.40}")
        self._sample, self._next, self._rest = sample, int(missed), b""
        self._xy = found[self._channels.x], found[self._channels.y]

    def _take_block(self, events: list[Event]) -> bool:
        if len(self._bytes) < BLOCK.size:
            return False
        _, length = BLOCK.unpack_from(self._bytes)
        if not BLOCK.size <= length <= MAX_BLOCK_BYTES:
            raise BadMessage("oversized", f"a block of {length} bytes")
        if len(self._bytes) < length:
            return False
        data = self._rest + bytes(self._bytes[BLOCK.size:length])
        del self._bytes[:length]
        sample = self._sample
        assert sample is not None
        count = len(data) // sample.itemsize
        self._rest = data[count * sample.itemsize:]
        if count:
            samples = np.frombuffer(data, sample, count)
            x, y = (samples[name].astype(np.float64) for name in self._xy)
            events.append(EncoderBlock(self._next, x, y))
            self._next += count
        return True


class Connection:
    """To a data port; made again when it breaks, and then its run goes on.

    Args:
        address: "HOST" or "HOST:PORT".
        log: called with what a user should know.

    Raises: InvalidArgument: the address is none.
    """

    def __init__(self, address: str, channels: Channels, log: Callable[[str], None]) -> None:
        host, _, port = address.partition(":")
        if not host or (port and not port.isdecimal()):
            raise invalid("address", address, "HOST or HOST:PORT")
        self._address = (host, int(port or PORT))
        self._channels = channels
        self._log = log
        self._socket: Optional[socket.socket] = None
        self._told_broken = False
        self._parser = Parser(channels)

    def receive(self) -> list[Event]:
        """What has come; waits TIMEOUT_S for the first of it.

        Raises: BadMessage: it is not what a PandA sends; the connection is made again.
        """
        try:
            if self._socket is None:
                self._connect()
            assert self._socket is not None
            data = self._socket.recv(1 << 20)
            if data:
                return self._parser.feed(data)
            self._broken("the PandA has closed the connection")
        except socket.timeout:
            if self._socket is not None:  # It has only nothing to say.
                return []
            self._broken("no answer")
        except OSError as error:
            self._broken(error.strerror or str(error))
        except BadMessage:
            self.close()
            raise
        self.close()
        time.sleep(RETRY_S)
        return []

    def _broken(self, why: str) -> None:
        if not self._told_broken:
            self._told_broken = True
            self._log(f"panda: not connected to {self._address[0]}, port {self._address[1]}: "
                      f"{why}. It is tried again every {RETRY_S:g} s")

    def _connect(self) -> None:
        self._socket = socket.create_connection(self._address, CONNECT_TIMEOUT_S)
        if self._told_broken:
            self._told_broken = False
            self._log("panda: connected")
        self._socket.settimeout(TIMEOUT_S)
        self._socket.sendall(OPTIONS)
        self._parser = Parser(self._channels, goes_on=self._parser.in_run)

    def close(self) -> None:
        """May be repeated."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
