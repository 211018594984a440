"""Eiger stream, version 1: messages of several parts, JSON before each block of bytes.

    dheader-1.0      {series, header_detail}, then {configuration}, then, with all details, pairs of
                     {htype, shape, type} and bytes: flat field, pixel mask, count rates
    dimage-1.0       {series, frame}, {dimage_d-1.0: shape, type, encoding}, bytes, {dconfig-1.0}
    dseries_end-1.0  {series}

(SIMPLON API 1.8, "Stream".) Shapes are (columns, rows).
"""

from __future__ import annotations

import json
import re
from typing import Any, Optional, Sequence, Union

import numpy as np

from ptychoserve.bridges.frame_data import check_size, form_of
from ptychoserve.bridges.messages import (BadMessage, Form, Image, SeriesEnd, SeriesStart, number,
                                          positive, text)

MAX_PARTS = 16
MAX_JSON_BYTES = 1 << 20
_EV_ANGSTROM = 12398.41984  # h c.
_ENCODING = re.compile(r"(?:bs(8|16|32)-)?lz4<")


def decode(parts: Sequence[bytes]) -> Union[SeriesStart, Image, SeriesEnd]:
    """One message. Raises BadMessage for what is none."""
    if len(parts) > MAX_PARTS:
        raise BadMessage("oversized", f"{len(parts)} parts")
    head = parse(parts[0])
    kind = text(head, "htype")
    if kind == "dimage-1.0":
        return _image(head, parts)
    if kind == "dheader-1.0":
        return _series_start(head, parts)
    if kind == "dseries_end-1.0":
        return SeriesEnd(number(head, "series"))
    raise BadMessage("unknown_type", f"{kind:.40}")


def parse(part: bytes) -> Any:
    """JSON. Raises BadMessage."""
    if len(part) > MAX_JSON_BYTES:
        raise BadMessage("oversized", f"{len(part)} bytes of JSON")
    try:
        return json.loads(part)
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError is a ValueError.
        raise BadMessage("not_json", f"{error!s:.100}") from None


def _image(head: Any, parts: Sequence[bytes]) -> Image:
    series, frame = number(head, "series"), number(head, "frame")
    if len(parts) < 3:
        raise BadMessage("truncated", f"an image of {len(parts)} parts")
    form = _form(parts[1])
    data = parts[2]
    check_size(form, data)
    return Image(series, frame, form, data)


def _form(part: bytes) -> Form:
    info = parse(part)
    if text(info, "htype") != "dimage_d-1.0":
        raise BadMessage("unknown_type", "no dimage_d-1.0 in the second part")
    rows, cols = _shape(info)
    dtype, encoding = text(info, "type"), text(info, "encoding")
    return form_of(rows, cols, dtype, _encoding(encoding, dtype))


def _shape(info: Any) -> tuple[int, int]:
    """(rows, cols)."""
    shape = info.get("shape")
    if (not isinstance(shape, list) or len(shape) != 2
            or any(type(side) is not int for side in shape)):
        raise BadMessage("wrong_type", "shape is not [columns, rows]")
    return shape[1], shape[0]


def _encoding(encoding: str, dtype: str) -> str:
    if encoding in ("<", "raw"):
        return "raw"
    match = _ENCODING.fullmatch(encoding)
    if match is None:
        raise BadMessage("unknown_encoding", f"{encoding:.40}")
    if match[1] is None:
        return "lz4"
    if dtype != f"uint{match[1]}":
        raise BadMessage("unknown_encoding", f"{encoding:.40} of {dtype:.40}")
    return "bslz4"


def _series_start(head: Any, parts: Sequence[bytes]) -> SeriesStart:
    series = number(head, "series")
    if len(parts) < 2:
        return SeriesStart(series)
    config = parse(parts[1])
    if not isinstance(config, dict):
        raise BadMessage("wrong_type", "the detector's configuration is no object")
    frames = positive(config, "nimages")
    triggers = positive(config, "ntrigger")
    energy_ev, wavelength_a = positive(config, "photon_energy"), positive(config, "wavelength")
    if energy_ev is None and wavelength_a is not None:
        energy_ev = _EV_ANGSTROM / wavelength_a
    return SeriesStart(
        series,
        frames=None if frames is None else round(frames * (triggers or 1)),
        photon_energy_ev=energy_ev,
        distance_m=positive(config, "detector_distance"),
        pixel_size_y_m=positive(config, "y_pixel_size"),
        pixel_size_x_m=positive(config, "x_pixel_size"),
        mask=_mask(parts[2:]))


def _mask(parts: Sequence[bytes]) -> Optional[np.ndarray]:
    """Of the pairs of what they are and their bytes, the pixel mask."""
    for about, data in zip(parts[::2], parts[1::2]):
        info = parse(about)
        if text(info, "htype") == "dpixelmask-1.0":
            rows, cols = _shape(info)
            if len(data) != 4 * rows * cols:
                raise BadMessage("truncated", f"a pixel mask of {len(data)} bytes")
            return np.frombuffer(data, "<u4").reshape(rows, cols)
    return None
