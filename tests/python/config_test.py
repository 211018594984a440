#!/usr/bin/env python3
"""Configurations from plain Python, and errors that say what is wrong with them."""

import unittest

import support
import numpy as np
from ptychoserve import config, errors
from ptychoserve.config import bounds, session_config, update_paths
from ptychoserve.options import ClientOptions, WriterOptions, options_of
from ptychoserve.rpc import error_details_pb2, status_pb2
from ptychoserve.v1 import config_pb2


class ConfigTest(unittest.TestCase):

    def refused(self, **settings):
        with self.assertRaises(errors.InvalidArgument) as caught:
            session_config(**settings)
        return caught.exception

    def test_all_kinds_of_values(self):
        probe = np.arange(8).reshape(2, 2, 2) * (1 + 2j)
        made = session_config(
            optics={"photon_energy_ev": 9040.3, "distance_m": 2, "near_field": {}},
            detector={"frame_shape": (16, 32), "dtype": np.uint16, "orientation": "flip_lr",
                      "bad_pixels": np.eye(2, dtype=bool), "saturation_counts": np.float32(8.0)},
            scan={"expected_points": np.int64(7),
                  "bounds": bounds(y_m=[1, 3], x_m=[2], margin_m=1)},
            probe={"initial": probe, "modes": 2, "frozen": True},
            schedule=[{"difference_map": {}, "iterations": 5},
                      {"ml_gradient": {"likelihood": "gaussian"}, "refine": {"positions": True}}],
            run={"it_ends_after": 0, "max_iterations": None}, deterministic=True)
        expected = config_pb2.SessionConfig(
            optics=config_pb2.Optics(photon_energy_ev=9040.3, distance_m=2.0,
                                     near_field=config_pb2.NearField()),
            detector=config_pb2.Detector(
                frame_shape=config_pb2.Shape(rows=16, cols=32), dtype=config_pb2.DATA_TYPE_U16,
                orientation=config_pb2.ORIENTATION_FLIP_LR, bad_pixels=b"\1\0\0\1",
                saturation_counts=8.0),
            scan=config_pb2.Scan(expected_points=7, bounds=config_pb2.ScanBounds(
                y_min_m=0, y_max_m=4, x_min_m=1, x_max_m=3)),
            probe=config_pb2.ProbeSettings(
                initial=config_pb2.ComplexArray(modes=2, shape=config_pb2.Shape(rows=2, cols=2),
                                                data=probe.astype("<c8").tobytes()),
                modes=2, frozen=True),
            schedule=[config_pb2.Stage(difference_map=config_pb2.DifferenceMap(), iterations=5),
                      config_pb2.Stage(
                          ml_gradient=config_pb2.MlGradient(
                              likelihood=config_pb2.LIKELIHOOD_GAUSSIAN),
                          refine=config_pb2.StageRefinement(positions=True))],
            run=config_pb2.RunRules(it_ends_after=0), deterministic=True)
        self.assertEqual(made, expected)

    def test_messages_and_settings_on_top_of_them(self):
        base = session_config(optics={"wavelength_m": 1e-10, "distance_m": 2.0})
        made = session_config(base, optics={"distance_m": 3.0},
                              detector=config_pb2.Detector(dtype=config_pb2.DATA_TYPE_F32))
        self.assertEqual((made.optics.wavelength_m, made.optics.distance_m), (1e-10, 3.0))
        self.assertEqual(made.detector.dtype, config_pb2.DATA_TYPE_F32)
        self.assertEqual(base.optics.distance_m, 2.0)

    def test_unknown_keys_name_what_was_meant(self):
        for settings, field, hint in (
                ({"optic": {}}, "optic", "did you mean 'optics'?"),
                ({"optics": {"energy_ev": 1.0}}, "optics.energy_ev",
                 "did you mean 'photon_energy_ev'?"),
                ({"optics": {"distance": 1.0}}, "optics.distance", "did you mean 'distance_m'?"),
                ({"scan": {"frame_shape": (2, 2)}}, "scan.frame_shape", "it belongs to detector"),
                ({"schedule": [{}, {"iteration": 3}]}, "schedule[1].iteration",
                 "did you mean 'iterations'?"),
                ({"run": {"colour": "red"}}, "run.colour", "")):
            error = self.refused(**settings)
            self.assertEqual((error.field, error.hint), (field, hint))
            self.assertEqual(error.reason, "INVALID_CONFIG")
        self.assertIn("it_ends_after", error.allowed)

    def test_two_alternatives_are_refused(self):
        """Of two fields of a oneof, the message would keep the last, without a word."""
        error = self.refused(optics={"wavelength_m": 1e-10, "photon_energy_ev": 9e3})
        self.assertEqual(error.field, "optics.photon_energy_ev")
        self.assertIn("only one of wavelength_m, photon_energy_ev", error.allowed)
        self.assertEqual(error.hint, "leave out photon_energy_ev or wavelength_m")
        error = self.refused(schedule=[{"difference_map": {}, "ml_gradient": {}, "iterations": 3}])
        self.assertEqual(error.field, "schedule[0].ml_gradient")
        made = session_config(session_config(optics={"wavelength_m": 1e-10}),
                              optics={"photon_energy_ev": 9e3})
        self.assertEqual(made.optics.photon_energy_ev, 9e3)

    def test_values_that_cannot_be(self):
        for settings, field, allowed in (
                ({"detector": {"dtype": "u17"}}, "detector.dtype", "u8, u16, u32, f32"),
                ({"detector": {"dtype": np.complex64}}, "detector.dtype", "u8, u16, u32, f32"),
                ({"detector": {"frame_shape": 16}}, "detector.frame_shape", "(rows, cols)"),
                ({"optics": {"distance_m": "2 m"}}, "optics.distance_m", "a number"),
                ({"optics": 3}, "optics", "a dict, or a Optics"),
                ({"scan": {"expected_points": -1}}, "scan.expected_points",
                 "a whole number, 0..2^32-1"),
                ({"schedule": {"iterations": 1}}, "schedule", "a list"),
                ({"probe": {"initial": np.zeros(4, complex)}}, "probe.initial",
                 "complex, [rows, cols] or [modes, rows, cols]")):
            error = self.refused(**settings)
            self.assertEqual((error.field, error.allowed), (field, allowed))

    def test_enumerations_by_any_name(self):
        for value in ("u16", "U16", "DATA_TYPE_U16", "uint16", np.dtype("u2"),
                      config_pb2.DATA_TYPE_U16):
            made = session_config(detector={"dtype": value})
            self.assertEqual(made.detector.dtype, config_pb2.DATA_TYPE_U16, value)

    def test_options_that_there_are_not(self):
        for kind, key, hint in ((WriterOptions, "queue_byte", "did you mean 'queue_bytes'?"),
                                (ClientOptions, "connect_timeout",
                                 "did you mean 'connect_timeout_s'?"),
                                (WriterOptions, "colour", "")):
            with self.assertRaises(errors.InvalidArgument) as caught:
                options_of(kind, {key: 1})
            self.assertEqual((caught.exception.field, caught.exception.hint), (key, hint))
        self.assertEqual(options_of(WriterOptions, {"producer": "a"}).producer, "a")

    def test_update_mask(self):
        self.assertEqual(
            update_paths({"run": {"max_iterations": 5, "idle_timeout_s": None},
                          "snapshots": {"history": 2}}),
            ["config.run.max_iterations", "config.snapshots.history"])

    def test_every_setting_is_found_under_its_name(self):
        def check(descriptor, path):
            for field in descriptor.fields:
                error = config._unknown(config_pb2.Shape.DESCRIPTOR, field.name, field.name)
                self.assertNotEqual(error.hint, "", field.name)
                if field.message_type is not None:
                    check(field.message_type, (*path, field.name))
        check(config_pb2.SessionConfig.DESCRIPTOR, ())


class ErrorsTest(unittest.TestCase):

    def test_details_of_the_server(self):
        status = status_pb2.Status()
        for detail in (
                error_details_pb2.ErrorInfo(reason="INVALID_CONFIG", domain="ptychoserve",
                                            metadata={"hint": "look", "violations": "2"}),
                error_details_pb2.BadRequest(field_violations=[
                    error_details_pb2.BadRequest.FieldViolation(
                        field="optics.distance_m", description="is 0; must be > 0"),
                    error_details_pb2.BadRequest.FieldViolation(
                        field="run.x", description="7; allowed: 1..3")]),
                error_details_pb2.ResourceInfo(resource_name="sessions/s"),
                error_details_pb2.RetryInfo(retry_delay={"seconds": 1, "nanos": 500_000_000})):
            any_detail = status.details.add()
            any_detail.type_url = f"type.googleapis.com/google.rpc.{detail.DESCRIPTOR.name}"
            any_detail.value = detail.SerializeToString()
        error = errors.from_status("INVALID_ARGUMENT", "two fields", status.SerializeToString())
        self.assertIsInstance(error, errors.InvalidArgument)
        self.assertEqual((error.code, error.reason, error.hint),
                         ("INVALID_ARGUMENT", "INVALID_CONFIG", "look"))
        self.assertEqual((error.field, error.value, error.allowed),
                         ("optics.distance_m", "0", "> 0"))
        self.assertEqual((error.violations[1].value, error.violations[1].allowed), ("7", "1..3"))
        self.assertEqual((error.resource, error.retry_after_s), ("sessions/s", 1.5))
        self.assertEqual(error.metadata, {"violations": "2"})
        self.assertEqual(str(error), "two fields (look)")
        longer = error.with_words("; more")
        self.assertEqual((longer.message, longer.violations), ("two fields; more",
                                                               error.violations))

    def test_quota(self):
        status = status_pb2.Status()
        any_detail = status.details.add(type_url="type.googleapis.com/google.rpc.QuotaFailure")
        any_detail.value = error_details_pb2.QuotaFailure(violations=[
            error_details_pb2.QuotaFailure.Violation(subject="cpu", description="8 GB, 4 GB free"),
        ]).SerializeToString()
        error = errors.from_status("RESOURCE_EXHAUSTED", "no room", status.SerializeToString())
        self.assertIsInstance(error, errors.ResourceExhausted)
        self.assertEqual(error.field, "cpu")

    def test_a_server_has_the_last_word_and_not_a_proxy(self):
        status = status_pb2.Status(code=14, message="the server ends")
        any_detail = status.details.add(type_url="type.googleapis.com/google.rpc.ErrorInfo")
        any_detail.value = error_details_pb2.ErrorInfo(reason="DRAINING").SerializeToString()
        error = errors.from_status("CANCELLED", "Received RST_STREAM with error code 8",
                                   status.SerializeToString())
        self.assertIsInstance(error, errors.Unavailable)
        self.assertEqual((error.reason, error.message), ("DRAINING", "the server ends"))

    def test_codes_that_are_also_errors_of_python(self):
        for code, kind in (("INVALID_ARGUMENT", ValueError), ("UNAVAILABLE", ConnectionError),
                           ("DEADLINE_EXCEEDED", TimeoutError)):
            self.assertIsInstance(errors.from_status(code, "words"), kind)
        self.assertIs(type(errors.from_status("NEW_CODE", "words")), errors.PtychoserveError)


if __name__ == "__main__":
    support.main()
