"""Mapping files: where in a file or a Tiled node things are, and in which units.

    frames: /entry/data/data
    x: {path: /entry/instrument/NDAttributes/SampleX, unit: um}
    y: {path: /entry/instrument/NDAttributes/SampleY, unit: um}
    photon_energy: {value: 8.8, unit: keV}
    distance: {value: 2.05, unit: m}
    pixel_size: {value: 75, unit: um}

JSON or YAML. `KEYS` are all that there are; any other is an error.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Optional

from ptychoserve._names import did_you_mean
from ptychoserve.errors import invalid, unknown_name

_ARRAYS = ("frames", "frame_ids", "position_ids", "bad_pixels", "good_pixels", "probe")
_LENGTHS = ("wavelength", "distance", "pixel_size", "pixel_size_y", "pixel_size_x")
_AXES = ("x", "y")
_WORDS = ("orientation", "beam")
KEYS = (*_ARRAYS[:1], *_AXES, *_ARRAYS[1:], *_LENGTHS, "photon_energy", *_WORDS)
_REQUIRED = ("frames", *_AXES)


@dataclass(frozen=True)
class Place:
    """Where an array or a number is.

    Attributes:
        path: of a dataset or a node,
        metadata: or, in Tiled, names that lead to it in the metadata, with dots between,
        value: or the number itself.
        unit: of it; empty: that of the dataset's attribute `units`.
        column: of an array [positions, columns]; None: the array has one dimension.
    """

    path: str = ""
    metadata: str = ""
    value: Optional[float] = None
    unit: str = ""
    column: Optional[int] = None


@dataclass(frozen=True)
class ScanMapping:
    """A mapping file's places by key, and its words (orientation, beam)."""

    places: Mapping[str, Place]
    words: Mapping[str, str] = field(default_factory=dict)


def read_mapping(path: str) -> ScanMapping:
    """Raises: InvalidArgument: unreadable, an unknown key, or one that is missing; OSError."""
    broken: tuple[type[Exception], ...] = (ValueError,)  # Also of text that is no UTF-8.
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read()
        if text.lstrip().startswith("{"):
            content = json.loads(text)
        else:
            import yaml  # Of an extra: JSON needs none.
            broken += (yaml.YAMLError,)
            content = yaml.safe_load(text)
    except broken as error:
        raise invalid("mapping", repr(path), f"JSON or YAML: {error}") from None
    return parse_mapping(content, path)


def parse_mapping(content: Any, source: str) -> ScanMapping:
    """The mapping of a dict. Raises InvalidArgument."""
    if not isinstance(content, Mapping):
        raise invalid("mapping", repr(source), f"names and places: {', '.join(KEYS)}")
    for key in content:
        if key not in KEYS:
            raise unknown_name(f"{source}: {key}", KEYS, did_you_mean(str(key), KEYS))
    for key in _REQUIRED:
        if key not in content:
            raise invalid(f"{source}: {key}", "missing", f"the place of {key}")
    words = {}
    for key in _WORDS:
        if key in content:
            words[key] = str(content[key])
    places = {key: _place(value, key, f"{source}: {key}") for key, value in content.items()
              if key not in _WORDS}
    return ScanMapping(places, words)


def _place(value: Any, key: str, where: str) -> Place:
    if isinstance(value, str):
        return Place(path=value)
    allowed: tuple[str, ...] = ("path",)
    if key in _AXES:
        allowed = ("path", "unit", "column")
    elif key not in _ARRAYS:
        allowed = ("path", "metadata", "value", "unit")
    if not isinstance(value, Mapping):
        raise invalid(where, repr(value), f"a path, or {{{', '.join(allowed)}}}")
    for name in value:
        if name not in allowed:
            raise unknown_name(f"{where}.{name}", allowed, did_you_mean(str(name), allowed))
    places = [name for name in allowed if name in ("path", "metadata", "value")]
    if sum(name in value for name in places) != 1:
        raise invalid(where, dict(value), f"one of {', '.join(places)}")
    return Place(str(value.get("path", "")), str(value.get("metadata", "")),
                 None if "value" not in value else _number(value["value"], where),
                 str(value.get("unit", "")),
                 None if "column" not in value else int(_number(value["column"], where)))


def _number(value: Any, where: str) -> float:
    try:
        return float(value)  # YAML takes 1e-10 for a word.
    except (TypeError, ValueError):
        raise invalid(where, repr(value), "a number") from None
