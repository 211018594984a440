"""Values of the API's enumerations by short names: "completed" for SESSION_STATE_COMPLETED."""

from __future__ import annotations

from typing import Any

from google.protobuf.descriptor import EnumDescriptor

_ZERO = "UNSPECIFIED"  # Each enumeration's value 0, behind the prefix of all of its names.


def names_of(descriptor: EnumDescriptor) -> dict[str, int]:
    """All values but 0 by name."""
    prefix = len(descriptor.values_by_number[0].name) - len(_ZERO)
    return {v.name[prefix:].lower(): v.number for v in descriptor.values if v.number != 0}


def short_names(enum: Any) -> dict[str, int]:
    """All values but 0 of a generated enumeration by name."""
    return names_of(enum.DESCRIPTOR)


def short_name(enum: Any, value: int) -> str:
    """The name of a value; "unspecified" for one that this package does not know."""
    names = {number: name for name, number in short_names(enum).items()}
    return names.get(value, _ZERO.lower())
