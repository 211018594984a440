#!/usr/bin/env python3
"""Messages of detectors and encoders: read as they are, refused when damaged, never worse."""

import dataclasses
import io
import json
import pathlib
import random
import re
import socket
import struct
import unittest
import unittest.mock

import support
import cbor2
import lz4.block
import numpy as np
from ptychoserve._ranges import ranges
from ptychoserve import bridges
from ptychoserve.bridges import bitshuffle, eiger, emulator, panda, panda_tcp
from ptychoserve.bridges.messages import (BadMessage, EncoderBlock, EncoderStart, EncoderStop,
                                          Image, SeriesEnd, SeriesStart)
from ptychoserve.bridges.run_report import MEANINGS, BadMessages, ScanReport
from ptychoserve.bridges.scan import configured
from ptychoserve.bridges.scan_file import ScanFile
from ptychoserve.config import session_config
from ptychoserve.v1 import config_pb2

CHANNELS = panda.Channels("/X.Value", "/Y.Value")
ROUNDS = 20_000


def scan_of(dtype, count=3, shape=(40, 33), scale=50):
    rng = np.random.default_rng(5)
    frames = rng.poisson(scale, (count, *shape)).astype(dtype)
    return ScanFile(frames, np.arange(count) * 1e-7, np.arange(count) * -2e-7, 1.37e-10, 2.0,
                    (75e-6, 70e-6))


def unshuffled(encoded, dtype, shape):
    """Bitshuffle-LZ4 decoded bit by bit, as HDF5 filter 32008 describes it."""
    size, block_bytes = struct.unpack_from(">QI", encoded)
    itemsize, at, out = np.dtype(dtype).itemsize, 12, b""
    whole = size // (8 * itemsize) * 8 * itemsize
    while len(out) < whole:
        length, = struct.unpack_from(">I", encoded, at)
        decoded = min(block_bytes, whole - len(out))
        block = lz4.block.decompress(encoded[at + 4:at + 4 + length], uncompressed_size=decoded)
        at += 4 + length
        count = decoded // itemsize
        values = [0] * count
        for bit in range(8 * itemsize):
            for k in range(count):
                values[k] |= (block[bit * count // 8 + k // 8] >> k % 8 & 1) << bit
        out += np.array(values, dtype).tobytes()
    return np.frombuffer(out + encoded[at:], dtype).reshape(shape)


def decoded(image):
    """The pixels of an image."""
    form, data = image.form, image.data
    if form.encoding == "bslz4":
        return unshuffled(data, form.dtype, (form.rows, form.cols))
    if form.encoding == "lz4":
        data = lz4.block.decompress(data, uncompressed_size=form.frame_bytes)
    return np.frombuffer(data, form.dtype).reshape(form.rows, form.cols)


class EigerTest(unittest.TestCase):

    def test_series_of_every_format(self):
        for version in emulator.FORMATS:
            for encoding in emulator.ENCODINGS:
                for dtype in ("uint8", "uint16", "uint32"):
                    with self.subTest(version=version, encoding=encoding, dtype=dtype):
                        scan = scan_of(dtype)
                        start, images, end = emulator.eiger_series(
                            scan, 9, version=version, encoding=encoding, lost=[1])
                        said = eiger.decode(start)
                        self.assertEqual((said.series, said.frames), (9, 3))
                        self.assertAlmostEqual(said.photon_energy_ev, 9050.0, delta=1)
                        self.assertEqual((said.distance_m, said.pixel_size_y_m,
                                          said.pixel_size_x_m), (2.0, 75e-6, 70e-6))
                        self.assertEqual(eiger.decode(end), SeriesEnd(9))
                        for parts, frame in zip(images, (0, 2)):
                            image = eiger.decode(parts)
                            self.assertEqual((image.series, image.frame), (9, frame))
                            self.assertEqual(image.form.encoding, encoding)
                            np.testing.assert_array_equal(decoded(image), scan.frames[frame])

    def test_pixel_masks(self):
        mask = np.zeros((4, 6), np.uint32)
        mask[1, 5] = 16
        flat = np.ones((4, 6), np.float32)
        head, about = emulator.json_start(scan_of("uint16"), 2)
        pairs = [part for name, array in (("dflatfield-1.0", flat), ("dpixelmask-1.0", mask))
                 for part in (json.dumps({"htype": name, "shape": [6, 4],
                                          "type": array.dtype.name}).encode(), array.tobytes())]
        np.testing.assert_array_equal(eiger.decode([head, about, *pairs]).mask, mask)
        with self.assertRaisesRegex(BadMessage, "truncated"):
            eiger.decode([head, about, *pairs[:3], pairs[3][:-1]])

        def channel(tag, array):
            return {"threshold_1": cbor2.CBORTag(40, [[4, 6], cbor2.CBORTag(tag, array.tobytes())])}

        start = {**cbor2.loads(emulator.cbor_start(scan_of("uint16"), 2)[0]),
                 "pixel_mask": channel(70, mask), "flatfield": channel(85, flat)}
        np.testing.assert_array_equal(eiger.decode([cbor2.dumps(start)]).mask, mask)

    def test_lz4_of_several_blocks_becomes_one(self):
        frame = scan_of("uint16").frames[0]
        raw = frame.tobytes()
        pieces = [lz4.block.compress(raw[k:k + 1000], store_size=False)
                  for k in range(0, len(raw), 1000)]
        pieces[1] = raw[1000:2000]  # Stored as it is.
        data = struct.pack(">QI", len(raw), 1000) + b"".join(
            len(piece).to_bytes(4, "big") + piece for piece in pieces)
        values = cbor2.CBORTag(69, cbor2.CBORTag(56500, ["lz4", 2, data]))
        message = cbor2.dumps({"type": "image", "series_id": 1, "image_id": 4, "data": {
            "t": cbor2.CBORTag(40, [list(frame.shape), values])}})
        np.testing.assert_array_equal(decoded(eiger.decode([message])), frame)

    def test_what_is_wrong_has_its_name(self):
        head, about, data, config = emulator.json_image(scan_of("uint16").frames[0], 1, 4, "bslz4")

        def changed(part, **fields):
            return json.dumps({**json.loads(part), **fields}).encode()

        for reason, parts in {
            "not_json": [b"{" + head], "missing_field": [b"{}"], "unknown_type": [changed(
                head, htype="dimage-2.0")], "truncated": [head, about],
            "wrong_type": [changed(head, frame="4"), about, data],
            "wrong_value": [changed(head, frame=-1), about, data],
            "oversized": [head] * 17,
            "unknown_encoding": [head, changed(about, encoding="bs32-lz4<"), data],
            "not_cbor": [b"\x1c"],
        }.items():
            with self.subTest(reason=reason), self.assertRaises(BadMessage) as caught:
                eiger.decode(parts)
            self.assertEqual(caught.exception.reason, reason)
        for wrong in ({"frame": True}, {"frame": 1.0}, {"frame": None}, {"frame": 1 << 70},
                      {"series": []}):
            with self.subTest(wrong), self.assertRaises(BadMessage):
                eiger.decode([changed(head, **wrong), about, data])
        for wrong in ({"shape": [33]}, {"shape": "ab"}, {"shape": [0, 40]},
                      {"shape": [33, 1 << 40]}, {"shape": [33, 41]}, {"type": "float32"},
                      {"type": 7}, {"encoding": "bs16-lz4>"}, {"htype": "dimage-1.0"}):
            with self.subTest(wrong), self.assertRaises(BadMessage):
                eiger.decode([head, changed(about, **wrong), data])
        for wrong in (data[:12], data[:3], b"", data * 9, bytes(len(data))):
            with self.subTest(size=len(wrong)), self.assertRaises(BadMessage):
                eiger.decode([head, about, wrong, config])
        deep = b"[" * 100_000
        for parts in ([b'{"htype":' + deep], [head, deep, data], [b"\x81" * 100_000],
                      [b'{"htype":"dimage-1.0","series":' + b"9" * 5000 + b"}"],
                      [b"\xa1\x64type" + b"\x9b" + b"\x00\x00\x00\xff" + b"\xff" * 4],
                      [b"\xa1\x64type" + b"\x5b" + b"\xff" * 8]):
            with self.subTest(parts[0][:20]), self.assertRaises(BadMessage):
                eiger.decode(parts)

    def test_damaged_messages_never_do_more_than_be_refused(self):
        rng = random.Random(11)
        messages = []
        for version in emulator.FORMATS:
            for encoding in emulator.ENCODINGS:
                start, images, end = emulator.eiger_series(
                    scan_of("uint16", shape=(16, 16)), 1, version=version, encoding=encoding)
                messages += [start, images[0], end]
        refused = taken = 0
        for _ in range(ROUNDS):
            try:
                event = eiger.decode(damaged(rng.choice(messages), rng))
                self.assertIsInstance(event, (SeriesStart, Image, SeriesEnd))
                if isinstance(event, Image):
                    self.assertGreaterEqual(event.frame, 0)
                    self.assertLessEqual(len(event.data), 2 * event.form.frame_bytes + 8192)
                taken += 1
            except BadMessage as error:
                self.assertRegex(error.reason, "^[a-z_]+$")
                refused += 1
        self.assertGreater(refused, ROUNDS // 3)
        self.assertGreater(taken, ROUNDS // 20)


class PandaTest(unittest.TestCase):

    def test_a_run(self):
        scan = scan_of("uint16", count=20)
        start, blocks, stop = emulator.panda_run(scan, m_per_count=1e-9, samples_per_frame=10,
                                                 channels=CHANNELS, lost=[2])
        self.assertIsInstance(panda.decode(start, CHANNELS), EncoderStart)
        self.assertIsInstance(panda.decode(stop, CHANNELS), EncoderStop)
        counts = np.full((2, 200), np.nan)
        for parts in blocks:
            block = panda.decode(parts, CHANNELS)
            where = slice(block.first_sample, block.first_sample + len(block.x_counts))
            counts[:, where] = block.x_counts, block.y_counts
        lost = np.isnan(counts[0])
        self.assertEqual((np.flatnonzero(lost)[[0, -1]].tolist(), lost.sum()), ([82, 122], 41))
        means = counts.reshape(2, 20, 10).mean(2)[:, :8] * 1e-9
        np.testing.assert_allclose(means, [scan.x_m[:8], scan.y_m[:8]], atol=1e-10)

    def test_what_is_wrong(self):
        _, (block, *_), _ = emulator.panda_run(scan_of("uint16", count=20), channels=CHANNELS)
        good = json.loads(block[0])

        def changed(**fields):
            datasets = {**good["datasets"], CHANNELS.x: {**good["datasets"][CHANNELS.x], **fields}}
            return [json.dumps({**good, "datasets": datasets}).encode()]

        self.assertIsInstance(panda.decode(changed(), CHANNELS), EncoderBlock)
        for wrong in ({"data": [1.0]}, {"data": ["1"] * 41}, {"data": [[1]] * 41},
                      {"data": [True] * 41}, {"data": {}}, {"data": [10**400] * 41},
                      {"starting_sample_number": 1}, {"starting_sample_number": "0"},
                      {"starting_sample_number": -1}):
            with self.subTest(wrong), self.assertRaises(BadMessage):
                panda.decode(changed(**wrong), CHANNELS)
        for wrong in (b"[]", b"{}", b'{"msg_type":3}', b'{"msg_type":"more"}', b"\xff",
                      b'{"msg_type":"data"}', b'{"msg_type":"data","datasets":{}}'):
            with self.subTest(wrong), self.assertRaises(BadMessage):
                panda.decode([wrong], CHANNELS)
        with self.assertRaisesRegex(BadMessage, "missing_field: /A; there are /X.Value, /Y.Value"):
            panda.decode(block, panda.Channels("/A", "/B"))

    def test_damaged_messages_never_do_more_than_be_refused(self):
        rng = random.Random(12)
        run = emulator.panda_run(scan_of("uint16", count=20), channels=CHANNELS)
        messages = [run[0], run[1][0], run[2]]
        refused = 0
        for _ in range(ROUNDS):
            try:
                event = panda.decode(damaged(rng.choice(messages), rng), CHANNELS)
                self.assertIsInstance(event, (EncoderStart, EncoderBlock, EncoderStop))
            except BadMessage:
                refused += 1
        self.assertGreater(refused, ROUNDS // 3)


class PandaPortTest(unittest.TestCase):

    CHANNELS = panda.Channels()
    SCAN = scan_of("uint16", count=20)

    def parsed(self, pieces, **arguments):
        parser = panda_tcp.Parser(self.CHANNELS, **arguments)
        return [event for piece in pieces for event in parser.feed(piece)]

    def counts(self, events):
        """x and y by sample, NaN where nothing has come."""
        counts = np.full((2, 200), np.nan)
        for block in events:
            if isinstance(block, EncoderBlock):
                where = slice(block.first_sample, block.first_sample + len(block.x_counts))
                counts[:, where] = block.x_counts, block.y_counts
        return counts

    def test_runs_in_any_pieces(self):
        run = emulator.panda_port_run(self.SCAN)
        expected = emulator.encoder_counts(self.SCAN, 1e-10, 10)
        rng = random.Random(3)
        for _ in range(50):
            stream = b"OK\n" + run + run
            cuts = sorted(rng.choices(range(len(stream)), k=rng.randrange(40)))
            events = self.parsed(stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)]))
            kinds = [type(event) for event in events if not isinstance(event, EncoderBlock)]
            self.assertEqual(kinds, [EncoderStart, EncoderStop] * 2)
            for half in (events[:len(events) // 2], events[len(events) // 2:]):
                np.testing.assert_array_equal(self.counts(half), expected)

    def test_a_connection_that_comes_late_says_what_it_has_missed(self):
        run = emulator.panda_port_run(self.SCAN, first=150)
        for goes_on, first in ((False, EncoderStart), (True, EncoderBlock)):
            events = self.parsed([b"OK\n" + run], goes_on=goes_on)
            self.assertIsInstance(events[0], first)
            counts = self.counts(events)
            self.assertTrue(np.isnan(counts[:, :150]).all())
            np.testing.assert_array_equal(
                counts[:, 150:], np.array(emulator.encoder_counts(self.SCAN, 1e-10, 10))[:, 150:])

    def test_what_is_wrong(self):
        run = b"OK\n" + emulator.panda_port_run(self.SCAN)
        for old, new in ((b"OK", b"ERR no"), (b"Framed", b"ASCII"), (b"int32", b"text"),
                         (b"sample_bytes: 16", b"sample_bytes: 12"), (b"missed: 0", b"missed: x"),
                         (b"missed: 0", b"missed: " + b"9" * 30), (b"INENC3", b"INENC4"),
                         (b"BIN \xfc\x01\x00\x00", b"BIN \x07\x00\x00\x00"),
                         (b"BIN \xfc\x01\x00\x00", b"BIN \xff\xff\xff\xff"), (b"BIN ", b"BAN\n"),
                         (b"fields:", b"x" * 5000), (b"fields:", b"a\n" * 300)):
            with self.subTest(new[:20]), self.assertRaises(BadMessage):
                self.assertIn(old, run)
                self.parsed([run.replace(old, new)])

    @unittest.mock.patch.object(panda_tcp, "RETRY_S", 0.0)
    def test_a_port_that_does_not_answer_is_told_of_once_and_so_is_the_connection(self):
        said = []
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
        connection = panda_tcp.Connection(f"127.0.0.1:{port}", self.CHANNELS, said.append)
        self.addCleanup(connection.close)
        for _ in range(3):
            self.assertEqual(connection.receive(), [])
        self.assertEqual(len(said), 1, said)
        self.assertRegex(said[0], f"panda: not connected to 127.0.0.1, port {port}: .*refused")
        with socket.create_server(("127.0.0.1", port)) as server:
            self.assertEqual(connection.receive(), [])  # Connected; nothing has come.
            self.assertEqual(said[1:], ["panda: connected"])
            with server.accept()[0] as panda_side:
                panda_side.recv(len(panda_tcp.OPTIONS), socket.MSG_WAITALL)
            self.assertEqual(connection.receive(), [])
        self.assertIn("the PandA has closed the connection", said[2])

    def test_damaged_streams_never_do_more_than_be_refused(self):
        rng = random.Random(13)
        run = b"OK\n" + emulator.panda_port_run(self.SCAN)
        refused = 0
        for _ in range(ROUNDS // 10):
            try:
                for event in self.parsed(damaged([run], rng)):
                    self.assertIsInstance(event, (EncoderStart, EncoderBlock, EncoderStop))
            except BadMessage:
                refused += 1
        self.assertGreater(refused, ROUNDS // 40)


def damaged(parts, rng):
    """A message cut, lengthened, or with bytes or parts changed."""
    parts = list(parts)
    k = rng.randrange(len(parts))
    data = bytearray(parts[k])
    for _ in range(rng.choice((1, 1, 2, 8))):
        kind = rng.randrange(6)
        at = rng.randrange(len(data) + 1)
        if kind == 0:
            del data[at:]
        elif kind == 1 and at < len(data):
            data[at] = rng.randrange(256)
        elif kind == 2 and at < len(data):
            data[at] ^= 1 << rng.randrange(8)
        elif kind == 3:
            data[at:at] = rng.randbytes(rng.choice((1, 4, 100)))
        elif kind == 4:
            del data[at:at + rng.randrange(8)]
        else:
            data[at:at] = data[:at]
    parts[k] = bytes(data)
    if rng.random() < 0.1:
        parts.insert(rng.randrange(len(parts)), parts[rng.randrange(len(parts))])
    if rng.random() < 0.1 and len(parts) > 1:
        del parts[rng.randrange(len(parts))]
    return parts


class BitshuffleTest(unittest.TestCase):

    def test_sizes_that_do_not_fit_blocks(self):
        rng = np.random.default_rng(2)
        for dtype in ("uint8", "uint16", "uint32"):
            for count in (1, 7, 8, 9, 4096, 4097, 5003):
                with self.subTest(dtype=dtype, count=count):
                    frame = rng.integers(0, np.iinfo(dtype).max, (1, count), dtype)
                    np.testing.assert_array_equal(
                        unshuffled(bitshuffle.bslz4(frame), dtype, frame.shape), frame)


class ReportTest(unittest.TestCase):

    def test_line(self):
        report = ScanReport("scan-7", 7, frames=97, positions=95, expected=100,
                            lost=[(5, 5), (17, 18)], unplaced=[(12, 16)],
                            bad_messages={"truncated": 2}, refused={"wrong_shape": 1})
        self.assertEqual(
            report.line(), "scan-7: 97 of 100 frames, 95 positions; lost: 3 (5, 17-18); "
            "without position: 5 (12-16); messages not used: 2 cut short; refused: 1 wrong shape")
        many = dataclasses.replace(report, lost=[(k, k) for k in range(0, 100, 2)])
        self.assertIn("lost: 50 (0, 2, ", many.line())
        self.assertIn("38, ...)", many.line())

    def test_bad_messages_are_counted_and_the_first_of_each_is_said(self):
        said = io.StringIO()
        bad = BadMessages(lambda text: said.write(text + "\n"))
        for _ in range(3):
            bad.add("eiger", BadMessage("truncated", "3 bytes"))
        bad.add("panda", BadMessage("not_json", "?"), 4)
        self.assertEqual(bad.take(), {"not_json": 4, "truncated": 3})
        self.assertEqual(bad.take(), {})
        self.assertRegex(said.getvalue(), "^eiger: not used: a message cut short: 3 bytes; .*\n"
                                          "panda: not used: a message not JSON: [?]; .*\n$")

    def test_every_reason_has_words_of_its_own(self):
        sources = pathlib.Path(bridges.__file__).parent.glob("*.py")
        found = set(re.findall(r'BadMessage\(\s*"(\w+)"', "".join(
            source.read_text("utf-8") for source in sources)))
        self.assertEqual(found, set(MEANINGS))
        self.assertEqual(len({what for what, _ in MEANINGS.values()}), len(MEANINGS))

    def test_ranges(self):
        for ids, runs in (([], []), ([4], [(4, 4)]), ([1, 2, 3, 7, 9, 10],
                                                      [(1, 3), (7, 7), (9, 10)])):
            self.assertEqual(ranges(np.array(ids, int)), runs)


class ConfigurationTest(unittest.TestCase):

    START = SeriesStart(1, 50, 9000.0, 2.0, 75e-6, 70e-6, np.eye(40, 33))
    FORM = eiger.decode(emulator.json_image(scan_of("uint32").frames[0], 1, 0, "raw")).form

    def test_what_is_left_open_is_filled_in(self):
        config = configured(config_pb2.SessionConfig(), self.START, self.FORM)
        self.assertEqual(config, session_config(
            optics={"photon_energy_ev": 9000.0, "distance_m": 2.0,
                    "detector_pixel_size_y_m": 75e-6, "detector_pixel_size_x_m": 70e-6},
            detector={"frame_shape": (40, 33), "dtype": "u32", "bad_pixels": np.eye(40, 33)},
            scan={"expected_points": 50}))

    def test_what_is_set_stays(self):
        base = session_config(
            optics={"wavelength_m": 1e-10, "distance_m": 3.0, "detector_pixel_size_y_m": 1e-6,
                    "detector_pixel_size_x_m": 2e-6},
            detector={"frame_shape": (40, 33), "dtype": "u32", "bad_pixels": np.ones((40, 33))},
            scan={"expected_points": 7})
        self.assertEqual(configured(base, self.START, self.FORM), base)

    def test_a_mask_of_another_size_is_not_taken(self):
        start = self.START._replace(mask=np.ones((41, 33)))
        config = configured(config_pb2.SessionConfig(), start, self.FORM)
        self.assertEqual(config.detector.bad_pixels, b"")


if __name__ == "__main__":
    support.main()
