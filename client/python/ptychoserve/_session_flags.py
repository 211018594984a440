"""Settings of a session from a command line: a file, flags for the optics, any setting by name."""

from __future__ import annotations

import argparse
import json
import os
import re
import zlib
from typing import Any

from google.protobuf import json_format, text_format

from ptychoserve.config import session_config
from ptychoserve.errors import invalid
from ptychoserve.v1 import config_pb2

_LONGEST_ID = 56  # Of 63.


def program_name(default: str) -> str:
    """What a command is called in its help and messages: who runs it as part of another one says so
    in PTYCHOSERVE_PROGRAM."""
    return os.environ.get("PTYCHOSERVE_PROGRAM") or default


def add_session_flags(parser: argparse.ArgumentParser) -> None:
    """The flags that `config_of` reads."""
    group = parser.add_argument_group(
        "settings of the session, in the place of what the scan says")
    group.add_argument("--config", metavar="FILE",
                       help="SessionConfig, JSON or protobuf text, as of ptychoctl")
    group.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE",
                       help="one setting of it, such as run.it_ends_after=30 or "
                       "detector.orientation=flip_ud; repeatable, overrides --config")
    group.add_argument("--wavelength-m", type=positive, metavar="M", help="metres")
    group.add_argument("--photon-energy-ev", type=positive, metavar="EV", help="electronvolts")
    group.add_argument("--distance-m", type=positive, metavar="M",
                       help="sample to detector, metres")
    group.add_argument("--pixel-size-m", type=positive, metavar="M",
                       help="of the detector, both axes, metres")


def config_of(options: argparse.Namespace) -> config_pb2.SessionConfig:
    """What a user has said of a session. Raises InvalidArgument; OSError: no such file."""
    config = read_config(options.config) if options.config else config_pb2.SessionConfig()
    optics = config.optics
    if options.wavelength_m is not None and options.photon_energy_ev is not None:
        raise invalid("--wavelength-m, --photon-energy-ev", "both given", "one of them")
    if options.wavelength_m is not None:
        optics.wavelength_m = options.wavelength_m
    if options.photon_energy_ev is not None:
        optics.photon_energy_ev = options.photon_energy_ev
    if options.distance_m is not None:
        optics.distance_m = options.distance_m
    if options.pixel_size_m is not None:
        optics.detector_pixel_size_y_m = optics.detector_pixel_size_x_m = options.pixel_size_m
    for setting in options.set:
        config = session_config(config, **_nested(setting))
    return config


def read_config(path: str) -> config_pb2.SessionConfig:
    """Raises: InvalidArgument: it is no SessionConfig; OSError."""
    try:
        with open(path, encoding="utf-8") as file:
            content = file.read()
        if content.lstrip().startswith("{"):
            return json_format.Parse(content, config_pb2.SessionConfig())
        return text_format.Parse(content, config_pb2.SessionConfig())
    except (json_format.ParseError, text_format.ParseError, UnicodeDecodeError) as error:
        raise invalid("--config", path, f"a SessionConfig in JSON or protobuf text: {error}") \
            from None


def session_id_of(text: str) -> str:
    """A session id of a name of a file: [a-z0-9-], no two hyphens beside each other, and short
    enough for something behind it. Long names that differ have ids that differ."""
    id_ = re.sub("[^a-z0-9]+", "-", text.lower()).strip("-") or "scan"
    if len(id_) <= _LONGEST_ID:
        return id_
    return f"{id_[:_LONGEST_ID - 9].strip('-')}-{zlib.crc32(text.encode()):08x}"


def _nested(setting: str) -> dict[str, Any]:
    """{"run": {"it_ends_after": 30}} of "run.it_ends_after=30"."""
    names, equals, text = setting.partition("=")
    if not equals or not names:
        raise invalid("--set", repr(setting), "FIELD=VALUE")
    try:
        value = json.loads(text)
    except ValueError:
        value = text
    for name in reversed(names.split(".")):
        value = {name: value}
    return value


def positive(text: str) -> float:
    """A quantity, for argparse."""
    number = float(text)
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return number


def count(text: str) -> int:
    """A number of things, for argparse."""
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError(f"{text} is below 0")
    return number


def at_least_one(text: str) -> int:
    """Likewise."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is below 1")
    return number


def rate(text: str) -> float:
    """A number a second or of seconds; 0 has a meaning of its own."""
    number = float(text)
    if not 0 <= number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not 0 or above")
    return number
