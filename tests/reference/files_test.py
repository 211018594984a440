#!/usr/bin/env python3
"""NPY, NPZ and CXI files against NumPy and h5py, both ways.

    files_test.py ENGINE_PEER [unittest arguments]
"""
import os
import subprocess
import sys
import tempfile
import unittest

import h5py
import numpy as np

PEER = ""


def peer(*args):
    """Runs the peer; returns what it said on standard error, empty when all is well."""
    done = subprocess.run([PEER, *map(str, args)], capture_output=True, text=True)
    assert (done.returncode == 0) == (done.stderr == ""), done
    assert done.returncode in (0, 1), done
    return done.stderr


class FilesTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def path(self, name):
        return os.path.join(self.folder, name)


class NpyTest(FilesTest):
    def test_copies_what_numpy_saves(self):
        for array in (np.arange(6, dtype="<f4").reshape(2, 3), np.array(1.5),
                      np.array([1 + 2j, 3], "<c8"), np.zeros((0, 3)), np.array([True, False]),
                      np.arange(24, dtype="<u2").reshape(2, 3, 4), np.array([-1], "<i8")):
            np.save(self.path("in.npy"), array)
            self.assertEqual(peer("copy-npy", self.path("in.npy"), self.path("out.npy")), "")
            copy = np.load(self.path("out.npy"))
            self.assertEqual(copy.dtype, array.dtype)
            np.testing.assert_array_equal(copy, array)

    def test_header_of_format_version_two(self):
        array = np.arange(4.0)
        with open(self.path("in.npy"), "wb") as f:
            np.lib.format.write_array(f, array, version=(2, 0))
        self.assertEqual(peer("copy-npy", self.path("in.npy"), self.path("out.npy")), "")
        np.testing.assert_array_equal(np.load(self.path("out.npy")), array)

    def test_refuses_what_it_cannot_read(self):
        for array, reason in ((np.asfortranarray(np.ones((2, 3))), "Fortran order"),
                              (np.zeros(2, ">f4"), "big-endian"),
                              (np.zeros(2, "S3"), "not supported"),
                              (np.zeros(2, [("r", "<f4"), ("i", "<f4")]), "structures")):
            np.save(self.path("in.npy"), array)
            self.assertIn(reason, peer("copy-npy", self.path("in.npy"), self.path("out.npy")))

    def test_npz_loads(self):
        self.assertEqual(peer("write-npz", self.path("a.npz")), "")
        with np.load(self.path("a.npz")) as z:  # zipfile checks the CRC of what it reads.
            self.assertEqual(z.files, ["scalar", "vector", "matrix", "empty"])
            self.assertEqual(z["scalar"], 0.1)
            np.testing.assert_array_equal(z["vector"], np.array([1, 2, 3], "<f4"))
            np.testing.assert_array_equal(z["matrix"], np.array([[1 - 2j, 3 + 4j]], "<c8"))
            self.assertEqual(z["empty"].shape, (0, 5))


class CxiScanTest(FilesTest):
    def write(self, frames=None, **options):
        """A complete scan; returns its path."""
        if frames is None:
            frames = np.arange(3 * 4 * 6).reshape(3, 4, 6).astype("<u2")
        path = self.path("scan.cxi")
        with h5py.File(path, "w") as f:
            f["cxi_version"] = 160
            detector = f.create_group("entry_1/instrument_1/detector_1")
            detector.create_dataset("data", data=frames, **options)
            detector["mask"] = np.eye(4, 6, dtype="<u4") * 5
            detector["distance"] = 2.0
            detector["x_pixel_size"] = 5e-5
            detector["y_pixel_size"] = 7e-5
            f["entry_1/instrument_1/source_1/wavelength"] = 1e-10
            f["entry_1/instrument_1/source_1/energy"] = 1.9864458571489288e-15
            f["entry_1/sample_1/geometry_1/translation"] = np.arange(9.0).reshape(3, 3) * 1e-6
            f["entry_1/data_1/data"] = h5py.SoftLink("/entry_1/instrument_1/detector_1/data")
        return path

    def read(self, path, command="read-scan"):
        done = subprocess.run([PEER, command, path, self.path("out.npz")], capture_output=True,
                              text=True)
        self.assertEqual(done.stderr, "")
        self.notes = done.stdout
        with np.load(self.path("out.npz")) as z:
            return {name: z[name] for name in z.files}

    def changed(self, **datasets):
        """A complete scan with other datasets in detector_1; None: without. Returns its path."""
        path = self.write()
        with h5py.File(path, "a") as f:
            detector = f["entry_1/instrument_1/detector_1"]
            for name, value in datasets.items():
                if name in detector:
                    del detector[name]
                if value is not None:
                    detector[name] = value
        return path

    def refusal(self, path):
        error = peer("read-scan", path, self.path("out.npz"))
        self.assertNotEqual(error, "")
        return error

    def test_reads_all_there_is(self):
        scan = self.read(self.write())
        np.testing.assert_array_equal(scan["frames"], np.arange(72).reshape(3, 4, 6))
        np.testing.assert_array_equal(scan["x"], [0, 3e-6, 6e-6])
        np.testing.assert_array_equal(scan["y"], [1e-6, 4e-6, 7e-6])
        np.testing.assert_array_equal(scan["mask"], np.eye(4, 6).ravel())
        np.testing.assert_array_equal(scan["geometry"], [1e-10, 2, 7e-5, 5e-5])

    def test_number_types(self):
        values = np.arange(72).reshape(3, 4, 6)
        for stored, read in (("u1", "u1"), ("<u2", "<u2"), (">u2", "<u2"), ("<u4", "<u4"),
                             ("<i4", "<u4"), ("<i2", "<u2"), ("<u8", "<u4"), ("<i8", "<u4"),
                             ("i1", "u1"),
                             ("<f4", "<f4"), ("<f8", "<f4"), (">f4", "<f4")):
            with self.subTest(stored):
                scan = self.read(self.write(values.astype(stored)))
                self.assertEqual(scan["frames"].dtype, np.dtype(read))
                np.testing.assert_array_equal(scan["frames"], values)

    def test_values_that_do_not_fit_are_distrusted_and_counted(self):
        for stored, values in (("i1", [-1]), ("<i2", [-1, -2]), ("<i4", [-1]), ("<i8", [-5, 2**33]),
                               ("<u8", [2**32, 2**64 - 1])):
            with self.subTest(stored):
                frames = np.ones((3, 4, 6), stored)
                frames[2, 1, :len(values)] = np.array(values, "O").astype(stored)
                scan = self.read(self.write(frames))
                expected = np.ones((3, 4, 6))
                expected[2, 1, :len(values)] = np.iinfo(scan["frames"].dtype).max
                np.testing.assert_array_equal(scan["frames"], expected)
                np.testing.assert_array_equal(scan["changes"], [0, len(values)])

    def test_floats_without_their_background_and_with_gaps(self):
        frames = np.full((3, 4, 6), 2.5)
        frames[0, 0, :4] = [-0.3, np.nan, np.inf, 1e300]
        scan = self.read(self.write(frames))
        largest = np.finfo("<f4").max
        np.testing.assert_array_equal(scan["frames"][0, 0, :5], [0, largest, largest, largest, 2.5])
        np.testing.assert_array_equal(scan["changes"], [1, 3])

    def test_masks_are_flags(self):
        mask = np.zeros((4, 6), "<u4")
        mask[0, :6] = [0x800, 0x1000, 0x80, 0x880, 0x10000, 0x20]
        scan = self.read(self.changed(mask=mask))
        np.testing.assert_array_equal(scan["mask"].reshape(4, 6)[0], [0, 0, 1, 1, 1, 0])
        np.testing.assert_array_equal(self.read(self.changed(mask=mask[None]))["mask"], scan["mask"])
        booleans = self.read(self.changed(mask=mask == 0x80))["mask"].reshape(4, 6)
        np.testing.assert_array_equal(booleans[0], [0, 0, 1, 0, 0, 0])
        self.assertEqual(self.notes, "")
        self.read(self.changed(mask=np.ones((4, 6), "<u4")))
        self.assertIn("marks 24 of 24 pixels as bad; in CXI, 0 is a good pixel", self.notes)

    def test_mask_of_each_frame(self):
        mask = np.zeros((3, 4, 6), "<u4")
        mask[1, 2, 3] = 1
        mask[2, 0, 0] = 0x800
        for stored in ("<u2", "<f4"):
            path = self.write(np.arange(72).reshape(3, 4, 6).astype(stored))
            with h5py.File(path, "a") as f:
                del f["entry_1/instrument_1/detector_1/mask"]
                f["entry_1/instrument_1/detector_1/mask"] = mask
            scan = self.read(path)
            expected = np.arange(72).reshape(3, 4, 6).astype(stored)
            kind = np.iinfo if stored == "<u2" else np.finfo
            expected[1, 2, 3] = kind(stored).max
            np.testing.assert_array_equal(scan["frames"], expected)
            self.assertEqual(scan["mask"].size, 0)

    def test_basis_vectors_turn_the_frames(self):
        order = ["IDENTITY", "FLIP_LR", "FLIP_UD", "ROT180", "TRANSPOSE", "ROT90_CCW", "ROT90_CW",
                 "ANTITRANSPOSE"]
        y, x = [0, 7e-5, 0], [5e-5, 0, 0]
        minus = [-1, -1, -1]
        for rows, cols, expected in ((np.multiply(y, minus), np.multiply(x, minus), "IDENTITY"),
                                     (np.multiply(y, minus), x, "FLIP_LR"), (y, x, "ROT180"),
                                     (np.multiply(x, minus), np.multiply(y, minus), "TRANSPOSE")):
            basis = np.array([rows, cols])
            for stored in (basis, basis.T, np.repeat(basis[None], 3, axis=0)):
                scan = self.read(self.changed(basis_vectors=stored))
                self.assertEqual(order[int(scan["orientation"][0])], expected)
                self.assertEqual("frames are turned" in self.notes, expected != "IDENTITY")
        self.assertEqual(self.read(self.changed(basis_vectors=np.ones((2, 3))))["orientation"], 0)
        self.assertIn("are not along x and y, and are not heeded", self.notes)
        self.read(self.changed(basis_vectors=np.ones((4, 5))))
        self.assertIn("has the shape (4, 5), not (2, 3), and is not heeded", self.notes)

    def test_optics_from_where_they_are(self):
        self.assertEqual(self.read(self.changed(distance=-2.0))["geometry"][1], 2)
        self.assertIn("distance is -2 m; taken as positive", self.notes)
        self.assertEqual(self.read(self.changed(distance=np.full((3,), 2.0)))["geometry"][1], 2)
        path = self.changed(distance=None, corner_position=[1e-3, 2e-3, 3.0])
        self.assertEqual(self.read(path)["geometry"][1], 3)
        self.assertIn("/entry_1/instrument_1/detector_1/corner_position, 3 m", self.notes)
        np.testing.assert_array_equal(self.read(self.changed(y_pixel_size=None))["geometry"][2:],
                                      [5e-5, 5e-5])
        self.assertIn("y_pixel_size is missing; it is taken to be", self.notes)
        path = self.write()
        with h5py.File(path, "a") as f:
            del f["entry_1/instrument_1/source_1"]
            f["entry_1/instrument_1/beam_1/energy"] = np.full(3, 1.9864458571489288e-15)
        self.assertAlmostEqual(self.read(path)["geometry"][0] / 1e-10, 1, places=12)

    def test_energies_in_other_units_are_recognised(self):
        for value, advice in ((8000.0, "in eV, give --photon-energy-ev 8000"),
                              (8.3, "in keV, give --photon-energy-ev 8300")):
            path = self.write()
            with h5py.File(path, "a") as f:
                source = f["entry_1/instrument_1/source_1"]
                del source["wavelength"], source["energy"]
                source["energy"] = value
            error = self.refusal(path)
            self.assertIn(f"source_1/energy: {value:g} means a wavelength of", error)
            self.assertIn(advice, error)

    def test_optics_may_come_from_elsewhere(self):
        path = self.changed(distance=None, x_pixel_size=None, y_pixel_size=None)
        with h5py.File(path, "a") as f:
            del f["entry_1/instrument_1/source_1"]
        scan = self.read(path, "read-scan-without-optics")
        np.testing.assert_array_equal(scan["geometry"], [0, 0, 0, 0])
        for flag in ("--wavelength-m", "--distance-m", "--pixel-size-m"):
            self.assertIn(flag, self.notes)

    def test_translations_by_axis(self):
        path = self.write(np.zeros((4, 4, 6), "<u2"))
        with h5py.File(path, "a") as f:
            del f["entry_1/sample_1/geometry_1/translation"]
            f["entry_1/sample_1/geometry_1/translation"] = np.arange(12.0).reshape(3, 4)
        scan = self.read(path)
        np.testing.assert_array_equal(scan["x"], [0, 1, 2, 3])
        np.testing.assert_array_equal(scan["y"], [4, 5, 6, 7])
        self.assertIn("(3, 4), read as x, y and z of all frames", self.notes)

    def test_modules_entries_and_dark_frames(self):
        frames = np.arange(72).reshape(3, 1, 4, 6).astype("<u2")
        np.testing.assert_array_equal(self.read(self.changed(data=frames))["frames"], frames[:, 0])
        error = self.refusal(self.changed(data=np.zeros((3, 2, 4, 6), "<u2")))
        self.assertIn("2 modules of a detector", error)
        path = self.changed(data_dark=np.zeros((4, 6)))
        with h5py.File(path, "a") as f:
            f["entry_2/title"] = "another one"
        self.read(path)
        self.assertIn("only /entry_1 is read", self.notes)
        self.assertIn("data_dark is there and is not subtracted", self.notes)

    def test_compressed_frames(self):
        options = [dict(compression="gzip", shuffle=True, chunks=(1, 4, 6)),
                   dict(compression="gzip", chunks=(3, 2, 3)), dict(compression="lzf")]
        bitshuffle = 32008
        if h5py.h5z.filter_avail(bitshuffle):
            options.append(dict(compression=bitshuffle, compression_opts=(0, 2)))
        for option in options:
            with self.subTest(option):
                np.testing.assert_array_equal(self.read(self.write(**option))["frames"],
                                              np.arange(72).reshape(3, 4, 6))

    def test_energy_when_there_is_no_wavelength_and_no_mask(self):
        path = self.write()
        with h5py.File(path, "a") as f:
            del f["entry_1/instrument_1/source_1/wavelength"]
            del f["entry_1/instrument_1/detector_1/mask"]
        scan = self.read(path)
        self.assertAlmostEqual(scan["geometry"][0] / 1e-10, 1, places=12)
        self.assertEqual(scan["mask"].size, 0)

    def test_frames_by_link_alone(self):
        path = self.write()
        with h5py.File(path, "a") as f:
            f.move("entry_1/instrument_1/detector_1/data", "frames")
            del f["entry_1/data_1/data"]
            f["entry_1/data_1/data"] = h5py.SoftLink("/frames")
        self.assertEqual(self.read(path)["frames"].shape, (3, 4, 6))

    def test_missing_datasets_are_named(self):
        for name in ("instrument_1/detector_1/data", "instrument_1/detector_1/distance",
                     "sample_1/geometry_1/translation"):
            path = self.write()
            with h5py.File(path, "a") as f:
                del f["entry_1/" + name]
            self.assertIn(f"/entry_1/{name}: missing", self.refusal(path))
        error = self.refusal(self.changed(x_pixel_size=None, y_pixel_size=None))
        self.assertIn("y_pixel_size: missing, and so is", error)
        with h5py.File(self.path("other.h5"), "w") as f:
            f["entry/data"] = 1
        self.assertIn("this is no CXI file", self.refusal(self.path("other.h5")))

    def test_wrong_datasets_are_named(self):
        detector = "entry_1/instrument_1/detector_1/"
        for name, value, reason in (
                ("entry_1/sample_1/geometry_1/translation", np.zeros((2, 3)), "must be (3, 3)"),
                ("entry_1/instrument_1/source_1/wavelength", 1.0, "must be below"),
                ("entry_1/instrument_1/source_1/wavelength", -1.0, "must be above 0"),
                (detector + "distance", np.array([1.0, 2.0]), "one number"),
                (detector + "distance", 0.0, "must not be 0"),
                (detector + "mask", np.zeros((2, 4, 6), "<u4"), "or of all 3 of them"),
                ("entry_1/sample_1/geometry_1/translation", np.full((3, 3), np.nan),
                 "the position of frame 0 is nan"),
                (detector + "distance", "far", "not of numbers"),
                (detector + "mask", np.zeros((6, 4), "<u4"), "must be that of a frame, (4, 6)"),
                (detector + "data", np.zeros((4, 6), "<u2"), "must be (frames, rows, cols)"),
                (detector + "data", np.zeros((0, 4, 6), "<u2"), "must be (frames, rows, cols)"),
                (detector + "data", np.zeros((3, 4, 6), "<c8"), "neither integers")):
            path = self.write()
            with h5py.File(path, "a") as f:
                del f[name]
                f[name] = value
            error = self.refusal(path)
            self.assertIn("/" + name, error)
            self.assertIn(reason, error)

    def test_written_scan(self):
        self.assertEqual(peer("simulate", "raster", self.path("s.npz"), self.path("s.cxi")), "")
        with np.load(self.path("s.npz")) as z, h5py.File(self.path("s.cxi")) as f:
            entry = f["entry_1"]
            self.assertEqual(f["cxi_version"][()], 160)
            self.assertEqual(entry["title"].asstr()[()], "simulated")
            data = entry["data_1/data"]
            self.assertEqual(data, entry["instrument_1/detector_1/data"])
            self.assertEqual(data.chunks, (1, 48, 48))
            np.testing.assert_array_equal(data[()], z["frames"])
            translation = entry["data_1/translation"]
            self.assertEqual(translation.attrs["units"], "m")
            np.testing.assert_array_equal(translation[:, 0], z["x"])
            np.testing.assert_array_equal(translation[:, 1], z["y"])
            source = entry["instrument_1/source_1"]
            self.assertAlmostEqual(source["wavelength"][()] * source["energy"][()] /
                                   1.9864458571489288e-25, 1, places=12)
            self.assertEqual(source["energy"].attrs["units"], "J")
            truth = entry["ground_truth_1"]
            self.assertEqual(truth["object"].dtype, np.dtype("<c8"))
            np.testing.assert_array_equal(truth["object"][()], z["object"][0])
            np.testing.assert_array_equal(truth["probe"][()], z["probe"])
            np.testing.assert_array_equal(truth["object_origin"][()], z["origin"])
            self.assertEqual(entry["instrument_1/initial_probe"].shape, (1, 48, 48))


class CxiResultTest(FilesTest):
    def test_written_result(self):
        self.assertEqual(peer("write-result", self.path("r.cxi")), "")
        with h5py.File(self.path("r.cxi")) as f:
            entry = f["entry_1"]
            image = entry["image_1"]
            self.assertEqual(f["cxi_version"][()], 160)
            expected = np.full((5, 7), 0.5 - 0.25j, "<c8")
            expected[1, 1] = 2 + 3j
            self.assertEqual(image["data"].dtype, np.dtype("<c8"))
            np.testing.assert_array_equal(image["data"][()], expected)
            self.assertEqual(entry["data_1/data"], image["data"])
            self.assertEqual(image["coverage"].attrs["units"], "photons")
            self.assertEqual(image["coverage"].dtype, np.dtype("<f4"))
            self.assertEqual(image["x_pixel_size"][()], 2e-8)
            self.assertEqual(image["y_pixel_size"].attrs["units"], "m")
            np.testing.assert_array_equal(image["origin"][()], [3e-6, -1e-6])
            self.assertEqual(entry["instrument_1/source_1/illumination"].shape, (2, 4, 6))
            np.testing.assert_array_equal(image["window_corner"][()], [[0.25, 0.5], [1, 1]])
            geometry = entry["sample_1/geometry_1"]
            # Centre of the first window: pixel [2.25, 3.5] of the object.
            np.testing.assert_allclose(geometry["translation"][0],
                                       [3e-6 + 3.5 * 2e-8, -1e-6 + 2.25e-8, 0], rtol=1e-12)
            np.testing.assert_array_equal(geometry["frame_id"][()], [4, 9])
            process = image["process_1"]
            self.assertEqual(process["program"].asstr()[()], "ptychoserve")
            self.assertRegex(process["version"].asstr()[()], r"^\d+\.\d+\.\d+$")
            self.assertEqual(process["configuration"].asstr()[()], '{"title": "\u00b5"}')
            self.assertEqual(list(process["metrics"].attrs["columns"]), ["iteration", "r_factor"])
            np.testing.assert_array_equal(process["metrics"][()],
                                          [[1, 0.5], [2, 0.25], [3, 0.125]])


if __name__ == "__main__":
    PEER = sys.argv.pop(1)
    unittest.main()
