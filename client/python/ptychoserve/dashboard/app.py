"""The HTTP side: routes, and errors in words."""

from __future__ import annotations

import asyncio
import json
import os
import re
import tempfile
from dataclasses import dataclass
from typing import Any

from aiohttp import WSMsgType, web

from ptychoserve._version import VERSION
from ptychoserve.dashboard import guard as guards
from ptychoserve.dashboard.cutouts import Cutout
from ptychoserve.dashboard.guard import COOKIE, Guard, Refused
from ptychoserve.dashboard.hub import Connect, Hub
from ptychoserve.dashboard.page import Page
from ptychoserve.dashboard.pictures import MOST_DOWNSAMPLE, NAMES
from ptychoserve.dashboard.viewers import Viewer
from ptychoserve.errors import PermissionDenied, PtychoserveError
from ptychoserve.result import Result

_ID = "[a-z0-9-]{1,63}"
_SESSION = f"/api/sessions/{{id:{_ID}}}"
_MOST_REQUEST_BYTES = 16 << 10
_PING_S = 10.0
_STATUS = {"INVALID_ARGUMENT": 400, "PERMISSION_DENIED": 403, "UNAUTHENTICATED": 403,
           "NOT_FOUND": 404, "FAILED_PRECONDITION": 409, "ABORTED": 409,
           "RESOURCE_EXHAUSTED": 429, "UNAVAILABLE": 503, "DEADLINE_EXCEEDED": 504}


@dataclass(frozen=True)
class Limits:
    """What a gateway does at most.

    Attributes:
        picture_px: the longer side of the object as it is sent; larger ones are averaged down.
        past_bytes: of earlier pictures, for each session that is looked at.
        viewers: pages that are open at a time.
    """

    picture_px: int = 1024
    past_bytes: int = 128 << 20
    viewers: int = 64


class Gateway:
    """What the routes do.

    Args:
        connect: makes a client of the server; takes options of `ClientOptions`.
        allow_control: sessions may be finished, stopped and deleted.
    """

    def __init__(self, connect: Connect, page: Page, guard: Guard, allow_control: bool,
                 limits: Limits) -> None:
        self._connect = connect
        self._page = page
        self._guard = guard
        self._allow_control = allow_control
        self._limits = limits
        self._sockets: set[web.WebSocketResponse] = set()
        self._hub: Hub  # Of the event loop, made when that runs.

    def application(self) -> web.Application:
        app = web.Application(client_max_size=_MOST_REQUEST_BYTES,
                              middlewares=[_errors_in_words, self._guard.middleware])
        app.on_response_prepare.append(guards.add_headers)
        app.cleanup_ctx.append(self._connection)
        app.on_shutdown.append(self._close_sockets)
        app.add_routes([
            web.get("/api/about", self._about),
            web.post("/api/login", self._login),
            web.get("/api/events", self._events),
            web.get(f"{_SESSION}/arrays/{{name:{'|'.join(NAMES)}}}", self._array),
            web.get(f"{_SESSION}/frames/{{frame:newest|[0-9]{{1,18}}}}", self._frame),
            web.get(f"{_SESSION}/result.cxi", self._result),
            web.post(f"{_SESSION}/{{action:finish|stop|delete}}", self._control),
            web.get("/{path:.*}", self._page.get),
        ])
        return app

    async def _connection(self, _: web.Application) -> Any:
        self._hub = Hub(self._connect, self._allow_control, self._limits.picture_px,
                        self._limits.past_bytes)
        yield
        await self._hub.close()

    async def _close_sockets(self, _: web.Application) -> None:
        await asyncio.gather(*(socket.close(code=1001, message=b"the dashboard ends")
                               for socket in list(self._sockets)))

    async def _about(self, _: web.Request) -> web.Response:
        return web.json_response({"version": VERSION, "server": self._hub.client.address})

    async def _login(self, request: web.Request) -> web.Response:
        """Takes the token, and gives a cookie for it."""
        try:
            token = json.loads(await request.text())["token"]
        except (ValueError, KeyError, TypeError):
            token = None
        if not isinstance(token, str) or not self._guard.accepts(token):
            raise Refused(401, "that is not the token of this dashboard")
        response = web.json_response({})
        response.set_cookie(COOKIE, self._guard.cookie, httponly=True, samesite="Strict",
                            secure=request.secure)
        return response

    async def _events(self, request: web.Request) -> web.WebSocketResponse:
        """All that a page is to be told, as JSON: of the server, and of `?session=ID`."""
        if self._hub.viewers >= self._limits.viewers:
            raise Refused(503, f"{self._limits.viewers} pages are open, the most that are allowed "
                          "(--max-viewers)")
        session_id = request.query.get("session")
        if session_id is not None and not re.fullmatch(_ID, session_id):
            raise Refused(400, f"session is {session_id[:100]!r}; allowed: {_ID}")
        socket = web.WebSocketResponse(heartbeat=_PING_S, max_msg_size=_MOST_REQUEST_BYTES)
        if not socket.can_prepare(request).ok:
            raise Refused(400, "/api/events speaks WebSocket")
        await socket.prepare(request)
        viewer = Viewer(session_id)
        self._sockets.add(socket)
        self._hub.add(viewer)
        sender = asyncio.get_running_loop().create_task(_send(socket, viewer))
        try:
            async for message in socket:  # Pages say nothing; this waits for the end.
                if message.type is not WSMsgType.TEXT:
                    break
        finally:
            sender.cancel()
            self._hub.remove(viewer)
            self._sockets.discard(socket)
        return socket

    async def _array(self, request: web.Request) -> web.Response:
        feed = await self._hub.existing_feed(request.match_info["id"])
        name = request.match_info["name"]
        if "region" in request.query:
            if name != "object":
                raise Refused(400, f"there are cut-outs of the object, and none of the {name}")
            found = await feed.cutout(_cutout(request, self._limits.picture_px))
        else:
            found = await feed.picture(name, _version(request))
        return _tagged(request, f"{feed.epoch}-{found.version}", found.body)

    async def _frame(self, request: web.Request) -> web.Response:
        """What the detector has counted, and the newest snapshot expects."""
        feed = await self._hub.existing_feed(request.match_info["id"])
        frame = request.match_info["frame"]
        found = await feed.frame(None if frame == "newest" else int(frame))
        return _tagged(request, f"{feed.epoch}-{found.tag}", found.body)

    async def _result(self, request: web.Request) -> web.Response:
        """The newest snapshot as a CXI file, with all that belongs to it."""
        session = await self._hub.client.session(request.match_info["id"])
        result = Result(await session.snapshot("all", area="canvas"), session.info)
        body = await asyncio.get_running_loop().run_in_executor(None, _as_cxi, result)
        name = f"{session.id}-{result.snapshot.iteration}.cxi"
        return web.Response(body=body, content_type="application/x-hdf5", headers={
            "Content-Disposition": f'attachment; filename="{name}"'})

    async def _control(self, request: web.Request) -> web.Response:
        if not self._allow_control:
            raise PermissionDenied("this dashboard only looks",
                                   hint="it was started without --allow-control")
        session = await self._hub.client.session(request.match_info["id"])
        action = request.match_info["action"]
        if action == "finish":
            await session.finish()
        elif action == "stop":
            await session.stop()
        else:
            await session.delete()
        return web.json_response({})


@web.middleware
async def _errors_in_words(request: web.Request, handler: guards.Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except Refused as refused:
        return _error(refused.status, str(refused))
    except PtychoserveError as error:
        return _error(_STATUS.get(error.code, 502), error.message, error.hint, error.code)
    except web.HTTPException as error:
        if error.status < 400:
            raise
        return _error(error.status, error.reason)


def _error(status: int, message: str, hint: str = "", code: str = "") -> web.Response:
    return web.json_response({"message": message, "hint": hint, "code": code}, status=status)


def _tagged(request: web.Request, etag: str, body: bytes) -> web.Response:
    """With an ETag; without a body for who has that one already."""
    headers = {"ETag": f'"{etag}"', "Cache-Control": "no-cache"}
    if any(known.value == etag for known in request.if_none_match or ()):
        return web.Response(status=304, headers=headers)
    return web.Response(body=body, content_type="application/octet-stream", headers=headers)


def _version(request: web.Request) -> int:
    text = request.query.get("version", "0")
    if not re.fullmatch("[0-9]{1,18}", text):
        raise Refused(400, f"version is {text[:100]!r}; allowed: 0 (the newest), 1, 2, ...")
    return int(text)


def _cutout(request: web.Request, most_px: int) -> Cutout:
    """That which is asked for, no larger than all of the object is sent."""
    region, downsample = request.query["region"], request.query.get("downsample", "1")
    if not re.fullmatch("[0-9]{1,9}(,[0-9]{1,9}){3}", region):
        raise Refused(400, f"region is {region[:100]!r}; allowed: ROW,COL,ROWS,COLS")
    if not re.fullmatch("[0-9]{1,2}", downsample) or not 1 <= int(downsample) <= MOST_DOWNSAMPLE:
        raise Refused(400, f"downsample is {downsample[:100]!r}; allowed: 1..{MOST_DOWNSAMPLE}")
    row, col, rows, cols = map(int, region.split(","))
    if not 1 <= min(rows, cols) <= max(rows, cols) <= int(downsample) * most_px:
        raise Refused(400, f"{rows} x {cols} pixels, averaged over {downsample}; allowed: at least "
                      f"one, and then {most_px} (--picture-px) along each axis at most")
    return Cutout(_version(request), (row, col, rows, cols), int(downsample))


async def _send(socket: web.WebSocketResponse, viewer: Viewer) -> None:
    while not socket.closed:
        for message in await viewer.take():
            try:
                await socket.send_str(message.text)  # Waits while the page takes nothing.
            except ConnectionError:
                return


def _as_cxi(result: Result) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "result.cxi")
        result.save(path)
        with open(path, "rb") as file:
            return file.read()
