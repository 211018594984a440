#!/usr/bin/env python3
"""Three servers behind HAProxy and nginx, as deploy/proxy configures them, while two of them go away.

    proxy_test.py BUILD_DIR [unittest arguments]

PTYCHOSERVE_SESSIONS=20 sets how many sessions there are at least, PTYCHOSERVE_NETWORK=namespaces
gives each server a network namespace (default: an address of the loopback interface).
"""
import json
import os
import pathlib
import re
import socket
import subprocess
import tempfile
import unittest

import nodes
import pages
from nodes import harness

import numpy as np

SESSIONS = int(os.environ.get("PTYCHOSERVE_SESSIONS", "4"))
NETWORK = {"loopback": nodes.Loopback, "namespaces": nodes.Namespaces}[
    os.environ.get("PTYCHOSERVE_NETWORK", "loopback")]
FRAMES = 100
# The run begins with all points, so that its bits do not depend on how they came.
RUN = ("--schedule", "dm:30,ml_grad:20", "--min-points", str(FRAMES), "--iterations", "100")
PROXY, A, B, C, STANDBY = range(1, 6)
# As `socat -t 5 - SOCKET`, which not every machine has.
SOCAT = """socat() { python3 -c '
import socket, sys
with socket.socket(socket.AF_UNIX) as admin:
    admin.connect(sys.argv[-1])
    admin.sendall(sys.stdin.buffer.read())
    print(b"".join(iter(lambda: admin.recv(65536), b"")).decode())' "$@"; }
"""


class ProxyTest:
    """The test, for a proxy whose class says how it is configured and started."""

    def setUp(self):
        nodes.needs("openssl", *self.PROGRAMS)
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.network = NETWORK()
        self.addCleanup(self.network.close)
        self.address = self.network.address(PROXY)
        nodes.certificate(self.folder, "proxy", f"IP:{self.address}")
        nodes.certificate(self.folder, "node", "DNS:ptychoserve")
        self.nodes = {number: self.start(number, number) for number in (A, B, C)}
        self.processes = []
        self.addCleanup(self.end_processes)

    def start(self, number, state):
        node = nodes.Node(self.network, number, self.folder / f"state-{state}",
                          *self.node_flags())
        self.addCleanup(node.kill)
        return node

    def end_processes(self):
        for process in self.processes:
            process.kill()
            process.communicate()

    def addresses(self):
        """Those of deploy/proxy, and those of this test in their place."""
        return {f"10.0.0.{number - 1}:": f"{self.network.address(number)}:"
                for number in (A, B, C)}

    # --- Clients ----------------------------------------------------------------------------------

    def environment(self):
        return {**os.environ, "PTYCHOSERVE_SERVER": f"{self.address}:50051",
                "PTYCHOSERVE_TLS_CA": str(self.folder / "proxy.crt")}

    def ctl(self, *arguments):
        return nodes.run(harness.program("ptychoctl"), *arguments, env=self.environment())

    def begin(self, *arguments):
        process = subprocess.Popen([harness.program("ptychoctl"), *map(str, arguments)],
                                   env=self.environment(), text=True,
                                   stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.processes.append(process)
        return process

    def succeeds(self, process):
        out, _ = process.communicate(timeout=nodes.DEADLINE_S)
        self.assertEqual(process.returncode, 0, out)

    def sessions_of(self, number):
        """Asks a node itself."""
        out = nodes.run(harness.program("ptychoctl"), "list", "--json", "--server",
                        f"{self.nodes[number].address}:50051", *self.flags_to_nodes())
        return {s["name"].partition("/")[2]: s for s in json.loads(out)["sessions"]}

    def make_sessions(self):
        """Sessions until there are SESSIONS, and some on each node; their names by node."""
        self.names = []
        while True:
            held = {number: set(self.sessions_of(number)) for number in (A, B, C)}
            self.assertEqual(sum(map(len, held.values())), len(self.names))
            if len(self.names) >= SESSIONS and all(held.values()):
                return held
            self.assertLess(len(self.names), SESSIONS + 40, "a node gets no sessions")
            self.names.append(f"scan-{len(self.names)}")
            self.ctl("create", "--scan", self.scan, "--session", self.names[-1], *RUN)

    # --- The test ---------------------------------------------------------------------------------

    def test_sessions_outlive_a_drained_and_a_killed_node(self):
        self.scan = self.folder / "scan.cxi"
        self.ctl("simulate", self.scan, "--points", FRAMES, "--frame", 64, "--photons", "1e6")
        self.start_proxy()
        held = self.make_sessions()
        streams = [self.begin("stream", name, self.scan, "--rate", 25, "--batch", 1)
                   for name in self.names]
        watches = [self.begin("watch", name, "--json") for name in self.names]
        for number in (A, B, C):
            harness.wait_until(
                lambda: all(int(s.get("frames", {}).get("received", 0)) > 5
                            for s in self.sessions_of(number).values()), "frames come in")

        self.assertEqual(self.nodes[A].drain(), 0)
        self.nodes[B].kill()
        self.while_two_are_away()
        self.nodes[A] = self.start(A, A)
        self.replace_b()

        for process in streams:
            self.succeeds(process)
        for name in self.names:
            self.ctl("finish", name)
        for process in watches:
            self.succeeds(process)
        self.check_results(held)

    def check_results(self, held):
        """All as the first session of the node that was never away."""
        self.assertEqual({number: set(self.sessions_of(number)) for number in held}, held)
        undisturbed = self.result(min(held[C]))
        for number, names in held.items():
            for name in names:
                session = json.loads(self.ctl("get", name, "--json"))
                self.assertEqual(session["state"], "SESSION_STATE_COMPLETED")
                self.assertEqual(session.get("restarts", 0), 0 if number == C else 1)
                self.assertEqual(session["frames"]["accepted"], FRAMES)
                for key, array in self.result(name).items():
                    np.testing.assert_array_equal(array, undisturbed[key], f"{name} {key}")

    def result(self, name):
        path = self.folder / f"{name}.npz"
        self.ctl("snapshot", name, "--out", path)
        with np.load(path) as file:
            return {key: file[key] for key in file.files}

    def test_calls_that_one_node_cannot_answer_are_refused(self):
        self.start_proxy()
        self.assertIn("ptychoserved", self.ctl("info"))
        for arguments in (("list",), ("create", "--scan", self.folder / "scan.cxi")):
            if arguments[0] == "create":
                self.ctl("simulate", arguments[2], "--points", 9, "--frame", 64)
            done = subprocess.run([harness.program("ptychoctl"), *map(str, arguments)], text=True,
                                  env=self.environment(), capture_output=True, check=False,
                                  timeout=nodes.DEADLINE_S)
            self.assertEqual(done.returncode, 1, done.stdout)
            self.assertIn("routes by session", done.stderr)


class HaproxyTest(ProxyTest, unittest.TestCase):
    """The nodes have TLS, too."""

    PROGRAMS = ("haproxy",)

    def node_flags(self):
        return ("--tls-cert", self.folder / "node.crt", "--tls-key", self.folder / "node.key")

    def flags_to_nodes(self):
        return ("--tls-ca", self.folder / "node.crt", "--tls-server-name", "ptychoserve")

    def start_proxy(self):
        config = self.folder / "haproxy.cfg"
        config.write_text(harness.replace_all(
            nodes.haproxy_config(self.folder, f"{self.address}:50051", f"{self.address}:10000",
                                 self.folder / "node.crt"), self.addresses()))
        nodes.run("haproxy", "-c", "-f", config)
        log = open(self.folder / "haproxy.log", "w", encoding="utf-8")
        self.addCleanup(log.close)
        process = subprocess.Popen(["haproxy", "-f", config], stdout=log, stderr=log)
        self.processes.append(process)
        harness.wait_until(lambda: (self.folder / "admin.sock").exists(), "HAProxy runs")
        harness.wait_until(lambda: self.states().count("UP") == 3, "HAProxy finds three nodes ready")

    def command(self, text):
        with socket.socket(socket.AF_UNIX) as admin:
            admin.connect(str(self.folder / "admin.sock"))
            admin.sendall(text.encode() + b"\n")
            return b"".join(iter(lambda: admin.recv(65536), b"")).decode()

    def states(self):
        """Of the nodes, as HAProxy sees them."""
        return re.findall(r"^nodes,node-.*?,(UP|DOWN)", self.command("show stat"), re.MULTILINE)

    def while_two_are_away(self):
        """New sessions go to the node that is left."""
        harness.wait_until(lambda: self.states().count("DOWN") == 2, "HAProxy finds two nodes away")
        for k in range(2):
            self.ctl("create", "--scan", self.scan, "--session", f"late-{k}", *RUN)
            self.assertIn(f"late-{k}", self.sessions_of(C))
            self.ctl("delete", f"late-{k}", "--force")

    def replace_b(self):
        """Another machine takes over the killed node's sessions and its place in the proxy."""
        self.nodes[B] = self.start(STANDBY, B)
        address = self.nodes[B].address
        script = harness.replace_all(pages.script("docs/scale_out.md"), {
            "10.0.0.9": address, "/run/haproxy/admin.sock": self.folder / "admin.sock"})
        said = pages.run(SOCAT + script, self.folder)
        self.assertEqual(said.count(f"to '{address}'"), 1, said)
        self.assertNotIn("Unknown command", said)


class NginxTest(ProxyTest, unittest.TestCase):
    """The nodes have no TLS."""

    PROGRAMS = ("nginx",)

    def node_flags(self):
        return self.network.plaintext_flags

    def flags_to_nodes(self):
        return ()

    def start_proxy(self):
        config = self.folder / "nginx.conf"
        text = (nodes.ROOT / "deploy" / "proxy" / "nginx.conf").read_text(encoding="utf-8")
        config.write_text(harness.replace_all(text, {
            **self.addresses(),
            "listen 50051": f"listen {self.address}:50051",
            "/etc/nginx/ptychoserve": self.folder / "proxy",
            "/run/nginx.pid": self.folder / "nginx.pid",
            "/var/log/nginx": self.folder}))
        nodes.run("nginx", "-t", "-c", config)
        process = subprocess.Popen(["nginx", "-c", config, "-g", "daemon off;"],
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.processes.append(process)
        self.addCleanup(process.wait)
        self.addCleanup(process.terminate)
        harness.wait_until(lambda: (self.folder / "nginx.pid").exists(), "nginx runs")

    def while_two_are_away(self):
        pass  # nginx does not know, and new sessions wait as well.

    def replace_b(self):
        """The same machine, or one that has got its address."""
        self.nodes[B] = self.start(B, B)


if __name__ == "__main__":
    harness.main()
