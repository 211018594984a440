"""The command `ptychoserve-dashboard`."""

from __future__ import annotations

import argparse
import asyncio
import functools
import os
import pathlib
import signal
import sys
from typing import Optional, Sequence

from aiohttp import web

from ptychoserve import aio
from ptychoserve._connection_flags import FlagParser, add_connection_flags, credentials_of
from ptychoserve._files import replaced_file
from ptychoserve.credentials import is_local_host
from ptychoserve.dashboard import page
from ptychoserve.dashboard.app import Gateway, Limits
from ptychoserve.dashboard.guard import LOCAL_HOSTS, Guard
from ptychoserve.errors import InvalidArgument, PtychoserveError, invalid

_EPILOG = """From another machine: ssh -L 8080:localhost:8080 THIS_MACHINE, then
http://localhost:8080 in a browser there. The page needs nothing else from the network."""
_LEAST_TOKEN = 16
_SHUTDOWN_S = 2.0


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Exit code: 0; 1 for what went wrong; 2 for what was asked wrongly."""
    options = _parser().parse_args(arguments)
    try:
        asyncio.run(_serve(options))
        return 0
    except InvalidArgument as error:
        _log(str(error))
        return 2
    except (PtychoserveError, OSError) as error:
        _log(str(error))
        return 1


def _program() -> str:
    return os.environ.get("PTYCHOSERVE_PROGRAM") or "ptychoserve-dashboard"


def _parser() -> argparse.ArgumentParser:
    defaults = Limits()
    parser = FlagParser(
        _program(), description="Serves a page on which sessions can be watched.", epilog=_EPILOG)
    parser.add_argument("--listen", metavar="HOST:PORT", default="127.0.0.1:8080",
                        help="default: %(default)s; port 0: a free one")
    parser.add_argument("--allow-control", action="store_true",
                        help="sessions may be finished, stopped and deleted from the page")
    parser.add_argument("--page-token-file", metavar="FILE", help="its first line is what has to be "
                        "known to look at the page; required when others can reach the address to "
                        "listen on")
    parser.add_argument("--allow-host", metavar="NAME", action="append", default=[],
                        help="a further name by which browsers may ask for the page; may be "
                        "repeated")
    parser.add_argument("--page", metavar="DIR", help="where the page is, if not where the build "
                        "has put it", default=os.environ.get("PTYCHOSERVE_DASHBOARD_PAGE"))
    parser.add_argument("--port-file", metavar="FILE",
                        help="gets the address of the page once it is there, for scripts")
    parser.add_argument("--picture-px", metavar="N", type=_natural, default=defaults.picture_px,
                        help="longer side of the object as it is sent; larger ones are averaged "
                        "down. Default: %(default)s")
    parser.add_argument("--past-mib", metavar="N", type=_natural, default=defaults.past_bytes >> 20,
                        help="memory for earlier pictures of each session that is looked at. "
                        "Default: %(default)s")
    parser.add_argument("--max-viewers", metavar="N", type=_natural, default=defaults.viewers,
                        help="pages that may be open at a time. Default: %(default)s")
    add_connection_flags(parser)
    return parser


def _natural(text: str) -> int:
    value = int(text)
    if not 1 <= value <= 1 << 20:
        raise argparse.ArgumentTypeError(f"{value}; allowed: 1..{1 << 20}")
    return value


async def _serve(options: argparse.Namespace) -> None:
    host, port = _address(options.listen)
    token = _token(options.page_token_file)
    if token is None and not is_local_host(host):
        raise invalid("listen", repr(options.listen), "an address of this machine alone, such as "
                      "127.0.0.1:8080", hint="others can reach this one: --page-token-file FILE makes "
                      "them show a token")
    hosts = LOCAL_HOSTS | {name.lower() for name in options.allow_host} | {host.lower()}
    connect = functools.partial(aio.Client, options.server, **credentials_of(options))
    gateway = Gateway(connect, page.Page(page.find(options.page)), Guard(hosts, token),
                      options.allow_control,
                      Limits(options.picture_px, options.past_mib << 20, options.max_viewers))
    runner = web.AppRunner(gateway.application(), access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port, shutdown_timeout=_SHUTDOWN_S).start()
        bound = runner.addresses[0]
        url = f"http://{_in_url(bound[0])}:{bound[1]}/"
        if options.port_file:
            with replaced_file(options.port_file) as file:
                file.write(url.encode())
        print(f"{_program()}: {url} shows {options.server}; Ctrl-C ends it", flush=True)
        await _until_signal()
    finally:
        await runner.cleanup()


async def _until_signal() -> None:
    ends = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ends.set)
    await ends.wait()


def _address(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isdigit() or int(port) > 65535:
        raise invalid("listen", repr(text), "HOST:PORT, such as 127.0.0.1:8080")
    return host.strip("[]"), int(port)


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _token(path: Optional[str]) -> Optional[str]:
    if path is None:
        return None
    lines = pathlib.Path(path).read_text(encoding="utf-8").splitlines()
    token = lines[0].strip() if lines else ""
    if len(token) < _LEAST_TOKEN:
        raise invalid("page-token-file", f"a token of {len(token)} characters",
                      f"{_LEAST_TOKEN} or more", hint=f"openssl rand -hex 32 > {path}")
    return token


def _log(text: str) -> None:
    print(f"{_program()}: {text}", file=sys.stderr, flush=True)
