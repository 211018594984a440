#!/usr/bin/env python3
"""What a dashboard costs the server, and how smooth and how late its page is.

    dashboard_load.py BUILD_DIR [--seconds S] [--side PX] [--viewers N] [--pairs N]

Starts a ptychoserved on the CPU with one worker thread and a gateway in front of it. Prints a JSON line
for what N viewers of one session cost the server. They ask for what a page asks for and do not draw it (a
browser draws on another machine). Times without and with them take turns, pairs of them, so that what
else the machine does meanwhile is in both; the server has a core of its own, and gateway and viewers
another, where there are two:

    iterate_ms           processor time of the server's thread that iterates, for an iteration,
                         without and with viewers
    iterate_more_percent by how much it grows: the mean over pairs of its logarithm's growth, between
                         the ends of its interval of 95 % confidence (Student)
    serve_ms             processor time of all other threads of the server, for an iteration, without
                         and with
    serve_more_percent   by how much that grows, of the former without viewers, likewise

then one for one page of 1920 x 1080 in headless Chromium, which draws without a GPU, of an object of
`side` x `side` pixels that has five new versions a second. They come from steady_service.py, as a server
without a GPU is too slow for that:

    pictures_per_s          new versions shown a second
    mb_per_s                1e6 bytes a second that the page has fetched
    frames_per_s            of the page, animation frames of the browser

and one for how late things are:

    first_picture_s         from the first snapshot to its picture in an open page
    banner_s                from the server's SIGKILL until the page says so
"""

import argparse
import asyncio
import json
import os
import pathlib
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "dashboard"))

DEVICE = "cpu"  # The server's thread for the device has its name.
# What a page asks for when there is something new, and the seconds between two times at least.
PAGE_ASKS = {"arrays/object": 0.0, "arrays/probe": 0.5, "arrays/history": 1.0, "frames/newest": 0.5}
SETTLE_S = 1.0  # After viewers have come or gone.
WINDOW_S = 5.0  # In which they are then measured; several, where the server gets little of the cores.
LEAST_ITERATIONS = 10
INTERVAL_S = 0.2  # Between two snapshots of a large object.
COUNT_FRAMES = """(() => { window.frames_ = 0; const next = () => { window.frames_ += 1;
  requestAnimationFrame(next); }; requestAnimationFrame(next); })()"""
CLEAR_BYTES = "performance.setResourceTimingBufferSize(1e6); performance.clearResourceTimings()"
BYTES = "performance.getEntriesByType('resource').reduce((sum, e) => sum + e.transferSize, 0)"
VERSION = "Number(document.querySelector('.object')?.dataset.version ?? 0)"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--side", type=int, default=4096)
    parser.add_argument("--viewers", type=int, default=10)
    parser.add_argument("--pairs", type=int, default=20)
    options = parser.parse_args()
    sys.argv[1:] = [str(options.build)]  # For what is imported next.
    from browser import Browser
    from gateway import Gateway  # Adds the folder of support to the path, and that the others.
    import support
    import harness
    harness.BUILD = support.BUILD
    browser = Browser()
    page_flags = ("--page", support.BUILD / "dashboard")
    with tempfile.TemporaryDirectory() as folder:
        server = harness.Server(folder)
        gateway = Gateway(folder, server.address, *page_flags)
        try:
            asyncio.run(measure_viewers(options, server, gateway))
            measure_side(options, browser, folder, page_flags)
            measure_lateness(browser, server, gateway)
        finally:
            server.kill()
            gateway.stop()
            browser.close()


def session_of(address, session_id, side, points):
    """A session without an end, of noise in frames of 64 x 64: only its cost is of interest. The
    points lie evenly on a square of `side` object pixels.
    """
    import numpy as np
    import ptychoserve
    client = ptychoserve.Client(address)
    optics = {"wavelength_m": 1e-10, "distance_m": 1.0, "detector_pixel_size_y_m": 1e-4}
    pixel_size_m = 1e-10 * 1.0 / (64 * 1e-4)
    steps = np.linspace(0, side * pixel_size_m, points)
    y_m, x_m = (axis.ravel() for axis in np.meshgrid(steps, steps, indexing="ij"))
    frames = np.random.default_rng(1).poisson(50, (len(x_m), 64, 64)).astype(np.uint16)
    session = client.create_session(
        session_id, optics=optics, detector={"frame_shape": (64, 64), "dtype": "u16"},
        scan={"expected_points": len(x_m) + 1,
              "bounds": ptychoserve.bounds(y_m=y_m, x_m=x_m)},
        run={"min_points_to_start": len(x_m), "idle_timeout_s": 0.0},
        schedule=[{"ml_gradient": {"likelihood": "gaussian"}, "iterations": 1_000_000}],
        snapshots={"every_iterations": 1, "min_interval_ms": 200})
    for writer, push in ((session.frame_writer(), lambda w: w.push(0, frames)),
                         (session.position_writer(), lambda w: w.push(0, x_m=x_m, y_m=y_m))):
        push(writer)
        writer.close()
    return session


def wait_for_iterations(session, count):
    while session.refresh().info.iteration < count:
        time.sleep(0.02)


async def view(url, session_id):
    """What a page asks for, as often, without drawing it."""
    import aiohttp
    asked = {}  # When, by path.
    async with aiohttp.ClientSession() as http:
        async with http.ws_connect(f"{url}api/events?session={session_id}",
                                   max_msg_size=0) as socket:
            seen = 0
            async for event in socket:
                told = event.json()
                version = told["type"] == "session" and told["session"]["snapshot_version"]
                for path, interval_s in PAGE_ASKS.items() if version and version != seen else ():
                    if time.monotonic() - asked.get(path, 0) < interval_s:
                        continue
                    asked[path] = time.monotonic()
                    async with http.get(f"{url}api/sessions/{session_id}/{path}") as answer:
                        await answer.read()
                seen = version or seen


async def measure_viewers(options, server, gateway):
    import numpy as np
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) > 1:
        use_cores(server.process.pid, cores[:1])
        use_cores(gateway.process.pid, cores[1:2])
        use_cores(os.getpid(), cores[1:2])
    session = session_of(server.address, "viewed", 200, 12)
    wait_for_iterations(session, 3)
    found = {0: [], options.viewers: []}
    for pair in range(options.pairs):
        # Which of them is the first changes, too: so a load that grows or falls is in both alike.
        for count in sorted(found, reverse=pair % 2 == 1):
            found[count].append(await cost_of(count, session, server, gateway))
    session.delete(force=True)
    for pid in (server.process.pid, gateway.process.pid, os.getpid()):
        use_cores(pid, cores)
    without, with_viewers = (1e3 * np.array(found[count]) for count in (0, options.viewers))
    growth = np.log(with_viewers[:, 0] / without[:, 0])
    more = (with_viewers[:, 1] - without[:, 1]) / without[:, 0].mean()
    means = np.round(np.stack([without.mean(axis=0), with_viewers.mean(axis=0)], axis=1), 3)
    print(json.dumps({
        "viewers": options.viewers, "pairs": options.pairs,
        "iterate_ms": means[0].tolist(),
        "iterate_more_percent": (100 * np.expm1(interval(growth))).round(2).tolist(),
        "serve_ms": means[1].tolist(),
        "serve_more_percent": (100 * interval(more)).round(2).tolist()}), flush=True)


async def cost_of(count, session, server, gateway):
    """Processor seconds of an iteration, with so many viewers: (of the thread that iterates, of all
    others)."""
    viewers = [asyncio.create_task(view(gateway.url, "viewed")) for _ in range(count)]
    await asyncio.sleep(SETTLE_S)
    iteration, begin = session.refresh().info.iteration, cpu_of_threads(server.process.pid)
    iterations = 0
    while iterations < LEAST_ITERATIONS:
        await asyncio.sleep(WINDOW_S)
        iterations = session.refresh().info.iteration - iteration
    end = cpu_of_threads(server.process.pid)
    assert not any(viewer.done() for viewer in viewers), viewers
    for viewer in viewers:
        viewer.cancel()
    await asyncio.gather(*viewers, return_exceptions=True)
    iterate, serve = 0.0, 0.0
    for thread, (name, seconds) in end.items():
        used = seconds - begin.get(thread, (name, 0.0))[1]
        if name == DEVICE:
            iterate += used
        else:
            serve += used
    return iterate / iterations, serve / iterations


def cpu_of_threads(pid):
    """{thread: (name, seconds that it has used so far)} of those that a process has now."""
    found = {}
    for thread in pathlib.Path(f"/proc/{pid}/task").iterdir():
        try:
            used_ns = int((thread / "schedstat").read_text(encoding="ascii").split()[0])
            found[thread.name] = (thread / "comm").read_text(encoding="ascii").strip(), used_ns / 1e9
        except FileNotFoundError:
            pass  # It has ended meanwhile.
    return found


def interval(values):
    """[least, mean, most] of the mean, with 95 % confidence."""
    import numpy as np
    from scipy import stats
    half = stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return values.mean() + half * np.array([-1, 0, 1])


def use_cores(pid, cores):
    """All threads of a process; those that are begun later are as the one that begins them."""
    for thread in os.listdir(f"/proc/{pid}/task"):
        os.sched_setaffinity(int(thread), cores)


def measure_side(options, browser, folder, page_flags):
    from gateway import Gateway
    from steady_service import SteadyService
    service = SteadyService(options.side, INTERVAL_S)
    gateway = Gateway(folder, service.address, *page_flags)
    try:
        page = browser.open(f"{gateway.url}#/sessions/steady", 1920, 1080)
        page.wait(f"{VERSION} > 0", 120)
        page.evaluate(COUNT_FRAMES)
        page.evaluate_worker(CLEAR_BYTES)
        begin, shown, last = time.monotonic(), 0, 0
        while time.monotonic() - begin < options.seconds:
            time.sleep(0.05)
            version = page.evaluate(VERSION)
            shown += version != last
            last = version
        seconds = time.monotonic() - begin
        print(json.dumps({
            "side_px": options.side, "pictures_per_s": round(shown / seconds, 2),
            "mb_per_s": round(page.evaluate_worker(BYTES) / seconds / 1e6, 2),
            "frames_per_s": round(page.evaluate("window.frames_") / seconds, 1)}), flush=True)
        page.close()
    finally:
        gateway.stop()
        service.stop()


def measure_lateness(browser, server, gateway):
    page = browser.open(f"{gateway.url}#/sessions/late")
    page.wait("document.querySelector('.notice')?.textContent.includes('no such session')")
    session = session_of(server.address, "late", 200, 12)
    while session.refresh().info.snapshot_version == 0:
        time.sleep(0.005)
    begin = time.monotonic()
    page.wait(f"{VERSION} > 0", 120)
    first_picture_s = time.monotonic() - begin
    begin = time.monotonic()
    server.process.kill()
    page.wait("!document.querySelector('.banner').hidden", 120)
    print(json.dumps({"first_picture_s": round(first_picture_s, 2),
                      "banner_s": round(time.monotonic() - begin, 2)}), flush=True)


if __name__ == "__main__":
    main()
