"""Who a client is to its server, and whether what they say is encrypted."""

from __future__ import annotations

import ipaddress
import os
import pathlib
from dataclasses import dataclass, fields, replace
from typing import Mapping, Optional

from ptychoserve.errors import InvalidArgument, Unauthenticated, invalid

DEFAULT_ADDRESS = "127.0.0.1:50051"
_PREFIX = "PTYCHOSERVE_"
_VARIABLES = {"token": "TOKEN", "token_file": "TOKEN_FILE", "ca_file": "TLS_CA",
              "cert_file": "TLS_CERT", "key_file": "TLS_KEY", "server_name": "TLS_SERVER_NAME",
              "tenant": "TENANT"}
_TOKENS = ("token", "token_file")
_TLS_FILES = ("ca_file", "cert_file", "key_file")


def default_address(environment: Mapping[str, str] = os.environ) -> str:
    """PTYCHOSERVE_SERVER, or where a server listens by default."""
    return environment.get(f"{_PREFIX}SERVER") or DEFAULT_ADDRESS


@dataclass(frozen=True)
class Credentials:
    """What a client shows to its server. What is None is taken from the environment.

    Attributes:
        token: what the server knows this client by; PTYCHOSERVE_TOKEN.
        token_file: a file whose first line is the token, read again for each call, so that it may
            be replaced at any time; PTYCHOSERVE_TOKEN_FILE.
        tls: whether to encrypt; PTYCHOSERVE_TLS=1. Each of the files below implies it. A Unix
            socket stays as it is.
        ca_file: PEM, certificates of those who may have signed the server's; PTYCHOSERVE_TLS_CA.
            Default: the system's.
        cert_file, key_file: PEM, the client's own certificate and its key, for servers that ask for
            one; PTYCHOSERVE_TLS_CERT, PTYCHOSERVE_TLS_KEY.
        server_name: the name in the server's certificate, where its address is another;
            PTYCHOSERVE_TLS_SERVER_NAME.
        tenant: whose sessions an administrator means; PTYCHOSERVE_TENANT.
    """

    token: Optional[str] = None
    token_file: Optional[str] = None
    tls: Optional[bool] = None
    ca_file: Optional[str] = None
    cert_file: Optional[str] = None
    key_file: Optional[str] = None
    server_name: Optional[str] = None
    tenant: Optional[str] = None

    def completed(self, environment: Mapping[str, str] = os.environ) -> "Credentials":
        """With what is open taken from the environment. Raises InvalidArgument for what
        contradicts itself."""
        given = {f.name for f in fields(self) if getattr(self, f.name) is not None}
        if given & set(_TOKENS):
            given.update(_TOKENS)
        if self.tls is False:
            given.update(_TLS_FILES)
        complete = replace(self, **{
            name: environment.get(_PREFIX + suffix) or None
            for name, suffix in _VARIABLES.items() if name not in given})
        complete._check()
        if complete.tls is None:
            complete = replace(complete, tls=_switch(environment)
                               or any(getattr(complete, name) for name in _TLS_FILES))
        return complete

    def _check(self) -> None:
        if self.token is not None and self.token_file is not None:
            raise invalid("token, token_file", "both given", "one of them",
                          hint="PTYCHOSERVE_TOKEN and PTYCHOSERVE_TOKEN_FILE count, too")
        if (self.cert_file is None) != (self.key_file is None):
            raise invalid("cert_file, key_file", "only one given", "both or none")
        if self.tls is False and any(getattr(self, name) for name in _TLS_FILES):
            raise invalid("tls", "False", "True with ca_file, cert_file and key_file")

    def check_for(self, address: str) -> None:
        """Raises InvalidArgument rather than have a token go to another machine in the clear."""
        if (self.token or self.token_file) and not self.tls and not is_local(address):
            raise invalid("tls", "off", f"on, as a token is shown to {address}, which is another "
                          "machine", hint="--tls, or --tls-ca FILE with the certificate of who has "
                          "signed the server's; in Python tls=True, or ca_file=FILE")

    def __repr__(self) -> str:
        """Without the token."""
        shown = {f.name: getattr(self, f.name) for f in fields(self)}
        if self.token is not None:
            shown["token"] = "***"
        return f"Credentials({', '.join(f'{k}={v!r}' for k, v in shown.items() if v is not None)})"


def _switch(environment: Mapping[str, str]) -> bool:
    text = environment.get(f"{_PREFIX}TLS", "")
    if text not in ("", "0", "1"):
        raise invalid(f"{_PREFIX}TLS", repr(text), "1, 0 or nothing")
    return text == "1"


def is_unix(address: str) -> bool:
    """Whether it is a socket of the file system, on which nothing is encrypted."""
    return address.startswith(("unix:", "unix-abstract:"))


def is_local(address: str) -> bool:
    """Whether what goes to this address of gRPC stays on the machine."""
    if is_unix(address):
        return True
    scheme, colon, rest = address.partition(":")
    if colon and scheme in ("ipv4", "ipv6", "dns"):
        address = rest.rpartition("/")[2]
    return is_local_host(address.rpartition(":")[0].strip("[]"))


def is_local_host(host: str) -> bool:
    """Whether a host, without port and brackets, is this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Token:
    """The token to show now."""

    def __init__(self, credentials: Credentials) -> None:
        self._path = credentials.token_file
        self._token = credentials.token

    def read(self) -> Optional[str]:
        """None: there is none. Raises Unauthenticated for a file that has none.

        A file that cannot be read for a moment, as it is being replaced, is as it was.
        """
        if self._path is None:
            return self._token
        try:
            self._token = token_in(self._path)
        except InvalidArgument as error:
            if self._token is None:
                raise Unauthenticated(error.message, reason="NO_TOKEN") from None
        return self._token

    def hint(self) -> str:
        """What to look at when it was refused."""
        if self._path is not None:
            return f"the token in {self._path} is not known there, or has expired"
        if self._token is not None:
            return "the token that was given is not known there, or has expired"
        return ("no token was shown: --token-file FILE, or PTYCHOSERVE_TOKEN_FILE; in Python "
                "token_file=FILE")


def token_in(path: str) -> str:
    """The first line of a file. Raises InvalidArgument."""
    try:
        lines = pathlib.Path(path).read_text(encoding="ascii").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        words = error.strerror if isinstance(error, OSError) else "it is not ASCII"
        raise invalid("token_file", f"{path}: {words}", "a file whose first line is the token") \
            from None
    token = lines[0].strip() if lines else ""
    if not token or not token.isprintable():
        raise invalid("token_file", f"{path}: no token in its first line",
                      "a file whose first line is the token")
    return token
