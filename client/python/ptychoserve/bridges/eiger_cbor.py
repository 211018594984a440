"""Eiger stream, version 2: each message one CBOR map.

    start  series_id, number_of_images, incident_energy, pixel_size_x, ...
    image  series_id, image_id, data: {channel: array}
    end    series_id

(SIMPLON API 1.8, "Stream V2".) An array is tag 40, [[rows, columns], values]; values are a typed
array of RFC 8746, whose bytes may be tag 56500, [algorithm, element size, encoded].
"""

from __future__ import annotations

import struct
from typing import Any, NamedTuple, Optional, Sequence, Union

import cbor2
import lz4.block
import numpy as np

from ptychoserve.bridges.frame_data import BLOCK_HEADER, check_size, form_of
from ptychoserve.bridges.messages import (BadMessage, Image, SeriesEnd, SeriesStart, number,
                                          positive, text)

MULTI_DIM_ARRAY = 40
DECTRIS_COMPRESSION = 56500
TYPED_ARRAYS = {64: "uint8", 69: "uint16", 70: "uint32"}  # Little-endian.
_MAX_BYTES = 512 << 20
_BLOCK_SIZE = struct.Struct(">I")


class Encoded(NamedTuple):
    """The bytes of an array; algorithm "raw", "lz4" or "bslz4"."""

    algorithm: str
    element_bytes: int
    data: bytes


class Array(NamedTuple):
    """An array that has not been decoded."""

    rows: int
    cols: int
    dtype: str
    encoded: Encoded


def decode(parts: Sequence[bytes]) -> Union[SeriesStart, Image, SeriesEnd]:
    """One message. Raises BadMessage for what is none."""
    if len(parts) != 1 or len(parts[0]) > _MAX_BYTES:
        raise BadMessage("oversized", f"{len(parts)} parts")
    message = _parse(parts[0])
    kind = text(message, "type")
    if kind == "image":
        return _image(message)
    if kind == "start":
        return _series_start(message)
    if kind == "end":
        return SeriesEnd(number(message, "series_id"))
    raise BadMessage("unknown_type", f"{kind:.40}")


def _parse(data: bytes) -> Any:
    try:
        return cbor2.loads(data, tag_hook=_untag)
    except BadMessage:
        raise
    except cbor2.CBORDecodeEOF as error:
        raise BadMessage("truncated", f"{error!s:.100}") from None
    except Exception as error:  # Of any kind: tags make dates, patterns, numbers of what they hold.
        raise BadMessage("not_cbor", f"{error!s:.100}") from None


def _untag(_decoder: Any, tag: cbor2.CBORTag) -> Any:
    value = tag.value
    if tag.tag == DECTRIS_COMPRESSION:
        if not (isinstance(value, (list, tuple)) and len(value) == 3 and isinstance(value[0], str)
                and type(value[1]) is int and isinstance(value[2], bytes)):
            raise BadMessage("wrong_type", "compressed data are no [algorithm, size, bytes]")
        return Encoded(*value)
    if tag.tag in TYPED_ARRAYS:
        element_bytes = np.dtype(TYPED_ARRAYS[tag.tag]).itemsize
        if isinstance(value, bytes):
            value = Encoded("raw", element_bytes, value)
        if not isinstance(value, Encoded) or value.element_bytes != element_bytes:
            raise BadMessage("wrong_type", f"tag {tag.tag} without elements of its size")
        return TYPED_ARRAYS[tag.tag], value
    if tag.tag == MULTI_DIM_ARRAY:
        return _array(value)
    return tag


def _array(value: Any) -> Any:
    if not isinstance(value, (list, tuple)) or len(value) != 2:
        raise BadMessage("wrong_type", "an array is no [shape, values]")
    shape, values = value
    if (not isinstance(shape, (list, tuple)) or len(shape) != 2
            or any(type(side) is not int for side in shape)):
        raise BadMessage("wrong_type", "shape is not [rows, columns]")
    if not isinstance(values, tuple):
        return values  # Of another type than pixels have: flat fields are such.
    return Array(shape[0], shape[1], *values)


def _image(message: Any) -> Image:
    series, frame = number(message, "series_id"), number(message, "image_id")
    channels = message.get("data")
    if not isinstance(channels, dict) or not channels:
        raise BadMessage("missing_field", "data")
    array = next(iter(channels.values()))  # The first threshold.
    if not isinstance(array, Array):
        raise BadMessage("wrong_type", "data is no array of pixels")
    encoding, data = array.encoded.algorithm, array.encoded.data
    if encoding not in ("raw", "lz4", "bslz4"):
        raise BadMessage("unknown_encoding", f"{encoding:.40}")
    form = form_of(array.rows, array.cols, array.dtype, encoding)
    if encoding == "lz4":
        data = _one_block(data, form.frame_bytes)
    check_size(form, data)
    return Image(series, frame, form, data)


def _one_block(data: bytes, decoded_bytes: int) -> bytes:
    """The LZ4 of HDF5, with a header and blocks, as one LZ4 block, which servers understand."""
    if len(data) < BLOCK_HEADER.size + _BLOCK_SIZE.size:
        raise BadMessage("truncated", f"{len(data)} bytes")
    size, block_bytes = BLOCK_HEADER.unpack_from(data)
    if size != decoded_bytes or not block_bytes:
        raise BadMessage("wrong_value", f"it decodes to {size} bytes, not {decoded_bytes}")
    at, blocks = BLOCK_HEADER.size, []
    for begin in range(0, size, block_bytes):
        if len(data) < at + _BLOCK_SIZE.size:
            raise BadMessage("truncated", f"{len(data)} bytes")
        length, = _BLOCK_SIZE.unpack_from(data, at)
        at += _BLOCK_SIZE.size
        blocks.append((data[at:at + length], min(block_bytes, size - begin)))
        at += length
    if len(data) != at:
        raise BadMessage("truncated" if len(data) < at else "oversized", f"{len(data)} bytes")
    if len(blocks) == 1 and len(blocks[0][0]) < size:
        return blocks[0][0]
    return lz4.block.compress(b"".join(map(_decoded, blocks)), store_size=False)


def _decoded(block: tuple[bytes, int]) -> bytes:
    encoded, size = block
    if len(encoded) == size:  # It did not become smaller, and stands as it is.
        return encoded
    try:
        decoded = lz4.block.decompress(encoded, uncompressed_size=size)
    except lz4.block.LZ4BlockError as error:
        raise BadMessage("corrupt", f"{error!s:.100}") from None
    if len(decoded) != size:
        raise BadMessage("corrupt", f"a block decodes to {len(decoded)} bytes, not {size}")
    return decoded


def _series_start(message: Any) -> SeriesStart:
    frames = positive(message, "number_of_images")
    return SeriesStart(
        number(message, "series_id"),
        frames=None if frames is None else round(frames),
        photon_energy_ev=positive(message, "incident_energy"),
        distance_m=positive(message, "detector_distance"),
        pixel_size_y_m=positive(message, "pixel_size_y"),
        pixel_size_x_m=positive(message, "pixel_size_x"),
        mask=_mask(message.get("pixel_mask")))


def _mask(channels: Any) -> Optional[np.ndarray]:
    array = next(iter(channels.values()), None) if isinstance(channels, dict) else None
    if (not isinstance(array, Array) or array.encoded.algorithm != "raw"
            or array.rows < 0 or array.cols < 0):
        return None
    dtype = np.dtype(array.dtype).newbyteorder("<")
    if len(array.encoded.data) != array.rows * array.cols * dtype.itemsize:
        raise BadMessage("truncated", f"a pixel mask of {len(array.encoded.data)} bytes")
    return np.frombuffer(array.encoded.data, dtype).reshape(array.rows, array.cols)
