"""The command `ptychoserve-replay`."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from collections.abc import Sequence
from typing import Any, Optional

from ptychoserve._connection_flags import FlagParser, add_connection_flags, credentials_of
from ptychoserve._progress import Progress
from ptychoserve._ranges import ranges
from ptychoserve._session_flags import (add_session_flags, at_least_one, config_of, count,
                                        program_name, rate)
from ptychoserve.client import Client, Session
from ptychoserve.config import session_config
from ptychoserve.errors import (AlreadyExists, DeadlineExceeded, InvalidArgument,
                                PtychoserveError, SessionFailed, invalid)
from ptychoserve.replay.player import play
from ptychoserve.result import Result
from ptychoserve.scans import FORMATS, Scan, open_scan
from ptychoserve.v1 import config_pb2

PROGRAM = "ptychoserve-replay"
PRODUCER = "replay"
_STOP_S = 60.0
_INTERRUPTED = 130
_FORMATS = ", ".join(FORMATS)
_DESCRIPTION = """Sends a recorded scan to a session as if it was being measured, waits for the
reconstruction and writes it."""
_EPILOG = """Exit codes: 0 done; 1 the server or the network failed; 2 wrong usage, or a scan that
cannot be read; 3 the session has failed; 130 interrupted. Ctrl-C stops the session and still writes
its last snapshot. Interrupted by anything else, the same command with the same --session goes on
where it was. TILED_API_KEY is the key of a Tiled server."""


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Exit code: see `--help`."""
    program = program_name(PROGRAM)
    options = _parser(program).parse_args(arguments)
    options.program = program

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        return _run(options)
    except KeyboardInterrupt:
        return _INTERRUPTED
    except SessionFailed as error:
        _log(program, str(error))
        return 3
    except (InvalidArgument, FileNotFoundError, IsADirectoryError, PermissionError) as error:
        _log(program, str(error))
        return 2
    except (PtychoserveError, OSError, ImportError) as error:
        _log(program, str(error))
        return 1
    finally:
        signal.signal(signal.SIGTERM, before)


def _parser(program: str) -> argparse.ArgumentParser:
    parser = FlagParser(program, description=_DESCRIPTION, epilog=_EPILOG)
    parser.add_argument("scan", metavar="FILE|URI",
                        help=f"a scan ({_FORMATS}), or the http(s) address of a Tiled node")
    parser.add_argument("--session", default="", metavar="ID",
                        help="id of the session, [a-z0-9-]{1,63}; default: made by the server")
    reading = parser.add_argument_group("the scan")
    reading.add_argument("--format", choices=FORMATS, default="", help="default: found out")
    reading.add_argument("--mapping", default="", metavar="FILE",
                         help="where things are, JSON or YAML; for HDF5 that is none of the others")
    reading.add_argument("--position-unit", default="", metavar="UNIT",
                         help="of positions in NeXus that have no unit, such as um")
    reading.add_argument("--skip-frames", type=count, default=0, metavar="N",
                         help="leave out the first N, and count from the next one")
    reading.add_argument("--max-frames", type=at_least_one, metavar="N", help="no more than N")
    reading.add_argument("--use-probe", action="store_true",
                         help="begin with the probe that the scan has")
    playing = parser.add_argument_group("playing")
    playing.add_argument("--rate", type=rate, default=0.0, metavar="HZ",
                         help="frames a second; 0, the default: as fast as they are taken")
    playing.add_argument("--workers", type=at_least_one, default=2, metavar="N",
                         help="threads that read, default 2; the order of the frames stays")
    playing.add_argument("--chunk-size", type=count, default=0, metavar="N",
                         help="frames that are read at once; 0, the default: about 4 MiB of them")
    playing.add_argument("--loop", type=at_least_one, default=1, metavar="N",
                         help="play it N times, each into a session of its own: ID-1, ID-2, ...")
    result = parser.add_argument_group("the result")
    result.add_argument("-o", "--output", metavar="FILE",
                        help="where to write it, .cxi, .h5 or .npz; of several loops FILE-1, ...")
    result.add_argument("--no-wait", action="store_true",
                        help="end when the server has all input, not when the session ends")
    result.add_argument("--delete", action="store_true", help="forget the session afterwards")
    result.add_argument("-q", "--quiet", action="store_true", help="no progress")
    result.add_argument("--json", action="store_true", help="summaries as JSON, one a line")
    add_session_flags(parser)
    add_connection_flags(parser)
    return parser


def _log(program: str, text: str) -> None:
    print(f"{program}: {text}", file=sys.stderr, flush=True)


def _run(options: argparse.Namespace) -> int:
    _check(options)
    given = config_of(options)
    with open_scan(options.scan, format=options.format, mapping=options.mapping,
                   position_unit=options.position_unit) as scan:
        scan.take(options.skip_frames, options.max_frames)
        config = scan.config(given)
        if options.use_probe:
            if scan.probe is None:
                raise invalid("--use-probe", "given", f"a scan with a probe; {scan.source} has none")
            config = session_config(config, probe={"initial": scan.probe})
        for note in scan.all_notes():
            _log(options.program, f"note: {note}")
        with Client(options.server, **credentials_of(options)) as client:
            for loop in range(1, options.loop + 1):
                suffix = f"-{loop}" if options.loop > 1 else ""
                code = _play_once(options, client, scan, config, suffix)
                if code:
                    return code
    return 0


def _check(options: argparse.Namespace) -> None:
    """What would be wrong only at the end is said at the beginning. Raises InvalidArgument."""
    for flag in ("--output", "--delete"):
        if options.no_wait and getattr(options, flag[2:]):
            raise invalid(f"{flag}, --no-wait", "both given", "one of them")
    if options.output is None:
        return
    if not options.output.endswith((".cxi", ".h5", ".npz")):
        raise invalid("--output", repr(options.output), "a name that ends in .cxi, .h5 or .npz")
    folder = os.path.dirname(options.output) or "."
    if not os.path.isdir(folder):
        raise invalid("--output", repr(options.output), "a file in a folder that exists")


def _play_once(options: argparse.Namespace, client: Client, scan: Scan,
               config: config_pb2.SessionConfig, suffix: str) -> int:
    session = client.create_session(options.session and options.session + suffix, config=config)
    if session.ended:
        raise AlreadyExists(f"{session.name} exists and is {session.state}",
                            hint="choose another id with --session, or delete it")
    if session.state != "created":
        _log(options.program, f"{session.id}: goes on")
    before, code, output = scan.changes, 0, ""
    with Progress(session, options.program, len(scan), options.quiet):
        try:
            sent_s = _send(options, session, scan)
            if not options.no_wait:
                session.wait()
        except KeyboardInterrupt:
            _log(options.program, f"{session.id}: interrupted; the session is stopped")
            code, sent_s = _INTERRUPTED, 0.0
            _stop(options.program, session)
    session.refresh()
    if options.output and session.info.snapshot_version:
        stem, end = os.path.splitext(options.output)
        output = stem + suffix + end
        Result(session.snapshot("all", area="canvas"), session.info).save(output)
    summary = _summary(session, scan, sent_s, output)
    summary["untrusted_pixels"] = scan.changes.untrusted - before.untrusted
    summary["negative_pixels"] = scan.changes.negative - before.negative
    print(json.dumps(summary) if options.json else _line(summary), flush=True)
    if options.delete:
        session.delete(force=True)
    return code


def _stop(program: str, session: Session) -> None:
    """After an interrupt: until the last snapshot is there."""
    try:
        if not session.refresh().ended:
            session.stop()
        session.wait(_STOP_S)
    except (DeadlineExceeded, SessionFailed) as error:
        _log(program, str(error))


def _send(options: argparse.Namespace, session: Session, scan: Scan) -> float:
    """Sends the scan and declares its end; the seconds that it took.

    A session that ends by its own rules before it has everything is no error.
    """
    began = time.monotonic()
    try:
        with session:
            frames = session.frame_writer(producer=PRODUCER)
            positions = session.position_writer(producer=PRODUCER)
            play(scan, frames, positions, rate_hz=options.rate, chunk_size=options.chunk_size,
                 workers=options.workers)
    except InvalidArgument:
        raise
    except PtychoserveError:
        if not session.refresh().ended or session.state == "stopped":
            raise
        if session.info.frames.accepted < len(scan):
            _log(options.program, f"{session.id}: has ended before all of the scan was sent")
    return time.monotonic() - began


def _summary(session: Session, scan: Scan, sent_s: float, output: str) -> dict[str, Any]:
    info = session.info
    frames, positions = scan.without_partner()
    refused = {f"{kind}_refused": sum(r.count for r in counters.rejections)
               for kind, counters in (("frames", info.frames), ("positions", info.positions))}
    return {
        "session": session.id, "state": session.state, "frames": len(scan),
        "frames_accepted": info.frames.accepted, "positions_accepted": info.positions.accepted,
        **refused, "frames_without_position": ranges(frames),
        "positions_without_frame": ranges(positions), "points": info.active_points,
        "iterations": info.iteration,
        "r_factor": (info.final_fit.r_factor if info.HasField("final_fit")
                     else info.metrics.r_factor if info.HasField("metrics") else None),
        "sent_s": round(sent_s, 3), "output": output or None}


def _line(summary: dict[str, Any]) -> str:
    parts = [f"{summary['session']}: {summary['state']}",
             f"{summary['frames_accepted']} of {summary['frames']} frames",
             f"{summary['points']} points", f"{summary['iterations']} iterations"]
    if summary["r_factor"] is not None:
        parts.append(f"R {summary['r_factor']:.4f}")
    for key in ("frames_refused", "positions_refused", "untrusted_pixels", "negative_pixels"):
        if summary[key]:
            parts.append(f"{summary[key]} {key.replace('_', ' ')}")
    return ", ".join(parts) + (f"; written to {summary['output']}" if summary["output"] else "")
