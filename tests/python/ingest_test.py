#!/usr/bin/env python3
"""The protocol state machine against a model server: what it sends again after breaks and kills,
and that everything arrives exactly once. No threads, no sockets; time is a number.
"""

import random
import unittest

import support
import numpy as np
from ptychoserve import _batching, _input, errors
from ptychoserve._batching import FrameFormat, Frames, Message, Positions
from ptychoserve._ingest import HALF_CLOSE, Ingest
from ptychoserve._known_ids import KnownIds
from ptychoserve.options import WriterOptions
from ptychoserve.v1 import config_pb2, ingest_pb2, session_pb2
from session_model import Refused, SessionModel

FORMAT = FrameFormat(np.dtype("<u2"), 8, 8, config_pb2.DATA_TYPE_U16)
FRAME_BYTES = FORMAT.frame_bytes


def pixels(frame_id):
    return np.random.default_rng(frame_id).integers(0, 60000, (8, 8), dtype="<u2")


def ingest_of(options=WriterOptions(), kind=Frames, now=0.0):
    most = (_batching.MAX_FRAMES_PER_BATCH if kind is Frames
            else _batching.MAX_POSITIONS_PER_BATCH)
    return Ingest(kind, most, "sessions/s", options, "random-name", now)


def frames(ids, block_bytes=1 << 20):
    ids = np.asarray(ids)
    return list(_input.frames(FORMAT, ids, np.stack([pixels(k) for k in ids]), block_bytes))


def sent_by(ingest, end=None):
    """Ids of the frames in all messages that can be sent now, until `end`."""
    sent = []
    while (message := ingest.next(0.0)) is not end:
        batch = ingest_pb2.StreamFramesRequest.FromString(message.join()).batch
        sent += batch.frame_ids or range(batch.first_frame_id, batch.first_frame_id + batch.count)
    return sent


def first_ack(**fields):
    return ingest_pb2.IngestAck(**{
        "granted_bytes": 1 << 20, "max_message_bytes": 1 << 20, "known_up_to": -1,
        "durability": session_pb2.DURABILITY_MEMORY, **fields})


def ids_of(items):
    out = set()
    for item in items:
        out |= ({item._first + k for k in range(item.count)}
                if isinstance(item, _batching.Skipped) else set(item.ids.tolist()))
    return out


class Wire:
    """A connection between an Ingest and a SessionModel, on which messages and answers wait."""

    def __init__(self, ingest, session, clock):
        self.ingest, self.session, self.clock = ingest, session, clock
        self.up, self.down = [ingest.open(epoch=1)], []
        self.stream = None
        self.half_closed = False
        self.refused = None

    def send(self):
        """Moves one message from the client to the wire; how long it would wait, if it waits."""
        if self.half_closed:
            return None
        what = self.ingest.next(self.clock.now)
        if what is HALF_CLOSE:
            self.half_closed = True
            return None
        if isinstance(what, Message):
            self.up.append(what.join())
            return None
        return what

    def deliver(self):
        """The server takes one message."""
        if not self.up or self.refused is not None:
            return
        message = ingest_pb2.StreamFramesRequest.FromString(self.up.pop(0))
        try:
            if self.stream is None:
                self.stream = self.session.open(message)
                self.down.append(self.session.ack(self.stream, first=True))
            else:
                self.session.take(self.stream, message)
        except Refused as refused:
            self.refused = errors.from_status(refused.code, "refused").with_words("")

    def acknowledge(self):
        if self.stream is not None:
            self.down.append(self.session.ack(self.stream))

    def answer(self):
        """The client hears one acknowledgement."""
        if self.down:
            self.ingest.on_ack(self.down.pop(0), self.clock.now)


class Clock:
    now = 100.0


class Scan:
    """A client that pushes ids 0..n-1, a session, and a world that breaks things at random."""

    def __init__(self, seed, journal):
        self.rng = random.Random(seed)
        self.clock = Clock()
        message = self.rng.choice([FRAME_BYTES, 4 * FRAME_BYTES, 16 * FRAME_BYTES])
        self.options = WriterOptions(
            queue_bytes=self.rng.choice([8, 32, 64]) * FRAME_BYTES,
            retain_bytes=self.rng.choice([8, 64]) * FRAME_BYTES, message_bytes=message,
            producer=self.rng.choice(["", "eiger-1"]), give_up_after_s=1e9, linger_s=0.005)
        self.bound = self.options.queue_bytes + self.options.retain_bytes + 8 * FRAME_BYTES
        largest = max(2 * message, 8 * FRAME_BYTES) + 8192
        self.session = SessionModel(journal, window=self.rng.choice([1, 4]) * largest,
                                    max_message_bytes=largest)
        self.ingest = ingest_of(self.options, now=self.clock.now)
        self.wire = None
        self.wake_at = self.clock.now
        self.skipped = set()
        self.items = self._items()

    def _items(self):
        """Blocks of ids, some out of order, some skipped."""
        blocks, k = [], 0
        while k < 300:
            size = self.rng.choice([1, 1, 2, 7])
            blocks.append(range(k, k + size))
            k += size
        for _ in range(10):
            a, b = self.rng.randrange(len(blocks)), self.rng.randrange(len(blocks))
            blocks[a], blocks[b] = blocks[b], blocks[a]
        self.ids = set(range(k))
        out = []
        for block in blocks:
            if self.rng.random() < 0.05:
                self.skipped |= set(block)
                out += _input.skipped(block.start, len(block))
            else:
                out += frames(block, block_bytes=8 * FRAME_BYTES)
        return out

    def end(self, error):
        """The call ends; both directions lose what is under way."""
        self.wire = None
        pause = self.ingest.on_end(error, self.clock.now)
        if pause is not None:
            self.wake_at = self.clock.now + pause

    def step(self, breaks):
        ingest, wire = self.ingest, self.wire
        self.clock.now += 0.001
        if self.items and ingest.take(self.items[0]):
            self.items.pop(0)
        elif not self.items:
            ingest.close()
        if ingest.finished:
            return
        if wire is None:
            self.clock.now = max(self.clock.now, self.wake_at)
            self.wire = Wire(ingest, self.session, self.clock)
            return
        if wire.refused is not None:
            return self.end(wire.refused)
        if breaks and self.rng.random() < 0.02:
            journal = self.session.durability == session_pb2.DURABILITY_JOURNAL
            if journal and self.rng.random() < 0.5:
                self.session.kill()
            return self.end(errors.Unavailable("the connection broke"))
        action = self.rng.choice(["send", "deliver", "acknowledge", "answer", "synchronise"])
        if action == "send":
            wait = wire.send()
            if wait:
                self.clock.now += wait
        elif action == "synchronise":
            if self.session.durability == session_pb2.DURABILITY_JOURNAL:
                self.session.synchronise(self.rng.randrange(4))
        else:
            getattr(wire, action)()
        self.finish_call()

    def finish_call(self):
        """A half-closed call whose messages have all been taken ends with a last word."""
        wire = self.wire
        if not wire.half_closed or wire.up or wire.stream is None:
            return
        if self.session.durability == session_pb2.DURABILITY_JOURNAL:
            self.session.synchronise()
        wire.acknowledge()
        while wire.down:
            wire.answer()
        self.end(None)

    def run(self):
        steps = 0
        while not self.ingest.finished:
            self.step(breaks=steps < 4000)
            steps += 1
            assert self.ingest._backlog.weight <= self.bound
            assert steps < 100_000, "does not come to its end"
        return self


class ResumeTest(unittest.TestCase):

    def check(self, scan):
        self.assertIsNone(scan.ingest.error)
        self.assertEqual(set(scan.session.has), scan.ids)
        for frame_id, data in scan.session.has.items():
            expected = None if frame_id in scan.skipped else pixels(frame_id).tobytes()
            self.assertEqual(data, expected, frame_id)
        report = scan.ingest.report
        self.assertEqual(report.items, len(scan.ids))
        self.assertEqual((report.unacknowledged_items, report.retained_items), (0, 0))
        # Each was sent, or found there by a writer that may leave it out.
        self.assertEqual(report.sent_items + report.known_items, report.items)
        self.assertEqual(scan.session.duplicates, 0)

    def test_breaks_lose_and_repeat_nothing(self):
        reconnects = 0
        for seed in range(60):
            with self.subTest(seed=seed):
                scan = Scan(seed, journal=False).run()
                self.check(scan)
                reconnects += scan.ingest.report.reconnects
        self.assertGreater(reconnects, 300)

    def test_kills_lose_and_repeat_nothing(self):
        reconnects = resent = 0
        for seed in range(100, 160):
            with self.subTest(seed=seed):
                scan = Scan(seed, journal=True).run()
                self.check(scan)
                self.assertEqual(scan.session.on_disk, len(scan.session.records))
                reconnects += scan.ingest.report.reconnects
                resent += scan.ingest.report.resent_items
        self.assertGreater(reconnects, 300)
        self.assertGreater(resent, 300)

    def test_what_was_durable_is_never_lost(self):
        """Whatever the writer has let go of is on disk: a kill at any moment finds it there."""
        for seed in range(200, 220):
            scan = Scan(seed, journal=True)
            pushed = 0
            for _ in range(3000):
                before = len(scan.items)
                scan.step(breaks=True)
                pushed += before - len(scan.items)
                if scan.ingest.finished:
                    break
                on_disk = {k for entries in scan.session.records[:scan.session.on_disk]
                           for k, _ in entries}
                backlog = scan.ingest._backlog
                kept = ids_of([*backlog._sent, *backlog._waiting])
                left = ids_of(scan.items)
                self.assertEqual(scan.ids - left - kept - on_disk, set())
            self.assertGreater(pushed, 0)


class ProtocolTest(unittest.TestCase):

    def opened(self, options=WriterOptions(linger_s=0.0), **fields):
        ingest = ingest_of(options)
        ingest.open(epoch=7)
        ingest.on_ack(first_ack(**fields), 0.0)
        return ingest

    def test_open_names_session_producer_and_a_later_epoch(self):
        ingest = ingest_of(WriterOptions(producer="eiger-1"))
        epochs = []
        for _ in range(3):
            message = ingest_pb2.StreamFramesRequest.FromString(ingest.open(epoch=50))
            self.assertEqual(message.open.session, "sessions/s")
            self.assertEqual(message.open.producer, "eiger-1")
            epochs.append(message.open.epoch)
            ingest.on_end(errors.Unavailable("away"), 0.0)
        self.assertEqual(epochs, [50, 51, 52])

    def test_producer_of_other_characters_is_refused(self):
        with self.assertRaises(errors.InvalidArgument) as caught:
            ingest_of(WriterOptions(producer="a b"))
        self.assertEqual((caught.exception.field, caught.exception.allowed),
                         ("producer", "1 to 64 of [A-Za-z0-9._:-]"))

    def test_nothing_is_sent_before_the_server_answers(self):
        ingest = ingest_of(WriterOptions(linger_s=0.0))
        ingest.open()
        for item in frames([0, 1]):
            ingest.take(item)
        self.assertIsNone(ingest.next(0.0))
        ingest.on_ack(first_ack(), 0.0)
        self.assertIsInstance(ingest.next(0.0), Message)

    def test_credit_bounds_what_is_sent(self):
        ingest = self.opened(granted_bytes=3 * FRAME_BYTES)
        for item in frames(range(8), block_bytes=FRAME_BYTES):
            self.assertTrue(ingest.take(item))
        self.assertEqual(ingest.next(0.0).payload, 3 * FRAME_BYTES)
        self.assertIsNone(ingest.next(0.0))
        ingest.on_ack(first_ack(batches=1, granted_bytes=8 * FRAME_BYTES), 0.0)
        self.assertEqual(ingest.next(0.0).payload, 5 * FRAME_BYTES)

    def test_small_items_wait_for_company_and_no_longer(self):
        ingest = self.opened(WriterOptions(linger_s=0.005))
        ingest.take(frames([0])[0])
        self.assertAlmostEqual(ingest.next(1.0), 0.005)
        ingest.take(frames([1])[0])
        self.assertAlmostEqual(ingest.next(1.003), 0.002)
        self.assertEqual(ingest.next(1.005).payload, 2 * FRAME_BYTES)

    def test_queue_is_bounded(self):
        ingest = self.opened(WriterOptions(queue_bytes=4 * FRAME_BYTES, linger_s=0.0,
                                           retain_bytes=2 * FRAME_BYTES))
        items = frames(range(12), block_bytes=FRAME_BYTES)
        taken = [ingest.take(item) for item in items[:5]]
        self.assertEqual(taken, [True] * 4 + [False])
        ingest.next(0.0)
        taken = [ingest.take(item) for item in items[4:7]]  # Beside what is kept.
        self.assertEqual(taken, [True, True, False])
        self.assertIn("the queue is full", str(ingest.full()))
        ingest.on_ack(first_ack(batches=1), 0.0)
        self.assertTrue(ingest.take(items[6]))

    def test_larger_than_the_queue_is_taken_alone(self):
        ingest = self.opened(WriterOptions(queue_bytes=FRAME_BYTES, linger_s=0.0))
        self.assertTrue(ingest.take(frames([0, 1])[0]))
        self.assertFalse(ingest.take(frames([2])[0]))

    def test_blocks_are_cut_to_what_the_server_takes(self):
        ingest = ingest_of(WriterOptions(linger_s=0.0))
        ingest.open()
        ingest.take(frames(range(64))[0])
        ingest.on_ack(first_ack(max_message_bytes=4096 + 16 * FRAME_BYTES), 0.0)
        payloads = []
        while ingest.next(0.0) is not None:
            payloads.append(ingest._payload)
        self.assertEqual(ingest._payload, 64 * FRAME_BYTES)
        self.assertLessEqual(max(np.diff([0, *payloads])), 16 * FRAME_BYTES)

    def test_frame_that_no_message_holds_ends_the_writer(self):
        ingest = ingest_of()
        ingest.open()
        ingest.take(frames([0])[0])
        ingest.on_ack(first_ack(max_message_bytes=4096 + FRAME_BYTES - 1), 0.0)
        self.assertTrue(ingest.stopped)
        self.assertIsNone(ingest.on_end(errors.Cancelled("by this side"), 0.0))
        self.assertIsInstance(ingest.error, errors.InvalidArgument)
        with self.assertRaises(errors.InvalidArgument):
            ingest.take(frames([1])[0])

    def test_named_writer_leaves_out_what_the_session_has(self):
        ingest = self.opened(WriterOptions(producer="eiger-1", linger_s=0.0), known_up_to=9,
                             missing=[ingest_pb2.IdRange(first=3, last=4)])
        for item in frames(range(12)):
            ingest.take(item)
        self.assertEqual(sent_by(ingest), [3, 4, 10, 11])
        self.assertEqual(ingest.report.known_items, 8)

    def test_known_frames_are_kept_until_they_are_on_disk(self):
        journal = dict(durability=session_pb2.DURABILITY_JOURNAL, known_up_to=3)
        ingest = self.opened(WriterOptions(producer="eiger-1", linger_s=0.0), durable_batches=-1,
                             **journal)
        ingest.take(frames(range(4))[0])
        self.assertEqual(sent_by(ingest), [])
        self.assertEqual((ingest.report.retained_items, ingest.report.known_items), (4, 4))
        # The server is killed, and has lost two of them.
        ingest.on_end(errors.Unavailable("killed"), 1.0)
        ingest.open()
        ingest.on_ack(first_ack(**journal, missing=[ingest_pb2.IdRange(first=1, last=2)],
                                durable_batches=-1), 2.0)
        self.assertEqual(sent_by(ingest), [1, 2])
        ingest.on_ack(first_ack(**journal, batches=1, durable_batches=0), 2.0)
        self.assertEqual(ingest.report.retained_items, 2)
        ingest.on_ack(first_ack(**journal, batches=1, durable_batches=1), 2.0)
        self.assertEqual(ingest.report.retained_items, 0)

    def test_only_what_is_missing_of_a_message_is_sent_again(self):
        ingest = self.opened()
        ingest.take(frames(range(6))[0])
        self.assertEqual(sent_by(ingest), list(range(6)))
        ingest.on_end(errors.Unavailable("broken"), 1.0)
        ingest.open()
        ingest.on_ack(first_ack(known_up_to=4, missing=[ingest_pb2.IdRange(first=1, last=2)]), 2.0)
        self.assertEqual(sent_by(ingest), [1, 2, 5])
        report = ingest.report
        self.assertEqual((report.sent_items, report.resent_items, report.known_items), (6, 3, 0))

    def test_credit_begins_anew_with_each_call(self):
        ingest = self.opened(granted_bytes=8 * FRAME_BYTES)
        for item in frames(range(8), block_bytes=FRAME_BYTES):
            ingest.take(item)
        self.assertEqual(len(sent_by(ingest)), 8)
        ingest.on_end(errors.Unavailable("broken"), 1.0)
        ingest.open()
        ingest.on_ack(first_ack(granted_bytes=3 * FRAME_BYTES), 2.0)
        self.assertEqual(sent_by(ingest), [0, 1, 2])

    def test_what_was_pushed_before_the_server_answers_is_sent_by_an_unnamed_writer(self):
        ingest = ingest_of(WriterOptions(linger_s=0.0))
        ingest.open()
        ingest.take(frames(range(4))[0])
        ingest.on_ack(first_ack(known_up_to=9), 0.0)
        self.assertEqual(sent_by(ingest), [0, 1, 2, 3])

    def test_stream_that_ends_before_all_was_acknowledged(self):
        ingest = self.opened()
        ingest.take(frames([0, 1])[0])
        ingest.close()
        self.assertEqual(sent_by(ingest, HALF_CLOSE), [0, 1])
        self.assertIsNone(ingest.on_end(None, 0.0))
        self.assertIsInstance(ingest.error, errors.FailedPrecondition)
        self.assertIn("2 frames were not acknowledged", ingest.error.message)

    def test_unnamed_writer_sends_all_the_first_time(self):
        ingest = self.opened(known_up_to=9)
        ingest.take(frames(range(4))[0])
        ingest.next(0.0)
        self.assertEqual((ingest.report.sent_items, ingest.report.known_items), (4, 0))

    def test_final_errors_are_not_tried_again(self):
        for error in (errors.NotFound("no session", reason="SESSION_NOT_FOUND"),
                      errors.Aborted("fenced", reason="PRODUCER_FENCED"),
                      errors.Cancelled("gone", reason="CLIENT_GONE"),
                      errors.FailedPrecondition("ended", reason="SESSION_ENDED")):
            ingest = ingest_of()
            ingest.take(frames([0, 1, 2])[0])
            ingest.open()
            self.assertIsNone(ingest.on_end(error, 0.0))
            self.assertIs(type(ingest.error), type(error))
            self.assertIn("3 frames were not acknowledged", ingest.error.message)
            self.assertEqual(ingest.error.reason, error.reason)

    def test_broken_transports_are_tried_again_for_a_time(self):
        for error in (errors.Unavailable("away"), errors.Internal("reset"),
                      errors.Unknown("transport"), errors.Cancelled("by a proxy"),
                      errors.DeadlineExceeded("slow", reason="FIRST_MESSAGE_TIMEOUT")):
            ingest = ingest_of(WriterOptions(give_up_after_s=60.0))
            ingest.open()
            self.assertGreater(ingest.on_end(error, 1.0), 0.04)
            ingest.open()
            self.assertIsNone(ingest.on_end(error, 61.0))
            self.assertIn("gave up after 61 s and 2 attempts", ingest.error.message)

    def test_pauses_grow_and_are_bounded(self):
        ingest = ingest_of(WriterOptions(retry_initial_s=0.1, retry_max_s=1.0))
        pauses = []
        for k in range(8):
            ingest.open()
            pauses.append(ingest.on_end(errors.Unavailable("away"), float(k)))
        for k, pause in enumerate(pauses):
            longest = min(0.1 * 2**k, 1.0)
            self.assertTrue(longest / 2 <= pause <= longest, pauses)

    def test_close_waits_for_the_disk(self):
        ingest = self.opened(durability=session_pb2.DURABILITY_JOURNAL)
        ingest.take(frames([0])[0])
        self.assertIsInstance(ingest.next(0.0), Message)
        journal = dict(durability=session_pb2.DURABILITY_JOURNAL, batches=1)
        ingest.on_ack(first_ack(**journal), 0.0)
        self.assertTrue(ingest.flushed)
        self.assertEqual(ingest.report.retained_items, 1)
        ingest.close()
        self.assertIs(ingest.next(0.0), HALF_CLOSE)
        # The server has ended the stream too early: the next one stays open until all is safe.
        self.assertIsNotNone(ingest.on_end(None, 0.0))
        ingest.open()
        ingest.on_ack(first_ack(durability=session_pb2.DURABILITY_JOURNAL, known_up_to=0,
                                durable_batches=-1), 1.0)
        self.assertIsNone(ingest.next(1.0))
        ingest.on_ack(first_ack(durability=session_pb2.DURABILITY_JOURNAL, durable_batches=0), 1.0)
        self.assertIs(ingest.next(1.0), HALF_CLOSE)
        self.assertIsNone(ingest.on_end(None, 1.0))
        self.assertIsNone(ingest.error)

    def test_lost_journal_lets_go_of_the_oldest_and_counts_it(self):
        ingest = self.opened(WriterOptions(linger_s=0.0, queue_bytes=8 * FRAME_BYTES,
                                           retain_bytes=2 * FRAME_BYTES))
        for item in frames(range(6), block_bytes=FRAME_BYTES):
            ingest.take(item)
            ingest.next(0.0)
        ingest.on_ack(first_ack(durability=session_pb2.DURABILITY_LOST, batches=6), 0.0)
        self.assertEqual(ingest.report.forgotten_items, 4)
        self.assertEqual(ingest.report.retained_items, 2)

    def test_session_that_ends_meanwhile_is_an_error(self):
        ingest = self.opened()
        ingest.take(frames([0])[0])
        ingest.on_ack(first_ack(state=session_pb2.SESSION_STATE_STOPPED), 0.0)
        self.assertIsNone(ingest.on_end(None, 0.0))
        self.assertIn("the session is stopped", ingest.error.message)
        with self.assertRaises(errors.FailedPrecondition):
            ingest.take(frames([1])[0])

    def test_session_that_ends_with_all_it_was_to_have_is_none(self):
        ingest = self.opened()
        ingest.take(frames([0])[0])
        ingest.next(0.0)
        ingest.on_ack(first_ack(batches=1), 0.0)
        ended = errors.FailedPrecondition("ended", reason="SESSION_ENDED")
        self.assertIsNone(ingest.on_end(ended, 0.0))
        with self.assertRaises(errors.FailedPrecondition):
            ingest.take(frames([1])[0])
        self.assertTrue(ingest.flushed)
        ingest.close()
        self.assertIsNone(ingest.error)

    def test_callbacks_hear_of_breaks_once(self):
        heard = []
        ingest = ingest_of(WriterOptions(
            on_connection=lambda connected, why: heard.append((connected, type(why).__name__))))
        for _ in range(3):
            ingest.open()
            ingest.on_end(errors.Unavailable("away"), 0.0)
        ingest.open()
        ingest.on_ack(first_ack(), 0.0)
        ingest.on_end(errors.NotFound("gone"), 0.0)
        self.assertEqual(heard, [(False, "Unavailable"), (True, "NoneType"), (False, "NotFound")])

    def test_push_after_close_is_refused(self):
        ingest = self.opened()
        ingest.close()
        with self.assertRaises(errors.FailedPrecondition):
            ingest.take(frames([0])[0])

    def test_positions_and_encoder_samples_on_the_wire(self):
        ingest = ingest_of(WriterOptions(linger_s=0.0), kind=Positions)
        ingest.open()
        ingest.on_ack(first_ack(), 0.0)
        for item in _input.positions([4, 5, 9], [1.0, 2.0, 3.0], [-1.0, -2.0, -3.0], 1 << 20):
            ingest.take(item)
        for item in _input.encoder_samples(640, [7.0, 8.0], [9.0, 10.0], 1 << 20):
            ingest.take(item)
        positions = ingest_pb2.StreamPositionsRequest.FromString(ingest.next(0.0).join()).batch
        self.assertEqual(list(positions.frame_ids), [4, 5, 9])
        self.assertEqual((list(positions.x_m), list(positions.y_m)),
                         ([1.0, 2.0, 3.0], [-1.0, -2.0, -3.0]))
        message = ingest.next(0.0)
        self.assertEqual(message.payload, 32)
        samples = ingest_pb2.StreamPositionsRequest.FromString(message.join()).encoder_samples
        self.assertEqual(samples, ingest_pb2.EncoderSamples(
            first_sample=640, x_counts=[7, 8], y_counts=[9, 10]))

    def test_encoder_samples_share_a_message_while_they_follow_each_other(self):
        ingest = ingest_of(WriterOptions(linger_s=0.0), kind=Positions)
        ingest.open()
        ingest.on_ack(first_ack(), 0.0)
        for first, x_counts in ((5, [1.0, 2.0]), (7, [3.0]), (9, [4.0])):  # 8 was lost.
            for item in _input.encoder_samples(first, x_counts, x_counts, 1 << 20):
                ingest.take(item)
        for first, x_counts in ((5, [1, 2, 3]), (9, [4])):
            request = ingest_pb2.StreamPositionsRequest.FromString(ingest.next(0.0).join())
            self.assertEqual(request.encoder_samples, ingest_pb2.EncoderSamples(
                first_sample=first, x_counts=x_counts, y_counts=x_counts))

    def test_encoded_frames_on_the_wire(self):
        form = FORMAT._replace(encoding=ingest_pb2.ENCODING_LZ4)
        ingest = self.opened()
        for item in _input.encoded_frames(form, 5, [b"abc", b"defgh"], 4):
            ingest.take(item)
        batch = ingest_pb2.StreamFramesRequest.FromString(ingest.next(0.0).join()).batch
        self.assertEqual(batch, ingest_pb2.FrameBatch(
            first_frame_id=5, count=2, dtype=config_pb2.DATA_TYPE_U16, rows=8, cols=8,
            encoding=ingest_pb2.ENCODING_LZ4, encoded_sizes=[3, 5], data=b"abcdefgh"))

    def test_large_blocks_of_encoded_frames_are_kept_as_one_message(self):
        form = FORMAT._replace(encoding=ingest_pb2.ENCODING_BSLZ4)
        frames = [bytearray([k]) * 100_000 for k in range(12)]
        expected = [bytes(frame) for frame in frames]
        item, = _input.encoded_frames(form, 5, frames, 2 << 20)
        item.own()
        for frame in frames:  # They belong to the caller again.
            frame[:] = bytes(len(frame))
        for part, where in ((item, slice(0, 12)), (item.part(slice(3, 5)), slice(3, 5))):
            message = type(part).message([part])
            batch = ingest_pb2.StreamFramesRequest.FromString(message.join()).batch
            self.assertEqual((batch.first_frame_id, batch.count, list(batch.encoded_sizes)),
                             (5 + where.start, part.count, [100_000] * part.count))
            self.assertEqual(batch.data, b"".join(expected[where]))
            self.assertEqual(message.payload, len(batch.data))

    def test_pushed_arrays_are_copied_unless_told_not_to(self):
        for copy, expected in ((True, 0), (False, 9)):
            ingest = self.opened()
            array = np.zeros((1, 8, 8), "<u2")
            for item in _input.frames(FORMAT, 0, array, 1 << 20):
                ingest.take(item, copy)
            array[:] = 9
            batch = ingest_pb2.StreamFramesRequest.FromString(ingest.next(0.0).join()).batch
            self.assertEqual(np.frombuffer(batch.data, "<u2").max(), expected)


    def test_large_blocks_are_copied_once(self):
        form = FrameFormat(np.dtype("<u2"), 256, 256, config_pb2.DATA_TYPE_U16)
        array = np.random.default_rng(1).integers(0, 60000, (9, 256, 256), dtype="<u2")
        (item,) = _input.frames(form, 5, array, 2 << 20)
        item.own()
        message = Frames.message([item])
        self.assertIs(message.join(), message.join())
        plain = Frames.message([Frames(form, item.ids, array)])
        self.assertEqual(message.payload, plain.payload)
        self.assertEqual(message.join(), plain.join())
        part = Frames.message([item.part(slice(2, 4))])
        self.assertEqual(part.join(), Frames.message([Frames(form, item.ids[2:4],
                                                             array[2:4])]).join())
        array[:] = 0
        self.assertNotEqual(message.join(), Frames.message([Frames(form, item.ids, array)]).join())


class KnownIdsTest(unittest.TestCase):

    def test_against_a_plain_set(self):
        rng = random.Random(5)
        for _ in range(300):
            ranges = [(a, a + rng.randrange(-1, 6)) for a in
                      (rng.randrange(40) for _ in range(rng.randrange(6)))]
            up_to = rng.randrange(-1, 40)
            known = KnownIds(first_ack(known_up_to=up_to, missing=[
                ingest_pb2.IdRange(first=a, last=b) for a, b in ranges]))
            missing = {k for a, b in ranges for k in range(a, b + 1)}
            has = {k for k in range(50) if k <= up_to and k not in missing}
            ids = np.arange(50)
            self.assertEqual(set(ids[known.mask(ids)].tolist()), has)
            first = rng.randrange(45)
            last = first + rng.randrange(5)
            self.assertEqual(bool(known.contains(np.array([first]), np.array([last]))[0]),
                             set(range(first, last + 1)) <= has)

    def test_nothing_from_a_server_that_is_too_old_to_tell(self):
        known = KnownIds(first_ack(known_up_to=5, durability=session_pb2.DURABILITY_UNSPECIFIED))
        self.assertFalse(known.mask(np.arange(10)).any())


class InputTest(unittest.TestCase):

    def refused(self, field, function, *arguments):
        with self.assertRaises(errors.InvalidArgument) as caught:
            list(function(*arguments))
        self.assertEqual(caught.exception.field, field)
        self.assertIsInstance(caught.exception, ValueError)
        return caught.exception

    def test_frames_of_the_wrong_type_or_shape(self):
        error = self.refused("frames", _input.frames, FORMAT, 0, np.zeros((8, 8)), 1 << 20)
        self.assertEqual(error.hint, "frames.astype('uint16'), or another detector.dtype")
        error = self.refused("frames", _input.frames, FORMAT, 0, np.zeros((8, 9), "u2"), 1 << 20)
        self.assertEqual(error.value, "of shape (8, 9)")
        self.refused("frames", _input.frames, FORMAT, 0, np.zeros(8, "u2"), 1 << 20)

    def test_ids_that_do_not_fit(self):
        frame = np.zeros((2, 8, 8), "u2")
        self.refused("frame_ids", _input.frames, FORMAT, [1, 2, 3], frame, 1 << 20)
        self.refused("frame_ids", _input.frames, FORMAT, 1.5, frame, 1 << 20)

    def test_positions_of_unequal_length(self):
        self.refused("x_m, y_m", _input.positions, 0, [1.0, 2.0], [1.0], 1 << 20)

    def test_positions_that_are_no_numbers(self):
        for wrong in ("a", [1.0, "b"], {}):
            self.refused("x_m, y_m", _input.positions, 0, wrong, 1.0, 1 << 20)

    def test_counts_below_one(self):
        self.refused("count", _input.skipped, 0, 0)
        self.refused("first_sample", _input.encoder_samples, -1, [0.0], [0.0], 1 << 20)

    def test_arrays_of_the_other_byte_order_and_of_any_layout(self):
        array = np.arange(128, dtype=">u2").reshape(2, 8, 8).transpose(0, 2, 1)
        items = list(_input.frames(FORMAT, 0, array, 1 << 20))
        batch = ingest_pb2.StreamFramesRequest.FromString(Frames.message(items).join()).batch
        np.testing.assert_array_equal(np.frombuffer(batch.data, "<u2").reshape(2, 8, 8), array)

    def test_large_skips_are_cut(self):
        items = list(_input.skipped(5, (1 << 20) + 3))
        self.assertEqual([item.count for item in items], [1 << 20, 3])


if __name__ == "__main__":
    support.main()
