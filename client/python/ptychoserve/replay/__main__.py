import sys

from ptychoserve.replay.cli import main

if __name__ == "__main__":
    sys.exit(main())
