#!/usr/bin/env python3
"""Adds the few inputs to a corpus that reach most of the code that the files there do not reach.

Usage: tests/fuzz/pick_corpus.py BUILD_DIR TARGET [COUNT]; of what the fuzzer has learned, which is
in BUILD_DIR/corpus/TARGET.
"""

import hashlib
import pathlib
import subprocess
import sys
import tempfile

CORPUS = pathlib.Path(__file__).resolve().parent / "corpus"
MAX_BYTES = 600  # Of an input that is picked.


def reached_code(fuzzer, files):
    """For each file the set of places in the code that it reaches."""
    with tempfile.TemporaryDirectory() as work:
        control = pathlib.Path(work, "control")
        lines = [len(files), 0, *files]
        control.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        subprocess.run([fuzzer, "-merge_inner=2", "-use_counters=0",
                        f"-merge_control_file={control}"], check=True, capture_output=True)
        reached = {}
        for line in control.read_text(encoding="utf-8").splitlines()[2 + len(files):]:
            what, number, *places = line.split()
            if what == "FT":
                reached[files[int(number)]] = set(places)
    return reached


def main():
    build, target = pathlib.Path(sys.argv[1]), sys.argv[2]
    count = int(sys.argv[3]) if len(sys.argv) > 3 else 24
    kept = sorted((CORPUS / target).iterdir())
    learned = sorted(f for f in (build / "corpus" / target).iterdir()
                     if f.stat().st_size <= MAX_BYTES)
    reached = reached_code(build / "bin" / f"fuzz_{target}", kept + learned)
    known = set().union(*(reached.get(f, set()) for f in kept))
    for _ in range(count):
        best = max(learned, default=None,
                   key=lambda f: (len(reached.get(f, set()) - known), -f.stat().st_size))
        if best is None or reached.get(best, set()) <= known:
            break
        known |= reached[best]
        data = best.read_bytes()
        (CORPUS / target / hashlib.sha1(data).hexdigest()[:12]).write_bytes(data)
    print(f"{target}: {len(list((CORPUS / target).iterdir()))} files, {len(known)} places")


if __name__ == "__main__":
    main()
