#!/usr/bin/env python3
"""The page in a real browser, in front of a real server. Screenshots are left in
BUILD_DIR/test_artifacts/dashboard.
"""

import pathlib
import re
import struct
import tempfile
import time

from gateway import DEADLINE_S, Gateway
import support
import harness
import matplotlib.image
import numpy as np
import ptychoserve
from browser import Browser
from scan_files import Parts

harness.BUILD = support.BUILD
ARTIFACTS = support.BUILD / "test_artifacts" / "dashboard"
PAGE = ("--page", str(support.BUILD / "dashboard"))
OBJECT = "document.querySelector('.object')"
MARGIN = 1.04  # Of a picture that is shown whole.
LEFT_OUT = 0.005


class BrowserCase(harness.EndToEndTest):

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.browser = Browser()
        cls.addClassCleanup(cls.browser.close)
        cls.client = ptychoserve.Client(cls.server.address)
        cls.addClassCleanup(cls.client.close)
        parts = Parts(cls.scan)
        cls.frames, cls.x_m, cls.y_m = parts.frames, parts.x_m, parts.y_m
        cls.settings = {**parts.settings,
                        "snapshots": {"every_iterations": 1, "min_interval_ms": 200}}

    def gateway(self, *flags, server=None):
        gateway = Gateway(self._folder.name, server or self.server.address, *PAGE, *flags)
        self.addCleanup(gateway.stop)
        return gateway

    def open(self, gateway, where="", query="", **options):
        page = self.browser.open(f"{gateway.url}{query}#/{where}", **options)
        self.addCleanup(page.close)
        page.wait("document.querySelector('main, .login') !== null")
        return page

    def push(self, session, begin, end):
        frames, positions = session.frame_writer(), session.position_writer()
        frames.push(begin, self.frames[begin:end])
        positions.push(begin, x_m=self.x_m[begin:end], y_m=self.y_m[begin:end])
        frames.close()
        positions.close()

    def session(self, session_id, client=None, **run):
        """One that has all but one of its frames, and goes on."""
        session = (client or self.client).create_session(
            session_id, **self.settings, run={"min_points_to_start": 20, **run})
        self.push(session, 0, len(self.frames) - 1)
        return session

    def finished(self, session_id):
        session = self.session(session_id, it_ends_after=5)
        session.finish()
        return session.wait(DEADLINE_S)

    def assert_clean(self, page, gateway):
        """No error, and nothing from anywhere else."""
        seen = page.seen()
        self.assertEqual(seen["errors"], [])
        own = [url for url in seen["requests"] if url.startswith((gateway.url, "blob:"))]
        self.assertEqual(seen["requests"], own)


def shown(version="1"):
    return f"Number({OBJECT}?.dataset.version ?? 0) >= {version}"


class LiveTest(BrowserCase):

    def test_a_session_from_nothing_to_its_end(self):
        gateway = self.gateway()
        page = self.open(gateway, "sessions/live")
        page.wait("document.querySelector('.notice').textContent.includes('no such session')")
        session = self.client.create_session(
            "live", **self.settings, run={"min_points_to_start": 20, "it_ends_after": 10})
        page.wait("document.querySelector('.notice').textContent.includes('no picture yet')")
        self.push(session, 0, 60)
        page.wait(shown())
        page.wait("Number(document.querySelector('.curves').dataset.iterations) >= 1")
        before = page.evaluate("Number(document.querySelector('.curves').dataset.iterations)")
        version = page.evaluate(f"Number({OBJECT}.dataset.version)")
        page.wait(f"Number(document.querySelector('.curves').dataset.iterations) > {before}")
        page.wait(shown(version + 1))
        page.wait("document.querySelector('.figures').textContent.includes('60 of 100')")
        session.position_writer().push(200, x_m=1.0, y_m=1.0)
        page.wait("document.querySelector('.figures').textContent.includes('out of canvas')")
        self.push(session, 60, 100)
        page.wait("document.querySelector('.state').dataset.state === 'completed'")
        page.wait("document.querySelector('.caption').textContent.includes('final')")
        self.assert_clean(page, gateway)

    def test_the_past_can_be_seen_again(self):
        gateway = self.gateway()
        page = self.open(gateway, "sessions/past")
        session = self.session("past")
        page.wait("Number(document.querySelector('.past').max) >= 3")
        page.evaluate("(p => { p.value = 0; p.dispatchEvent(new Event('input')); })"
                      "(document.querySelector('.past'))")
        page.wait("document.querySelector('.caption').textContent.includes('an earlier picture')")
        first = page.evaluate(f"Number({OBJECT}.dataset.version)")
        newest = session.refresh().info.snapshot_version
        self.assertLess(first, newest)
        page.evaluate("(p => { p.value = p.max; p.dispatchEvent(new Event('input')); })"
                      "(document.querySelector('.past'))")
        page.wait(shown(newest))
        session.delete(force=True)

    def test_list(self):
        session = self.session("listed")
        gateway = self.gateway()
        page = self.open(gateway)
        row = "[...document.querySelectorAll('tbody tr')].find(r => r.textContent.includes('listed'))"
        page.wait(f"{row}?.textContent.includes('99 / 100')")
        page.wait(f"{row}.textContent.includes('reconstructing')")
        page.click("a[href='#/sessions/listed']")
        page.wait(shown())
        session.delete(force=True)
        page.wait("document.querySelector('.notice').textContent.includes('no such session')")
        page.click(".title a")
        page.wait(f"document.querySelector('table') !== null && {row} === undefined")
        self.assert_clean(page, gateway)


def box(page, k=0):
    """Of a picture of the object, CSS pixels: (left, top, width, height)."""
    return page.evaluate("(b => [b.left, b.top, b.width, b.height])(document.querySelectorAll"
                         f"('.object .pane')[{k}].getBoundingClientRect())")


def on_screen(box_, snapshot, row, col, enlarged=1.0):
    """Where the middle of a pixel of the object is when all of it is shown, or when its middle is
    seen that many times larger."""
    rows, cols = snapshot.object.shape
    y_m, x_m = snapshot.pixel_size_m
    left, top, width, height = box_
    metres_per_pixel = MARGIN * max(rows * y_m / height, cols * x_m / width) / enlarged
    return (left + width / 2 + (col - (cols - 1) / 2) * x_m / metres_per_pixel,
            top + height / 2 + (row - (rows - 1) / 2) * y_m / metres_per_pixel)


class PictureCase(BrowserCase):
    """With a finished session."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.snapshot = cls().finished("picture").snapshot("object", uncovered="nan")


class PictureTest(PictureCase):

    def colours(self, page, k, path):
        """[rows, cols, 3], of the pixels of the object on a screenshot; NaN beneath a caption."""
        page.screenshot(path)
        image = 255 * matplotlib.image.imread(path)[..., :3]
        box_ = box(page, k)
        rows, cols = self.snapshot.object.shape
        out = np.full((rows, cols, 3), np.nan)
        for row in range(int(0.15 * rows), int(0.85 * rows)):
            for col in range(cols):
                x, y = on_screen(box_, self.snapshot, row, col)
                out[row, col] = image[int(y), int(x)]
        return out

    def test_colours_are_those_of_the_array(self):
        gateway = self.gateway()
        with tempfile.TemporaryDirectory() as folder:
            for query, kind in (("", "WebGL2"), ("?renderer=canvas", "Canvas2D")):
                page = self.open(gateway, "sessions/picture", query, width=1920, height=1080)
                page.wait(shown(self.snapshot.version))
                self.assertEqual(page.evaluate("document.querySelector('.pane').dataset.renderer"),
                                 kind)
                for label in ("global phase", "ramp"):
                    page.click(f".toggle:has-text('without {label}') input")
                page.evaluate("""(s => { s.value = 'grey'; s.dispatchEvent(new Event('change')); })(
                    document.querySelectorAll('.pane-column')[1].querySelectorAll('select')[1])""")
                time.sleep(0.5)  # Until it is drawn.
                for k, of in enumerate((np.abs, np.angle)):
                    found = self.colours(page, k, pathlib.Path(folder) / "screen.png")
                    values = np.sort(of(self.snapshot.object).ravel())
                    skip = int(LEFT_OUT * values.size)
                    low, high = values[skip], values[-1 - skip]
                    part = (of(self.snapshot.object) - low) / (high - low)
                    expected = np.clip(np.floor(256 * part), 0, 255)
                    off = np.abs(found - expected[..., None])
                    known = np.isfinite(off)
                    self.assertGreater(known.mean(), 0.6)
                    # At an edge between two pixels of the screen either may be the nearer one.
                    self.assertGreater((off[known] <= 2).mean(), 0.99, (kind, of))
                self.assert_clean(page, gateway)

    def test_cursor_tells_position_and_value(self):
        gateway = self.gateway()
        page = self.open(gateway, "sessions/picture", width=1920, height=1080)
        page.wait(shown(self.snapshot.version))
        for label in ("global phase", "ramp"):
            page.click(f".toggle:has-text('without {label}') input")
        box_ = box(page)
        rows, cols = self.snapshot.object.shape
        for row, col in ((rows // 3, cols // 2), (rows // 2, cols // 4), (2 * rows // 3, cols // 3)):
            page.move(*on_screen(box_, self.snapshot, row, col))
            time.sleep(0.3)
            text = page.evaluate("document.querySelector('.readout').textContent")
            value = self.snapshot.object[row, col]
            told = re.search(r"x (\S+) (\S+)  y (\S+) (\S+)  amplitude (\S+)  phase (\S+) rad", text)
            self.assertIsNotNone(told, text)
            unit = {"µm": 1e-6, "nm": 1e-9, "pm": 1e-12}
            y_m, x_m = (o + k * size for o, k, size in zip(
                self.snapshot.origin_m, (row, col), self.snapshot.pixel_size_m))
            half = self.snapshot.pixel_size_m[0] / 2
            self.assertAlmostEqual(float(told[1]) * unit[told[2]], x_m, delta=half)
            self.assertAlmostEqual(float(told[3]) * unit[told[4]], y_m, delta=half)
            self.assertAlmostEqual(float(told[5]), abs(value), delta=2e-4)
            self.assertAlmostEqual(float(told[6]), np.angle(value), delta=2e-3)

    def test_files(self):
        page = self.open(self.gateway(), "sessions/picture")
        page.wait(shown(self.snapshot.version))
        cxi = page.download("a:has-text('CXI')")
        self.assertRegex(cxi["name"], r"^picture-\d+\.cxi$")
        loaded = ptychoserve.Result.load(cxi["path"])
        self.assertEqual(loaded.snapshot.iteration, self.snapshot.iteration)
        png = page.download("button:has-text('PNG')")
        self.assertRegex(png["name"], r"^picture-\d+-(amplitude|phase)\.png$")
        head = pathlib.Path(png["path"]).read_bytes()[:24]
        width, height = struct.unpack(">II", head[16:24])
        self.assertGreaterEqual(min(width, height), 300)

    def test_keyboard(self):
        page = self.open(self.gateway(), "sessions/picture")
        page.wait(shown(self.snapshot.version))
        page.evaluate("document.querySelector('.pane').focus()")
        x, y = on_screen(box(page), self.snapshot, 10, 10)
        told = []
        for key in ("", "+", "0"):
            if key:
                page.press(key)
            page.move(x + len(told) % 2, y)
            time.sleep(0.3)
            told.append(page.evaluate("document.querySelector('.readout').textContent"))
        self.assertNotEqual(told[0].split("amplitude")[0], told[1].split("amplitude")[0])
        self.assertEqual(told[0], told[2])

    def test_screenshots(self):
        ARTIFACTS.mkdir(parents=True, exist_ok=True)
        gateway = self.gateway()
        for width, height, scheme in ((1366, 768, "dark"), (1920, 1080, "light"),
                                      (3840, 2160, "dark")):
            page = self.open(gateway, "sessions/picture", width=width, height=height, scheme=scheme)
            page.wait(shown(self.snapshot.version))
            page.wait("document.querySelectorAll('.uplot').length === 3")
            page.wait("document.querySelector('.modes canvas') !== null")
            theme = "document.documentElement.dataset.theme"
            self.assertEqual(page.evaluate(theme), scheme)
            fits = page.evaluate("document.documentElement.scrollWidth <= innerWidth "
                                 "&& document.documentElement.scrollHeight <= innerHeight")
            self.assertTrue(fits, (width, height))
            page.screenshot(ARTIFACTS / f"session-{width}x{height}.png")
            page.click("button:has-text('light / dark')")
            self.assertNotEqual(page.evaluate(theme), scheme)
            self.assertEqual(page.evaluate("localStorage.getItem('ptychoserve-theme')"),
                             page.evaluate(theme))


class DetectorTest(BrowserCase):
    BAD = (slice(20, 24), slice(5, 50))
    WORDS = "document.querySelector('.detector .instead').textContent"

    def frame_shown(self, frame_id, version=0):
        return (f"document.querySelector('.detector').dataset.frame === '{frame_id}' && "
                f"Number(document.querySelector('.detector').dataset.version) >= {version}")

    def masked(self, session_id):
        bad = np.zeros(self.frames.shape[1:], bool)
        bad[self.BAD] = True
        self.settings = {**self.settings, "detector": {**self.settings["detector"],
                                                       "bad_pixels": bad.tobytes()}}
        return self.session(session_id)

    def choose(self, page, option):
        """In the choice that has it."""
        page.evaluate(f"""(s => {{ s.value = '{option}'; s.dispatchEvent(new Event('change')); }})(
            [...document.querySelectorAll('select')].find(s =>
                [...s.options].some(o => o.value === '{option}')))""")

    def table(self, page, bar):
        """[256, 3] of a bar of colours."""
        pixels = page.evaluate(f"""[...document.querySelector('.bar.{bar} canvas').getContext('2d')
            .getImageData(0, 0, 256, 1).data]""")
        return np.reshape(pixels, (256, 4))[:, :3]

    def grid(self, page, name):
        """(x [cols], y [rows]) of the pixels' middles on a picture that shows all of a frame."""
        left, top, width, height = page.evaluate(
            "(b => [b.left, b.top, b.width, b.height])(document.querySelector"
            f"('.detector .{name} .pane').getBoundingClientRect())")
        rows, cols = self.frames.shape[1:]
        pitch = min(height / rows, width / cols) / MARGIN
        return (left + width / 2 + (np.arange(cols) - (cols - 1) / 2) * pitch,
                top + height / 2 + (np.arange(rows) - (rows - 1) / 2) * pitch)

    def colours(self, page, name, path):
        """[rows, cols, 3] of the pixels of a picture."""
        page.screenshot(path)
        image = 255 * matplotlib.image.imread(path)[..., :3]
        x, y = self.grid(page, name)
        return image[y.astype(int)][:, x.astype(int)]

    def test_colours_are_those_of_the_frame(self):
        session = self.masked("frames")
        gateway = self.gateway()
        page = self.open(gateway, "sessions/frames", width=1920, height=1080)
        last = len(self.frames) - 2
        page.wait(self.frame_shown(last, 1))
        page.press("d")
        session.stop()
        session.wait(DEADLINE_S)
        frame = session.frame(expected=True)
        page.wait(self.frame_shown(last, frame.version))
        np.testing.assert_array_equal(np.isnan(frame.counts[self.BAD]), True)
        measured = np.where(np.isnan(frame.counts), np.nan, self.frames[last])
        np.testing.assert_array_equal(frame.counts, measured)
        time.sleep(0.5)  # Until it is drawn.
        untrusted = page.evaluate("getComputedStyle(document.querySelector('.untrusted'))"
                                  ".getPropertyValue('--untrusted').match(/\\d+/g).map(Number)")
        most = np.nanmax(frame.counts)
        residual = (frame.counts - frame.expected) / np.sqrt(frame.expected + 1)
        limit = float(page.evaluate("document.querySelector('.bar.deviation .ticks')"
                                    ".lastElementChild.textContent"))
        self.assertGreater((np.abs(residual) <= limit)[np.isfinite(residual)].mean(), 0.99)
        with tempfile.TemporaryDirectory() as folder:
            for name, bar, part in (
                    ("measured", "counts", np.log1p(frame.counts) / np.log1p(most)),
                    ("expected", "counts", np.log1p(frame.expected) / np.log1p(most)),
                    ("residual", "deviation", 0.5 + residual / (2 * limit))):
                found = self.colours(page, name, pathlib.Path(folder) / "screen.png")
                entry = np.clip(np.floor(256 * np.nan_to_num(part)), 0, 255).astype(int)
                expected = np.where(np.isnan(part)[..., None], untrusted,
                                    self.table(page, bar)[entry])
                off = np.abs(found - expected).max(axis=-1)[8:]  # Above is the caption.
                self.assertGreater((off <= 2).mean(), 0.99, name)
        self.assert_clean(page, gateway)

    def test_cursor_tells_counts(self):
        session = self.masked("counts")
        page = self.open(self.gateway(), "sessions/counts")
        page.wait(self.frame_shown(len(self.frames) - 2, 1))
        x, y = self.grid(page, "measured")
        for row, col, words in ((40, 30, f"counts {self.frames[-2][40, 30]}"),
                                (22, 30, "not trusted")):
            page.move(x[col], y[row])
            time.sleep(0.3)
            told = page.evaluate(
                "document.querySelector('.detector .measured .readout').textContent")
            self.assertIn(f"row {row}  col {col}", told)
            self.assertIn(words, re.sub(r"(?<=\d)\s(?=\d)", "", told))  # Of thousands.
            self.assertIn("expected", told)
        session.delete(force=True)

    def test_a_click_on_a_position_shows_its_frame(self):
        session = self.session("clicked")
        gateway = self.gateway()
        page = self.open(gateway, "sessions/clicked", width=1920, height=1080)
        newest = len(self.frames) - 2
        page.wait(self.frame_shown(newest, 1))
        self.choose(page, "by arrival")
        snapshot = session.snapshot(("object", "points"))
        of = 30
        row, col = snapshot.points[of, 1:3] + np.array(self.frames.shape[1:]) / 2
        page.wait(f"Number({OBJECT}.dataset.marks) > {of}")
        x, y = on_screen(box(page), snapshot, row, col)
        page.click_at(x, y)
        page.wait(self.frame_shown(int(snapshot.points[of, 0])))
        page.click("button:has-text('newest')")
        page.wait(self.frame_shown(newest))
        page.wait("document.querySelector('.detector .caption').textContent.includes('old')")

        page.wait("document.querySelector('.figures').textContent.includes('R-factor')")
        points = session.snapshot("points").points
        while not np.isfinite(points[:, 6]).any():  # The first evaluation comes after some time.
            points = session.snapshot("points").points
        page.press("w")
        page.wait("document.querySelector('.detector .caption').textContent.includes('R-factor')")
        first = page.evaluate("document.querySelector('.detector').dataset.frame")
        page.press("w")
        page.wait(f"(f => f !== undefined && f !== '{first}')"
                  "(document.querySelector('.detector').dataset.frame)")
        page.press("n")
        page.wait(self.frame_shown(newest))

        session.stop()
        session.wait(DEADLINE_S)
        page.wait("document.querySelector('.detector .caption').textContent.includes('the last')")
        page.click_at(x, y)
        page.wait(f"{self.WORDS}.includes('has ended')")
        page.click("button:has-text('newest')")
        page.wait(self.frame_shown(newest))
        self.assert_clean(page, gateway)

    def test_what_nobody_sees_is_not_asked_for(self):
        session = self.session("hidden")
        gateway = self.gateway()
        page = self.open(gateway, "sessions/hidden")
        page.wait(self.frame_shown(len(self.frames) - 2, 1))
        page.evaluate("document.querySelector('.detector').hidden = true")
        page.evaluate_worker("performance.setResourceTimingBufferSize(1e6)")

        def asked():
            return page.evaluate_worker("performance.getEntriesByType('resource')"
                                        ".filter(e => e.name.includes('/frames/')).length")

        deadline = time.monotonic() + DEADLINE_S
        before = -1
        while asked() != before:  # What is under way ends.
            self.assertLess(time.monotonic(), deadline)
            before = asked()
            page.wait(shown(page.evaluate(f"Number({OBJECT}.dataset.version)") + 5))
        page.evaluate("document.querySelector('.detector').hidden = false")
        while asked() == before:
            self.assertLess(time.monotonic(), deadline)
        session.delete(force=True)


class CutoutTest(PictureCase):
    """Of an object that is averaged down to 32 pixels."""

    def enlarge(self, page):
        """By how much, around the middle."""
        page.evaluate("document.querySelector('.pane').focus()")
        for _ in range(7):
            page.press("+")
        return 1.25 ** 7

    def test_what_is_seen_close_is_seen_pixel_by_pixel(self):
        gateway = self.gateway("--picture-px", "32")
        page = self.open(gateway, "sessions/picture", width=1920, height=1080)
        page.wait(shown(self.snapshot.version))
        caption = "document.querySelector('.caption').textContent"
        page.wait(f"{caption}.includes('mean of')")
        for label in ("global phase", "ramp"):
            page.click(f".toggle:has-text('without {label}') input")
        enlarged = self.enlarge(page)
        page.wait(f"{OBJECT}.dataset.detail === '1'")
        self.assertIn("here pixel by pixel", page.evaluate(caption))
        time.sleep(0.5)
        box_ = box(page)
        rows, cols = self.snapshot.object.shape
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "screen.png"
            page.screenshot(path)
            image = 255 * matplotlib.image.imread(path)[..., 0]
        found, expected = [], []
        for row in range(rows):
            for col in range(cols):
                x, y = on_screen(box_, self.snapshot, row, col, enlarged)
                if 10 < x - box_[0] < box_[2] - 10 and 60 < y - box_[1] < box_[3] - 80:
                    found.append(image[int(y), int(x)])
                    expected.append(abs(self.snapshot.object[row, col]))
        self.assertGreater(len(found), 100)
        found, expected = np.array(found), np.array(expected)
        inside = (found > 2) & (found < 253)
        self.assertGreater(np.corrcoef(found[inside], expected[inside])[0, 1], 0.999)

        row, col = rows // 2 + 3, cols // 2 - 4
        page.move(*on_screen(box_, self.snapshot, row, col, enlarged))
        time.sleep(0.3)
        told = re.search(r"amplitude (\S+)  phase (\S+) rad",
                         page.evaluate("document.querySelector('.readout').textContent"))
        value = self.snapshot.object[row, col]
        self.assertAlmostEqual(float(told[1]), abs(value), delta=2e-4)
        self.assertAlmostEqual(float(told[2]), np.angle(value), delta=2e-3)

        page.press("0")
        page.wait(f"{OBJECT}.dataset.detail === ''")
        self.assertIn("mean of", page.evaluate(caption))
        self.assert_clean(page, gateway)

    def test_it_follows_a_running_session(self):
        session = self.session("running")
        page = self.open(self.gateway("--picture-px", "32"), "sessions/running")
        page.wait(shown())
        self.enlarge(page)
        page.wait(f"{OBJECT}.dataset.detail === '1'")
        for _ in range(3):
            version = page.evaluate(f"Number({OBJECT}.dataset.version)")
            page.wait(f"{shown(version + 1)} && {OBJECT}.dataset.detail === '1'")
        session.delete(force=True)


class BreakTest(BrowserCase):

    def test_a_killed_server_is_told_and_got_over(self):
        with tempfile.TemporaryDirectory() as folder:
            flags = ("--state-dir", f"{folder}/state", "--checkpoint-interval-s", "0.5")
            server = harness.Server(folder, *flags)
            gateway = self.gateway(server=server.address)
            with ptychoserve.Client(server.address) as client:
                session = self.session("survivor", client)
                page = self.open(gateway, "sessions/survivor")
                page.evaluate("window.sameDocument = true")
                page.wait(shown())
                server.kill()
                page.wait("!document.querySelector('.banner').hidden")
                self.assertIn("does not answer",
                              page.evaluate("document.querySelector('.banner').textContent"))
                server = harness.Server(folder, *flags, listen=server.address)
                page.wait("document.querySelector('.banner').hidden")
                session.refresh()
                newest = session.info.snapshot_version
                page.wait(shown(newest + 1))
                self.assertTrue(page.evaluate("window.sameDocument"))
                session.delete(force=True)
            self.assertEqual(server.stop(), 0)
            self.assertEqual(page.seen()["errors"], [])

    def test_a_gateway_that_comes_back_is_found(self):
        session = self.session("gateway-break")
        gateway = Gateway(self._folder.name, self.server.address, *PAGE)
        page = self.open(gateway, "sessions/gateway-break")
        page.wait(shown())
        self.assertEqual(gateway.stop(), (0, ""))
        page.wait("document.querySelector('.banner').textContent.includes('The dashboard')")
        address = gateway.url.split("/")[2]
        again = Gateway(self._folder.name, self.server.address, "--listen", address, *PAGE)
        self.addCleanup(again.stop)
        page.wait("document.querySelector('.banner').hidden")
        page.wait(shown(session.refresh().info.snapshot_version))
        session.delete(force=True)


class ControlTest(BrowserCase):

    def test_without_permission_there_is_no_button(self):
        session = self.session("watched")
        page = self.open(self.gateway(), "sessions/watched")
        page.wait(shown())
        self.assertEqual(page.evaluate("document.querySelectorAll('.control button').length"), 0)
        session.delete(force=True)

    def test_stop_asks_first(self):
        session = self.session("stopped")
        gateway = self.gateway("--allow-control")
        page = self.open(gateway, "sessions/stopped")
        page.wait(shown())
        page.click(".control button:has-text('stop')")
        page.click("dialog button:has-text('cancel')")
        self.assertEqual(session.refresh().state, "reconstructing")
        page.click(".control button:has-text('stop')")
        page.click("dialog button:has-text('stop')")
        page.wait("document.querySelector('.state').dataset.state === 'stopped'")
        self.assertEqual(session.refresh().state, "stopped")
        page.click(".control button:has-text('delete')")
        page.click("dialog button:has-text('delete')")
        page.wait("document.querySelector('.list') !== null")
        with self.assertRaises(ptychoserve.errors.NotFound):
            session.refresh()
        self.assert_clean(page, gateway)

    def test_a_refusal_of_the_server_is_said_in_words(self):
        session = self.session("refused")
        page = self.open(self.gateway("--allow-control"), "sessions/refused")
        page.wait(shown())
        page.click(".control button:has-text('stop')")
        session.delete(force=True)
        page.click("dialog button:has-text('stop')")
        page.wait("document.querySelector('.refusal').textContent.includes('no session')")

    def test_token(self):
        token = pathlib.Path(self._folder.name) / "token"
        token.write_text("correct-horse-battery", encoding="utf-8")
        gateway = self.gateway("--page-token-file", token)
        page = self.open(gateway)
        page.wait("document.querySelector('.login') !== null")
        page.fill(".login input", "wrong")
        page.press("Enter")
        page.wait("document.querySelector('.refusal').textContent.includes('not the token')")
        page.fill(".login input", "correct-horse-battery")
        page.press("Enter")
        page.wait("document.querySelector('.server')?.textContent.includes('version')")
        self.assert_clean(page, gateway)


if __name__ == "__main__":
    support.main()
