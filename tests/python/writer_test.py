#!/usr/bin/env python3
"""The writers, blocking and asyncio, over gRPC to a service in this process that breaks
connections, repeats acknowledgements and dies.
"""

import asyncio
import threading
import unittest

import support
import grpc
import grpc.aio
import numpy as np
from fake_service import Chaos, FakeService
from ptychoserve import aio, errors, writers
from ptychoserve._batching import FrameFormat
from ptychoserve._connection import Connection
from ptychoserve.credentials import Credentials
from ptychoserve.options import ClientOptions, WriterOptions
from ptychoserve.v1 import config_pb2

FORMAT = FrameFormat(np.dtype("<u2"), 8, 8, config_pb2.DATA_TYPE_U16)
COUNT = 400
FRAMES = np.random.default_rng(3).integers(0, 60000, (COUNT, 8, 8), dtype="<u2")
BLOCKS = [(0, 1), (1, 2), (2, 9), (9, 40), (40, 41), (41, 200), (200, COUNT)]
QUICK = dict(retry_initial_s=0.002, retry_max_s=0.01, message_bytes=1024, linger_s=0.001,
             queue_bytes=4096, retain_bytes=4096)


def channel_of(module, address):
    return lambda: Connection(module, address, ClientOptions(), Credentials().completed({}), (5, 5))


class WriterCase(unittest.TestCase):

    def service(self, **arguments):
        service = FakeService(**arguments)
        self.addCleanup(service.stop)
        return service

    def check_scan(self, service, report):
        self.assertEqual(sorted(service.session.has), list(range(COUNT)))
        for k in range(COUNT):
            self.assertEqual(service.session.has[k], FRAMES[k].tobytes())
        self.assertEqual(service.session.duplicates, 0)
        self.assertEqual(report.items, COUNT)
        self.assertEqual(report.sent_items + report.known_items, COUNT)
        self.assertEqual((report.unacknowledged_items, report.retained_items), (0, 0))
        self.assertEqual(report.counters.accepted, COUNT)


class FrameWriterTest(WriterCase):

    def writer(self, service, **options):
        writer = writers.FrameWriter(channel_of(grpc, service.address), "sessions/s", FORMAT,
                                     WriterOptions(**{**QUICK, **options}))
        self.addCleanup(writer.cancel)
        return writer

    def test_breaks_and_kills(self):
        broken = 0
        for seed in range(12):
            for journal in (False, True):
                with self.subTest(seed=seed, journal=journal):
                    service = self.service(journal=journal, chaos=Chaos(seed, journal, breaks=12))
                    writer = self.writer(service)
                    for begin, end in BLOCKS:
                        writer.push(begin, FRAMES[begin:end])
                    report = writer.close()
                    self.check_scan(service, report)
                    broken += report.reconnects
        self.assertGreater(broken, 100)

    def test_a_named_writer_begins_again_after_its_process(self):
        service = self.service(journal=True)
        first = self.writer(service, producer="eiger-1")
        first.push(0, FRAMES[:250])
        first.flush()
        first.cancel()
        second = self.writer(service, producer="eiger-1")
        second.flush()  # Has connected: what is pushed from here on is compared at once.
        second.push(0, FRAMES)
        report = second.close()
        self.check_scan(service, report)
        self.assertEqual(report.known_items, 250)

    def test_a_later_writer_of_the_name_ends_the_first(self):
        service = self.service(journal=False)
        first = self.writer(service, producer="eiger-1")
        first.push(0, FRAMES[:3])
        first.flush()
        second = self.writer(service, producer="eiger-1")
        second.push(3, FRAMES[3])
        second.flush()
        with self.assertRaises(errors.Aborted):
            first.push(4, FRAMES[4])
            first.flush()
        self.assertIn("1 frames were not acknowledged", str(first.error))

    def test_push_waits_for_room_and_says_when_there_is_none(self):
        service = self.service(journal=False, answers=False)
        writer = self.writer(service, queue_bytes=1024)
        writer.push(0, FRAMES[:8])
        with self.assertRaises(errors.ResourceExhausted) as caught:
            writer.push(8, FRAMES[8], timeout_s=0)
        self.assertEqual(caught.exception.reason, "QUEUE_FULL")
        with self.assertRaises(errors.DeadlineExceeded):
            writer.close(timeout_s=0.05)
        self.assertIn("8 frames were not acknowledged", str(writer.error))

    def test_server_that_never_answers(self):
        service = self.service(journal=False, answers=False)
        heard = []
        writer = self.writer(service, open_timeout_s=0.02,
                             on_connection=lambda up, why: heard.append(str(why)))
        writer.push(0, FRAMES[0])
        service.wait_until_opened(3)
        writer.cancel()
        self.assertEqual(heard, ["the server has not answered within 0.02 s"])

    def test_no_server(self):
        service = FakeService(journal=False)
        service.stop()
        heard = []
        writer = self.writer(service, give_up_after_s=0.1,
                             on_connection=lambda up, why: heard.append((up, type(why))))
        writer.push(0, FRAMES[0])
        with self.assertRaises(errors.Unavailable):
            writer.close()
        with self.assertRaises(errors.Unavailable):
            writer.push(1, FRAMES[1])
        self.assertEqual(set(heard), {(False, errors.Unavailable)})

    def test_cancel_wakes_a_push_that_waits(self):
        service = self.service(journal=False, answers=False)
        writer = self.writer(service, queue_bytes=128)
        writer.push(0, FRAMES[0])
        caught = []

        def push():
            try:
                writer.push(1, FRAMES[1])
            except errors.Cancelled as error:
                caught.append(error)

        thread = threading.Thread(target=push)
        thread.start()
        writer.cancel()
        thread.join()
        self.assertEqual(len(caught), 1)

    def test_with_closes_or_cancels(self):
        service = self.service(journal=True)
        with self.writer(service) as writer:
            writer.push(0, FRAMES)
        self.check_scan(service, writer.report)
        with self.assertRaises(ZeroDivisionError):
            with self.writer(self.service(journal=True, answers=False)) as writer:
                writer.push(0, FRAMES[0])
                raise ZeroDivisionError
        self.assertIsInstance(writer.error, errors.Cancelled)

    def test_a_callback_that_fails_ends_the_writer(self):
        service = self.service(journal=False)
        writer = self.writer(service, on_ack=lambda ack: 1 / 0)
        with self.assertRaises(errors.Unknown) as caught:
            writer.flush()
        self.assertIn("ZeroDivisionError", str(caught.exception))

    def test_positions(self):
        service = self.service(journal=True, chaos=Chaos(1, True, breaks=5))
        writer = writers.PositionWriter(channel_of(grpc, service.address), "sessions/s",
                                        WriterOptions(**QUICK))
        for k in range(50):
            writer.push(k, x_m=k * 1e-6, y_m=-k * 1e-6)
        writer.push(range(50, 300), x_m=np.arange(50, 300) * 1e-6, y_m=np.zeros(250))
        report = writer.close()
        self.assertEqual(report.items, 300)
        self.assertEqual(service.session.has[7], (7 * 1e-6, -7 * 1e-6))
        self.assertEqual(sorted(service.session.has), list(range(300)))


class AsyncWriterTest(WriterCase):

    def run_with(self, scenario, service, **options):
        """Runs `scenario` with a writer on a loop of its own; what it returns."""
        async def main():
            writer = aio.FrameWriter(channel_of(grpc.aio, service.address), "sessions/s", FORMAT,
                                     WriterOptions(**{**QUICK, **options}))
            try:
                return await scenario(writer)
            finally:
                await writer.cancel()
        return asyncio.run(main())

    def test_breaks_and_kills(self):
        async def push_all(writer):
            for begin, end in BLOCKS:
                await writer.push(begin, FRAMES[begin:end])
            return await writer.close()

        broken = 0
        for seed in range(12):
            for journal in (False, True):
                with self.subTest(seed=seed, journal=journal):
                    service = self.service(journal=journal, chaos=Chaos(seed, journal, breaks=12))
                    report = self.run_with(push_all, service)
                    self.check_scan(service, report)
                    broken += report.reconnects
        self.assertGreater(broken, 100)

    def test_push_waits_for_room_and_says_when_there_is_none(self):
        async def scenario(writer):
            await writer.push(0, FRAMES[:8])
            with self.assertRaises(errors.ResourceExhausted):
                await writer.push(8, FRAMES[8], timeout_s=0.01)
            with self.assertRaises(errors.DeadlineExceeded):
                await writer.flush(timeout_s=0.01)
            with self.assertRaises(errors.DeadlineExceeded):
                await writer.close(timeout_s=0.01)
            self.assertIsInstance(writer.error, errors.DeadlineExceeded)

        self.run_with(scenario, self.service(journal=False, answers=False), queue_bytes=1024)

    def test_server_that_never_answers(self):
        service = self.service(journal=False, answers=False)
        heard = []

        async def scenario(writer):
            await writer.push(0, FRAMES[0])
            await asyncio.to_thread(service.wait_until_opened, 3)

        self.run_with(scenario, service, open_timeout_s=0.02,
                      on_connection=lambda up, why: heard.append(str(why)))
        self.assertEqual(heard, ["the server has not answered within 0.02 s"])

    def test_a_later_writer_of_the_name_ends_the_first(self):
        async def scenario(first):
            await first.push(0, FRAMES[:3])
            await first.flush()
            second = aio.FrameWriter(first._connect, "sessions/s", FORMAT,
                                     WriterOptions(producer="eiger-1", **QUICK))
            async with second:
                await second.push(3, FRAMES[3])
            with self.assertRaises(errors.Aborted):
                await first.push(4, FRAMES[4])
                await first.flush()

        self.run_with(scenario, self.service(journal=False), producer="eiger-1")


if __name__ == "__main__":
    support.main()
