#!/usr/bin/env python3
"""The packages of a build: what is in them, that they are the same each time, that they are usable.

    packages_test.py BUILD_DIR [unittest arguments]
"""
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))

import harness  # noqa: E402
from harness import ROOT  # noqa: E402



def run(*command, **keywords):
    done = subprocess.run([str(word) for word in command], text=True, capture_output=True, check=False,
                          **keywords)
    assert done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout


def make_packages(out, umask, **environment):
    run(sys.executable, "-B", ROOT / "deploy/package/make_packages.py", harness.BUILD, out,
        umask=umask,
        env={**os.environ, **environment})


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


class PackagesTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.folder = pathlib.Path(folder.name)
        cls.packages = cls.folder / "packages"
        make_packages(cls.packages, 0o022)
        cls.server_deb, = cls.packages.glob("ptychoserved*.deb")
        cls.clients_deb, = cls.packages.glob("ptychoserve-clients*.deb")
        cls.root = cls.folder / "root"  # As a machine has it on which both are installed.
        for deb in (cls.server_deb, cls.clients_deb):
            run("dpkg-deb", "-x", deb, cls.root)

    def field(self, deb, name):
        return run("dpkg-deb", "-f", deb, name).strip()

    def test_packed_twice_the_packages_are_the_same_bits(self):
        again = self.folder / "again"
        make_packages(again, 0o077, TZ="Pacific/Auckland", LC_ALL="C", COLUMNS="200",
                      PYTHONHASHSEED="7", PTYCHOSERVE_SERVER="elsewhere:1")
        self.assertEqual(contents(self.packages), contents(again))

    def test_packages_have_the_version_of_the_programs(self):
        said = run(harness.BUILD / "bin/ptychoctl", "--version")
        version = re.search(r"\d+\.\d+\.\d+\S*", said)[0]
        for deb in (self.server_deb, self.clients_deb):
            self.assertRegex(self.field(deb, "Version"), rf"^{re.escape(version)}\+[a-z]+[\d.]+$")
            self.assertIn("libgrpc", self.field(deb, "Depends"))
        self.assertIn("python3-grpcio", self.field(self.clients_deb, "Depends"))
        run("sha256sum", "--check", "SHA256SUMS", cwd=self.packages)

    def test_programs_know_nothing_of_the_place_where_they_were_built(self):
        for program in ("ptychoserved", "ptychoctl"):
            path = self.root / "usr/bin" / program
            self.assertNotRegex(run("readelf", "-d", path), "RPATH|RUNPATH")
            # NDEBUG and no __FILE__: bits do not depend on where the sources lie.
            self.assertNotIn(f"{ROOT}/".encode(), path.read_bytes())

    def test_python_programs_run_from_wherever_they_are_unpacked(self):
        archive, = self.packages.glob("ptychoserve-*.tar.gz")
        run("tar", "-xzf", archive, "-C", self.folder)
        top, = (path for path in self.folder.iterdir() if path.name.startswith("ptychoserve-"))
        said = run("/usr/bin/python3", "-B", top / "bin/ptychoserve-dashboard", "--help",
                   env={"PATH": os.environ["PATH"]})
        self.assertIn("Serves a page", said)
        self.assertTrue((top / "lib/python3/dist-packages/ptychoserve/dashboard/page/index.html").exists())
        self.assertIn("python3-grpcio\n", (top / "NEEDS.txt").read_text(encoding="utf-8"))

    def test_contents_are_listed_with_versions_and_licences(self):
        listed = {}
        for path in self.packages.glob("*.cdx.json"):
            for component in json.loads(path.read_text(encoding="utf-8"))["components"]:
                self.assertTrue(component["version"], component)
                listed[component["name"]] = component
        self.assertIn("GPL-2+", json.dumps(listed["libfftw3-single3"]["licenses"]))
        self.assertIn("MIT", json.dumps(listed["uplot"]["licenses"]))
        self.assertIn("libgrpc++1.51" if "libgrpc++1.51" in listed else "libgrpc++1.51t64", listed)
        self.assertIn("python3-grpcio", listed)

    def test_manual_pages_are_sound_and_there_is_one_for_each_command(self):
        pages = sorted(self.root.glob("usr/share/man/man*/*.gz"))
        names = {path.name for path in pages}
        self.assertLessEqual({"ptychoserved.8.gz", "ptychoctl.1.gz", "ptychoctl-run.1.gz",
                              "ptychoctl-replay.1.gz", "ptychoserve-bridge.1.gz"}, names)
        text = run("zcat", self.root / "usr/share/man/man8/ptychoserved.8.gz")
        self.assertIn(r"\-\-state\-dir", text)
        for path in pages:
            # A link to another page, or the line that whatis reads.
            self.assertRegex(run("zcat", path), r"^(\.so man1/|\.TH [^\n]*\n\.SH NAME\n\S+ \\- \S)", path)

    def test_bash_completes_commands_options_and_choices(self):
        for line, wanted in ((["ptychoctl", "sim"], ["simulate"]),
                             (["ptychoctl", "run", "--encoding", "b"], ["bslz4"]),
                             (["ptychoctl", "emulate", "panda-"], ["panda-port"]),
                             (["ptychoctl", "replay", "--use"], ["--use-probe"]),
                             (["ptychoctl", "run", "--out", ""], []),
                             (["ptychoserved", "--log-format", "j"], ["json"]),
                             (["ptychoserved", "--state"], ["--state-dir"])):
            script = self.root / "usr/share/bash-completion/completions" / line[0]
            words = " ".join(f"'{word}'" for word in line)
            said = run("bash", "--norc", "-c",
                       f"source {script}; COMP_WORDS=({words}); COMP_CWORD={len(line) - 1}; "
                       f"_{line[0]}; printf '%s\\n' \"${{COMPREPLY[@]}}\"")
            self.assertEqual(said.split(), wanted, line)

    def test_systemd_takes_the_unit(self):
        (self.root / "bin").symlink_to("usr/bin")
        (self.root / "bin/sh").touch(0o755)  # Of another package.
        said = subprocess.run(["systemd-analyze", "verify", f"--root={self.root}", "--man=no",
                               "--recursive-errors=no", "ptychoserved.service"], text=True,
                              capture_output=True, check=False)
        self.assertEqual(said.returncode, 0, said.stderr)


if __name__ == "__main__":
    harness.main()
