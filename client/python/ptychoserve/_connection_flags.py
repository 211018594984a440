"""Command lines: where the server is and who asks, by the same flags for every program."""

from __future__ import annotations

import argparse
from typing import Any

from ptychoserve.credentials import default_address

ENVIRONMENT = """PTYCHOSERVE_SERVER, _TOKEN_FILE (or _TOKEN), _TLS=1, _TLS_CA, _TLS_CERT, _TLS_KEY,
_TLS_SERVER_NAME and _TENANT are what these flags are not given for."""
_FIELDS = {"token_file": "token_file", "tls": "tls", "tls_ca": "ca_file", "tls_cert": "cert_file",
           "tls_key": "key_file", "tls_server_name": "server_name", "tenant": "tenant"}


class FlagParser(argparse.ArgumentParser):
    """Knows flags, also those of its subcommands, by their whole names only, as ptychoctl does: half a
    name could silently be another flag than the one that was meant."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, allow_abbrev=False, **settings)


def add_connection_flags(parser: argparse.ArgumentParser) -> None:
    """The flags that `connection_of` reads; --server is `options.server`."""
    group = parser.add_argument_group("the server", ENVIRONMENT)
    group.add_argument("-s", "--server", metavar="HOST:PORT", default=default_address(),
                       help="where ptychoserved listens, or unix:PATH; now %(default)s")
    group.add_argument("--token-file", metavar="FILE",
                       help="its first line is the token that is shown to the server")
    group.add_argument("--tls", action="store_const", const=True,
                       help="encrypt; the server's certificate is checked with those of the system")
    group.add_argument("--tls-ca", metavar="FILE",
                       help="encrypt, and check it with the certificates in this file")
    group.add_argument("--tls-cert", metavar="FILE", help="certificate of this client, with")
    group.add_argument("--tls-key", metavar="FILE", help="its key")
    group.add_argument("--tls-server-name", metavar="NAME",
                       help="name in the server's certificate, where the address is another")
    group.add_argument("--tenant", metavar="NAME",
                       help="whose sessions, for an administrator of all tenants")


def credentials_of(options: argparse.Namespace) -> dict[str, Any]:
    """Keyword arguments of `Client`, beside `options.server`."""
    return {field: getattr(options, flag) for flag, field in _FIELDS.items()}
