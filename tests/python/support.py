"""What the tests of the Python package share. Each script is called as SCRIPT BUILD_DIR [unittest
arguments]; the package is the one in BUILD_DIR/python.
"""

import pathlib
import sys
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(sys.argv[1]).resolve()
sys.path[:0] = [str(BUILD / "python"), str(ROOT / "tests" / "e2e")]


def main():
    unittest.main(module="__main__", argv=[sys.argv[0], *sys.argv[2:]])
