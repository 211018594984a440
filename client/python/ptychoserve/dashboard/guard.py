"""Who may ask what over HTTP.

A page of another site must not reach the gateway through the browser of somebody who sits on the
same machine. So the `Host` that was asked for must be one of ours (else a name of that site's could
point here: DNS rebinding), and an `Origin`, which browsers send with all that could do harm, must be
that host. Where others can reach the port, all but the page itself needs a token as well.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Awaitable, Callable, Optional
from urllib.parse import urlsplit

from aiohttp import web

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

COOKIE = "ptychoserve-dashboard"
LOCAL_HOSTS = frozenset(("localhost", "127.0.0.1", "::1"))
_HEADERS = {
    "Content-Security-Policy":
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class Refused(Exception):
    """Answered with an HTTP status and a reason in words."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Guard:
    """Checks requests.

    Args:
        hosts: names, without a port, by which the gateway may be asked.
        token: what /api needs; None: nothing.
    """

    def __init__(self, hosts: frozenset[str], token: Optional[str]) -> None:
        self._hosts = hosts
        self._token = token
        # A cookie that does not tell the token, and ends with it.
        self.cookie = hashlib.sha256(f"{COOKIE}:{token}".encode()).hexdigest() if token else ""

    def check(self, request: web.Request) -> None:
        """Raises Refused."""
        host = request.headers.get("Host", "")
        if _name_of(host) not in self._hosts:
            raise Refused(421, f"not a host of this dashboard: {host[:100]!r}; "
                          "--allow-host NAME allows another one")
        origin = request.headers.get("Origin")
        if origin is not None and urlsplit(origin).netloc.lower() != host.lower():
            raise Refused(403, f"a page of another origin: {origin[:100]!r}")
        if request.path.startswith("/api/") and request.path != "/api/login":
            self._check_token(request)

    def accepts(self, token: str) -> bool:
        """Whether it is the token."""
        return self._token is not None and hmac.compare_digest(token.encode(), self._token.encode())

    def _check_token(self, request: web.Request) -> None:
        if self._token is None:
            return
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        by_header = scheme.lower() == "bearer" and self.accepts(token.strip())
        by_cookie = hmac.compare_digest(request.cookies.get(COOKIE, "").encode(),
                                        self.cookie.encode())
        if not by_header and not by_cookie:
            raise Refused(401, "a token is needed")

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        self.check(request)
        return await handler(request)


async def add_headers(_: web.Request, response: web.StreamResponse) -> None:
    """Signal `on_response_prepare`: no answer goes without them."""
    response.headers.update(_HEADERS)
    response.headers.setdefault("Cache-Control", "no-store")


def _name_of(host: str) -> str:
    """"localhost" of "localhost:8080", "::1" of "[::1]:8080"; empty when it is not a host."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""
