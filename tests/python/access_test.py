#!/usr/bin/env python3
"""A real server with TLS and an access file, and the programs of the package as its clients."""

import hashlib
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import support
import certificates
import harness
import ptychoserve
from ptychoserve import errors
from ptychoserve.v1 import service_pb2
from scan_files import Parts

harness.BUILD = support.BUILD
PRINCIPALS = {"detector": ("beamline7", "producer"), "wall": ("beamline7", "viewer"),
              "operator": ("beamline7", "operator"), "neighbour": ("beamline8", "operator")}


class AccessTest(harness.EndToEndTest):

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.folder = pathlib.Path(folder.name)
        authority = certificates.Authority(cls.folder)
        certificate, key = authority.sign("server")
        entries = []
        for name, (tenant, role) in PRINCIPALS.items():
            token = f"token-of-{name}"
            cls.token_file(name).write_text(token + "\n", encoding="ascii")
            entries.append({"name": name, "tenant": tenant, "role": role,
                            "sha256": hashlib.sha256(token.encode()).hexdigest()})
        access = cls.folder / "access.yaml"
        access.write_text(json.dumps({"principals": entries}), encoding="utf-8")  # YAML, too.
        access.chmod(0o600)
        cls.guarded = harness.Server(folder.name, "--tls-cert", certificate, "--tls-key", key,
                                     "--access-file", str(access))
        cls.addClassCleanup(cls.guarded.kill)
        cls.options = {"ca_file": authority.path}
        cls.variables = {"PTYCHOSERVE_SERVER": cls.guarded.address,
                         "PTYCHOSERVE_TLS_CA": authority.path,
                         "PYTHONPATH": str(support.BUILD / "python")}

    @classmethod
    def tearDownClass(cls):
        assert cls.guarded.stop() == 0
        super().tearDownClass()

    @classmethod
    def token_file(cls, name):
        return cls.folder / f"{name}.token"

    def client(self, name):
        client = ptychoserve.Client(self.guarded.address, token_file=str(self.token_file(name)),
                                    **self.options)
        self.addCleanup(client.close)
        return client

    def run_as(self, name, program, *arguments):
        return subprocess.run(
            [sys.executable, "-B", "-m", f"ptychoserve.{program}", *arguments], text=True,
            env={**os.environ, **self.variables,
                 "PTYCHOSERVE_TOKEN_FILE": str(self.token_file(name))},
            capture_output=True, timeout=harness.DEADLINE_S, check=False)

    def test_for_whom_the_server_takes_a_client(self):
        for name, (tenant, role) in PRINCIPALS.items():
            caller = self.client(name).info().caller
            self.assertEqual((caller.name, caller.tenant, caller.role),
                             (name, tenant, service_pb2.Role.Value(f"ROLE_{role.upper()}")))
        with ptychoserve.Client(self.guarded.address, **self.options) as stranger:
            with self.assertRaises(errors.Unauthenticated):
                stranger.info()

    def test_a_replay_of_a_producer(self):
        done = self.run_as("detector", "replay", self.scan, "--session", "played", "--json", "-q",
                           "--set", "run.it_ends_after=5")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(json.loads(done.stdout)["frames_accepted"], 100)
        self.assertTrue(self.client("wall").session("played").snapshot().version)
        with self.assertRaises(errors.NotFound):
            self.client("neighbour").session("played")
        refused = self.run_as("wall", "replay", self.scan, "--session", "not-mine")
        self.assertEqual(refused.returncode, 1, refused.stderr)
        self.assertNotIn("Traceback", refused.stderr)

    def test_what_a_role_may_do(self):
        session = self.client("detector").create_session("roles", **Parts(self.scan).settings)
        self.assertEqual(session.info.tenant, "beamline7")
        with self.assertRaises(errors.PermissionDenied):
            session.stop()
        with self.assertRaises(errors.PermissionDenied):
            self.client("wall").session("roles").finish()
        self.client("operator").session("roles").delete(force=True)

    def test_doctor(self):
        for name, session in (("operator", "OK"), ("wall", "-")):
            said = json.loads(self.run_as(name, "doctor", "--frame", "64", "--json").stdout)
            found = {finding["check"]: finding for finding in said["findings"]}
            self.assertEqual(said["exit_code"], 0, said)
            self.assertIn(f"accepted: {name}, ", found["token"]["message"])
            self.assertIn("signed by 'authority ca'", found["tls"]["message"])
            self.assertEqual(found["throughput"]["level"], session)
        left = [s.id for s in self.client("operator").sessions() if s.id.startswith("doctor-")]
        self.assertEqual(left, [])


if __name__ == "__main__":
    support.main()
