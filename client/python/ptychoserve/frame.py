"""Frames of the detector as a session works with them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Optional, Sequence

import numpy as np

from ptychoserve._arrays import ArrayPieces, check_layout
from ptychoserve.errors import DataLoss
from ptychoserve.v1 import frame_pb2


@dataclass
class Frame:
    """A frame, oriented, cropped and masked; in the far field with zero frequency at
    [rows // 2, cols // 2].

    Attributes:
        header: `v1.FrameHeader`.
        counts: float32 [rows, cols], measured; NaN where a pixel is not to be trusted.
        expected: float32 [rows, cols], counts that the snapshot of `version` expects; None when
            they were not asked for, or it does not show the frame.
    """

    header: frame_pb2.FrameHeader
    counts: np.ndarray
    expected: Optional[np.ndarray] = None

    @property
    def frame_id(self) -> int:
        """Its id."""
        return self.header.frame_id

    @property
    def version(self) -> int:
        """Of the snapshot that `expected` comes from; 0 without."""
        return self.header.version

    def plot(self, axes: Optional[Sequence[Any]] = None) -> Sequence[Any]:
        """Draws the counts, and those expected if they are there, logarithmically and on one
        scale; needs matplotlib.

        Args:
            axes: one or two axes to draw on, which are cleared; default: those of a new figure.

        Returns: the axes.
        """
        images = [("measured", self.counts)]
        if self.expected is not None:
            images.append(("expected", self.expected))
        if axes is None:
            from matplotlib import pyplot  # Of an extra: only who draws needs it.
            axes = pyplot.subplots(1, len(images), figsize=(5 * len(images), 4.5), squeeze=False,
                                   constrained_layout=True)[1][0]
        most = float(np.log1p(np.nanmax(self.counts))) if np.isfinite(self.counts).any() else 1.0
        for axis, (title, image) in zip(axes, images):
            axis.clear()
            axis.imshow(np.log1p(image), cmap="inferno", vmin=0, vmax=max(most, 1e-9))
            axis.set(title=f"frame {self.frame_id}, {title}, ln(1 + counts)")
        return axes


class FrameAssembler:
    """Puts a frame together from its chunks."""

    def __init__(self) -> None:
        self._header: Optional[frame_pb2.FrameHeader] = None
        self._pieces = ArrayPieces("frame", ())

    def add(self, chunk: frame_pb2.FrameChunk) -> Optional[Frame]:
        """The frame, when `chunk` was its last one. Raises DataLoss when chunks do not fit."""
        if chunk.HasField("header") and self._header is None:
            for info in chunk.header.arrays:
                check_layout("frame: an array", info, "<f4", 2)
            self._header = chunk.header
            self._pieces = ArrayPieces("frame", chunk.header.arrays)
        elif chunk.HasField("data") and self._header is not None:
            self._pieces.append(chunk.data)
        else:
            raise DataLoss("frame: a chunk that is neither the header nor data after it")
        if not self._pieces.complete():
            return None
        arrays = [self._pieces.array(k) for k in range(len(self._pieces.infos))]
        if not arrays:
            raise DataLoss("frame: without an array")
        return Frame(self._header, *arrays[:2])
