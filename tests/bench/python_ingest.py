#!/usr/bin/env python3
"""How fast frames get from NumPy to a server on loopback, with no solver running.

    python_ingest.py BUILD_DIR [--frames N] [--batch N] [--streams N] [--message-kib N]
        [--push copy|share] [--crop SIDE] [--state-dir]

Starts a ptychoserved with one worker thread, streams 256 x 256 uint16 frames from memory, `batch`
of them a push, positions kept back. `--crop` has the server keep less of each frame: what its CPU
backend does with the pixels is then out of the figures. Prints one JSON line:

    gb_per_s                1e9 bytes of pixels a second, from the first push until all of them have
                            been acknowledged
    frames_per_s            the same in frames
    client_cpu_s_per_gb     processor time of this process, all threads
    server_cpu_s_per_gb     and of the server
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile
import threading
import time

from cpu_seconds import cpu_of, own_cpu

SIDE = 256
DISTINCT = 64  # Frames, sent again and again.


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("--frames", type=int, default=20_000)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--streams", type=int, default=1)
    parser.add_argument("--message-kib", type=int, default=2048)
    parser.add_argument("--push", choices=("copy", "share"), default="copy")
    parser.add_argument("--crop", type=int, default=SIDE, help="of each frame, what is kept")
    parser.add_argument("--state-dir", action="store_true", help="with a journal, in /tmp")
    options = parser.parse_args()
    sys.path.insert(0, str(options.build / "python"))
    import numpy as np
    import ptychoserve

    rng = np.random.default_rng(1)
    frames = rng.poisson(4, (DISTINCT, SIDE, SIDE)).astype(np.uint16)
    with tempfile.TemporaryDirectory() as folder:
        port_file = pathlib.Path(folder) / "address"
        flags = ["--state-dir", folder] if options.state_dir else []
        server = subprocess.Popen(
            [options.build / "bin" / "ptychoserved", "--listen", "127.0.0.1:0", "--port-file",
             port_file, "--device", "cpu", "--threads", "1", *flags],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while not port_file.exists():
            assert server.poll() is None, "the server has ended"
            time.sleep(0.01)
        try:
            measure(options, ptychoserve, frames, port_file.read_text().strip(), server.pid)
        finally:
            server.kill()
            server.wait()


def measure(options, ptychoserve, frames, address, server_pid):
    with ptychoserve.Client(address) as client:
        session = client.create_session(
            optics={"wavelength_m": 1e-10, "distance_m": 2.0, "detector_pixel_size_y_m": 75e-6},
            detector={"frame_shape": frames.shape[1:], "dtype": frames.dtype,
                      "crop": {"row": (SIDE - options.crop) // 2, "col": (SIDE - options.crop) // 2,
                               "shape": (options.crop, options.crop)}},
            scan={"expected_points": options.frames, "bounds": {}})
        writers = [session.frame_writer(message_bytes=options.message_kib << 10)
                   for _ in range(options.streams)]
        for writer in writers:
            writer.flush()  # Is connected.

        def push(writer, first):
            step = options.batch * options.streams
            for k in range(first * options.batch, options.frames, step):
                count = min(options.batch, options.frames - k)
                at = k % DISTINCT if k % DISTINCT + count <= DISTINCT else 0
                writer.push(k, frames[at:at + count], copy=options.push == "copy")
            writer.flush()

        cpu = own_cpu(), cpu_of(server_pid)
        began = time.monotonic()
        threads = [threading.Thread(target=push, args=(w, n)) for n, w in enumerate(writers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        seconds = time.monotonic() - began
        cpu = own_cpu() - cpu[0], cpu_of(server_pid) - cpu[1]
        accepted = max(writer.report.counters.accepted for writer in writers)
        assert accepted == options.frames, f"{accepted} of {options.frames} frames accepted"
        for writer in writers:
            writer.cancel()
    gigabytes = options.frames * frames[0].nbytes / 1e9
    print(json.dumps({
        "gb_per_s": round(gigabytes / seconds, 3), "frames_per_s": round(options.frames / seconds),
        "client_cpu_s_per_gb": round(cpu[0] / gigabytes, 3),
        "server_cpu_s_per_gb": round(cpu[1] / gigabytes, 3),
        "streams": options.streams, "batch": options.batch, "message_kib": options.message_kib,
        "push": options.push, "crop": options.crop, "journal": options.state_dir}))


if __name__ == "__main__":
    main()
