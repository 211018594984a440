"""Encodes frames as an Eiger does; decoding is the server's."""

from __future__ import annotations

import lz4.block
import numpy as np

from ptychoserve.bridges.frame_data import BLOCK_HEADER

# As in HDF5 filter 32008: blocks of 8 KiB, of at least 128 and of a multiple of 8 elements.
_BLOCK_BYTES = 8192
_MIN_BLOCK = 128
_MULTIPLE = 8


def bslz4(frame: np.ndarray) -> bytes:
    """Bitshuffle-LZ4 of an array, with the 12-byte header."""
    flat = np.ascontiguousarray(frame).astype(frame.dtype.newbyteorder("<"), copy=False).ravel()
    block = max(_BLOCK_BYTES // flat.itemsize // _MULTIPLE * _MULTIPLE, _MIN_BLOCK)
    whole = len(flat) // _MULTIPLE * _MULTIPLE
    out = [BLOCK_HEADER.pack(flat.nbytes, block * flat.itemsize)]
    for begin in range(0, whole, block):
        encoded = lz4_block(_shuffled(flat[begin:min(begin + block, whole)]))
        out += [len(encoded).to_bytes(4, "big"), encoded]
    return b"".join(out) + flat[whole:].tobytes()


def _shuffled(elements: np.ndarray) -> bytes:
    """The lowest bits of all elements, then the next ones, and so on."""
    octets = elements.view(np.uint8).reshape(len(elements), -1)
    bits = np.unpackbits(octets, axis=1, bitorder="little")
    return np.packbits(bits.T, axis=1, bitorder="little").tobytes()


def lz4_block(data: bytes) -> bytes:
    """One LZ4 block, without a header."""
    return lz4.block.compress(data, store_size=False)
