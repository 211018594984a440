"""Channels, and the methods of the service on them, for `grpc` and `grpc.aio` alike."""

from __future__ import annotations

from typing import Any

from ptychoserve.errors import Unavailable
from ptychoserve.options import ClientOptions
from ptychoserve.v1 import ingest_pb2, service_pb2, session_pb2, snapshot_pb2, state_pb2

_MESSAGES = {name: getattr(module, name)
             for module in (service_pb2, session_pb2, ingest_pb2, snapshot_pb2, state_pb2)
             for name in module.DESCRIPTOR.message_types_by_name}
_SERVICE = service_pb2.DESCRIPTOR.services_by_name["Ptychoserve"]

# Milliseconds between attempts of a channel to connect, at first and at most. Writers have a pause
# of their own, to which that of the channel should add little.
SELDOM = (500, 2_000)
OFTEN = (100, 1_000)


def channel_options(options: ClientOptions, pauses_ms: tuple[int, int]) -> list[tuple[str, int]]:
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


def method(channel: Any, name: str, *, raw_requests: bool = False) -> Any:
    """What calls the method on a channel; with `raw_requests`, of messages that are bytes."""
    described = _SERVICE.methods_by_name[name]
    kind = ("stream" if described.client_streaming else "unary") + "_" + (
        "stream" if described.server_streaming else "unary")
    return getattr(channel, kind)(
        f"/{_SERVICE.full_name}/{name}",
        request_serializer=None if raw_requests
        else _MESSAGES[described.input_type.name].SerializeToString,
        response_deserializer=_MESSAGES[described.output_type.name].FromString)


def no_answer(address: str, options: ClientOptions) -> Unavailable:
    """The error of a first connection that has not come about."""
    return Unavailable(f"no server answers at {address} within {options.connect_timeout_s:g} s",
                       hint=f"python3 -m ptychoserve.doctor --server {address} finds out why")
