"""Certificates for tests: a CA of one's own, and what it has signed, by openssl."""

import pathlib
import subprocess


def _openssl(*arguments):
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True, timeout=60)


class Authority:
    """ca.pem and its key in `folder`; certificates it signs land there, too."""

    def __init__(self, folder, name="ca"):
        self.folder = pathlib.Path(folder)
        self.key, self.pem = self.folder / f"{name}.key", self.folder / f"{name}.pem"
        _openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                 "-keyout", self.key, "-out", self.pem, "-days", 2, "-subj", f"/CN={name}")

    def sign(self, name, common_name, days=2):
        """NAME.pem and NAME.key, good for 127.0.0.1 and localhost; the two paths."""
        key, pem = self.folder / f"{name}.key", self.folder / f"{name}.pem"
        request, extensions = self.folder / f"{name}.csr", self.folder / f"{name}.ext"
        extensions.write_text("subjectAltName=IP:127.0.0.1,DNS:localhost\n", encoding="ascii")
        _openssl("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                 "-keyout", key, "-out", request, "-subj", f"/CN={common_name}")
        _openssl("x509", "-req", "-in", request, "-CA", self.pem, "-CAkey", self.key,
                 "-CAcreateserial", "-days", days, "-extfile", extensions, "-out", pem)
        return pem, key
