#!/usr/bin/env python3
"""Makes the package's protobuf modules from the project's proto files.

    generate.py PROTO_DIR OUT_DIR

writes OUT_DIR/ptychoserve/v1/*_pb2.py and OUT_DIR/ptychoserve/rpc/*_pb2.py, with type stubs. Needs
protoc in the PATH. Called by CMake and, when a wheel is built, by setup.py.
"""

import pathlib
import shutil
import subprocess
import sys
import tempfile

API = ("config", "session", "ingest", "snapshot", "frame", "state", "service")


def renamed(proto_dir, work_dir):
    """The google.rpc messages under a name of our own.

    Their bytes are the same. Under their own name they would collide with those of the
    googleapis-common-protos package, which other clients of the same process may bring along.
    """
    out = work_dir / "ptychoserve" / "rpc"
    out.mkdir(parents=True)
    for name in ("status", "error_details"):
        text = (proto_dir / "google" / "rpc" / f"{name}.proto").read_text(encoding="utf-8")
        (out / f"{name}.proto").write_text(
            text.replace("package google.rpc;", "package ptychoserve.rpc;"), encoding="utf-8")
    return sorted(out.glob("*.proto"))


def generate(proto_dir, out_dir):
    proto_dir, out_dir = pathlib.Path(proto_dir), pathlib.Path(out_dir)
    if shutil.which("protoc") is None:
        sys.exit("protoc is not in the PATH; it is in the package protobuf-compiler")
    out_dir.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as work:
        protos = [proto_dir / "ptychoserve" / "v1" / f"{name}.proto" for name in API]
        protos += renamed(proto_dir, pathlib.Path(work))
        subprocess.run(["protoc", f"-I{proto_dir}", f"-I{work}", f"--python_out={out_dir}",
                        f"--pyi_out={out_dir}", *map(str, protos)], check=True)
    for package in ("v1", "rpc"):
        (out_dir / "ptychoserve" / package / "__init__.py").touch()


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    generate(*sys.argv[1:])
