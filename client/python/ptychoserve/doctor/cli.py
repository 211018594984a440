"""The command `ptychoserve-doctor`, which is also `ptychoctl doctor`."""

from __future__ import annotations

import argparse
import signal
import sys
from typing import Optional, Sequence

from ptychoserve._connection_flags import FlagParser, add_connection_flags, credentials_of
from ptychoserve._session_flags import program_name
from ptychoserve.client import Client
from ptychoserve.credentials import Credentials
from ptychoserve.doctor import connection, server, trial
from ptychoserve.doctor.findings import FAIL, NOT_CHECKED, Finding, Findings
from ptychoserve.errors import InvalidArgument, PtychoserveError
from ptychoserve.v1 import service_pb2

_EPILOG = """Exit codes:
  0    nothing has failed; there may be warnings
  1    something has failed
  2    wrong usage
  130  interrupted by Ctrl-C

Environment:
  PTYCHOSERVE_EIGER_SERVER_PUBLIC_KEY, ..._CLIENT_PUBLIC_KEY, ..._CLIENT_SECRET_KEY,
  and the same with PANDA: keys of CurveZMQ, as for ptychoserve-bridge

A source that pushes (--eiger) gives each message to one receiver only: those that arrive here are
missing elsewhere. Do not check it during a measurement."""
_INTERRUPTED = 130


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Exit code: see the help."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.frame < 8 or options.points < 1 or options.timeout_s <= 0 or options.rate < 0:
        parser.error("--frame must be >= 8, --points >= 1, --timeout-s > 0, --rate >= 0")
    findings = Findings((lambda _: None) if options.json else _print)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        _check(findings, options)
        code = 1 if findings.failed else 0
    except InvalidArgument as error:  # Of keys and credentials.
        print(f"{parser.prog}: {error}", file=sys.stderr)
        code = 2
    except KeyboardInterrupt:
        code = _INTERRUPTED
    if options.json:
        print(findings.as_json(code))
    return code


def _parser() -> argparse.ArgumentParser:
    parser = FlagParser(
        program_name("ptychoserve-doctor"), epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Says why nothing arrives: checks a server, the way to it, and the sources of "
                    "a bridge. A line for each check: OK, WARN, FAIL, or - where nothing could be "
                    "said. Leaves nothing behind.")
    add_connection_flags(parser)
    parser.add_argument("--eiger", metavar="ADDRESS", help="also the stream of an Eiger, "
                        "tcp://HOST:PORT; takes messages from it")
    parser.add_argument("--eiger-socket", choices=("pull", "sub"), default="pull")
    parser.add_argument("--panda", metavar="ADDRESS", help="also the positions of a PandA, "
                        "tcp://HOST:PORT or panda://HOST")
    parser.add_argument("--panda-socket", choices=("pull", "sub"), default="sub")
    parser.add_argument("--frame", type=int, default=256, metavar="PIXELS",
                        help="side of a frame (default: %(default)s)")
    parser.add_argument("--points", type=int, default=2500,
                        help="of a scan, for the check of memory (default: %(default)s)")
    parser.add_argument("--rate", type=float, default=0.0,
                        help="frames a second that the server must take; less is a failure")
    parser.add_argument("--no-throughput", action="store_true",
                        help="create no session: no durability, clock and throughput")
    parser.add_argument("--timeout-s", type=float, default=5.0,
                        help="for each answer (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    return parser


def _check(findings: Findings, options: argparse.Namespace) -> None:
    credentials = Credentials(**credentials_of(options)).completed()
    credentials.check_for(options.server)
    if connection.check(findings, options.server, credentials, options.timeout_s) and \
            server.health(findings, options.server, credentials, options.timeout_s):
        _check_server(findings, options)
    sources = [(name, getattr(options, name), getattr(options, f"{name}_socket"))
               for name in ("eiger", "panda") if getattr(options, name)]
    if sources:
        from ptychoserve.doctor import source  # Needs ZeroMQ, which the rest does not.
        for name, address, kind in sources:
            source.check(findings, name, address, kind, options.timeout_s)


def _check_server(findings: Findings, options: argparse.Namespace) -> None:
    try:
        client = Client(options.server, connect_timeout_s=options.timeout_s,
                        call_timeout_s=options.timeout_s, **credentials_of(options))
    except PtychoserveError as error:
        findings.add("version", FAIL, str(error), connection.proxy_hint())
        return
    with client:
        role = server.about(findings, client)
        if role is None:
            return
        if role < service_pb2.ROLE_PRODUCER:
            findings.add("memory", NOT_CHECKED, "not checked: it takes a producer's role")
        else:
            server.memory(findings, client, options.frame, options.points)
        if options.no_throughput:
            trial.not_checked(findings, "leave out --no-throughput")
        elif role < service_pb2.ROLE_OPERATOR:
            trial.not_checked(findings, "and an operator's role, to delete it again")
        else:
            trial.check(findings, client, options.frame, options.rate, options.timeout_s)


def _print(finding: Finding) -> None:
    print(finding.line(), flush=True)
