"""One scan in every format that ptychoserve.scans reads, for the tests."""

import contextlib
import http.server
import json
import threading
import urllib.parse

import support  # noqa: F401  (the path of the package)
import h5py
import numpy as np
import ptychoserve

ENERGY_EV_M = 1.239841984e-6  # Photon energy times wavelength.
MAPPING = {
    "frames": "/raw/frames", "x": {"path": "/raw/stage_x", "unit": "um"},
    "y": {"path": "/raw/stage_y", "unit": "mm"}, "good_pixels": "/raw/good",
    "wavelength": {"path": "/raw/wavelength", "unit": "nm"},
    "distance": {"value": 2.05, "unit": "m"}, "pixel_size": {"value": 75, "unit": "um"}}


class Parts:
    """What a CXI file of `ptychoctl simulate` has, to be sent, or written in another way.

    frames [frames, rows, cols], x_m and y_m [frames], bad [rows, cols], probe [modes, rows, cols]
    or None.
    """

    def __init__(self, cxi):
        with h5py.File(cxi) as file:
            entry = file["entry_1"]
            detector = entry["instrument_1/detector_1"]
            self.frames = detector["data"][()]
            self.x_m, self.y_m = entry["sample_1/geometry_1/translation"][:, :2].T.copy()
            self.wavelength_m = float(entry["instrument_1/source_1/wavelength"][()])
            self.distance_m = float(detector["distance"][()])
            self.pixel_m = float(detector["y_pixel_size"][()])
            probe = entry.get("instrument_1/initial_probe")
            self.probe = None if probe is None else probe[()]
            self.bad = (detector["mask"][()] != 0 if "mask" in detector
                        else np.zeros(self.frames.shape[1:], bool))

    @property
    def energy_ev(self):
        return ENERGY_EV_M / self.wavelength_m

    @property
    def settings(self):
        """What a session of it has to be told."""
        return {"optics": {"wavelength_m": self.wavelength_m, "distance_m": self.distance_m,
                           "detector_pixel_size_y_m": self.pixel_m},
                "detector": {"frame_shape": self.frames.shape[1:], "dtype": self.frames.dtype},
                "scan": {"expected_points": len(self.frames),
                         "bounds": ptychoserve.bounds(y_m=self.y_m, x_m=self.x_m)}}


def write_npz(path, parts, **more):
    np.savez(path, **{"frames": parts.frames, "x_m": parts.x_m, "y_m": parts.y_m,
                      "wavelength_m": parts.wavelength_m, "distance_m": parts.distance_m,
                      "pixel_size_m": parts.pixel_m, "bad_pixels": parts.bad, **more})


def write_ptyd(path, parts, chunk=40):
    """As ptypy writes it: chunks, and scalars with an attribute of their type."""
    with h5py.File(path, "w") as file:
        for name, value in (("energy", parts.energy_ev / 1e3), ("distance", parts.distance_m),
                            ("psize", [parts.pixel_m] * 2), ("num_frames", len(parts.frames)),
                            ("center", [side / 2 for side in parts.frames.shape[1:]])):
            file[f"meta/{name}"] = value
        file.create_group("info")
        for number, begin in enumerate(range(0, len(parts.frames), chunk)):
            where = slice(begin, begin + chunk)
            count = len(parts.frames[where])
            group = file.create_group(f"chunks/{number}")
            group.create_dataset("data", data=parts.frames[where], compression="gzip")
            group["positions"] = np.stack([parts.y_m[where], parts.x_m[where]], 1)
            group["indices"] = np.arange(begin, begin + count)
            group["weights"] = np.broadcast_to(~parts.bad, parts.frames[where].shape).astype("f4")


def _group(parent, name, nx_class):
    group = parent.create_group(name)
    group.attrs["NX_class"] = nx_class
    return group


def _put(group, name, value, units="", **attributes):
    group[name] = value
    if units:
        group[name].attrs["units"] = units
    for key, attribute in attributes.items():
        group[name].attrs[key] = attribute


def write_nexus(path, parts):
    """An NXentry with detector, beam and translations of the sample, x against the axis."""
    with h5py.File(path, "w") as file:
        entry = _group(file, "entry", "NXentry")
        instrument = _group(entry, "instrument", "NXinstrument")
        _put(_group(instrument, "beam", "NXbeam"), "incident_energy", parts.energy_ev / 1e3, "keV")
        _put(_group(instrument, "source", "NXsource"), "energy", 3.0, "GeV")
        detector = _group(instrument, "detector", "NXdetector")
        detector["data"] = parts.frames
        detector["pixel_mask"] = parts.bad.astype("u4")
        _put(detector, "distance", parts.distance_m * 1e3, "mm")
        _put(detector, "x_pixel_size", parts.pixel_m * 1e6, "um")
        _put(detector, "y_pixel_size", parts.pixel_m, "m")
        stage = _group(_group(entry, "sample", "NXsample"), "transformations", "NXtransformations")
        _put(stage, "coarse", -parts.x_m * 1e6, "um", transformation_type="translation",
             vector=[-1.0, 0, 0])
        _put(stage, "fine", parts.y_m * 1e3, "mm", transformation_type="translation",
             vector=[0, 1.0, 0])
        data = _group(entry, "data", "NXdata")
        data.attrs["signal"] = "data"
        data["data"] = h5py.SoftLink("/entry/instrument/detector/data")


def write_grid_nexus(path, parts, rows):
    """As at Diamond: frames on a grid of points, readback of the stage beside them."""
    frames = parts.frames
    grid = (rows, len(frames) // rows)
    with h5py.File(path, "w") as file:
        entry = _group(file, "entry1", "NXentry")
        instrument = _group(entry, "instrument", "NXinstrument")
        _put(_group(instrument, "monochromator", "NXmonochromator"), "energy", parts.energy_ev,
             "eV")
        detector = _group(instrument, "merlin", "NXdetector")
        _put(detector, "distance", parts.distance_m, "m")
        for axis in "xy":
            _put(detector, f"{axis}_pixel_size", parts.pixel_m, "m")
        data = _group(entry, "merlin", "NXdata")
        data.attrs["signal"] = "data"
        data["data"] = frames.reshape(*grid, *frames.shape[1:])
        for axis, values in (("X", parts.x_m), ("Y", parts.y_m)):
            _put(data, f"Sample{axis}_value", values.reshape(grid) * 1e3, "mm")
            _put(data, f"Sample{axis}_value_set", values.reshape(grid)[0], "mm")


def write_hdf5(path, parts):
    """Where `MAPPING` says."""
    with h5py.File(path, "w") as file:
        raw = file.create_group("raw")
        raw.create_dataset("frames", data=parts.frames, chunks=(8, *parts.frames.shape[1:]))
        raw["stage_x"], raw["stage_y"] = parts.x_m * 1e6, parts.y_m * 1e3
        raw["good"] = (~parts.bad).astype("u1")
        raw["wavelength"] = np.full(len(parts.frames), parts.wavelength_m * 1e9)


def write_mapping(path, content=None):
    with open(path, "w", encoding="utf-8") as file:
        json.dump(content or MAPPING, file)


class FakeTiled:
    """A server with one node, /scan, of arrays and metadata, by Tiled's HTTP API: metadata, search
    and slices of arrays, with an API key."""

    def __init__(self, arrays, metadata, api_key="secret"):
        self.arrays = arrays
        self.metadata = metadata
        self.api_key = api_key
        self.slices = []     # That were asked for.
        self.status = 0      # Instead of an answer.
        self.cut = False     # Answers arrays without their last byte.
        fake = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):  # Named by the base class.
                fake.answer(self)

            def log_message(self, *_):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()
        self.uri = f"http://127.0.0.1:{self._server.server_port}/api/v1/metadata/scan"

    def close(self):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def answer(self, request):
        url = urllib.parse.urlsplit(request.path)
        query = dict(urllib.parse.parse_qsl(url.query, keep_blank_values=True))
        if request.headers.get("Authorization") != f"Apikey {self.api_key}":
            return self._send(request, 401, {"detail": "Not authenticated"})
        if self.status:
            return self._send(request, self.status, {"detail": "as asked"})
        parts = url.path.removeprefix("/api/v1/").strip("/").split("/")
        if parts == ["metadata", "scan"]:
            attributes = {"structure_family": "container", "metadata": self.metadata}
            return self._send(request, 200, {"data": {"id": "scan", "attributes": attributes}})
        if parts == ["search", "scan"]:
            offset = int(query["page[offset]"])
            names = list(self.arrays)[offset:offset + 2]  # Small pages.
            return self._send(request, 200, {"data": [{"id": name} for name in names]})
        if parts[-1] in self.arrays and parts[-2] == "scan":
            array = self.arrays[parts[-1]]
            if parts[0] == "metadata":
                structure = {"shape": array.shape, "chunks": [[n] for n in array.shape],
                             "data_type": {"endianness": "little", "kind": array.dtype.kind,
                                           "itemsize": array.dtype.itemsize}}
                attributes = {"structure_family": "array", "structure": structure}
                return self._send(request, 200, {"data": {"attributes": attributes}})
            if parts[:2] == ["array", "full"]:
                if "slice" in query:
                    begin, end = map(int, query["slice"].split(":"))
                    self.slices.append((begin, end))
                    array = array[begin:end]
                body = np.ascontiguousarray(array).tobytes()
                return self._send(request, 200, body[:-1] if self.cut else body)
        return self._send(request, 404, {"detail": "No such entry"})

    @staticmethod
    def _send(request, status, body):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        request.send_response(status)
        request.send_header("Content-Length", str(len(data)))
        request.end_headers()
        request.wfile.write(data)


@contextlib.contextmanager
def tiled_of(parts):
    fake = FakeTiled({"frames": parts.frames, "x_m": parts.x_m, "y_m": parts.y_m,
                      "bad_pixels": parts.bad.astype("u1")},
                     {"wavelength_m": parts.wavelength_m, "distance_m": parts.distance_m,
                      "pixel_size_m": parts.pixel_m, "sample": "made up"})
    try:
        yield fake
    finally:
        fake.close()
