#!/usr/bin/env python3
"""Draws the object of a session each time that there is a new snapshot, until the final one.

    live_plot.py HOST:PORT SESSION [PICTURE.png]

In a notebook the loop is the same, with `display(figure, display_id=...)` in place of `pause`.
"""
import sys

import ptychoserve
from matplotlib import pyplot


def main(address, session_id, picture=None):
    figure, axes = pyplot.subplots(1, 2, figsize=(10, 4.5), constrained_layout=True)
    with ptychoserve.Client(address) as client:
        session = client.session(session_id)
        for snapshot in session.watch_snapshots(["object"], min_interval_s=0.5, uncovered="nan"):
            snapshot.plot(axes)
            figure.suptitle(f"{session.id}: R {snapshot.metrics.r_factor:.4f}")
            if picture is None:
                pyplot.pause(0.01)
            else:
                figure.savefig(picture)
            print(f"iteration {snapshot.iteration}, {snapshot.skipped} skipped"
                  f"{', final' if snapshot.final else ''}")


if __name__ == "__main__":
    main(*sys.argv[1:])
