#!/usr/bin/env python3
"""Servers that are killed in mid-scan, with a journal: nothing that was acknowledged is lost, and
everything arrives exactly once. Watches go on.
"""

import asyncio
import pathlib
import random
import sys
import tempfile
import threading
import unittest

import support
import harness
import numpy as np
import ptychoserve
from ptychoserve import aio, errors

harness.BUILD = support.BUILD
sys.path.insert(0, str(support.ROOT / "client" / "python" / "examples"))
from fake_detector import FakeDetector  # noqa: E402

DETECTOR = FakeDetector(lines=12)
MEASURED = list(DETECTOR)
COUNT = len(MEASURED)
# Small messages, so that a kill finds some of them in each place.
OPTIONS = dict(message_bytes=32 << 10, retry_initial_s=0.01, retry_max_s=0.1)
SETTINGS = {**DETECTOR.settings, "probe": {"initial": DETECTOR.probe}, "run": {"it_ends_after": 15}}


class DurabilityTest(unittest.TestCase):

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.server = harness.Server(self.folder, "--state-dir", self.folder / "state")
        self.addCleanup(lambda: self.server.kill())
        self.client = ptychoserve.Client(self.server.address)
        self.addCleanup(self.client.close)

    def kill_and_start_again(self):
        address = self.server.address
        self.server.kill()
        self.server = harness.Server(self.folder, "--state-dir", self.folder / "state",
                                     listen=address)

    def check(self, session, reports, restarts):
        session.wait()
        for counters in (session.info.frames, session.info.positions):
            self.assertEqual((counters.received, counters.accepted), (COUNT, COUNT))
        self.assertEqual(session.info.restarts, restarts)
        self.assertEqual(session.info.active_points, COUNT)
        self.assertEqual(session.state, "completed")
        for report in reports:
            self.assertEqual(report.items, COUNT)
            self.assertEqual(report.sent_items + report.known_items, COUNT)
            self.assertEqual((report.unacknowledged_items, report.retained_items,
                              report.forgotten_items), (0, 0, 0))
            self.assertEqual(report.counters.duplicates, 0)
        result = session.result()
        points = result.snapshot.points
        judged = harness.r_factor(result.object, result.probe, points[:, 1:3],
                                  np.stack([MEASURED[int(k)][1] for k in points[:, 0]]))
        self.assertAlmostEqual(judged, session.info.final_fit.r_factor, delta=2e-3)

    def test_kills_in_mid_scan(self):
        rng = random.Random(7)
        kills = sorted(rng.sample(range(10, COUNT), 4))
        states, versions = [], []
        session = self.client.create_session("scan", **SETTINGS)

        def watch():
            for event in session.watch(min_interval_s=0.01):
                states.append(event.state)

        def watch_snapshots():
            for snapshot in session.watch_snapshots(["object"]):
                versions.append((snapshot.version, snapshot.final))

        watchers = [threading.Thread(target=f) for f in (watch, watch_snapshots)]
        for watcher in watchers:
            watcher.start()
        with session:
            frames, positions = (session.frame_writer(**OPTIONS),
                                 session.position_writer(**OPTIONS))
            for k, frame, x_m, y_m in MEASURED:
                frames.push(k, frame)
                positions.push(k, x_m=x_m, y_m=y_m)
                if k in kills:
                    if k % 2:
                        frames.flush()
                    self.kill_and_start_again()
        self.check(session, (frames.report, positions.report), restarts=len(kills))
        self.assertGreater(frames.report.reconnects, 0)
        for watcher in watchers:
            watcher.join()
        self.assertEqual(states[-1], "completed")
        self.assertTrue(versions[-1][1])

    def test_kills_in_mid_scan_asyncio(self):
        kills = (37, 90)

        async def scenario():
            async with aio.Client(self.server.address) as client:
                session = await client.create_session("scan", **SETTINGS)

                async def watch():
                    return [event.state async for event in session.watch(min_interval_s=0.01)]

                watcher = asyncio.create_task(watch())
                async with session:
                    frames, positions = (session.frame_writer(**OPTIONS),
                                         session.position_writer(**OPTIONS))
                    for k, frame, x_m, y_m in MEASURED:
                        await frames.push(k, frame)
                        await positions.push(k, x_m=x_m, y_m=y_m)
                        if k in kills:
                            await asyncio.to_thread(self.kill_and_start_again)
                return await watcher, frames.report, positions.report

        states, *reports = asyncio.run(scenario())
        self.assertEqual(states[-1], "completed")
        self.check(self.client.session("scan"), reports, restarts=len(kills))

    def test_an_acquisition_that_was_killed_pushes_from_the_beginning(self):
        session = self.client.create_session("scan", **SETTINGS)
        first = session.frame_writer(producer="eiger-1", **OPTIONS)
        for k, frame, _, _ in MEASURED[:60]:
            first.push(k, frame)
        first.flush()
        first.cancel()  # What its process's end does.
        self.kill_and_start_again()
        again = self.client.session("scan")
        with again:
            frames = again.frame_writer(producer="eiger-1", **OPTIONS)
            positions = again.position_writer(**OPTIONS)
            for k, frame, x_m, y_m in MEASURED:
                frames.push(k, frame)
                positions.push(k, x_m=x_m, y_m=y_m)
        self.check(again, (frames.report, positions.report), restarts=1)

    def test_acknowledged_frames_survive(self):
        """What a writer that has closed says is safe, is there after a kill."""
        session = self.client.create_session("scan", **SETTINGS)
        with session.frame_writer(**OPTIONS) as frames:
            frames.push(0, np.stack([frame for _, frame, _, _ in MEASURED]))
        self.assertEqual(frames.report.retained_items, 0)
        self.kill_and_start_again()
        self.assertEqual(self.client.session("scan").info.frames.accepted, COUNT)

    def test_without_a_journal_a_kill_is_told(self):
        """A server that comes back without the session is no success."""
        self.server.kill()
        self.server = harness.Server(self.folder, listen=self.server.address)
        session = self.client.create_session("scan", **SETTINGS)
        frames = session.frame_writer(**OPTIONS)
        frames.push(0, MEASURED[0][1])
        frames.flush()
        address = self.server.address
        self.server.kill()
        self.server = harness.Server(self.folder, listen=address)
        with self.assertRaises(errors.NotFound) as caught:
            frames.push(1, MEASURED[1][1])
            frames.close()
        self.assertEqual(caught.exception.reason, "SESSION_NOT_FOUND")
        self.assertIn("frames were not acknowledged", str(caught.exception))


if __name__ == "__main__":
    support.main()
