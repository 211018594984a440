#!/usr/bin/env python3
"""Who may do what, over TLS: every method by every kind of caller, and what an operator changes while
the server runs.
"""

import json
import os
import pathlib
import signal
import ssl
import stat
import sys
import tempfile
import unittest
import urllib.request

import grpc

import harness
from certificates import Authority

sys.path.insert(0, str(pathlib.Path(sys.argv[1]).resolve() / "python"))
from ptychoserve.v1 import (frame_pb2, ingest_pb2, service_pb2, session_pb2,  # noqa: E402
                            snapshot_pb2, state_pb2)

SERVICE = service_pb2.DESCRIPTOR.services_by_name["Ptychoserve"]
Code = grpc.StatusCode
ROLES = ("viewer", "producer", "operator", "admin")
NOBODY = "sessions/nobody"

# Each method, a call of it about session NAME, and the least role; the code that a caller with that
# role gets about a session that there is not.
METHODS = {
    "GetSession": (lambda n: session_pb2.GetSessionRequest(name=n), "viewer", Code.NOT_FOUND),
    "ListSessions": (lambda n: session_pb2.ListSessionsRequest(), "viewer", Code.OK),
    "GetServerInfo": (lambda n: service_pb2.GetServerInfoRequest(), "viewer", Code.OK),
    "GetSnapshot": (lambda n: snapshot_pb2.GetSnapshotRequest(name=n), "viewer", Code.NOT_FOUND),
    "GetFrame": (lambda n: frame_pb2.GetFrameRequest(name=n), "viewer", Code.NOT_FOUND),
    "WatchSnapshots": (lambda n: snapshot_pb2.WatchSnapshotsRequest(name=n), "viewer",
                       Code.NOT_FOUND),
    "WatchSession": (lambda n: session_pb2.WatchSessionRequest(name=n), "viewer", Code.NOT_FOUND),
    "CreateSession": (lambda n: session_pb2.CreateSessionRequest(session_id="x"), "producer",
                      Code.INVALID_ARGUMENT),
    "StreamFrames": (lambda n: ingest_pb2.StreamFramesRequest(
        open=ingest_pb2.OpenStream(session=n)), "producer", Code.NOT_FOUND),
    "StreamPositions": (lambda n: ingest_pb2.StreamPositionsRequest(
        open=ingest_pb2.OpenStream(session=n)), "producer", Code.NOT_FOUND),
    "FinishScan": (lambda n: session_pb2.FinishScanRequest(name=n), "producer", Code.NOT_FOUND),
    "UpdateSession": (lambda n: session_pb2.UpdateSessionRequest(
        session=session_pb2.Session(name=n)), "operator", Code.NOT_FOUND),
    "StopSession": (lambda n: session_pb2.StopSessionRequest(name=n), "operator", Code.NOT_FOUND),
    "DeleteSession": (lambda n: session_pb2.DeleteSessionRequest(name=n), "operator",
                      Code.NOT_FOUND),
    "TestOrientation": (lambda n: session_pb2.TestOrientationRequest(name=n), "operator",
                        Code.NOT_FOUND),
    "ExportState": (lambda n: state_pb2.ExportStateRequest(name=n), "operator", Code.NOT_FOUND),
    "ImportState": (lambda n: state_pb2.ImportStateRequest(
        start=state_pb2.ImportStart(session_id="x")), "admin", Code.INVALID_ARGUMENT),
}
BOTH_WAYS = ("StreamFrames", "StreamPositions")
ONE_ANSWER = ("ImportState",)
MANY_ANSWERS = ("GetSnapshot", "GetFrame", "WatchSnapshots", "WatchSession", "ExportState")
ABOUT_A_SESSION = [m for m, (_, _, code) in METHODS.items() if code == Code.NOT_FOUND]


class Site:
    """A CA, tokens of all roles of tenant a, of one of b and of all, and an access file of them."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.authority = Authority(folder)
        self.cert, self.key = self.authority.sign("server")
        self.access = self.folder / "access.yaml"
        self.tokens = {}
        self.entries = []
        for role in ROLES:
            self.add(role, role, "a")
        self.add("other", "operator", "b")
        self.add("everywhere", "admin", "*")
        self.add("expired", "admin", "a", expires="2020-01-01T00:00:00Z")
        self.add("quota", "operator", "small")
        self.write()

    def add(self, name, role, tenant, expires=None):
        done = harness.EndToEndTest.ctl("token", name, "--role", role, "--tenant", tenant, "--json",
                                        env=dict(os.environ))
        assert done.returncode == 0, done.stderr
        made = json.loads(done.stdout)
        self.tokens[name] = made.pop("token")
        if expires:
            made["expires"] = expires
        self.entries.append(made)

    def write(self):
        # JSON is YAML.
        local = {"name": "socket", "tenant": "a", "role": "producer", "peer": "unix"}
        small = {"max_sessions": 1, "max_device_bytes": "64MB", "max_ingest_bytes_per_s": "50KB",
                 "max_snapshots_per_s": 1000}
        self.access.write_text(json.dumps({"principals": [local, *self.entries],
                                           "tenants": {"small": small}}), encoding="utf-8")

    def flags(self):
        return ("--tls-cert", str(self.cert), "--tls-key", str(self.key), "--access-file",
                str(self.access))


class SecurityTest(harness.EndToEndTest):

    SCAN_FLAGS = ("--points", "60", "--frame", "64", "--photons", "1e6")

    @classmethod
    def setUpClass(cls):
        cls._folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls._folder.cleanup)
        cls.site = Site(cls._folder.name)
        cls.socket = cls.path("socket")
        cls.server = harness.Server(
            cls._folder.name, *cls.site.flags(), "--audit-log", cls.path("audit.jsonl"),
            "--metrics-listen", "127.0.0.1:0", "--metrics-port-file", cls.path("metrics"),
            "--socket-mode", "0660", listen=f"127.0.0.1:0,unix:{cls.socket}")
        cls.scan = cls.path("scan.cxi")
        done = cls.ctl("simulate", cls.scan, *cls.SCAN_FLAGS)
        assert done.returncode == 0, done.stderr

    @classmethod
    def environment(cls, token="operator", tenant=""):
        return {**os.environ, "PTYCHOSERVE_SERVER": cls.server.address,
                "PTYCHOSERVE_TLS_CA": str(cls.site.authority.path), "PTYCHOSERVE_TENANT": tenant,
                "PTYCHOSERVE_TOKEN": cls.site.tokens.get(token, token)}

    def channel(self, certificate=None, key=None, authority=None):
        read = lambda path: pathlib.Path(path).read_bytes() if path else None  # noqa: E731
        credentials = grpc.ssl_channel_credentials(read(authority or self.site.authority.path),
                                                   read(key), read(certificate))
        channel = grpc.secure_channel(self.server.address, credentials)
        self.addCleanup(channel.close)
        return channel

    def call(self, channel, method, name=NOBODY, token=None, tenant=None, more=()):
        """One call; its code and what it says."""
        metadata = list(more)
        if token is not None:
            metadata.append(("authorization", f"Bearer {self.site.tokens.get(token, token)}"))
        if tenant is not None:
            metadata.append(("ptychoserve-tenant", tenant))
        request = METHODS[method][0](name)
        kind = (channel.stream_stream if method in BOTH_WAYS else
                channel.stream_unary if method in ONE_ANSWER else
                channel.unary_stream if method in MANY_ANSWERS else channel.unary_unary)
        answers = SERVICE.methods_by_name[method].output_type._concrete_class
        stub = kind(f"/{SERVICE.full_name}/{method}", type(request).SerializeToString,
                    answers.FromString)
        many = method in BOTH_WAYS + ONE_ANSWER
        try:
            answer = stub(iter([request]) if many else request, metadata=metadata, timeout=30)
            return Code.OK, list(answer) if method in BOTH_WAYS + MANY_ANSWERS else answer
        except grpc.RpcError as error:
            return error.code(), error.details()

    def metrics(self):
        address = pathlib.Path(self.path("metrics")).read_text(encoding="ascii").strip()
        with urllib.request.urlopen(f"http://{address}/metrics", timeout=30) as answer:
            return dict(line.rsplit(" ", 1) for line in answer.read().decode().splitlines()
                        if line and not line.startswith("#"))

    # --- Who may call what ---------------------------------------------------------------------

    def test_the_table_has_every_method(self):
        self.assertEqual(set(METHODS), {m.name for m in SERVICE.methods})

    def test_every_method_by_every_caller(self):
        channel = self.channel()
        for method, (_, least, allowed) in METHODS.items():
            for token in (None, "", "wrong", "expired"):
                code, said = self.call(channel, method, token=token)
                self.assertEqual(code, Code.UNAUTHENTICATED, (method, token))
                self.assertIn("send a token", said)
            for role in ROLES:
                code, said = self.call(channel, method, token=role)
                if ROLES.index(role) < ROLES.index(least):
                    self.assertEqual(code, Code.PERMISSION_DENIED, (method, role, said))
                    self.assertIn(f"needs the role '{least}'", said)
                else:
                    self.assertEqual(code, allowed, (method, role, said))

    def test_refusals_do_not_tell_why(self):
        channel = self.channel()
        said = {self.call(channel, "GetSession", token=t)[1] for t in (None, "wrong", "expired")}
        self.assertEqual(len(said), 1, said)

    def test_another_tenants_session_is_as_if_there_were_none(self):
        self.ok("create", "--session", "secret", "--scan", self.scan)
        channel = self.channel()
        self.assertEqual(self.call(channel, "GetSession", "sessions/secret", "viewer")[0], Code.OK)
        for method in ABOUT_A_SESSION:
            there = self.call(channel, method, "sessions/secret", "other")
            self.assertEqual(there[0], Code.NOT_FOUND, method)
            self.assertEqual(there[1].replace("secret", "nobody"),
                             self.call(channel, method, NOBODY, "other")[1], method)
        code, said = self.call(channel, "GetSession", "sessions/secret", "other", tenant="a")
        self.assertEqual(code, Code.PERMISSION_DENIED, said)
        self.assertEqual(self.call(channel, "ListSessions", token="other")[1].sessions[:], [])
        # The name is free for the other tenant; whose session it is is told by the caller alone.
        done = self.ctl("create", "--session", "secret", "--scan", self.scan, env=self.environment("other"))
        self.assertEqual(done.returncode, 0, done.stderr)
        listed = self.call(channel, "ListSessions", token="everywhere")[1].sessions
        self.assertEqual({(s.tenant, s.name) for s in listed} &
                         {("a", "sessions/secret"), ("b", "sessions/secret")},
                         {("a", "sessions/secret"), ("b", "sessions/secret")})
        for tenant in ("a", "b"):
            code, got = self.call(channel, "GetSession", "sessions/secret", "everywhere", tenant)
            self.assertEqual((code, got.tenant), (Code.OK, tenant))
        for token in ("operator", "other"):
            done = self.ctl("delete", "secret", "--force", env=self.environment(token))
            self.assertEqual(done.returncode, 0, done.stderr)

    def test_odd_names(self):
        channel = self.channel()
        for name in ("sessions/..", "sessions/../b/secret", "sessions/SECRET", "sessions/ſecret",
                     "sessions/a@b", "sessions/b/secret", "sessions/", "..", "sessions/a%00"):
            for method in ABOUT_A_SESSION:
                code, _ = self.call(channel, method, name, "admin")
                self.assertEqual(code, Code.INVALID_ARGUMENT, (method, name))
        for tenant in ("..", "A", "a/b", "*", "a@b"):
            code, said = self.call(channel, "GetSession", NOBODY, "everywhere", tenant)
            self.assertEqual(code, Code.INVALID_ARGUMENT, (tenant, said))
        for header in ("Basic abc", "Bearer", "bearer  ", "x" * 7000):
            code, _ = self.call(channel, "GetSession", more=[("authorization", header)])
            self.assertEqual(code, Code.UNAUTHENTICATED, header)
        code, _ = self.call(channel, "GetServerInfo",
                            more=[("authorization", f"bearer {self.site.tokens['viewer']}")])
        self.assertEqual(code, Code.OK, "the scheme in any case (RFC 7235)")

    def test_who_one_is(self):
        caller = self.call(self.channel(), "GetServerInfo", token="producer")[1].caller
        self.assertEqual((caller.name, caller.tenant, caller.all_tenants, caller.role),
                         ("producer", "a", False, service_pb2.ROLE_PRODUCER))
        caller = self.call(self.channel(), "GetServerInfo", token="everywhere")[1].caller
        self.assertEqual((caller.all_tenants, caller.role), (True, service_pb2.ROLE_ADMIN))

    def test_reflection_is_off_and_health_is_open(self):
        channel = self.channel()
        reflect = channel.stream_stream("/grpc.reflection.v1alpha.ServerReflection/"
                                        "ServerReflectionInfo")
        with self.assertRaises(grpc.RpcError) as raised:
            list(reflect(iter([b""]), timeout=30))
        self.assertEqual(raised.exception.code(), Code.UNIMPLEMENTED)
        health = channel.unary_unary("/grpc.health.v1.Health/Check")
        self.assertEqual(health(b"", timeout=30), b"\x08\x01")  # SERVING.

    # --- How one connects ----------------------------------------------------------------------

    def test_nobody_speaks_in_the_clear(self):
        channel = grpc.insecure_channel(self.server.address)
        self.addCleanup(channel.close)
        code, _ = self.call(channel, "GetServerInfo", token="viewer")
        self.assertEqual(code, Code.UNAVAILABLE)
        stranger = Authority(self.path("."), "stranger")
        code, _ = self.call(self.channel(authority=stranger.path), "GetServerInfo", token="viewer")
        self.assertEqual(code, Code.UNAVAILABLE, "signed by somebody else")

    def test_a_token_does_not_leave_the_machine_unencrypted(self):
        environment = {**self.environment(), "PTYCHOSERVE_TLS_CA": "",
                       "PTYCHOSERVE_SERVER": "host.example:50051"}
        done = self.ctl("list", env=environment)
        self.assertEqual(done.returncode, 2, done.stderr)
        self.assertIn("--tls", done.stderr)

    def test_the_socket_is_who_may_open_it(self):
        mode = os.stat(self.socket).st_mode
        self.assertEqual(stat.S_IMODE(mode), 0o660)
        channel = grpc.insecure_channel(f"unix:{self.socket}")
        self.addCleanup(channel.close)
        code, info = self.call(channel, "GetServerInfo")
        self.assertEqual((code, info.caller.name, info.caller.tenant), (Code.OK, "socket", "a"))
        self.assertEqual(self.call(channel, "StopSession")[0], Code.PERMISSION_DENIED)
        self.assertEqual(self.call(channel, "GetServerInfo", token="wrong")[0],
                         Code.UNAUTHENTICATED, "a wrong token is not made good by the socket")

    def test_a_whole_scan(self):
        environment = self.environment("producer")
        token_file = pathlib.Path(self.path("producer.token"))
        token_file.write_text(environment.pop("PTYCHOSERVE_TOKEN") + "\n", encoding="ascii")
        ca = environment.pop("PTYCHOSERVE_TLS_CA")
        done = self.ctl("run", self.scan, "--keep", "--session", "whole", "--iterations", "5",
                        "--tls-ca", ca, "--token-file", token_file, "--json", env=environment)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.refused(1, "delete", "nobody")
        done = self.ctl("delete", "whole", env=self.environment("producer"))
        self.assertEqual(done.returncode, 1)
        self.assertIn("needs the role 'operator'", done.stderr)
        self.ok("delete", "whole")
        lines = [json.loads(line) for line in
                 pathlib.Path(self.path("audit.jsonl")).read_text(encoding="utf-8").splitlines()]
        mine = [(line["method"], line["caller"], line["tenant"], line["code"]) for line in lines
                if line["session"] == "whole"]
        for entry in (("CreateSession", "producer", "a", "OK"),
                      ("StreamFrames", "producer", "a", "OK"),
                      ("StreamPositions", "producer", "a", "OK"),
                      ("DeleteSession", "producer", "a", "PERMISSION_DENIED"),
                      ("DeleteSession", "operator", "a", "OK")):
            self.assertIn(entry, mine)
        self.assertFalse({line["method"] for line in lines} &
                         {"GetSession", "ListSessions", "GetServerInfo"})
        text = pathlib.Path(self.path("audit.jsonl")).read_text(encoding="utf-8")
        for token in self.site.tokens.values():
            self.assertNotIn(token, text)

    # --- What an operator sees and changes -------------------------------------------------------

    def test_traces_are_noted(self):
        trace = "4bf92f3577b34da6a3ce929d0e0e4736"
        self.call(self.channel(), "StopSession", token="operator",
                  more=[("traceparent", f"00-{trace}-00f067aa0ba902b7-01")])
        audit = pathlib.Path(self.path("audit.jsonl")).read_text(encoding="utf-8").splitlines()
        self.assertIn(trace, [json.loads(line)["trace"] for line in audit])

    def test_refusals_are_counted(self):
        before = self.metrics()
        channel = self.channel()
        for token in (None, "wrong", "expired"):
            self.call(channel, "GetSession", token=token)
        self.call(channel, "StopSession", token="viewer")
        after = self.metrics()
        for reason in ("missing", "unknown", "expired", "role"):
            name = f'ptychoserve_auth_failures_total{{reason="{reason}"}}'
            self.assertEqual(float(after[name]) - float(before[name]), 1, reason)
        calls = 'ptychoserve_grpc_requests_total{code="UNAUTHENTICATED",method="GetSession"}'
        self.assertEqual(float(after[calls]) - float(before.get(calls, 0)), 3)

    def test_tokens_change_while_the_server_runs(self):
        channel = self.channel()
        self.site.add("new", "viewer", "a")
        self.assertEqual(self.call(channel, "GetServerInfo", token="new")[0], Code.UNAUTHENTICATED)
        self.site.write()
        self.reload("configuration read again")
        self.assertEqual(self.call(channel, "GetServerInfo", token="new")[0], Code.OK)
        good = self.site.access.read_text(encoding="utf-8")
        self.site.access.write_text("principals: [", encoding="utf-8")
        self.reload("the configuration stays as it was")
        self.site.access.unlink()
        self.site.access.mkdir()
        self.reload("the configuration stays as it was")
        self.assertEqual(self.call(channel, "GetServerInfo", token="new")[0], Code.OK)
        self.site.access.rmdir()
        self.site.access.write_text(good, encoding="utf-8")

    def reload(self, until):
        self.wait_for_line(until, lambda: self.server.process.send_signal(signal.SIGHUP))

    def wait_for_line(self, line, cause):
        """Until the server's log has the line once more than before the cause."""
        log = pathlib.Path(self.path("server.log"))
        before = log.read_text(encoding="utf-8").count(line)
        cause()
        harness.wait_until(lambda: log.read_text(encoding="utf-8").count(line) != before, line)

    def test_certificates_change_while_the_server_runs(self):
        host, port = self.server.address.split(":")
        before = ssl.get_server_certificate((host, int(port)))
        renewed, key = self.site.authority.sign("renewed", common_name="server")
        # With the key of the one before, it is not taken: nobody could connect.
        self.wait_for_line("the certificate stays as it was",
                           lambda: os.replace(renewed, self.site.cert))
        self.assertEqual(ssl.get_server_certificate((host, int(port))), before)
        self.assertEqual(self.call(self.channel(), "GetServerInfo", token="viewer")[0], Code.OK)
        os.replace(key, self.site.key)
        harness.wait_until(lambda: ssl.get_server_certificate((host, int(port))) != before,
                           "the new certificate")
        self.assertEqual(self.call(self.channel(), "GetServerInfo", token="viewer")[0], Code.OK)

    def test_a_tenant_gets_no_more_than_its_share(self):
        environment = self.environment("quota")
        error = lambda *a: json.loads(  # noqa: E731
            self.ctl(*a, "--json", env=environment).stdout.splitlines()[-1])["error"]
        refused = error("create", "--session", "large", "--scan", self.scan, "--capacity", 20000)
        self.assertEqual(refused["reason"], "TENANT_QUOTA", refused)
        self.assertIn("max_device_bytes", refused["message"])
        before = float(self.metrics()["ptychoserve_ingest_paused_seconds_total"])
        run = ("run", self.scan, "--iterations", "3", "--encoding", "raw")
        # More than a second's worth, so that the next one waits.
        done = self.ctl(*run, env=environment)
        self.assertEqual(done.returncode, 0, done.stderr)
        done = self.ctl(*run, "--keep", "--session", "slow", env=environment)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(error("create", "--session", "more", "--scan", self.scan)["reason"], "TENANT_QUOTA")
        done = self.ctl("delete", "slow", env=environment)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertGreater(float(self.metrics()["ptychoserve_ingest_paused_seconds_total"]), before)


class MutualTlsTest(harness.EndToEndTest):
    """Clients show certificates; whose they are says who calls."""

    @classmethod
    def setUpClass(cls):
        cls._folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls._folder.cleanup)
        cls.site = Site(cls._folder.name)
        cls.dash = cls.site.authority.sign("dash", common_name="dash.example")
        cls.unknown = cls.site.authority.sign("unknown", common_name="unknown.example")
        cls.stranger = Authority(cls._folder.name, "stranger").sign("strange",
                                                                      common_name="dash.example")
        cls.site.entries.append({"name": "dashboard", "tenant": "a", "role": "viewer",
                                 "certificate": "dash.example"})
        cls.site.write()
        cls.server = harness.Server(cls._folder.name, *cls.site.flags(), "--tls-client-ca",
                                    str(cls.site.authority.path), "--log-format", "json")

    channel = SecurityTest.channel
    call = SecurityTest.call

    def test_only_with_a_certificate_of_the_authority(self):
        self.assertEqual(self.call(self.channel(), "GetServerInfo", token="viewer")[0],
                         Code.UNAVAILABLE)
        self.assertEqual(self.call(self.channel(*self.stranger), "GetServerInfo")[0],
                         Code.UNAVAILABLE)
        lines = pathlib.Path(self.path("server.log")).read_text(encoding="utf-8").splitlines()
        events = [json.loads(line)["event"] for line in lines]
        self.assertIn("grpc", events)  # What it says of handshakes.

    def test_the_certificate_says_who_calls(self):
        code, info = self.call(self.channel(*self.dash), "GetServerInfo")
        self.assertEqual((code, info.caller.name), (Code.OK, "dashboard"))
        self.assertEqual(self.call(self.channel(*self.unknown), "GetServerInfo")[0],
                         Code.UNAUTHENTICATED)
        code, info = self.call(self.channel(*self.unknown), "GetServerInfo", token="admin")
        self.assertEqual((code, info.caller.name), (Code.OK, "admin"))

    def test_ptychoctl_shows_its_certificate(self):
        pem, key = self.dash
        done = self.ctl("info", "--server", self.server.address, "--tls-ca",
                        self.site.authority.path, "--tls-cert", pem, "--tls-key", key)
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_ptychoctl_says_what_is_wrong(self):
        pem, key = self.dash
        ca, folder = self.site.authority.path, self._folder.name
        strange = Authority(folder, "unrelated").path
        for server, tls, code, says in (
                ("nonsense", (), 2, "server: 'nonsense'; allowed: HOST:PORT"),
                (self.server.address, ("--tls-ca", "/nowhere"), 2, "tls-ca: /nowhere: cannot be read"),
                (self.server.address, ("--tls-ca", folder), 2, "Is a directory"),
                (self.server.address, ("--tls-ca", self.site.access), 2, "is no PEM file"),
                (self.server.address, ("--tls-ca", strange, "--tls-cert", pem, "--tls-key", key), 1,
                 "certificate verify failed"),
                (self.server.address, ("--tls-ca", ca, "--tls-server-name", "other.example"), 1,
                 "no server answers"),
                ("127.0.0.1:1", ("--tls-ca", ca), 1, "Connection refused")):
            done = self.ctl("info", "--server", server, *map(str, tls))
            self.assertEqual(done.returncode, code, done.stderr)
            self.assertIn(says, done.stderr)
            self.assertEqual(done.stderr.count("\n"), 1, done.stderr)


class CheckConfigTest(unittest.TestCase):
    """--check-config says what is wrong before a server is started with it."""

    def check(self, *flags):
        done = harness.run_program("ptychoserved", "--check-config", *flags)
        return done.returncode, done.stdout + done.stderr

    def test_what_is_wrong(self):
        with tempfile.TemporaryDirectory() as folder:
            site = Site(folder)
            self.assertEqual(self.check(*site.flags()), (0, "the configuration is valid\n"))
            _, other = site.authority.sign("other")
            cert, key, ca = str(site.cert), str(site.key), str(site.authority.path)
            for flags, says in (
                    (("--tls-cert", cert), "--tls-cert, --tls-key"),
                    (("--tls-client-ca", ca), "needs --tls-cert"),
                    (("--tls-cert", key, "--tls-key", key), "holds no PEM certificate"),
                    (("--tls-cert", cert, "--tls-key", cert), "holds no PEM private key"),
                    (("--tls-cert", cert, "--tls-key", other), "is not the key of"),
                    (("--tls-cert", "/nowhere", "--tls-key", key), "/nowhere: cannot be read"),
                    (("--access-file", "/nowhere"), "--access-file /nowhere: cannot be read"),
                    (("--access-file", cert), "--access-file"),
                    (("--listen", "0.0.0.0:0"), "give --tls-cert and --tls-key"),
                    (("--metrics-listen", "9464"), "--metrics-listen: '9464'"),
                    (("--device", "gpu"), "--device: 'gpu'")):
                code, said = self.check(*flags)
                self.assertEqual(code, 1, flags)
                self.assertIn(says, said)


if __name__ == "__main__":
    harness.main()
