#!/usr/bin/env python3
"""ptychoserve-doctor, run as a program: each thing that can be wrong gets a line that says so."""

import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from concurrent import futures

import support
import certificates
import grpc
import harness
import pages
import ptychoserve
import zmq
from ptychoserve.doctor.server import settings
from secure_service import Service

harness.BUILD = support.BUILD
CLIENT_KEYS, SOURCE_KEYS, OTHER_KEYS = (zmq.curve_keypair() for _ in range(3))


def checks_in(said):
    """What each line is about; the others say what to do."""
    return [line.split()[1] for line in said.splitlines() if line and line[0] != " "]


class DoctorTest(harness.EndToEndTest):

    def command(self, *arguments, env=None):
        return subprocess.Popen(
            [sys.executable, "-B", "-m", "ptychoserve.doctor", *arguments], text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(support.BUILD / "python"), **(env or {})})

    def doctor(self, *arguments, env=None, code=0):
        process = self.command(*arguments, env=env)
        out, err = process.communicate(timeout=harness.DEADLINE_S)
        self.assertEqual(process.returncode, code, out + err)
        return out + err

    def findings(self, *arguments, env=None, code=0):
        """By check; of several with one name, the last."""
        said = json.loads(self.doctor(*arguments, "--json", env=env, code=code))
        self.assertEqual(said["exit_code"], code)
        return {finding["check"]: finding for finding in said["findings"]}

    def failure(self, check, *arguments, env=None):
        """What is said of the one check that must fail."""
        found = self.findings("--timeout-s", "1", *arguments, env=env, code=1)
        self.assertEqual([name for name, finding in found.items() if finding["level"] == "FAIL"],
                         [check], found)
        self.assertTrue(found[check]["hint"], found[check])
        return found[check]["message"] + "; " + found[check]["hint"]

    def listening(self, answer, context=None):
        """The address of a program that answers everything with the same bytes."""
        listener = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(listener.close)

        def serve():
            while True:
                try:
                    connection, _ = listener.accept()
                    if context:
                        connection = context.wrap_socket(connection, server_side=True)
                    connection.recv(100)
                    connection.sendall(answer)
                    connection.close()
                except ssl.SSLError:
                    connection.close()
                except OSError:
                    if listener.fileno() < 0:
                        return

        threading.Thread(target=serve, daemon=True).start()
        return f"127.0.0.1:{listener.getsockname()[1]}"

    def service(self, *arguments, **options):
        service = Service(*arguments, **options)
        self.addCleanup(service.stop)
        return service

    def client(self):
        client = ptychoserve.Client(self.server.address)
        self.addCleanup(client.close)
        return client

    # --- The server -------------------------------------------------------------------------

    def test_a_server_that_is_well(self):
        found = self.findings("--server", self.server.address, "--frame", "64")
        self.assertEqual({name: finding["level"] for name, finding in found.items()}, {
            "address": "OK", "connect": "OK", "protocol": "OK", "health": "OK", "token": "OK",
            "version": "OK", "latency": "OK", "device": found["device"]["level"], "sessions": "OK", "memory": "OK",
            "durability": "WARN", "clock": "OK", "throughput": "OK"})
        self.assertIn("--state-dir", found["durability"]["hint"])
        self.assertGreater(found["throughput"]["figures"]["mb_per_s"], 0)
        self.assertGreater(found["latency"]["figures"]["median_ms"], 0)
        self.assertEqual(self.client().sessions(), [])

    def test_a_line_for_each(self):
        said = self.doctor("--no-throughput", env={"PTYCHOSERVE_SERVER": self.server.address})
        lines = [line for line in said.splitlines() if not line.startswith(" ")]
        self.assertEqual([line.split()[1] for line in lines],
                         ["address", "connect", "protocol", "health", "token", "version", "latency",
                          "device", "sessions", "memory", "durability", "clock", "throughput"])
        self.assertEqual([line.split()[0] for line in lines[-3:]], ["-"] * 3)

    def test_the_name_in_help_and_usage(self):
        said = self.doctor("--help", env={"PTYCHOSERVE_PROGRAM": "ptychoctl doctor"})
        self.assertIn("usage: ptychoctl doctor ", said)
        self.assertIn("Exit codes:", said)
        self.assertIn("ptychoserve-doctor: error: ", self.doctor("--frame", "0", code=2))

    def test_addresses_that_are_none(self):
        self.assertIn("HOST:PORT", self.failure("address", "--server", "beamline"))
        self.assertIn("has no address",
                      self.failure("address", "--server", "no-such-host.invalid:50051"))

    def test_nothing_listens(self):
        with socket.create_server(("127.0.0.1", 0)) as free:
            address = f"127.0.0.1:{free.getsockname()[1]}"
        self.assertIn("is ptychoserved running",
                      self.failure("connect", "--server", address))

    def test_a_socket_in_the_file_system(self):
        with tempfile.TemporaryDirectory() as folder:
            self.assertIn("No such file", self.failure("connect", "--server",
                                                       f"unix:{folder}/none"))
            server = harness.Server(folder, listen=f"unix:{folder}/socket")
            try:
                self.findings("--server", f"unix:{folder}/socket", "--no-throughput")
            finally:
                server.stop()

    def test_other_programs_at_the_port(self):
        for answer, said in ((b"HTTP/1.1 400 Bad Request\r\n\r\n", "a web server"),
                             (b"SSH-2.0-OpenSSH_9.2\r\n", "SSH-2.0"), (b"", "another program")):
            self.assertIn(said, self.failure("protocol", "--server", self.listening(answer)))

    def test_tls(self):
        with tempfile.TemporaryDirectory() as folder:
            authority = certificates.Authority(folder)
            other = certificates.Authority(folder, "other")
            service = self.service(certificate=authority.sign("server"))
            said = self.failure("protocol", "--server", service.address)
            self.assertIn("it speaks TLS", said)
            self.assertIn("--tls-ca", said)
            for trust in ("--tls",), ("--tls-ca", other.path):
                said = self.failure("tls", "--server", service.address, *trust)
                self.assertIn("signed by 'authority ca', for localhost, 127.0.0.1, whom", said)
                self.assertIn("--tls-ca FILE", said)
            trust = ("--tls-ca", authority.path)
            self.assertIn("it is signed by 'authority ca', for localhost",
                          self.failure("tls", "--server", service.address, *trust,
                                       "--tls-server-name", "beamline"))
            found = self.findings("--server", service.address, *trust, "--no-throughput")
            self.assertRegex(found["tls"]["message"], r"TLSv1.\d, signed by 'authority ca', for "
                             r"localhost, 127.0.0.1, (29|30) days left")
            self.assertEqual({found[name]["level"] for name in ("tls", "protocol", "health")},
                             {"OK"})
            self.assertIn("does not speak TLS",
                          self.failure("tls", "--server", self.server.address, *trust))

    def test_certificates_that_end(self):
        with tempfile.TemporaryDirectory() as folder:
            authority = certificates.Authority(folder)
            for days, level, words in ((3, "WARN", "renew it in time"), (-1, "FAIL", "renew it")):
                service = self.service(certificate=authority.sign(f"server{days}", days=days))
                found = self.findings("--server", service.address, "--tls-ca", authority.path,
                                      "--no-throughput", code=int(level == "FAIL"))
                self.assertEqual(found["tls"]["level"], level)
                self.assertIn(words, found["tls"]["hint"])

    def test_a_certificate_of_the_client(self):
        with tempfile.TemporaryDirectory() as folder:
            authority = certificates.Authority(folder)
            service = self.service(certificate=authority.sign("server"),
                                   client_authority=authority.path)
            trust = ("--server", service.address, "--tls-ca", authority.path)
            self.assertIn("--tls-cert", self.failure("protocol", *trust))
            other = certificates.Authority(folder, "other").sign("stranger")
            self.assertIn("whom the server trusts", self.failure(
                "protocol", *trust, "--tls-cert", other[0], "--tls-key", other[1]))
            certificate, key = authority.sign("client")
            found = self.findings(*trust, "--tls-cert", certificate, "--tls-key", key,
                                  "--no-throughput")
            self.assertEqual(found["health"]["level"], "OK")

    def test_token(self):
        with tempfile.TemporaryDirectory() as folder:
            path = f"{folder}/token"
            with open(path, "w", encoding="ascii") as file:
                file.write("secret\n")
            service = self.service(["secret"], caller={
                "name": "wall display", "tenant": "beamline7", "role": "ROLE_VIEWER"})
            self.assertIn("--token-file", self.failure("token", "--server", service.address))
            found = self.findings("--server", service.address, "--token-file", path)
            self.assertEqual(found["token"]["message"],
                             "accepted: wall display, viewer of tenant beamline7")
            self.assertEqual({found[name]["level"] for name in ("memory", "clock", "throughput")},
                             {"-"})
            service.tokens[:] = ["another"]
            self.assertIn(path, self.failure("token", "--server", service.address,
                                             "--token-file", path))
            self.assertIn("--tls", self.doctor("--server", "192.0.2.1:50051", "--token-file", path,
                                               code=2))

    def test_another_service(self):
        """Of gRPC, without and with the health service."""
        serving = grpc.method_handlers_generic_handler("grpc.health.v1.Health", {
            "Check": grpc.unary_unary_rpc_method_handler(lambda *_: b"\x08\x01")})
        not_serving = grpc.method_handlers_generic_handler("grpc.health.v1.Health", {
            "Check": grpc.unary_unary_rpc_method_handler(lambda *_: b"\x08\x02")})
        for handlers, check, said in (([], "health", "UNIMPLEMENTED"),
                                      ([not_serving], "health", "not serving"),
                                      ([serving], "version", "no ptychoserved")):
            other = grpc.server(futures.ThreadPoolExecutor(2), handlers)
            port = other.add_insecure_port("127.0.0.1:0")
            other.start()
            try:
                self.assertIn(said, self.failure(check, "--server", f"127.0.0.1:{port}"))
            finally:
                other.stop(None)

    def test_a_server_that_hangs(self):
        with tempfile.TemporaryDirectory() as folder:
            server = harness.Server(folder)
            server.process.send_signal(signal.SIGSTOP)
            try:
                self.assertIn("is silent", self.failure("protocol", "--server", server.address))
            finally:
                server.process.send_signal(signal.SIGCONT)
                server.stop()

    def test_a_server_that_is_killed_meanwhile(self):
        with tempfile.TemporaryDirectory() as folder:
            server = harness.Server(folder)
            process = self.command("--server", server.address, "--frame", "512", "--json",
                                   "--timeout-s", "2")
            with ptychoserve.Client(server.address) as client:
                self.wait_for_session(client)
            server.kill()
            out, err = process.communicate(timeout=harness.DEADLINE_S)
            self.assertEqual(process.returncode, 1, out + err)
            found = {finding["check"]: finding for finding in json.loads(out)["findings"]}
            self.assertEqual(found["clean-up"]["level"], "FAIL")
            self.assertIn("ptychoctl delete doctor-", found["clean-up"]["hint"])

    def test_a_journal(self):
        with tempfile.TemporaryDirectory() as folder:
            server = harness.Server(folder, "--state-dir", f"{folder}/state")
            try:
                found = self.findings("--server", server.address, "--frame", "64")
                self.assertEqual(found["durability"]["level"], "OK")
            finally:
                server.stop()

    def test_a_server_that_is_full(self):
        with tempfile.TemporaryDirectory() as folder:
            server = harness.Server(folder, "--max-sessions", "1", "--cpu-memory-limit", "100mb")
            try:
                found = self.findings("--server", server.address, "--no-throughput", code=1)
                self.assertIn("no room for 2500 frames", found["memory"]["message"])
                small = ("--frame", "64", "--points", "100")
                self.findings("--server", server.address, *small)
                with ptychoserve.Client(server.address) as client:
                    client.create_session("one", **settings(64, 10))
                    found = self.findings("--server", server.address, *small, code=1)
                    self.assertEqual([s.id for s in client.sessions()], ["one"])
                self.assertEqual(found["sessions"]["level"], "FAIL")
                self.assertEqual(found["throughput"]["level"], "FAIL")
            finally:
                server.stop()

    def test_a_rate_that_is_not_reached(self):
        said = self.failure("throughput", "--server", self.server.address, "--frame", "64",
                            "--rate", "1e9")
        self.assertIn("1e+09 are wanted", said)

    def test_interrupted_it_leaves_nothing_behind(self):
        client = self.client()
        for number in (signal.SIGINT, signal.SIGTERM):
            process = self.command("--server", self.server.address, "--frame", "512")
            self.wait_for_session(client)
            process.send_signal(number)
            process.communicate(timeout=harness.DEADLINE_S)
            self.assertEqual(process.returncode, 130)
            self.assertEqual(client.sessions(), [])

    def wait_for_session(self, client):
        deadline = time.monotonic() + harness.DEADLINE_S
        while not any(s.id.startswith("doctor-") for s in client.sessions()):
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.005)

    # --- Sources ----------------------------------------------------------------------------

    def source(self, kind, secret=None, silent=False):
        """The address of a socket that sends until the test is over."""
        context = zmq.Context()
        source = context.socket(kind)
        source.linger = 0
        if secret:
            source.curve_server, source.curve_secretkey = True, secret
        port = source.bind_to_random_port("tcp://127.0.0.1")
        over = threading.Event()

        def send():
            while not over.wait(0.01):
                if not silent:
                    try:
                        source.send(b"{}", zmq.NOBLOCK)
                    except zmq.Again:
                        pass
            context.destroy(linger=0)

        thread = threading.Thread(target=send)
        thread.start()
        self.addCleanup(thread.join)
        self.addCleanup(over.set)
        return f"tcp://127.0.0.1:{port}"

    def keys(self, source, server_public):
        return {f"PTYCHOSERVE_{source}_SERVER_PUBLIC_KEY": server_public.decode(),
                f"PTYCHOSERVE_{source}_CLIENT_PUBLIC_KEY": CLIENT_KEYS[0].decode(),
                f"PTYCHOSERVE_{source}_CLIENT_SECRET_KEY": CLIENT_KEYS[1].decode()}

    def of_source(self, *arguments, **options):
        return self.findings("--server", self.server.address, "--no-throughput", "--timeout-s", "1",
                             *arguments, **options)

    def test_sources_that_send(self):
        found = self.of_source("--eiger", self.source(zmq.PUSH), "--panda", self.source(zmq.PUB))
        self.assertIn("data arrive", found["eiger"]["message"])
        self.assertIn("taken from the series", found["eiger"]["message"])
        self.assertIn("data arrive", found["panda"]["message"])

    def test_a_source_that_is_silent(self):
        found = self.of_source("--eiger", self.source(zmq.PUSH, silent=True))
        self.assertEqual(found["eiger"]["level"], "WARN")
        self.assertIn("silent", found["eiger"]["message"])

    def test_keys(self):
        address = self.source(zmq.PUSH, SOURCE_KEYS[1])
        found = self.of_source("--eiger", address, env=self.keys("EIGER", SOURCE_KEYS[0]))
        self.assertIn("data arrive", found["eiger"]["message"])
        said = self.failure("eiger", "--server", self.server.address, "--no-throughput", "--eiger",
                            address, env=self.keys("EIGER", OTHER_KEYS[0]))
        self.assertIn("compare PTYCHOSERVE_EIGER_SERVER_PUBLIC_KEY", said)
        said = self.failure("eiger", "--server", self.server.address, "--no-throughput", "--eiger",
                            address)
        self.assertIn("set PTYCHOSERVE_EIGER_SERVER_PUBLIC_KEY", said)
        said = self.doctor("--server", self.server.address, "--no-throughput", "--eiger", address,
                           env={"PTYCHOSERVE_EIGER_SERVER_PUBLIC_KEY": "short"}, code=2)
        self.assertIn("PTYCHOSERVE_EIGER_SERVER_PUBLIC_KEY", said)

    def test_a_source_that_is_not_there(self):
        with socket.create_server(("127.0.0.1", 0)) as free:
            address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
        arguments = ("--server", self.server.address, "--no-throughput")
        self.assertIn("refused", self.failure("eiger", *arguments, "--eiger", address))
        self.assertIn("no address of a source",
                      self.failure("panda", *arguments, "--panda", "host:5555"))
        self.assertIn("no handshake of ZeroMQ", self.failure(
            "panda", *arguments, "--panda", f"tcp://{self.listening(b'HTTP/1.1 400 Bad')}"))

    def test_the_data_port_of_a_panda(self):
        for answer, level in ((b"OK\nmissed: 0\n", "OK"), (b"ERR no such command\n", "FAIL")):
            found = self.of_source("--panda", f"panda://{self.listening(answer)}",
                                   code=0 if level == "OK" else 1)
            self.assertEqual(found["panda"]["level"], level, found["panda"])

    def test_the_page(self):
        """The commands of docs/doctor.md, and the lines that it shows."""
        script = harness.replace_all(pages.script("docs/doctor.md"), {
            "127.0.0.1:50051": self.server.address,
            "tcp://127.0.0.1:9999": self.source(zmq.PUSH),
            "tcp://127.0.0.1:5555": self.source(zmq.PUB)})
        said = pages.run(script, self._folder.name, PYTHONPATH=support.BUILD / "python")
        _, first, second = re.split("^===.*$", said, flags=re.MULTILINE)
        shown, = (block.text for block in pages.blocks("docs/doctor.md")
                  if block.language == "text")
        self.assertEqual(checks_in(shown), checks_in(first))
        self.assertLessEqual({"eiger", "panda"}, set(checks_in(second)))
        page = (support.ROOT / "docs" / "doctor.md").read_text("utf-8")
        named = re.findall(r"`(\w+)`", page.partition("| Line |")[2].partition("\n\n")[0])
        self.assertLessEqual({*checks_in(first), *checks_in(second)}, set(named))


if __name__ == "__main__":
    support.main()
