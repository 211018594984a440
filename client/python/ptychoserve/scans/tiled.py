"""Scans of a Tiled server, over its HTTP API.

A node holds the arrays and, in its metadata, the numbers; by the names of `npz.NAMES`, or where a
mapping says. The key of the server is in TILED_API_KEY.
"""

from __future__ import annotations

import os
from typing import Any, Optional
from urllib.parse import quote, urlsplit

import httpx
import numpy as np

from ptychoserve.errors import NotFound, Unauthenticated, Unavailable, invalid
from ptychoserve.scans.mapped import MappedScan
from ptychoserve.scans.mapping import Place, ScanMapping
from ptychoserve.scans.npz import NAMES, mapping_of

KEY_VARIABLE = "TILED_API_KEY"
_API = "/api/v1"
_TIMEOUT_S = 60.0
_ATTEMPTS = 3
_NUMBERS = ("wavelength_m", "photon_energy_ev", "distance_m", "pixel_size_m", "pixel_size_y_m",
            "pixel_size_x_m")


def open_tiled(uri: str, mapping: Optional[ScanMapping] = None) -> MappedScan:
    """The scan of a node.

    Args:
        uri: http(s)://HOST:PORT/api/v1/metadata/PATH, as Tiled's clients print it, or
            http(s)://HOST:PORT/PATH.

    Raises: InvalidArgument; NotFound; Unauthenticated; Unavailable.
    """
    store = TiledStore(uri, os.environ.get(KEY_VARIABLE, ""))
    try:
        return MappedScan(uri, store, mapping or _mapping_of(store, uri))
    except BaseException:
        store.close()
        raise


def _mapping_of(store: "TiledStore", uri: str) -> ScanMapping:
    names = store.children()
    numbers = {NAMES[name][0]: Place(metadata=name, unit=NAMES[name][1])
               for name in _NUMBERS if name in store.all_metadata}
    arrays = mapping_of([name for name in names if name in NAMES], uri)
    return ScanMapping({**arrays.places, **numbers})


class TiledArray:
    """An array node, read slice by slice."""

    unit = ""

    def __init__(self, store: "TiledStore", path: str, structure: Any, name: str) -> None:
        self._store = store
        self._path = path
        self.name = name
        try:
            # Until 2023 in two parts.
            kind = structure.get("data_type") or structure["micro"]
            order = {"big": ">", "little": "<"}.get(kind["endianness"], "|")
            self._dtype = np.dtype(f"{order}{kind['kind']}{kind['itemsize']}")
            self._shape = tuple(int(n) for n in (structure.get("shape")
                                                 or structure["macro"]["shape"]))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise invalid(name, "a structure that cannot be read", f"that of an array: {error!r}") \
                from None

    @property
    def shape(self) -> tuple[int, ...]:
        return self._shape

    @property
    def dtype(self) -> np.dtype:
        return self._dtype

    def read(self, begin: int, end: int) -> np.ndarray:
        end = min(end, self.shape[0])
        return self._get({"slice": f"{begin}:{end}"}, (end - begin, *self.shape[1:]))

    def all(self) -> np.ndarray:
        return self._get({}, self.shape)

    def _get(self, parameters: dict[str, str], shape: tuple[int, ...]) -> np.ndarray:
        data = self._store.get(f"array/full/{self._path}", parameters,
                               accept="application/octet-stream").content
        expected = int(np.prod(shape)) * self.dtype.itemsize
        if len(data) != expected:
            raise invalid(self.name, f"{len(data)} bytes", f"{expected}, of shape {shape}")
        return np.frombuffer(data, self.dtype).reshape(shape)


class TiledStore:
    """A node of a server, and what lies below it. Thread-safe."""

    def __init__(self, uri: str, api_key: str) -> None:
        parts = urlsplit(uri)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise invalid("uri", repr(uri), "http(s)://HOST:PORT/PATH")
        base, _, path = parts.path.partition(_API)
        if not _:
            base, path = "", f"/metadata{parts.path}"
        self._path = path.removeprefix("/metadata").strip("/")
        self._uri = uri
        headers = {"Authorization": f"Apikey {api_key}"} if api_key else {}
        self._client = httpx.Client(
            base_url=f"{parts.scheme}://{parts.netloc}{base}{_API}/", headers=headers,
            timeout=_TIMEOUT_S, transport=httpx.HTTPTransport(retries=_ATTEMPTS))
        try:
            self.all_metadata: dict[str, Any] = self._attributes("").get("metadata") or {}
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        self._client.close()

    def get(self, path: str, parameters: Optional[dict[str, str]] = None,
            accept: str = "application/json") -> httpx.Response:
        """Raises: NotFound, Unauthenticated, Unavailable, InvalidArgument."""
        try:
            answer = self._client.get(path, params=parameters, headers={"Accept": accept})
        except httpx.HTTPError as error:
            raise Unavailable(f"{self._uri}: {error or type(error).__name__}") from None
        if answer.status_code in (401, 403):
            raise Unauthenticated(f"{self._uri}: the server answers {answer.status_code}",
                                  hint=f"a key that it knows belongs into {KEY_VARIABLE}")
        if answer.status_code == 404:
            raise NotFound(f"{answer.url}: there is no such node")
        if answer.status_code >= 500:
            raise Unavailable(f"{answer.url}: the server answers {answer.status_code}")
        if answer.status_code != 200:
            raise invalid(str(answer.url), f"answer {answer.status_code}", "200")
        return answer

    def _full(self, path: str) -> str:
        return quote("/".join(part for part in (self._path, path.strip("/")) if part))

    def _attributes(self, path: str) -> dict[str, Any]:
        answer = self.get(f"metadata/{self._full(path)}")
        try:
            return answer.json()["data"]["attributes"]
        except (ValueError, KeyError, TypeError):
            raise invalid(str(answer.url), "an answer that is not Tiled's",
                          "metadata of a node in JSON") from None

    def children(self) -> list[str]:
        """Names of the nodes below."""
        names: list[str] = []
        while True:
            answer = self.get(f"search/{self._full('')}",
                              {"page[offset]": str(len(names)), "page[limit]": "100",
                               "fields": ""})
            try:
                page = [str(item["id"]) for item in answer.json()["data"]]
            except (ValueError, KeyError, TypeError):
                raise invalid(str(answer.url), "an answer that is not Tiled's",
                              "a list of nodes in JSON") from None
            names += page
            if not page:
                return names

    def array(self, path: str) -> TiledArray:
        attributes = self._attributes(path)
        name = f"{self._uri}: {path}"
        if attributes.get("structure_family") != "array":
            raise invalid(name, f"a node of {attributes.get('structure_family')!r}", "an array")
        return TiledArray(self, self._full(path), attributes.get("structure"), name)

    def metadata(self, names: str) -> Any:
        value: Any = self.all_metadata
        for name in names.split("."):
            if not isinstance(value, dict) or name not in value:
                raise invalid(f"{self._uri}: metadata {names}", "missing", "a number")
            value = value[name]
        return value


