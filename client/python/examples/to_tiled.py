#!/usr/bin/env python3
"""Writes a session's pictures to Tiled while it runs, and its result at the end.

    to_tiled.py HOST:PORT SESSION http://TILED:8000/path/of/a/container [RUN_UID]

The key of Tiled's API is taken from TILED_API_KEY. Below the container it makes

    RUN_UID                    metadata of the run; `complete` becomes true at the end
      live/probe, live/object  [2, rows, cols] float32: amplitude, phase (rad); `iteration`
      final/probe, final/object, final/timestamps, final/num_points
      positions_um             [points, 2]: x, y; NaN where a point has none

RUN_UID is the name of the session unless it is given. A picture with values that are not finite is
left out, so that the last good one stays. Amplitudes are the square roots of photons.
"""
import json
import os
import sys
import urllib.error
import urllib.request
from urllib.parse import quote, urlsplit

import numpy as np
import ptychoserve


class Tiled:
    """Containers and arrays of a Tiled server, by its HTTP API; paths are below `url`."""

    def __init__(self, url, api_key):
        parts = urlsplit(url)
        self._api = f"{parts.scheme}://{parts.netloc}/api/v1"
        self._root = parts.path.strip("/")
        self._key = api_key
        self._shapes = {}

    def container(self, path, metadata):
        if self._exists(path):  # Of an earlier run of this program.
            self.update(path, metadata)
        else:
            self._create(path, "container", metadata, [])

    def array(self, path, array, metadata):
        """Writes an array, and makes or replaces its node where there is none of this shape."""
        array = np.ascontiguousarray(array)
        if self._shapes.get(path) == array.shape:
            self.update(path, metadata)
        else:
            if self._exists(path):
                self._call("DELETE", f"metadata/{self._at(path)}?external_only=false")
            structure = {
                "data_type": {"endianness": "little", "kind": array.dtype.kind,
                              "itemsize": array.dtype.itemsize},
                "shape": array.shape, "chunks": [[length] for length in array.shape],
                "dims": None, "resizable": False}
            self._create(path, "array", metadata,
                         [{"structure_family": "array", "structure": structure}])
            self._shapes[path] = array.shape
        self._call("PUT", f"array/full/{self._at(path)}", array.tobytes(),
                   "application/octet-stream")

    def update(self, path, metadata):
        self._call("PUT", f"metadata/{self._at(path)}", {"metadata": metadata})

    def _create(self, path, family, metadata, data_sources):
        parent, _, key = path.rpartition("/")
        self._call("POST", f"metadata/{self._at(parent)}", {
            "id": key, "structure_family": family, "metadata": metadata, "specs": [],
            "data_sources": data_sources})

    def _exists(self, path):
        try:
            self._call("GET", f"metadata/{self._at(path)}")
        except urllib.error.HTTPError as error:
            if error.code != 404:
                raise
            return False
        return True

    def _at(self, path):
        return quote("/".join(part for part in (self._root, path) if part))

    def _call(self, method, path, body=None, content_type="application/json"):
        data = json.dumps(body).encode() if isinstance(body, dict) else body
        request = urllib.request.Request(f"{self._api}/{path}", data, method=method, headers={
            "Authorization": f"Apikey {self._key}", "Accept": "application/json",
            "Content-Type": content_type})
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.read()


def picture(wave):
    """[2, rows, cols] float32 of a complex [rows, cols]: amplitude, phase (rad)."""
    return np.stack([np.abs(wave), np.angle(wave)]).astype("<f4")


def write_pictures(tiled, folder, snapshot):
    """Whether they were written: not those with a value that is not finite."""
    waves = {"probe": snapshot.probe[0], "object": snapshot.object}
    if not all(np.isfinite(wave).all() for wave in waves.values()):
        return False
    for name, wave in waves.items():
        tiled.array(f"{folder}/{name}", picture(wave), {"iteration": snapshot.iteration})
    return True


def positions_um(result):
    """[points, 2]: x, y of the beam's centre, by frame id."""
    config, points = result.config, result.snapshot.points
    pitch_y, pitch_x = result.snapshot.pixel_size_m
    origin_y, origin_x = result.snapshot.origin_m
    ids = points[:, 0].astype(int) - config.scan.first_frame_id
    found = np.full((max(config.scan.expected_points, *(ids + 1)), 2), np.nan)
    rows, cols = result.probe.shape[-2:]
    found[ids, 0] = 1e6 * (origin_x + (points[:, 2] + cols // 2) * pitch_x)
    found[ids, 1] = 1e6 * (origin_y + (points[:, 1] + rows // 2) * pitch_y)
    return found.astype("<f8")


def main(address, session_id, url, run_uid=""):
    api_key = os.environ.get("TILED_API_KEY")
    if not api_key:
        sys.exit("to_tiled.py: set TILED_API_KEY to a key that may write (tiled api_key create)")
    tiled = Tiled(url, api_key)
    with ptychoserve.Client(address) as client:
        session = client.session(session_id)
        run = run_uid or session.id
        about = {
            "run_uid": run, "session": session.name, "recon_mode": "iterative",
            "started_at": session.info.create_time.ToJsonString(),
            "x_pixel_m": session.info.pixel_size_x_m, "y_pixel_m": session.info.pixel_size_y_m,
            "wavelength_m": session.config.optics.wavelength_m,
            "distance_m": session.config.optics.distance_m, "complete": False}
        tiled.container(run, about)
        for folder in ("live", "final"):
            tiled.container(f"{run}/{folder}", {})
        for snapshot in session.watch_snapshots(["object", "probe"], min_interval_s=1.0):
            written = write_pictures(tiled, f"{run}/live", snapshot)
            print(f"iteration {snapshot.iteration}{'' if written else ': not finite, left out'}")
        result = session.result()
        if not write_pictures(tiled, f"{run}/final", result.snapshot):
            sys.exit("to_tiled.py: the result is not finite; nothing of it was written")
        history = {name: np.ascontiguousarray(column, "<f8") for name, column in zip(
            ptychoserve.HISTORY_COLUMNS, result.snapshot.history.T)}
        tiled.array(f"{run}/final/timestamps",
                    session.info.create_time.ToNanoseconds() / 1e9 + history["elapsed_s"], {})
        tiled.array(f"{run}/final/num_points", history["active_points"].astype("<i8"), {})
        tiled.array(f"{run}/positions_um", positions_um(result), {})
        tiled.update(run, {**about, "complete": True, "state": session.state,
                           "r_factor": session.info.final_fit.r_factor})
        print(f"{session.state}: {url.rstrip('/')}/{run}")


if __name__ == "__main__":
    if len(sys.argv) not in (4, 5):
        sys.exit(__doc__)
    try:
        main(*sys.argv[1:])
    except urllib.error.HTTPError as error:
        sys.exit(f"to_tiled.py: {error.url}: {error.code} {error.reason}: {error.read()[:300]!r}")
    except (urllib.error.URLError, ptychoserve.PtychoserveError) as error:
        sys.exit(f"to_tiled.py: {error}")
