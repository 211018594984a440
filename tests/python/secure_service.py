"""A service in this process that looks at what calls carry: tokens, certificates, metadata."""

import pathlib
import threading
from concurrent import futures

import support  # noqa: F401  (the path of the package)
import grpc
import ptychoserve
from ptychoserve.v1 import (config_pb2, frame_pb2, ingest_pb2, service_pb2, session_pb2,
                            snapshot_pb2, state_pb2)

KINDS = (service_pb2, session_pb2, ingest_pb2, snapshot_pb2, frame_pb2, state_pb2)


class Service:
    """Answers every call with an empty message, or refuses it for its token; notes what came.

    Args:
        tokens: that it knows; none: everybody may come.
        certificate: paths of its own and its key; None: without TLS.
        client_authority: path of the certificate of who has signed those of clients.
        caller: for whom it takes everybody.
    """

    def __init__(self, tokens=(), certificate=None, client_authority=None, caller=None):
        self.tokens = list(tokens)
        self.calls = []  # (method, {metadata})
        self._caller = caller or {}
        self._lock = threading.Lock()
        self._server = grpc.server(futures.ThreadPoolExecutor(8))
        described = service_pb2.DESCRIPTOR.services_by_name["Ptychoserve"]
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(
            described.full_name, {m.name: self._handler(m) for m in described.methods}),
            grpc.method_handlers_generic_handler("grpc.health.v1.Health", {
                "Check": grpc.unary_unary_rpc_method_handler(lambda *_: b"\x08\x01")})))
        if certificate is None:
            port = self._server.add_insecure_port("127.0.0.1:0")
        else:
            chain, key = (pathlib.Path(path).read_bytes() for path in certificate)
            authority = client_authority and pathlib.Path(client_authority).read_bytes()
            port = self._server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials(
                [(key, chain)], authority, require_client_auth=authority is not None))
        self.port, self.address = port, f"127.0.0.1:{port}"
        self._server.start()

    def stop(self):
        self._server.stop(0).wait()

    def _handler(self, method):
        messages = {name: getattr(kind, name) for kind in KINDS
                    for name in kind.DESCRIPTOR.message_types_by_name}
        answer = messages[method.output_type.name]
        streams = method.server_streaming

        def handle(request, context):
            metadata = {k: v for k, v in context.invocation_metadata()
                        if k.startswith("ptychoserve-") or k == "authorization"}
            with self._lock:
                self.calls.append((method.name, metadata))
                known = not self.tokens or metadata.get("authorization") in [
                    f"Bearer {token}" for token in self.tokens]
            if not known:
                context.abort(grpc.StatusCode.UNAUTHENTICATED, "who are you?")
            if method.client_streaming:
                next(request, None)
            if method.name == "StopSession":
                context.abort(grpc.StatusCode.PERMISSION_DENIED, "this takes the role operator")
            return self._answers(answer) if streams else self._answer(answer)

        kind = ("stream" if method.client_streaming else "unary") + "_" + (
            "stream" if streams else "unary")
        return getattr(grpc, f"{kind}_rpc_method_handler")(
            handle, request_deserializer=lambda data: data,
            response_serializer=lambda message: message.SerializeToString())

    def _answer(self, kind):
        if kind is session_pb2.Session:
            return kind(name="sessions/s", device="cpu", config={"detector": {
                "dtype": config_pb2.DATA_TYPE_U16, "frame_shape": {"rows": 2, "cols": 2}}})
        if kind is service_pb2.ServerInfo:
            return kind(version=ptychoserve.__version__, max_sessions=8, caller=self._caller,
                        devices=[{"name": "cpu", "usable_bytes": 1 << 30}])
        return kind()

    def _answers(self, kind):
        if kind is ingest_pb2.IngestAck:
            yield kind(granted_bytes=1 << 20, max_message_bytes=1 << 20, batches=1)
        elif kind is session_pb2.SessionEvent:
            yield kind(session={"name": "sessions/s"})

    def of(self, method):
        """The metadata of its calls."""
        with self._lock:
            return [metadata for name, metadata in self.calls if name == method]
