"""Channels to a server, for `grpc` and `grpc.aio` alike, and what each call on them carries."""

from __future__ import annotations

import os
import ssl
from typing import Any, Callable, Optional

import grpc

from ptychoserve.credentials import Credentials, Token, is_local, is_unix
from ptychoserve.errors import PtychoserveError, Unavailable, from_grpc, invalid
from ptychoserve.options import ClientOptions
from ptychoserve.v1 import (frame_pb2, ingest_pb2, service_pb2, session_pb2, snapshot_pb2,
                            state_pb2)

_MESSAGES = {name: getattr(module, name)
             for module in (service_pb2, session_pb2, ingest_pb2, snapshot_pb2, frame_pb2,
                            state_pb2)
             for name in module.DESCRIPTOR.message_types_by_name}
_SERVICE = service_pb2.DESCRIPTOR.services_by_name["Ptychoserve"]

# Milliseconds between attempts of a channel to connect, at first and at most. Writers have a pause
# of their own, to which that of the channel should add little.
SELDOM = (500, 2_000)
OFTEN = (100, 1_000)

# Where Linux distributions have the certificates of the system. gRPC for Python brings some of its
# own, which do not know what a laboratory has added.
_SYSTEM_CERTIFICATES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt",
                        "/etc/ssl/ca-bundle.pem")
_GRPC_CERTIFICATES = "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH"  # Has the last word, as in C++.


class Connection:
    """A channel, and the methods of the service on it.

    Args:
        module: `grpc` or `grpc.aio`.
        credentials: completed.
    """

    def __init__(self, module: Any, address: str, options: ClientOptions, credentials: Credentials,
                 pauses_ms: tuple[int, int] = OFTEN) -> None:
        credentials.check_for(address)
        self._token = Token(credentials)
        self._tenant = credentials.tenant
        settings = channel_options(options, pauses_ms)
        if is_local(address):
            # What stays on the machine takes no way around it, and a token must not.
            settings.append(("grpc.enable_http_proxy", 0))
        if credentials.tls and not is_unix(address):
            if credentials.server_name:
                settings.append(("grpc.ssl_target_name_override", credentials.server_name))
            self.channel = module.secure_channel(address, channel_credentials(credentials),
                                                 options=settings)
        else:
            self.channel = module.insecure_channel(address, options=settings)

    def method(self, name: str, *, session: str = "",
               raw_requests: bool = False) -> Callable[..., Any]:
        """What calls the method, as gRPC does.

        Args:
            session: that a stream of requests belongs to; a single request tells it itself.
            raw_requests: requests are bytes.
        """
        described = _SERVICE.methods_by_name[name]
        kind = ("stream" if described.client_streaming else "unary") + "_" + (
            "stream" if described.server_streaming else "unary")
        multicallable = getattr(self.channel, kind)(
            f"/{_SERVICE.full_name}/{name}",
            request_serializer=None if raw_requests
            else _MESSAGES[described.input_type.name].SerializeToString,
            response_deserializer=_MESSAGES[described.output_type.name].FromString)

        def call(request: Any, **how: Any) -> Any:
            about = session if described.client_streaming else _session_of(request)
            return multicallable(request, metadata=self._metadata(about), **how)

        return call

    def error(self, error: grpc.RpcError) -> PtychoserveError:
        """The exception for an error of a call on this channel."""
        found = from_grpc(error)
        if not found.hint and found.code == "UNAUTHENTICATED":
            found.hint = self._token.hint()
        elif not found.hint and found.code == "PERMISSION_DENIED":
            found.hint = "it takes a token with another role; ptychoserve-doctor shows this one's"
        return found

    def _metadata(self, session: str) -> list[tuple[str, str]]:
        """A list, as grpc.aio of some versions takes no tuple."""
        token = self._token.read()
        return [(key, value) for key, value in (
            ("authorization", f"Bearer {token}" if token else ""),
            ("ptychoserve-tenant", self._tenant),
            ("ptychoserve-session", session.rpartition("/")[2])) if value]


def _session_of(request: Any) -> str:
    """Which session a request is about: proxies go by it. Empty: none, or one without an id yet."""
    if isinstance(request, session_pb2.UpdateSessionRequest):
        return request.session.name
    return getattr(request, "name", "") or getattr(request, "session_id", "")


def channel_options(options: ClientOptions, pauses_ms: tuple[int, int]) -> list[tuple[str, Any]]:
    return [
        ("grpc.keepalive_time_ms", int(options.keepalive_time_s * 1e3)),
        ("grpc.keepalive_timeout_ms", int(options.keepalive_timeout_s * 1e3)),
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.initial_reconnect_backoff_ms", pauses_ms[0]),
        ("grpc.max_reconnect_backoff_ms", pauses_ms[1]),
        ("grpc.min_reconnect_backoff_ms", 5_000),
        # A connection of its own; otherwise gRPC shares one among all channels of a process.
        ("grpc.use_local_subchannel_pool", 1),
        # What the server takes is told by the first acknowledgement of a stream.
        ("grpc.max_send_message_length", -1),
        ("grpc.max_receive_message_length", -1),
    ]


def channel_credentials(credentials: Credentials) -> grpc.ChannelCredentials:
    """For TLS. Raises InvalidArgument for a file that cannot be read or is none."""
    certificates = credentials.ca_file or system_certificates()
    parts = {name: _read(name, path) for name, path in (
        ("ca_file", certificates), ("cert_file", credentials.cert_file),
        ("key_file", credentials.key_file))}
    return grpc.ssl_channel_credentials(parts["ca_file"], parts["key_file"], parts["cert_file"])


def system_certificates() -> Optional[str]:
    """None: those that gRPC finds."""
    if os.environ.get(_GRPC_CERTIFICATES):
        return None
    places = (ssl.get_default_verify_paths().cafile, *_SYSTEM_CERTIFICATES)
    return next((path for path in places if path and os.path.exists(path)), None)


def _read(name: str, path: Optional[str]) -> Optional[bytes]:
    if path is None:
        return None
    try:
        with open(path, "rb") as file:
            content = file.read()
    except OSError as error:
        raise invalid(name, f"{path}: {error.strerror}", "a file in PEM") from None
    if b"-----BEGIN " not in content:
        raise invalid(name, f"{path}: no PEM", "a file in PEM, which has -----BEGIN ... in it")
    return content


def no_answer(address: str, options: ClientOptions) -> Unavailable:
    """The error of a first connection that has not come about."""
    return Unavailable(f"no server answers at {address} within {options.connect_timeout_s:g} s",
                       hint=f"python3 -m ptychoserve.doctor --server {address} finds out why")
