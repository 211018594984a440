#!/usr/bin/env python3
"""Documents of a RunEngine, to a reconstruction: as a beamline sends them, in any valid order."""

import copy
import itertools
import logging
import pathlib
import random
import threading
from unittest import mock

import support
import h5py
import harness
import numpy as np
import pages
import ptychoserve
from ptychoserve.bluesky import Consumer
from ptychoserve.bluesky.documents import metres_per_unit
from ptychoserve.errors import DataLoss, DeadlineExceeded, InvalidArgument, ResourceExhausted
from scan_files import Parts

harness.BUILD = support.BUILD
MOST_R = 0.075  # The noise of the scan is 0.063.
KEYS = {"frames": "eiger_image", "x": "piezo_x", "y": "piezo_y"}
SCALE = 1e6  # Of the micrometres that the motors say.


def start_document(uid, **metadata):
    return "start", {"uid": uid, "time": 1.7e9, "scan_id": 42, "plan_name": "grid_scan", **metadata}


def descriptor_document(run, shape=(1, 64, 64), dtype_numpy="<u2", units="um", uid="", **extra):
    keys = {"eiger_image": {"dtype": "array", "shape": list(shape), "source": "PV:IMAGE"},
            "piezo_x": {"dtype": "number", "shape": [], "source": "PV:X", "units": units},
            "piezo_y": {"dtype": "number", "shape": [], "source": "PV:Y", "units": units}, **extra}
    if dtype_numpy:
        keys["eiger_image"]["dtype_numpy"] = dtype_numpy
    return "descriptor", {"uid": uid or f"{run}-primary", "run_start": run, "name": "primary",
                          "time": 1.7e9, "data_keys": keys, "configuration": {}}


def stop_document(run, count, **extra):
    return "stop", {"uid": f"{run}-stop", "run_start": run, "time": 1.7e9,
                    "exit_status": "success", "num_events": {"primary": count}, **extra}


def event_document(run, number, data):
    return "event", {"uid": f"{run}-{number}", "descriptor": f"{run}-primary", "seq_num": number,
                     "time": 1.7e9, "data": data, "timestamps": {key: 1.7e9 for key in data},
                     "filled": {}}


def page_document(run, numbers, data):
    return "event_page", {"uid": [f"{run}-{n}" for n in numbers], "descriptor": f"{run}-primary",
                          "seq_num": list(numbers), "time": [1.7e9] * len(numbers), "data": data,
                          "timestamps": {key: [1.7e9] * len(numbers) for key in data},
                          "filled": {}}


class BlueskyCase(harness.EndToEndTest):

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        logging.getLogger("ptychoserve.bluesky").addHandler(logging.NullHandler())
        cls.client = ptychoserve.Client(cls.server.address)
        cls.addClassCleanup(cls.client.close)
        parts = Parts(cls.scan)
        cls.frames, cls.x_m, cls.y_m = parts.frames, parts.x_m, parts.y_m
        cls.wavelength_m = parts.wavelength_m
        # The documents say the rest.
        cls.settings = {
            "optics": {"distance_m": parts.distance_m, "detector_pixel_size_y_m": parts.pixel_m},
            "scan": {"bounds": parts.settings["scan"]["bounds"]},
            "probe": {"initial": parts.probe}, "run": {"it_ends_after": 30}}
        cls.uids = (f"{k:08x}-0000-4000-8000-000000000000" for k in itertools.count(1))

    def consumer(self, **options):
        arguments = {**KEYS, "settings": self.settings, "prefix": "bs",
                     "from_start": {"optics.wavelength_m": "beam.wavelength_m"}, **options}
        consumer = Consumer(self.client, **arguments)
        self.addCleanup(consumer.close)
        return consumer

    def start(self, **metadata):
        uid = next(self.uids)
        return uid, start_document(uid, beam={"wavelength_m": self.wavelength_m},
                                   **{"num_points": len(self.frames), **metadata})

    def data(self, k):
        return {"eiger_image": self.frames[k], "piezo_x": self.x_m[k] * SCALE,
                "piezo_y": self.y_m[k] * SCALE}

    def whole_run(self, **metadata):
        uid, start = self.start(**metadata)
        return uid, [start, descriptor_document(uid),
                     *(event_document(uid, k + 1, self.data(k)) for k in range(len(self.frames))),
                     stop_document(uid, len(self.frames))]

    def send(self, consumer, documents):
        for document in documents:
            consumer(*document)

    def check_result(self, consumer, uid):
        """The session has all of the scan, joined as it was measured, and as good as it gets."""
        run = consumer.runs[uid]
        self.assertEqual(run.errors, [])
        self.assertEqual((run.frames, run.positions, run.lost), (100, 100, 0))
        result = self.client.session(run.session_id).result(harness.DEADLINE_S)
        self.assertEqual(result.session.joined_points, 100)
        self.assertEqual(list(result.session.warnings), [])
        points = result.snapshot.points
        ids = points[:, 0].astype(int)
        judged = harness.r_factor(result.object, result.probe, points[:, 1:3], self.frames[ids])
        self.assertLess(judged, MOST_R)
        return result


class RunTest(BlueskyCase):

    def test_arrays_in_events_to_a_result(self):
        consumer = self.consumer()
        uid, documents = self.whole_run()
        self.send(consumer, documents)
        consumer.wait(harness.DEADLINE_S)
        run = consumer.runs[uid]
        self.assertEqual(run.session_id, f"bs-42-{uid[:8]}")
        self.assertEqual(run.exit_status, "success")
        result = self.check_result(consumer, uid)
        self.assertAlmostEqual(result.config.optics.wavelength_m, self.wavelength_m)
        other = self.json("run", self.scan, "--probe",
                          f"{self.scan}:{harness.PROBE}", "--iterations", "30", "--quiet")
        self.assertAlmostEqual(result.session.final_fit.r_factor,
                               other["final_fit"]["r_factor"], delta=2e-3)
        self.assertEqual(result.config.scan.expected_points, 100)

    def test_streams_in_hdf5_files(self):
        """A fly scan: frames and encoder in files; stream_datum documents tell the rows."""
        for name, keys in (("frames", {"/entry/data/data": self.frames}),
                           ("panda", {"/x": self.x_m * SCALE, "/y": self.y_m * SCALE})):
            with h5py.File(self.path(f"{name}.h5"), "w") as file:
                for dataset, values in keys.items():
                    file[dataset] = values
        uid, start = self.start()
        documents = [start, descriptor_document(uid)]
        for key, name, dataset in (("eiger_image", "frames", "/entry/data/data"),
                                   ("piezo_x", "panda", "/x"), ("piezo_y", "panda", "/y")):
            documents.append(("stream_resource", {
                "uid": f"{uid}-{key}", "run_start": uid, "data_key": key,
                "mimetype": "application/x-hdf5", "uri": f"file://localhost/ioc/{name}.h5",
                "parameters": {"dataset": dataset, "swmr": True, "chunk_shape": [1, 64, 64]}}))
            for first, stop in ((0, 37), (37, 38), (38, 100)):
                documents.append(("stream_datum", {
                    "uid": f"{uid}-{key}/{first}", "stream_resource": f"{uid}-{key}",
                    "descriptor": f"{uid}-primary", "indices": {"start": first, "stop": stop},
                    "seq_nums": {"start": first + 1, "stop": stop + 1}}))
        consumer = self.consumer(root_map={"/ioc": self._folder.name})
        with mock.patch("ptychoserve.bluesky.run.BLOCK_BYTES", 7 * 4 * 64 * 64):
            self.send(consumer, [*documents, stop_document(uid, 100)])
            consumer.wait(harness.DEADLINE_S)
        self.check_result(consumer, uid)

    def test_datums_of_area_detector(self):
        with h5py.File(self.path("ad.h5"), "w") as file:
            file["/entry/data/data"] = self.frames
        uid, start = self.start()
        page = {"datum_id": [f"{uid}/{k}" for k in range(50, 100)], "resource": f"{uid}-r",
                "datum_kwargs": {"point_number": list(range(50, 100))}}
        documents = [start, descriptor_document(uid), ("resource", {
            "uid": f"{uid}-r", "spec": "AD_HDF5", "root": "/", "path_semantics": "posix",
            "resource_path": self.path("ad.h5").lstrip("/"),
            "resource_kwargs": {"frame_per_point": 1}}),
            ("resource", {"uid": f"{uid}-other", "spec": "A_CAMERA", "root": "/",
                          "resource_path": "tiff", "resource_kwargs": {}}),
            ("datum_page", page)]
        for k in range(100):
            if k < 50:
                documents.append(("datum", {"datum_id": f"{uid}/{k}", "resource": f"{uid}-r",
                                            "datum_kwargs": {"point_number": k}}))
            documents.append(event_document(uid, k + 1,
                                            {**self.data(k), "eiger_image": f"{uid}/{k}"}))
        consumer = self.consumer()
        self.send(consumer, [*documents, stop_document(uid, 100)])
        consumer.wait(harness.DEADLINE_S)
        self.check_result(consumer, uid)

    def test_a_file_that_is_written_meanwhile(self):
        uid, start = self.start(num_points=0)
        path = self.path("late.h5")
        consumer = self.consumer()
        self.send(consumer, [start, descriptor_document(uid), (
            "stream_resource", {"uid": f"{uid}-s", "run_start": uid, "data_key": "eiger_image",
                                "mimetype": "application/x-hdf5", "uri": f"file://{path}",
                                "parameters": {"dataset": "/frames"}}),
            ("stream_datum", {"uid": f"{uid}-s/0", "stream_resource": f"{uid}-s",
                              "descriptor": f"{uid}-primary", "indices": {"start": 0, "stop": 3},
                              "seq_nums": {"start": 0, "stop": 0}}), stop_document(uid, 3)])
        with self.assertRaises(DeadlineExceeded):
            consumer.wait(0.3)
        with h5py.File(self.path("late.tmp"), "w") as file:
            file["/frames"] = self.frames[:3]
        pathlib.Path(self.path("late.tmp")).rename(path)
        consumer.wait(harness.DEADLINE_S)
        self.assertEqual(consumer.errors, [])
        self.assertEqual(consumer.runs[uid].frames, 3)

    def test_any_valid_interleaving_joins_the_same(self):
        """Events or pages, keys apart or together, two runs mixed: the same points."""
        for seed in range(8):
            with self.subTest(seed=seed):
                random_ = random.Random(seed)
                consumer = self.consumer()
                runs = [self.start(num_points=0) for _ in range(2)]
                queues = [self.shuffled(random_, uid, start) for uid, start in runs]
                while any(queues):
                    consumer(*random_.choice([queue for queue in queues if queue]).pop(0))
                consumer.wait(harness.DEADLINE_S)
                self.assertEqual(consumer.errors, [])
                for uid, _ in runs:
                    session = self.client.session(consumer.runs[uid].session_id)
                    self.assertEqual(session.info.joined_points, 20)
                    session.wait(harness.DEADLINE_S)
                    points = session.snapshot("points").points
                    by_id = points[np.argsort(points[:, 0])]
                    np.testing.assert_array_equal(by_id[:, 0], np.arange(20))
                    pitch = session.info.pixel_size_y_m, session.info.pixel_size_x_m
                    measured = np.stack([self.y_m[:20] / pitch[0], self.x_m[:20] / pitch[1]], 1)
                    apart = by_id[:, 1:3] - measured
                    np.testing.assert_allclose(apart, np.broadcast_to(apart[0], apart.shape),
                                               atol=1e-3)

    def shuffled(self, random_, uid, start):
        """The documents of 20 points in an order that the event model allows."""
        parts = []
        todo = [(k, keys) for k in range(20)
                for keys in (random_.choice([(("eiger_image", "piezo_x", "piezo_y"),),
                                             (("eiger_image",), ("piezo_x", "piezo_y")),
                                             (("piezo_y", "eiger_image"), ("piezo_x",))]))]
        random_.shuffle(todo)
        while todo:
            _, keys = todo[0]
            page = [entry for entry in todo if entry[1] == keys][:random_.randint(1, 5)]
            todo = [entry for entry in todo if entry not in page]
            numbers = [k for k, _ in page]
            if len(page) == 1 and random_.random() < 0.7:
                data = self.data(numbers[0])
                parts.append(event_document(uid, numbers[0] + 1, {key: data[key] for key in keys}))
            else:
                parts.append(page_document(uid, [k + 1 for k in numbers], {
                    key: [self.data(k)[key] for k in numbers] for key in keys}))
        return [start, descriptor_document(uid), *parts, stop_document(uid, 20)]

    def test_an_aborted_run_stops_its_session(self):
        consumer = self.consumer()
        uid, documents = self.whole_run()
        self.send(consumer, documents[:40])
        consumer(*stop_document(uid, 38, exit_status="abort", reason="shutter closed"))
        consumer.wait(harness.DEADLINE_S)
        run = consumer.runs[uid]
        self.assertEqual((run.exit_status, run.reason, run.frames), ("abort", "shutter closed", 38))
        session = self.client.session(run.session_id).wait(harness.DEADLINE_S)
        self.assertEqual(session.state, "stopped")
        self.assertEqual(session.info.frames.accepted, 38)

    def test_a_consumer_that_is_closed_in_the_middle(self):
        uid, documents = self.whole_run()
        with self.consumer() as consumer:
            self.send(consumer, documents[:10])
        run = consumer.runs[uid]
        self.assertIn("before the run has ended", run.reason)
        self.assertEqual(self.client.session(run.session_id).wait(30).state, "stopped")
        consumer(*documents[10])
        self.assertEqual(consumer.error_count, 1)

    def test_a_second_consumer_goes_on_with_a_run(self):
        """As after a process that died: the documents once more, from the start."""
        first, second = self.consumer(), self.consumer()
        uid, documents = self.whole_run()
        self.send(first, documents[:50])
        first.wait(harness.DEADLINE_S)
        self.send(second, documents)
        second.wait(harness.DEADLINE_S)
        result = self.check_result(second, uid)
        self.assertEqual(first.runs[uid].session_id, second.runs[uid].session_id)
        self.assertEqual(result.session.frames.accepted, 100)

    def test_points_that_are_measured_again_after_a_pause(self):
        consumer = self.consumer()
        uid, documents = self.whole_run()
        again = [event_document(uid, k + 1, {**self.data(k), "eiger_image": self.frames[0]})
                 for k in range(40, 45)]
        self.send(consumer, [*documents[:47], *again, *documents[47:]])
        consumer.wait(harness.DEADLINE_S)
        self.assertEqual(consumer.errors, [])
        session = self.client.session(consumer.runs[uid].session_id).wait(harness.DEADLINE_S)
        self.assertEqual((session.info.joined_points, session.info.frames.accepted), (100, 100))
        result = session.result()
        ids = result.snapshot.points[:, 0].astype(int)
        self.assertLess(harness.r_factor(result.object, result.probe,
                                         result.snapshot.points[:, 1:3], self.frames[ids]), MOST_R)

    def test_runs_without_frames_are_let_pass(self):
        consumer = self.consumer()
        uid, start = self.start()
        _, descriptor = descriptor_document(uid)
        del descriptor["data_keys"]["eiger_image"]
        self.send(consumer, [start, ("descriptor", descriptor),
                             event_document(uid, 1, {"piezo_x": 1.0}), stop_document(uid, 1)])
        consumer.wait(harness.DEADLINE_S)
        self.assertEqual(consumer.errors, [])
        self.assertEqual(consumer.runs[uid].session_id, "")

    def test_what_does_not_fit_the_queue_is_dropped_and_counted(self):
        """The RunEngine is never held up: not by a server that takes nothing."""
        consumer = self.consumer(queue_bytes=5 * self.frames[0].nbytes)
        uid, documents = self.whole_run()
        gate = threading.Event()
        create = self.client.create_session

        def held(*arguments, **settings):
            gate.wait(harness.DEADLINE_S)
            return create(*arguments, **settings)

        self.client.create_session = held
        self.addCleanup(delattr, self.client, "create_session")
        self.send(consumer, documents)  # Returns although nothing is taken.
        gate.set()
        consumer.wait(harness.DEADLINE_S)
        run = consumer.runs[uid]
        self.assertGreater(run.lost, 0)
        self.assertEqual(run.frames + run.lost, 100)
        self.assertEqual(consumer.error_count, run.lost)
        self.assertIsInstance(consumer.errors[0], ResourceExhausted)
        session = self.client.session(run.session_id).wait(harness.DEADLINE_S)
        self.assertEqual(session.info.frames.skipped, run.lost)


STAND_IN = """
from bluesky_documents import run_documents


class RE:
    def __init__(self):
        self._callbacks = []

    def subscribe(self, callback):
        self._callbacks.append(callback)

    def __call__(self, plan, **metadata):
        for name, document in plan:
            if name == "start":
                document = {**document, **metadata}
            for callback in self._callbacks:
                callback(name, document)


RE, plan = RE(), run_documents
"""
DOCUMENTS = """
from fake_detector import FakeDetector


def run_documents():
    detector = FakeDetector()
    keys = {"eiger_image": {"dtype": "array", "shape": [1, 64, 64], "source": "made up"},
            "piezo_x": {"dtype": "number", "shape": [], "source": "made up", "units": "um"},
            "piezo_y": {"dtype": "number", "shape": [], "source": "made up", "units": "um"}}
    yield "start", {"uid": "9f0c2b1e-0", "time": 0.0, "scan_id": 42, "num_points": len(detector)}
    yield "descriptor", {"uid": "d", "run_start": "9f0c2b1e-0", "name": "primary", "time": 0.0,
                         "data_keys": keys}
    for k, frame, x_m, y_m in detector:
        yield "event", {"uid": f"e{k}", "descriptor": "d", "seq_num": k + 1, "time": 0.0,
                        "data": {"eiger_image": frame, "piezo_x": 1e6 * x_m, "piezo_y": 1e6 * y_m},
                        "timestamps": {}}
    yield "stop", {"uid": "s", "run_start": "9f0c2b1e-0", "time": 0.0, "exit_status": "success",
                   "num_events": {"primary": len(detector)}}
"""


class PageTest(harness.EndToEndTest):

    def test_the_page(self):
        """The code of docs/bluesky.md is one program."""
        for name, content in (("stand_in", STAND_IN), ("bluesky_documents", DOCUMENTS)):
            pathlib.Path(self.path(f"{name}.py")).write_text(content, encoding="utf-8")
        script = pages.script("docs/bluesky.md", ["page.py"]) + "\necho ===\npython3 page.py"
        examples = support.ROOT / "client" / "python" / "examples"
        said = pages.run(script.replace("127.0.0.1:50051", self.server.address),
                         self._folder.name, PYTHONPATH=f"{support.BUILD / 'python'}:{examples}")
        self.assertEqual(said.partition("\n===\n")[2].splitlines(),
                         ["42 scan-42-9f0c2b1e 100 100 success", "[]"])
        result = ptychoserve.Result.load(self.path("result.cxi"))
        self.assertLess(self.json("get", "scan-42-9f0c2b1e")["final_fit"]["r_factor"], 0.1)
        self.assertTrue(np.isfinite(result.object).all())


class MalformedTest(BlueskyCase):
    """Each is a clear error, and the run after it is as if nothing had been."""

    def one_error(self, documents, field, **options):
        consumer = self.consumer(**options)
        self.send(consumer, documents)
        consumer.wait(harness.DEADLINE_S)
        self.assertEqual(consumer.error_count, 1, consumer.errors)
        error = consumer.errors[0]
        self.assertIsInstance(error, InvalidArgument)
        self.assertEqual(error.field, field, error)
        return error

    def run_with(self, change, points=2):
        """A run of a few points, one document of which is changed."""
        uid, start = self.start(num_points=0)
        documents = copy.deepcopy([start, descriptor_document(uid), *(
            event_document(uid, k + 1, self.data(k)) for k in range(points)),
            stop_document(uid, points)])
        change([document for _, document in documents])
        return documents

    def test_positions_without_a_unit(self):
        def change(documents):
            del documents[1]["data_keys"]["piezo_x"]["units"]
        error = self.one_error(self.run_with(change), "descriptor.data_keys.piezo_x.units")
        self.assertIn('units="mm"', error.hint)
        consumer = self.consumer(units="um")
        self.send(consumer, self.run_with(change))
        consumer.wait(harness.DEADLINE_S)
        self.assertEqual(consumer.errors, [])

    def test_units_that_contradict_each_other(self):
        self.one_error(self.run_with(lambda _: None), "descriptor.data_keys.piezo_x.units",
                       units="mm")

    def test_units(self):
        for unit, metres in (("mm", 1e-3), ("MM", 1e-3), ("um", 1e-6), ("\u00b5m", 1e-6),
                             ("Microns", 1e-6), ("nm", 1e-9), ("m", 1.0)):
            self.assertEqual(metres_per_unit("x", {"units": unit}, ""), metres)
        for unit in ("counts", "Mm", "deg"):
            with self.assertRaises(InvalidArgument) as caught:
                metres_per_unit("x", {"units": unit}, "")
            self.assertEqual(caught.exception.value, repr(unit))

    def test_a_data_key_by_another_name(self):
        def change(documents):
            keys = documents[1]["data_keys"]
            keys["piezo_x_readback"] = keys.pop("piezo_x")
        error = self.one_error(self.run_with(change), "descriptor.data_keys.piezo_x")
        self.assertIn("piezo_x_readback", error.hint)

    def test_metadata_that_is_missing(self):
        error = self.one_error(self.run_with(lambda documents: documents[0].pop("beam")),
                               "start.beam.wavelength_m")
        self.assertIn("RE(plan(), beam=...)", error.hint)

    def test_a_type_that_nobody_has_said(self):
        def change(documents):
            del documents[1]["data_keys"]["eiger_image"]["dtype_numpy"]
        error = self.one_error(self.run_with(change), "detector.dtype")
        self.assertIn('"dtype": "u16"', error.hint)

    def test_a_bad_event_costs_itself(self):
        for wrong, field in (({"eiger_image": np.zeros((63, 64), np.uint16)}, "data.eiger_image"),
                             ({"eiger_image": np.full((64, 64), -1)}, "data.eiger_image"),
                             ({"eiger_image": "no-such-datum"}, "event.data"),
                             ({"piezo_x": "left"}, "data.piezo_x")):
            def change(documents):
                documents[2]["data"].update(wrong)
            documents = self.run_with(change, points=5)
            self.one_error(documents, field)
            uid = documents[0][1]["uid"]
            session = self.client.session(f"bs-42-{uid[:8]}")
            self.assertEqual(session.info.joined_points, 4)

    def test_a_stop_document_that_is_half_there_ends_the_scan(self):
        for change in ({"num_events": "none"}, {"num_events": {"primary": None}}):
            documents = self.run_with(lambda parts: parts[-1].update(change))
            consumer = self.consumer()
            self.send(consumer, documents)
            consumer.wait(harness.DEADLINE_S)
            self.assertEqual(consumer.errors, [])
            uid = documents[0][1]["uid"]
            session = self.client.session(consumer.runs[uid].session_id)
            self.assertEqual(session.wait(harness.DEADLINE_S).state, "completed")

    def test_documents_of_no_run(self):
        uid, documents = self.whole_run()
        for document, field in ((documents[1], "descriptor.run_start"),
                                (documents[2], "event.descriptor"),
                                (documents[-1], "stop.run_start"),
                                (("no_such", {}), "document"), (("event", None), "event")):
            self.one_error([document], field)

    def test_garbage_never_kills_it(self):
        """Any field of any document gone or of another type: errors, and the next run is whole."""
        consumer = self.consumer()
        random_ = random.Random(3)
        for _ in range(60):
            def change(documents):
                target = random_.choice(documents)
                while True:
                    key = random_.choice(list(target))
                    inner = target[key]
                    if not isinstance(inner, dict) or not inner or random_.random() < 0.4:
                        break
                    target = inner
                if random_.random() < 0.5:
                    del target[key]
                else:
                    target[key] = random_.choice([None, 7, -1, "text", [], {}, [1, "a"], 2.5])
            self.send(consumer, self.run_with(change))
        uid, documents = self.whole_run()
        self.send(consumer, documents)
        consumer.wait(harness.DEADLINE_S)
        self.assertGreater(consumer.error_count, 10)
        self.assertEqual([e for e in consumer.errors if isinstance(e, AssertionError)], [])
        self.check_result(consumer, uid)
        for session in self.client.sessions():
            session.delete(force=True)

    def test_files_that_lack_what_is_said_of_them(self):
        uid, start = self.start(num_points=0)
        for key, change, kind in (
                ("mimetype", "image/tiff", InvalidArgument),
                ("uri", "s3://bucket/file.h5", InvalidArgument),
                ("uri", "file:///nowhere/file.h5", DataLoss)):
            uid, start = self.start(num_points=0)
            resource = {"uid": f"{uid}-s", "run_start": uid, "data_key": "eiger_image",
                        "mimetype": "application/x-hdf5", "uri": "file:///x.h5",
                        "parameters": {"dataset": "/frames"}, key: change}
            consumer = self.consumer(file_timeout_s=0.2)
            self.send(consumer, [start, descriptor_document(uid), ("stream_resource", resource), (
                "stream_datum", {"uid": "d", "stream_resource": f"{uid}-s",
                                 "descriptor": f"{uid}-primary",
                                 "indices": {"start": 0, "stop": 3},
                                 "seq_nums": {"start": 1, "stop": 4}}), stop_document(uid, 3)])
            consumer.wait(harness.DEADLINE_S)
            self.assertEqual([type(e) for e in consumer.errors], [kind], consumer.errors)
            self.assertIn(change, str(consumer.errors[0]) if kind is InvalidArgument
                          else f"file://{consumer.errors[0]}")


if __name__ == "__main__":
    support.main()
