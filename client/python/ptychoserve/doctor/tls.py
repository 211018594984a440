"""The handshake of TLS: who has signed the server's certificate, for which names, until when?"""

from __future__ import annotations

import socket
import ssl
import time
from typing import Any, Callable, Optional

from ptychoserve._connection import system_certificates
from ptychoserve.credentials import Credentials
from ptychoserve.doctor.findings import FAIL, OK, WARN, Findings
from ptychoserve.errors import invalid

_SOON_DAYS = 14
# Of OpenSSL (X509_V_ERR_...).
_NOT_YET, _EXPIRED, _NAME, _ADDRESS = 9, 10, 62, 64
_CERTIFICATE_HINT = "--tls-cert FILE --tls-key FILE, signed by whom the server trusts"
# Some servers do not say why.
ENDED = ("it ends the connection after the handshake",
         f"does the server ask for a certificate of this client? {_CERTIFICATE_HINT}")

Connect = Callable[[], socket.socket]


def check(findings: Findings, connect: Connect, host: str,
          credentials: Credentials) -> Optional[Connect]:
    """What connects with TLS; None, and a finding, when that is not possible."""
    name = credentials.server_name or host
    context = _context(credentials)

    def connect_with_tls() -> socket.socket:
        return context.wrap_socket(connect(), server_hostname=name)

    try:
        with connect_with_tls() as connection:
            assert isinstance(connection, ssl.SSLSocket)
            _tell(findings, connection, name)
        return connect_with_tls
    except ssl.SSLCertVerificationError as error:
        findings.add("tls", FAIL, *_not_verified(error, connect, name, credentials))
    except ssl.SSLError as error:
        findings.add("tls", FAIL, *words(error))
    except OSError as error:
        findings.add("tls", FAIL, f"the handshake ends: {error.strerror or error}",
                     "does it speak TLS at this port? without --tls, it is tried in the clear")
    return None


def words(error: ssl.SSLError) -> tuple[str, str]:
    """What a refused handshake means, and what to do."""
    reason = error.reason or str(error)
    if "CERTIFICATE_REQUIRED" in reason or "HANDSHAKE_FAILURE" in reason:
        return "the server asks for a certificate of this client", _CERTIFICATE_HINT
    if "UNKNOWN_CA" in reason or "BAD_CERTIFICATE" in reason:
        return "the server does not accept the certificate of this client", _CERTIFICATE_HINT
    if "WRONG_VERSION_NUMBER" in reason:
        return "it does not speak TLS", "leave --tls out, and PTYCHOSERVE_TLS... unset"
    return f"no handshake: {reason.replace('_', ' ').lower()}", "look at the server's log"


def _context(credentials: Credentials) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=credentials.ca_file or system_certificates())
    context.set_alpn_protocols(["h2"])
    if credentials.cert_file and credentials.key_file:
        try:
            context.load_cert_chain(credentials.cert_file, credentials.key_file)
        except ssl.SSLError as error:
            raise invalid("cert_file, key_file", f"{credentials.cert_file}, "
                          f"{credentials.key_file}: {error.reason}",
                          "a certificate and its key, in PEM") from None
    return context


def _tell(findings: Findings, connection: ssl.SSLSocket, name: str) -> None:
    certificate: dict[str, Any] = connection.getpeercert() or {}  # type: ignore[assignment]
    days = (ssl.cert_time_to_seconds(certificate["notAfter"]) - time.time()) / 86400
    soon = days < _SOON_DAYS
    findings.add("tls", WARN if soon else OK,
                 f"{connection.version()}, {_about(certificate)}, {days:.0f} days left",
                 "renew it in time: the server reads the new files by itself" if soon else "",
                 days_left=days, name=name)


def _not_verified(error: ssl.SSLCertVerificationError, connect: Connect, name: str,
                  credentials: Credentials) -> tuple[str, str]:
    certificate = _shown_by(connect, name)
    about = _about(certificate)
    if error.verify_code in (_NAME, _ADDRESS):
        return (f"the certificate is not for {name}: it is {about}",
                "connect by one of these names, or give one as --tls-server-name")
    if error.verify_code == _EXPIRED:
        # What it says of itself cannot be asked for then: see _shown_by.
        return "the certificate has expired", "renew it at the server"
    if error.verify_code == _NOT_YET:
        return f"the certificate is {about}, and is not valid yet", "are both clocks right?"
    trusted = credentials.ca_file or "the system"
    return (f"the certificate is {about}, whom {trusted} does not know: {error.verify_message}",
            "--tls-ca FILE, with the certificate of who has signed it")


def _shown_by(connect: Connect, name: str) -> dict[str, Any]:
    """What the server's certificate says of itself, be it true or not."""
    blind = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    blind.check_hostname, blind.verify_mode = False, ssl.CERT_NONE
    # Python reads only what it has verified: so with the certificate as its own authority.
    sighted = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    sighted.check_hostname = False
    sighted.verify_flags |= 0x80000  # X509_V_FLAG_PARTIAL_CHAIN, of which Python 3.9 has no name.
    try:
        with blind.wrap_socket(connect(), server_hostname=name) as connection:
            sighted.load_verify_locations(cadata=connection.getpeercert(True))
        with sighted.wrap_socket(connect(), server_hostname=name) as connection:
            return connection.getpeercert() or {}
    except OSError:
        return {}  # It has expired, or asks for more.


def _about(certificate: dict[str, Any]) -> str:
    if not certificate:
        return "one that cannot be read"
    issuer = dict(pair for part in certificate.get("issuer", ()) for pair in part)
    names = [name for kind, name in certificate.get("subjectAltName", ())
             if kind in ("DNS", "IP Address")]
    who = issuer.get("commonName") or issuer.get("organizationName") or "somebody without a name"
    return f"signed by {who!r}, for {', '.join(names) or 'no name'}"
