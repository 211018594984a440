#!/usr/bin/env python3
"""Which series an encoder's samples go to, without a server: scans wait for their first frame."""

import unittest

import support
import numpy as np
from ptychoserve.bridges import Bridge, panda
from ptychoserve.bridges.messages import (EncoderBlock, EncoderStart, EncoderStop, SeriesEnd,
                                          SeriesStart)
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

    def test_a_start_that_comes_twice_is_one(self):
        self.bridge.take_eiger([SeriesStart(4), SeriesStart(4)])
        self.assertEqual(self.samples(), {4: []})
        self.bridge.take_eiger([SeriesEnd(4), SeriesEnd(3), SeriesStart(4)])
        self.assertEqual([scan.series for scan in self.bridge._scans], [4, 4])

    def test_without_an_encoder_the_detector_ends_a_scan(self):
        self.bridge = Bridge(None, config_pb2.SessionConfig(), report=self.reports.append)
        self.bridge.take_eiger([SeriesStart(4), SeriesEnd(4)])
        self.assertEqual(self.finish(), [4])


if __name__ == "__main__":
    support.main()
