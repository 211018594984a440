#!/usr/bin/env python3
"""Reconstructs a scan that lies in a CXI file, and saves the result beside it.

    reconstruct_file.py HOST:PORT SCAN.cxi RESULT.cxi

Frames are read and sent a few at a time: the file may be larger than the memory. docs/cxi.md tells
what there may be in such files besides; `ptychoctl run` takes all of it into account.
"""
import sys

import h5py
import ptychoserve

FRAMES_AT_ONCE = 64


def settings_of(entry, y_m, x_m):
    detector, source = entry["instrument_1/detector_1"], entry["instrument_1/source_1"]
    count, *frame_shape = detector["data"].shape
    return {
        "optics": {"wavelength_m": source["wavelength"][()],
                   "distance_m": detector["distance"][()],
                   "detector_pixel_size_y_m": detector["y_pixel_size"][()],
                   "detector_pixel_size_x_m": detector["x_pixel_size"][()]},
        "detector": {"frame_shape": frame_shape, "dtype": detector["data"].dtype},
        "scan": {"expected_points": count, "bounds": ptychoserve.bounds(y_m=y_m, x_m=x_m)},
        "probe": {"initial": entry["instrument_1/initial_probe"][()]}
        if "instrument_1/initial_probe" in entry else {},
    }


def main(address, scan, path):
    with ptychoserve.Client(address) as client, h5py.File(scan) as file:
        entry = file["entry_1"]
        x_m, y_m = entry["sample_1/geometry_1/translation"][:, :2].T
        data = entry["instrument_1/detector_1/data"]
        with client.create_session(**settings_of(entry, y_m, x_m)) as session:
            session.position_writer().push(0, x_m=x_m, y_m=y_m)
            frames = session.frame_writer()
            for k in range(0, len(data), FRAMES_AT_ONCE):
                frames.push(k, data[k:k + FRAMES_AT_ONCE])
        for event in session.watch(min_interval_s=1.0):
            print(f"{event.state:>15}  iteration {event.session.iteration:4d}  "
                  f"R {event.session.metrics.r_factor:.4f}")
        session.result().save(path)
        session.delete()


if __name__ == "__main__":
    main(*sys.argv[1:])
