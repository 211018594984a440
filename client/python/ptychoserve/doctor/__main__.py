import sys

from ptychoserve.doctor.cli import main

if __name__ == "__main__":
    sys.exit(main())
