"""The command `ptychoserve-bridge`."""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import socket
import sys
from typing import Any, Optional, Sequence

import zmq

from ptychoserve._connection_flags import FlagParser, add_connection_flags, credentials_of
from ptychoserve._session_flags import (at_least_one, count, positive, program_name,
                                        read_config)
from ptychoserve.bridges import curve, emulator, memory, panda_tcp, scan_file, sockets
from ptychoserve.bridges.bridge import QUIET_S, STREAMS, Bridge
from ptychoserve.bridges.panda import Channels
from ptychoserve.bridges.run_report import ScanReport
from ptychoserve.client import Client
from ptychoserve.errors import InvalidArgument, PtychoserveError, invalid
from ptychoserve.v1 import config_pb2

_PREFIX = "[a-z0-9-]{1,40}"
_DATA_PORT = "panda://"
_ENDS = """Exit code: 0; 1 when a scan had an error, or nothing of it is reconstructed as frames or
positions did not come; 2 when something was asked for wrongly, before anything is measured. """
_KEYS = """CurveZMQ: set PTYCHOSERVE_EIGER_SERVER_PUBLIC_KEY, PTYCHOSERVE_EIGER_CLIENT_PUBLIC_KEY
and PTYCHOSERVE_EIGER_CLIENT_SECRET_KEY, all of them or none; for an emulator that asks for keys,
PTYCHOSERVE_EIGER_SERVER_SECRET_KEY. PTYCHOSERVE_PANDA_... are those of the encoder."""


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Exit code: 0; 1 for what went wrong, a scan or all; 2 for what was asked wrongly."""
    options = _parser().parse_args(arguments)
    try:
        return options.run(options)
    except InvalidArgument as error:
        _log(str(error))
        return 2
    except (PtychoserveError, OSError, KeyError, zmq.ZMQError) as error:
        _log(str(error))
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = FlagParser("ptychoserve-bridge", description="Feeds sessions from the streams of a "
                        "detector and an encoder.", epilog=_KEYS)
    commands = parser.add_subparsers(required=True)
    _run_parser(commands.add_parser("run", help="feed sessions of a server", epilog=_ENDS + _KEYS,
                                    prog=program_name("ptychoserve-bridge run")))
    emulate = commands.add_parser("emulate", help="publish a scan file as a source would",
                                  prog=program_name("ptychoserve-bridge emulate"),
                                  epilog=_KEYS)
    sources = emulate.add_subparsers(required=True)
    _eiger_parser(sources.add_parser("eiger", help="as the stream of an Eiger detector"))
    _panda_parser(sources.add_parser("panda", help="as the positions of a PandA"))
    _panda_port_parser(sources.add_parser("panda-port", help="as the data port of a PandA"))
    return parser


def _run_parser(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", help="SessionConfig, JSON or protobuf text, as of ptychoctl; "
                        "what it leaves open is filled in from what the detector says")
    parser.add_argument("--prefix", default="scan", help="sessions are PREFIX-SERIES, so that each "
                        "detector needs its own; a-z, 0-9 and -; default: %(default)s")
    parser.add_argument("--streams", type=at_least_one, default=STREAMS, help="of frames to the "
                        "server, which decodes what one of them brings on one core; "
                        "default: %(default)s")
    parser.add_argument("--eiger", required=True, metavar="ADDRESS", help="tcp://HOST:PORT; a "
                        "bridge goes on only with a session that one with the same address began")
    parser.add_argument("--eiger-socket", choices=sockets.KINDS, default="pull", help="sub, if the "
                        "detector publishes and does not push; default: %(default)s")
    parser.add_argument("--panda", metavar="ADDRESS", help="tcp://HOST:PORT, of JSON messages; or "
                        "panda://HOST, the data port of the PandA itself. Left out: another "
                        "program sends positions into the session PREFIX-SERIES, by frame number, "
                        "such as ptychoctl stream --positions-only")
    parser.add_argument("--panda-socket", choices=sockets.KINDS, default="sub",
                        help="of tcp:// likewise; default: %(default)s")
    parser.add_argument("--x-channel", default=Channels().x, help="dataset of x, in counts")
    parser.add_argument("--y-channel", default=Channels().y, help="dataset of y, in counts")
    parser.add_argument("--idle-s", type=positive, default=60.0, metavar="S",
                        help="a scan by which nothing has come for so long is over; without "
                        "--panda, how long its first position is waited for when it has ended; "
                        "default: %(default)s")
    parser.add_argument("--quiet-s", type=positive, default=QUIET_S, metavar="S",
                        help="a source that is silent for so long in the middle of a scan, or at "
                        "the start, is named; default: %(default)s")
    parser.add_argument("--scans", type=int, default=0, help="end after so many; 0, the "
                        "default: never")
    parser.add_argument("--json", action="store_true", help="reports as JSON, one a line")
    add_connection_flags(parser)
    parser.set_defaults(run=_run)


def _scan_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", help="scan, CXI or another format of ptychoserve-replay")
    parser.add_argument("--skip-frames", type=count, default=0, help="begin after so many")
    parser.add_argument("--max-frames", type=count, help="end after so many")


def _encoder_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--m-per-count", type=float, default=1e-10)
    parser.add_argument("--samples-per-frame", type=int, default=10)


def _publisher_arguments(parser: argparse.ArgumentParser, kind: str) -> None:
    _scan_arguments(parser)
    parser.add_argument("--bind", required=True, metavar="ADDRESS", help="tcp://*:PORT")
    parser.add_argument("--socket", choices=("push", "pub"), default=kind)
    parser.add_argument("--scans", type=int, default=1, help="so many times, one after the other")
    parser.add_argument("--lose", type=_numbers, default=frozenset(), metavar="5,17-18",
                        help="messages that are not sent")


def _eiger_parser(parser: argparse.ArgumentParser) -> None:
    _publisher_arguments(parser, "push")
    parser.add_argument("--rate", type=float, default=0.0, help="frames a second; 0: no limit")
    parser.add_argument("--stream", choices=emulator.FORMATS, default="v1")
    parser.add_argument("--encoding", choices=emulator.ENCODINGS, default="bslz4")
    parser.add_argument("--series", type=int, default=1, help="number of the first one")
    parser.set_defaults(run=_emulate_eiger)


def _panda_parser(parser: argparse.ArgumentParser) -> None:
    _publisher_arguments(parser, "pub")
    parser.add_argument("--rate", type=float, default=0.0, help="messages a second; 0: no limit")
    _encoder_arguments(parser)
    parser.add_argument("--samples-per-message", type=int, default=41)
    parser.set_defaults(run=_emulate_panda)


def _panda_port_parser(parser: argparse.ArgumentParser) -> None:
    _scan_arguments(parser)
    _encoder_arguments(parser)
    parser.add_argument("--port", type=int, default=panda_tcp.PORT)
    parser.add_argument("--scans", type=int, default=1, help="runs, one after the other")
    parser.set_defaults(run=_emulate_panda_port)


def _numbers(text: str) -> frozenset[int]:
    """Of "5,17-18"."""
    found: set[int] = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        found.update(range(int(first), int(last or first) + 1))
    return frozenset(found)


def _run(options: argparse.Namespace) -> int:
    config = read_config(options.config) if options.config else config_pb2.SessionConfig()
    if options.panda and not config.scan.HasField("encoder"):
        raise invalid("scan.encoder", "not set", "x_scale_m_per_count, y_scale_m_per_count and "
                      "samples_per_frame, as --panda needs them",
                      hint='in the file of --config: {"scan": {"encoder": {...}}}')
    if re.fullmatch(_PREFIX, options.prefix) is None:
        raise invalid("--prefix", repr(options.prefix), "1 to 40 of a-z, 0-9 and -, as sessions "
                      "are called PREFIX-SERIES")
    keys = {source: curve.client_keys(os.environ, f"PTYCHOSERVE_{source.upper()}")
            for source in ("eiger", "panda")}

    memory.keep_freed()
    failed = False

    def report(scan: ScanReport) -> None:
        nonlocal failed
        failed |= bool(scan.error)
        print(json.dumps(scan.as_dict()) if options.json else scan.line(), flush=True)

    channels = Channels(options.x_channel, options.y_channel)
    with Client(options.server, **credentials_of(options)) as client, zmq.Context() as context:
        bridge = Bridge(client, config, prefix=options.prefix, detector=options.eiger,
                        streams=options.streams, channels=channels if options.panda else None,
                        idle_s=options.idle_s, quiet_s=options.quiet_s, report=report, log=_log)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: bridge.stop())
        eiger_socket = _connect(context, "eiger", options.eiger, options.eiger_socket,
                                keys["eiger"])
        encoder: Any = None
        if options.panda and options.panda.startswith(_DATA_PORT):
            encoder = panda_tcp.Connection(options.panda[len(_DATA_PORT):], channels, _log)
        elif options.panda:
            encoder = _connect(context, "panda", options.panda, options.panda_socket,
                               keys["panda"])
        try:
            bridge.run(eiger_socket, encoder, scans=options.scans)
        finally:
            if encoder is not None:
                encoder.close()
            eiger_socket.close()
    return 1 if failed else 0


def _connect(context: zmq.Context, source: str, address: str, kind: str,
             keys: Optional[curve.ClientKeys]) -> zmq.Socket:
    try:
        return sockets.connect(context, address, kind, keys)
    except zmq.ZMQError as error:
        raise invalid(f"--{source}", f"{address!r}, {error}", "tcp://HOST:PORT") from None


def _scan_of(options: argparse.Namespace) -> scan_file.ScanFile:
    return scan_file.read(options.file).part(options.skip_frames, options.max_frames)


def _emulate_eiger(options: argparse.Namespace) -> int:
    scan = _scan_of(options)
    numbers = range(options.series, options.series + options.scans)
    series = [emulator.eiger_series(scan, number, version=options.stream,
                                    encoding=options.encoding, lost=options.lose)
              for number in numbers]
    return _emulate(options, series, "EIGER")


def _emulate_panda(options: argparse.Namespace) -> int:
    run = emulator.panda_run(
        _scan_of(options), m_per_count=options.m_per_count,
        samples_per_frame=options.samples_per_frame,
        samples_per_message=options.samples_per_message, lost=options.lose)
    return _emulate(options, [run] * options.scans, "PANDA")


def _emulate_panda_port(options: argparse.Namespace) -> int:
    run = emulator.panda_port_run(_scan_of(options), m_per_count=options.m_per_count,
                                  samples_per_frame=options.samples_per_frame)
    with socket.create_server(("", options.port)) as server:
        _log(f"at port {options.port}")
        client, _ = server.accept()
        with client, client.makefile("rb") as asked:
            if asked.readline() == panda_tcp.OPTIONS:
                client.sendall(b"OK\n" + run * options.scans)
                asked.read()  # Until it has gone.
    return 0


def _emulate(options: argparse.Namespace, scans: Sequence[tuple[Any, Any, Any]],
             source: str) -> int:
    secret = curve.server_secret(os.environ, f"PTYCHOSERVE_{source}")
    with zmq.Context() as context:
        with emulator.bind(context, options.bind, options.socket, secret) as source_socket:
            _log(f"at {emulator.endpoint(source_socket)}")
            emulator.wait_for_subscriber(source_socket)
            for start, messages, end in scans:
                source_socket.send_multipart(start)
                emulator.send(source_socket, messages, options.rate)
                source_socket.send_multipart(end)
    return 0


def _log(text: str) -> None:
    print(f"ptychoserve-bridge: {text}", file=sys.stderr, flush=True)
