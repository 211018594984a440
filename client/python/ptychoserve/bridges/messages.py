"""What a detector and an encoder tell, whatever their format."""

from __future__ import annotations

from typing import Any, NamedTuple, Optional

import numpy as np

# Frame and series numbers beyond are not those of a detector, and would not fit an id.
MAX_NUMBER = 1 << 62


class BadMessage(Exception):
    """A message that cannot be used. The bridge counts it, and goes on.

    Attributes:
        reason: "truncated", "oversized", "not_json", "not_cbor", "wrong_type", "wrong_value",
            "unknown_type", "unknown_encoding", "missing_field", ...: what it is counted under;
            `run_report.MEANINGS` has them all.
        detail: in words.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class Form(NamedTuple):
    """What the frames of a series have in common."""

    rows: int
    cols: int
    dtype: np.dtype  # Little-endian.
    encoding: str    # "raw", "lz4", "bslz4"; as of `Session.frame_writer`.

    @property
    def frame_bytes(self) -> int:
        """Of a decoded frame."""
        return self.rows * self.cols * self.dtype.itemsize

    def __str__(self) -> str:
        return f"{self.rows} x {self.cols} {self.dtype.name} {self.encoding}"


class SeriesStart(NamedTuple):
    """A detector is armed. What it does not say is None.

    `frames` are those of the whole series, `mask` [rows, cols] is not 0 where a pixel is bad.
    """

    series: int
    frames: Optional[int] = None
    photon_energy_ev: Optional[float] = None
    distance_m: Optional[float] = None
    pixel_size_y_m: Optional[float] = None
    pixel_size_x_m: Optional[float] = None
    mask: Optional[np.ndarray] = None


class Image(NamedTuple):
    """A frame, as the detector has encoded it."""

    series: int
    frame: int
    form: Form
    data: Any  # Bytes, or a buffer.


class SeriesEnd(NamedTuple):
    """No more frames of this series."""

    series: int


class EncoderStart(NamedTuple):
    """An encoder begins to count samples from 0."""


class EncoderBlock(NamedTuple):
    """Samples first_sample, first_sample + 1, ..., in counts; arrays [samples]."""

    first_sample: int
    x_counts: np.ndarray
    y_counts: np.ndarray


class EncoderStop(NamedTuple):
    """No more samples of this run."""


def number(fields: Any, key: str) -> int:
    """A whole number, 0..MAX_NUMBER, of a decoded object. Raises BadMessage."""
    value = _of(fields, key)
    if type(value) is not int:  # bool is an int, too.
        raise BadMessage("wrong_type", f"{key} is a {type(value).__name__}, not a whole number")
    if not 0 <= value <= MAX_NUMBER:
        raise BadMessage("wrong_value", f"{key} is out of range")
    return value


def positive(fields: Any, key: str) -> Optional[float]:
    """A number > 0, None when it is not there or 0, as detectors say that they do not know."""
    value = fields.get(key)
    if value is None or value == 0:
        return None
    if type(value) not in (int, float):
        raise BadMessage("wrong_type", f"{key} is a {type(value).__name__}, not a number")
    if not 0 < value < 1e300:
        raise BadMessage("wrong_value", f"{key} is out of range")
    return float(value)


def text(fields: Any, key: str) -> str:
    """A string of a decoded object. Raises BadMessage."""
    value = _of(fields, key)
    if type(value) is not str:
        raise BadMessage("wrong_type", f"{key} is a {type(value).__name__}, not a string")
    return value


def _of(fields: Any, key: str) -> Any:
    if not isinstance(fields, dict):
        raise BadMessage("wrong_type", f"{type(fields).__name__} instead of an object")
    if key not in fields:
        raise BadMessage("missing_field", key)
    return fields[key]
