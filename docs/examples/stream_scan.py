#!/usr/bin/env python3
"""Measures a made-up object, streams the frames into a ptychoserved, and fetches the object.

The whole of the API in one file, without the client library: create a session, stream positions and
frames within the server's credit, end the data, follow the run, read the result in chunks.

    PYTHONPATH=/tmp/stubs python3 docs/examples/stream_scan.py 127.0.0.1:50051

docs/api.md says how the stubs are made.
"""

import sys
import threading

import grpc
import numpy as np
from ptychoserve.v1 import (config_pb2, ingest_pb2, service_pb2_grpc, session_pb2, snapshot_pb2)

N = 64  # Pixels of a frame's side.
FRAMES_PER_MESSAGE = 16
WAVELENGTH_M, DISTANCE_M, PITCH_M = 0.137e-9, 2.0, 75e-6
PIXEL_M = WAVELENGTH_M * DISTANCE_M / (N * PITCH_M)


def measure(rows=14, cols=14, step_px=5, photons=2e5, seed=1):
    """Positions in metres and frames as a detector counts them, beam at the centre."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:N, :N] - N // 2
    probe = np.exp(-(x**2 + y**2) / (2 * 7.0**2) + 0.02j * (x**2 + y**2))
    probe *= np.sqrt(photons / np.sum(np.abs(probe)**2))
    side = N + step_px * max(rows, cols) + 8
    texture = rng.normal(size=(side, side))
    low_pass = np.exp(-(np.fft.fftfreq(side)[:, None]**2 + np.fft.fftfreq(side)**2) / 0.005)
    texture = np.fft.ifft2(np.fft.fft2(texture) * low_pass).real
    sample = np.exp(0.7j * texture / texture.std()) * 0.9
    corners = [(step_px * r + int(rng.integers(0, 3)), step_px * c + int(rng.integers(0, 3)))
               for r in range(rows) for c in range(cols)]
    frames = np.empty((len(corners), N, N), dtype="<u2")
    for k, (r, c) in enumerate(corners):
        wave = np.fft.fft2(probe * sample[r:r + N, c:c + N], norm="ortho")
        frames[k] = np.fft.fftshift(rng.poisson(np.abs(wave)**2))
    positions_m = (np.array(corners) + N // 2) * PIXEL_M  # Of the beam's centre.
    return positions_m, frames


class Credit:
    """Payload bytes that may be sent on a stream: grows with each acknowledgement."""

    def __init__(self):
        self._changed = threading.Condition()
        self._granted = 0
        self._open = True

    def grant(self, total):
        with self._changed:
            self._granted = total
            self._changed.notify_all()

    def close(self):
        with self._changed:
            self._open = False
            self._changed.notify_all()

    def wait_for(self, total):
        """True when `total` bytes in all may be sent; False when the stream has ended."""
        with self._changed:
            self._changed.wait_for(lambda: self._granted >= total or not self._open)
            return self._open


def send_frames(stub, session, frames):
    """Streams all frames; returns the last acknowledgement."""
    credit = Credit()

    def requests():
        yield ingest_pb2.StreamFramesRequest(open=ingest_pb2.OpenStream(session=session))
        sent = 0
        for first in range(0, len(frames), FRAMES_PER_MESSAGE):
            part = frames[first:first + FRAMES_PER_MESSAGE]
            sent += part.nbytes
            if not credit.wait_for(sent):
                return
            yield ingest_pb2.StreamFramesRequest(batch=ingest_pb2.FrameBatch(
                first_frame_id=first, count=len(part), dtype=config_pb2.DATA_TYPE_U16,
                rows=N, cols=N, encoding=ingest_pb2.ENCODING_RAW, data=part.tobytes()))

    ack = None
    try:
        for ack in stub.StreamFrames(requests()):
            credit.grant(ack.granted_bytes)
    finally:
        credit.close()
    return ack


def send_positions(stub, session, positions_m):
    def requests():
        yield ingest_pb2.StreamPositionsRequest(open=ingest_pb2.OpenStream(session=session))
        yield ingest_pb2.StreamPositionsRequest(batch=ingest_pb2.PositionBatch(
            first_frame_id=0, y_m=positions_m[:, 0], x_m=positions_m[:, 1]))

    *_, ack = stub.StreamPositions(requests())
    return ack


def fetch_object(stub, session):
    """Header and object of the newest snapshot, put together from its chunks."""
    chunks = stub.GetSnapshot(snapshot_pb2.GetSnapshotRequest(
        name=session, selection=snapshot_pb2.SnapshotSelection(
            arrays=[snapshot_pb2.ARRAY_KIND_OBJECT], uncovered=snapshot_pb2.UNCOVERED_NAN)))
    header = next(chunks).header
    buffers = [bytearray(array.bytes) for array in header.arrays]
    for chunk in chunks:
        data = chunk.data
        buffers[data.array][data.offset:data.offset + len(data.data)] = data.data
    return header, np.frombuffer(buffers[0], "<c8").reshape(header.arrays[0].shape)


def main(address):
    positions_m, frames = measure()
    (y_min, x_min), (y_max, x_max) = positions_m.min(axis=0), positions_m.max(axis=0)
    config = config_pb2.SessionConfig(
        optics=config_pb2.Optics(wavelength_m=WAVELENGTH_M, distance_m=DISTANCE_M,
                                 detector_pixel_size_y_m=PITCH_M),
        detector=config_pb2.Detector(frame_shape=config_pb2.Shape(rows=N, cols=N),
                                     dtype=config_pb2.DATA_TYPE_U16),
        scan=config_pb2.Scan(
            expected_points=len(frames),
            bounds=config_pb2.ScanBounds(y_min_m=y_min, y_max_m=y_max, x_min_m=x_min,
                                         x_max_m=x_max)))

    with grpc.insecure_channel(address) as channel:
        stub = service_pb2_grpc.PtychoserveStub(channel)
        session = stub.CreateSession(session_pb2.CreateSessionRequest(config=config))
        print(f"{session.name} on {session.device}, {session.device_bytes / 1e6:.1f} MB, "
              f"object pixel {session.pixel_size_y_m * 1e9:.2f} nm")

        positions = threading.Thread(target=send_positions, args=(stub, session.name, positions_m))
        positions.start()
        ack = send_frames(stub, session.name, frames)
        positions.join()
        print(f"{ack.counters.accepted} of {ack.counters.received} frames accepted")
        for rejection in ack.counters.rejections:
            print(f"  {rejection.count} refused: "
                  f"{session_pb2.RejectReason.Name(rejection.reason)}, {rejection.detail}")

        # Idempotent; expected_points would have ended the data as well.
        stub.FinishScan(session_pb2.FinishScanRequest(name=session.name))

        for event in stub.WatchSession(session_pb2.WatchSessionRequest(
                name=session.name, min_interval_ms=500)):
            s = event.session
            print(f"{session_pb2.SessionState.Name(s.state)[14:]:>15} iteration {s.iteration:4d}  "
                  f"{s.active_points:4d} points  R {s.metrics.r_factor:.4f}")

        header, result = fetch_object(stub, session.name)
        print(f"object {result.shape} of iteration {header.iteration}, "
              f"{np.isfinite(result).mean():.0%} covered")
        np.save("object.npy", result)
        stub.DeleteSession(session_pb2.DeleteSessionRequest(name=session.name))


if __name__ == "__main__":
    try:
        main(sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:50051")
    except grpc.RpcError as error:
        sys.exit(f"{error.code().name}: {error.details()}")
