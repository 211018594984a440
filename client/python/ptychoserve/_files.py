"""Files of which there is never half of one."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import BinaryIO, Iterator, Union


@contextmanager
def replaced_path(path: Union[str, os.PathLike]) -> Iterator[str]:
    """A name beside `path`, whose file takes its place at the end."""
    beside = f"{os.fspath(path)}.{os.getpid()}.tmp"
    try:
        yield beside
        os.replace(beside, path)
    finally:
        if os.path.exists(beside):
            os.remove(beside)


@contextmanager
def replaced_file(path: Union[str, os.PathLike]) -> Iterator[BinaryIO]:
    """The same, as an open file."""
    with replaced_path(path) as beside, open(beside, "wb") as file:
        yield file
