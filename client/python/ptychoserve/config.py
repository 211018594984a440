"""Configurations from plain Python: keyword arguments, dicts, tuples and arrays.

The names are those of `SessionConfig` in proto/ptychoserve/v1/config.proto, with the unit in each:

    session_config(
        optics={"photon_energy_ev": 9040.3, "distance_m": 2.05, "detector_pixel_size_y_m": 75e-6},
        detector={"frame_shape": (256, 256), "dtype": "u16"},
        scan={"expected_points": 2500, "bounds": bounds(y_m=y_m, x_m=x_m)},
        schedule=[{"difference_map": {}, "iterations": 20}, {"ml_gradient": {}, "iterations": 40}])

What stands for what:

    enumeration   its name without the prefix, "u16", "flip_lr"; for a data type, a NumPy type, too
    Shape         (rows, cols)
    ComplexArray  a complex array, [rows, cols] or [modes, rows, cols]
    bytes         an array of booleans or small numbers, of rows and columns
    list          any iterable
    a message     a dict, or that protobuf message
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Optional

import numpy as np
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from numpy.typing import ArrayLike

from ptychoserve._enums import names_of
from ptychoserve._names import did_you_mean
from ptychoserve.errors import InvalidArgument, invalid, unknown_name
from ptychoserve.v1 import config_pb2


def session_config(base: Optional[config_pb2.SessionConfig] = None,
                   **settings: Any) -> config_pb2.SessionConfig:
    """A configuration of `settings`, on top of a copy of `base`.

    Raises:
        InvalidArgument: a key that there is not, with the one that may have been meant as its hint,
            or a value of a type that cannot be one.
    """
    config = config_pb2.SessionConfig()
    if base is not None:
        config.CopyFrom(base)
    _merge(config, settings, "")
    return config


def update_paths(settings: Mapping[str, Any]) -> list[str]:
    """The update mask for `settings`: each value that is given, "config.run.max_iterations"."""
    paths: list[str] = []

    def collect(prefix: str, value: Any) -> None:
        if isinstance(value, Mapping):
            for key, inner in value.items():
                collect(f"{prefix}.{key}", inner)
        elif value is not None:
            paths.append(prefix)

    collect("config", settings)
    return paths


def bounds(*, y_m: ArrayLike, x_m: ArrayLike, margin_m: float = 0.0) -> dict[str, float]:
    """`scan.bounds` of all positions that there will be, `margin_m` wider on each side."""
    ys, xs = np.asarray(y_m, float), np.asarray(x_m, float)
    return {"y_min_m": float(ys.min()) - margin_m, "y_max_m": float(ys.max()) + margin_m,
            "x_min_m": float(xs.min()) - margin_m, "x_max_m": float(xs.max()) + margin_m}


def _merge(message: Message, settings: Mapping[str, Any], path: str) -> None:
    fields = message.DESCRIPTOR.fields_by_name
    chosen: dict[str, str] = {}  # Of alternatives; of two, the message would keep the last.
    for key, value in settings.items():
        where = f"{path}.{key}" if path else str(key)
        if key not in fields:
            raise _unknown(message.DESCRIPTOR, str(key), where)
        if value is not None:  # As if it were not given.
            oneof = fields[key].containing_oneof
            if oneof is not None and chosen.setdefault(oneof.name, key) != key:
                raise invalid(where, repr(value), f"only one of "
                              f"{', '.join(field.name for field in oneof.fields)}",
                              hint=f"leave out {key} or {chosen[oneof.name]}")
            _set(message, fields[key], value, where)


def _set(message: Message, field: FieldDescriptor, value: Any, where: str) -> None:
    if field.label == FieldDescriptor.LABEL_REPEATED:
        if isinstance(value, (str, bytes, Mapping)) or not isinstance(value, Iterable):
            raise invalid(where, repr(value), "a list")
        target = getattr(message, field.name)
        del target[:]
        for k, element in enumerate(value):
            if field.message_type is not None:
                _fill(target.add(), element, f"{where}[{k}]")
            else:
                target.append(_scalar(field, element, f"{where}[{k}]"))
    elif field.message_type is not None:
        target = getattr(message, field.name)
        target.SetInParent()
        _fill(target, value, where)
    else:
        scalar = _scalar(field, value, where)
        try:
            setattr(message, field.name, scalar)
        except (TypeError, ValueError) as error:
            raise invalid(where, repr(value), _type_name(field)) from error


def _fill(message: Message, value: Any, where: str) -> None:
    if isinstance(value, type(message)):
        message.CopyFrom(value)
    elif isinstance(value, Mapping):
        _merge(message, value, where)
    elif isinstance(message, config_pb2.Shape):
        if not isinstance(value, (tuple, list)) or len(value) != 2:
            raise invalid(where, repr(value), "(rows, cols)")
        _merge(message, {"rows": value[0], "cols": value[1]}, where)
    elif isinstance(message, config_pb2.ComplexArray):
        _complex_array(message, value, where)
    else:
        raise invalid(where, repr(value), f"a dict, or a {message.DESCRIPTOR.name}")


def _complex_array(message: config_pb2.ComplexArray, value: Any, where: str) -> None:
    array = np.asarray(value)
    if array.dtype.kind not in "fc" or array.ndim not in (2, 3):
        raise invalid(where, f"an array {array.shape} of {array.dtype}",
                      "complex, [rows, cols] or [modes, rows, cols]")
    array = array.reshape((-1, *array.shape[-2:]))
    message.modes = array.shape[0]
    message.shape.rows, message.shape.cols = array.shape[1:]
    message.data = array.astype("<c8").tobytes()


def _scalar(field: FieldDescriptor, value: Any, where: str) -> Any:
    if field.enum_type is not None:
        return _enum(field, value, where)
    if field.type == FieldDescriptor.TYPE_BYTES and isinstance(value, np.ndarray):
        return (value != 0).astype(np.uint8).tobytes()
    if isinstance(value, np.generic):
        return value.item()
    return value


def _enum(field: FieldDescriptor, value: Any, where: str) -> int:
    names = names_of(field.enum_type)
    if isinstance(value, int) and value in names.values():
        return value
    if isinstance(value, str):
        name = value.lower()
        if name.upper() in field.enum_type.values_by_name:
            return field.enum_type.values_by_name[name.upper()].number
        if name in names:
            return names[name]
    if field.enum_type.name == "DataType" and _data_type(value) in names:
        return names[_data_type(value)]
    raise invalid(where, repr(value), ", ".join(names),
                  hint=did_you_mean(str(value).lower(), names))


def _data_type(value: Any) -> str:
    """"u16" for uint16."""
    try:
        dtype = np.dtype(value)
    except TypeError:
        return ""
    return f"{dtype.kind}{8 * dtype.itemsize}"


def _type_name(field: FieldDescriptor) -> str:
    if field.cpp_type in (FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT):
        return "a number"
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        return "True or False"
    if field.type == FieldDescriptor.TYPE_BYTES:
        return "bytes, or an array"
    if field.cpp_type == FieldDescriptor.CPPTYPE_UINT32:
        return "a whole number, 0..2^32-1"
    if field.cpp_type == FieldDescriptor.CPPTYPE_UINT64:
        return "a whole number, 0..2^64-1"
    return "a whole number"


def _unknown(descriptor: Descriptor, key: str, where: str) -> InvalidArgument:
    names = [f.name for f in descriptor.fields]
    hint = did_you_mean(key, names)
    if not hint:
        for path in _paths(config_pb2.SessionConfig.DESCRIPTOR, ()):
            if path[-1] == key:
                hint = f"it belongs to {'.'.join(path[:-1]) or 'the top'}"
                break
    return unknown_name(where, names, hint)


def _paths(descriptor: Descriptor, path: tuple[str, ...]) -> Iterable[tuple[str, ...]]:
    for field in descriptor.fields:
        yield (*path, field.name)
        if field.message_type is not None:
            yield from _paths(field.message_type, (*path, field.name))
