#!/usr/bin/env python3
"""From the emulated streams of a detector and an encoder to a result, through the command
`ptychoserve-bridge` and the real server: as whole scans, with losses, over two series, with a
bridge that is killed, and as the page says.
"""

import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import threading
import time

import support
import harness
import numpy as np
import pages
import ptychoserve
import zmq
from ptychoserve.bridges import emulator, scan_file
from ptychoserve.bridges.claim import claim, is_claimed_for
from ptychoserve.bridges.messages import Form, Image, SeriesStart
from ptychoserve.bridges.scan import Scan

harness.BUILD = support.BUILD
EXAMPLES = support.ROOT / "client" / "python" / "examples"
UPSAMPLE = 10
M_PER_COUNT = 1e-10


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class BridgesTestCase(harness.EndToEndTest):
    """Emulators and bridges as processes, and what their sessions must be."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.file = scan_file.read(cls.scan)
        cls.config = cls.path("config.json")
        settings = {
            "scan": {"bounds": ptychoserve.bounds(y_m=cls.file.y_m, x_m=cls.file.x_m,
                                                  margin_m=1e-9),
                     "encoder": {"samples_per_frame": UPSAMPLE, "x_scale_m_per_count": M_PER_COUNT,
                                 "y_scale_m_per_count": M_PER_COUNT}}}
        pathlib.Path(cls.config).write_text(json.dumps(settings), encoding="utf-8")
        cls.client = ptychoserve.Client(cls.server.address)

    @classmethod
    def tearDownClass(cls):
        cls.client.close()
        super().tearDownClass()

    def setUp(self):
        self.eiger, self.panda = (f"tcp://127.0.0.1:{free_port()}" for _ in range(2))

    def start(self, *arguments, **environment):
        process = subprocess.Popen(
            [sys.executable, "-B", "-m", "ptychoserve.bridges", *map(str, arguments)], text=True,
            env={**os.environ, "PYTHONPATH": str(support.BUILD / "python"), **environment},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        return process

    def sender(self):
        """A detector that says what the test has it say, to a bridge that has been started."""
        context = zmq.Context()
        self.addCleanup(context.term)
        socket_ = emulator.bind(context, self.eiger, "push", None)
        self.addCleanup(socket_.close, linger=0)
        socket_.sndtimeo = harness.DEADLINE_S * 1000
        return socket_

    def with_panda(self):
        return "--panda", self.panda

    def start_bridge(self, prefix, *arguments, scans=1, config=None, sources=None, **environment):
        return self.start("run", "--server", self.server.address, "--config",
                          config or self.config, "--prefix", prefix, "--eiger", self.eiger,
                          *(self.with_panda() if sources is None else sources), "--scans", scans,
                          "--json", *arguments, **environment)

    def said_by(self, process):
        """What a program has printed that must end well."""
        return self.ended(process, 0)[0]

    def ended(self, process, code):
        """What a program has printed, and its messages, that must end with this exit code."""
        said, errors = process.communicate(timeout=harness.DEADLINE_S)
        self.assertEqual(process.returncode, code, said + errors)
        return said, errors

    def reports(self, bridge):
        return [json.loads(line) for line in self.said_by(bridge).splitlines()]

    def emulate(self, source, *arguments, **environment):
        address = {"eiger": self.eiger, "panda": self.panda}[source]
        return self.start("emulate", source, self.scan, "--bind", address, *arguments,
                          **environment)

    def run_scan(self, prefix, eiger=(), panda=(), bridge=(), scans=1, **environment):
        """One command for each side; the reports."""
        emulators = [self.emulate("eiger", *eiger, **environment),
                     self.emulate("panda", *panda, **environment)]
        reports = self.reports(self.start_bridge(prefix, *bridge, scans=scans, **environment))
        for process in emulators:
            self.said_by(process)
        return reports

    def points(self, session_id):
        """Frame ids and (y, x) of the windows."""
        session = self.client.session(session_id).wait(harness.DEADLINE_S)
        points = session.snapshot(["points"]).points
        return points[:, 0].astype(int), points[:, 1:3]

    def check_pairing(self, session_id, expected_ids, skipped=0):
        """Each frame has its own position: windows lie as the file has them, where frame 0 is
        that after `skipped` others."""
        ids, corners = self.points(session_id)
        self.assertEqual(sorted(ids), sorted(expected_ids))
        pixel_m = self.client.session(session_id).info.pixel_size_y_m
        true = np.stack([self.file.y_m, self.file.x_m], 1)[ids + skipped] / pixel_m
        offset = (corners - true).mean(0)
        np.testing.assert_allclose(corners - true, np.broadcast_to(offset, true.shape), atol=0.02)

    def accepted(self, session_id):
        try:
            return self.client.session(session_id).info.frames.accepted
        except ptychoserve.errors.NotFound:
            return 0

    def wait_for_frames(self, session_id, count):
        deadline = time.monotonic() + harness.DEADLINE_S
        while self.accepted(session_id) < count:
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.02)


class BridgesTest(BridgesTestCase):

    def r_of_run(self):
        run_config = self.path("run.json")
        bounds = json.loads(pathlib.Path(self.config).read_text("utf-8"))["scan"]["bounds"]
        pathlib.Path(run_config).write_text(json.dumps({"scan": {"bounds": bounds}}), "utf-8")
        summary = self.json("run", self.scan, "--config", run_config, "--quiet")
        return summary["final_fit"]["r_factor"]

    def test_both_streams_give_what_run_gives(self):
        expected = self.r_of_run()
        for stream, encoding, to_server in (
                ("v1", "bslz4", 1), ("v2", "bslz4", 4), ("v1", "lz4", 2), ("v2", "lz4", 4),
                ("v1", "raw", 3), ("v2", "raw", 4)):
            with self.subTest(stream=stream, encoding=encoding, to_server=to_server):
                prefix = f"{stream}-{encoding}"
                report, = self.run_scan(prefix, ("--stream", stream, "--encoding", encoding),
                                        bridge=("--streams", to_server))
                self.assertEqual(report, {
                    "session": f"{prefix}-1", "series": 1, "frames": 100, "positions": 100,
                    "expected": 100, "lost": [], "unplaced": [], "bad_messages": {},
                    "refused": {}, "error": ""})
                self.check_pairing(f"{prefix}-1", range(100))
                session = self.client.session(f"{prefix}-1")
                self.assertEqual(session.state, "completed")
                self.assertAlmostEqual(session.info.final_fit.r_factor / expected, 1, delta=0.02)

    def test_lost_messages_cost_their_own_frames_only(self):
        """Frames 5, 17, 18; and block 3, samples 123 to 163, which are of frames 12 to 16."""
        report, = self.run_scan("losses", ("--lose", "5,17-18"), ("--lose", "3"))
        self.assertEqual((report["frames"], report["lost"]), (97, [[5, 5], [17, 18]]))
        self.assertEqual((report["positions"], report["unplaced"]), (95, [[12, 16]]))
        self.check_pairing("losses-1", set(range(100)) - {5, 17, 18} - set(range(12, 17)))

    def test_a_second_series_opens_a_second_session(self):
        reports = self.run_scan("two", ("--scans", 2, "--series", 41), ("--scans", 2), scans=2)
        self.assertEqual([(r["session"], r["series"], r["frames"], r["positions"])
                          for r in reports], [("two-41", 41, 100, 100), ("two-42", 42, 100, 100)])
        for session in ("two-41", "two-42"):
            self.check_pairing(session, range(100))
        objects = [self.client.session(name).info for name in ("two-41", "two-42")]
        self.assertAlmostEqual(objects[0].final_fit.r_factor / objects[1].final_fit.r_factor, 1,
                               delta=0.02)

    def test_a_part_of_a_file(self):
        """Frames and samples are left out together, and counted from 0 again."""
        part = ("--skip-frames", 20, "--max-frames", 60)
        report, = self.run_scan("part", part, part)
        self.assertEqual((report["frames"], report["positions"], report["expected"]), (60, 60, 60))
        self.check_pairing("part-1", range(60), skipped=20)

    def test_the_data_port_of_a_panda(self):
        port = free_port()
        eiger = self.emulate("eiger", "--scans", 2)
        encoder = self.start("emulate", "panda-port", self.scan, "--port", port, "--scans", 2)
        reports = self.reports(self.start_bridge("port", "--panda", f"panda://127.0.0.1:{port}",
                                                 scans=2))
        self.said_by(eiger)
        self.said_by(encoder)
        for report in reports:
            self.assertEqual((report["frames"], report["positions"], report["bad_messages"]),
                             (100, 100, {}))
            self.check_pairing(report["session"], range(100))

    def test_a_data_port_that_breaks_off_is_connected_again(self):
        """Its run goes on with the samples that come then."""
        run = b"OK\n" + emulator.panda_port_run(self.file)
        later = b"OK\n" + emulator.panda_port_run(self.file, first=700)
        eiger = self.emulate("eiger")
        with socket.create_server(("127.0.0.1", 0)) as server:
            server.settimeout(harness.DEADLINE_S)
            port = server.getsockname()[1]
            bridge = self.start_bridge("broken", "--panda", f"panda://127.0.0.1:{port}")
            for data in (run[:len(run) // 2], later):
                client, _ = server.accept()
                with client, client.makefile("rb") as asked:
                    asked.readline()
                    client.sendall(data)
                    client.shutdown(socket.SHUT_WR)
                    asked.read()
            report, = self.reports(bridge)
        self.said_by(eiger)
        (first, last), = report["unplaced"]
        self.assertEqual((report["frames"], last), (100, 69))
        self.assertIn(first, range(40, 60))
        self.check_pairing("broken-1", [*range(first), *range(70, 100)])

    def test_a_series_whose_end_is_lost_ends_with_the_next(self):
        """Which comes without its own beginning."""
        bridge = self.start_bridge("ends", scans=2, config=self.whole_config())
        sender = self.sender()
        for number, (_, images, _) in enumerate(
                [emulator.eiger_series(self.file, k) for k in (7, 8)]):
            if number == 0:
                sender.send_multipart(emulator.json_start(self.file, 7))
            emulator.send(sender, images, 0)
        sender.send_multipart(emulator.json_end(8))
        panda = self.emulate("panda", "--scans", 2)
        reports = self.reports(bridge)
        self.said_by(panda)
        self.assertEqual([(r["session"], r["frames"], r["positions"], r["error"])
                          for r in reports],
                         [("ends-7", 100, 100, ""), ("ends-8", 100, 100, "")])

    def whole_config(self):
        config = self.path("whole.json")
        pathlib.Path(config).write_text(json.dumps(self.whole_settings()), encoding="utf-8")
        return config

    def whole_settings(self):
        """A configuration that needs no word of the detector."""
        settings = json.loads(pathlib.Path(self.config).read_text("utf-8"))
        settings["optics"] = {"wavelength_m": self.file.wavelength_m,
                              "distance_m": self.file.distance_m,
                              "detector_pixel_size_y_m": self.file.pixel_size_m[0]}
        return settings

    def test_a_scan_that_nothing_more_comes_of_ends(self):
        """Neither the detector's end nor the encoder's."""
        bridge = self.start_bridge("idle", "--idle-s", 0.5)
        start, images, _ = emulator.eiger_series(self.file, 3)
        emulator.send(self.sender(), [start, *images[:60]], 0)
        report = json.loads(self.ended(bridge, 1)[0])
        self.assertEqual((report["frames"], report["lost"]), (60, [[60, 99]]))
        self.assertEqual((report["positions"], report["unplaced"]), (0, [[0, 59]]))

    def test_frames_without_positions_are_an_error_that_says_what_to_check(self):
        """From an encoder that is silent, one that counts otherwise, or none that was asked for."""
        settings = json.loads(pathlib.Path(self.config).read_text("utf-8"))
        settings["scan"]["encoder"]["samples_per_frame"] = 2000
        other = self.path("other_encoder.json")
        pathlib.Path(other).write_text(json.dumps(settings), encoding="utf-8")
        for prefix, panda, arguments, config, words in (
                ("silent", False, self.with_panda(), None, "encoder armed for each series"),
                ("counts", True, self.with_panda(), other, "is samples_per_frame right"),
                ("left-out", False, (), None, "was --panda left out by mistake")):
            with self.subTest(prefix):
                eiger = self.emulate("eiger")
                encoder = self.emulate("panda") if panda else None
                bridge = self.start_bridge(prefix, "--idle-s", 1, config=config, sources=arguments)
                said, errors = self.ended(bridge, 1)
                report = json.loads(said)
                self.assertEqual((report["frames"], report["positions"]), (100, 0))
                self.assertIn("100 frames came and no positions", report["error"])
                self.assertIn(words, report["error"])
                self.assertIn(report["error"], errors)
                for process in filter(None, (eiger, encoder)):
                    self.said_by(process)

    def test_positions_from_another_program(self):
        """Which finds the session by its name, and may be later than the frames."""
        eiger = self.emulate("eiger")
        bridge = self.start_bridge("elsewhere", sources=())
        self.wait_for_frames("elsewhere-1", 100)
        self.said_by(eiger)
        self.ok("stream", "elsewhere-1", self.scan, "--positions-only")
        report, = self.reports(bridge)
        self.assertEqual((report["frames"], report["positions"], report["error"]), (100, 100, ""))
        self.client.session("elsewhere-1").finish()
        self.check_pairing("elsewhere-1", range(100))

    def test_positions_without_frames_are_an_error(self):
        """Of an encoder that runs while the detector does nothing, or announces a series only."""
        panda = self.emulate("panda")
        said, _ = self.ended(self.start_bridge("no-series", "--idle-s", 1), 1)
        self.said_by(panda)
        report = json.loads(said)
        self.assertEqual((report["session"], report["series"], report["frames"]), ("", None, 0))
        self.assertIn("1000 samples of the encoder came and no series", report["error"])
        panda = self.emulate("panda")
        bridge = self.start_bridge("no-frames", "--idle-s", 1)
        start, _, end = emulator.eiger_series(self.file, 3)
        emulator.send(self.sender(), [start, end], 0)
        report = json.loads(self.ended(bridge, 1)[0])
        self.said_by(panda)
        self.assertIn("no frames came of series 3, and 1000 samples", report["error"])

    def test_a_source_that_falls_silent_is_named_and_so_is_its_return(self):
        bridge = self.start_bridge("silence", "--quiet-s", 0.5)
        start, images, end = emulator.eiger_series(self.file, 3)
        sender = self.sender()
        self.said_by(self.emulate("panda"))
        emulator.send(sender, [start, *images[:60]], 0)
        lines = []
        while "silent since" not in "".join(lines):
            lines.append(bridge.stderr.readline())
            self.assertNotEqual(lines[-1], "", lines)
        emulator.send(sender, [*images[60:], end], 0)
        said, errors = self.ended(bridge, 0)
        self.assertRegex(lines[-1], "eiger: silent since .*: series 3 has 60 of 100 frames and "
                         "1000 samples; waits for more frames, or the end of the series")
        self.assertIn("eiger: it is back after", errors)
        self.assertNotIn("panda: silent", "".join(lines) + errors)
        self.assertEqual(json.loads(said)["frames"], 100)

    def test_bad_messages_are_counted_and_change_nothing(self):
        bridge = self.start_bridge("bad")
        sender = self.sender()
        start, images, end = emulator.eiger_series(self.file, 1)
        head, about, data, config = images[40]
        other = emulator.json_image(self.file.frames[3].astype(np.uint8), 1, 3, "bslz4")
        bad = [[b""], [b"{"], [b"\xff" * 100], [head], [head, about], [head, about, data[:9]],
               [head, about, data * 9], [head, b"[]", data], [b'{"htype":"dimage-1.0"}'], other,
               [head, about.replace(b"-lz4", b"-zip"), data], [b'{"htype":"other"}'],
               [head.replace(b'"frame":40', b'"frame":-1'), about, data]]
        corrupt = [head, about, data[:200] + bytes(len(data) - 200), config]
        for parts in (start, *images[:40], *bad, corrupt, *images[41:], end):
            sender.send_multipart(parts)
        panda = self.emulate("panda")
        report, = self.reports(bridge)
        self.said_by(panda)
        self.assertEqual(sum(report["bad_messages"].values()), len(bad), report)
        self.assertEqual((report["frames"], report["positions"]), (99, 100))
        self.assertEqual((report["lost"], report["refused"]), ([], {"corrupt": 1}))
        self.check_pairing("bad-1", set(range(100)) - {40})

    def test_a_killed_bridge_is_followed_by_another(self):
        """What had left the sources when it was killed is lost, and told; nothing else is."""
        eiger = self.emulate("eiger", "--rate", 50)
        panda = self.emulate("panda", "--rate", 12.5, "--socket", "push")
        sources = ("--panda-socket", "pull")
        first = self.start_bridge("killed", *sources)
        self.wait_for_frames("killed-1", 30)
        first.kill()
        first.wait()
        self.assertLess(self.accepted("killed-1"), 100)
        report, = self.reports(self.start_bridge("killed", *sources))
        self.said_by(eiger)
        self.said_by(panda)
        lost = {k for a, b in report["lost"] for k in range(a, b + 1)}
        unplaced = {k for a, b in report["unplaced"] for k in range(a, b + 1)}
        self.assertEqual(report["frames"], 100 - len(lost))
        self.assertEqual(report["error"], "")
        self.check_pairing("killed-1", set(range(100)) - lost - unplaced)

    def test_a_bridge_that_is_asked_to_end_leaves_the_session_to_the_next(self):
        """It sends what it has, so that nothing at all is lost."""
        eiger = self.emulate("eiger", "--rate", 50)
        panda = self.emulate("panda", "--rate", 12.5, "--socket", "push")
        sources = ("--panda-socket", "pull")
        first = self.start_bridge("left", *sources)
        self.wait_for_frames("left-1", 20)
        first.send_signal(signal.SIGTERM)
        said, errors = self.ended(first, 0)
        self.assertEqual(said, "")
        self.assertRegex(errors, "left-1: left under way: series 1 has .* of 100 frames and .* samp")
        had = self.accepted("left-1")
        self.assertIn(self.client.session("left-1").state, ("receiving", "reconstructing"))
        report, = self.reports(self.start_bridge("left", *sources))
        self.said_by(eiger)
        self.said_by(panda)
        self.assertLess(had, 100)
        self.assertGreaterEqual(report["frames"], had)

    def test_a_detector_that_counts_from_one_again_gets_another_session(self):
        first, = self.run_scan("again")
        self.client.session("again-1").wait()
        second, = self.run_scan("again")
        self.assertEqual([first["session"], second["session"]], ["again-1", "again-1-2"])
        self.assertEqual(second["frames"], 100)

    def test_bridges_that_begin_at_the_same_moment_share_no_session(self):
        """Of two detectors, whether their settings are the same, so that the server creates one
        session for both, or others. Each frame is where its detector's are."""
        form = Form(16, 16, np.dtype("<u2"), "raw")
        optics = {"distance_m": 2.0, "detector_pixel_size_y_m": 75e-6}
        for series, energies_ev in enumerate([(9000.0, 9000.0), (9000.0, 9100.0)] * 3):
            begin, reports, said = threading.Barrier(2), {}, []

            def feed(detector, energy_ev, series=series, begin=begin, reports=reports, said=said):
                config = ptychoserve.session_config(
                    optics={"photon_energy_ev": energy_ev, **optics})
                scan = Scan(self.client, config, f"race-{series}", SeriesStart(series, 3), True, 2,
                            detector, 0.0, threading.Event(), said.append)
                data = np.full((16, 16), 10 if detector == "a" else 20, "<u2").tobytes()
                begin.wait(harness.DEADLINE_S)
                for k in range(3):
                    scan.push([Image(series, k, form, data)])
                reports[detector] = scan.finish(end_of_data=False)

            threads = [threading.Thread(target=feed, args=pair) for pair in zip("ab", energies_ev)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            self.assertEqual(sorted(report.session for report in reports.values()),
                             [f"race-{series}", f"race-{series}-2"], said)
            self.assertRegex("\n".join(said), f"race-{series}: not joined: .*--prefix of its own")
            for detector, report in reports.items():
                self.assertEqual(report.frames, 3, said)
                session = self.client.session(report.session)
                self.assertEqual(session.frame(1).counts.max(), 10 if detector == "a" else 20)
                session.delete(force=True)

    def test_a_bridge_that_comes_late_leaves_the_session_of_another_detector_alone(self):
        start, images, end = emulator.eiger_series(self.file, 1)
        first = self.start_bridge("late")
        emulator.send(self.sender(), [start, *images[:40]], 0)
        self.wait_for_frames("late-1", 40)
        self.eiger, self.panda = (f"tcp://127.0.0.1:{free_port()}" for _ in range(2))
        second = self.start_bridge("late", "--idle-s", 1, config=self.whole_config())
        panda = self.emulate("panda")
        emulator.send(self.sender(), [*images[50:], end], 0)
        said, errors = self.ended(second, 0)
        self.said_by(panda)
        report = json.loads(said)
        self.assertEqual((report["session"], report["frames"]), ("late-1-2", 50))
        self.assertIn("late-1: not joined: it has 40 frames", errors)
        self.assertEqual(self.accepted("late-1"), 40)
        first.kill()

    def test_a_series_of_another_detector_is_not_mixed_in(self):
        """Nor one of this detector before it was switched off: that session has not ended, but it
        has frames, and these cannot be of a series that has just begun."""
        start, images, _ = emulator.eiger_series(self.file, 1)
        first = self.start_bridge("mixed")
        sender = self.sender()
        for parts in (start, *images[:40]):
            sender.send_multipart(parts)
        self.wait_for_frames("mixed-1", 40)
        self.eiger, self.panda = (f"tcp://127.0.0.1:{free_port()}" for _ in range(2))
        report, = self.run_scan("mixed")
        self.assertEqual((report["session"], report["frames"], report["error"]),
                         ("mixed-1-2", 100, ""))
        self.assertEqual(self.accepted("mixed-1"), 40)
        first.kill()

    def test_a_session_with_other_settings_is_told_of(self):
        """It keeps its own; frames of another shape it cannot take."""
        settings = self.whole_settings()
        detector = {"frame_shape": self.file.frames.shape[1:], "dtype": "u16"}
        self.client.create_session("same-1", **settings, detector=detector)
        self.client.create_session("other-1", **{
            **settings, "optics": {**settings["optics"], "distance_m": 0.5}}, detector={
                **detector, "orientation": "flip_ud"})
        self.client.create_session("shape-1", **settings, detector={
            **detector, "frame_shape": (32, 32)})
        config = self.path("here.json")
        pathlib.Path(config).write_text(json.dumps(
            {**settings, "detector": {"orientation": "ORIENTATION_TRANSPOSE"}}), encoding="utf-8")
        for prefix, own, code, warnings, words in (
                ("same", None, 0, 0, []),
                ("other", config, 0, 2, ["optics.distance_m is 0.5 in the session",
                                         "detector.orientation is flip_ud in the session",
                                         "here it would be transpose"]),
                ("shape", None, 1, 0,
                 ["detector.frame_shape 32 x 32; those of series 1 have 64 x 64"])):
            emulators = [self.emulate("eiger"), self.emulate("panda")]
            bridge = self.start_bridge(prefix, "--idle-s", 1, config=own)
            said, errors = bridge.communicate(timeout=harness.DEADLINE_S)
            self.assertEqual(bridge.returncode, code, said + errors)
            for process in emulators:
                process.kill()
            self.assertEqual(json.loads(said)["frames"], 0 if code else 100)
            self.assertEqual(errors.count("warning: "), warnings, errors)
            for word in words:
                self.assertIn(word, said + errors)

    def test_a_configuration_that_the_server_refuses_is_told(self):
        config = self.path("wrong.json")
        settings = json.loads(pathlib.Path(self.config).read_text("utf-8"))
        pathlib.Path(config).write_text(json.dumps({**settings, "optics": {"distance_m": -1}}),
                                        encoding="utf-8")
        self.emulate("eiger")
        self.emulate("panda")
        bridge = self.start_bridge("wrong", "--idle-s", 1, config=config)
        said, errors = bridge.communicate(timeout=harness.DEADLINE_S)
        self.assertEqual(bridge.returncode, 1, said + errors)
        report = json.loads(said)
        self.assertIn("optics.distance_m", report["error"])
        self.assertEqual((report["frames"], report["bad_messages"]), (0, {"no_session": 100}))

    def test_an_encoder_without_scales_is_refused_before_anything_is_measured(self):
        config = self.path("no_encoder.json")
        pathlib.Path(config).write_text("{}", encoding="utf-8")
        refused = self.start_bridge("no-encoder", config=config)
        _, errors = refused.communicate(timeout=harness.DEADLINE_S)
        self.assertEqual(refused.returncode, 2)
        self.assertIn('scan.encoder: not set', errors)
        self.assertIn('{"scan": {"encoder": {...}}}', errors)

    def test_what_cannot_be_meant_is_refused_before_anything_is_measured(self):
        for arguments, words in (
                (("--prefix", "Tour_1"), "--prefix: 'Tour_1'; allowed: 1 to 40 of a-z, 0-9 and -"),
                (("--quiet-s", "0"), "--quiet-s: 0 is not above 0"),
                (("--eiger", "tcp://127.0.0.1"), "--eiger: 'tcp://127.0.0.1'"),
                (("--panda", "http://127.0.0.1:1"), "--panda: 'http://127.0.0.1:1'")):
            refused = self.start_bridge("refused", *arguments)
            _, errors = refused.communicate(timeout=harness.DEADLINE_S)
            self.assertEqual(refused.returncode, 2, errors)
            self.assertIn(words, errors)

    def test_keys_all_or_none(self):
        server_public, server_secret = (key.decode() for key in zmq.curve_keypair())
        public, secret = (key.decode() for key in zmq.curve_keypair())
        keys = {f"PTYCHOSERVE_{source}_{name}": value for source in ("EIGER", "PANDA")
                for name, value in (("SERVER_PUBLIC_KEY", server_public),
                                    ("CLIENT_PUBLIC_KEY", public), ("CLIENT_SECRET_KEY", secret),
                                    ("SERVER_SECRET_KEY", server_secret))}
        report, = self.run_scan("keys", **keys)
        self.assertEqual((report["frames"], report["positions"]), (100, 100))
        del keys["PTYCHOSERVE_PANDA_CLIENT_SECRET_KEY"]
        refused = self.start_bridge("keys", **keys)
        _, errors = refused.communicate(timeout=harness.DEADLINE_S)
        self.assertEqual(refused.returncode, 2)
        self.assertIn("PTYCHOSERVE_PANDA_CLIENT_SECRET_KEY: not set", errors)

    def test_settings_that_cannot_be_read(self):
        for content, word in (("{", "SessionConfig"), ("optik { }", "optik")):
            config = self.path("unreadable")
            pathlib.Path(config).write_text(content, encoding="utf-8")
            refused = self.start_bridge("unreadable", config=config)
            _, errors = refused.communicate(timeout=harness.DEADLINE_S)
            self.assertEqual(refused.returncode, 2)
            self.assertIn(word, errors)

    def test_the_page(self):
        """Its commands, files and programs, in their order."""
        folder = pathlib.Path(self.path("page"))
        folder.mkdir()
        program = next(b.text for b in pages.blocks("docs/acquisition.md") if b.language == "python")
        self.assertLessEqual(sum(bool(line) for line in program.splitlines()), 30)
        script = harness.replace_all(
            pages.script("docs/acquisition.md", ["encoder.json", "my_detector.py"],
                         before={("Without a beamline", 2): "if {"},
                         after={("Without a beamline", 2):  # The emulators have ended.
                                "}; then echo 'all is well, it says'; exit 1; fi",
                                ("A detector of your own", 0): "wait"}),
            {**{f"127.0.0.1:{port}": f"127.0.0.1:{free_port()}"
                for port in ("9999", "5555", "9998", "5554")},
             "127.0.0.1:50051": self.server.address})
        said = pages.run(script, folder, PTYCHOSERVE_SERVER=self.server.address,
                         PYTHONPATH=f"{support.BUILD / 'python'}:{EXAMPLES}")
        self.assertIn("\ntour-1: 98 of 100 frames, 100 positions; lost: 2 (17-18)\n", said)
        self.assertIn("FAIL  eiger ", said)
        self.assertIn("\nmine-7: 100 of 100 frames, 100 positions\n", said)
        self.check_r("mine-7")

    def check_r(self, session_id):
        session = self.client.session(session_id)
        self.assertEqual(session.state, "completed")
        self.assertLess(session.info.final_fit.r_factor, 0.1)


class OutageTest(BridgesTestCase):
    """With a journal, a server may go away and come back."""

    def test_a_server_that_is_away_is_waited_for(self):
        """For longer than the silence that ends a scan: the detector has frames, and keeps them."""
        state = ("--state-dir", self.path("state"))
        address = self.server.address
        self.server.stop()
        type(self).server = harness.Server(self._folder.name, *state, listen=address)
        eiger = self.emulate("eiger", "--rate", 50)
        panda = self.emulate("panda")
        bridge = self.start_bridge("away", "--idle-s", 1)
        self.wait_for_frames("away-1", 20)
        self.server.kill()
        time.sleep(3)
        type(self).server = harness.Server(self._folder.name, *state, listen=address)
        report, = self.reports(bridge)
        self.said_by(eiger)
        self.said_by(panda)
        self.assertEqual((report["frames"], report["positions"], report["lost"],
                          report["unplaced"], report["error"]), (100, 100, [], [], ""))
        self.check_pairing("away-1", range(100))

    def test_whose_a_session_is_outlives_the_server(self):
        state = ("--state-dir", self.path("claims"))
        address = self.server.address
        self.server.stop()
        type(self).server = harness.Server(self._folder.name, *state, listen=address)
        session = self.client.create_session(
            "claimed", optics={"photon_energy_ev": 9000.0, "distance_m": 2.0,
                               "detector_pixel_size_y_m": 75e-6},
            detector={"frame_shape": (16, 16), "dtype": "u16"})
        self.assertFalse(is_claimed_for(self.client, session, "mine"))
        self.assertTrue(claim(self.client, session, "mine"))
        self.server.kill()
        type(self).server = harness.Server(self._folder.name, *state, listen=address)
        session = self.client.session("claimed")
        self.assertFalse(claim(self.client, session, "other"))
        self.assertEqual([is_claimed_for(self.client, session, detector)
                          for detector in ("mine", "other")], [True, False])

    def test_a_bridge_ends_when_asked_to_while_the_server_is_away(self):
        eiger = self.emulate("eiger", "--rate", 50)
        bridge = self.start_bridge("alone")
        self.wait_for_frames("alone-1", 5)
        address = self.server.address
        self.server.kill()
        self.addCleanup(lambda: setattr(type(self), "server",
                                        harness.Server(self._folder.name, listen=address)))
        bridge.send_signal(signal.SIGTERM)
        _, errors = bridge.communicate(timeout=harness.DEADLINE_S)
        self.assertEqual(bridge.returncode, 0)
        self.assertIn("not", errors)
        eiger.kill()


if __name__ == "__main__":
    support.main()
