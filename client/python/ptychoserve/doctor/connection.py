"""From a name to bytes: is there anything, and does it speak gRPC, with TLS or without as asked?"""

from __future__ import annotations

import functools
import os
import socket
import ssl
import time
from typing import Union

from ptychoserve.credentials import Credentials
from ptychoserve.doctor import tls
from ptychoserve.doctor.findings import FAIL, OK, Findings

# HTTP/2 (RFC 9113): what a client begins with, and an empty SETTINGS frame.
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_SETTINGS = b"\0\0\0\4\0\0\0\0\0"
_SETTINGS_TYPE = 4
_UNIX = "unix:"
Place = Union[str, tuple[str, int]]  # Of a socket in the file system, or host and port.
_PROXIES = ("grpc_proxy", "https_proxy", "http_proxy")


def parts_of(address: str) -> tuple[str, int]:
    """Host and port of "HOST:PORT" or "[IPV6]:PORT". Raises ValueError."""
    host, colon, port = address.rpartition(":")
    if not colon or not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise ValueError(address)
    return host.strip("[]"), int(port)


def check(findings: Findings, address: str, credentials: Credentials, timeout_s: float) -> bool:
    """Whether a server of gRPC answers at "HOST:PORT" or "unix:/path"."""
    host = ""
    if address.startswith(_UNIX):
        place: Place = address[len(_UNIX):]
    else:
        try:
            host, port = parts_of(address)
        except ValueError:
            findings.add("address", FAIL, f"{address!r} is not HOST:PORT",
                         "give the port, too: beamline.example.org:50051")
            return False
        if not resolves(findings, "address", host):
            return False
        place = (host, port)
    if not connects(findings, "connect", place, timeout_s,
                    "is ptychoserved running there (systemctl status ptychoserved), on this port, "
                    "and not only for its own machine (--listen)?"):
        return False
    connect = functools.partial(_connect, place, timeout_s)
    if not (host and credentials.tls):
        return _speaks_http2(findings, connect, timeout_s, with_tls=False)
    with_tls = tls.check(findings, connect, host, credentials)
    return with_tls is not None and _speaks_http2(findings, with_tls, timeout_s, with_tls=True)


def resolves(findings: Findings, name: str, host: str) -> bool:
    try:
        found = sorted({info[4][0] for info in socket.getaddrinfo(host, None,
                                                                 type=socket.SOCK_STREAM)})
    except socket.gaierror as error:
        findings.add(name, FAIL, f"{host} has no address: {error.strerror}",
                     "check the spelling, or give its IP address")
        return False
    findings.add(name, OK, f"{host} is {', '.join(found)}")
    return True


def connects(findings: Findings, name: str, place: Place, timeout_s: float, hint: str) -> bool:
    begin = time.monotonic()
    try:
        _connect(place, timeout_s).close()
    except socket.timeout:
        findings.add(name, FAIL, f"no answer from {_shown(place)} within {timeout_s:g} s",
                     "a firewall drops the packets, or the machine is down")
        return False
    except OSError as error:
        findings.add(name, FAIL, f"{_shown(place)}: {error.strerror or error}", hint)
        return False
    took_ms = (time.monotonic() - begin) * 1e3
    findings.add(name, OK, f"{_shown(place)} takes connections ({took_ms:.1f} ms)",
                 connect_ms=took_ms)
    return True


def proxy_hint() -> str:
    """gRPC goes through the proxies that the environment names, also on a beamline's network."""
    named = [name for name in _PROXIES if os.environ.get(name)]
    return f"{named[0]} is set: gRPC uses that proxy; set no_grpc_proxy for this host" \
        if named else ""


def _connect(place: Place, timeout_s: float) -> socket.socket:
    if isinstance(place, str):
        found = socket.socket(socket.AF_UNIX)
        found.settimeout(timeout_s)
        try:
            found.connect(place)
        except OSError:
            found.close()
            raise
        return found
    return socket.create_connection(place, timeout_s)


def _shown(place: Place) -> str:
    return place if isinstance(place, str) else f"{place[0]}:{place[1]}"


def _speaks_http2(findings: Findings, connect: tls.Connect, timeout_s: float,
                  with_tls: bool) -> bool:
    try:
        with connect() as connection:
            connection.sendall(_PREFACE + _SETTINGS)
            answer = connection.recv(64)
    except socket.timeout:
        findings.add("protocol", FAIL, f"it takes connections, and is silent for {timeout_s:g} s",
                     "the server hangs or is stopped: look at its log; or it is no ptychoserved")
        return False
    except ssl.SSLError as error:  # Only now a server says that it wants a certificate.
        findings.add("protocol", FAIL, *tls.words(error))
        return False
    except OSError:
        answer = b""
    if len(answer) >= 9 and answer[3] == _SETTINGS_TYPE:
        findings.add("protocol", OK, f"HTTP/2 {'with' if with_tls else 'without'} TLS, as gRPC "
                     "needs it")
        return True
    if not with_tls and (answer[:1] == b"\x15" or _speaks_tls(connect)):
        findings.add("protocol", FAIL, "it speaks TLS, and this client does not",
                     "--tls, or --tls-ca FILE with the certificate of who has signed the server's")
    elif not answer and with_tls:
        findings.add("protocol", FAIL, *tls.ENDED)
    elif answer.startswith(b"HTTP/1"):
        findings.add("protocol", FAIL, "a web server answers, with HTTP/1",
                     "another port: the default of ptychoserved is 50051")
    else:
        findings.add("protocol", FAIL, f"no gRPC: it answers {answer[:20]!r}",
                     "another program has this port; the default of ptychoserved is 50051")
    return False


def _speaks_tls(connect: tls.Connect) -> bool:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with connect() as plain, context.wrap_socket(plain):
            return True
    except ssl.SSLError as error:
        return "ALERT" in (error.reason or "")  # It speaks TLS, and asks for something else.
    except OSError:
        return False
