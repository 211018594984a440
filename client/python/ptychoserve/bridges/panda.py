"""Positions of a PandA: JSON messages, each with some samples of each channel.

    {"msg_type": "start", ...}
    {"msg_type": "data", "frame_number": 3, "datasets": {
        "/INENC2.VAL.Value": {"data": [...], "size": 41, "starting_sample_number": 123}, ...}}
    {"msg_type": "stop", ...}

`frame_number` counts messages. The samples are placed by `starting_sample_number`, which counts
from the start of the run: a message that is lost takes its own samples with it and moves no other.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Sequence, Union

import numpy as np

from ptychoserve.bridges.eiger_json import parse
from ptychoserve.bridges.messages import (BadMessage, EncoderBlock, EncoderStart, EncoderStop,
                                          number, text)

MAX_SAMPLES = 1 << 20


class Channels(NamedTuple):
    """The datasets that hold the counts of x and y."""

    x: str = "/INENC2.VAL.Value"
    y: str = "/INENC3.VAL.Value"


def decode(parts: Sequence[bytes],
           channels: Channels) -> Union[EncoderStart, EncoderBlock, EncoderStop]:
    """One message. Raises BadMessage for what is none."""
    if len(parts) != 1:
        raise BadMessage("oversized", f"{len(parts)} parts")
    message = parse(parts[0])
    kind = text(message, "msg_type")
    if kind == "start":
        return EncoderStart()
    if kind == "stop":
        return EncoderStop()
    if kind != "data":
        raise BadMessage("unknown_type", f"{kind:.40}")
    datasets = message.get("datasets")
    (first, x), (y_first, y) = (_samples(datasets, name) for name in channels)
    if first != y_first or len(x) != len(y):
        raise BadMessage("wrong_value", f"x has samples {first}, {len(x)} of them; y has "
                                        f"{y_first}, {len(y)} of them")
    return EncoderBlock(first, x, y)


def _samples(datasets: Any, channel: str) -> tuple[int, np.ndarray]:
    if not isinstance(datasets, dict):
        raise BadMessage("wrong_type", "datasets is no object")
    if channel not in datasets:
        raise BadMessage("missing_field", f"{channel}; there are {', '.join(datasets):.200}. "
                         "--x-channel and --y-channel say which are read")
    dataset = datasets[channel]
    first = number(dataset, "starting_sample_number")
    data = dataset.get("data")
    if not isinstance(data, list) or not set(map(type, data)) <= {int, float}:
        raise BadMessage("wrong_type", f"{channel}: data is no list of numbers")
    if len(data) > MAX_SAMPLES:
        raise BadMessage("oversized", f"{len(data)} samples")
    try:
        return first, np.array(data, np.float64)
    except OverflowError:
        raise BadMessage("wrong_value", f"{channel}: a count that is too large") from None
