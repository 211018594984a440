"""The bytes of a frame, checked as far as that costs nothing; the server decodes them."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np

from ptychoserve.bridges.messages import BadMessage, Form

DTYPES = {name: np.dtype(name).newbyteorder("<") for name in ("uint8", "uint16", "uint32")}
MAX_SIDE = 8192
# Of HDF5 filter 32008 and of the LZ4 filter alike: decoded size and block size, big-endian.
BLOCK_HEADER = struct.Struct(">QI")


def form_of(rows: int, cols: int, dtype: str, encoding: str) -> Form:
    """Raises BadMessage for what cannot be a frame."""
    if dtype not in DTYPES:
        raise BadMessage("unknown_encoding", f"pixels of type {dtype:.40}")
    if not (0 < rows <= MAX_SIDE and 0 < cols <= MAX_SIDE):
        raise BadMessage("wrong_value", f"a frame of {rows} x {cols}")
    return Form(rows, cols, DTYPES[dtype], encoding)


def check_size(form: Form, data: Any) -> None:
    """Raises BadMessage unless `data` has a size that the frame can have, and says so itself."""
    if form.encoding == "raw":
        if len(data) != form.frame_bytes:
            raise BadMessage("truncated" if len(data) < form.frame_bytes else "oversized",
                             f"{len(data)} bytes for a frame of {form.frame_bytes}")
        return
    # What does not compress becomes a little larger: by 1/255, headers of blocks apart.
    if len(data) > form.frame_bytes + form.frame_bytes // 64 + 4096:
        raise BadMessage("oversized", f"{len(data)} bytes for a frame of {form.frame_bytes}")
    if form.encoding == "lz4":
        if not data:
            raise BadMessage("truncated", "no bytes")
        return
    if len(data) <= BLOCK_HEADER.size:
        raise BadMessage("truncated", f"{len(data)} bytes")
    decoded, _ = BLOCK_HEADER.unpack_from(data)
    if decoded != form.frame_bytes:
        raise BadMessage("wrong_value", f"it decodes to {decoded} bytes, not {form.frame_bytes}")
