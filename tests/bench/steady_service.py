"""A service in the place of a ptychoserved: one session with a new snapshot every `interval_s`,
however large its object, and a new frame with each. What a reader costs can be measured with it, not
what a server does.
"""

import time
from concurrent import futures

import grpc
import numpy as np
from ptychoserve.snapshot import selection
from ptychoserve.v1 import frame_pb2, service_pb2, session_pb2, snapshot_pb2

SERVICE = "ptychoserve.v1.Ptychoserve"
CHUNK_BYTES = 1 << 20
PIXEL_SIZE_M = 1e-8
FRAME_PX = 512


class SteadyService:
    """Listens on `address`. The object is `side` x `side` pixels, two pictures in turn."""

    def __init__(self, side, interval_s):
        self._side = side
        self._interval_s = interval_s
        self._begin_s = time.monotonic()
        self._objects = {}
        self._server = grpc.server(futures.ThreadPoolExecutor(16))
        kinds = {"unary_unary": grpc.unary_unary_rpc_method_handler,
                 "unary_stream": grpc.unary_stream_rpc_method_handler}
        handlers = {}
        for name, kind, request, handler in (
                ("ListSessions", "unary_unary", session_pb2.ListSessionsRequest, self._list),
                ("GetServerInfo", "unary_unary", service_pb2.GetServerInfoRequest, self._info),
                ("GetSession", "unary_unary", session_pb2.GetSessionRequest, self._get),
                ("WatchSession", "unary_stream", session_pb2.WatchSessionRequest, self._watch),
                ("GetSnapshot", "unary_stream", snapshot_pb2.GetSnapshotRequest, self._snapshot),
                ("GetFrame", "unary_stream", frame_pb2.GetFrameRequest, self._frame)):
            handlers[name] = kinds[kind](handler, request_deserializer=request.FromString,
                                         response_serializer=lambda m: m.SerializeToString())
        self._server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(SERVICE, handlers),))
        self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()

    @property
    def version(self):
        return 1 + int((time.monotonic() - self._begin_s) / self._interval_s)

    def stop(self):
        self._server.stop(0).wait()

    def _session(self):
        session = session_pb2.Session(name="sessions/steady", snapshot_version=self.version,
                                      state=session_pb2.SESSION_STATE_RECONSTRUCTING)
        session.create_time.FromSeconds(1)
        session.frames.accepted = self.version
        return session

    def _list(self, request, context):
        return session_pb2.ListSessionsResponse(sessions=[self._session()])

    def _info(self, request, context):
        return service_pb2.ServerInfo(version="steady")

    def _get(self, request, context):
        return self._session()

    def _watch(self, request, context):
        while context.is_active():
            yield session_pb2.SessionEvent(kind=session_pb2.SessionEvent.KIND_PROGRESS,
                                           session=self._session())
            time.sleep(request.min_interval_ms / 1e3)

    def _snapshot(self, request, context):
        wanted, version = request.selection, self.version
        downsample = max(1, wanted.downsample)
        header = snapshot_pb2.SnapshotHeader(
            version=version, iteration=version, pixel_size_y_m=PIXEL_SIZE_M * downsample,
            pixel_size_x_m=PIXEL_SIZE_M * downsample)
        header.time.GetCurrentTime()
        header.area.shape.rows = header.area.shape.cols = self._side
        bodies = []
        for kind in wanted.arrays:
            array = self._array(kind, downsample, version)
            element = {"c": snapshot_pb2.ArrayInfo.ELEMENT_COMPLEX64}.get(
                array.dtype.kind, snapshot_pb2.ArrayInfo.ELEMENT_FLOAT32
                if array.dtype.itemsize == 4 else snapshot_pb2.ArrayInfo.ELEMENT_FLOAT64)
            header.arrays.add(kind=kind, element=element, shape=array.shape, bytes=array.nbytes)
            bodies.append(array.tobytes())
        yield snapshot_pb2.SnapshotChunk(header=header)
        yield from _pieces(snapshot_pb2.SnapshotChunk, bodies)

    def _frame(self, request, context):
        header = frame_pb2.FrameHeader(frame_id=self.version, version=self.version)
        side = FRAME_PX // max(1, request.downsample)
        counts = np.random.default_rng(self.version % 2).poisson(5, (2, side, side)).astype("<f4")
        for array in counts:
            header.arrays.add(element=snapshot_pb2.ArrayInfo.ELEMENT_FLOAT32, shape=array.shape,
                              bytes=array.nbytes)
        yield frame_pb2.FrameChunk(header=header)
        yield from _pieces(frame_pb2.FrameChunk, [array.tobytes() for array in counts])

    def _array(self, kind, downsample, version):
        side = self._side // downsample
        if kind == selection("object").arrays[0]:
            return self._object(side, version % 2)
        if kind == selection("probe").arrays[0]:
            return self._object(256, version % 2)[None]
        if kind == selection("history").arrays[0]:
            return np.random.default_rng(1).random((min(version, 1000), 10))
        if kind == selection("coverage").arrays[0]:
            return np.ones((side, side), np.float32)
        return np.zeros((0, 9))

    def _object(self, side, turn):
        if (side, turn) not in self._objects:
            rng = np.random.default_rng(turn)
            phase = np.sin(np.arange(side) / 20)[:, None] + 0.3 * rng.normal(size=(side, side))
            self._objects[side, turn] = np.exp(1j * phase).astype(np.complex64)
        return self._objects[side, turn]


def _pieces(chunk, bodies):
    for k, body in enumerate(bodies):
        for offset in range(0, len(body), CHUNK_BYTES):
            yield chunk(data=snapshot_pb2.ArrayData(
                array=k, offset=offset, data=body[offset:offset + CHUNK_BYTES]))
