#!/usr/bin/env python3
"""Writes the seeds of the fuzz targets, corpus/TARGET/seed_*: inputs that reach what chance hardly
would. The other files of a corpus were found by the fuzzer from these.

Usage: tests/fuzz/make_seeds.py
"""

import pathlib
import struct

CORPUS = pathlib.Path(__file__).resolve().parent / "corpus"


def varint(value):
    value &= (1 << 64) - 1
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def field(number, value):
    """One field of a protobuf message; the kind follows from the type of the value."""
    if isinstance(value, float):
        return varint(number << 3 | 1) + struct.pack("<d", value)
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def message(*fields):
    return b"".join(field(number, value) for number, value in fields)


def shape(rows, cols):
    return message((1, rows), (2, cols))


def frame_messages():
    batch = message((1, 100), (2, 2), (4, 2), (5, 8), (6, 8), (7, 1), (15, bytes(256)))
    ids = message((2, 2), (3, varint(7) + varint(300)), (4, 2), (5, 8), (6, 8), (7, 3),
                  (8, varint(20) + varint(9)), (15, bytes(range(29))))
    yield "open", message((1, message((1, "sessions/a"), (2, "eiger-1"), (3, 1234567))))
    yield "batch", field(2, batch)
    yield "encoded", field(2, ids)
    yield "merged", field(2, batch) + field(2, ids)
    yield "replaced", field(2, batch) + field(3, message((1, 5), (2, 6)))
    yield "unknown", field(2, ids + field(99, b"new")) + field(77, 5)
    yield "two_payloads", field(2, message((15, b"first"), (2, 1), (15, b"second")))
    yield "group", field(2, ids) + varint(50 << 3 | 3) + field(1, 2) + varint(50 << 3 | 4)
    yield "torn", field(2, batch)[:-100]


def frame_messages_in_pieces():
    for name, data in frame_messages():
        yield name, b"\1\5\2" + data


def config(**replaced):
    parts = {
        "optics": (1, message((2, 8000.0), (4, 1.5), (5, 75e-6))),
        "detector": (2, message((1, shape(128, 128)), (2, 2))),
        "scan": (3, message((1, 400), (9, 20))),
    }
    parts.update(replaced)
    return message(*parts.values())


TEXT_CONFIG = """optics { wavelength_m: 1e-10 distance_m: 2 detector_pixel_size_y_m: 5.5e-5 }
detector { frame_shape { rows: 64 cols: 32 } dtype: DATA_TYPE_F32 orientation: ORIENTATION_ROT180 }
scan { capacity: 100 x_sign: -1 encoder { samples_per_frame: 3 y_scale_m_per_count: 1e-9
  x_scale_m_per_count: -1e-9 rotation_angle_deg: 60 } }
schedule { difference_map { sigma2: 0.1 } plateau { window: 5 } }
schedule { epie { max_batch: 1 } iterations: 3 }
schedule { lsq_ml { batch_kind: BATCH_KIND_COMPACT batch_size: 9 } iterations: 2 }
schedule { ml_gradient { likelihood: LIKELIHOOD_GAUSSIAN } }
"""
JSON_CONFIG = """{"optics": {"electronEnergyEv": 3e5, "distanceM": 1, "detectorPixelSizeYM": 1e-4},
"detector": {"frameShape": {"rows": 16, "cols": 16}, "dtype": "DATA_TYPE_U8"},
"scan": {"bounds": {"yMaxM": 1e-8, "xMaxM": 2e-8}, "outOfCanvas": "OUT_OF_CANVAS_CLAMP"},
"probe": {"modes": 3}, "run": {"maxIterations": 5}, "snapshots": {"history": 2}}"""


def configs():
    region = message((1, 8), (2, 300), (3, shape(256, 256)))
    crop = message((1, shape(512, 1024)), (2, 3), (3, 7), (4, region))
    found = message((1, shape(64, 64)), (2, 8))
    centre = message((1, shape(200, 100)), (2, 1), (3, 5), (5, found))
    bounds = message((4, message((2, 1e-6), (4, 2e-6))), (5, 2), (8, 1))
    probe = message((1, message((1, 1), (2, shape(8, 8)), (3, struct.pack("<f", 1) * 128))))
    small = message((1, shape(8, 8)), (2, 2), (6, bytes(64)))
    stages = (message((1, message((1, 0.5))), (5, 0.5)), message((2, message((2, 0.1)))))
    yield "binary", b"\0" + config()
    yield "crop", b"\0" + config(detector=(2, crop))
    yield "auto_centre", b"\0" + config(detector=(2, centre))
    yield "probe_and_mask", b"\0" + config(detector=(2, small), probe=(5, probe))
    yield "schedule", b"\0" + config() + field(6, stages[0]) + field(6, stages[1])
    yield "bounds", b"\0" + config(scan=(3, bounds))
    yield "text", b"\1" + TEXT_CONFIG.encode()
    yield "json", b"\1" + JSON_CONFIG.encode()


def codecs():
    lz4 = bytes([0xF0, 1]) + bytes(range(16))  # 16 literals.
    yield "raw", bytes([0, 1]) + struct.pack("<H", 8) + bytes(8)
    yield "lz4", bytes([1, 0]) + struct.pack("<H", 16) + lz4
    block = struct.pack(">I", len(lz4)) + lz4
    yield "bslz4", bytes([2, 1]) + struct.pack("<H", 16) + struct.pack(">QI", 16, 0) + block
    rest = struct.pack(">QI", 18, 16) + block + b"ab"
    yield "bslz4_rest", bytes([2, 1]) + struct.pack("<H", 18) + rest
    yield "runs", bytes([2, 2]) + struct.pack("<H", 9000) + bytes(9000)


def arrays():
    def npy(header, data, version=1):
        length = struct.pack("<H" if version == 1 else "<I", len(header))
        return b"\x93NUMPY" + bytes([version, 0]) + length + header.encode() + data
    text = "{'descr': '%s', 'fortran_order': False, 'shape': %s, }\n"
    for name, descr, dims, data, version in (
            ("real", "<f4", "(2, 2)", bytes(16), 1),
            ("complex", "<c16", "(1, 2, 2)", bytes(64), 2),
            ("bytes", "|u1", "(3,)", b"abc", 1), ("scalar", "<i8", "()", bytes(8), 1),
            ("large", "<f8", "(1, 1)", struct.pack("<d", 1e300), 1),
            ("empty", "<u2", "(0, 99999999999)", b"", 1)):
        yield name, npy(text % (descr, dims), data, version)


def records(*payloads):
    return b"\1" + bytes([len(payloads)]) + b"".join(bytes([k, len(p)]) + p for k, p in payloads)


def record_files():
    three = records((1, b"frames"), (2, b""), (3, b"an event of some length"))
    yield "whole", three
    yield "torn", three + b"\1\0" + struct.pack("<H", 70)
    yield "flipped", three + b"\1\1" + struct.pack("<H", 60) + b"\2"
    yield "filled", three + b"\1\2" + struct.pack("<H", 53) + b"\5x"
    cut = b"\3" + struct.pack("<H", 50) + b"\3"
    yield "cut", three + b"\2" + cut + b"\1" + struct.pack("<H", 3) + b"\0"
    yield "no_records", b"\0PSRECS01" + b"PSRC" * 20


def spools():
    three = bytes([3]) + b"".join(bytes([k, len(p)]) + p for k, p in
                                  ((1, b"x" * 200), (2, b"y" * 100), (3, b"")))
    yield "whole", three + b"\0"
    yield "large_files", b"\3" + three
    yield "torn", b"\3" + three + b"\0\1\0" + struct.pack("<H", 300)
    yield "second_file", b"\0" + three + b"\1\1\1" + struct.pack("<H", 20) + b"\1"
    yield "no_header", b"\3" + three + b"\0\1\1" + struct.pack("<H", 5) + b"\1"


def id_sets():
    yield "joins", bytes([0, 0, 1, 2, 0, 3, 4, 0, 2, 2, 1, 0, 9, 3, 0, 63, 5, 0, 2])
    yield "erases", bytes([1, 1, 0, 40, 2, 20, 0, 2, 0, 0, 2, 40, 40, 5, 0, 7, 4, 1, 1])
    yield "smallest", bytes([2, 0, 0, 0, 1, 0, 5, 5, 0, 3, 2, 0, 0, 5, 1, 1])
    yield "largest", bytes([3, 0, 63, 63, 1, 60, 63, 5, 0, 3, 4, 62, 62, 3, 50, 63, 5, 63, 1])


def sent(first, count=4, encoding=0, odd=0, ids=()):
    return (bytes([0, odd, count - 1, first]) + (b"\1" + bytes(ids) if ids else b"\0") +
            bytes([encoding]) + bytes([1]) * count)


def positions(first, count=4):
    return bytes([3, count - 1, first, 0]) + bytes(range(2 * count))


def ingests():
    samples = bytes([4, 0, 11]) + bytes(range(12))
    turn, finish = b"\5", bytes([6, 0, 1, 4])
    scan = sent(4) + turn + sent(8, encoding=1) + turn + positions(4) + positions(8) + turn * 4
    yield "scan", b"\x07\0" + scan + finish
    yield "held", b"\x87\0" + scan + finish + turn
    yield "beside", b"\x07\1" + scan + finish
    yield "auto_centre", b"\x47\0" + sent(4, 2) + sent(6, 3) + turn + positions(4) + finish
    yield "skipped", b"\x17\0" + sent(4) + bytes([2, 8, 15]) + bytes([2, 0, 6]) + turn * 3
    yield "encoder", b"\x07\0" + sent(4) + samples + samples + turn * 3
    yield "full", b"\x20\0" + sent(4, 6) + turn * 3 + sent(12) + positions(4) + turn * 3
    ends = bytes([3, 2, 0, 1, 248, 0, 0, 247, 1, 1, 4, 2, 2])
    yield "ends_of_range", b"\x07\0" + sent(0, 3, ids=(244, 248, 247)) + ends
    yield "odd", b"\x07\0" + b"".join(sent(4 + i, 3, i % 3, i) for i in range(8))
    lost = field(3, message((1, 104), (2, 2)))
    yield "bytes", b"\x07\0" + bytes([7, 1, 8]) + lost + bytes([7, 0, 9]) + b"\x12\x07\x08\x65"


def requests():
    select = message((1, varint(1) + varint(3)), (2, 2), (3, 2), (4, 0.5), (5, 2))
    run = message((4, 9), (3, 5))
    update = message((1, message((1, "sessions/a"), (2, message((7, run), (9, message((3, 2))))))),
                     (2, message((1, "config.run.max_iterations"), (1, "config.snapshots"))))
    unknown = message((2, field(1, "config." + "ä" * 60)))
    yield "name", b"\0sessions/b-1"
    yield "no_name", b"\0sessions/B_1\xff"
    yield "no_session", b"\0sessions/none"
    yield "first_page", b"\1" + struct.pack("<i", 2)
    yield "page", b"\1" + struct.pack("<i", 1) + b"YWZ0ZXI6YQ"  # after:a
    yield "no_page", b"\1" + struct.pack("<i", 1) + b"YQ=="
    yield "producers", b"\2" + (struct.pack("<Q", 5) + b"\7eiger-1") * 2
    yield "no_producer", b"\2" + struct.pack("<Q", 5) + b"\x4bx" + "ä".encode() * 37
    yield "update", b"\3" + update
    yield "no_update", b"\3" + unknown
    yield "selection", b"\4" + select


def saved_states():
    def record(kind, payload):
        return bytes([kind]) + struct.pack("<H", len(payload)) + payload
    area = message((1, -3), (2, 4), (3, 16), (4, 20))
    scanned = message((1, 2), (2, 2), (3, 10), (4, 12))
    run = message((1, 7), (2, 0), (3, 7), (10, 1.0))
    time = message((1, 1700000000))
    probe = ((9, 1), (10, 8), (11, 8))
    point = ((12, varint(5)), (13, struct.pack("<d", 1)), (14, struct.pack("<d", 2)))
    whole = message((1, 3), (2, 7), (3, time), (5, area), (6, scanned), (7, 1e-8), (8, 1e-8),
                    *probe, *point, (16, run))
    arrays = bytes([3, 1, 4, 1, 5, 0])
    huge = message((5, message((3, 1 << 20), (4, 1 << 20))), (9, 64), (10, 1 << 20), (11, 1 << 20))
    outside = message((5, area), (6, message((1, 15), (2, 1 << 30), (3, 10), (4, 12))), *probe)
    late = message((3, message((1, (1 << 63) - 1))), (5, area), (6, scanned), *probe)
    session = message((1, "sessions/a"), (3, 5))
    result = message((1, session), (2, message((1, 7))), (3, time), (4, varint(6)))
    yield "manifest", b"\0\1" + record(0, message((1, "a"), (2, config()), (3, time)))
    yield "checkpoint", b"\1\4" + record(2, whole) + arrays
    waves = whole + message((17, struct.pack("<d", 0.5)))
    yield "exit_waves", b"\1\6" + record(2, waves) + arrays + bytes([6, 1, 7, 1])
    moving = whole + message((18, 4))
    yield "momentum", b"\1\7" + record(2, moving) + arrays + bytes([6, 1, 8, 1, 9, 1])
    lsq = moving + message((22, 1))
    yield "momentum_of_lsq_ml", b"\1\7" + record(2, lsq) + arrays + bytes([6, 1, 8, 1, 9, 1])
    yield "missing_velocity", b"\1\6" + record(2, moving) + arrays + bytes([6, 1, 8, 1])
    yield "missing_wave", b"\1\5" + record(2, waves) + arrays + bytes([6, 1])
    yield "same_array", b"\1\4" + record(2, whole) + bytes([3, 1] * 3)
    yield "two_snapshots", (b"\1\5" + record(2, whole) + bytes([3, 1]) + record(2, whole) +
                            bytes([4, 1, 5, 1]))
    yield "huge", b"\1\4" + record(2, huge) + arrays
    yield "outside", b"\1\4" + record(2, outside) + arrays
    yield "late", b"\1\4" + record(2, late) + arrays
    yield "result", b"\2\5" + record(1, result) + record(2, whole) + arrays


def journals():
    def record(kind, payload, step=1):
        return bytes([step, kind - 1]) + struct.pack("<H", len(payload)) + payload
    two = message((1, 0), (2, 2), (4, 1), (5, 8), (6, 8), (7, 1), (15, bytes([1]) * 128))
    frames = record(1, field(2, two))
    lost = record(1, field(3, message((1, 2), (2, 3))))
    places = record(2, field(2, message((3, struct.pack("<5d", *[i * 1e-9 for i in range(5)])),
                                        (4, bytes(40)))))
    producer = record(3, field(4, message((1, "eiger-1"), (2, 7))))
    update = record(3, field(3, message((1, message((2, message((7, message((4, 5))))))),
                                        (2, message((1, "config.run.max_iterations"))))))
    finish = record(3, field(1, message((1, "sessions/a"))))
    stop = record(3, field(2, message((1, "sessions/a"), (2, 1))))
    yield "whole", bytes([0, 5]) + frames + lost + places + producer + finish + b"\0"
    yield "two_lanes", b"\1\2" + frames + places + b"\0\2\0" + update + b"\0"
    flip = b"\1\1" + struct.pack("<H", 100) + b"\3"
    yield "damaged", bytes([0, 3]) + frames + places + stop + flip
    yield "torn", bytes([0, 3]) + frames + lost + places + b"\1\0" + struct.pack("<H", 260)
    yield "unknown", bytes([0, 2]) + record(4, b"what") + record(1, b"\xff\xff") + b"\0"


TARGETS = {
    "codec": codecs, "config": configs, "frame_message": frame_messages_in_pieces,
    "id_ranges": id_sets, "ingest": ingests, "journal": journals, "npy": arrays,
    "record_file": record_files, "requests": requests, "saved_state": saved_states, "spool": spools,
}

if __name__ == "__main__":
    for target, seeds in TARGETS.items():
        folder = CORPUS / target
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in seeds():
            (folder / f"seed_{name}").write_bytes(data)
