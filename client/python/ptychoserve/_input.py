"""What is pushed, checked and cut to items."""

from __future__ import annotations

from typing import Any, Iterator, Sequence, Union

import numpy as np
from numpy.typing import ArrayLike

from ptychoserve import _batching
from ptychoserve._batching import EncoderSamples, FrameFormat, Frames, Positions, Skipped
from ptychoserve._enums import short_name, short_names
from ptychoserve.errors import invalid
from ptychoserve.v1 import config_pb2, ingest_pb2

FrameIds = Union[int, Sequence[int], np.ndarray]

DTYPES: dict[Any, np.dtype] = {
    config_pb2.DATA_TYPE_U8: np.dtype("u1"),
    config_pb2.DATA_TYPE_U16: np.dtype("<u2"),
    config_pb2.DATA_TYPE_U32: np.dtype("<u4"),
    config_pb2.DATA_TYPE_F32: np.dtype("<f4"),
}


def frame_format(detector: config_pb2.Detector, encoding: str) -> FrameFormat:
    """The format of a session's frames. Raises InvalidArgument for an unknown encoding."""
    encodings = short_names(ingest_pb2.Encoding)
    if encoding not in encodings:
        raise invalid("encoding", repr(encoding), ", ".join(encodings))
    return FrameFormat(DTYPES[detector.dtype], detector.frame_shape.rows, detector.frame_shape.cols,
                       detector.dtype, encodings[encoding])


def _ids(frame_ids: FrameIds, count: int) -> np.ndarray:
    """One id for each; a single number is the first of ids that follow each other."""
    ids = np.asarray(frame_ids)
    if ids.dtype.kind not in "iu":
        raise invalid("frame_ids", f"of type {ids.dtype}", "integers")
    if ids.ndim == 0:
        return np.arange(int(ids), int(ids) + count, dtype=np.int64)
    if ids.shape != (count,):
        raise invalid("frame_ids", f"of shape {ids.shape}", f"one number, or ({count},): one each")
    return ids.astype(np.int64, copy=False)


def frames(form: FrameFormat, frame_ids: FrameIds, pixels: ArrayLike,
           block_bytes: int) -> Iterator[Frames]:
    """Items of one frame [rows, cols] or several [frames, rows, cols]."""
    if form.encoding != ingest_pb2.ENCODING_RAW:
        raise invalid("frames", "an array", f"{short_name(ingest_pb2.Encoding, form.encoding)} "
                                            "frames, with push_encoded")
    array = np.asarray(pixels)
    if array.dtype.newbyteorder("<") != form.dtype:
        raise invalid("frames", f"of type {array.dtype}", f"{form.dtype.name}, the session's",
                      hint=f"frames.astype('{form.dtype.name}'), or another detector.dtype")
    if array.shape[-2:] != (form.rows, form.cols) or array.ndim > 3:
        raise invalid("frames", f"of shape {array.shape}",
                      f"({form.rows}, {form.cols}), the session's, or (frames, {form.rows}, "
                      f"{form.cols})")
    if array.ndim == 2:
        array = array[None]
    ids = _ids(frame_ids, len(array))
    step = min(max(1, block_bytes // form.frame_bytes), _batching.MAX_FRAMES_PER_BATCH)
    for begin in range(0, len(ids), step):
        block = np.ascontiguousarray(array[begin:begin + step], dtype=form.dtype)
        yield Frames(form, ids[begin:begin + step], pixels=block)


def encoded_frames(form: FrameFormat, frame_ids: FrameIds, encoded: Sequence[Any],
                   block_bytes: int) -> Iterator[Frames]:
    """Items of frames that are encoded, each bytes or a buffer."""
    if form.encoding == ingest_pb2.ENCODING_RAW:
        raise invalid("frames", "encoded", "arrays: the writer was opened with encoding='raw'")
    if isinstance(encoded, (bytes, bytearray, memoryview)):
        encoded = [encoded]
    ids = _ids(frame_ids, len(encoded))
    # Bytes cannot change, and are kept without a copy.
    frames = [frame if isinstance(frame, bytes) else memoryview(frame).cast("B")
              for frame in encoded]
    begin = size = 0
    for k, frame in enumerate(frames):
        if k > begin and (size + len(frame) > block_bytes
                          or k - begin == _batching.MAX_FRAMES_PER_BATCH):
            yield Frames(form, ids[begin:k], encoded=frames[begin:k])
            begin, size = k, 0
        size += len(frame)
    if begin < len(frames):
        yield Frames(form, ids[begin:], encoded=frames[begin:])


def skipped(first_frame_id: int, count: int) -> Iterator[Skipped]:
    if count < 1:
        raise invalid("count", count, ">= 1")
    for done in range(0, count, _batching.MAX_SKIPPED):
        yield Skipped(first_frame_id + done, min(count - done, _batching.MAX_SKIPPED))


def _pair(name: str, x: ArrayLike, y: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    try:
        xs, ys = (np.ascontiguousarray(np.atleast_1d(v), dtype="<f8") for v in (x, y))
    except (TypeError, ValueError) as error:
        raise invalid(f"x_{name}, y_{name}", f"{x!r} and {y!r}"[:80], "numbers") from error
    if xs.ndim != 1 or xs.shape != ys.shape:
        raise invalid(f"x_{name}, y_{name}", f"of shapes {xs.shape} and {ys.shape}",
                      "numbers, or arrays of one dimension and the same length")
    return xs, ys


def positions(frame_ids: FrameIds, x_m: ArrayLike, y_m: ArrayLike,
              block_bytes: int) -> Iterator[Positions]:
    xs, ys = _pair("m", x_m, y_m)
    ids = _ids(frame_ids, len(xs))
    step = min(max(1, block_bytes // 16), _batching.MAX_POSITIONS_PER_BATCH)
    for begin in range(0, len(ids), step):
        part = slice(begin, begin + step)
        yield Positions(ids[part], xs[part], ys[part])


def encoder_samples(first_sample: int, x_counts: ArrayLike, y_counts: ArrayLike,
                    block_bytes: int) -> Iterator[EncoderSamples]:
    if first_sample < 0:
        raise invalid("first_sample", first_sample, ">= 0")
    xs, ys = _pair("counts", x_counts, y_counts)
    step = min(max(1, block_bytes // 16), _batching.MAX_POSITIONS_PER_BATCH)
    for begin in range(0, len(xs), step):
        part = slice(begin, begin + step)
        yield EncoderSamples(first_sample + begin, xs[part], ys[part])
