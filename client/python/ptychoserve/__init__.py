"""Client of ptychoserve, which reconstructs ptychography scans while they are measured.

    import ptychoserve

    with ptychoserve.Client("127.0.0.1:50051") as client:
        with client.create_session("scan-4711", optics=..., detector=..., scan=...) as session:
            frames, positions = session.frame_writer(), session.position_writer()
            for k, (frame, x_m, y_m) in enumerate(measurement):
                frames.push(k, frame)
                positions.push(k, x_m=x_m, y_m=y_m)
        session.result().save("result.cxi")

docs/python.md is a guide by example. `ptychoserve.aio` is the same for asyncio,
`ptychoserve.errors` has the exceptions, `ptychoserve.v1` the messages of the API.
"""

from ptychoserve import errors
from ptychoserve._requests import SessionEvent
from ptychoserve._version import VERSION as __version__
from ptychoserve.client import Client, Session
from ptychoserve.config import bounds, session_config
from ptychoserve.credentials import Credentials
from ptychoserve.errors import PtychoserveError
from ptychoserve.frame import Frame
from ptychoserve.options import ClientOptions, WriterOptions
from ptychoserve.report import Counters, Rejection, WriterReport
from ptychoserve.result import Result
from ptychoserve.snapshot import ARRAYS, HISTORY_COLUMNS, POINT_COLUMNS, Snapshot, selection
from ptychoserve.writers import FrameWriter, PositionWriter

__all__ = [
    "ARRAYS", "Client", "ClientOptions", "Counters", "Credentials", "Frame", "FrameWriter",
    "HISTORY_COLUMNS", "POINT_COLUMNS", "PositionWriter", "PtychoserveError", "Rejection",
    "Result", "Session", "SessionEvent", "Snapshot", "WriterOptions", "WriterReport",
    "__version__", "bounds", "errors", "selection", "session_config",
]
