#!/usr/bin/python3
"""Compares the bitshuffle-LZ4 codec with the HDF5 filter 32008 of the bitshuffle package.

usage: check_bslz4.py CODEC_TOOL

Each array goes both ways: a chunk that the filter wrote is decoded by CODEC_TOOL, and a chunk that
CODEC_TOOL encoded is read through the filter.
"""

import itertools
import subprocess
import sys

import h5py
import numpy as np

FILTER_BITSHUFFLE = 32008
COMPRESS_LZ4 = 2
NUMBERS = itertools.count()  # HDF5 tells open files in memory apart by their names.


def dataset(shape, dtype, block):
    file = h5py.File(f"chunk{next(NUMBERS)}", mode="w", driver="core", backing_store=False)
    return file.create_dataset("data", shape=shape, dtype=dtype, chunks=shape,
                               compression=FILTER_BITSHUFFLE,
                               compression_opts=(block, COMPRESS_LZ4))


def tool(path, what, array, data):
    return subprocess.run([path, what, str(array.itemsize), str(array.nbytes)], input=data,
                          stdout=subprocess.PIPE, check=True).stdout


def check(path, array, block):
    by_filter = dataset(array.shape, array.dtype, block)
    by_filter[...] = array
    chunk = by_filter.id.read_direct_chunk((0,) * array.ndim)[1]
    decoded = np.frombuffer(tool(path, "decode", array, chunk), array.dtype).reshape(array.shape)
    np.testing.assert_array_equal(decoded, array, "chunk of the filter, our decoder")

    by_us = dataset(array.shape, array.dtype, 0)
    by_us.id.write_direct_chunk((0,) * array.ndim, tool(path, "encode", array, array.tobytes()))
    np.testing.assert_array_equal(by_us[...], array, "our chunk, decoder of the filter")


def main():
    random = np.random.default_rng(1)
    checked = 0
    for dtype in ("<u1", "<u2", "<u4", "<f4"):
        # Whole blocks, a partial one, and pixels that do not fill a group of 8.
        for shape in ((256, 256), (64, 72), (101, 67), (8, 9), (1, 5)):
            counts = random.poisson(20, shape) * (random.random(shape) < 0.3)
            noise = random.integers(0, 256, shape)
            for values in (counts, noise, np.zeros(shape)):
                for block in (0, 64, 1024):
                    check(sys.argv[1], values.astype(dtype), block)
                    checked += 1
    print(f"{checked} arrays agree both ways")


if __name__ == "__main__":
    main()
