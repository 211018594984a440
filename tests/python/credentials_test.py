#!/usr/bin/env python3
"""Tokens, TLS and tenants: what a client shows to its server, and to whom it does not."""

import argparse
import asyncio
import pathlib
import tempfile
import unittest

import support
import certificates
import numpy as np
import ptychoserve
from ptychoserve import aio, errors
from ptychoserve._connection_flags import add_connection_flags, credentials_of
from ptychoserve.credentials import Credentials, is_local
from secure_service import Service

QUICK = dict(connect_timeout_s=10, call_timeout_s=20)


class CredentialsCase(unittest.TestCase):

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def service(self, *arguments, **options):
        service = Service(*arguments, **options)
        self.addCleanup(service.stop)
        return service

    def client(self, address, **options):
        client = ptychoserve.Client(address, **{**QUICK, **options})
        self.addCleanup(client.close)
        return client

    def token_file(self, text):
        path = self.folder / "token"
        path.write_text(text, encoding="ascii")
        return str(path)


class MetadataTest(CredentialsCase):
    SESSION = {"optics": {"wavelength_m": 1e-10, "distance_m": 1.0,
                          "detector_pixel_size_y_m": 1e-4},
               "detector": {"frame_shape": (2, 2), "dtype": "u16"}, "scan": {"expected_points": 1}}
    OF_NO_SESSION = ("GetServerInfo", "ListSessions")
    # Of a session, each of which an entry of `calls` makes.
    OF_A_SESSION = ("CreateSession", "GetSession", "UpdateSession", "FinishScan",
                    "TestOrientation", "StopSession", "GetSnapshot", "WatchSession",
                    "WatchSnapshots", "StreamFrames", "StreamPositions", "ExportState",
                    "DeleteSession", "ImportState")

    def check(self, service):
        self.assertEqual({name for name, _ in service.calls},
                         {*self.OF_NO_SESSION, *self.OF_A_SESSION})
        for name, metadata in service.calls:
            expected = {"authorization": "Bearer secret", "ptychoserve-tenant": "beamline7"}
            if name in self.OF_A_SESSION:
                expected["ptychoserve-session"] = "s"
            self.assertEqual(metadata, expected, name)

    def test_every_call(self):
        service = self.service(["secret"])
        client = self.client(service.address, token="secret", tenant="beamline7")
        client.info()
        client.sessions()
        session = client.create_session("s", **self.SESSION)
        client.session("s")
        session.update(run={"max_iterations": 3})
        session.finish()
        session.test_orientation()
        with self.assertRaises(errors.PermissionDenied) as refused:
            session.stop()
        self.assertIn("ptychoserve-doctor", refused.exception.hint)
        with self.assertRaises(errors.DataLoss):
            session.snapshot()
        list(session.watch())
        list(session.watch_snapshots())
        for writer in (session.frame_writer(give_up_after_s=0),
                       session.position_writer(give_up_after_s=0)):
            writer.flush(20)
            writer.cancel()
        session.export_state(self.folder / "state")
        client.import_state(self.folder / "state", session_id="s")
        session.delete()
        self.check(service)

    def test_every_call_of_asyncio(self):
        service = self.service(["secret"])

        async def calls():
            async with aio.Client(service.address, token="secret", tenant="beamline7",
                                  **QUICK) as client:
                await client.info()
                await client.sessions()
                session = await client.create_session("s", **self.SESSION)
                await client.session("s")
                await session.update(run={"max_iterations": 3})
                await session.finish()
                await session.test_orientation()
                with self.assertRaises(errors.PermissionDenied):
                    await session.stop()
                with self.assertRaises(errors.DataLoss):
                    await session.snapshot()
                _ = [event async for event in session.watch()]
                _ = [snapshot async for snapshot in session.watch_snapshots()]
                for writer in (session.frame_writer(give_up_after_s=0),
                               session.position_writer(give_up_after_s=0)):
                    await writer.flush(20)
                    await writer.cancel()
                await session.export_state(self.folder / "state")
                await client.import_state(self.folder / "state", session_id="s")
                await session.delete()

        asyncio.run(calls())
        self.check(service)

    def test_nothing_is_shown_that_is_not_there(self):
        service = self.service()
        self.client(service.address).info()
        self.assertEqual(service.of("GetServerInfo"), [{}])


class TokenTest(CredentialsCase):

    def test_a_file_is_read_again(self):
        service = self.service(["one"])
        path = self.token_file("one\nignored\n")
        client = self.client(service.address, token_file=path)
        client.info()
        service.tokens[:] = ["two"]
        with self.assertRaises(errors.Unauthenticated) as refused:
            client.info()
        self.assertIn(path, refused.exception.hint)
        pathlib.Path(path).write_text("two\n", encoding="ascii")
        client.info()
        pathlib.Path(path).unlink()  # For the moment in which somebody replaces it.
        client.info()

    def test_a_writer_that_comes_back_shows_the_new_one(self):
        service = self.service(["one"])
        path = self.token_file("one")
        client = self.client(service.address, token_file=path)
        session = client.session("s")
        pathlib.Path(path).write_text("two", encoding="ascii")
        service.tokens[:] = ["two"]
        writer = session.frame_writer(give_up_after_s=0)
        writer.flush(20)
        writer.cancel()
        self.assertEqual(service.of("StreamFrames"),
                         [{"authorization": "Bearer two", "ptychoserve-session": "s"}])

    def test_a_refusal_is_final(self):
        service = self.service(["one"])
        client = self.client(service.address)
        with self.assertRaises(errors.Unauthenticated) as refused:
            client.info()
        self.assertIn("--token-file", str(refused.exception))
        service.tokens.clear()
        session = client.session("s")
        service.tokens.append("one")
        for blocked in (session.refresh, session.snapshot, lambda: list(session.watch())):
            before = len(service.calls)
            with self.assertRaises(errors.Unauthenticated):
                blocked()
            self.assertEqual(len(service.calls), before + 1)
        writer = session.frame_writer()
        with self.assertRaises(errors.Unauthenticated):
            writer.push(0, np.zeros((2, 2), "<u2"))
            writer.flush(20)
        self.assertEqual(len(service.of("StreamFrames")), 1)

    def test_files_that_hold_none(self):
        service = self.service()
        for content in ("", "\n", "a\x01b", None):
            path = self.folder / "none" if content is None else self.token_file(content)
            client = self.client(service.address, token_file=str(path))
            with self.assertRaises(errors.Unauthenticated) as refused:
                client.info()
            self.assertIn(str(path), str(refused.exception))
        self.assertEqual(service.calls, [])
        session = self.client(service.address).session("s")
        session._client._connect = client._connect
        with self.assertRaises(errors.Unauthenticated):
            session.frame_writer().flush(20)

    def test_not_in_the_clear_to_another_machine(self):
        for address in ("beamline.example.org:50051", "10.0.0.1:50051", "dns:///beamline:50051",
                        "[fd00::1]:50051", "ipv4:10.0.0.1:50051"):
            with self.assertRaisesRegex(errors.InvalidArgument, "--tls"):
                ptychoserve.Client(address, token="secret")
            with self.assertRaisesRegex(errors.InvalidArgument, "--tls"):
                aio.Client(address, token_file=self.token_file("secret"))
        for address in ("127.0.0.1:1", "[::1]:1", "localhost:1", "unix:/run/socket",
                        "unix:///run/socket", "ipv4:127.0.0.1:1", "dns:///localhost:1"):
            self.assertTrue(is_local(address), address)


class SettingsTest(CredentialsCase):

    def test_environment(self):
        environment = {"PTYCHOSERVE_TOKEN_FILE": "t", "PTYCHOSERVE_TLS_CA": "ca",
                       "PTYCHOSERVE_TLS_CERT": "c", "PTYCHOSERVE_TLS_KEY": "k",
                       "PTYCHOSERVE_TLS_SERVER_NAME": "n", "PTYCHOSERVE_TENANT": "x"}
        whole = dict(token_file="t", ca_file="ca", cert_file="c", key_file="k", server_name="n",
                     tenant="x", tls=True)
        self.assertEqual(Credentials().completed(environment), Credentials(**whole))
        self.assertEqual(Credentials(token="mine", tenant="y").completed(environment),
                         Credentials(**{**whole, "token": "mine", "token_file": None,
                                        "tenant": "y"}))
        self.assertEqual(Credentials(tls=False).completed(environment),
                         Credentials(token_file="t", tls=False, server_name="n", tenant="x"))
        self.assertTrue(Credentials().completed({"PTYCHOSERVE_TLS": "1"}).tls)
        self.assertFalse(Credentials().completed({}).tls)

    def test_contradictions(self):
        for given, environment in (
                (dict(token="a", token_file="b"), {}),
                ({}, {"PTYCHOSERVE_TOKEN": "a", "PTYCHOSERVE_TOKEN_FILE": "b"}),
                (dict(cert_file="c"), {}), (dict(tls=False, ca_file="ca"), {}),
                ({}, {"PTYCHOSERVE_TLS": "yes"})):
            with self.assertRaises(errors.InvalidArgument):
                Credentials(**given).completed(environment)
        with self.assertRaisesRegex(errors.InvalidArgument, "did you mean 'token_file'"):
            ptychoserve.Client(token_fil="x")

    def test_the_token_is_not_in_what_is_shown(self):
        self.assertNotIn("secret", repr(Credentials(token="secret")))

    def test_flags(self):
        parser = argparse.ArgumentParser()
        add_connection_flags(parser)
        options = parser.parse_args([
            "-s", "unix:/s", "--token-file", "t", "--tls", "--tls-ca", "ca", "--tls-cert", "c",
            "--tls-key", "k", "--tls-server-name", "n", "--tenant", "x"])
        self.assertEqual(options.server, "unix:/s")
        self.assertEqual(credentials_of(options), dict(
            token_file="t", tls=True, ca_file="ca", cert_file="c", key_file="k", server_name="n",
            tenant="x"))
        self.assertEqual(set(credentials_of(parser.parse_args([])).values()), {None})


class TlsTest(CredentialsCase):

    def setUp(self):
        super().setUp()
        self.authority = certificates.Authority(self.folder)
        self.server = self.authority.sign("server")

    def test_with_the_authority_of_the_server(self):
        service = self.service(["secret"], certificate=self.server)
        for address in (service.address, f"localhost:{service.port}"):
            self.client(address, ca_file=self.authority.path, token="secret").info()

        async def info():
            async with aio.Client(service.address, ca_file=self.authority.path,
                                  token="secret") as client:
                await client.info()

        asyncio.run(info())
        self.assertEqual(service.of("GetServerInfo"), 3 * [{"authorization": "Bearer secret"}])

    def test_another_authority_or_none(self):
        service = self.service(certificate=self.server)
        other = certificates.Authority(self.folder, "other")
        for options in (dict(ca_file=other.path), dict(tls=True), dict(tls=False)):
            with self.assertRaisesRegex(errors.Unavailable, "doctor"):
                ptychoserve.Client(service.address, connect_timeout_s=1, **options)

    def test_the_name_in_the_certificate(self):
        service = self.service(certificate=self.authority.sign("proxy", "DNS:gpu.example.org"))
        with self.assertRaises(errors.Unavailable):
            ptychoserve.Client(service.address, ca_file=self.authority.path, connect_timeout_s=1)
        self.client(service.address, ca_file=self.authority.path,
                    server_name="gpu.example.org").info()

    def test_a_certificate_of_the_client(self):
        service = self.service(certificate=self.server, client_authority=self.authority.path)
        with self.assertRaises(errors.Unavailable):
            ptychoserve.Client(service.address, ca_file=self.authority.path, connect_timeout_s=1)
        certificate, key = self.authority.sign("client")
        self.client(service.address, ca_file=self.authority.path, cert_file=certificate,
                    key_file=key).info()

    def test_files_that_are_none(self):
        (self.folder / "empty").touch()
        for path, words in (("missing", "No such file"), ("empty", "no PEM")):
            with self.assertRaisesRegex(errors.InvalidArgument, words):
                ptychoserve.Client("127.0.0.1:1", ca_file=str(self.folder / path))


if __name__ == "__main__":
    support.main()
