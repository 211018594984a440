"""The version of this package, which is the server's."""

VERSION = "0.1.0"
