#!/usr/bin/env python3
"""Measures a sample, then another one with the probe that the first has found.

    warm_start.py [HOST:PORT] [FIRST.cxi]

The probe hardly changes from scan to scan: a run that begins with it needs few iterations.
"""
import sys

import ptychoserve
from fake_detector import FakeDetector


def measure(client, detector, **settings):
    with client.create_session(**detector.settings, **settings) as session:
        frames, positions = session.frame_writer(), session.position_writer()
        for k, frame, x_m, y_m in detector:
            frames.push(k, frame)
            positions.push(k, x_m=x_m, y_m=y_m)
    result = session.result()
    print(f"{session.info.iterations_after_end} iterations after the end of data, "
          f"R {session.info.final_fit.r_factor:.4f}")
    session.delete()
    return result


def main(address="127.0.0.1:50051", path="first.cxi"):
    with ptychoserve.Client(address) as client:
        measure(client, FakeDetector(seed=1), run={"it_ends_after": 60}).save(path)
        first = ptychoserve.Result.load(path)
        measure(client, FakeDetector(seed=2), run={"it_ends_after": 10},
                probe={"initial": first.probe})


if __name__ == "__main__":
    main(*sys.argv[1:])
