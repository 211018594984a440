#!/usr/bin/env python3
"""Files that grow, files that arrive, and folders of frames, through the command
`ptychoserve-watch` and the real server: nothing is lost by a watcher that is killed, and nothing of
one scan gets into another.
"""

import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
import unittest

import support
import h5py
import harness
import numpy as np
import ptychoserve
import scan_files
import tifffile
from ptychoserve import errors
from ptychoserve.watch.folder import positions_of, read_single

harness.BUILD = support.BUILD
ITERATIONS = 20
DATA = "/entry/data/data"
ATTRIBUTES = "/entry/instrument/NDAttributes"
MAPPING = {"frames": DATA, "x": {"path": f"{ATTRIBUTES}/SampleX", "unit": "um"},
           "y": {"path": f"{ATTRIBUTES}/SampleY", "unit": "um"}}


class GrowingFile:
    """A file as areaDetector's HDF5 plugin writes it in SWMR mode."""

    def __init__(self, path, parts, ids=None):
        self._parts = parts
        self._ids = np.arange(1, len(parts.frames) + 1) if ids is None else ids
        self._file = h5py.File(path, "w", libver="latest")
        shape = parts.frames.shape[1:]
        self._data = self._file.create_dataset(DATA, (0, *shape), "u2", chunks=(1, *shape),
                                               maxshape=(None, *shape))
        self._axes = [self._file.create_dataset(
            f"{ATTRIBUTES}/Sample{axis}", (0,), "f8", chunks=(16,), maxshape=(None,),
            fillvalue=np.nan) for axis in "XY"]
        self._unique_ids = self._file.create_dataset(
            f"{ATTRIBUTES}/NDArrayUniqueId", (0,), "i4", chunks=(16,), maxshape=(None,))
        self._file.swmr_mode = True
        self.count = 0

    def add(self, count, positions=True):
        begin, end = self.count, self.count + count
        for data, values in ((self._data, self._parts.frames[begin:end]),
                             (self._unique_ids, self._ids[begin:end])):
            data.resize(end, 0)
            data[begin:end] = values
        for data, values_m in zip(self._axes, (self._parts.x_m, self._parts.y_m)):
            data.resize(end, 0)
            if positions:
                data[begin:end] = values_m[begin:end] * 1e6
        self.count = end
        self.flush()

    def place(self, begin, end):
        for data, values_m in zip(self._axes, (self._parts.x_m, self._parts.y_m)):
            data[begin:end] = values_m[begin:end] * 1e6
        self.flush()

    def flush(self):
        for data in (self._data, self._unique_ids, *self._axes):
            data.flush()

    def close(self):
        self._file.close()


class WatchTestCase(harness.EndToEndTest):

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.parts = scan_files.Parts(cls.scan)
        cls.client = ptychoserve.Client(cls.server.address)
        cls.addClassCleanup(cls.client.close)
        cls.mapping = cls.path("mapping.json")
        scan_files.write_mapping(cls.mapping, MAPPING)
        cls.optics = ("--wavelength-m", cls.parts.wavelength_m, "--distance-m",
                      cls.parts.distance_m, "--pixel-size-m", cls.parts.pixel_m)

    def setUp(self):
        self.prefix = self._testMethodName.removeprefix("test_")[:40].strip("_").replace("_", "-")
        self.folder = pathlib.Path(self.path(self.prefix))
        self.folder.mkdir()
        self.errors = []

    def start(self, path, *arguments):
        process = subprocess.Popen(
            [sys.executable, "-B", "-m", "ptychoserve.watch", str(path), "--server",
             self.server.address, "--prefix", self.prefix, "--poll-s", "0.05", "--json", "--set",
             f"run.it_ends_after={ITERATIONS}", *map(str, arguments)], text=True,
            env={**os.environ, "PYTHONPATH": str(support.BUILD / "python")},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        return process

    def start_mapped(self, path, *arguments):
        return self.start(path, "--mapping", self.mapping, *self.optics, *arguments)

    def reports(self, process, code=0):
        """What a watcher has reported that ends by itself; what it has said is in `errors`."""
        said, self.errors = process.communicate(timeout=harness.DEADLINE_S)
        self.assertEqual(process.returncode, code, said + self.errors)
        return [json.loads(line) for line in said.splitlines()]

    def session_id(self, name):
        return f"{self.prefix}-{name}"

    def wait_for_frames(self, process, name, count):
        deadline = time.monotonic() + harness.DEADLINE_S
        while True:
            self.assertIsNone(process.poll())
            self.assertLess(time.monotonic(), deadline)
            try:
                if self.client.session(self.session_id(name)).info.frames.accepted >= count:
                    return
            except errors.NotFound:
                pass
            time.sleep(0.02)

    def wait_for_words(self, process, words):
        """Until a line on standard error has them."""
        for line in process.stderr:
            if words in line:
                return
        self.fail(f"it has ended without a word of {words!r}")

    def check_whole(self, report, name, ended_by, points=100):
        self.assertEqual(
            (report["session"], report["frames"], report["positions"], report["in_source"],
             report["lost"], report["unplaced"], report["unreadable"], report["refused"],
             report["error"]),
            (self.session_id(name), points, points, points, [], [], {}, {}, ""))
        self.assertIn(ended_by, report["ended_by"])
        self.check_pairing(name, range(points))

    def check_pairing(self, name, ids):
        """Each frame has its own position."""
        session = self.client.session(self.session_id(name)).wait(harness.DEADLINE_S)
        points = session.snapshot(["points"]).points
        found = points[:, 0].astype(int)
        self.assertEqual(sorted(found), sorted(ids))
        true = np.stack([self.parts.y_m, self.parts.x_m], 1)[found] / session.info.pixel_size_y_m
        corners = points[:, 1:3]
        np.testing.assert_allclose(corners - true,
                                   np.broadcast_to((corners - true).mean(0), true.shape), atol=0.02)


class WatchTest(WatchTestCase):

    # --- A file that grows ----------------------------------------------------------------------

    def test_a_file_that_grows(self):
        """As areaDetector writes it; positions come later than their frames, the last ones last."""
        expected = self.json("run", self.scan, "--iterations", ITERATIONS, "--min-points", 100,
                             "--quiet")["final_fit"]["r_factor"]
        path = self.folder / "scan.h5"
        watch = self.start_mapped(path, "--scans", 1, "--set", "run.min_points_to_start=100")
        file = GrowingFile(path, self.parts)
        file.add(30)
        self.wait_for_frames(watch, "scan", 30)
        for _ in range(7):
            file.add(10, positions=False)
        self.wait_for_frames(watch, "scan", 100)
        file.place(30, 100)
        file.close()
        (self.folder / "scan.h5.done").touch()
        report, = self.reports(watch)
        self.check_whole(report, "scan", "scan.h5.done is there")
        r_factor = self.client.session(self.session_id("scan")).info.final_fit.r_factor
        self.assertAlmostEqual(r_factor / expected, 1, delta=0.02)

    def test_positions_that_never_come_are_said(self):
        path = self.folder / "scan.h5"
        file = GrowingFile(path, self.parts)
        file.add(90)
        file.add(10, positions=False)
        report, = self.reports(self.start_mapped(path, "--scans", 1, "--idle-s", 1))
        file.close()
        self.assertEqual((report["frames"], report["unplaced"], report["refused"]),
                         (100, [[90, 99]], {}))
        self.assertIn("nothing new for 1 s", report["ended_by"])
        self.check_pairing("scan", range(90))

    def test_ids_of_the_detector(self):
        """From 1, where the ids of the session say it; and the number of points ends it."""
        mapping = self.folder / "mapping.json"
        scan_files.write_mapping(mapping, {**MAPPING, "frame_ids": f"{ATTRIBUTES}/NDArrayUniqueId"})
        path = self.folder / "scan.h5"
        file = GrowingFile(path, self.parts)
        file.add(30)
        watch = self.start(path, "--mapping", mapping, *self.optics, "--scans", 1, "--set",
                           "scan.expected_points=100")
        file.add(70)
        report, = self.reports(watch)
        file.close()
        self.assertIn("all 100 expected points are there", report["ended_by"])
        session = self.client.session(self.session_id("scan")).wait(harness.DEADLINE_S)
        ids = session.snapshot(["points"]).points[:, 0]
        np.testing.assert_array_equal(np.sort(ids), range(1, 101))

    def test_a_watcher_that_was_killed_goes_on(self):
        path = self.folder / "scan.h5"
        file = GrowingFile(path, self.parts)
        file.add(30)
        killed = self.start_mapped(self.folder, "--existing")
        self.wait_for_frames(killed, "scan", 30)
        killed.kill()
        file.add(30)
        stopped = self.start_mapped(self.folder)
        self.wait_for_frames(stopped, "scan", 60)
        stopped.send_signal(signal.SIGTERM)
        self.assertEqual(self.reports(stopped), [])
        self.assertIn("goes on", self.errors)
        file.add(40)
        file.close()
        (self.folder / "scan.h5.done").touch()
        report, = self.reports(self.start_mapped(self.folder, "--scans", 1))
        self.check_whole(report, "scan", "scan.h5.done is there")

    def test_a_file_that_is_replaced_is_another_scan(self):
        path = self.folder / "scan.h5"
        watch = self.start_mapped(self.folder, "--scans", 2)
        self.wait_for_words(watch, "watching")
        first = GrowingFile(self.folder / "scan.part", self.parts)
        first.add(40)
        os.rename(self.folder / "scan.part", path)
        self.wait_for_frames(watch, "scan", 40)
        second = GrowingFile(self.folder / "scan.part", self.parts)
        second.add(100)
        os.rename(self.folder / "scan.part", path)
        self.wait_for_frames(watch, "scan--2", 100)
        first.close()
        second.close()
        (self.folder / "scan.h5.done").touch()
        reports = self.reports(watch, code=1)
        self.assertEqual((reports[0]["frames"], reports[0]["error"]),
                         (40, "scan.h5 was replaced by another file"))
        self.check_pairing("scan", range(40))
        self.check_whole(reports[1], "scan--2", "scan.h5.done is there")

    def test_a_file_that_is_written_anew_is_another_scan(self):
        """In its place: what was there is cut off."""
        path = self.folder / "scan.h5"
        watch = self.start_mapped(self.folder, "--scans", 2)
        self.wait_for_words(watch, "watching")
        first = GrowingFile(path, self.parts)
        first.add(40)
        self.wait_for_frames(watch, "scan", 40)
        first.close()
        second = GrowingFile(path, self.parts)
        second.add(10)
        self.wait_for_frames(watch, "scan--2", 10)
        second.add(90)
        second.close()
        (self.folder / "scan.h5.done").touch()
        reports = self.reports(watch, code=1)
        self.assertIn("was truncated: it had 40 frames", reports[0]["error"])
        self.check_pairing("scan", range(40))
        self.check_whole(reports[1], "scan--2", "scan.h5.done is there")

    # --- Files that arrive ----------------------------------------------------------------------

    def test_each_file_opens_a_session(self):
        """One is copied slowly, in two halves; one was there before; one is not a scan at all."""
        scan_files.write_npz(self.folder / "before.npz", self.parts)
        flags = ("--pattern", "*.npz", "--pattern", "*.cxi", "--idle-s", 2, "--scans", 3)
        watch = self.start(self.folder, *flags)
        self.wait_for_words(watch, "1 scans were there before and are left alone")
        self.wait_for_words(watch, "watching")
        whole = pathlib.Path(self.scan).read_bytes()
        with open(self.folder / "one.cxi", "wb") as file:
            file.write(whole[:len(whole) // 2])
            file.flush()
            self.wait_for_words(watch, "one.cxi: not readable, yet")
            file.write(whole[len(whole) // 2:])
        scan_files.write_npz(self.folder / "two.npz", self.parts)
        (self.folder / "three.cxi").write_bytes(b"no scan")
        reports = {report["source"]: report for report in self.reports(watch, code=1)}
        self.assertEqual(set(reports), {"one.cxi", "two.npz", "three.cxi"})
        for name in ("one", "two"):
            report = next(r for source, r in reports.items() if source.startswith(name))
            self.check_whole(report, name, "nothing new for 2 s")
        self.assertIn("HDF5", reports["three.cxi"]["error"])
        with self.assertRaises(errors.NotFound):
            self.client.session(self.session_id("before"))

    def test_settings_that_the_server_refuses_are_said_at_once(self):
        scan_files.write_npz(self.folder / "scan.npz", self.parts)
        report, = self.reports(self.start(
            self.folder, "--existing", "--pattern", "*.npz", "--scans", 1, "--set",
            "probe.modes=99"), code=1)
        self.assertIn("probe.modes", report["error"])

    def test_a_server_that_is_full_is_waited_for(self):
        """With room for one session, which is deleted after a while."""
        folder = self.folder / "server"
        folder.mkdir()
        server = harness.Server(folder, "--max-sessions", "1")
        self.addCleanup(server.kill)
        with ptychoserve.Client(server.address) as client:
            settings = {"detector": {"frame_shape": (64, 64), "dtype": "u16"},
                        "optics": {"wavelength_m": 1e-10, "distance_m": 1,
                                   "detector_pixel_size_y_m": 1e-4}}
            other = client.create_session("other", **settings)
            scan_files.write_npz(self.folder / "scan.npz", self.parts)
            watch = self.start(self.folder, "--existing", "--pattern", "*.npz", "--scans", 1,
                               "--idle-s", 1, "--server", server.address)
            self.wait_for_words(watch, "waits: ")
            other.delete(force=True)
            report, = self.reports(watch)
            self.assertEqual((report["frames"], report["error"]), (100, ""))

    def test_two_files_of_one_name_do_not_share_a_session(self):
        scan_files.write_npz(self.folder / "scan.npz", self.parts)
        (self.folder / "Scan.cxi").write_bytes(pathlib.Path(self.scan).read_bytes())
        reports = self.reports(self.start(self.folder, "--existing", "--pattern", "*", "--idle-s",
                                          1, "--scans", 1), code=1)
        self.assertIn("scan.npz", reports[0]["source"])
        self.assertIn("left alone: its session would be that of Scan.cxi", reports[0]["error"])
        self.check_whole(reports[1], "scan", "nothing new")

    def test_a_scan_that_has_ended_is_not_sent_again(self):
        """Neither while its session still refines, nor after that."""
        scan_files.write_npz(self.folder / "scan.npz", self.parts)
        flags = (self.folder, "--existing", "--pattern", "*.npz", "--idle-s", 1, "--set",
                 "run.it_ends_after=100000")
        report, = self.reports(self.start(*flags, "--scans", 1))
        self.assertEqual((report["frames"], report["error"]), (100, ""))
        for _ in range(2):
            again = self.start(*flags)
            self.wait_for_words(again, "has ended before")
            again.send_signal(signal.SIGINT)
            self.assertEqual(self.reports(again), [])
            session = self.client.session(self.session_id("scan"))
            if not session.ended:
                self.assertEqual(session.state, "refining")
                session.stop()
                session.wait(harness.DEADLINE_S)
        self.check_pairing("scan", range(100))

    def test_a_mark_of_an_earlier_scan_does_not_count(self):
        mark, path = self.folder / "scan.h5.done", self.folder / "scan.h5"
        mark.touch()
        file = GrowingFile(path, self.parts)
        file.add(50)
        os.utime(mark, (0, 0))
        watch = self.start_mapped(self.folder, "--existing", "--scans", 1)
        self.wait_for_words(watch, "scan.h5.done is older than the file")
        self.wait_for_frames(watch, "scan", 50)
        file.add(50)
        file.close()
        mark.touch()
        report, = self.reports(watch)
        self.check_whole(report, "scan", "scan.h5.done is there")

    def test_a_session_that_ends_by_itself(self):
        scan_files.write_npz(self.folder / "scan.npz", self.parts)
        report, = self.reports(self.start(
            self.folder, "--existing", "--pattern", "*.npz", "--idle-s", 100, "--scans", 1, "--set",
            "run.idle_timeout_s=0.5"))
        self.assertIn("the session has ended by itself", report["ended_by"])

    # --- Folders of frames ----------------------------------------------------------------------

    def write_frame(self, folder, k):
        """Beside its place, and renamed."""
        np.save(folder / "part.tmp.npy", self.parts.frames[k])
        os.rename(folder / "part.tmp.npy", folder / f"frame_{k:04}.npy")

    def write_positions(self, folder, ids, mode="a"):
        with open(folder / "positions.csv", mode, encoding="utf-8") as file:
            if mode == "w":
                file.write("frame_id,x_um,y_m\n")
            for k in ids:
                file.write(f"{k},{self.parts.x_m[k] * 1e6:.9g},{self.parts.y_m[k]:.9g}\n")

    def test_a_folder_of_frames(self):
        """That is there when the watcher comes, and goes on. Frames in any order; a line of
        positions is cut, one frame is only half there for a while."""
        folder = self.folder / "scan"
        folder.mkdir()
        watch = self.start(self.folder, "--frames", "--pattern", "frame_*", *self.optics,
                           "--scans", 1)
        self.write_frame(folder, 40)
        self.wait_for_words(watch, "watching")
        self.write_positions(folder, range(50), "w")
        for k in range(41, 60):
            self.write_frame(folder, k)
        self.wait_for_frames(watch, "scan", 20)
        np.save(self.folder / "half.npy", self.parts.frames[7])
        half = (self.folder / "half.npy").read_bytes()
        (folder / "frame_0007.npy").write_bytes(half[:1000])
        self.wait_for_words(watch, "frame_0007.npy")
        with open(folder / "positions.csv", "a", encoding="utf-8") as file:
            file.write("50,")
            file.flush()
            for k in range(60, 100):
                self.write_frame(folder, k)
            self.wait_for_frames(watch, "scan", 60)
            file.write(f"{self.parts.x_m[50] * 1e6:.9g},{self.parts.y_m[50]:.9g}\n")
        self.write_positions(folder, range(51, 100))
        for k in (*range(7), *range(8, 40)):
            tifffile.imwrite(folder / f"frame_{k:04}.tif", self.parts.frames[k])
        (folder / "frame_0007.npy").write_bytes(half)
        (folder / ".done").touch()
        report, = self.reports(watch)
        self.check_whole(report, "scan", "scan/.done is there")

    def test_files_of_a_folder_that_cannot_be_used(self):
        for k in range(98):
            self.write_frame(self.folder, k)
        np.save(self.folder / "frame_0098.npy", self.parts.frames[98][:, :10])
        (self.folder / "frame_0099.npy").write_bytes(b"\x93NUMPY")
        np.save(self.folder / "frame_a.npy", self.parts.frames[0])
        np.save(self.folder / "frame_5.npy", self.parts.frames[5])
        self.write_positions(self.folder, range(100), "w")
        with open(self.folder / "positions.csv", "a", encoding="utf-8") as file:
            file.write("100,nan,0\n")
        report, = self.reports(self.start(self.folder, "--frames", "--existing", *self.optics,
                                          "--idle-s", 1, "--scans", 1))
        self.assertEqual((report["frames"], report["in_source"], report["lost"]), (98, 98, []))
        for name, word in (("frame_0098.npy", "as those before"), ("frame_0099.npy", ""),
                           ("frame_a.npy", "without a number"), ("positions.csv", "line 102")):
            self.assertIn(word, report["unreadable"][name])
        self.assertTrue({"frame_5.npy", "frame_0005.npy"} & set(report["unreadable"]))

    def test_a_folder_of_batches(self):
        """With ids and positions of their own, and the optics in the first one."""
        for begin in range(0, 100, 25):
            where = slice(begin, begin + 25)
            np.savez(self.folder / "part.tmp", frames=self.parts.frames[where],
                     x_m=self.parts.x_m[where], y_m=self.parts.y_m[where],
                     frame_ids=np.arange(begin, begin + 25), wavelength_m=self.parts.wavelength_m,
                     distance_m=self.parts.distance_m, pixel_size_m=self.parts.pixel_m)
            os.rename(self.folder / "part.tmp.npz", self.folder / f"batch-{begin}.npz")
        report, = self.reports(self.start(self.folder, "--frames", "--existing", "--idle-s", 1,
                                          "--scans", 1))
        self.check_whole(report, self.prefix, "nothing new for 1 s")

    def test_a_folder_of_batches_that_grow(self):
        """Two files with the even and the odd frames."""
        mapping = self.folder / "mapping.json"
        scan_files.write_mapping(mapping, {**MAPPING, "frame_ids": f"{ATTRIBUTES}/NDArrayUniqueId"})
        folder = self.folder / "scan"
        folder.mkdir()
        files = []
        for first in (0, 1):
            part = scan_files.Parts(self.scan)
            part.frames, part.x_m, part.y_m = (values[first::2] for values in (
                part.frames, part.x_m, part.y_m))
            files.append(GrowingFile(folder / f"part-{first}.h5", part, np.arange(first, 100, 2)))
        files[0].add(10)
        watch = self.start(self.folder, "--frames", "--mapping", mapping, *self.optics, "--scans",
                           1, "--existing")
        files[1].add(20)
        self.wait_for_frames(watch, "scan", 30)
        files[0].add(40)
        files[1].add(30)
        for file in files:
            file.close()
        (folder / ".done").touch()
        report, = self.reports(watch)
        self.check_whole(report, "scan", "scan/.done is there")

    def test_what_is_asked_wrongly(self):
        for path, flags, word in ((self.folder / "no" / "scan.h5", (), "no such folder"),
                                  (self.folder / "scan.h5", ("--frames",), "a folder"),
                                  (self.folder, ("--mapping", self.scan), "JSON or YAML"),
                                  (self.folder, ("--set", "scan.x=1"), "no such setting"),
                                  (self.folder, ("--idle-s", "-1"), "0 or above")):
            with self.subTest(word):
                self.reports(self.start(path, *flags), code=2)
                self.assertIn(word, self.errors)


class OutageTest(WatchTestCase):
    """With a journal, a server may go away and come back."""

    def test_a_server_that_is_away_is_waited_for(self):
        """For longer than the time without growth that ends a scan."""
        state = ("--state-dir", self.path("state"))
        address = self.server.address
        self.server.stop()
        type(self).server = harness.Server(self._folder.name, *state, listen=address)
        file = GrowingFile(self.folder / "scan.h5", self.parts)
        file.add(30)
        watch = self.start_mapped(self.folder, "--existing", "--idle-s", 1, "--scans", 1)
        self.wait_for_frames(watch, "scan", 30)
        self.server.kill()
        file.add(70)
        time.sleep(3)
        type(self).server = harness.Server(self._folder.name, *state, listen=address)
        report, = self.reports(watch)
        file.close()
        self.check_whole(report, "scan", "nothing new for 1 s")


class FilesTest(unittest.TestCase):

    def test_a_file_of_a_frame_that_is_cut_off(self):
        frame = np.random.default_rng(0).poisson(50, (32, 32)).astype("u2")
        with tempfile.TemporaryDirectory() as folder:
            for name, write in (("a.tif", tifffile.imwrite),
                                ("b.tif", lambda path, values: tifffile.imwrite(
                                    path, values, compression="zlib")),
                                ("c.npy", np.save)):
                path = os.path.join(folder, name)
                write(path, frame)
                np.testing.assert_array_equal(read_single(path), frame)
                whole = pathlib.Path(path).read_bytes()
                for size in range(0, len(whole), 23):
                    pathlib.Path(path).write_bytes(whole[:size])
                    with self.subTest(name, size=size), self.assertRaises((ValueError, EOFError)):
                        read_single(path)

    def test_tables(self):
        found, wrong = positions_of(["frame_id, x_um,y_m", "3,1,2", "", "x,1,2", "4,1", "5,1,inf",
                                     "-1,0,0", "6,1,2,3", "7,-1e6,0"])
        self.assertEqual(found, {3: (1e-6, 2.0), 7: (-1.0, 0.0)})
        self.assertEqual(len(wrong), 5)
        self.assertIn("line 4", wrong[0])
        for head in ("", "frame_id,x,y", "id,x_m,y_m", "frame_id,x_m", "frame_id,y_m,x_m",
                     "frame_id,x_furlong,y_m"):
            with self.subTest(head), self.assertRaises(errors.InvalidArgument):
                positions_of([head])


if __name__ == "__main__":
    support.main()
