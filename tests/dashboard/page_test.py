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


class PictureTest(BrowserCase):

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        case = cls("test_colours_are_those_of_the_array")
        cls.snapshot = case.finished("picture").snapshot("object", uncovered="nan")

    def box(self, page, k):
        """Of a picture, CSS pixels: (left, top, width, height)."""
        return page.evaluate("(b => [b.left, b.top, b.width, b.height])(document.querySelectorAll"
                             f"('.pane')[{k}].getBoundingClientRect())")

    def on_screen(self, box, row, col):
        """Where the middle of a pixel of the object is when all of the object is shown."""
        rows, cols = self.snapshot.object.shape
        y_m, x_m = self.snapshot.pixel_size_m
        left, top, width, height = box
        metres_per_pixel = MARGIN * max(rows * y_m / height, cols * x_m / width)
        return (left + width / 2 + (col - (cols - 1) / 2) * x_m / metres_per_pixel,
                top + height / 2 + (row - (rows - 1) / 2) * y_m / metres_per_pixel)

    def colours(self, page, k, path):
        """[rows, cols, 3], of the pixels of the object on a screenshot; NaN beneath a caption."""
        page.screenshot(path)
        image = 255 * matplotlib.image.imread(path)[..., :3]
        box = self.box(page, k)
        rows, cols = self.snapshot.object.shape
        out = np.full((rows, cols, 3), np.nan)
        for row in range(int(0.15 * rows), int(0.85 * rows)):
            for col in range(cols):
                x, y = self.on_screen(box, row, col)
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
        box = self.box(page, 0)
        rows, cols = self.snapshot.object.shape
        for row, col in ((rows // 3, cols // 2), (rows // 2, cols // 4), (2 * rows // 3, cols // 3)):
            page.move(*self.on_screen(box, row, col))
            time.sleep(0.3)
            text = page.evaluate("document.querySelector('.readout').textContent")
            value = self.snapshot.object[row, col]
            told = re.search(r"x (\S+) (\S+)  y (\S+) (\S+)  amplitude (\S+)  phase (\S+) rad", text)
            self.assertIsNotNone(told, text)
            unit = {"µm": 1e-6, "nm": 1e-9}
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
        x, y = self.on_screen(self.box(page, 0), 10, 10)
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
