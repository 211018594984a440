#!/usr/bin/env python3
"""Streams a scan while it is measured, and saves the result.

    push_loop.py [HOST:PORT] [RESULT.npz]
"""
import sys

import ptychoserve
from fake_detector import FakeDetector

address, path = (sys.argv[1:] + ["127.0.0.1:50051", "result.npz"][len(sys.argv) - 1:])[:2]
detector = FakeDetector()
with ptychoserve.Client(address) as client:
    with client.create_session(**detector.settings) as session:
        frames, positions = session.frame_writer(), session.position_writer()
        for k, frame, x_m, y_m in detector:
            frames.push(k, frame)
            positions.push(k, x_m=x_m, y_m=y_m)
    counters = frames.report.counters
    print(f"{counters.accepted} of {counters.received} frames accepted, {counters.rejected}")
    result = session.result()
    result.save(path)
    print(f"object {result.object.shape}, R {session.info.final_fit.r_factor:.4f}")
