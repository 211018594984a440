#!/usr/bin/env python3
"""The Python package against the real server: calls, streams, watches, results, errors."""

import asyncio
import json
import pathlib
import struct

import support
import bitshuffle
import h5py
import harness
import numpy as np
import ptychoserve
from ptychoserve import Result, aio, errors
from ptychoserve.v1 import config_pb2
from scan_files import Parts

harness.BUILD = support.BUILD
MOST_R = 0.075  # The noise of the scan is 0.063.


class ClientCase(harness.EndToEndTest):

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.client = ptychoserve.Client(cls.server.address)
        cls.addClassCleanup(cls.client.close)
        parts = Parts(cls.scan)
        cls.frames, cls.x_m, cls.y_m = parts.frames, parts.x_m, parts.y_m
        cls.settings = {**parts.settings, "probe": {"initial": parts.probe},
                        "run": {"it_ends_after": 30}}

    def refused(self, kind, reason, function, *arguments, **settings):
        with self.assertRaises(kind) as caught:
            function(*arguments, **settings)
        self.assertEqual(caught.exception.reason, reason, caught.exception)
        return caught.exception

    def push_all(self, session, count=None):
        frames, positions = session.frame_writer(), session.position_writer()
        for k in range(count or len(self.frames)):
            frames.push(k, self.frames[k])
            positions.push(k, x_m=self.x_m[k], y_m=self.y_m[k])
        return frames, positions

    def run_scan(self, session_id):
        with self.client.create_session(session_id, **self.settings) as session:
            self.push_all(session)
        return session


class ScanTest(ClientCase):

    def test_from_create_to_result(self):
        with self.client.create_session("whole", **self.settings) as session:
            self.assertEqual(session.state, "created")
            frames, positions = self.push_all(session)
        for writer in (frames, positions):
            self.assertEqual(writer.report.items, 100)
            self.assertEqual(writer.report.counters.accepted, 100)
            self.assertEqual(writer.report.counters.duplicates, 0)
            self.assertEqual(writer.report.counters.rejected, {})
            self.assertEqual(writer.report.counters.watermark, 99)
        result = session.result()
        self.assertEqual(session.state, "completed")
        self.assertTrue(session.ended)
        self.assertEqual(result.session.joined_points, 100)
        points = result.snapshot.points
        judged = harness.r_factor(result.object, result.probe, points[:, 1:3],
                                  self.frames[points[:, 0].astype(int)])
        self.assertLess(judged, MOST_R)
        self.assertAlmostEqual(judged, result.session.final_fit.r_factor, delta=2e-3)
        self.assertEqual(result.snapshot.history.shape, (result.snapshot.iteration, 10))

    def test_cxi_as_the_command_line_writes_it(self):
        session = self.run_scan("files")
        ours, theirs = self.path("ours.cxi"), self.path("theirs.cxi")
        session.result().save(ours)
        self.ok("snapshot", "files", "--out", theirs)

        def contents(path):
            found = {}
            with h5py.File(path) as file:
                def visit(name, node):
                    if isinstance(node, h5py.Dataset):
                        found[name] = (node[()], node.dtype, dict(node.attrs))
                file.visititems(visit)
                for link in ("entry_1/data_1/data", "entry_1/data_1/translation"):
                    found[link] = (file[link][()], file[link].dtype, {})
            return found

        a, b = contents(ours), contents(theirs)
        self.assertEqual(sorted(a), sorted(b))
        for name, (value, dtype, attributes) in b.items():
            if "process_1" in name and name.rsplit("/", 1)[1] in ("date", "configuration",
                                                                  "session"):
                continue
            np.testing.assert_array_equal(a[name][0], value, name)
            self.assertEqual(a[name][1], dtype, name)
            self.assertEqual(sorted(a[name][2]), sorted(attributes), name)
            for key in attributes:
                np.testing.assert_array_equal(a[name][2][key], attributes[key], name)
        for name in ("configuration", "session"):
            texts = [json.loads(found[f"entry_1/image_1/process_1/{name}"][0])
                     for found in (a, b)]
            for text in texts:  # Is freed some time after the end.
                text.pop("device_bytes", None)
            self.assertEqual(*texts)
        for path in (ours, theirs):
            loaded = Result.load(path)
            np.testing.assert_array_equal(loaded.object, b["entry_1/image_1/data"][0])
            self.assertEqual(loaded.config, session.config)

    def test_watches(self):
        session = self.client.create_session("watched", **self.settings)
        with session:
            self.push_all(session)
        kinds, states = set(), []
        for event in session.watch(min_interval_s=0.01):
            kinds.add(event.kind)
            states.append(event.state)
        self.assertLessEqual({"state", "progress"}, kinds)
        self.assertEqual(states[-1], "completed")
        session.delete()
        session = self.client.create_session("watched-2", **self.settings)
        with session:
            self.push_all(session)
        versions, final = [], None
        for snapshot in session.watch_snapshots("all"):
            versions.append(snapshot.version)
            final = snapshot
        self.assertEqual(versions, sorted(set(versions)))
        self.assertTrue(final.final)
        self.assertEqual(set(final.arrays()), set(ptychoserve.ARRAYS))
        same = session.snapshot(["object"], not_newer_than=final.version)
        self.assertTrue(same.unchanged)
        self.assertIsNone(same.object)

    def test_what_is_refused_is_counted_by_reason(self):
        session = self.client.create_session("counted", **self.settings)
        frames, positions = session.frame_writer(), session.position_writer()
        frames.push(0, self.frames[:10])
        frames.push(5, self.frames[5:8])
        frames.skip(20, 3)
        report = frames.flush()
        self.assertEqual((report.counters.received, report.counters.accepted,
                          report.counters.duplicates), (13, 10, 3))
        self.assertEqual(report.counters.skipped, 3)
        positions.push(0, x_m=[1.0, np.nan], y_m=[1.0, 0.0])
        counters = positions.close().counters
        self.assertEqual(set(counters.rejected), {"out_of_canvas", "non_finite"})
        self.assertEqual(counters.rejected["non_finite"].first_frame_id, 1)
        self.assertNotEqual(counters.rejected["out_of_canvas"].detail, "")
        frames.close()
        session.delete(force=True)

    def test_session_that_ends_by_itself_before_its_writers_close(self):
        with self.client.create_session("by-itself", **self.settings) as session:
            frames, positions = self.push_all(session)
            session.wait()  # expected_points were there.
            self.assertEqual(session.state, "completed")
        self.assertEqual(frames.report.counters.accepted, 100)
        self.assertIsNone(frames.error)
        with self.assertRaises(errors.FailedPrecondition):
            positions.push(100, x_m=0.0, y_m=0.0)

    def test_encoded_frames_and_encoder_samples(self):
        encoder = {"samples_per_frame": 4, "y_scale_m_per_count": 1e-9, "x_scale_m_per_count": 1e-9}
        settings = {**self.settings, "scan": {**self.settings["scan"], "encoder": encoder}}
        with self.client.create_session("encoded", **settings) as session:
            frames = session.frame_writer(encoding="bslz4")
            for k, frame in enumerate(self.frames):
                block = 2048
                header = struct.pack(">QI", frame.nbytes, block * frame.itemsize)
                frames.push_encoded(k, header + bitshuffle.compress_lz4(frame, block).tobytes())
            session.position_writer().push_encoder_samples(
                0, x_counts=np.repeat(self.x_m * 1e9, 4), y_counts=np.repeat(self.y_m * 1e9, 4))
        session.wait()
        self.assertEqual(session.info.frames.accepted, 100)
        self.assertEqual(session.info.active_points, 100)
        self.assertLess(session.info.final_fit.r_factor, MOST_R)

    def test_states_as_files(self):
        session = self.run_scan("stated")
        session.wait()
        path = pathlib.Path(self.path("stated.state"))
        session.export_state(path, input=False)
        self.refused(errors.FailedPrecondition, "INPUT_NOT_KEPT", session.export_state,
                     self.path("none.state"))
        self.assertFalse(pathlib.Path(self.path("none.state")).exists())
        again = self.client.import_state(path, session_id="stated-again", mode="warm_start")
        self.assertEqual(again.id, "stated-again")
        again.delete(force=True)


class CallsTest(ClientCase):

    def test_info(self):
        info = self.client.info()
        self.assertEqual(info.version, ptychoserve.__version__)
        self.assertEqual([d.name for d in info.devices], ["cpu"])

    def test_sessions_by_name(self):
        made = [self.client.create_session(f"listed-{k}", **self.settings) for k in range(3)]
        listed = [s.id for s in self.client.sessions() if s.id.startswith("listed-")]
        self.assertEqual(listed, ["listed-0", "listed-1", "listed-2"])
        again = self.client.create_session("listed-0", **self.settings)
        self.assertEqual(again.info.create_time, made[0].info.create_time)
        self.assertEqual(self.client.session("sessions/listed-1").id, "listed-1")
        for session in made:
            session.delete(force=True)
        self.refused(errors.NotFound, "SESSION_NOT_FOUND", self.client.session, "listed-0")

    def test_validate_creates_nothing(self):
        planned = self.client.validate(**self.settings)
        self.assertGreater(planned.device_bytes, 0)
        self.assertEqual(planned.config.run.it_ends_after, 30)
        self.assertEqual(planned.config.snapshots.every_iterations, 5)

    def test_update(self):
        session = self.client.create_session("updated", **self.settings)
        session.update(run={"max_iterations": 500}, snapshots={"history": 3})
        self.assertEqual(session.config.run.max_iterations, 500)
        self.assertEqual(session.config.snapshots.history, 3)
        self.assertEqual(session.config.run.it_ends_after, 30)
        error = self.refused(errors.InvalidArgument, "INVALID_REQUEST", session.update,
                             optics={"distance_m": 1.0})
        self.assertEqual(error.field, "update_mask")
        session.delete(force=True)

    def test_orientation(self):
        with self.client.create_session("turned", **{
                **self.settings, "detector": {**self.settings["detector"], "orientation": "flip_lr"},
                "run": {"it_ends_after": 100_000}, "quality": {"test_orientation": False},
        }) as session:
            self.push_all(session)
            found = session.test_orientation()
            self.assertTrue(found.clear)
            self.assertFalse(found.confirmed)
            self.assertEqual(found.trials[0].orientation, config_pb2.ORIENTATION_IDENTITY)
            self.assertEqual(len(found.trials), 8)
            with self.assertRaises(errors.DeadlineExceeded):
                session.test_orientation(timeout_s=0.001)
            session.stop()
        self.refused(errors.FailedPrecondition, "SESSION_ENDED", session.test_orientation)

    def test_frames_as_the_session_has_them(self):
        with self.client.create_session("seen", **{
                **self.settings, "run": {"it_ends_after": 100_000},
                "snapshots": {"every_iterations": 50, "history": 64}}) as session:
            for writer in self.push_all(session):
                writer.close()
            session.finish()
            for event in session.watch():
                if event.session.snapshot_version > 0 and event.state == "refining":
                    break
            frame = session.frame(3, expected=True)
            self.assertEqual(frame.frame_id, 3)
            np.testing.assert_array_equal(frame.counts, self.frames[3].astype("<f4"))
            self.assertGreater(frame.version, 0)
            self.assertEqual(frame.expected.shape, frame.counts.shape)
            self.assertIsNone(session.frame().expected)
            small = session.frame(3, downsample=2)
            np.testing.assert_allclose(small.counts[0, 0], frame.counts[:2, :2].mean())
            self.refused(errors.NotFound, "FRAME_NOT_FOUND", session.frame, 10_000)
            cut = session.snapshot(("object",), region=(2, 3, 8, 10))
            whole = session.snapshot(("object",), area="canvas", version=cut.version)
            np.testing.assert_array_equal(cut.object, whole.object[2:10, 3:13])

            async def seen():
                async with aio.Client(self.server.address) as client:
                    return await (await client.session("seen")).frame(3)

            np.testing.assert_array_equal(asyncio.run(seen()).counts, frame.counts)
            session.stop()
        self.refused(errors.FailedPrecondition, "FRAME_NOT_KEPT", session.frame, 3)
        session.delete()

    def test_errors_carry_what_the_server_says(self):
        error = self.refused(
            errors.InvalidArgument, "INVALID_CONFIG", self.client.create_session, "wrong",
            **{**self.settings, "optics": {"wavelength_m": -1.0, "distance_m": 0.0,
                                           "detector_pixel_size_y_m": 75e-6}})
        fields = {v.field: v for v in error.violations}
        self.assertLessEqual({"optics.wavelength_m", "optics.distance_m"}, set(fields))
        self.assertEqual(fields["optics.wavelength_m"].value, "-1")
        self.assertIn("greater than 0", fields["optics.wavelength_m"].allowed)
        session = self.client.create_session("taken", **self.settings)
        error = self.refused(errors.AlreadyExists, "SESSION_EXISTS", self.client.create_session,
                             "taken", **{**self.settings, "run": {"it_ends_after": 31}})
        self.assertEqual(error.resource, "sessions/taken")
        error = self.refused(errors.FailedPrecondition, "SESSION_ACTIVE", session.delete)
        self.refused(errors.NotFound, "SNAPSHOT_NOT_FOUND", session.snapshot, version=7)
        session.stop()
        session.wait()
        self.refused(errors.FailedPrecondition, "SESSION_ENDED", session.stop)
        writer = session.frame_writer()
        with self.assertRaises(errors.FailedPrecondition):
            writer.push(0, self.frames)
            writer.close()
        self.assertEqual(writer.error.reason, "SESSION_ENDED")
        session.delete()

    def test_no_server(self):
        with self.assertRaises(errors.Unavailable) as caught:
            ptychoserve.Client("127.0.0.1:1", connect_timeout_s=0.2)
        self.assertIn("doctor --server 127.0.0.1:1", caught.exception.hint)

    def test_an_exception_stops_the_session(self):
        with self.assertRaises(ZeroDivisionError):
            with self.client.create_session("broken-off", **self.settings) as session:
                frames, _ = self.push_all(session, count=40)
                frames.flush()
                raise ZeroDivisionError
        session.wait()
        self.assertEqual(session.state, "stopped")
        self.assertIsInstance(frames.error, errors.Cancelled)

    def test_sessions_that_fail_or_go(self):
        session = self.client.create_session("empty", **self.settings)
        session.finish()
        with self.assertRaises(errors.SessionFailed) as caught:
            session.wait()
        self.assertIn("empty", str(caught.exception))
        session = self.client.create_session("goes", **self.settings)
        with self.assertRaises(errors.DeadlineExceeded):
            session.wait(timeout_s=0.05)
        watch = session.watch()
        next(watch)
        self.client.session("goes").delete(force=True)
        self.assertEqual([event.kind for event in watch][-1], "deleted")


class AsyncTest(ClientCase):

    def test_from_create_to_result(self):
        async def scenario():
            async with aio.Client(self.server.address) as client:
                self.assertEqual((await client.info()).version, ptychoserve.__version__)
                session = await client.create_session("async", **self.settings)
                async with session:
                    frames, positions = session.frame_writer(), session.position_writer()
                    for k, frame in enumerate(self.frames):
                        await frames.push(k, frame)
                        await positions.push(k, x_m=self.x_m[k], y_m=self.y_m[k])
                self.assertEqual(frames.report.counters.accepted, 100)
                states = [event.state async for event in session.watch(min_interval_s=0.01)]
                snapshots = [s.version async for s in session.watch_snapshots()]
                result = await session.result()
                await session.delete()
                return states, snapshots, result, [s.id for s in await client.sessions()]

        states, snapshots, result, left = asyncio.run(scenario())
        self.assertEqual(states[-1], "completed")
        self.assertEqual(snapshots[-1], result.snapshot.version)
        self.assertLess(result.session.final_fit.r_factor, MOST_R)
        self.assertNotIn("async", left)

    def test_calls_and_errors(self):
        async def scenario():
            async with aio.Client(self.server.address) as client:
                planned = await client.validate(**self.settings)
                self.assertGreater(planned.device_bytes, 0)
                session = await client.create_session("async-calls", **self.settings)
                await session.update(run={"max_iterations": 7})
                self.assertEqual(session.config.run.max_iterations, 7)
                self.assertEqual((await client.session("async-calls")).id, "async-calls")
                for wait in (session.wait, session.test_orientation):
                    with self.assertRaises(errors.DeadlineExceeded):
                        await wait(timeout_s=0.05)
                with self.assertRaises(ZeroDivisionError):
                    async with session:
                        raise ZeroDivisionError
                await session.wait()
                self.assertEqual(session.state, "stopped")
                path = self.path("async.state")
                await session.export_state(path, input=False, run=False)
                again = await client.import_state(path, session_id="async-again", mode="rerun")
                self.assertEqual(again.id, "async-again")
                await again.delete(force=True)
                await session.delete()
                with self.assertRaises(errors.NotFound) as caught:
                    await session.refresh()
                self.assertEqual(caught.exception.resource, "sessions/async-calls")
            with self.assertRaises(errors.Unavailable):
                await aio.Client("127.0.0.1:1", connect_timeout_s=0.2).connect()

        asyncio.run(scenario())


if __name__ == "__main__":
    support.main()
