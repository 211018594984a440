#!/usr/bin/env python3
"""Snapshots from their chunks, and the files that are made of them."""

import math
import pathlib
import random
import tempfile
import unittest

import support
import h5py
import matplotlib
import numpy as np
from ptychoserve import Result, Snapshot, errors
from ptychoserve.report import Counters
from ptychoserve.snapshot import ARRAYS, POINT_COLUMNS, Assembler, selection
from ptychoserve.v1 import session_pb2, snapshot_pb2

matplotlib.use("Agg")
RNG = np.random.default_rng(4)


def complex_array(*shape):
    return (RNG.normal(size=shape) + 1j * RNG.normal(size=shape)).astype("<c8")


ARRAYS_OF_A_RUN = {
    "object": complex_array(40, 50), "probe": complex_array(2, 8, 8),
    "coverage": RNG.random((40, 50)).astype("<f4"), "points": RNG.random((9, 11)),
    "history": np.column_stack((np.arange(1, 6), RNG.random((5, 9)))),
    "background": RNG.random((8, 8)).astype("<f4"), "probe_components": complex_array(2, 2, 8, 8),
    "object_modes": complex_array(2, 40, 50)}
ARRAYS_OF_A_RUN["points"][:, 0] = np.arange(9)
ARRAYS_OF_A_RUN["object_modes"][0] = ARRAYS_OF_A_RUN["object"]
ELEMENTS = {"<c8": snapshot_pb2.ArrayInfo.ELEMENT_COMPLEX64,
            "<f4": snapshot_pb2.ArrayInfo.ELEMENT_FLOAT32,
            "<f8": snapshot_pb2.ArrayInfo.ELEMENT_FLOAT64}


def info_of(name, array):
    return snapshot_pb2.ArrayInfo(
        kind=snapshot_pb2.ArrayKind.Value(f"ARRAY_KIND_{name.upper()}"),
        element=ELEMENTS[array.dtype.str], shape=array.shape, bytes=array.nbytes)


def chunks_of(arrays, rng):
    header = snapshot_pb2.SnapshotHeader(
        version=3, iteration=5, pixel_size_y_m=2e-9, pixel_size_x_m=1e-9, origin_y_m=1e-6,
        origin_x_m=-1e-6, arrays=[info_of(name, array) for name, array in arrays.items()])
    header.metrics.evaluation.iteration = 5
    header.metrics.refinement.shift_rms_px = 0.5
    header.metrics.mode_powers.extend([0.75, 0.25])
    header.metrics.object_mode_powers.extend([0.875, 0.125])
    yield snapshot_pb2.SnapshotChunk(header=header)
    for k, array in enumerate(arrays.values()):
        data, offset = array.tobytes(), 0
        while offset < len(data):
            size = rng.randrange(1, 4096)
            yield snapshot_pb2.SnapshotChunk(data=snapshot_pb2.ArrayData(
                array=k, offset=offset, data=data[offset:offset + size]))
            offset += size


def snapshot_of(arrays, seed=1):
    assembler = Assembler()
    made = [assembler.add(chunk) for chunk in chunks_of(arrays, random.Random(seed))]
    assert all(m is None for m in made[:-1])
    return made[-1]


class AssemblerTest(unittest.TestCase):

    def test_arrays_come_back_from_pieces_of_any_size(self):
        for seed in range(5):
            snapshot = snapshot_of(ARRAYS_OF_A_RUN, seed)
            self.assertEqual(list(snapshot.arrays()), list(ARRAYS_OF_A_RUN))
            for name, array in snapshot.arrays().items():
                np.testing.assert_array_equal(array, ARRAYS_OF_A_RUN[name])
                self.assertEqual(array.dtype, ARRAYS_OF_A_RUN[name].dtype)

    def test_what_there_is_not(self):
        snapshot = snapshot_of({})
        self.assertEqual(snapshot.arrays(), {})
        empty = snapshot_of({"background": np.empty((0, 0), "<f4")})
        self.assertEqual(empty.background.shape, (0, 0))

    def test_several_in_a_row(self):
        assembler = Assembler()
        for seed in range(3):
            done = [assembler.add(chunk) for chunk in chunks_of(ARRAYS_OF_A_RUN,
                                                               random.Random(seed))]
            self.assertEqual(sum(s is not None for s in done), 1)

    def test_arrays_of_a_newer_server_are_stepped_over(self):
        info = snapshot_pb2.ArrayInfo(kind=99, element=77, shape=[3], bytes=6)
        assembler = Assembler()
        self.assertIsNone(assembler.add(snapshot_pb2.SnapshotChunk(
            header=snapshot_pb2.SnapshotHeader(arrays=[info]))))
        done = assembler.add(snapshot_pb2.SnapshotChunk(
            data=snapshot_pb2.ArrayData(array=0, offset=0, data=b"abcdef")))
        self.assertEqual(done.arrays(), {})

    def test_chunks_that_do_not_fit(self):
        good = info_of("object", np.zeros((2, 2), "<c8"))

        def changed(**fields):
            info = snapshot_pb2.ArrayInfo()
            info.CopyFrom(good)
            info.ClearField("shape")
            info.shape.extend(fields.pop("shape", [2, 2]))
            for name, value in fields.items():
                setattr(info, name, value)
            return snapshot_pb2.SnapshotChunk(
                header=snapshot_pb2.SnapshotHeader(arrays=[info]))

        header = changed()
        data = snapshot_pb2.ArrayData

        def chunk(**fields):
            return snapshot_pb2.SnapshotChunk(data=data(**fields))

        for chunks in ([snapshot_pb2.SnapshotChunk()], [chunk(data=b"x")], [header, header],
                       [changed(bytes=31)], [changed(shape=[2, -2])], [changed(shape=[4])],
                       [changed(element=snapshot_pb2.ArrayInfo.ELEMENT_FLOAT64)],
                       [header, chunk(array=1, data=b"x")], [header, chunk(offset=1, data=b"x")],
                       [header, chunk(data=bytes(33))]):
            assembler = Assembler()
            with self.assertRaises(errors.DataLoss):
                for one in chunks:
                    self.assertIsNone(assembler.add(one))


class SnapshotTest(unittest.TestCase):

    def test_selection(self):
        self.assertEqual(
            selection(["object"], area="canvas", uncovered="nan", downsample=2),
            snapshot_pb2.SnapshotSelection(
                arrays=[snapshot_pb2.ARRAY_KIND_OBJECT], area=snapshot_pb2.OBJECT_AREA_CANVAS,
                uncovered=snapshot_pb2.UNCOVERED_NAN, downsample=2))
        self.assertEqual(len(selection("all").arrays), len(ARRAYS))
        for field, arguments in (("arrays", {"arrays": ["objekt"]}), ("area", {"area": "half"}),
                                 ("uncovered", {"uncovered": "zero"})):
            with self.assertRaises(errors.InvalidArgument) as caught:
                selection(**arguments)
            self.assertEqual(caught.exception.field, field)

    def test_npz(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "snapshot.npz"
            snapshot_of(ARRAYS_OF_A_RUN).save(path)
            with np.load(path) as saved:
                for name, array in ARRAYS_OF_A_RUN.items():
                    np.testing.assert_array_equal(saved[name], array)
                np.testing.assert_array_equal(saved["pixel_size_m"], (2e-9, 1e-9))
                self.assertEqual(saved["iteration"], 5)
            with self.assertRaises(errors.InvalidArgument):
                snapshot_of(ARRAYS_OF_A_RUN).save("snapshot.txt")

    def test_plot(self):
        snapshot = snapshot_of(ARRAYS_OF_A_RUN)
        amplitude, phase = snapshot.plot()
        np.testing.assert_allclose(amplitude.images[0].get_array(), np.abs(snapshot.object))
        np.testing.assert_allclose(phase.images[0].get_array(), np.angle(snapshot.object))
        self.assertIn("iteration 5", phase.get_title())
        np.testing.assert_allclose(amplitude.images[0].get_extent(), (0, 0.05, 0.08, 0))
        self.assertIs(snapshot.plot((amplitude, phase))[0], amplitude)
        self.assertEqual(len(amplitude.images), 1)
        with self.assertRaises(errors.FailedPrecondition):
            Snapshot(snapshot.header).plot()


class ResultTest(unittest.TestCase):

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def result(self):
        session = session_pb2.Session(name="sessions/s", joined_points=9)
        session.config.optics.wavelength_m = 1e-10
        session.config.run.it_ends_after = 3
        session.metrics.r_factor = math.nan
        rings = session.split_halves.ring_correlation
        rings.side_px = 8
        rings.correlation.extend([1.0, 0.5, 0.25, 0.125])
        return Result(snapshot_of(ARRAYS_OF_A_RUN), session)

    def test_comes_back(self):
        path = self.folder / "result.cxi"
        self.result().save(path)
        self.assertEqual([p.name for p in self.folder.iterdir()], ["result.cxi"])
        back = Result.load(path)
        points = ARRAYS_OF_A_RUN["points"].copy()
        points[:, POINT_COLUMNS.index("arrival")] = math.nan  # Is not in the file.
        for name, array in {**ARRAYS_OF_A_RUN, "points": points}.items():
            np.testing.assert_array_equal(getattr(back.snapshot, name), array, name)
        self.assertEqual(back.config, self.result().config)
        self.assertEqual(back.snapshot.pixel_size_m, (2e-9, 1e-9))
        self.assertEqual(back.snapshot.origin_m, (1e-6, -1e-6))
        self.assertEqual(list(back.snapshot.metrics.mode_powers), [0.75, 0.25])
        self.assertEqual(list(back.snapshot.metrics.object_mode_powers), [0.875, 0.125])
        self.assertEqual(back.snapshot.iteration, 5)
        again = self.folder / "again.cxi"
        back.save(again)
        np.testing.assert_array_equal(Result.load(again).snapshot.background,
                                      ARRAYS_OF_A_RUN["background"])

    def test_lies_where_cxi_has_it(self):
        path = self.folder / "result.cxi"
        self.result().save(path)
        with h5py.File(path) as file:
            self.assertEqual(file["cxi_version"][()], 160)
            np.testing.assert_array_equal(file["entry_1/data_1/data"][()],
                                          ARRAYS_OF_A_RUN["object"])
            np.testing.assert_array_equal(file["entry_1/image_2/data"][()],
                                          ARRAYS_OF_A_RUN["object_modes"][1])
            translation = file["entry_1/data_1/translation"]
            row, col = ARRAYS_OF_A_RUN["points"][2, 1:3]
            np.testing.assert_allclose(translation[2],
                                       (-1e-6 + (col + 4) * 1e-9, 1e-6 + (row + 4) * 2e-9, 0))
            self.assertEqual(translation.attrs["units"], "m")
            energy = file["entry_1/instrument_1/source_1/energy"][()]
            self.assertAlmostEqual(energy / 1.602176634e-19, 12398.419843, places=3)
            background = file["entry_1/image_1/refined_background"][()]
            self.assertEqual(background[4, 4], ARRAYS_OF_A_RUN["background"][0, 0])
            rings = file["entry_1/image_1/process_1/ring_correlation"]
            # Ring 0 has one pixel, ring 1 its eight neighbours.
            np.testing.assert_allclose(rings[:2, 2], [1.0, (0.2071 + 1.9102 / math.sqrt(8))
                                                      / (1.2071 + 0.9102 / math.sqrt(8))],
                                       atol=1e-4)
            session = file["entry_1/image_1/process_1/session"].asstr()[()]
            self.assertIn('"joined_points": 9', session)
            self.assertIn('"r_factor": null', session)

    def test_files_that_are_none(self):
        path = self.folder / "other.cxi"
        with h5py.File(path, "w") as file:
            file["cxi_version"] = 160
        with self.assertRaises(errors.InvalidArgument):
            Result.load(path)
        with self.assertRaises(errors.InvalidArgument):
            self.result().save(self.folder / "result.txt")

    def test_a_failed_write_leaves_the_old_file(self):
        path = self.folder / "result.cxi"
        self.result().save(path)
        before = path.read_bytes()
        broken = self.result()
        broken.snapshot.points = None
        with self.assertRaises(AssertionError):
            broken.save(path)
        self.assertEqual(path.read_bytes(), before)
        self.assertEqual([p.name for p in self.folder.iterdir()], ["result.cxi"])


class CountersTest(unittest.TestCase):

    def test_duplicates_stand_apart(self):
        message = session_pb2.IngestCounters(received=10, accepted=5, skipped=2, watermark=4)
        for reason, count in (("DUPLICATE", 3), ("WRONG_SHAPE", 2)):
            message.rejections.add(
                reason=session_pb2.RejectReason.Value(f"REJECT_REASON_{reason}"), count=count,
                first_frame_id=7, detail="words")
        counters = Counters.of(message)
        self.assertEqual((counters.received, counters.accepted, counters.duplicates), (10, 5, 3))
        self.assertEqual({name: r.count for name, r in counters.rejected.items()},
                         {"wrong_shape": 2})
        self.assertEqual(counters.rejected["wrong_shape"].detail, "words")


if __name__ == "__main__":
    support.main()
