"""Counts of numbers as files have them, by the rules of docs/cxi.md ("Pixels")."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ptychoserve.errors import invalid


class Changes(NamedTuple):
    """Pixels that were no counts: not trusted, and negative ones that have become 0."""

    untrusted: int = 0
    negative: int = 0

    def plus(self, other: "Changes") -> "Changes":
        return Changes(self.untrusted + other.untrusted, self.negative + other.negative)


def sent_type(stored: np.dtype, where: str) -> np.dtype:
    """The type in which pixels that are stored as `stored` are sent: unsigned of at most 32 bits,
    or float32. Raises InvalidArgument for what is no number."""
    if stored.kind == "f":
        return np.dtype("<f4")
    if stored.kind in "iu":
        return np.dtype(f"<u{min(stored.itemsize, 4)}")
    raise invalid(where, f"of type {stored}", "integers or floating-point numbers")


def untrusted_value(dtype: np.dtype) -> float:
    """The largest value of a type, which a session never trusts."""
    return np.finfo(dtype).max if dtype.kind == "f" else np.iinfo(dtype).max


def to_counts(stored: np.ndarray, dtype: np.dtype) -> tuple[np.ndarray, Changes]:
    """Frames in the type in which they are sent, and what was no count.

    NaN, infinities, negative and too large integers become the largest value of the type; negative
    floats, as a subtracted background leaves them, 0.
    """
    if stored.dtype.kind == "u" and stored.dtype.itemsize == dtype.itemsize:
        return stored.astype(dtype, copy=False), Changes()
    most = untrusted_value(dtype)
    if dtype.kind == "f":
        bad = ~(np.abs(stored) <= most)     # True for NaN.
        below = ~bad & (stored < 0)
    else:
        bad = (stored < 0) | (stored > most)
        below = np.zeros((), bool)
    changes = Changes(int(np.count_nonzero(bad)), int(np.count_nonzero(below)))
    return np.where(bad, most, np.where(below, 0, stored)).astype(dtype), changes


def bad_pixels(mask: np.ndarray) -> np.ndarray:
    """Which pixels the flags of a CXI mask make bad; bool, of its shape."""
    flags = mask.astype(np.uint32)
    harmless = 0x20 | 0x800 | 0x2000 | 0x4000
    return (flags != 0x1000) & ((flags & ~np.uint32(harmless)) != 0)


def checked_mask(mask: np.ndarray, shape: tuple[int, int], where: str) -> np.ndarray:
    """A mask as [rows, cols]. Raises InvalidArgument: another shape than that of a frame."""
    if mask.ndim > 2 and mask.size == shape[0] * shape[1]:
        mask = mask.reshape(mask.shape[-2:])
    if mask.shape != shape or mask.dtype.kind not in "biu":
        raise invalid(where, f"{mask.shape} of {mask.dtype}",
                      f"integers or booleans of the shape of a frame, {shape}")
    return mask


def mask_notes(bad: np.ndarray, where: str) -> list[str]:
    """A note when a mask leaves out more than half: good and bad may have been swapped."""
    count = np.count_nonzero(bad)
    return [f"{where} marks {count} of {bad.size} pixels as bad"] if 2 * count > bad.size else []
