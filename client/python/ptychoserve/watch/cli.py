"""The command `ptychoserve-watch`."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Optional

from ptychoserve._connection_flags import FlagParser, add_connection_flags, credentials_of
from ptychoserve._session_flags import add_session_flags, config_of, count, program_name, rate
from ptychoserve.client import Client
from ptychoserve.errors import InvalidArgument, PtychoserveError, invalid
from ptychoserve.scans import FORMATS
from ptychoserve.scans.mapping import read_mapping
from ptychoserve.watch.feeder import WatchReport
from ptychoserve.watch.watcher import FRAME_PATTERNS, SCAN_PATTERNS, Watcher, WatchOptions

PROGRAM = "ptychoserve-watch"
_DESCRIPTION = """Sends scans to sessions while their files are being written: each new file in a
folder, or one file that grows, becomes a session by itself."""
_EPILOG = """A scan ends when a file marks its end, when as many points are there as
scan.expected_points says, when its file is replaced, or when it has not grown for --idle-s; the
log says which. Ctrl-C and SIGTERM end the watcher and leave sessions as they are: started again, it
goes on where it was. Exit codes: 0 done; 1 the server or the network failed, or a scan had an
error; 2 wrong usage."""


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Exit code: see `--help`."""
    program = program_name(PROGRAM)
    options = _parser(program).parse_args(arguments)

    def log(text: str) -> None:
        print(f"{program}: {text}", file=sys.stderr, flush=True)

    try:
        return _run(options, log)
    except (InvalidArgument, FileNotFoundError, NotADirectoryError, PermissionError) as error:
        log(str(error))
        return 2
    except (PtychoserveError, OSError, ImportError) as error:
        log(str(error))
        return 1


def _parser(program: str) -> argparse.ArgumentParser:
    parser = FlagParser(program, description=_DESCRIPTION, epilog=_EPILOG)
    parser.add_argument("path", metavar="PATH", help="a folder, or a file, which need not be there "
                        "yet")
    finding = parser.add_argument_group("finding scans")
    finding.add_argument("--frames", action="store_true",
                         help="files hold frames of one scan, that of their folder: PATH, or each "
                         "folder in it. Default: each file is a scan")
    finding.add_argument("--pattern", action="append", default=[], metavar="GLOB",
                         help="names of files; repeatable. Default: "
                         f"{', '.join(SCAN_PATTERNS)}; with --frames {', '.join(FRAME_PATTERNS)}")
    finding.add_argument("--existing", action="store_true",
                         help="take scans that are there already, too")
    finding.add_argument("--prefix", default="", help="sessions are PREFIX-NAME; default: NAME of "
                         "the file or folder")
    reading = parser.add_argument_group("reading them")
    reading.add_argument("--format", choices=[f for f in FORMATS if f != "tiled"], default="",
                         help="default: found out")
    reading.add_argument("--mapping", default="", metavar="FILE",
                         help="where things are in the files, JSON or YAML")
    reading.add_argument("--position-unit", default="", metavar="UNIT",
                         help="of positions in NeXus that have no unit, such as um")
    reading.add_argument("--poll-s", type=rate, default=0.5, metavar="S",
                         help="time between two looks, default 0.5")
    ending = parser.add_argument_group("their end")
    ending.add_argument("--idle-s", type=rate, default=60.0, metavar="S",
                        help="a scan that does not grow for so long has ended, default 60")
    ending.add_argument("--end-suffix", default=".done", metavar="SUFFIX",
                        help="scan.h5 has ended when scan.h5SUFFIX is there, and a folder when "
                        "there is a file SUFFIX in it; default .done")
    ending.add_argument("--scans", type=count, default=0, metavar="N",
                        help="end after so many; 0, the default: never")
    parser.add_argument("--json", action="store_true", help="reports as JSON, one a line")
    add_session_flags(parser)
    add_connection_flags(parser)
    return parser


def _run(options: argparse.Namespace, log: Callable[[str], None]) -> int:
    folder = os.path.dirname(os.path.abspath(options.path))
    if not os.path.isdir(folder):
        raise FileNotFoundError(f"{folder}: there is no such folder")
    if options.frames and not os.path.isdir(options.path):
        raise invalid("PATH", repr(options.path), "with --frames, a folder")
    if options.mapping:
        read_mapping(options.mapping)  # What is wrong with it is said at once.
    failed = False

    def report(scan: WatchReport) -> None:
        nonlocal failed
        failed |= bool(scan.error)
        print(json.dumps(scan.as_dict()) if options.json else scan.line(), flush=True)

    with Client(options.server, **credentials_of(options)) as client:
        watcher = Watcher(client, options.path, config_of(options), WatchOptions(
            prefix=options.prefix, frames=options.frames, patterns=tuple(options.pattern),
            existing=options.existing, format=options.format, mapping=options.mapping,
            position_unit=options.position_unit, idle_s=options.idle_s,
            end_suffix=options.end_suffix, poll_s=options.poll_s), report=report, log=log)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: watcher.stop())
        watcher.run(options.scans)
    return 1 if failed else 0
