"""Builds the wheel: the package's own sources, and the modules made from the proto files."""

import pathlib
import sys

from setuptools import setup
from setuptools.command.build_py import build_py

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from generate import generate  # noqa: E402


class BuildWithProtos(build_py):
    def run(self):
        super().run()
        generate(HERE.parents[1] / "proto", self.build_lib)


setup(cmdclass={"build_py": BuildWithProtos})
