"""The page's files, read once: what is not among them cannot be asked for."""

from __future__ import annotations

import mimetypes
import os
import pathlib
from typing import Optional

from aiohttp import web

from ptychoserve.errors import FailedPrecondition

_HERE = pathlib.Path(__file__).resolve().parent
# In an installed package, and beside the package that the build has put together.
_PLACES = (_HERE / "page", _HERE.parents[2] / "dashboard")
_MOST_BYTES = 32 << 20
_FOR_EVER = "public, max-age=31536000, immutable"  # Names under assets/ have a hash in them.


def find(folder: Optional[str]) -> pathlib.Path:
    """Where the page is. Raises FailedPrecondition with what to do when it is nowhere."""
    places = (pathlib.Path(folder),) if folder else _PLACES
    for place in places:
        if (place / "index.html").is_file():
            return place
    raise FailedPrecondition(f"there is no page in {' or '.join(map(str, places))}",
                             hint="`make dashboard` builds it (needs Node.js and npm); "
                             "--page DIR says where else it is")


class Page:
    """All files of a folder, by the path at which they are asked for."""

    def __init__(self, folder: pathlib.Path) -> None:
        self._files: dict[str, tuple[bytes, str]] = {}
        total = 0
        for path in sorted(folder.rglob("*")):
            if path.is_file() and not path.is_symlink():
                total += path.stat().st_size
                if total > _MOST_BYTES:
                    raise FailedPrecondition(f"{folder} has more than {_MOST_BYTES >> 20} MiB",
                                             hint="is it the folder of the page?")
                name = path.relative_to(folder).as_posix().replace(os.sep, "/")
                kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
                self._files["/" if name == "index.html" else f"/{name}"] = path.read_bytes(), kind

    async def get(self, request: web.Request) -> web.Response:
        found = self._files.get(request.path)
        if found is None:
            raise web.HTTPNotFound()
        body, kind = found
        caching = _FOR_EVER if request.path.startswith("/assets/") else "no-cache"
        charset = "utf-8" if kind.startswith("text/") or kind.endswith("javascript") else None
        return web.Response(body=body, content_type=kind, charset=charset,
                            headers={"Cache-Control": caching})
