#!/usr/bin/env python3
"""How many frames a second get from a detector's stream through the bridge to a server.

    bridge_throughput.py BUILD_DIR [--frames N] [--rate N] [--stream v1|v2] [--encoding NAME]
        [--counts MEAN] [--panda SAMPLES_PER_FRAME] [--streams N] [--crop SIDE] [--device NAME]
        [--threads N]

Plays an Eiger that sends frames of 256 x 256 uint16, encoded beforehand, to a `ptychoserve-bridge`
on loopback and from there to a ptychoserved. By default that has one worker thread and keeps the
middle of each frame, which it decodes as a whole: what its CPU backend does with pixels is so out
of the figures. Without `--panda` no positions come meanwhile, and no solver runs. Prints one
JSON line:

    frames_per_s       from the first frame until the session has accepted the last
    megabytes_per_s    the same in 1e6 bytes of encoded frames
    *_cpu_us           processor time a frame, of the bridge, the server and the emulated sources
    positions          that the session has in the end

Fails when a frame is lost.
"""

import argparse
import json
import os
import pathlib
import struct
import subprocess
import sys
import tempfile
import threading
import time

from cpu_seconds import cpu_of, own_cpu

SIDE = 256
DISTINCT = 64  # Frames, sent again and again.
# Stands for a frame's number in messages that are encoded beforehand: in JSON nine digits, in CBOR
# four bytes.
NUMBER = 123_456_789
M_PER_COUNT = 1e-10


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("--frames", type=int, default=20_000)
    parser.add_argument("--rate", type=float, default=0.0, help="frames a second; 0: no limit")
    parser.add_argument("--stream", choices=("v1", "v2"), default="v1")
    parser.add_argument("--encoding", choices=("bslz4", "lz4", "raw"), default="bslz4")
    parser.add_argument("--counts", type=float, default=4.0, help="mean of a pixel")
    parser.add_argument("--panda", type=int, default=0, metavar="SAMPLES_PER_FRAME",
                        help="0: no positions")
    parser.add_argument("--streams", type=int, default=4, help="of frames, bridge to server")
    parser.add_argument("--crop", type=int, default=32, help="of each frame, what is kept")
    parser.add_argument("--device", default="cpu", help="of the server")
    parser.add_argument("--threads", type=int, default=1, help="of its CPU device")
    options = parser.parse_args()
    sys.path.insert(0, str(options.build / "python"))
    import ptychoserve

    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        server = subprocess.Popen(
            [options.build / "bin" / "ptychoserved", "--listen", "127.0.0.1:0", "--port-file",
             folder / "address", "--device", options.device, "--threads", str(options.threads)],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            while not (folder / "address").exists():
                assert server.poll() is None, "the server has ended"
                time.sleep(0.01)
            address = (folder / "address").read_text(encoding="utf-8").strip()
            with ptychoserve.Client(address) as client:
                measure(options, client, folder / "config.json", server.pid)
        finally:
            server.kill()
            server.wait()


def played_scan(options):
    """What the sources play: a raster of steps of 100 nm, and the distinct ones of its frames again
    and again."""
    import numpy as np
    from ptychoserve.bridges import scan_file

    distinct = np.random.default_rng(1).poisson(options.counts, (DISTINCT, SIDE, SIDE))
    distinct = distinct.astype(np.uint16)
    row, col = divmod(np.arange(options.frames), round(options.frames ** 0.5))
    scan = scan_file.ScanFile(np.broadcast_to(distinct[0], (options.frames, SIDE, SIDE)),
                              col * 1e-7, row * 1e-7, 1e-10, 2.0, (75e-6, 75e-6))
    return scan, distinct


def settings(options, scan):
    from ptychoserve import bounds

    keep = {"row": (SIDE - options.crop) // 2, "col": (SIDE - options.crop) // 2,
            "shape": {"rows": options.crop, "cols": options.crop}}
    return {"detector": {"crop": keep}, "scan": {
        "expected_points": options.frames,
        "bounds": bounds(y_m=scan.y_m, x_m=scan.x_m, margin_m=1e-7),
        "encoder": {"samples_per_frame": max(1, options.panda), "x_scale_m_per_count": M_PER_COUNT,
                    "y_scale_m_per_count": M_PER_COUNT}}}


def eiger_messages(options, scan, distinct):
    """Of a series: its start, a function that makes the parts of frame k, its end."""
    from ptychoserve.bridges import emulator

    start, image, end = emulator.FORMATS[options.stream]
    number, write = {"v1": (b"%d" % NUMBER, lambda k: b"%d" % k),
                     "v2": (struct.pack(">I", NUMBER), struct.Struct(">I").pack)}[options.stream]
    images = []
    for frame in distinct:
        head, *rest = image(frame, 1, NUMBER, options.encoding)
        before, after = head.split(number, 1)
        images.append((before, after, rest))

    def image_of(k):
        before, after, rest = images[k % DISTINCT]
        return [b"".join((before, write(k), after)), *rest]

    return start(scan, 1), image_of, end(1)


def measure(options, client, config, server_pid):
    import zmq
    from ptychoserve.bridges import emulator

    scan, distinct = played_scan(options)
    config.write_text(json.dumps(settings(options, scan)), encoding="utf-8")
    start, image, end = eiger_messages(options, scan, distinct)
    with zmq.Context() as context, \
            emulator.bind(context, "tcp://127.0.0.1:*", "push", None) as eiger, \
            emulator.bind(context, "tcp://127.0.0.1:*", "pub", None) as panda:
        run = ([], [], [])
        sources = ["--eiger", emulator.endpoint(eiger)]
        if options.panda:
            run = emulator.panda_run(scan, m_per_count=M_PER_COUNT,
                                     samples_per_frame=options.panda)
            sources += ["--panda", emulator.endpoint(panda)]
        bridge = subprocess.Popen(
            [sys.executable, "-m", "ptychoserve.bridges", "run", "--server", client.address,
             "--config", config, "--prefix", "bench", "--scans", "1", "--json",
             "--streams", str(options.streams), *sources],
            env={**os.environ, "PYTHONPATH": options.build / "python"},
            stdout=subprocess.PIPE, text=True)
        try:
            if options.panda:
                emulator.wait_for_subscriber(panda)
                panda.send_multipart(run[0])
            eiger.send_multipart(start)
            eiger.send_multipart(image(0))
            wait_for(client, 1)
            cpu = cpu_of(bridge.pid), cpu_of(server_pid), own_cpu()
            began = time.monotonic()

            def play_eiger():
                for k in range(1, options.frames):
                    if options.rate:
                        time.sleep(max(0.0, began + k / options.rate - time.monotonic()))
                    eiger.send_multipart(image(k))

            def play_panda():
                emulator.send(panda, run[1], options.rate * len(run[1]) / options.frames)

            players = [threading.Thread(target=play) for play in (play_eiger, play_panda)]
            for player in players:
                player.start()
            wait_for(client, options.frames)
            seconds = time.monotonic() - began
            used = [after - before for after, before in
                    zip((cpu_of(bridge.pid), cpu_of(server_pid), own_cpu()), cpu)]
            for player in players:
                player.join()
            if options.panda:
                panda.send_multipart(run[2])
            else:  # Without any, the bridge would wait, and take that for an error.
                with client.session("bench-1").position_writer() as positions:
                    positions.push(0, x_m=scan.x_m[0], y_m=scan.y_m[0])
            eiger.send_multipart(end)
            report = json.loads(bridge.communicate()[0])
        finally:
            bridge.kill()
            bridge.wait()
    assert not report["lost"] and not report["error"] and not report["bad_messages"], report
    payload_bytes = client.session("bench-1").info.frames.payload_bytes
    print(json.dumps({
        "frames_per_s": round(options.frames / seconds),
        "megabytes_per_s": round(payload_bytes / seconds / 1e6, 1),
        "frame_bytes": round(payload_bytes / options.frames),
        **{f"{name}_cpu_us": round(s / options.frames * 1e6)
           for name, s in zip(("bridge", "server", "sources"), used)},
        "positions": report["positions"],
        **{name: getattr(options, name) for name in (
            "frames", "rate", "stream", "encoding", "counts", "panda", "streams", "crop",
            "device")}}))


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
