#!/usr/bin/env python3
"""Changes constants of the solver one by one and sees whether a test notices.

    run_mutants.py --check               only whether the list fits the sources
    run_mutants.py BUILD_DIR [TEXT...]   all mutants, or those whose line has one of the texts

Works on a copy of the sources in BUILD_DIR/mutants, without CUDA. A mutant that no test notices
has survived; the exit code is 1 then. About a minute each on two cores.
"""
import argparse
import os
import pathlib
import shutil
import subprocess
import sys

from mutants import MUTANTS

ROOT = pathlib.Path(__file__).resolve().parents[2]


def misfits():
    """Lines of the list whose text does not stand in their file exactly once."""
    for file, text, replacement, _ in MUTANTS:
        count = (ROOT / file).read_text(encoding="utf-8").count(text)
        if count != 1 or text == replacement:
            yield f"{file}: '{text}' is there {count} times"


def copy_sources(to):
    files = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, check=True,
                           capture_output=True, text=True).stdout.split("\n")
    for name in filter(None, files):
        target = to / name
        target.parent.mkdir(parents=True, exist_ok=True)
        # Files that stay the same keep their time, and are not built anew.
        if not target.exists() or target.read_bytes() != (ROOT / name).read_bytes():
            shutil.copy(ROOT / name, target)


def build(folder, log):
    return subprocess.run(["cmake", "--build", folder, "--target", "engine_tests", "-j",
                           str(os.cpu_count())], stdout=log, stderr=log).returncode == 0


def survives(source, folder, mutant, log):
    file, text, replacement, tests = mutant
    path = source / file
    original = path.read_text(encoding="utf-8")
    path.write_text(original.replace(text, replacement), encoding="utf-8")
    try:
        if not build(folder, log):
            return None
        return subprocess.run([folder / "bin/engine_tests", f"--gtest_filter={tests}",
                               "--gtest_fail_fast", "--gtest_brief=1"], stdout=log,
                              stderr=log).returncode == 0
    finally:
        path.write_text(original, encoding="utf-8")


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", nargs="?", type=pathlib.Path)
    parser.add_argument("texts", nargs="*")
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    wrong = list(misfits())
    if wrong or arguments.check or arguments.build is None:
        print("\n".join(wrong) or f"{len(MUTANTS)} mutants fit the sources")
        return 1 if wrong or not arguments.check else 0

    folder = arguments.build.resolve() / "mutants"
    source = folder / "source"
    copy_sources(source)
    chosen = [m for m in MUTANTS
              if not arguments.texts or any(t in " ".join(m) for t in arguments.texts)]
    with open(folder / "log", "wb") as log:
        subprocess.run(["cmake", "-S", source, "-B", folder / "build", "-G", "Ninja",
                        "-DCMAKE_BUILD_TYPE=Release", "-DPTYCHOSERVE_CUDA=OFF"], check=True,
                       stdout=log)
        if not build(folder / "build", log):
            sys.exit(f"the sources do not build; see {folder / 'log'}")
        survivors = 0
        for mutant in chosen:
            alive = survives(source, folder / "build", mutant, log)
            verdict = {True: "SURVIVED", False: "killed", None: "DOES NOT BUILD"}[alive]
            survivors += alive is not False
            print(f"{verdict:9} {mutant[0]}: {mutant[1]} -> {mutant[2]}", flush=True)
    print(f"{len(chosen) - survivors} killed, {survivors} survived")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
