#!/usr/bin/env python3
"""deploy/slurm on a Slurm of one node that the test sets up: a job whose time runs out hands over.

    slurm_test.py BUILD_DIR [unittest arguments]

Takes five minutes, as Slurm's limits have minutes, and needs root and the packages slurm-wlm, munge,
haproxy and socat; so it is run by hand.
"""
import json
import os
import pathlib
import shutil
import socket
import subprocess
import tempfile
import time
import unittest

import nodes
from nodes import harness

import numpy as np

DEPLOY = nodes.ROOT / "deploy"
FRAMES = 100


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class SlurmTest(unittest.TestCase):
    def setUp(self):
        nodes.needs("slurmctld", "slurmd", "munged", "haproxy", "socat", "openssl")
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="slurm"))
        self.folder.chmod(0o755)
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.processes = []
        self.addCleanup(self.end_processes)
        self.start_slurm()
        self.shared = self.folder / "shared"
        self.make_secrets()
        self.start_haproxy()

    def end_processes(self):
        for process in reversed(self.processes):
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def begin(self, *command, log=None):
        out = open(self.folder / f"{log or pathlib.Path(command[0]).name}.log", "a",
                   encoding="utf-8")
        self.addCleanup(out.close)
        process = subprocess.Popen(list(map(str, command)), env=self.environment(),
                                   stdout=out, stderr=out)
        self.processes.append(process)
        return process

    def environment(self):
        return {**os.environ, "SLURM_CONF": str(self.folder / "slurm.conf"),
                "PATH": f"{harness.BUILD / 'bin'}:{os.environ['PATH']}"}

    def slurm(self, *command):
        return nodes.run(*command, env=self.environment())

    def start_slurm(self):
        host = socket.gethostname()
        key = self.folder / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o400)
        munge = self.folder / "munge"
        munge.mkdir(mode=0o755)
        self.begin("munged", "--foreground", "--force", f"--key-file={key}",
                   f"--socket={munge}/socket", f"--pid-file={munge}/pid",
                   f"--log-file={munge}/log", f"--seed-file={munge}/seed")
        harness.wait_until(lambda: (munge / "socket").exists(), "munged runs")
        (self.folder / "gres.conf").write_text("NodeName=n1 Name=gpu File=/dev/null\n")
        (self.folder / "slurm.conf").write_text(f"""
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={free_port()}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={munge}/socket
CredType=cred/munge
StateSaveLocation={self.folder}/controller
SlurmdSpoolDir={self.folder}/spool-%n
SlurmctldPidFile={self.folder}/slurmctld.pid
SlurmdPidFile={self.folder}/slurmd-%n.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
GresTypes=gpu
ReturnToService=2
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={free_port()} CPUs={os.cpu_count()} Gres=gpu:1
PartitionName=main Nodes=n1 Default=YES State=UP MaxTime=INFINITE
""")
        (self.folder / "controller").mkdir()
        self.begin("slurmctld", "-D", "-f", self.folder / "slurm.conf")
        self.begin("slurmd", "-D", "-N", "n1", "-f", self.folder / "slurm.conf")
        harness.wait_until(lambda: subprocess.run(
            ["sinfo", "-h", "-o", "%t"], env=self.environment(), capture_output=True, text=True,
            check=False).stdout.strip() == "idle", "the node is idle")

    def make_secrets(self):
        secrets = self.shared / "secrets"
        secrets.mkdir(parents=True, mode=0o700)
        nodes.certificate(secrets, "tls", "DNS:ptychoserve")
        token = os.urandom(16).hex()
        (self.folder / "token").write_text(f"{token}\n")
        nodes.access_file(secrets / "access.yaml", token)

    def start_haproxy(self):
        nodes.certificate(self.folder, "proxy", "IP:127.0.0.1")
        self.proxy = f"127.0.0.1:{free_port()}"
        (self.folder / "haproxy.cfg").write_text(
            nodes.haproxy_config(self.folder, self.proxy, f"127.0.0.1:{free_port()}",
                                 self.shared / "secrets" / "tls.crt"))
        self.begin("haproxy", "-f", self.folder / "haproxy.cfg")
        harness.wait_until(lambda: (self.folder / "admin.sock").exists(), "HAProxy runs")
        self.begin(DEPLOY / "slurm" / "follow_endpoints.sh", self.shared,
                   self.folder / "admin.sock")

    # --- The test ---------------------------------------------------------------------------------

    def client(self):
        return {**os.environ, "PTYCHOSERVE_SERVER": self.proxy,
                "PTYCHOSERVE_TLS_CA": str(self.folder / "proxy.crt"),
                "PTYCHOSERVE_TOKEN_FILE": str(self.folder / "token")}

    def ctl(self, *arguments):
        return nodes.run(harness.program("ptychoctl"), *arguments, env=self.client())

    def submit(self, *flags):
        out = self.slurm("sbatch", "--parsable", "--job-name", "node-a", "--cpus-per-task", 1,
                         "--mem", 0, "--output", self.folder / "job.log", *flags,
                         f"--export=ALL,PTYCHOSERVE_DIR={self.shared}",
                         DEPLOY / "slurm" / "ptychoserved.sbatch", "--device", "cpu",
                         "--threads", "1")
        return out.strip()

    def restarts(self, job):
        fields = dict(f.split("=", 1) for f in self.slurm("scontrol", "show", "job", job).split()
                      if "=" in f)
        return int(fields["Restarts"]), fields["JobState"]

    def test_a_scan_outlives_the_job_whose_time_is_over(self):
        endpoint = self.shared / "endpoints" / "node-a"
        job = self.submit("--time", "2", "--signal", "B:USR1@60")
        harness.wait_until(endpoint.exists, "the endpoint is published")
        first = endpoint.read_text(encoding="utf-8")
        scan = self.folder / "scan.cxi"
        self.ctl("simulate", scan, "--points", FRAMES, "--frame", 64, "--photons", "1e6")
        run = ("--schedule", "dm:30,ml_grad:20", "--min-points", FRAMES, "--quiet", "--keep")
        # Half a frame a second: the stream lasts longer than the job.
        client = self.begin_client("run", scan, "--session", "long", *run, "--rate", 0.7,
                                   "--batch", 1, "--out", self.folder / "long.npz", "--json")
        self.wait_long(lambda: self.restarts(job)[0] == 1, "the job is requeued")
        self.wait_long(endpoint.exists, "the server is there again")
        print("endpoint before:", first.strip(), "after:", endpoint.read_text().strip())
        out, err = client.communicate(timeout=600)
        self.assertEqual(client.returncode, 0, err)
        summary = json.loads(out.splitlines()[-1])
        self.assertGreaterEqual(summary["restarts"], 1)
        self.assertEqual(summary["frames"]["accepted"], FRAMES)
        self.ctl("run", scan, "--session", "short", *run, "--out", self.folder / "short.npz")
        with np.load(self.folder / "long.npz") as a, np.load(self.folder / "short.npz") as b:
            for name in a.files:
                np.testing.assert_array_equal(a[name], b[name], name)

        self.slurm("scancel", job)
        self.wait_long(lambda: self.restarts(job)[1] in ("CANCELLED", "COMPLETED"),
                       "the job is cancelled")
        harness.wait_until(lambda: not endpoint.exists(), "the endpoint is withdrawn")
        self.assertIn("the server has ended with 0",
                      (self.folder / "job.log").read_text().splitlines()[-1])

    def begin_client(self, *arguments):
        process = subprocess.Popen([harness.program("ptychoctl"), *map(str, arguments)], text=True,
                                   env=self.client(), stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE)
        self.processes.append(process)
        return process

    def wait_long(self, condition, what):
        deadline = time.monotonic() + 600
        while not condition():
            self.assertLess(time.monotonic(), deadline, f"still not: {what}")
            time.sleep(1)

    def test_secrets_that_others_can_read_are_refused(self):
        (self.shared / "secrets").chmod(0o755)
        job = self.submit()
        self.wait_long(lambda: self.restarts(job)[1] == "FAILED", "the job is refused")
        self.assertIn("chmod 700", (self.folder / "job.log").read_text())


if __name__ == "__main__":
    harness.main()
