"""Sockets of the bridge: several messages at a time, so that a frame costs little."""

from __future__ import annotations

from typing import Iterator, Optional

import zmq

from ptychoserve.bridges import curve

POLL_MS = 100
MOST_MESSAGES = 256
MOST_BYTES = 1536 << 10  # With the last one, if it is small, what one message to the server takes.
# What has left a detector and waits here is lost with this process: not much of it.
PULL_MESSAGES = 64

KINDS = {"pull": zmq.PULL, "sub": zmq.SUB}


def connect(context: zmq.Context, address: str, kind: str,
            keys: Optional[curve.ClientKeys]) -> zmq.Socket:
    """A socket of what a source sends. It connects again by itself."""
    socket = unconnected(context, kind, keys)
    socket.connect(address)
    return socket


def unconnected(context: zmq.Context, kind: str, keys: Optional[curve.ClientKeys]) -> zmq.Socket:
    """The same before it connects, for who wants to watch that."""
    socket = context.socket(KINDS[kind])
    socket.linger = 0
    # A publisher drops what a subscriber has no room for: there must always be room.
    socket.rcvhwm = PULL_MESSAGES if kind == "pull" else 0
    if kind == "sub":
        socket.subscribe(b"")
    curve.protect(socket, keys)
    return socket


def receive(socket: zmq.Socket) -> Iterator[list[bytes]]:
    """The messages that are there, in parts; waits POLL_MS for the first of them."""
    if not socket.poll(POLL_MS):
        return
    size = 0
    for _ in range(MOST_MESSAGES):
        try:
            parts = socket.recv_multipart(zmq.NOBLOCK)
        except zmq.Again:
            return
        yield parts
        size += sum(map(len, parts))
        if size > MOST_BYTES:
            return
