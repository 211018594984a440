import sys

from ptychoserve.watch.cli import main

if __name__ == "__main__":
    sys.exit(main())
