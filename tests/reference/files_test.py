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

    def read(self, path):
        error = peer("read-scan", path, self.path("out.npz"))
        self.assertEqual(error, "")
        with np.load(self.path("out.npz")) as z:
            return {name: z[name] for name in z.files}

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
                             ("<i4", "<u4"), ("<i2", "<u4"), ("<u8", "<u4"), ("<i8", "<u4"),
                             ("<f4", "<f4"), ("<f8", "<f4"), (">f4", "<f4")):
            with self.subTest(stored):
                scan = self.read(self.write(values.astype(stored)))
                self.assertEqual(scan["frames"].dtype, np.dtype(read))
                np.testing.assert_array_equal(scan["frames"], values)

    def test_values_that_do_not_fit_are_not_clipped(self):
        for stored, value in (("<i4", -1), ("<u8", 2**32), ("<i8", -5)):
            frames = np.zeros((3, 4, 6), stored)
            frames[2, 1, 1] = value
            self.assertIn("outside of [0, 4294967295]", self.refusal(self.write(frames)))

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
                     "instrument_1/detector_1/x_pixel_size", "instrument_1/detector_1/y_pixel_size",
                     "sample_1/geometry_1/translation"):
            path = self.write()
            with h5py.File(path, "a") as f:
                del f["entry_1/" + name]
            self.assertIn(f"/entry_1/{name}: missing", self.refusal(path))

    def test_wrong_datasets_are_named(self):
        detector = "entry_1/instrument_1/detector_1/"
        for name, value, reason in (
                ("entry_1/sample_1/geometry_1/translation", np.zeros((2, 3)), "must be (3, 3)"),
                ("entry_1/instrument_1/source_1/wavelength", 1.0, "must be below"),
                ("entry_1/instrument_1/source_1/wavelength", -1.0, "must be above 0"),
                (detector + "distance", np.ones(2), "one number"),
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
