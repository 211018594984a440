"""In what the settings of a session that exists differ from those that a bridge would give it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from google.protobuf.message import Message

from ptychoserve._enums import short_name
from ptychoserve.scans.units import H_C_EV_M
from ptychoserve.v1 import config_pb2

# What says how frames and samples lie. What is left out changes nothing of their meaning.
_GEOMETRY = {
    "optics": ("wavelength_m", "electron_energy_ev", "distance_m", "detector_pixel_size_y_m",
               "detector_pixel_size_x_m", "near_field"),
    "detector": ("frame_shape", "dtype", "orientation", "crop", "auto_centre", "beam"),
    "scan": ("y_sign", "x_sign", "swap_axes", "first_frame_id", "encoder")}


def differences(wanted: config_pb2.SessionConfig,
                has: config_pb2.SessionConfig) -> dict[str, tuple[str, str]]:
    """(wanted, has) in words, by field; of what is set in `wanted`. `has` is effective."""
    wanted, has = _with_wavelength(wanted), _with_wavelength(has)
    return {f"{part}.{name}": words for part, names in _GEOMETRY.items()
            for name, words in _differing(getattr(wanted, part), getattr(has, part))
            if name.partition(".")[0] in names}


def _with_wavelength(config: config_pb2.SessionConfig) -> config_pb2.SessionConfig:
    """In the place of a photon energy."""
    same = config_pb2.SessionConfig()
    same.CopyFrom(config)
    if config.optics.photon_energy_ev:
        same.optics.wavelength_m = H_C_EV_M / config.optics.photon_energy_ev
    return same


def _differing(wanted: Message, has: Message) -> Iterator[tuple[str, tuple[str, str]]]:
    for field, value in wanted.ListFields():
        theirs = getattr(has, field.name)
        if isinstance(value, Message) and field.name != "frame_shape":
            for name, words in _differing(value, theirs):
                yield f"{field.name}.{name}", words
        elif not _equal(value, theirs):
            yield field.name, (_words(field, value), _words(field, theirs))


def _equal(a: Any, b: Any) -> bool:
    return math.isclose(a, b, rel_tol=1e-6) if isinstance(a, float) else bool(a == b)


def _words(field: Any, value: Any) -> str:
    if isinstance(value, config_pb2.Shape):
        return f"{value.rows} x {value.cols}"
    if field.enum_type is not None:
        return short_name(getattr(config_pb2, field.enum_type.name), value)
    return f"{value:.9g}" if isinstance(value, float) else str(value)
