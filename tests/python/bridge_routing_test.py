#!/usr/bin/env python3
"""Which series an encoder's samples go to, without a server: scans wait for their first frame.
Which session a series becomes, and which stream frames go to. When silence is told of.
"""

import threading
import unittest
import unittest.mock

import support
import numpy as np
from ptychoserve.bridges import Bridge, eiger, panda
from ptychoserve.bridges.frame_streams import FrameStreams
from ptychoserve.bridges.messages import (EncoderBlock, EncoderStart, EncoderStop, Form, Image,
                                          SeriesEnd, SeriesStart)
from ptychoserve.bridges.scan import Scan, configured
from ptychoserve.bridges.silence import Due, Silence
from ptychoserve.errors import Aborted, AlreadyExists, NotFound, PtychoserveError
from ptychoserve.v1 import config_pb2

START, STOP = EncoderStart(), EncoderStop()
LATER_S = 1e9
FORM = Form(8, 8, np.dtype("<u2"), "lz4")


def block(first):
    return EncoderBlock(first, np.zeros(1), np.zeros(1))


class RoutingTest(unittest.TestCase):

    def setUp(self):
        self.reports, self.said = [], []
        self.bridge = Bridge(None, config_pb2.SessionConfig(), channels=panda.Channels(),
                             report=self.reports.append, log=self.said.append)

    def samples(self):
        """First samples of the blocks that wait in each scan, by its series."""
        return {scan.series: [waiting.first_sample for waiting in scan._waiting]
                for scan in self.bridge._scans}

    def finish(self, now=0.0):
        self.bridge.finish_scans(now)
        return [report.series for report in self.reports]

    def test_runs_belong_to_series_in_their_order(self):
        self.bridge.take_eiger([SeriesStart(4)])
        self.bridge.take_panda([START, block(0), block(1), STOP])
        self.bridge.take_eiger([SeriesEnd(4), SeriesStart(5)])
        self.bridge.take_panda([START, block(7)])
        self.assertEqual(self.samples(), {4: [0, 1], 5: [7]})
        self.assertEqual(self.finish(), [4])

    def test_an_encoder_that_is_first_waits_for_its_series(self):
        self.bridge.take_panda([START, block(0), STOP, START, block(1)])
        self.bridge.take_eiger([SeriesStart(4)])
        self.assertEqual(self.samples(), {4: [0]})
        self.bridge.take_panda([block(2), STOP])
        self.bridge.take_eiger([SeriesStart(5)])
        self.assertEqual(self.samples(), {4: [0], 5: [1, 2]})

    def test_a_run_without_samples_belongs_to_none(self):
        self.bridge.take_eiger([SeriesStart(4)])
        self.bridge.take_panda([START, STOP, START, block(0), STOP])
        self.bridge.take_eiger([SeriesEnd(4)])
        self.assertEqual(self.samples(), {4: [0]})
        self.assertEqual(self.finish(), [4])

    def test_a_stop_that_is_lost_is_made_up_by_the_next_start(self):
        self.bridge.take_eiger([SeriesStart(4), SeriesEnd(4)])
        self.bridge.take_panda([START, block(0)])
        self.assertEqual(self.finish(), [])
        self.bridge.take_panda([START])
        self.assertEqual(self.finish(), [4])

    def test_a_bridge_that_comes_late_ends_with_what_it_sees(self):
        self.bridge.take_panda([STOP])
        self.bridge.take_eiger([SeriesStart(4), SeriesEnd(4), SeriesStart(5)])
        self.bridge.take_panda([START, block(3)])
        self.assertEqual(self.samples(), {4: [], 5: [3]})
        self.assertEqual(self.finish(), [4])

    def test_samples_that_no_series_comes_for_are_let_go(self):
        self.bridge.take_panda([START, block(0), block(1), STOP])
        self.assertEqual(self.finish(now=LATER_S), [None])
        report, = self.reports
        self.assertEqual(report.bad_messages, {"no_series": 2})
        self.assertRegex(report.line(), "^no session: 0 frames, .*2 samples of the encoder came "
                         "and no series .* within 60 s: nothing is reconstructed.*--eiger")
        self.bridge.take_eiger([SeriesStart(4), SeriesEnd(4)])
        self.bridge.take_panda([START, block(7), STOP])
        self.assertEqual(self.samples(), {4: [7]})
        self.assertEqual(self.finish(), [None, 4])

    def test_a_run_without_samples_that_no_series_comes_for_is_no_scan(self):
        self.bridge.take_panda([STOP])
        self.assertEqual(self.finish(now=LATER_S), [])

    def test_a_series_without_frames_or_encoder_is_over_some_time(self):
        self.bridge.take_eiger([SeriesStart(4), SeriesEnd(4)])
        self.assertEqual(self.finish(), [])
        self.assertEqual(self.finish(now=LATER_S), [4])
        self.assertRegex(self.reports[0].error, "no frames came of series 4, and 0 samples")

    def test_a_frame_of_another_shape_is_named_with_both(self):
        images = [Image(4, k, Form(rows, 8, np.dtype("<u2"), "lz4"), b"")
                  for k, rows in ((0, 8), (1, 6))]
        self.bridge._scan_of = lambda series: unittest.mock.Mock(form=images[0].form)
        self.bridge.take_eiger(images)
        self.assertEqual(self.said, [
            "eiger: not used: a message with frames unlike the first of their series: frame 1 of "
            "series 4 is 6 x 8 uint16 lz4; the series began with 8 x 8 uint16 lz4; leave the "
            "detector's region and pixel type as they are until a series ends"])

    def test_what_is_due(self):
        """Frames until a series ends; samples until a run ends, which each series needs."""
        self.assertEqual((self.bridge.due_frames(), self.bridge.due_samples()), (None, None))
        self.bridge.take_eiger([SeriesStart(4, 50)])
        self.assertIn("series 4 has 0 of 50 frames and 0 samples; waits for more frames",
                      self.bridge.due_frames().words)
        self.assertIn("waits for a run of the encoder", self.bridge.due_samples().words)
        self.bridge.take_panda([START, block(0), block(1)])
        self.assertIn("2 samples; waits for more samples", self.bridge.due_samples().words)
        self.bridge.take_eiger([SeriesEnd(4)])
        self.bridge.take_panda([STOP])
        self.assertEqual((self.bridge.due_frames(), self.bridge.due_samples()), (None, None))

    def test_messages_that_cannot_be_used_are_no_silence(self):
        self.assertEqual(list(self.bridge.decoded("eiger", [[b"{"], [b"{}"]], eiger.decode)),
                         [None, None])

    def test_a_session_that_another_bridge_took_over_says_what_to_do(self):
        self.bridge.take_eiger([SeriesStart(4)])
        scan, = self.bridge._scans
        scan._failed(Aborted("a stream of this producer with epoch 7 has taken over"))
        self.assertEqual(scan.report.error, self.said[-1].partition(": ")[2])
        self.assertNotIn("epoch", scan.report.error)
        self.assertIn("another bridge of this detector feeds the session now", scan.report.error)
        self.assertIn("give the bridge of each detector a --prefix of its own", scan.report.error)

    def test_a_start_that_comes_twice_is_one(self):
        self.bridge.take_eiger([SeriesStart(4), SeriesStart(4)])
        self.assertEqual(self.samples(), {4: []})
        self.bridge.take_eiger([SeriesEnd(4), SeriesEnd(3), SeriesStart(4)])
        self.assertEqual([scan.series for scan in self.bridge._scans], [4, 4])

    def test_without_an_encoder_the_detector_ends_a_scan(self):
        self.bridge = Bridge(None, config_pb2.SessionConfig(), report=self.reports.append,
                             log=self.said.append)
        self.bridge.take_eiger([SeriesStart(4), SeriesEnd(4)])
        self.assertEqual(self.finish(), [4])


class SilenceTest(unittest.TestCase):
    """Times are what the test says they are."""

    def setUp(self):
        self.said, self.due = [], None
        self.silence = Silence("panda", 10.0, lambda: self.due, self.said.append, now_s=0.0)

    def told(self, step, *times_s):
        """What is said while a step is taken at these times."""
        self.said.clear()
        for now_s in times_s:
            step(now_s)
        return list(self.said)

    def test_a_source_that_never_says_anything_is_told_of_once(self):
        said, = self.told(self.silence.nothing, 5.0, 11.0, 30.0)
        self.assertRegex(said, "^panda: nothing has come in 10 s.*ptychoserve-doctor .*--panda")
        self.assertEqual(self.told(self.silence.heard, 31.0, 32.0),
                         ["panda: it has come after 31 s"])

    def test_silence_in_the_middle_is_told_of_once_and_its_end_too(self):
        self.silence.heard(1.0)
        self.due = Due(0.5, "series 4 has 6 frames; waits for more")
        said, = self.told(self.silence.nothing, 10.9, 11.0, 60.0)
        self.assertRegex(said, r"^panda: silent since \d\d:\d\d:\d\d while a scan is under way: "
                         "series 4 has 6 frames; waits for more$")
        self.assertEqual(self.told(self.silence.heard, 61.0, 61.1),
                         ["panda: it is back after 60 s"])
        self.assertEqual(len(self.told(self.silence.nothing, 71.0, 72.0)), 1)

    def test_silence_between_scans_is_no_news(self):
        self.silence.heard(1.0)
        self.assertEqual(self.told(self.silence.nothing, 100.0), [])
        self.due = Due(100.0, "a series that has begun just now")
        self.assertEqual(self.told(self.silence.nothing, 100.1, 109.9), [])
        self.assertEqual(len(self.told(self.silence.nothing, 110.0)), 1)


class FakeSession:
    """`claimed`: the detector whose bridge has it."""

    def __init__(self, session_id, claimed=None, frames=0, ended=False):
        self.id, self.name = session_id, f"sessions/{session_id}"
        self.claimed, self.ended = claimed, ended
        self.info = unittest.mock.Mock(warnings=[])
        self.info.frames.accepted = frames
        self.config = configured(config_pb2.SessionConfig(), SeriesStart(4), FORM)


class FakeServer:
    """Has sessions; `taken` are ids that somebody creates with other settings just before."""

    def __init__(self, *sessions, taken=()):
        self.sessions = {session.id: session for session in sessions}
        self.taken = taken

    def session(self, session_id):
        if session_id not in self.sessions:
            raise NotFound(session_id)
        return self.sessions[session_id]

    def create_session(self, session_id, config):
        if session_id in self.taken:
            raise AlreadyExists(f"'{session_id}' exists with another configuration")
        self.sessions[session_id] = FakeSession(session_id)
        return self.sessions[session_id]

    def claim(self, _client, session, detector):
        won = session.claimed is None
        session.claimed = session.claimed or detector
        return won

    def is_claimed_for(self, _client, session, detector):
        return session.claimed == detector


class OwnershipTest(unittest.TestCase):
    """Which session a series becomes."""

    def session_of(self, server, announced, detector="mine"):
        self.said = []
        scan = Scan(server, config_pb2.SessionConfig(), "scan-4", SeriesStart(4), announced, 1,
                    detector, 60.0, threading.Event(), self.said.append)
        with unittest.mock.patch.multiple(
                "ptychoserve.bridges.scan", CREATOR_FIRST_S=0.0, claim=server.claim,
                is_claimed_for=server.is_claimed_for):
            session = scan._session_for(FORM)
        self.assertEqual((scan.report.session, session.claimed), (session.id, detector))
        return session.id

    def test_a_series_that_begins_gets_a_session_that_nobody_feeds(self):
        for found, expected, words in (
                (None, "scan-4", None),
                (FakeSession("scan-4"), "scan-4", "was there without frames"),
                (FakeSession("scan-4", ended=True), "scan-4-2", "it has ended"),
                (FakeSession("scan-4", frames=9), "scan-4-2", "it has 9 frames"),
                (FakeSession("scan-4", "other"), "scan-4-2", "--prefix of its own"),
                (FakeSession("scan-4", "mine", frames=9), "scan-4-2", "it has 9 frames")):
            server = FakeServer(*filter(None, [found]))
            with self.subTest(words):
                self.assertEqual(self.session_of(server, announced=True), expected)
                self.assertIn(words or "series 4, 8 x 8", " ".join(self.said))

    def test_a_series_under_way_goes_on_in_the_session_of_its_detector_alone(self):
        """The last of them, if the detector has counted from 1 again."""
        for sessions, expected in (
                ([("mine", 9)], "scan-4"), ([("other", 9)], "scan-4-2"), ([(None, 9)], "scan-4-2"),
                ([("other", 9), ("mine", 9)], "scan-4-2"),
                ([("mine", 9), ("mine", 5)], "scan-4-2"),
                ([("mine", 9), ("other", 5)], "scan-4")):
            server = FakeServer(*(
                FakeSession("scan-4" if k == 0 else f"scan-4-{k + 1}", claimed, frames)
                for k, (claimed, frames) in enumerate(sessions)))
            with self.subTest(sessions):
                self.assertEqual(self.session_of(server, announced=False), expected)

    def test_an_id_that_is_taken_while_it_is_created_is_left_to_whoever_was_first(self):
        self.assertEqual(self.session_of(FakeServer(taken=["scan-4"]), True), "scan-4-2")
        self.assertIn("scan-4: not joined: 'scan-4' exists with another", self.said[0])


class FakeWriter:
    """Notes what it is given; `error` is that of its `close`."""

    def __init__(self, **options):
        self.options = options
        self.pushed = []
        self.error = None
        self.closed = False

    def push_encoded(self, ids, frames):
        self.pushed.append((ids, frames))

    def push(self, ids, frames):
        self.pushed.append((ids, frames))

    def close(self, timeout_s=None):
        self.closed = True
        if self.error is not None:
            raise self.error


class SessionOfWriters:
    def __init__(self):
        self.writers = []

    def frame_writer(self, **options):
        self.writers.append(FakeWriter(**options))
        return self.writers[-1]


class FrameStreamsTest(unittest.TestCase):

    def streams(self, encoding, count):
        self.form = Form(1, 2, np.dtype("<u2"), encoding)
        self.session = SessionOfWriters()
        return FrameStreams(self.session, self.form, count, "lab.bridge.frames")

    def images(self, ids, data):
        return [Image(1, k, self.form, data) for k in ids]

    def test_each_writer_gets_about_a_message_in_turn(self):
        streams = self.streams("bslz4", 2)
        for ids in ([0, 1], [2], [3], [4]):
            streams.push(ids, self.images(ids, bytes(1 << 20)))
        self.assertEqual([[ids for ids, _ in writer.pushed] for writer in self.session.writers],
                         [[[0, 1], [4]], [[2], [3]]])

    def test_together_they_hold_no_more_than_one(self):
        self.streams("bslz4", 4)
        options = [writer.options for writer in self.session.writers]
        self.assertEqual([of["producer"] for of in options],
                         [f"lab.bridge.frames.{k}" for k in range(4)])
        self.assertEqual({(of["encoding"], of["queue_bytes"], of["retain_bytes"])
                          for of in options}, {("bslz4", 16 << 20, 64 << 20)})

    def test_plain_frames_are_arrays(self):
        self.streams("raw", 1).push([7, 8], self.images([7, 8], b"\1\0\2\0"))
        (ids, frames), = self.session.writers[0].pushed
        self.assertEqual(ids, [7, 8])
        np.testing.assert_array_equal(frames, np.array([[[1, 2]], [[1, 2]]], np.uint16))

    def test_all_are_closed_though_one_has_failed(self):
        streams = self.streams("bslz4", 3)
        self.session.writers[0].error = Aborted("a later writer of the same producer")
        with self.assertRaises(PtychoserveError):
            streams.close(timeout_s=1.0)
        self.assertTrue(all(writer.closed for writer in self.session.writers))


if __name__ == "__main__":
    support.main()
