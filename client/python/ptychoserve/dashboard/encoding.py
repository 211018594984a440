"""Arrays as a browser takes them: one JSON header, then the bytes.

The body is the length of the header (uint32, little-endian), the header (UTF-8, padded with spaces
so that the data begin at a multiple of 8), the data (little-endian, row-major). `element` in the
header is one of

    complex-i16   pairs (re, im) of int16, each times `scale`; NO_DATA where the array is NaN
    f4, f8        float32, float64

Complex numbers as 16-bit pairs are 4 bytes a pixel, half of complex64. The step is 1/32767 of the
largest part in the array, finer than any screen shows.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np

from ptychoserve.frame import Frame
from ptychoserve.snapshot import Snapshot

NO_DATA = -32768
_MOST = 32767
_LEAST = 1e-30
_ALIGNMENT = 8


@dataclass(frozen=True)
class Encoded:
    """An array of one version of a snapshot.

    Attributes:
        version: of the snapshot.
        body: header and data.
    """

    version: int
    body: bytes


def encode(name: str, snapshot: Snapshot, downsample: int = 1) -> Encoded:
    """The array `name` of a snapshot that has it.

    Args:
        downsample: by which the server has made object and coverage smaller.
    """
    array = snapshot.arrays()[name]
    header: dict[str, Any] = {
        "name": name, "version": snapshot.version, "iteration": snapshot.iteration,
        "time_s": snapshot.time.timestamp(), "final": snapshot.final,
        "pixel_size_m": snapshot.pixel_size_m, "origin_m": snapshot.origin_m,
        "downsample": downsample, "shape": array.shape,
        "first_px": (snapshot.header.area.row, snapshot.header.area.col)}
    if np.iscomplexobj(array):
        header["element"] = "complex-i16"
        header["scale"], data = quantise(array)
    else:
        header["element"] = array.dtype.str[1:]
        data = array
    return Encoded(snapshot.version, _body(header, data))


def encode_frame(frame: Frame, downsample: int, more: dict[str, Any]) -> bytes:
    """Counts, and those expected if they are there: float32 [1 or 2, rows, cols], NaN where a pixel
    is not to be trusted.

    Args:
        downsample: by which the server has made the frame smaller.
        more: for the header.
    """
    arrays = [array for array in (frame.counts, frame.expected) if array is not None]
    header = {"name": "frame", "frame_id": frame.frame_id, "version": frame.version,
              "downsample": downsample, "shape": (len(arrays), *frame.counts.shape),
              "element": "f4", **more}
    return _body(header, np.stack(arrays))


def _body(header: dict[str, Any], data: np.ndarray) -> bytes:
    text = json.dumps(header).encode()
    text += b" " * (-(4 + len(text)) % _ALIGNMENT)
    return b"".join((struct.pack("<I", len(text)), text, data.tobytes()))


def quantise(array: np.ndarray) -> tuple[float, np.ndarray]:
    """(scale, int16 [..., 2]) of a complex array."""
    parts = np.array(array, np.complex64, order="C").view(np.float32).reshape(*array.shape, 2)
    missing = ~(np.isfinite(parts[..., 0]) & np.isfinite(parts[..., 1]))
    parts[missing] = 0
    peak = float(max(parts.max(initial=0), -parts.min(initial=0)))
    scale = peak / _MOST if peak > _LEAST else 1.0  # What is less is shown as 0.
    parts /= np.float32(scale)
    out = np.rint(parts, out=parts).astype("<i2")
    out[missing] = NO_DATA
    return scale, out


def mean_of_blocks(array: np.ndarray, factor: int) -> np.ndarray:
    """The mean over blocks of factor x factor of the last two axes; a rest at the end is left
    out."""
    rows, cols = (n // factor for n in array.shape[-2:])
    cut = array[..., :rows * factor, :cols * factor]
    return cut.reshape(*array.shape[:-2], rows, factor, cols, factor).mean(axis=(-3, -1))
