import sys

from ptychoserve.dashboard.cli import main

sys.exit(main())
