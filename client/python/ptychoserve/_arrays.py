"""Arrays that come in pieces."""

from __future__ import annotations

import math
from typing import Any, Iterable

import numpy as np

from ptychoserve._enums import short_name
from ptychoserve.errors import DataLoss
from ptychoserve.v1 import snapshot_pb2

_TYPES: dict[Any, np.dtype] = {
    snapshot_pb2.ArrayInfo.ELEMENT_COMPLEX64: np.dtype("<c8"),
    snapshot_pb2.ArrayInfo.ELEMENT_FLOAT32: np.dtype("<f4"),
    snapshot_pb2.ArrayInfo.ELEMENT_FLOAT64: np.dtype("<f8"),
}


def check_layout(what: str, info: snapshot_pb2.ArrayInfo, dtype: str, dimensions: int) -> None:
    """Raises DataLoss unless an announced array is of that type and so many dimensions."""
    shape = tuple(info.shape)
    if (_TYPES.get(info.element) != np.dtype(dtype) or len(shape) != dimensions
            or min(shape) < 0 or info.bytes != math.prod(shape) * np.dtype(dtype).itemsize):
        element = short_name(snapshot_pb2.ArrayInfo.Element, info.element)
        raise DataLoss(f"{what} came as {element} of shape {shape}, in {info.bytes} bytes")


class ArrayPieces:
    """Puts arrays together, in the order of `infos`. `what` they are of is for errors."""

    def __init__(self, what: str, infos: Iterable[snapshot_pb2.ArrayInfo]):
        self._what = what
        self.infos = list(infos)
        self._buffers = [bytearray(info.bytes) for info in self.infos]
        self._filled = [0] * len(self.infos)

    def append(self, data: snapshot_pb2.ArrayData) -> None:
        """Takes the next piece. Raises DataLoss when it does not fit."""
        if data.array >= len(self._buffers):
            raise DataLoss(f"{self._what}: data of array {data.array}, which was not announced")
        begin, end = self._filled[data.array], self._filled[data.array] + len(data.data)
        buffer = self._buffers[data.array]
        if data.offset != begin or end > len(buffer):
            raise DataLoss(f"{self._what}: array {data.array}: {len(data.data)} bytes at "
                           f"{data.offset}, expected at {begin} of {len(buffer)}")
        buffer[begin:end] = data.data
        self._filled[data.array] = end

    def complete(self) -> bool:
        """Whether no byte is missing."""
        return all(n == len(buffer) for n, buffer in zip(self._filled, self._buffers))

    def array(self, k: int) -> np.ndarray:
        """The k-th, which is complete and of a layout that has been checked."""
        info = self.infos[k]
        return np.frombuffer(self._buffers[k], _TYPES[info.element]).reshape(info.shape)
