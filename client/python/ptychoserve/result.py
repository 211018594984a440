"""Results: a last snapshot with its session, and the CXI files they are kept in."""

from __future__ import annotations

import json
import math
import os
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, Union

import numpy as np
from google.protobuf import json_format

from ptychoserve._files import replaced_path
from ptychoserve._plain import plain
from ptychoserve._version import VERSION
from ptychoserve.errors import invalid
from ptychoserve.snapshot import HISTORY_COLUMNS, POINT_COLUMNS, Snapshot
from ptychoserve.v1 import config_pb2, session_pb2, snapshot_pb2

_CXI_VERSION = 160
# Photon energy in joules is this over the wavelength in metres.
_PLANCK_TIMES_LIGHT_SPEED = 6.62607015e-34 * 299792458.0
_IMAGES = "entry_1/image_"
_IMAGE = f"{_IMAGES}1"
_PROCESS = "entry_1/image_1/process_1"
_SOURCE = "entry_1/instrument_1/source_1"
_GEOMETRY = "entry_1/sample_1/geometry_1"


@dataclass
class Result:
    """What a session has come to.

    Attributes:
        snapshot: with all arrays, of the whole canvas.
        session: `v1.Session`, with its configuration and figures of quality.
    """

    snapshot: Snapshot
    session: session_pb2.Session

    @property
    def object(self) -> np.ndarray:
        """complex64 [rows, cols], the canvas."""
        assert self.snapshot.object is not None  # All arrays were asked for.
        return self.snapshot.object

    @property
    def probe(self) -> np.ndarray:
        """complex64 [modes, frame rows, frame cols]; `probe={"initial": result.probe}` is a warm
        start."""
        assert self.snapshot.probe is not None  # Likewise.
        return self.snapshot.probe

    @property
    def config(self) -> config_pb2.SessionConfig:
        """The configuration that has led here."""
        return self.session.config

    def save(self, path: Union[str, os.PathLike]) -> None:
        """Writes a CXI file (.cxi, .h5; needs h5py), as `ptychoctl snapshot --out` does, or an
        archive of arrays (.npz), as `Snapshot.save` does.

        The file is written beside its place and renamed, so that there is never half of one.
        """
        name = os.fspath(path)
        if name.endswith(".npz"):
            self.snapshot.save(name)
            return
        if not name.endswith((".cxi", ".h5")):
            raise invalid("path", repr(name), "a name that ends in .cxi, .h5 or .npz")
        import h5py  # Of an extra: only who writes files needs it.
        with replaced_path(name) as beside, h5py.File(beside, "w") as file:
            self._write(file)

    @classmethod
    def load(cls, path: Union[str, os.PathLike]) -> "Result":
        """Reads a result that this package or `ptychoctl` has written as CXI; needs h5py.

        The figures of the session but its configuration stay in the file, as JSON under
        `process_1/session`.

        Raises:
            InvalidArgument: the file has no reconstruction, or lacks something of it.
        """
        import h5py
        with h5py.File(path, "r") as file:
            try:
                return cls._read(file)
            except KeyError as error:
                raise invalid("path", repr(os.fspath(path)),
                              f"a result of ptychoserve in CXI: {error}") from error

    def _write(self, file: Any) -> None:
        snapshot, header = self.snapshot, self.snapshot.header

        def put(name: str, data: Any, units: str = "") -> Any:
            dataset = file.create_dataset(name, data=data)
            if units:
                dataset.attrs["units"] = units
            return dataset

        def link(name: str, target: str) -> None:
            file[name] = _soft_link("/" + target)

        put("cxi_version", np.int32(_CXI_VERSION))
        modes = snapshot.object_modes
        further = () if modes is None else modes[1:]  # The first one is the object.
        for number, mode in enumerate([snapshot.object, *further], 1):
            image = f"{_IMAGES}{number}"
            put(f"{image}/data", mode)
            put(f"{image}/data_space", "real")
            put(f"{image}/x_pixel_size", header.pixel_size_x_m, "m")
            put(f"{image}/y_pixel_size", header.pixel_size_y_m, "m")
            put(f"{image}/origin", [header.origin_x_m, header.origin_y_m], "m")
        link("entry_1/data_1/data", f"{_IMAGE}/data")
        if header.metrics.object_mode_powers:
            put(f"{_IMAGE}/object_mode_powers", list(header.metrics.object_mode_powers))
        if snapshot.coverage is not None:
            put(f"{_IMAGE}/coverage", snapshot.coverage, "photons")
        put(f"{_SOURCE}/illumination", snapshot.probe, "sqrt(photons)")
        if header.metrics.mode_powers:
            put(f"{_IMAGE}/mode_powers", list(header.metrics.mode_powers))
        wavelength_m = self.session.config.optics.wavelength_m
        put(f"{_SOURCE}/wavelength", wavelength_m, "m")
        if wavelength_m > 0:
            put(f"{_SOURCE}/energy", _PLANCK_TIMES_LIGHT_SPEED / wavelength_m, "J")
        self._write_points(put, link)
        self._write_process(put)

    def _write_points(self, put: Any, link: Any) -> None:
        points, metrics = self.snapshot.points, self.snapshot.metrics
        assert points is not None and self.snapshot.probe is not None
        corners = points[:, 1:3]
        # Where the beam's centre, pixel [rows / 2, cols / 2] of the window, was on the sample.
        middle = np.array(self.snapshot.probe.shape[1:]) // 2
        y_x_m = self.snapshot.origin_m + (corners + middle) * self.snapshot.pixel_size_m
        put(f"{_IMAGE}/window_corner", corners, "pixels")
        put(f"{_GEOMETRY}/translation",
            np.column_stack((y_x_m[:, 1], y_x_m[:, 0], np.zeros(len(points)))), "m")
        link("entry_1/data_1/translation", f"{_GEOMETRY}/translation")
        if metrics.HasField("evaluation"):
            put(f"{_IMAGE}/frame_r_factor", points[:, 6])
            put(f"{_IMAGE}/frame_poisson_nll", points[:, 7])
        put(f"{_GEOMETRY}/frame_id", points[:, 0].astype(np.int64))
        if not metrics.HasField("refinement"):
            return
        put(f"{_IMAGE}/refined_shift", points[:, 3:5], "pixels")
        put(f"{_IMAGE}/refined_intensity", points[:, 5])
        components = self.snapshot.probe_components
        if components is not None and components.size:
            put(f"{_IMAGE}/refined_variation", points[:, len(POINT_COLUMNS):])
            put(f"{_IMAGE}/refined_probe_components",
                components.reshape((-1, *components.shape[2:])), "sqrt(photons)")
        background = self.snapshot.background
        if background is not None and background.size:
            if not self.session.config.optics.HasField("near_field"):  # As the detector has it.
                background = np.fft.fftshift(background)
            put(f"{_IMAGE}/refined_background", background, "counts")

    def _write_process(self, put: Any) -> None:
        put(f"{_PROCESS}/program", "ptychoserve")
        put(f"{_PROCESS}/version", VERSION)
        put(f"{_PROCESS}/date", datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"))
        without_config = session_pb2.Session()
        without_config.CopyFrom(self.session)
        without_config.ClearField("config")
        put(f"{_PROCESS}/configuration", json_format.MessageToJson(
            self.session.config, preserving_proto_field_name=True, indent=None))
        put(f"{_PROCESS}/session", json.dumps(plain(without_config)))
        if self.snapshot.history is not None:
            metrics = put(f"{_PROCESS}/metrics", self.snapshot.history)
            metrics.attrs["columns"] = list(HISTORY_COLUMNS)
        rings = self.session.split_halves.ring_correlation
        if rings.correlation:
            table = put(f"{_PROCESS}/ring_correlation", _ring_table(rings))
            table.attrs["columns"] = ["frequency_of_nyquist", "correlation", "half_bit_threshold",
                                      "one_bit_threshold"]
            put(f"{_PROCESS}/half_bit_resolution", rings.half_bit_resolution_m, "m")

    @classmethod
    def _read(cls, file: Any) -> "Result":
        origin = file[f"{_IMAGE}/origin"][()]
        header = snapshot_pb2.SnapshotHeader(
            pixel_size_x_m=file[f"{_IMAGE}/x_pixel_size"][()],
            pixel_size_y_m=file[f"{_IMAGE}/y_pixel_size"][()],
            origin_x_m=origin[0], origin_y_m=origin[1], final=True)
        header.metrics.mode_powers.extend(_array(file, f"{_IMAGE}/mode_powers", np.empty(0)))
        header.metrics.object_mode_powers.extend(
            _array(file, f"{_IMAGE}/object_mode_powers", np.empty(0)))
        modes = [file[f"{_IMAGE}/data"][()]]
        while f"{_IMAGES}{len(modes) + 1}/data" in file:
            modes.append(file[f"{_IMAGES}{len(modes) + 1}/data"][()])
        ids = file[f"{_GEOMETRY}/frame_id"][()]
        count = len(ids)
        nan = np.full(count, math.nan)
        points = np.column_stack((
            ids.astype(float), file[f"{_IMAGE}/window_corner"][()],
            _array(file, f"{_IMAGE}/refined_shift", np.zeros((count, 2))),
            _array(file, f"{_IMAGE}/refined_intensity", np.ones(count)),
            _array(file, f"{_IMAGE}/frame_r_factor", nan),
            _array(file, f"{_IMAGE}/frame_poisson_nll", nan),
            nan,  # In which order frames have arrived is not in the file.
            _array(file, f"{_IMAGE}/refined_variation", np.empty((count, 0)))))
        if f"{_IMAGE}/frame_r_factor" in file:
            header.metrics.evaluation.SetInParent()
        if f"{_IMAGE}/refined_shift" in file:
            header.metrics.refinement.SetInParent()
        session = session_pb2.Session()
        json_format.Parse(file[f"{_PROCESS}/configuration"].asstr()[()], session.config,
                          ignore_unknown_fields=True)
        probe = file[f"{_SOURCE}/illumination"][()]
        components = _array(file, f"{_IMAGE}/refined_probe_components", None)
        background = _array(file, f"{_IMAGE}/refined_background", None)
        if background is not None and not session.config.optics.HasField("near_field"):
            background = np.fft.ifftshift(background)
        history = _array(file, f"{_PROCESS}/metrics", None)
        if history is not None and len(history):
            header.iteration = int(history[-1, 0])
        snapshot = Snapshot(
            header, object=modes[0], probe=probe, points=points, history=history,
            coverage=_array(file, f"{_IMAGE}/coverage", None), background=background,
            probe_components=None if components is None
            else components.reshape((-1, *probe.shape)),
            object_modes=np.stack(modes) if len(modes) > 1 else None)
        return cls(snapshot, session)


def _soft_link(target: str) -> Any:
    import h5py
    return h5py.SoftLink(target)


def _array(file: Any, name: str, default: Any) -> Any:
    return file[name][()] if name in file else default


def _ring_table(rings: session_pb2.RingCorrelation) -> np.ndarray:
    """[rings, 4]: frequency of Nyquist's, correlation, and the thresholds of half a bit and one."""
    side, count = rings.side_px, len(rings.correlation)
    frequency = np.fft.fftfreq(side, 1 / side)
    ring = np.rint(np.hypot(frequency[:, None], frequency)).astype(int)
    root = np.sqrt(np.bincount(ring.ravel())[:count])
    half_bit = (0.2071 + 1.9102 / root) / (1.2071 + 0.9102 / root)
    one_bit = (0.5 + 2.4142 / root) / (1.5 + 1.4142 / root)
    return np.column_stack((np.arange(count) / count, rings.correlation, half_bit, one_bit))
