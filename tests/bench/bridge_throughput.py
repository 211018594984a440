#!/usr/bin/env python3
"""How many frames a second get from a detector's stream through the bridge to a server.

    bridge_throughput.py BUILD_DIR [--frames N] [--rate N] [--encoding NAME] [--counts MEAN]

Plays an Eiger that sends frames of 256 x 256 uint16, encoded beforehand, to a `ptychoserve-bridge`
on loopback and from there to a ptychoserved with one worker thread, no solver running. The server
decodes whole frames and keeps the middle of each; what its CPU backend does with pixels is so out
of the figures. Prints one JSON line:

    frames_per_s       from the first frame until the session has accepted the last
    megabytes_per_s    the same in 1e6 bytes of encoded frames
    *_cpu_us           processor time a frame, of the bridge, the server and the emulated detector
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import threading
import time

from cpu_seconds import cpu_of, own_cpu

SIDE = 256
KEPT = 32
DISTINCT = 64  # Frames, sent again and again.


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("--frames", type=int, default=20_000)
    parser.add_argument("--rate", type=float, default=0.0, help="frames a second; 0: no limit")
    parser.add_argument("--encoding", choices=("bslz4", "lz4", "raw"), default="bslz4")
    parser.add_argument("--counts", type=float, default=4.0, help="mean of a pixel")
    options = parser.parse_args()
    sys.path.insert(0, str(options.build / "python"))
    import ptychoserve

    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        config = folder / "config.json"
        config.write_text(json.dumps({"detector": {"crop": {
            "row": (SIDE - KEPT) // 2, "col": (SIDE - KEPT) // 2,
            "shape": {"rows": KEPT, "cols": KEPT}}}, "scan": {"bounds": {}}}), encoding="utf-8")
        server = subprocess.Popen(
            [options.build / "bin" / "ptychoserved", "--listen", "127.0.0.1:0", "--port-file",
             folder / "address", "--device", "cpu", "--threads", "1"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            while not (folder / "address").exists():
                assert server.poll() is None, "the server has ended"
                time.sleep(0.01)
            address = (folder / "address").read_text(encoding="utf-8").strip()
            with ptychoserve.Client(address) as client:
                measure(options, client, config, server.pid)
        finally:
            server.kill()
            server.wait()


def messages(options):
    """Of a series: its start, a function that makes the parts of frame k, its end."""
    import numpy as np
    from ptychoserve.bridges import emulator, scan_file

    frames = np.random.default_rng(1).poisson(options.counts, (DISTINCT, SIDE, SIDE))
    frames = frames.astype(np.uint16)
    scan = scan_file.ScanFile(np.broadcast_to(frames[0], (options.frames, SIDE, SIDE)), None, None,
                              1e-10, 2.0, (75e-6, 75e-6))
    images = [emulator.json_image(frame, 1, 0, options.encoding) for frame in frames]

    def image(k):
        head, *rest = images[k % DISTINCT]
        return [head.replace(b'"frame":0', b'"frame":%d' % k), *rest]

    return emulator.json_start(scan, 1), image, emulator.json_end(1)


def measure(options, client, config, server_pid):
    import zmq
    from ptychoserve.bridges import emulator

    start, image, end = messages(options)
    with zmq.Context() as context, emulator.bind(context, "tcp://127.0.0.1:*", "push",
                                                 None) as socket:
        bridge = subprocess.Popen(
            [sys.executable, "-m", "ptychoserve.bridges", "run", "--server", client.address,
             "--config", config, "--prefix", "bench", "--scans", "1", "--eiger",
             emulator.endpoint(socket)], stderr=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, env={**os.environ, "PYTHONPATH": options.build / "python"})
        try:
            socket.send_multipart(start)
            socket.send_multipart(image(0))
            wait_for(client, 1)
            cpu = cpu_of(bridge.pid), cpu_of(server_pid), own_cpu()
            began = time.monotonic()

            def play():
                for k in range(1, options.frames):
                    if options.rate:
                        time.sleep(max(0.0, began + k / options.rate - time.monotonic()))
                    socket.send_multipart(image(k))

            player = threading.Thread(target=play)
            player.start()
            wait_for(client, options.frames)
            seconds = time.monotonic() - began
            player.join()
            used = [after - before for after, before in
                    zip((cpu_of(bridge.pid), cpu_of(server_pid), own_cpu()), cpu)]
            accepted = client.session("bench-1").info.frames
            socket.send_multipart(end)
        finally:
            bridge.kill()
            bridge.wait()
    print(json.dumps({
        "frames_per_s": round(options.frames / seconds),
        "megabytes_per_s": round(accepted.payload_bytes / seconds / 1e6, 1),
        "frame_bytes": round(accepted.payload_bytes / options.frames),
        **{f"{name}_cpu_us": round(s / options.frames * 1e6)
           for name, s in zip(("bridge", "server", "detector"), used)},
        "frames": options.frames, "rate": options.rate,
        "encoding": options.encoding, "counts": options.counts}))


def wait_for(client, frames):
    from ptychoserve.errors import NotFound
    while True:
        try:
            if client.session("bench-1").info.frames.accepted >= frames:
                return
        except NotFound:
            pass
        time.sleep(0.02)


if __name__ == "__main__":
    main()
