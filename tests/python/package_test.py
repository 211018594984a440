#!/usr/bin/env python3
"""The package as a wheel: built from the sources alone, installed elsewhere, imported."""

import os
import pathlib
import subprocess
import sys
import tempfile
import unittest
import zipfile

import support

PACKAGE = support.ROOT / "client" / "python"


class PackageTest(unittest.TestCase):

    def test_wheel(self):
        with tempfile.TemporaryDirectory() as work:
            folder = pathlib.Path(work)
            # The build writes beside the sources, which may be read-only.
            for name in ("client/python", "proto"):
                subprocess.run(["cp", "-r", "--no-preserve=mode", support.ROOT / name,
                                folder / pathlib.Path(name).name], check=True)
            source = folder / "client" / "python"
            source.parent.mkdir()
            (folder / "python").rename(source)
            subprocess.run([sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps",
                            "--no-build-isolation", "--no-index", "-w", folder, source],
                           check=True, capture_output=True)
            (wheel,) = folder.glob("ptychoserve-*-py3-none-any.whl")
            with zipfile.ZipFile(wheel) as archive:
                names = set(archive.namelist())
                metadata = archive.read(next(n for n in names if n.endswith("METADATA"))).decode()
                archive.extractall(folder / "installed")
            self.assertLessEqual(
                {"ptychoserve/__init__.py", "ptychoserve/py.typed",
                 "ptychoserve/v1/service_pb2.py", "ptychoserve/v1/service_pb2.pyi",
                 "ptychoserve/rpc/status_pb2.py", "ptychoserve/bridges/__main__.py",
                 "ptychoserve/replay/__main__.py", "ptychoserve/watch/__main__.py",
                 "ptychoserve/scans/__init__.py", "ptychoserve/dashboard/__main__.py"}, names)
            self.assertTrue(any(name.endswith("entry_points.txt") for name in names))
            self.assertIn("Requires-Python: >=3.9", metadata)
            done = subprocess.run(
                [sys.executable, "-c", "import ptychoserve.aio as a; print(a.__file__)"],
                env={**os.environ, "PYTHONPATH": str(folder / "installed")}, cwd=work, text=True,
                capture_output=True, check=True)
            self.assertIn("installed", done.stdout)

    def test_only_its_dependencies_are_imported(self):
        code = ("import sys, ptychoserve, ptychoserve.aio; "
                "print(*sorted({'aiohttp', 'cbor2', 'h5py', 'httpx', 'lz4', 'matplotlib', 'scipy', "
                "'tifffile', 'yaml', 'zmq'} & set(sys.modules)))")
        done = subprocess.run([sys.executable, "-B", "-c", code], text=True, capture_output=True,
                              env={**os.environ, "PYTHONPATH": str(support.BUILD / "python")},
                              check=True)
        self.assertEqual(done.stdout.strip(), "")

    def test_half_a_flag_is_none(self):
        # --port would be --port-file of the dashboard, and --port 0 write a file of that name.
        for program, flags in (("bridges", ["run", "--eiger", "tcp://127.0.0.1:1", "--prefi", "x"]),
                               ("dashboard", ["--port", "0"]), ("doctor", ["--serv", "x:1"]),
                               ("replay", ["scan.cxi", "--rat", "1"]), ("watch", [".", "--patter", "x"])):
            with self.subTest(program):
                done = subprocess.run([sys.executable, "-B", "-m", f"ptychoserve.{program}", *flags],
                                      text=True, capture_output=True, check=False, timeout=60,
                                      env={**os.environ, "PYTHONPATH": str(support.BUILD / "python")})
                self.assertEqual(done.returncode, 2, done.stderr)
                self.assertIn(f"unrecognized arguments: {' '.join(flags[-2:])}", done.stderr)

    def test_public_names_are_documented(self):
        import inspect

        import ptychoserve
        from ptychoserve import aio
        for module, names in ((ptychoserve, ptychoserve.__all__), (aio, aio.__all__)):
            for name in names:
                thing = getattr(module, name)
                if not inspect.isclass(thing):
                    continue
                self.assertTrue(thing.__doc__, name)
                for key, value in vars(thing).items():
                    if callable(value) and not key.startswith("_"):
                        self.assertTrue(value.__doc__, f"{name}.{key}")

    def test_the_asyncio_classes_have_the_same_methods(self):
        import inspect

        import ptychoserve
        from ptychoserve import aio
        for name in ("Client", "Session", "FrameWriter", "PositionWriter"):
            blocking, coroutines = getattr(ptychoserve, name), getattr(aio, name)
            for key, value in inspect.getmembers(blocking):
                if key.startswith("_") or not callable(value):
                    continue
                theirs = getattr(coroutines, key)
                self.assertEqual(list(inspect.signature(value).parameters.items())[1:],
                                 list(inspect.signature(theirs).parameters.items())[1:],
                                 f"{name}.{key}")


if __name__ == "__main__":
    support.main()
