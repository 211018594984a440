#!/usr/bin/env python3
"""Frames from their chunks, and how they are drawn."""

import math
import unittest

import support
import matplotlib
import numpy as np
from ptychoserve import errors
from ptychoserve.frame import FrameAssembler
from ptychoserve.v1 import frame_pb2, snapshot_pb2

matplotlib.use("Agg")
COUNTS = np.arange(12, dtype="<f4").reshape(3, 4)
COUNTS[1, 2] = math.nan
EXPECTED = COUNTS[::-1] + 0.5


def header_of(*arrays, **fields):
    infos = [snapshot_pb2.ArrayInfo(element=snapshot_pb2.ArrayInfo.ELEMENT_FLOAT32,
                                    shape=array.shape, bytes=array.nbytes) for array in arrays]
    return frame_pb2.FrameChunk(header=frame_pb2.FrameHeader(frame_id=7, arrays=infos, **fields))


def data_of(array, offset, data):
    return frame_pb2.FrameChunk(data=snapshot_pb2.ArrayData(array=array, offset=offset, data=data))


def assembled(*chunks):
    assembler = FrameAssembler()
    made = [assembler.add(chunk) for chunk in chunks]
    assert all(m is None for m in made[:-1])
    return made[-1]


class FrameTest(unittest.TestCase):

    def test_comes_in_pieces(self):
        counts, expected = COUNTS.tobytes(), EXPECTED.tobytes()
        frame = assembled(header_of(COUNTS, EXPECTED, version=5), data_of(0, 0, counts[:20]),
                          data_of(0, 20, counts[20:]), data_of(1, 0, expected))
        self.assertEqual((frame.frame_id, frame.version), (7, 5))
        np.testing.assert_array_equal(frame.counts, COUNTS)
        np.testing.assert_array_equal(frame.expected, EXPECTED)
        alone = assembled(header_of(COUNTS), data_of(0, 0, counts))
        self.assertIsNone(alone.expected)

    def test_chunks_that_do_not_fit(self):
        counts = COUNTS.tobytes()
        double = header_of(COUNTS)
        double.header.arrays[0].element = snapshot_pb2.ArrayInfo.ELEMENT_FLOAT64
        for chunks in ([frame_pb2.FrameChunk()], [data_of(0, 0, counts)], [header_of()], [double],
                       [header_of(COUNTS), header_of(COUNTS)], [header_of(COUNTS.ravel())],
                       [header_of(COUNTS), data_of(1, 0, counts)],
                       [header_of(COUNTS), data_of(0, 4, counts)],
                       [header_of(COUNTS), data_of(0, 0, counts + b"x")]):
            with self.assertRaises(errors.DataLoss):
                assembled(*chunks)

    def test_is_drawn_on_one_scale(self):
        counts = assembled(header_of(COUNTS), data_of(0, 0, COUNTS.tobytes()))
        self.assertEqual(len(counts.plot()), 1)
        counts.expected = EXPECTED
        axes = counts.plot()
        self.assertEqual([axis.get_title() for axis in axes],
                         ["frame 7, measured, ln(1 + counts)", "frame 7, expected, ln(1 + counts)"])
        self.assertEqual({axis.images[0].get_clim() for axis in axes},
                         {(0.0, float(np.log1p(np.float32(11))))})


if __name__ == "__main__":
    support.main()
