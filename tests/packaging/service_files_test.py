#!/usr/bin/env python3
"""The files that services are made of, against the programs of a build: the sample configuration, the
secrets, and what docker/compose.yaml asks for.

    service_files_test.py BUILD_DIR [unittest arguments]
"""
import hashlib
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

import yaml

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))

import harness  # noqa: E402
from harness import ROOT  # noqa: E402


def run(*command, **keywords):
    done = subprocess.run([str(word) for word in command], text=True, capture_output=True, check=False,
                          **keywords)
    assert done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout


def options(*command):
    return set(re.findall(r"(?<![\w-])--[a-z][\w-]*", run(*command, "--help")))


class ServiceFilesTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        script = pathlib.Path(folder.name) / "make_secrets.sh"
        shutil.copy(ROOT / "docker/make_secrets.sh", script)
        run(script, "daq.example.org", "192.0.2.7")
        cls.script, cls.secrets = script, script.parent / "secrets"
        cls.compose = yaml.safe_load((ROOT / "docker/compose.yaml").read_text(encoding="utf-8"))

    def test_the_server_takes_the_sample_configuration(self):
        run(harness.BUILD / "bin/ptychoserved", "--check-config", "--config",
            ROOT / "deploy/systemd/ptychoserved.yaml")

    def test_the_server_takes_the_secrets(self):
        run(harness.BUILD / "bin/ptychoserved", "--check-config",
            "--tls-cert", self.secrets / "server/server.crt", "--tls-key", self.secrets / "server/server.key",
            "--access-file", self.secrets / "server/access.yaml")

    def test_the_certificate_has_all_names_and_is_of_the_authority(self):
        authority = ("-CAfile", self.secrets / "ca.crt", self.secrets / "server/server.crt")
        for check in (("-verify_hostname", "server"), ("-verify_hostname", "localhost"),
                      ("-verify_hostname", "daq.example.org"), ("-verify_ip", "192.0.2.7")):
            run("openssl", "verify", "-purpose", "sslserver", *check, *authority)

    def test_the_access_file_knows_the_tokens_and_nobody_else(self):
        access = yaml.safe_load((self.secrets / "server/access.yaml").read_text(encoding="utf-8"))
        found = {p["sha256"]: p["role"] for p in access["principals"]}
        wanted = {}
        for role in ("producer", "viewer", "operator"):
            token = (self.secrets / f"{role}.token").read_text(encoding="utf-8").strip()
            self.assertEqual(len(token), 64)
            wanted[hashlib.sha256(token.encode()).hexdigest()] = role
        self.assertEqual(found, wanted)

    def test_secrets_are_kept_and_closed(self):
        def contents():
            return {path: path.read_bytes() for path in self.secrets.rglob("*") if path.is_file()}

        before = contents()
        run(self.script)
        self.assertEqual(before, contents())
        self.assertEqual(self.secrets.stat().st_mode & 0o777, 0o700)
        self.assertEqual((self.secrets / "ca.key").stat().st_mode & 0o777, 0o600)

    def test_a_name_that_the_certificate_lacks_is_refused_until_it_is_made_anew(self):
        with tempfile.TemporaryDirectory() as folder:
            script = shutil.copy(self.script, folder)
            secrets = pathlib.Path(shutil.copytree(self.secrets, pathlib.Path(folder) / "secrets"))
            kept = {name: (secrets / name).read_bytes()
                    for name in ("ca.crt", "server/access.yaml", "page.token")}
            for wrong, why in (("other.example.org", "server.crt is not for 'other.example.org'"),
                               ("--help", "'--help' is no host name"), ("a,b", "'a,b' is no host name")):
                done = subprocess.run([script, wrong], text=True, capture_output=True, check=False)
                self.assertEqual(done.returncode, 1, wrong)
                self.assertIn(why, done.stderr)
            (secrets / "server/server.crt").unlink()
            run(script, "other.example.org", "2001:db8::7")
            for check in (("-verify_hostname", "other.example.org"), ("-verify_ip", "2001:db8::7")):
                run("openssl", "verify", *check, "-CAfile", self.secrets / "ca.crt",
                    secrets / "server/server.crt")
            self.assertEqual(kept, {name: (secrets / name).read_bytes() for name in kept})

    def test_what_openssl_refuses_is_said(self):
        with tempfile.TemporaryDirectory() as folder:
            done = subprocess.run([shutil.copy(self.script, folder), "999.1"], text=True,
                                  capture_output=True, check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn("bad ip address", done.stderr)

    def test_compose_asks_for_secrets_that_are_made_and_options_that_there_are(self):
        for name, entry in self.compose["secrets"].items():
            self.assertTrue((self.secrets.parent / entry["file"]).is_file(), name)
        known = {"server": options(harness.BUILD / "bin/ptychoserved"),
                 "dashboard": options(harness.BUILD / "bin/ptychoserve-dashboard")}
        folder = {path.name for path in (self.secrets / "server").iterdir()}
        self.assertEqual(folder, {"server.crt", "server.key", "access.yaml"})
        for service, entry in self.compose["services"].items():
            there = set(entry.get("secrets", []))
            if "./secrets/server:/run/secrets:ro" in entry.get("volumes", []):
                there |= folder
            self.assertLessEqual(set(re.findall(r"/run/secrets/([\w.]+)", str(entry))), there, service)
            self.assertTrue(entry["read_only"], service)
            self.assertEqual(entry["cap_drop"], ["ALL"], service)
        for service, there in known.items():
            words = self.compose["services"][service]["command"]
            asked = {word.partition("=")[0] for word in words if word.startswith("--")}
            self.assertLessEqual(asked, there, service)
        self.assertNotIn("ca.key", self.compose["secrets"])


if __name__ == "__main__":
    harness.main()
