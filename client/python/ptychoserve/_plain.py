"""Messages as plain values of Python, for JSON."""

from __future__ import annotations

import math
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp


def plain(message: Message) -> Any:
    """As `ptychoctl --json` has it: numbers as numbers, also those of 64 bits; null for NaN and
    infinity; all fields that are not messages, be they 0."""
    if isinstance(message, Timestamp):
        return message.ToJsonString()
    out: dict[str, Any] = {}
    for field in message.DESCRIPTOR.fields:
        value = getattr(message, field.name)
        if field.label == FieldDescriptor.LABEL_REPEATED:
            out[field.name] = [_value(field, element) for element in value]
        elif not field.has_presence or message.HasField(field.name):
            out[field.name] = _value(field, value)
    return out


def _value(field: FieldDescriptor, value: Any) -> Any:
    if field.message_type is not None:
        return plain(value)
    if field.enum_type is not None:
        known = field.enum_type.values_by_number.get(value)
        return known.name if known else ""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
