"""What documents say, checked: fields, units, rows of pages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Iterator

import numpy as np

from ptychoserve._names import did_you_mean
from ptychoserve.errors import invalid

Document = Mapping[str, Any]

METRES = {"m": 1.0, "meter": 1.0, "metre": 1.0, "meters": 1.0, "metres": 1.0,
          "cm": 1e-2, "mm": 1e-3, "millimeter": 1e-3, "millimeters": 1e-3,
          "um": 1e-6, "\u00b5m": 1e-6, "\u03bcm": 1e-6, "micron": 1e-6, "microns": 1e-6,
          "micrometer": 1e-6, "micrometers": 1e-6,
          "nm": 1e-9, "nanometer": 1e-9, "nanometers": 1e-9, "pm": 1e-12}
_KINDS = {str: "text", int: "a whole number", Mapping: "a mapping"}


def field(name: str, document: Any, key: str, kind: type) -> Any:
    """A field that a document of this name must have. Raises InvalidArgument."""
    if not isinstance(document, Mapping):
        raise invalid(name, f"a {type(document).__name__}", "a document, which is a mapping")
    if key not in document:
        raise invalid(f"{name}.{key}", "missing", _KINDS[kind])
    value = document[key]
    if not isinstance(value, (int, np.integer) if kind is int else kind) or (
            isinstance(value, bool)):
        raise invalid(f"{name}.{key}", repr(value)[:80], _KINDS[kind])
    return value


def rows(name: str, document: Document) -> Iterator[tuple[int, dict[str, Any]]]:
    """(seq_num, data) of an event or of each one in an event_page."""
    data = field(name, document, "data", Mapping)
    if name == "event":
        yield int(field(name, document, "seq_num", int)), dict(data)
        return
    numbers = document.get("seq_num")
    if not isinstance(numbers, (list, tuple, np.ndarray)):
        raise invalid(f"{name}.seq_num", repr(numbers)[:80], "a list of whole numbers")
    for key, column in data.items():
        if len(column) != len(numbers):
            raise invalid(f"{name}.data.{key}", f"{len(column)} values",
                          f"{len(numbers)}, one for each seq_num")
    for k, number in enumerate(numbers):
        yield int(number), {key: column[k] for key, column in data.items()}


def span(document: Document, key: str) -> tuple[int, int]:
    """(start, stop) of a stream_datum's `indices` or `seq_nums`, stop excluded."""
    value = field("stream_datum", document, key, Mapping)
    start, stop = (int(field(f"stream_datum.{key}", value, end, int)) for end in ("start", "stop"))
    if not 0 <= start <= stop:
        raise invalid(f"stream_datum.{key}", f"{start}..{stop}", "0 <= start <= stop")
    return start, stop


def metres_per_unit(key: str, data_key: Mapping[str, Any], declared: str) -> float:
    """What a motor's readback is multiplied with.

    Args:
        key: name of the data key, for errors.
        data_key: its entry in the descriptor.
        declared: the unit that the user has named, used where the descriptor has none.

    Raises:
        InvalidArgument: no unit, one that is no length, or two that contradict each other.
    """
    said = str(data_key.get("units") or "").strip()
    where = f"descriptor.data_keys.{key}.units"
    if not said and not declared:
        raise invalid(where, "missing", ", ".join(METRES),
                      hint='give the unit to the consumer: units="mm"')
    for source, unit in ((where, said), ("units", declared)):
        if unit and _scale(unit) is None:
            raise invalid(source, repr(unit), ", ".join(METRES),
                          hint="set it where the device is described, such as the EGU of the motor")
    if said and declared and _scale(said) != _scale(declared):
        raise invalid(where, repr(said), f"{declared!r}, the unit that the consumer was given",
                      hint="leave one of them out")
    scale = _scale(said or declared)
    assert scale is not None  # Checked above.
    return scale


def _scale(unit: str) -> Any:
    """As it is written first: mm and Mm are not the same, but MM and Microns are only one thing."""
    return METRES.get(unit, METRES.get(unit.lower()) if unit not in ("M", "Mm", "Pm") else None)


def data_key(descriptor: Document, key: str, role: str, others: tuple[str, ...] = ()
             ) -> Mapping[str, Any]:
    """The entry of a data key that there must be. `others`: keys that are not meant."""
    keys = field("descriptor", descriptor, "data_keys", Mapping)
    if key not in keys:
        raise invalid(f"descriptor.data_keys.{key}", "missing", ", ".join(keys) or "no data keys",
                      hint=did_you_mean(key, (name for name in keys if name not in others))
                      or f"name the data key of {role} with {role}=")
    return field("descriptor.data_keys", keys, key, Mapping)


def at(document: Document, path: str) -> Any:
    """The value at a dotted path of a start document. Raises InvalidArgument."""
    value: Any = document
    for part in path.split("."):
        if not isinstance(value, Mapping) or part not in value:
            raise invalid(f"start.{path}", "missing", "a value",
                          hint=f"add it to the metadata of the plan or of the RunEngine: "
                               f"RE(plan(), {path.split('.')[0]}=...)")
        value = value[part]
    return value
