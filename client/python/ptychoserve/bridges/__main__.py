import sys

from ptychoserve.bridges.cli import main

if __name__ == "__main__":
    sys.exit(main())
