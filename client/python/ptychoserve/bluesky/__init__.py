"""Scans of a Bluesky RunEngine, reconstructed while they run. docs/bluesky.md is the guide.

    from ptychoserve.bluesky import Consumer

    consumer = Consumer("127.0.0.1:50051", frames="eiger_image", x="piezo_x", y="piezo_y",
                        settings={"optics": ..., "detector": {"dtype": "u32"}})
    RE.subscribe(consumer)

Documents are taken as the plain dicts that they are; neither bluesky nor event-model is needed.
"""

from ptychoserve.bluesky.consumer import Consumer
from ptychoserve.bluesky.run import Run

__all__ = ["Consumer", "Run"]
