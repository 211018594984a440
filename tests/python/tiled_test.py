#!/usr/bin/env python3
"""The example that writes to Tiled, against a small server that keeps to Tiled's HTTP API."""

import http.server
import json
import os
import subprocess
import sys
import threading
from urllib.parse import unquote, urlsplit

import support
import harness
import numpy as np
import ptychoserve

harness.BUILD = support.BUILD
EXAMPLES = support.ROOT / "client" / "python" / "examples"
sys.path.insert(0, str(EXAMPLES))
from fake_detector import FakeDetector, N  # noqa: E402

KEY = "secret"
API = "/api/v1/"


class FakeTiled(http.server.ThreadingHTTPServer):
    """Nodes by path, as dicts; arrays as what their node's structure says of the bytes."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.nodes = {"": {"structure_family": "container"}, "recon": {
            "structure_family": "container"}}
        self.arrays = {}
        self.iterations = []  # Of the live object, as it was written.
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"


class Handler(http.server.BaseHTTPRequestHandler):

    def log_message(self, *_):
        pass

    def answer(self, code, content=None):
        data = json.dumps(content).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def handle_any(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers["Authorization"] != f"Apikey {KEY}":
            self.answer(401, {"detail": "Invalid API key"})
            return
        path = unquote(urlsplit(self.path).path)
        kind, _, path = path[len(API):].partition("/")
        if kind == "array":
            kind, path = "array/full", path.partition("/")[2]
        self.answer(*self.take(kind, path, body))

    do_GET = do_POST = do_PUT = do_DELETE = handle_any

    def take(self, kind, path, body):
        nodes = self.server.nodes
        if path not in nodes:
            return 404, {"detail": f"No such entry: {path}"}
        if kind == "array/full" and self.command == "PUT":
            structure = nodes[path]["data_sources"][0]["structure"]
            data_type = structure["data_type"]
            assert self.headers["Content-Type"] == "application/octet-stream"
            assert [sum(chunk) for chunk in structure["chunks"]] == structure["shape"]
            assert data_type["endianness"] == "little"
            self.server.arrays[path] = np.frombuffer(
                body, f"<{data_type['kind']}{data_type['itemsize']}").reshape(structure["shape"])
            if path.endswith("live/object"):
                self.server.iterations.append(nodes[path]["metadata"]["iteration"])
            return 200, None
        assert kind == "metadata", kind
        if self.command == "POST":
            node = json.loads(body)
            child = f"{path}/{node['id']}".strip("/")
            if child in nodes:
                return 409, {"detail": "exists"}
            assert nodes[path]["structure_family"] == "container"
            assert set(node) == {"id", "structure_family", "metadata", "specs", "data_sources"}
            assert (node["structure_family"] == "array") == (len(node["data_sources"]) == 1)
            nodes[child] = node
            return 200, {"id": node["id"], "links": {}, "data_sources": node["data_sources"]}
        if self.command == "PUT":
            nodes[path]["metadata"] = json.loads(body)["metadata"]
        elif self.command == "DELETE":
            del nodes[path]
            self.server.arrays.pop(path, None)
            return 200, None
        return 200, {"data": {"id": path.rpartition("/")[2], "attributes": nodes[path]}}


class TiledTest(harness.EndToEndTest):

    def setUp(self):
        self.tiled = FakeTiled()
        self.addCleanup(self.tiled.server_close)
        self.addCleanup(self.tiled.shutdown)
        self.client = ptychoserve.Client(self.server.address)
        self.addCleanup(self.client.close)

    def example(self, *arguments, key=KEY):
        return subprocess.Popen(
            [sys.executable, "-B", str(EXAMPLES / "to_tiled.py"), *arguments], text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={
                **os.environ, "PYTHONPATH": str(support.BUILD / "python"), "TILED_API_KEY": key})

    def test_pictures_while_it_runs_and_the_result(self):
        detector = FakeDetector()
        with self.client.create_session("tiled", **detector.settings) as session:
            process = self.example(self.server.address, "tiled", f"{self.tiled.url}/recon", "uid-1")
            frames, positions = session.frame_writer(), session.position_writer()
            measured = list(detector)
            for k, frame, x_m, y_m in measured:
                frames.push(k, frame)
                positions.push(k, x_m=x_m, y_m=y_m)
        out, err = process.communicate(timeout=harness.DEADLINE_S)
        self.assertEqual(process.returncode, 0, out + err)
        result = session.result()
        arrays = self.tiled.arrays
        self.assertEqual(sorted(arrays), [f"recon/uid-1/{name}" for name in (
            "final/num_points", "final/object", "final/probe", "final/timestamps", "live/object",
            "live/probe", "positions_um")])
        amplitude, phase = arrays["recon/uid-1/final/object"]
        np.testing.assert_allclose(amplitude * np.exp(1j * phase), result.object, atol=1e-5)
        self.assertEqual(arrays["recon/uid-1/live/probe"].shape, (2, N, N))
        self.assertEqual(self.tiled.iterations[-1], result.snapshot.iteration)
        measured_um = [(1e6 * x_m, 1e6 * y_m) for _, _, x_m, y_m in measured]
        np.testing.assert_allclose(arrays["recon/uid-1/positions_um"], measured_um, atol=1e-3)
        self.assertEqual(arrays["recon/uid-1/final/num_points"][-1], 100)
        self.assertEqual(len(arrays["recon/uid-1/final/timestamps"]), result.snapshot.iteration)
        metadata = self.tiled.nodes["recon/uid-1"]["metadata"]
        self.assertTrue(metadata["complete"])
        self.assertAlmostEqual(metadata["x_pixel_m"], result.snapshot.pixel_size_m[1])
        again = self.example(self.server.address, "tiled", f"{self.tiled.url}/recon", "uid-1")
        out, err = again.communicate(timeout=harness.DEADLINE_S)
        self.assertEqual(again.returncode, 0, out + err)

    def test_what_goes_wrong(self):
        self.client.create_session("waits", **FakeDetector().settings)
        url = f"{self.tiled.url}/recon"
        for arguments, key, said in (
                ((self.server.address, "waits", url), "", "set TILED_API_KEY"),
                ((self.server.address, "waits", url), "wrong", "401"),
                ((self.server.address, "waits", f"{self.tiled.url}/nowhere"), KEY,
                 "No such entry: nowhere"),
                ((self.server.address, "waits", "http://127.0.0.1:1/"), KEY, "refused"),
                ((self.server.address, "no-such", url), KEY, "no-such")):
            process = self.example(*arguments, key=key)
            out, err = process.communicate(timeout=harness.DEADLINE_S)
            self.assertEqual(process.returncode, 1, out + err)
            self.assertIn(said, err)
            self.assertNotIn("Traceback", err)


if __name__ == "__main__":
    support.main()
