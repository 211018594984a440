#!/usr/bin/env python3
"""Which series an encoder's samples go to, without a server: scans wait for their first frame.
Which stream frames go to.
"""

import unittest
import unittest.mock

import support
import numpy as np
from ptychoserve.bridges import Bridge, panda
from ptychoserve.bridges.frame_streams import FrameStreams
from ptychoserve.bridges.messages import (EncoderBlock, EncoderStart, EncoderStop, Form, Image,
                                          SeriesEnd, SeriesStart)
from ptychoserve.errors import Aborted, NotFound, PtychoserveError
from ptychoserve.v1 import config_pb2

START, STOP = EncoderStart(), EncoderStop()
LATER_S = 1e9


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
        self.assertEqual(self.finish(now=LATER_S), [])
        self.bridge.take_eiger([SeriesStart(4), SeriesEnd(4)])
        self.bridge.take_panda([START, block(7), STOP])
        self.assertEqual(self.samples(), {4: [7]})
        self.assertEqual(self.finish(), [4])
        self.assertEqual(self.reports[0].bad_messages, {"no_series": 2})

    def test_a_series_without_frames_or_encoder_is_over_some_time(self):
        self.bridge.take_eiger([SeriesStart(4), SeriesEnd(4)])
        self.assertEqual(self.finish(), [])
        self.assertEqual(self.finish(now=LATER_S), [4])
        self.assertEqual(self.reports[0].error, "no frames came")

    def test_a_frame_of_another_shape_is_named_with_both(self):
        images = [Image(4, k, Form(rows, 8, np.dtype("<u2"), "lz4"), b"")
                  for k, rows in ((0, 8), (1, 6))]
        self.bridge._scan_of = lambda series: unittest.mock.Mock(form=images[0].form)
        self.bridge.take_eiger(images)
        self.assertEqual(self.said, [
            "eiger: bad message: wrong_shape: frame 1 of series 4 is 6 x 8 uint16 lz4; "
            "the series began with 8 x 8 uint16 lz4"])

    def test_sources_that_say_nothing_are_told_of(self):
        self.bridge._unheard = {"eiger", "panda"}
        list(self.bridge.decoded("eiger", [[]], len))
        self.said.clear()
        self.bridge.tell_unheard()
        said, = self.said
        self.assertRegex(said, "^panda: nothing has come in 10 s.*ptychoserve-doctor .*--panda")

    def test_a_series_without_samples_is_told_of(self):
        self.bridge.take_eiger([SeriesStart(4), SeriesEnd(4)])
        self.assertEqual(self.finish(LATER_S), [4])
        self.assertIn("scan-4: no samples came", self.said[-1])

    def test_a_series_goes_on_where_it_can_be_the_same_one(self):
        """With `announced`, it has begun just now; without, before this bridge did."""
        for announced, ended, frames, expected in (
                (True, False, 0, "scan-4"), (True, False, 9, "scan-4-2"),
                (True, True, 0, "scan-4-2"), (False, False, 9, "scan-4"),
                (False, True, 9, "scan-4")):
            with self.subTest(announced=announced, ended=ended, frames=frames):
                taken = unittest.mock.Mock(id="scan-4", ended=ended)
                taken.info.frames.accepted = frames
                client = unittest.mock.Mock()
                client.session.side_effect = [taken, NotFound("")]
                scan = self.bridge._begin(SeriesStart(4), announced)
                self.bridge._scans.clear()
                scan._client = client
                found = scan._attach()
                self.assertEqual(scan.report.session, expected)
                self.assertIs(found, taken if expected == "scan-4" else None)

    def test_a_session_that_another_bridge_took_over_says_what_to_do(self):
        self.bridge.take_eiger([SeriesStart(4)])
        scan, = self.bridge._scans
        scan._failed(Aborted("taken over"))
        self.assertEqual(scan.report.error, self.said[-1].partition(": ")[2])
        self.assertIn("give each a --prefix of its own", scan.report.error)

    def test_a_start_that_comes_twice_is_one(self):
        self.bridge.take_eiger([SeriesStart(4), SeriesStart(4)])
        self.assertEqual(self.samples(), {4: []})
        self.bridge.take_eiger([SeriesEnd(4), SeriesEnd(3), SeriesStart(4)])
        self.assertEqual([scan.series for scan in self.bridge._scans], [4, 4])

    def test_without_an_encoder_the_detector_ends_a_scan(self):
        self.bridge = Bridge(None, config_pb2.SessionConfig(), report=self.reports.append)
        self.bridge.take_eiger([SeriesStart(4), SeriesEnd(4)])
        self.assertEqual(self.finish(), [4])


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


class FakeSession:
    def __init__(self):
        self.writers = []

    def frame_writer(self, **options):
        self.writers.append(FakeWriter(**options))
        return self.writers[-1]


class FrameStreamsTest(unittest.TestCase):

    def streams(self, encoding, count):
        self.form = Form(1, 2, np.dtype("<u2"), encoding)
        self.session = FakeSession()
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
