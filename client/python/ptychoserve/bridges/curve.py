"""Keys of CurveZMQ: all of them, or none."""

from __future__ import annotations

from typing import Mapping, NamedTuple, Optional

import zmq

from ptychoserve.errors import invalid

_HINT = "keys are those that zmq.curve_keypair() makes: 40 characters each"


class ClientKeys(NamedTuple):
    """Of who connects: its own pair, and the public key of the one it trusts."""

    server_public: bytes
    public: bytes
    secret: bytes


def client_keys(environment: Mapping[str, str], prefix: str) -> Optional[ClientKeys]:
    """The keys in PREFIX_SERVER_PUBLIC_KEY, PREFIX_CLIENT_PUBLIC_KEY, PREFIX_CLIENT_SECRET_KEY.

    Returns: None when none of them is set.
    Raises: InvalidArgument when some are missing, one is no key, or the pair is no pair.
    """
    names = [f"{prefix}_{name}" for name in
             ("SERVER_PUBLIC_KEY", "CLIENT_PUBLIC_KEY", "CLIENT_SECRET_KEY")]
    values = [environment.get(name, "") for name in names]
    if not any(values):
        return None
    for name, value in zip(names, values):
        if not value:
            raise invalid(name, "not set", "all three keys, or none", hint=f"set {name}")
        _check(name, value)
    keys = ClientKeys(*(value.encode("ascii") for value in values))
    if zmq.curve_public(keys.secret) != keys.public:
        raise invalid(names[1], values[1], f"the public key that belongs to {names[2]}", _HINT)
    return keys


def server_secret(environment: Mapping[str, str], prefix: str) -> Optional[bytes]:
    """The key in PREFIX_SERVER_SECRET_KEY; None when it is not set. Raises InvalidArgument."""
    name = f"{prefix}_SERVER_SECRET_KEY"
    value = environment.get(name, "")
    if not value:
        return None
    _check(name, value)
    return value.encode("ascii")


def _check(name: str, value: str) -> None:
    """The value is not repeated: it may be a secret."""
    try:
        zmq.curve_public(value.encode("ascii"))
    except (ValueError, zmq.ZMQError):
        raise invalid(name, f"{len(value)} characters that are no key", "a key of CurveZMQ",
                      _HINT) from None


def protect(socket: zmq.Socket, keys: Optional[ClientKeys]) -> None:
    """Has a socket that will connect use the keys."""
    if keys is not None:
        socket.curve_serverkey = keys.server_public
        socket.curve_publickey = keys.public
        socket.curve_secretkey = keys.secret


def serve(socket: zmq.Socket, secret: Optional[bytes]) -> None:
    """Has a socket that will bind ask for the key that belongs to `secret`."""
    if secret is not None:
        socket.curve_server = True
        socket.curve_secretkey = secret
