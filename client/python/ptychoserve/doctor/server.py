"""What a ptychoserved says of itself."""

from __future__ import annotations

import statistics
import time
from typing import Optional

import grpc

from ptychoserve._connection import Connection
from ptychoserve._version import VERSION
from ptychoserve.client import Client
from ptychoserve.config import bounds
from ptychoserve.credentials import Credentials
from ptychoserve.doctor import connection
from ptychoserve.doctor.findings import FAIL, OK, WARN, Findings
from ptychoserve.errors import (PtychoserveError, ResourceExhausted, Unauthenticated,
                                Unimplemented)
from ptychoserve.options import ClientOptions
from ptychoserve.v1 import service_pb2

ROUND_TRIPS = 20
_EV_TIMES_M = 1.239842e-6  # Photon energy times wavelength.
_SERVING = b"\x08\x01"  # grpc.health.v1.HealthCheckResponse, status 1.


def settings(side_px: int, points: int) -> dict:
    """Of a typical session: far field, frames of uint16, a square scan with steps of a tenth of
    the frame."""
    energy_ev, distance_m, pitch_m = 9000.0, 2.0, 75e-6
    pixel_m = _EV_TIMES_M / energy_ev * distance_m / (side_px * pitch_m)
    half_m = points**0.5 * side_px / 10 * pixel_m / 2
    return {"optics": {"photon_energy_ev": energy_ev, "distance_m": distance_m,
                       "detector_pixel_size_y_m": pitch_m},
            "detector": {"frame_shape": (side_px, side_px), "dtype": "u16"},
            "scan": {"expected_points": points,
                     "bounds": bounds(y_m=[-half_m, half_m], x_m=[-half_m, half_m])}}


def health(findings: Findings, address: str, credentials: Credentials, timeout_s: float) -> bool:
    """Whether it is ready, by the health service of gRPC, which asks for no token."""
    with Connection(grpc, address, ClientOptions(), credentials).channel as channel:
        try:
            answer = channel.unary_unary("/grpc.health.v1.Health/Check")(b"", timeout=timeout_s)
        except grpc.RpcError as error:
            findings.add("health", FAIL, f"{error.code().name}: {error.details()}",
                         connection.proxy_hint() or "look at the server's log")
            return False
    if answer != _SERVING:
        findings.add("health", FAIL, "it is not serving: it starts or shuts down",
                     "wait, and look at the server's log")
        return False
    findings.add("health", OK, "ready, serving")
    return True


def about(findings: Findings, client: Client) -> Optional[int]:
    """Token, version, devices, sessions, and how long a call takes.

    Returns: the role in which the server takes this client; None: there is no use in going on.
    """
    times_ms = []
    try:
        for _ in range(ROUND_TRIPS):
            begin = time.monotonic()
            info = client.info()
            times_ms.append((time.monotonic() - begin) * 1e3)
    except Unimplemented:
        findings.add("version", FAIL, "a server of gRPC, but no ptychoserved",
                     "another port: the default of ptychoserved is 50051")
        return None
    except Unauthenticated as error:
        findings.add("token", FAIL, error.message, error.hint)
        return None
    except PtychoserveError as error:
        findings.add("version", FAIL, str(error), "look at the server's log")
        return None
    role = _caller(findings, info, client.credentials)
    _version(findings, info)
    findings.add("latency", OK, f"a call takes {statistics.median(times_ms):.1f} ms, the slowest "
                 f"of {ROUND_TRIPS} {max(times_ms):.1f} ms",
                 median_ms=statistics.median(times_ms), max_ms=max(times_ms))
    _devices(findings, info)
    return role


def memory(findings: Findings, client: Client, side_px: int, points: int) -> None:
    """Whether a session of this size would be taken now; nothing is created."""
    what = f"{points} frames of {side_px} x {side_px}"
    try:
        planned = client.validate(**settings(side_px, points))
    except ResourceExhausted as error:
        findings.add("memory", FAIL, f"no room for {what}: {error}",
                     "delete sessions that have ended (ptychoctl list, ptychoctl delete)")
        return
    except PtychoserveError as error:
        findings.add("memory", FAIL, f"{what}: {error}", "look at the server's log")
        return
    device = next(d for d in client.info().devices if d.name == planned.device)
    free = device.usable_bytes - device.reserved_bytes
    findings.add("memory", OK, f"{what} need {_size(planned.device_bytes)} of the "
                 f"{_size(free)} that are free on {device.name}",
                 needed_bytes=planned.device_bytes, free_bytes=free)


def _caller(findings: Findings, info: service_pb2.ServerInfo, credentials: Credentials) -> int:
    caller = info.caller
    if not caller.name:
        shown = credentials.token is not None or credentials.token_file is not None
        findings.add("token", OK, "the server lets everybody do everything"
                     + (", and has not looked at the token" if shown else ""))
        return service_pb2.ROLE_ADMIN
    role = service_pb2.Role.Name(caller.role).partition("_")[2].lower()
    tenant = f"tenant {caller.tenant}"
    if caller.all_tenants:
        tenant = f"all tenants, now {credentials.tenant or 'default'}"
    findings.add("token", OK, f"accepted: {caller.name}, {role} of {tenant}", name=caller.name,
                 role=role, tenant=caller.tenant)
    return caller.role


def _version(findings: Findings, info: service_pb2.ServerInfo) -> None:
    same = info.version == VERSION
    findings.add("version", OK if same else WARN,
                 f"ptychoserved {info.version}, up for {_duration(info.uptime_s)}"
                 + ("" if same else f"; this package is {VERSION}"),
                 "" if same else "install the same version on both sides",
                 server=info.version, client=VERSION, uptime_s=info.uptime_s)


def _devices(findings: Findings, info: service_pb2.ServerInfo) -> None:
    names = ", ".join(f"{d.name} ({d.description}, {_size(d.total_bytes)})" for d in info.devices)
    if info.build == "cuda" and all(d.name == "cpu" for d in info.devices):
        findings.add("device", WARN, f"built for CUDA, and runs on {names}",
                     "does nvidia-smi see a GPU there, and was --device cpu meant?")
    else:
        findings.add("device", OK, names + ("" if info.build == "cuda" else f"; {info.build}"))
    held = sum(d.sessions for d in info.devices)
    active = sum(d.active_sessions for d in info.devices)
    full = held >= info.max_sessions
    findings.add("sessions", FAIL if full else OK, f"{held} of {info.max_sessions}, "
                 f"{active} of them have not ended",
                 "delete some (ptychoctl delete), or start the server with --max-sessions"
                 if full else "", sessions=held, active=active, most=info.max_sessions)


def _size(count: float) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"


def _duration(seconds: float) -> str:
    return f"{seconds / 3600:.1f} h" if seconds >= 3600 else f"{seconds:.0f} s"
