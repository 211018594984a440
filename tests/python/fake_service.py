"""A ptychoserved in this process, on loopback, whose connections and life the test ends at will."""

import random
import threading
from concurrent import futures

import support  # noqa: F401  (the path of the package)
import grpc
from ptychoserve.v1 import ingest_pb2, session_pb2
from session_model import Refused, SessionModel

SERVICE = "ptychoserve.v1.Ptychoserve"


class Chaos:
    """When streams break: after how many messages, and whether the server dies of it."""

    def __init__(self, seed, kills, breaks):
        self._rng = random.Random(seed)
        self._kills = kills
        self.left = breaks

    def strikes(self):
        """Whether something breaks now; "break" or "kill"."""
        if self.left == 0 or self._rng.random() > 0.15:
            return None
        self.left -= 1
        return "kill" if self._kills and self._rng.random() < 0.5 else "break"

    def repeats(self):
        """Whether an acknowledgement is sent twice."""
        return self._rng.random() < 0.2


class FakeService:
    """One session, on a port that stays the same when the server is killed and comes back."""

    def __init__(self, journal, chaos=None, answers=True):
        self.session = SessionModel(journal, window=1 << 16, max_message_bytes=1 << 15)
        self.chaos = chaos
        self.opened = 0
        self._answers = answers  # Else streams are taken, and never acknowledged.
        self._lock = threading.Lock()
        self._opened = threading.Condition()
        self._gone = threading.Event()
        self._server = grpc.server(futures.ThreadPoolExecutor(8))
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, {
            "StreamFrames": self._handler(ingest_pb2.StreamFramesRequest),
            "StreamPositions": self._handler(ingest_pb2.StreamPositionsRequest)}),))
        port = self._server.add_insecure_port("127.0.0.1:0")
        self.address = f"127.0.0.1:{port}"
        self._server.start()

    def stop(self):
        self._gone.set()
        self._server.stop(0).wait()

    def wait_until_opened(self, times):
        """Until so many streams have come."""
        with self._opened:
            self._opened.wait_for(lambda: self.opened >= times)

    def _handler(self, request):
        return grpc.stream_stream_rpc_method_handler(
            self._stream, request_deserializer=request.FromString,
            response_serializer=ingest_pb2.IngestAck.SerializeToString)

    def _stream(self, requests, context):
        with self._opened:
            self.opened += 1
            self._opened.notify_all()
        if not self._answers:
            self._gone.wait()
            return
        stream = None
        for message in requests:
            with self._lock:
                try:
                    if stream is None:
                        stream = self.session.open(message)
                        yield self.session.ack(stream, first=True)
                        continue
                    self.session.take(stream, message)
                except Refused as refused:
                    context.abort(getattr(grpc.StatusCode, refused.code), refused.reason)
                journal = self.session.durability == session_pb2.DURABILITY_JOURNAL
                strike = self.chaos.strikes() if self.chaos else None
                if strike == "kill":
                    self.session.kill()
                if strike is not None:
                    context.abort(grpc.StatusCode.UNAVAILABLE, "the connection broke")
                if journal:
                    self.session.synchronise(1)
                ack = self.session.ack(stream)
            yield ack
            if self.chaos and self.chaos.repeats():
                yield ack
        with self._lock:
            if self.session.durability == session_pb2.DURABILITY_JOURNAL:
                self.session.synchronise()
            yield self.session.ack(stream)
