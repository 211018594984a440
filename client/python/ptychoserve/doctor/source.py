"""The sources of a bridge: reachable, keys accepted, data arriving?"""

from __future__ import annotations

import os
import socket
import time
from typing import Optional

import zmq
from zmq.utils.monitor import parse_monitor_message

from ptychoserve.bridges import curve, panda_tcp, sockets
from ptychoserve.doctor import connection
from ptychoserve.doctor.findings import FAIL, OK, WARN, Findings

_DATA_PORT = "panda://"
_TCP = "tcp://"
_REFUSED = {zmq.EVENT_HANDSHAKE_FAILED_AUTH: "the source refuses this client's key",
            zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL: "the source and this client do not agree on keys",
            zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL: "the source ends the connection"}


def check(findings: Findings, name: str, address: str, kind: str, timeout_s: float) -> None:
    """Looks for one source.

    Args:
        name: "eiger" or "panda"; its keys are in PTYCHOSERVE_{NAME}_..., as for the bridge.
        address: "tcp://HOST:PORT", or "panda://HOST[:PORT]".
        kind: "pull" or "sub".
    """
    data_port = address.startswith(_DATA_PORT)
    rest = address[len(_DATA_PORT):] if data_port else address[len(_TCP):]
    try:
        if not data_port and not address.startswith(_TCP):
            raise ValueError(address)
        host, port = ((rest, panda_tcp.PORT) if data_port and ":" not in rest
                      else connection.parts_of(rest))
    except ValueError:
        findings.add(name, FAIL, f"{address!r} is no address of a source",
                     "tcp://HOST:PORT" + (", or panda://HOST" if name == "panda" else ""))
        return
    if connection.resolves(findings, name, host) and connection.connects(
            findings, name, (host, port), timeout_s,
            "is the stream enabled there, and on this port?"):
        if data_port:
            _data_port(findings, name, (host, port), timeout_s)
        else:
            _stream(findings, name, address, kind, timeout_s)


def _stream(findings: Findings, name: str, address: str, kind: str, timeout_s: float) -> None:
    keys = curve.client_keys(os.environ, f"PTYCHOSERVE_{name.upper()}")
    with zmq.Context() as context:
        source = sockets.unconnected(context, kind, keys)
        try:
            monitor = source.get_monitor_socket()
            source.connect(address)
            refused = _handshake(monitor, timeout_s)
            if refused:
                findings.add(name, FAIL, f"no handshake of ZeroMQ: {refused}",
                             _key_hint(name, keys))
                return
            findings.add(name, OK, "handshake done, " + ("keys accepted" if keys else "no keys"))
            arrived = source.poll(int(timeout_s * 1e3))
            taken = sum(1 for _ in sockets.receive(source)) if arrived else 0
        finally:
            source.disable_monitor()
            source.close()
    if not taken:
        findings.add(name, WARN, f"silent: no message within {timeout_s:g} s",
                     "start a series; does anybody else pull, or does the source publish another "
                     f"topic or socket type than '{kind}'?")
    elif kind == "pull":
        findings.add(name, OK, f"data arrive: {taken} messages, which are taken from the series")
    else:
        findings.add(name, OK, f"data arrive: {taken} messages")


def _handshake(monitor: zmq.Socket, timeout_s: float) -> str:
    """Empty when it was done; else why not."""
    deadline = time.monotonic() + timeout_s
    why = ""
    while (left_s := deadline - time.monotonic()) > 0:
        if not monitor.poll(int(left_s * 1e3) + 1):
            break
        event = parse_monitor_message(monitor.recv_multipart())["event"]
        if event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
            return ""
        why = _REFUSED.get(event, why)
    return why or f"the source says nothing within {timeout_s:g} s"


def _key_hint(name: str, keys: Optional[curve.ClientKeys]) -> str:
    prefix = f"PTYCHOSERVE_{name.upper()}"
    if keys is None:
        return f"it may ask for keys: set {prefix}_SERVER_PUBLIC_KEY and the two of the client; " \
               "or no ZeroMQ is there"
    return f"compare {prefix}_SERVER_PUBLIC_KEY with the key of the source, and have the source " \
           f"know {prefix}_CLIENT_PUBLIC_KEY"


def _data_port(findings: Findings, name: str, place: tuple[str, int], timeout_s: float) -> None:
    try:
        with socket.create_connection(place, timeout_s) as port:
            port.settimeout(timeout_s)
            port.sendall(panda_tcp.OPTIONS)
            answer = port.recv(64)
            if not answer.startswith(b"OK"):
                findings.add(name, FAIL, f"it answers {answer[:20]!r}",
                             f"another port: the data port of a PandA is {panda_tcp.PORT}")
                return
            findings.add(name, OK, "a data port of a PandA")
            data = answer.partition(b"\n")[2] or port.recv(64)
    except socket.timeout:
        data = b""
    except OSError as error:
        findings.add(name, FAIL, str(error), "does the PandA restart, or something between?")
        return
    if data:
        findings.add(name, OK, "data arrive")
    else:
        findings.add(name, WARN, f"silent: nothing within {timeout_s:g} s",
                     "arm the PandA (*PCAP.ARM=)")
