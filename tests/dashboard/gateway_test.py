#!/usr/bin/env python3
"""The gateway without a browser: what it sends, keeps and refuses."""

import asyncio
import http.client
import json
import pathlib
import random
import struct
import tempfile
import time
import unittest
from urllib.parse import quote, urlsplit

import gateway as gateways
from gateway import Gateway
import support
import aiohttp
import harness
import numpy as np
import ptychoserve
from ptychoserve.dashboard import page
from ptychoserve.dashboard.cutouts import Cutout, Cutouts
from ptychoserve.dashboard.encoding import NO_DATA, Encoded, encode, mean_of_blocks, quantise
from ptychoserve.dashboard.frames import Frames
from ptychoserve.dashboard.pictures import Past, Pictures
from ptychoserve.dashboard.rates import Rate
from ptychoserve.dashboard.viewers import Viewer, message
from ptychoserve.errors import FailedPrecondition, NotFound
from ptychoserve.v1 import frame_pb2, snapshot_pb2
from secure_service import Service

harness.BUILD = support.BUILD


def decoded(body):
    """(header, data) of an encoded array, by its description."""
    length, = struct.unpack_from("<I", body)
    header = json.loads(body[4:4 + length])
    dtype = "<i2" if header["element"] == "complex-i16" else "<" + header["element"]
    data = np.frombuffer(body, dtype, offset=4 + length)
    if header["element"] != "complex-i16":
        return header, data.reshape(header["shape"])
    pairs = data.reshape(*header["shape"], 2)
    values = header["scale"] * (pairs[..., 0] + 1j * pairs[..., 1])
    return header, np.where(pairs[..., 0] == NO_DATA, np.nan, values)


class EncodingTest(unittest.TestCase):

    def test_complex_numbers_come_back_within_half_a_step(self):
        rng = np.random.default_rng(1)
        for scale in (1e-12, 1.0, 1e12):
            array = (scale * rng.normal(size=(30, 20, 2))).astype("f4").view("<c8")[..., 0]
            array[3, 4] = np.nan
            array[5, 6] = complex(1, np.inf)
            step, pairs = quantise(array)
            missing = ~np.isfinite(array)
            self.assertTrue((pairs[missing] == NO_DATA).all())
            back = step * (pairs[..., 0] + 1j * pairs[..., 1])
            off = np.abs(back - array)[~missing]
            self.assertLessEqual(off.max(), 0.71 * step)
            self.assertEqual((pairs == NO_DATA).sum(), 2 * missing.sum())

    def test_arrays_of_zeros_and_without_a_number(self):
        self.assertTrue((quantise(np.zeros((2, 3), "c8"))[1] == 0).all())
        self.assertTrue((quantise(np.full((2, 3), np.nan, "c8"))[1] == NO_DATA).all())
        self.assertEqual(quantise(np.empty((0, 3), "c8"))[1].shape, (0, 3, 2))

    def test_bodies_are_as_described(self):
        header = snapshot_pb2.SnapshotHeader(version=7, iteration=9, pixel_size_y_m=2e-8)
        history = np.arange(20.0).reshape(2, 10)
        snapshot = ptychoserve.Snapshot(header, object=np.ones((3, 2), "c8"), history=history)
        told, array = decoded(encode("object", snapshot, 4).body)
        self.assertEqual((told["version"], told["iteration"], told["downsample"]), (7, 9, 4))
        np.testing.assert_allclose(array, 1)
        np.testing.assert_array_equal(decoded(encode("history", snapshot).body)[1], history)

    def test_means_of_blocks(self):
        array = np.arange(2 * 5 * 7).reshape(2, 5, 7)
        small = mean_of_blocks(array, 2)
        self.assertEqual(small.shape, (2, 2, 3))
        self.assertEqual(small[1, 1, 2], array[1, 2:4, 4:6].mean())


class PastTest(unittest.TestCase):

    def test_memory_is_bounded_and_what_is_kept_is_spread(self):
        past = Past(10_000)
        for version in range(1, 1001):
            past.add(Encoded(version, bytes(100)))
            self.assertLessEqual(100 * len(past.versions), 10_000)
        self.assertEqual(past.versions[0], 1)
        self.assertEqual(past.versions[-1], 1000)
        self.assertGreater(len(past.versions), 40)
        steps = np.diff(past.versions)
        self.assertEqual(len(set(steps[:-1])), 1, steps)
        self.assertLessEqual(steps[-1], steps[0])
        self.assertIsNone(past.get(2))
        self.assertEqual(past.get(1000).version, 1000)

    def test_one_picture_is_always_kept(self):
        past = Past(1)
        past.add(Encoded(1, bytes(100)))
        past.add(Encoded(2, bytes(100)))
        past.add(Encoded(3, bytes(100)))
        self.assertEqual(past.versions, [1, 3])


class FakeSession:
    """Counts how often it is asked for a snapshot or a frame. Of snapshots it keeps the newest, and
    of frames all up to the newest."""

    name = "sessions/fake"

    def __init__(self, side):
        self.side = side
        self.version = 1
        self.newest_frame = 1
        self.asked = []

    async def frame(self, frame_id, expected, downsample):
        self.asked.append((frame_id, downsample))
        frame_id = self.newest_frame if frame_id is None else frame_id
        await asyncio.sleep(0)
        if frame_id > self.newest_frame:
            raise NotFound(f"frame {frame_id} is not on the device")
        counts = np.full((-(-self.side // downsample),) * 2, frame_id, "f4")
        header = frame_pb2.FrameHeader(frame_id=frame_id, version=self.version)
        return ptychoserve.Frame(header, counts, counts + 1)

    async def snapshot(self, arrays, uncovered, downsample, version=0, region=None):
        self.asked.append((arrays[0], downsample) if region is None else (version, region))
        if version not in (0, self.version):
            raise NotFound(f"version {version} is not kept")
        header = snapshot_pb2.SnapshotHeader(version=self.version)
        await asyncio.sleep(0)
        header.area.shape.rows = header.area.shape.cols = self.side
        small = np.ones((self.side // downsample,) * 2)
        return ptychoserve.Snapshot(header, object=small.astype("c8"), coverage=small.astype("f4"),
                                    probe=np.ones((2, 600, 600), "c8"))


class PicturesTest(unittest.TestCase):

    def test_ten_viewers_are_one_reader(self):
        async def scenario():
            session = FakeSession(3000)
            pictures = Pictures(session, 1024, 1 << 30)
            for version in (1, 2, 3):
                session.version = version
                got = await asyncio.gather(*(pictures.get("object", version) for _ in range(10)))
                self.assertEqual({picture.version for picture in got}, {version})
            self.assertEqual(session.asked, [("coverage", 64)] + 3 * [("object", 3)])
            self.assertEqual((await pictures.get("object", 3, version=2)).version, 2)
            with self.assertRaises(NotFound):
                await pictures.get("object", 3, version=4)
            session.version = 0
            with self.assertRaises(NotFound):
                await pictures.get("probe", 0)

        asyncio.run(scenario())

    def test_who_joins_a_fetch_gets_the_version_that_was_told(self):
        async def scenario():
            session = FakeSession(64)
            pictures = Pictures(session, 1024, 1 << 30)
            first = asyncio.ensure_future(pictures.get("object", 1))
            while ("object", 1) not in session.asked:
                await asyncio.sleep(0)
            session.version = 2  # The first call has its header by now.
            second = await pictures.get("object", 2)
            self.assertEqual(((await first).version, second.version), (1, 2))

        asyncio.run(scenario())

    def test_an_object_that_grows_is_averaged_more(self):
        async def scenario():
            session = FakeSession(500)
            pictures = Pictures(session, 1000, 1 << 30)
            await pictures.get("object", 1)
            session.side, session.version = 4096, 2
            await pictures.get("object", 2)
            session.version = 3
            await pictures.get("object", 3)
            self.assertEqual(session.asked[1:], [("object", 1), ("object", 1), ("object", 5)])

        asyncio.run(scenario())

    def test_a_probe_comes_in_the_size_of_a_thumbnail(self):
        async def scenario():
            picture = await Pictures(FakeSession(64), 1024, 1 << 30).get("probe", 1)
            header, probe = decoded(picture.body)
            self.assertEqual((header["downsample"], probe.shape), (3, (2, 200, 200)))

        asyncio.run(scenario())



class CutoutsTest(unittest.TestCase):
    PART = Cutout(1, (8, 16, 20, 30), 2)

    def test_one_call_for_all_who_see_the_same(self):
        async def scenario():
            session = FakeSession(64)
            cutouts = Cutouts(session)
            got = await asyncio.gather(*(cutouts.get(self.PART) for _ in range(10)))
            got.append(await cutouts.get(self.PART))
            self.assertEqual(len({id(cutout) for cutout in got}), 1)
            self.assertEqual(session.asked, [(1, self.PART.region)])

        asyncio.run(scenario())

    def test_the_newest_stands_for_a_version_that_is_gone(self):
        async def scenario():
            session = FakeSession(64)
            session.version = 3
            self.assertEqual((await Cutouts(session).get(self.PART)).version, 3)
            self.assertEqual([version for version, _ in session.asked], [1, 0])
            session.version = 0
            with self.assertRaises(NotFound):
                await Cutouts(session).get(self.PART)

        asyncio.run(scenario())

    def test_few_are_kept(self):
        async def scenario():
            session = FakeSession(64)
            cutouts = Cutouts(session)
            for row in [*range(9), 8, 0]:
                await cutouts.get(Cutout(1, (row, 0, 5, 5), 1))
            self.assertEqual([region[0] for _, region in session.asked], [*range(9), 0])

        asyncio.run(scenario())


class FramesTest(unittest.TestCase):

    def test_ten_viewers_are_one_reader_and_not_a_fast_one(self):
        async def scenario():
            session, state = FakeSession(100), 1
            frames = Frames(session, lambda: state)
            begin = time.monotonic()
            for newest in (4, 5):
                session.newest_frame = state = newest
                got = await asyncio.gather(*(frames.get(None) for _ in range(10)))
                self.assertEqual({decoded(frame.body)[0]["frame_id"] for frame in got}, {newest})
            self.assertGreaterEqual(time.monotonic() - begin, 0.5)
            self.assertEqual(session.asked, [(None, 1), (None, 1)])
            await frames.get(None)  # Nothing has changed.
            self.assertEqual(len(session.asked), 2)

        asyncio.run(scenario())

    def test_large_ones_are_averaged(self):
        async def scenario():
            session = FakeSession(1100)
            frames = Frames(session, lambda: 1)
            header, data = decoded((await frames.get(None)).body)
            self.assertEqual((header["downsample"], data.shape), (3, (2, 367, 367)))
            self.assertEqual(session.asked, [(None, 1), (1, 3)])
            await frames.get(0)
            self.assertEqual(session.asked[2:], [(0, 3)])

        asyncio.run(scenario())

    def test_when_the_newest_came_is_told_as_far_as_it_is_known(self):
        async def scenario():
            session, state = FakeSession(10), 1
            frames = Frames(session, lambda: state)
            first = decoded((await frames.get(None)).body)[0]
            self.assertIsNone(first["uncertain_s"])  # It may have been there for long.
            self.assertAlmostEqual(first["time_s"], time.time(), delta=5)
            state = 2
            again = decoded((await frames.get(None)).body)[0]
            self.assertEqual(again["time_s"], first["time_s"])
            session.newest_frame = state = 3
            other = decoded((await frames.get(None)).body)[0]
            self.assertGreater(other["time_s"], first["time_s"])
            self.assertAlmostEqual(other["uncertain_s"], 0.5, delta=0.4)
            self.assertIsNone(decoded((await frames.get(1)).body)[0]["time_s"])

        asyncio.run(scenario())

    def test_refusals_are_of_that_frame_alone(self):
        async def scenario():
            frames = Frames(FakeSession(10), lambda: 1)
            with self.assertRaises(NotFound):
                await frames.get(99)
            self.assertEqual(decoded((await frames.get(1)).body)[0]["frame_id"], 1)

        asyncio.run(scenario())


class ViewersTest(unittest.TestCase):

    def test_a_slow_viewer_gets_the_newest_of_each_kind(self):
        async def scenario():
            viewer = Viewer(None)
            for k in range(1000):
                viewer.put(message("session", number=k))
                viewer.put(message("server", number=k))
            taken = [json.loads(m.text) for m in await viewer.take()]
            self.assertEqual({(m["type"], m["number"]) for m in taken},
                             {("session", 999), ("server", 999)})

        asyncio.run(scenario())

    def test_rates(self):
        rate = Rate()
        readings = [rate.read(0.5 * k, 50 * k) for k in range(100)]
        self.assertEqual(readings[0], 0)
        np.testing.assert_allclose(readings[1:], 100)
        self.assertEqual(rate.read(50, 3), 0)  # Of another session with that id.


class PageTest(unittest.TestCase):

    def test_without_a_page_it_is_said_what_to_do(self):
        with tempfile.TemporaryDirectory() as folder:
            with self.assertRaises(FailedPrecondition) as caught:
                page.find(folder)
            self.assertIn("make dashboard", str(caught.exception))


class HttpCase(harness.EndToEndTest):
    """A gateway with a page of two files, in front of a server with a finished session."""

    FLAGS = ()

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        folder = pathlib.Path(cls._folder.name) / "page"
        (folder / "assets").mkdir(parents=True)
        (folder / "index.html").write_text("<!doctype html>", encoding="utf-8")
        (folder / "assets" / "index-1.js").write_text("1;", encoding="utf-8")
        (pathlib.Path(cls._folder.name) / "secret").write_text("secret", encoding="utf-8")
        cls.gateway = Gateway(cls._folder.name, cls.server.address, "--page", folder, *cls.FLAGS)

    @classmethod
    def tearDownClass(cls):
        code, errors = cls.gateway.stop()
        assert (code, errors) == (0, ""), (code, errors)
        super().tearDownClass()

    def ask(self, path, method="GET", headers=None, body=None):
        """(status, headers, body), exactly as asked."""
        address = urlsplit(self.gateway.url)
        connection = http.client.HTTPConnection(address.hostname, address.port, timeout=30)
        try:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()
        finally:
            connection.close()

    def refusal(self, status, *arguments, **options):
        """The words of an answer that must be this error."""
        found, _, body = self.ask(*arguments, **options)
        self.assertEqual(found, status, body)
        return json.loads(body)["message"]


class LookTest(HttpCase):

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        done = cls.ctl("run", cls.scan, "--session", "done", "--iterations", "5", "--keep")
        assert done.returncode == 0, done.stderr

    def test_arrays_are_those_of_the_server(self):
        with ptychoserve.Client(self.server.address) as client:
            snapshot = client.session("done").snapshot("all", uncovered="nan")
        for name in ("object", "probe", "coverage", "points", "history"):
            status, headers, body = self.ask(f"/api/sessions/done/arrays/{name}")
            self.assertEqual(status, 200, name)
            told, array = decoded(body)
            expected = getattr(snapshot, name)
            self.assertEqual(told["version"], snapshot.version)
            np.testing.assert_allclose(told["pixel_size_m"], snapshot.pixel_size_m)
            np.testing.assert_allclose(array, expected, rtol=0, err_msg=name,
                                       atol=0.71 * told.get("scale", 0))
            known = {"If-None-Match": headers["ETag"]}
            status, _, body = self.ask(f"/api/sessions/done/arrays/{name}", headers=known)
            self.assertEqual((status, body), (304, b""), name)

    def test_cut_outs_are_those_of_the_server(self):
        region = (30, 20, 40, 50)
        with ptychoserve.Client(self.server.address) as client:
            snapshot = client.session("done").snapshot("object", uncovered="nan", region=region,
                                                       downsample=2)
        path = "/api/sessions/done/arrays/object?region=30,20,40,50&downsample=2"
        status, headers, body = self.ask(path)
        self.assertEqual(status, 200, body)
        told, array = decoded(body)
        self.assertEqual((told["version"], told["downsample"], told["first_px"]),
                         (snapshot.version, 2, [30, 20]))
        np.testing.assert_allclose(told["origin_m"], snapshot.origin_m)
        np.testing.assert_allclose(array, snapshot.object, rtol=0, atol=0.71 * told["scale"])
        known = {"If-None-Match": headers["ETag"]}
        self.assertEqual(self.ask(path, headers=known)[0], 304)
        self.assertEqual(self.ask(f"{path}&version={told['version']}")[2], body)

    def test_cut_outs_are_limited(self):
        path = "/api/sessions/done/arrays/object?region="
        for region in ("", "1,2,3", "1,2,3,4,5", "-1,0,1,1", "0,0,0,5", "0,0,5,0", "a,0,1,1",
                       "0,0,1e3,5", "0,0,1025,5", "0,0,5,1025", "0,0,5,5&downsample=0",
                       "0,0,5,5&downsample=65", "0,0,5,5&downsample=x", "0,0,2049,5&downsample=2",
                       "9999999999,0,5,5", "0,0,5,5&version=-1", "٣,0,1,1"):
            self.refusal(400, path + quote(region, safe=",&="))
        self.refusal(400, "/api/sessions/done/arrays/probe?region=0,0,5,5")
        for region in ("0,0,1024,1024", "0,0,2048,2048&downsample=2", "999999999,0,5,5"):
            self.assertEqual(self.ask(path + region)[0], 200, region)

    def test_frame_is_that_of_the_server(self):
        with ptychoserve.Client(self.server.address) as client:
            frame = client.session("done").frame(expected=True)
        self.assertIsNotNone(frame.expected)
        for which in ("newest", frame.frame_id):
            path = f"/api/sessions/done/frames/{which}"
            status, headers, body = self.ask(path)
            self.assertEqual(status, 200, body)
            told, array = decoded(body)
            self.assertEqual((told["frame_id"], told["version"], told["downsample"]),
                             (frame.frame_id, frame.version, 1))
            np.testing.assert_array_equal(array, np.stack([frame.counts, frame.expected]))
            known = {"If-None-Match": headers["ETag"]}
            self.assertEqual(self.ask(path, headers=known)[::2], (304, b""))

    def test_frames_that_are_not_there_are_told(self):
        """A session that has ended has kept the last one alone."""
        last = decoded(self.ask("/api/sessions/done/frames/newest")[2])[0]["frame_id"]
        words = self.refusal(409, f"/api/sessions/done/frames/{last - 1}")
        self.assertIn("ended", words)
        self.refusal(404, "/api/sessions/none/frames/newest")
        for which in ("-1", "x", "1.5", "1e3", "9" * 19, "", "newest/1", "٣"):
            self.refusal(404, f"/api/sessions/done/frames/{quote(which, safe='')}")

    def test_result_is_a_cxi_file(self):
        status, headers, body = self.ask("/api/sessions/done/result.cxi")
        self.assertEqual(status, 200)
        self.assertRegex(headers["Content-Disposition"], r'filename="done-\d+\.cxi"')
        path = self.path("downloaded.cxi")
        pathlib.Path(path).write_bytes(body)
        with ptychoserve.Client(self.server.address) as client:
            snapshot = client.session("done").snapshot("object", area="canvas")
        np.testing.assert_array_equal(ptychoserve.Result.load(path).object, snapshot.object)

    def test_events(self):
        async def scenario():
            kinds = {}
            async with aiohttp.ClientSession() as http_session:
                url = f"{self.gateway.url}api/events?session=done"
                async with http_session.ws_connect(url) as socket:
                    while len(kinds) < 3:
                        told = await socket.receive_json(timeout=30)
                        kinds[told["type"]] = told
            return kinds

        kinds = asyncio.run(scenario())
        self.assertEqual(kinds["server"]["address"], self.server.address)
        self.assertEqual(kinds["session"]["session"]["state"], "SESSION_STATE_COMPLETED")
        self.assertEqual(kinds["session"]["session"]["config"]["detector"]["dtype"], "DATA_TYPE_U16")
        summary = kinds["sessions"]["sessions"][0]
        self.assertEqual((summary["id"], summary["accepted_frames"]), ("done", 100))

    def test_page_and_headers(self):
        for path, kind in (("/", "text/html"), ("/assets/index-1.js", "text/javascript")):
            status, headers, _ = self.ask(path)
            self.assertEqual(status, 200)
            self.assertTrue(headers["Content-Type"].replace("application", "text").startswith(kind))
        for path in ("/", "/nothing", "/api/about", "/api/sessions/none/arrays/object"):
            headers = self.ask(path)[1]
            self.assertIn("default-src 'none'", headers["Content-Security-Policy"], path)
            self.assertNotIn("unsafe", headers["Content-Security-Policy"], path)
            self.assertEqual(headers["X-Content-Type-Options"], "nosniff", path)

    def test_paths_lead_nowhere_else(self):
        for path in ("/../secret", "/..%2fsecret", "/%2e%2e/secret", "/assets/../../secret",
                     "//secret", "/assets/%00", "/index.html", "/assets", "/assets/"):
            status, _, body = self.ask(path)
            self.assertEqual(status, 404, path)
            self.assertNotIn(b"secret", body)

    def test_other_hosts_and_origins_are_refused(self):
        port = urlsplit(self.gateway.url).port
        for host in ("evil.example", f"evil.example:{port}", "127.0.0.1.evil.example", "", "[",
                     "localhost@evil.example:80 "):
            message_ = self.refusal(421, "/api/about", headers={"Host": host})
            self.assertIn("--allow-host", message_)
        for host in (f"localhost:{port}", "localhost:9000", "127.0.0.1", f"[::1]:{port}"):
            self.assertEqual(self.ask("/api/about", headers={"Host": host})[0], 200, host)
        for origin in ("https://evil.example", "null", f"http://localhost:{port + 1}"):
            self.refusal(403, "/api/about", headers={"Origin": origin})
        own = self.gateway.url.rstrip("/")
        self.assertEqual(self.ask("/api/about", headers={"Origin": own})[0], 200)

        async def socket(origin):
            async with aiohttp.ClientSession() as http_session:
                async with http_session.ws_connect(f"{self.gateway.url}api/events",
                                                   headers={"Origin": origin}):
                    pass

        asyncio.run(socket(own))
        with self.assertRaises(aiohttp.WSServerHandshakeError) as caught:
            asyncio.run(socket("https://evil.example"))
        self.assertEqual(caught.exception.status, 403)

    def test_nothing_can_be_changed(self):
        for action in ("finish", "stop", "delete"):
            message_ = self.refusal(403, f"/api/sessions/done/{action}", "POST")
            self.assertIn("only looks", message_)
        self.ok("get", "done")

    def test_what_is_not_there_or_wrong_is_said(self):
        self.assertIn("none", self.refusal(404, "/api/sessions/none/arrays/object"))
        self.assertIn("99", self.refusal(404, "/api/sessions/done/arrays/object?version=99"))
        for version in ("-1", "x", "1e9", "9" * 30, "٣"):
            self.refusal(400, f"/api/sessions/done/arrays/object?version={quote(version, safe='')}")
        self.refusal(404, "/api/sessions/done/arrays/frames")
        self.refusal(404, "/api/sessions/Done_1/arrays/object")
        self.refusal(400, "/api/events")
        self.refusal(400, "/api/events?session=..%2f")
        self.refusal(413, "/api/login", "POST", body=b"x" * (1 << 20))

    def test_noise(self):
        """Whatever is sent, the gateway answers with an error or closes, and lives."""
        rng = random.Random(1)
        pieces = ["/", "api", "sessions", "done", "arrays", "object", "..", "%2e", "%00", "?", "&",
                  "version=", "-1", "\\", "result.cxi", "frames", "newest",
                  "7", "9" * 30, "region=", "0,0,8,8", "0,0,99999,1", "downsample=", "events", "*", "{", "é", "a" * 300, ";"]
        for _ in range(400):
            path = "/" + "".join(rng.choices(pieces, k=rng.randrange(8)))
            method = rng.choice(["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "TRACE"])
            status = self.ask(quote(path, safe="/%?&=\\*{;"), method)[0]
            self.assertLess(status, 500, (method, path))
        self.assertEqual(self.ask("/api/about")[0], 200)


class TokenTest(HttpCase):
    TOKEN = "correct-horse-battery"

    @classmethod
    def setUpClass(cls):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "token"
            path.write_text(cls.TOKEN + "\n", encoding="utf-8")
            cls.FLAGS = ("--page-token-file", path)
            super().setUpClass()

    def test_only_who_has_the_token_is_served(self):
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Cookie": "ptychoserve-dashboard=x"},
                        {"Authorization": self.TOKEN}):
            for path in ("/api/about", "/api/events", "/api/sessions/x/arrays/object",
                         "/api/sessions/x/arrays/object?region=0,0,1,1",
                         "/api/sessions/x/frames/newest"):
                self.refusal(401, path, headers=headers)
        self.assertEqual(self.ask("/")[0], 200)
        bearer = {"Authorization": f"Bearer {self.TOKEN}"}
        self.assertEqual(self.ask("/api/about", headers=bearer)[0], 200)

    def test_login_gives_a_cookie_that_does_not_tell_the_token(self):
        for body in (b"", b"{}", b"[]", b'{"token": 1}', b'{"token": "wrong"}', b"\xff"):
            self.refusal(401, "/api/login", "POST", body=body)
        status, headers, _ = self.ask("/api/login", "POST",
                                      body=json.dumps({"token": self.TOKEN}).encode())
        self.assertEqual(status, 200)
        cookie = headers["Set-Cookie"]
        self.assertIn("HttpOnly", cookie)
        self.assertIn("SameSite=Strict", cookie)
        self.assertNotIn(self.TOKEN, cookie)
        name_and_value = cookie.partition(";")[0]
        self.assertEqual(self.ask("/api/about", headers={"Cookie": name_and_value})[0], 200)


class OwnCredentialsTest(unittest.TestCase):
    """Of the gateway, towards a server that looks at them."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        (self.folder / "index.html").touch()
        (self.folder / "token").write_text("secret", encoding="ascii")

    def told(self, service, *flags):
        """The first message about the server."""
        gateway = Gateway(self.folder, service.address, "--page", self.folder, *flags)
        self.addCleanup(gateway.stop)

        async def scenario():
            async with aiohttp.ClientSession() as http_session:
                async with http_session.ws_connect(f"{gateway.url}api/events") as socket:
                    while True:
                        told = await socket.receive_json(timeout=30)
                        if told["type"] == "server":
                            return told

        return asyncio.run(scenario())

    def test_what_is_offered_is_what_the_token_allows(self):
        for role, actions in (("VIEWER", []), ("PRODUCER", ["finish"]),
                              ("OPERATOR", ["finish", "stop", "delete"])):
            service = Service(["secret"], caller={"name": "wall", "role": f"ROLE_{role}"})
            self.addCleanup(service.stop)
            token = ("--token-file", self.folder / "token")
            self.assertEqual(self.told(service, *token, "--allow-control")["actions"], actions)
            self.assertEqual(self.told(service, *token)["actions"], [])

    def test_a_refusal_is_told(self):
        service = Service(["secret"])
        self.addCleanup(service.stop)
        told = self.told(service)
        self.assertFalse(told["connected"])
        self.assertIn("The server refuses this dashboard", told["error"])
        self.assertIn("--token-file", told["error"])


class CommandTest(unittest.TestCase):

    def run_command(self, *flags):
        process = gateways.start(*flags)
        errors = process.communicate(timeout=gateways.DEADLINE_S)[1]
        return process.returncode, errors

    def test_refusals(self):
        with tempfile.TemporaryDirectory() as folder:
            (pathlib.Path(folder) / "index.html").touch()
            (pathlib.Path(folder) / "token").write_text("short\n", encoding="utf-8")
            page_ = ("--page", folder)
            cases = (
                (2, "--page-token-file", "--listen", "0.0.0.0:0", *page_),
                (2, "HOST:PORT", "--listen", "8080", *page_),
                (2, "16", "--page-token-file", f"{folder}/token", *page_),
                (1, "No such file", "--page-token-file", f"{folder}/none", *page_),
                (1, "make dashboard", "--page", f"{folder}/none"),
                (2, "allowed: 1..", "--picture-px", "0"),
            )
            for code, words, *flags in cases:
                found, errors = self.run_command(*flags)
                self.assertEqual(found, code, errors)
                self.assertIn(words, errors)
                self.assertNotIn("Traceback", errors)


if __name__ == "__main__":
    support.main()
