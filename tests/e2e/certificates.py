"""Certificates for tests of TLS, made by openssl: one authority, and what it has signed."""

import pathlib
import subprocess


class Authority:
    """Writes into a folder; `path` is its own certificate."""

    def __init__(self, folder, name="ca"):
        self._folder = pathlib.Path(folder)
        self._key = self._folder / f"{name}.key"
        self.path = str(self._folder / f"{name}.pem")
        _openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                 "-days", "30", "-subj", f"/CN=authority {name}", "-keyout", self._key,
                 "-out", self.path)

    def sign(self, name, names="DNS:localhost,IP:127.0.0.1", days=30, common_name=None):
        """Paths of a certificate and its key; its common name is `name` unless another is given."""
        key, request, certificate, extensions = (
            str(self._folder / f"{name}.{end}") for end in ("key", "csr", "pem", "ext"))
        pathlib.Path(extensions).write_text(f"subjectAltName={names}\n", encoding="ascii")
        _openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj",
                 f"/CN={common_name or name}", "-keyout", key, "-out", request)
        _openssl("x509", "-req", "-in", request, "-CA", self.path, "-CAkey", self._key,
                 "-CAcreateserial", "-days", str(days), "-extfile", extensions, "-out", certificate)
        return certificate, key


def _openssl(*arguments):
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)
