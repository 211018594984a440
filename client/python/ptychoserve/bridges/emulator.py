"""Publishes a scan as a detector and an encoder would, to the byte.

Message k of a series or run can be left out, which is what a network or a full buffer does.
"""

from __future__ import annotations

import json
import time
from typing import Any, Callable, Collection, Optional, Sequence

import cbor2
import numpy as np
import zmq

from ptychoserve.bridges import curve, eiger_cbor, panda_tcp
from ptychoserve.bridges.bitshuffle import bslz4, lz4_block
from ptychoserve.bridges.frame_data import BLOCK_HEADER
from ptychoserve.bridges.panda import Channels
from ptychoserve.bridges.scan_file import ScanFile
from ptychoserve.scans.units import H_C_EV_M

Parts = list[bytes]

ENCODINGS = ("bslz4", "lz4", "raw")
_END_S = 10.0


# --- Eiger, version 1 --------------------------------------------------------------------------

def json_start(scan: ScanFile, series: int) -> Parts:
    """The header with basic details."""
    return [_json(htype="dheader-1.0", series=series, header_detail="basic"),
            _json(nimages=len(scan.frames), ntrigger=1,
                  photon_energy=H_C_EV_M / scan.wavelength_m, wavelength=scan.wavelength_m * 1e10,
                  detector_distance=scan.distance_m, y_pixel_size=scan.pixel_size_m[0],
                  x_pixel_size=scan.pixel_size_m[1],
                  bit_depth_image=8 * scan.frames.dtype.itemsize)]


def json_image(frame: np.ndarray, series: int, number: int, encoding: str) -> Parts:
    bits = 8 * frame.dtype.itemsize
    data = _JSON_ENCODERS[encoding](frame)
    return [_json(htype="dimage-1.0", series=series, frame=number, hash=""),
            _json(htype="dimage_d-1.0", shape=list(frame.shape[::-1]), type=frame.dtype.name,
                  encoding={"bslz4": f"bs{bits}-lz4<", "lz4": "lz4<", "raw": "<"}[encoding],
                  size=len(data)),
            data,
            _json(htype="dconfig-1.0", start_time=0, stop_time=0, real_time=0)]


_JSON_ENCODERS: dict[str, Callable[[np.ndarray], bytes]] = {
    "bslz4": bslz4, "lz4": lambda frame: lz4_block(frame.tobytes()), "raw": np.ndarray.tobytes}


def json_end(series: int) -> Parts:
    return [_json(htype="dseries_end-1.0", series=series)]


# --- Eiger, version 2 --------------------------------------------------------------------------

def cbor_start(scan: ScanFile, series: int) -> Parts:
    return [cbor2.dumps({
        "type": "start", "series_id": series, "series_unique_id": f"emulated-{series}",
        "number_of_images": len(scan.frames), "channels": ["threshold_1"],
        "incident_energy": H_C_EV_M / scan.wavelength_m, "detector_distance": scan.distance_m,
        "pixel_size_y": scan.pixel_size_m[0], "pixel_size_x": scan.pixel_size_m[1],
        "image_size_y": scan.frames.shape[1], "image_size_x": scan.frames.shape[2],
        "image_dtype": scan.frames.dtype.name})]


def cbor_image(frame: np.ndarray, series: int, number: int, encoding: str) -> Parts:
    values: Any = _CBOR_ENCODERS[encoding](frame)
    if encoding != "raw":
        values = cbor2.CBORTag(eiger_cbor.DECTRIS_COMPRESSION,
                               [encoding, frame.dtype.itemsize, values])
    tag = next(t for t, name in eiger_cbor.TYPED_ARRAYS.items() if name == frame.dtype.name)
    array = cbor2.CBORTag(eiger_cbor.MULTI_DIM_ARRAY,
                          [list(frame.shape), cbor2.CBORTag(tag, values)])
    return [cbor2.dumps({"type": "image", "series_id": series, "image_id": number,
                         "series_unique_id": f"emulated-{series}", "real_time": [1, 50000000],
                         "data": {"threshold_1": array}})]


def _hdf5_lz4(frame: np.ndarray) -> bytes:
    data = lz4_block(frame.tobytes())
    if len(data) >= frame.nbytes:
        data = frame.tobytes()
    return BLOCK_HEADER.pack(frame.nbytes, frame.nbytes) + len(data).to_bytes(4, "big") + data


_CBOR_ENCODERS: dict[str, Callable[[np.ndarray], bytes]] = {
    **_JSON_ENCODERS, "lz4": _hdf5_lz4}


def cbor_end(series: int) -> Parts:
    return [cbor2.dumps({"type": "end", "series_id": series,
                         "series_unique_id": f"emulated-{series}"})]


# Of each version: start, image, end.
FORMATS = {"v1": (json_start, json_image, json_end), "v2": (cbor_start, cbor_image, cbor_end)}


def eiger_series(scan: ScanFile, series: int, *, version: str = "v1", encoding: str = "bslz4",
                 lost: Collection[int] = ()) -> tuple[Parts, list[Parts], Parts]:
    """Messages of a series: its start, its images but those that are `lost`, its end."""
    start, image, end = FORMATS[version]
    images = [image(frame, series, k, encoding) for k, frame in enumerate(scan.frames)
              if k not in lost]
    return start(scan, series), images, end(series)


# --- PandA -------------------------------------------------------------------------------------

def encoder_counts(scan: ScanFile, m_per_count: float,
                   samples_per_frame: int) -> list[np.ndarray]:
    """Whole counts of x and y, [samples].

    The stage moves during a frame; the mean of a frame's samples is its position.
    """
    drift = 2 * np.arange(samples_per_frame) - (samples_per_frame - 1)
    return [(np.rint(axis_m / m_per_count)[:, None] + drift).ravel()
            for axis_m in (scan.x_m, scan.y_m)]


def panda_run(scan: ScanFile, *, m_per_count: float = 1e-10, samples_per_frame: int = 10,
              samples_per_message: int = 41, channels: Channels = Channels(),
              lost: Collection[int] = ()) -> tuple[Parts, list[Parts], Parts]:
    """Messages of a run: its start, its blocks but those that are `lost`, its stop."""
    counts = encoder_counts(scan, m_per_count, samples_per_frame)
    blocks = []
    for k, first in enumerate(range(0, len(counts[0]), samples_per_message)):
        if k in lost:
            continue
        datasets = {}
        for channel, values in zip(channels, counts):
            data = values[first:first + samples_per_message].tolist()
            datasets[channel] = {"dtype": "float64", "size": len(data), "data": data,
                                 "starting_sample_number": first}
        blocks.append([_json(msg_type="data", frame_number=k, datasets=datasets)])
    return ([_json(msg_type="start", arm_time="1970-01-01T00:00:00Z")], blocks,
            [_json(msg_type="stop", emitted_frames=len(blocks))])


def panda_port_run(scan: ScanFile, *, m_per_count: float = 1e-10, samples_per_frame: int = 10,
                   block_bytes: int = 500, first: int = 0) -> bytes:
    """What the data port sends in a run to who has missed the samples before `first`.

    Blocks are of a size that no sample fits.
    """
    x, y = encoder_counts(scan, m_per_count, samples_per_frame)
    samples = np.zeros(len(x), [("time", "<f8"), ("x", "<i4"), ("y", "<i4")])
    samples["time"], samples["x"], samples["y"] = np.arange(len(x)) * 1e-4, x, y
    data = samples[first:].tobytes()
    header = (f"missed: {first}\nprocess: Unscaled\nformat: Framed\n"
              f"sample_bytes: {samples.itemsize}\nfields:\n PCAP.TS_TRIG double Value\n"
              " INENC2.VAL int32 Value\n INENC3.VAL int32 Value\n\n")
    blocks = [data[k:k + block_bytes] for k in range(0, len(data), block_bytes)]
    framed = [panda_tcp.BLOCK.pack(panda_tcp.BLOCK_MARK, panda_tcp.BLOCK.size + len(block)) + block
              for block in blocks]
    return header.encode() + b"".join(framed) + f"END {len(x) - first} Ok\n".encode()


# --- Sending -----------------------------------------------------------------------------------

def bind(context: zmq.Context, address: str, kind: str, secret: Optional[bytes]) -> zmq.Socket:
    """A socket for one that connects; of kind "push", or "pub", which waits for a subscriber."""
    socket = context.socket({"push": zmq.PUSH, "pub": zmq.XPUB}[kind])
    socket.sndhwm = 100 if kind == "push" else 0
    socket.linger = round(_END_S * 1e3)
    curve.serve(socket, secret)
    socket.bind(address)
    return socket


def endpoint(socket: zmq.Socket) -> str:
    """The address that a socket is bound to, with the port that was found for it."""
    return str(socket.getsockopt_string(zmq.LAST_ENDPOINT)).rstrip("\0")


def wait_for_subscriber(socket: zmq.Socket) -> None:
    """What a publisher says before there is one is lost."""
    if socket.type == zmq.XPUB:
        socket.recv()


def send(socket: zmq.Socket, messages: Sequence[Parts], rate: float) -> None:
    """Sends messages, `rate` a second; 0: as fast as they are taken."""
    began = time.monotonic()
    for k, parts in enumerate(messages):
        if rate:
            time.sleep(max(0.0, began + k / rate - time.monotonic()))
        socket.send_multipart(parts)


def _json(**fields: object) -> bytes:
    return json.dumps(fields, separators=(",", ":")).encode()
