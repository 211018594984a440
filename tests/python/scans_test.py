#!/usr/bin/env python3
"""Readers of recorded scans: each format gives the same scan; what is missing, broken or ambiguous
is an error that says what to do; broken files never do anything else.
"""

import contextlib
import json
import os
import pathlib
import random
import shutil
import signal
import tempfile
import traceback
import unittest
import unittest.mock

import support
import h5py
import numpy as np
import scan_files
from ptychoserve import errors
from ptychoserve._session_flags import session_id_of
from ptychoserve.replay.player import in_order
from ptychoserve.scans import open_scan
from ptychoserve.scans.cxi import orientation_of_basis
from ptychoserve.scans.counts import to_counts
from ptychoserve.scans.mapping import parse_mapping
from ptychoserve.scans.scan import Scan

FORMATS = ("cxi", "nexus", "grid", "ptyd", "hdf5", "npz")
DETECTOR = "entry_1/instrument_1/detector_1"
EXPECTED = (errors.InvalidArgument, OSError)


def make_scan(path, count=12, side=16):
    """A small scan in CXI, nothing that could be reconstructed."""
    random_ = np.random.default_rng(1)
    with h5py.File(path, "w") as file:
        file["cxi_version"] = 160
        detector = file.create_group(DETECTOR)
        detector["data"] = random_.poisson(20, (count, side, side)).astype("u2")
        detector["distance"] = 2.05
        detector["x_pixel_size"] = detector["y_pixel_size"] = 75e-6
        detector["mask"] = (random_.random((side, side)) < 0.05).astype("u4")
        file["entry_1/instrument_1/source_1/wavelength"] = 1.4e-10
        file["entry_1/sample_1/geometry_1/translation"] = np.column_stack(
            [random_.random((count, 2)) * 1e-6, np.zeros(count)])


class ScansTestCase(unittest.TestCase):

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.cxi = str(self.folder / "scan.cxi")
        make_scan(self.cxi)
        self.parts = scan_files.Parts(self.cxi)
        self.mapping = str(self.folder / "mapping.json")
        scan_files.write_mapping(self.mapping)

    def write(self, kind):
        """The scan as a file of that format; what `open_scan` is told."""
        if kind == "cxi":
            return self.cxi, {}
        path = str(self.folder / {"npz": "scan.npz"}.get(kind, f"scan-{kind}.h5"))
        if kind == "grid":
            scan_files.write_grid_nexus(path, self.parts, rows=3)
        else:
            getattr(scan_files, f"write_{kind}")(path, self.parts)
        return path, ({"mapping": self.mapping} if kind == "hdf5" else {})

    def check_same(self, scan, masked=True):
        parts = self.parts
        np.testing.assert_allclose(scan.x_m, parts.x_m, rtol=1e-9)
        np.testing.assert_allclose(scan.y_m, parts.y_m, rtol=1e-9)
        np.testing.assert_array_equal(scan.frame_ids, np.arange(len(parts.frames)))
        np.testing.assert_array_equal(scan.position_ids, scan.frame_ids)
        frames = np.concatenate([scan.read(0, 5), scan.read(5, len(scan))])
        self.assertEqual(frames.dtype, scan.dtype)
        config = scan.config()
        bad = np.frombuffer(config.detector.bad_pixels, np.uint8).reshape(-1, *scan.shape) != 0
        # Of a mask for each frame, bad pixels are the largest value of the type.
        bad = (bad[0] if len(bad) else np.zeros(scan.shape, bool)) | (frames == 65535)
        if masked:
            np.testing.assert_array_equal(bad, np.broadcast_to(parts.bad, bad.shape))
        np.testing.assert_array_equal(frames[~bad], parts.frames[~bad])
        optics = config.optics
        wavelength_m = optics.wavelength_m or scan_files.ENERGY_EV_M / optics.photon_energy_ev
        self.assertAlmostEqual(wavelength_m / parts.wavelength_m, 1, places=6)
        self.assertAlmostEqual(optics.distance_m / parts.distance_m, 1, places=9)
        self.assertAlmostEqual(optics.detector_pixel_size_y_m / parts.pixel_m, 1, places=9)
        self.assertEqual(config.scan.expected_points, len(parts.frames))
        self.assertAlmostEqual(config.scan.bounds.x_max_m / parts.x_m.max(), 1, places=9)

    @contextlib.contextmanager
    def refused(self, *words):
        with self.assertRaises(errors.InvalidArgument) as caught:
            yield
        for word in words:
            self.assertIn(word, str(caught.exception))


class FormatsTest(ScansTestCase):

    def test_all_formats_give_the_same_scan(self):
        for kind in FORMATS:
            with self.subTest(kind):
                path, options = self.write(kind)
                with open_scan(path, **options) as scan:
                    self.check_same(scan, masked=kind != "grid")

    def test_ptyd_says_which_units_it_has(self):
        with open_scan(self.write("ptyd")[0]) as scan:
            self.assertIn("energy in keV", scan.all_notes()[0])

    def test_tiled(self):
        with scan_files.tiled_of(self.parts) as tiled, self.key("secret"):
            for uri in (tiled.uri, tiled.uri.replace("/api/v1/metadata", "")):
                with open_scan(uri) as scan:
                    self.check_same(scan)
            self.assertEqual(tiled.slices[:2], [(0, 5), (5, 12)])

    def test_tiled_by_a_mapping(self):
        path = str(self.folder / "tiled.json")
        scan_files.write_mapping(path, {
            "frames": "frames", "x": {"path": "x_m", "unit": "m"},
            "y": {"path": "y_m", "unit": "m"}, "bad_pixels": "bad_pixels",
            "wavelength": {"metadata": "beam.wavelength", "unit": "nm"},
            "distance": {"metadata": "distance_m", "unit": "m"},
            "pixel_size": {"metadata": "pixel_size_m", "unit": "m"}})
        with scan_files.tiled_of(self.parts) as tiled, self.key("secret"):
            tiled.metadata["beam"] = {"wavelength": self.parts.wavelength_m * 1e9}
            with open_scan(tiled.uri, mapping=path) as scan:
                self.check_same(scan)

    def test_tiled_errors(self):
        with scan_files.tiled_of(self.parts) as tiled:
            with self.key(""), self.assertRaises(errors.Unauthenticated) as caught:
                open_scan(tiled.uri)
            self.assertIn("TILED_API_KEY", str(caught.exception))
            with self.key("secret"):
                with self.assertRaises(errors.NotFound):
                    open_scan(tiled.uri + "s")
                tiled.status = 503
                with self.assertRaises(errors.Unavailable):
                    open_scan(tiled.uri)
                tiled.status = 0
                with open_scan(tiled.uri) as scan:
                    tiled.cut = True
                    with self.refused("bytes"):
                        scan.read(0, 3)
                tiled.cut = False
                tiled.arrays["frames"] = self.parts.frames.astype("c8")
                with self.refused("integers or floating-point numbers"):
                    open_scan(tiled.uri)
        with self.key("secret"), self.assertRaises(errors.Unavailable):
            open_scan(tiled.uri)

    @contextlib.contextmanager
    def key(self, value):
        with unittest.mock.patch.dict(os.environ, {"TILED_API_KEY": value}):
            yield

    def test_yaml_is_as_good_as_json(self):
        path, _ = self.write("hdf5")
        lines = [f"{key}: {json.dumps(value)}" for key, value in scan_files.MAPPING.items()]
        yaml = self.folder / "mapping.yaml"
        yaml.write_text("# Of a test.\n" + "\n".join(lines), encoding="utf-8")
        with open_scan(path, mapping=str(yaml)) as scan:
            self.check_same(scan)

    def test_frames_that_a_detector_has_compressed(self):
        """By HDF5 filter 32008, bitshuffle with LZ4, as an Eiger does."""
        with h5py.File(self.cxi, "a") as file:
            del file[f"{DETECTOR}/data"]
            file.create_dataset(f"{DETECTOR}/data", data=self.parts.frames, compression=32008,
                                compression_opts=(0, 2), chunks=(1, *self.parts.frames.shape[1:]))
        with open_scan(self.cxi) as scan:
            self.check_same(scan)

    def test_numbers_of_the_user_come_before_those_of_the_file(self):
        from ptychoserve.v1 import config_pb2
        given = config_pb2.SessionConfig()
        given.optics.photon_energy_ev = 9000
        given.scan.bounds.y_max_m = 1.0
        with open_scan(self.cxi) as scan:
            config = scan.config(given)
        self.assertEqual(config.optics.WhichOneof("source"), "photon_energy_ev")
        self.assertEqual(config.scan.bounds.y_max_m, 1.0)

    def test_what_a_file_lacks_is_asked_for_unless_it_is_given(self):
        from ptychoserve.v1 import config_pb2
        for name, flag, field in (
                (f"{DETECTOR}/distance", "--distance-m", "distance_m"),
                ("entry_1/instrument_1/source_1/wavelength", "--wavelength-m", "wavelength_m")):
            with self.subTest(name):
                make_scan(self.cxi)
                with h5py.File(self.cxi, "a") as file:
                    del file[name]
                with open_scan(self.cxi) as scan:
                    with self.refused(flag):
                        scan.config()
                    given = config_pb2.SessionConfig()
                    setattr(given.optics, field, 1.5)
                    self.assertEqual(getattr(scan.config(given).optics, field), 1.5)

    def test_counts_that_do_not_agree_are_joined_by_id_and_said(self):
        np.savez(self.folder / "more.npz", frames=self.parts.frames[:10], x_m=self.parts.x_m,
                 y_m=self.parts.y_m, wavelength_m=1e-10, distance_m=1, pixel_size_m=1e-4)
        with open_scan(self.folder / "more.npz") as scan:
            self.assertIn("2 positions have no frame (ids 10-11)", scan.all_notes()[-1])
            self.assertEqual(scan.config().scan.expected_points, 10)
        np.savez(self.folder / "ids.npz", frames=self.parts.frames, x_m=self.parts.x_m[:10],
                 y_m=self.parts.y_m[:10], frame_ids=np.arange(100, 112),
                 position_ids=np.arange(103, 113), wavelength_m=1e-10, distance_m=1,
                 pixel_size_m=1e-4)
        with open_scan(self.folder / "ids.npz") as scan:
            note = scan.all_notes()[-1]
            self.assertIn("3 frames have no position (ids 100-102)", note)
            self.assertIn("1 positions have no frame (ids 112)", note)
            config = scan.config()
            self.assertEqual((config.scan.expected_points, config.scan.capacity), (9, 12))

    def test_a_wavelength_of_the_user_does_for_an_energy_that_is_wrong(self):
        from ptychoserve.v1 import config_pb2
        path, options = self.write("hdf5")
        mapping = {**scan_files.MAPPING, "photon_energy": {"value": 9, "unit": "volts"}}
        del mapping["wavelength"]
        scan_files.write_mapping(self.mapping, mapping)
        given = config_pb2.SessionConfig()
        given.optics.wavelength_m = 1e-10
        with open_scan(path, **options) as scan:
            with self.refused("'volts'"):
                scan.config()
            self.assertEqual(scan.config(given).optics.wavelength_m, 1e-10)

    def test_a_part_is_numbered_from_the_first_id_again(self):
        with open_scan(self.cxi) as scan:
            scan.take(3, 5)
            np.testing.assert_array_equal(scan.frame_ids, range(5))
            np.testing.assert_array_equal(scan.position_ids, range(5))
            np.testing.assert_array_equal(scan.x_m, self.parts.x_m[3:8])
            np.testing.assert_array_equal(scan.read(0, 5), self.parts.frames[3:8])
            self.assertEqual(scan.config().scan.expected_points, 5)
            with self.refused("at least one frame"):
                scan.take(5)


class ErrorsTest(ScansTestCase):

    def test_units_are_never_guessed(self):
        path, _ = self.write("nexus")
        for name, hint in (("entry/instrument/detector/distance", "--distance-m"),
                           ("entry/instrument/beam/incident_energy", "--photon-energy-ev"),
                           ("entry/instrument/detector/y_pixel_size", "--pixel-size-m"),
                           ("entry/sample/transformations/fine", "--position-unit")):
            with self.subTest(name):
                scan_files.write_nexus(path, self.parts)
                with h5py.File(path, "a") as file:
                    del file[name].attrs["units"]
                with self.refused("without a unit", hint), open_scan(path) as scan:
                    scan.config()
        with open_scan(path, position_unit="mm") as scan:
            self.check_same(scan)
        with h5py.File(path, "a") as file:
            file[name].attrs["units"] = "furlong"
        with self.refused("furlong", "angstrom"):
            open_scan(path)

    def test_mappings(self):
        path, options = self.write("hdf5")
        for change, words in (
                ({"frame": "/raw/frames"}, ["there is no such setting", "did you mean 'frames'?"]),
                ({"x": {"path": "/raw/stage_x", "units": "um"}}, ["did you mean 'unit'?"]),
                ({"x": {"path": "/raw/stage_x"}}, ["without a unit", "mapping"]),
                ({"x": {"path": "/raw/nothing", "unit": "um"}}, ["/raw/nothing", "missing"]),
                ({"x": {"path": "/raw", "unit": "um"}}, ["/raw", "missing"]),
                ({"distance": {"value": -1, "unit": "m"}}, ["above 0"]),
                ({"distance": {"value": 1, "path": "/raw", "unit": "m"}}, ["one of path"]),
                ({"distance": 2.0}, ["a path, or"]),
                ({"good_pixels": "/raw/stage_x"}, ["the shape of a frame"]),
                ({"bad_pixels": "/raw/good"}, ["one of them"]),
                ({"photon_energy": {"value": 9, "unit": "keV"}}, ["one of them"]),
                ({"orientation": "upside_down"}, ["flip_ud"])):
            with self.subTest(change):
                scan_files.write_mapping(self.mapping, {**scan_files.MAPPING, **change})
                with self.refused(*words), open_scan(path, **options) as scan:
                    scan.config()
        for text in ("", "[1]", "{", "a: [", "frames: /raw/frames"):
            with self.subTest(text):
                pathlib.Path(self.mapping).write_text(text, encoding="utf-8")
                with self.refused():
                    open_scan(path, **options)
        with self.refused("--mapping"):
            open_scan(path)
        with self.refused("hdf5"):
            open_scan(self.cxi, mapping=self.mapping, format="cxi")

    def test_columns_and_orientation_of_a_mapping(self):
        path, _ = self.write("hdf5")
        with h5py.File(path, "a") as file:
            file["raw/both"] = np.stack([self.parts.y_m, self.parts.x_m], 1)
            file["raw/both"].attrs["units"] = "m"
        mapping = {**scan_files.MAPPING, "x": {"path": "/raw/both", "column": 1},
                   "y": {"path": "/raw/both", "column": 0}, "orientation": "flip_ud"}
        scan_files.write_mapping(self.mapping, mapping)
        with open_scan(path, mapping=self.mapping) as scan:
            self.check_same(scan)
            self.assertEqual(scan.config().detector.orientation, 3)
        with self.refused("a column 2"):
            scan_files.write_mapping(self.mapping,
                                     {**mapping, "x": {"path": "/raw/both", "column": 2}})
            open_scan(path, mapping=self.mapping)
        self.assertEqual(parse_mapping({**mapping, "distance": {"value": "1e-3", "unit": "m"}},
                                       "test").places["distance"].value, 1e-3)

    def test_wrong_positions(self):
        values = np.column_stack([self.parts.x_m, self.parts.y_m])
        broken = values.copy()
        broken[5, 1] = np.nan
        for positions, words in ((broken, ["frame 5", "nan", "leave such frames out"]),
                                 (values[:, :1], ["shape"]), (values.astype("S8"), ["type"]),
                                 (values[:0], ["without an id in common"])):
            with self.subTest(words):
                make_scan(self.cxi)
                with h5py.File(self.cxi, "a") as file:
                    del file["entry_1/sample_1/geometry_1/translation"]
                    file["entry_1/sample_1/geometry_1/translation"] = positions
                with self.refused(*words), open_scan(self.cxi) as scan:
                    scan.config()

    def test_wrong_frames(self):
        for frames, words in ((self.parts.frames[0], "(frames, rows, cols)"),
                              (self.parts.frames[:0], "none of them 0"),
                              (self.parts.frames.astype("c8"), "integers or floating-point"),
                              (self.parts.frames[:, None].repeat(2, 1), "modules")):
            with self.subTest(words):
                make_scan(self.cxi)
                with h5py.File(self.cxi, "a") as file:
                    del file[f"{DETECTOR}/data"]
                    file[f"{DETECTOR}/data"] = frames
                with self.refused(words):
                    open_scan(self.cxi)

    def test_ids(self):
        for ids, word in (([1] * 12, "more than once"), (range(-1, 11), "0 and above"),
                          (range(11), "12 integers"), (np.arange(12) + 0.5, "12 integers")):
            with self.subTest(word):
                scan_files.write_npz(self.folder / "ids.npz", self.parts, frame_ids=list(ids))
                with self.refused(word):
                    open_scan(self.folder / "ids.npz")

    def test_names_of_an_archive(self):
        scan_files.write_npz(self.folder / "a.npz", self.parts, wavelength_nm=0.1)
        with self.refused("wavelength_nm", "wavelength_m"):
            open_scan(self.folder / "a.npz")
        np.savez(self.folder / "b.npz", frames=self.parts.frames)
        with self.refused("x_m", "missing"):
            open_scan(self.folder / "b.npz")

    def test_other_files(self):
        with self.assertRaises(FileNotFoundError):
            open_scan(self.folder / "nothing.h5")
        (self.folder / "text.h5").write_text("no HDF5", encoding="utf-8")
        with self.refused("a whole HDF5 file"):
            open_scan(self.folder / "text.h5")
        with h5py.File(self.folder / "other.h5", "w") as file:
            file["something/else"] = 1
        with self.refused("/something", "--mapping"):
            open_scan(self.folder / "other.h5")

    def test_two_detectors_are_not_chosen_from(self):
        path, _ = self.write("nexus")
        with h5py.File(path, "a") as file:
            file.copy("entry/instrument/detector", "entry/instrument/second")
        with self.refused("/entry/instrument/second/data", "--mapping"):
            open_scan(path)


class RulesTest(unittest.TestCase):

    def test_counts(self):
        for stored, dtype, counts, changes in (
                (np.array([1, -2, 300], "i2"), "<u2", [1, 65535, 300], (1, 0)),
                (np.array([1, 2**33], "i8"), "<u4", [1, 2**32 - 1], (1, 0)),
                (np.array([0.5, -0.5, np.nan, np.inf]), "<f4",
                 [0.5, 0, np.finfo("f4").max, np.finfo("f4").max], (2, 1)),
                (np.array([7, 9], ">u2"), "<u2", [7, 9], (0, 0))):
            got, changed = to_counts(stored, np.dtype(dtype))
            np.testing.assert_array_equal(got, np.array(counts, dtype))
            self.assertEqual((got.dtype, tuple(changed)), (np.dtype(dtype), changes))

    def test_orientation_undoes_that_of_the_detector(self):
        """A made-up detector whose pixels lie along CXI's axes by a symmetry of the square."""
        undo = {"identity": lambda f: f, "flip_lr": np.fliplr, "flip_ud": np.flipud,
                "rot180": lambda f: np.rot90(f, 2), "transpose": np.transpose,
                "rot90_ccw": np.rot90, "rot90_cw": lambda f: np.rot90(f, -1),
                "antitranspose": lambda f: np.rot90(f, 2).T}
        true = np.arange(16).reshape(4, 4)   # Rows run to -y, columns to -x.
        rows, cols = np.mgrid[:4, :4]
        for name, function in undo.items():
            with self.subTest(name):
                stored = next(g(true) for g in undo.values()
                              if np.array_equal(function(g(true)), true))
                y, x = -rows.ravel()[np.argsort(true.ravel())][stored], \
                    -cols.ravel()[np.argsort(true.ravel())][stored]
                step = [np.array([x[b] - x[0, 0], y[b] - y[0, 0], 0.0]) for b in ((1, 0), (0, 1))]
                self.assertEqual(orientation_of_basis(*step), name)
        self.assertIsNone(orientation_of_basis(np.array([1.0, 1, 0]), np.array([1.0, -1, 0])))

    def test_chunks_come_in_their_order_and_few_at_a_time(self):
        """Whatever the readers' speed; no more are under way than workers and one more."""
        import threading
        import time
        under_way, most, lock = 0, 0, threading.Lock()

        def read(begin, end):
            nonlocal under_way, most
            with lock:
                under_way += 1
                most = max(most, under_way)
            time.sleep(random.random() * 2e-3)
            return np.arange(begin, end)

        for workers in (1, 2, 5):
            under_way = most = 0
            for chunk in (1, 3, 7, 100):
                got = []
                for first, values in in_order(read, 50, chunk, workers):
                    self.assertEqual(first, values[0])
                    got += values.tolist()
                    with lock:
                        under_way -= 1
                self.assertEqual(got, list(range(50)))
            self.assertLessEqual(most, workers + 1)

    def test_parts_of_any_scan(self):
        """Against a plain model: of ids in any order, frames and positions that do not pair."""
        random_ = np.random.default_rng(3)
        for _ in range(500):
            ids = np.sort(random_.choice(40, random_.integers(1, 20), replace=False))
            places = random_.choice(40, random_.integers(1, 30), replace=False)
            scan = Scan("made up")
            scan.frame_ids, scan.position_ids = ids, places
            scan.x_m, scan.y_m = places * 1.0, places * 2.0
            skip = int(random_.integers(0, len(ids)))
            most = int(random_.integers(1, len(ids) - skip + 3))
            kept = ids[skip:skip + most]
            scan.take(skip, most)
            back = kept[0] - ids[0]
            np.testing.assert_array_equal(scan.frame_ids, kept - back)
            for id_ in kept[np.isin(kept, places)]:
                where, = np.flatnonzero(scan.position_ids == id_ - back)
                self.assertEqual((scan.x_m[where], scan.y_m[where]), (id_, 2 * id_))
            gone = np.setdiff1d(ids, kept) - back
            self.assertFalse(np.isin(scan.position_ids, gone).any())

    def test_ids_of_file_names(self):
        self.assertEqual(session_id_of("Scan_0042 (b).h5"), "scan-0042-b-h5")
        self.assertEqual(session_id_of("___"), "scan")
        long_ = [session_id_of("a" * 80 + end) for end in "xy"]
        self.assertEqual(len({*long_, *(id_[:40] for id_ in long_)}), 3)
        self.assertTrue(all(len(id_) <= 56 for id_ in long_))


class BrokenFilesTest(ScansTestCase):
    """Files with bytes changed, cut off, and datasets that are something else."""

    def attempt(self, path, options):
        """Reads all of a file. Only errors for users are allowed."""
        try:
            with open_scan(path, **options) as scan:
                scan.config()
                for begin in range(len(scan)):
                    scan.read(begin, begin + 1)
        except EXPECTED as error:
            self.assertTrue(str(error))

    def test_truncated(self):
        for kind in FORMATS:
            path, options = self.write(kind)
            size = os.path.getsize(path)
            for part in np.linspace(0, 1, 25, endpoint=False):
                with self.subTest(kind, part=part):
                    cut = str(self.folder / f"cut{pathlib.Path(path).suffix}")
                    shutil.copy(path, cut)
                    os.truncate(cut, int(size * part))
                    self.attempt(cut, options)

    def attempt_all(self, suffix, variants, options):
        """Each of these contents of a file, in child processes: damaged metadata can crash the HDF5
        library itself, which nobody in the process can do anything about. What we make of a file
        must be an error for users."""
        broken = self.folder / f"broken{suffix}"
        crashes = (-signal.SIGSEGV, -signal.SIGBUS, -signal.SIGFPE, -signal.SIGABRT)
        begin = 0
        while begin < len(variants):
            read_end, write_end = os.pipe()
            child = os.fork()
            if child == 0:
                code = 1
                try:
                    for content in variants[begin:]:
                        os.write(write_end, b".")  # How far it has come.
                        broken.write_bytes(content)
                        self.attempt(str(broken), options)
                    code = 0
                except BaseException:
                    traceback.print_exc()
                os._exit(code)
            os.close(write_end)
            with os.fdopen(read_end, "rb") as progress:
                begin += len(progress.read())
            code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            self.assertIn(code, (0,) if suffix == ".npz" else (0, *crashes), begin - 1)

    def test_changed_bytes(self):
        random_ = random.Random(7)
        for kind in FORMATS:
            path, options = self.write(kind)
            whole = pathlib.Path(path).read_bytes()
            variants = []
            for _ in range(60):
                data = bytearray(whole)
                for _ in range(random_.randrange(1, 8)):
                    data[random_.randrange(min(len(data), 8000))] = random_.randrange(256)
                variants.append(bytes(data))
            with self.subTest(kind):
                self.attempt_all(pathlib.Path(path).suffix, variants, options)

    def test_datasets_that_are_something_else(self):
        """Each dataset of each HDF5 format in turn becomes something else, or nothing."""
        others = [np.float64(np.nan), np.float64(-1), "a word", np.zeros((0,)), np.zeros((3, 5)),
                  np.zeros((2, 2, 2, 2, 2)), np.array([b"x"] * 12), np.zeros(12, "c8"),
                  np.zeros(12, [("a", "i4")]), h5py.Empty("f8"), None]
        for kind in FORMATS[:-1]:
            path, options = self.write(kind)
            names = []
            with h5py.File(path) as file:
                file.visititems(lambda name, thing: names.append(name)
                                if isinstance(thing, h5py.Dataset) else None)
            self.assertTrue(names)
            for name in names:
                for other in others:
                    with self.subTest(kind, name=name, other=other):
                        broken = str(self.folder / "broken.h5")
                        shutil.copy(path, broken)
                        with h5py.File(broken, "a") as file:
                            del file[name]
                            if other is not None:
                                file[name] = other
                        self.attempt(broken, options)


if __name__ == "__main__":
    support.main()
