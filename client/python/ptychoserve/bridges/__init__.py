"""Bridges from the streams of detectors and encoders into sessions.

    ptychoserve-bridge run --eiger tcp://detector:9999 --panda tcp://panda:5555 --config scan.json
    python -m ptychoserve.bridges ...       # The same.

`Bridge` is what the command runs: messages come in, each series of the detector becomes
a session, frames go on as the detector has encoded them. docs/acquisition.md is the guide.
"""

from ptychoserve.bridges.bridge import Bridge
from ptychoserve.bridges.messages import BadMessage

__all__ = ["BadMessage", "Bridge"]
