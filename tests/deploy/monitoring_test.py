#!/usr/bin/env python3
"""Alerts and dashboard against the metrics of a real server, and against their own tests.

    monitoring_test.py BUILD_DIR [unittest arguments]
"""
import json
import os
import pathlib
import re
import subprocess
import tempfile
import unittest
import urllib.request

import nodes
from nodes import harness

import yaml

DEPLOY = nodes.ROOT / "deploy"
PROMETHEUS = DEPLOY / "prometheus"
PAGE = nodes.ROOT / "docs" / "monitoring.md"
# Of Prometheus, not of the server.
GIVEN = {"job", "instance", "namespace", "pod", "le"}
METRIC = re.compile(r"\b(?:ptychoserve|process)_[a-z_]+")
SELECTOR = re.compile(r"\b((?:ptychoserve|process)_[a-z_]+)\{([^}]*)\}")
MATCHER = re.compile(r'(\w+)(=~|!~|!=|=)"([^"]*)"')
SAMPLE = re.compile(r"^([a-z_]+)(?:\{(.*)\})? \S+$", re.MULTILINE)


def queries():
    """Where it stands, query."""
    dashboard = json.loads((DEPLOY / "grafana" / "dashboard.json").read_text(encoding="utf-8"))
    for panel in dashboard["panels"]:
        for target in panel.get("targets", []):
            yield f"dashboard: {panel['title']}", target["expr"]
    for group in yaml.safe_load((PROMETHEUS / "alerts.yml").read_text())["groups"]:
        for rule in group["rules"]:
            yield f"alerts.yml: {rule['alert']}", rule["expr"]
    components = DEPLOY / "kubernetes" / "components"
    rule = yaml.safe_load((components / "autoscaling-hpa/adapter_rule.yaml").read_text())
    yield "adapter_rule.yaml", rule["rules"][0]["metricsQuery"].replace(",<<.LabelMatchers>>", "")
    scaled = yaml.safe_load((components / "autoscaling-keda/scaled_object.yaml").read_text())
    yield "scaled_object.yaml", scaled["spec"]["triggers"][0]["metadata"]["query"]


class MonitoringTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        nodes.needs("promtool")
        with tempfile.TemporaryDirectory() as folder:
            network = nodes.Loopback()
            node = nodes.Node(network, 2, pathlib.Path(folder) / "state",
                              "--checkpoint-interval-s", "0.1", "--cpu-memory-limit", "1GB")
            try:
                cls.use(node.address, pathlib.Path(folder) / "scan.cxi")
                with urllib.request.urlopen(f"http://{node.address}:9464/metrics",
                                            timeout=nodes.DEADLINE_S) as answer:
                    cls.text = answer.read().decode()
            finally:
                node.drain()
        cls.families = dict(re.findall(r"^# TYPE (\S+) (\S+)$", cls.text, re.MULTILINE))
        cls.labels = {}  # Values by name of family and of label.
        for name, labels in SAMPLE.findall(cls.text):
            values = cls.labels.setdefault(cls.family(name), {})
            for label, value in re.findall(r'(\w+)="([^"]*)"', labels):
                values.setdefault(label, set()).add(value)

    @classmethod
    def use(cls, address, scan):
        """Makes a sample of everything that is counted: also of what is refused."""
        def ctl(*arguments):
            return nodes.run(harness.program("ptychoctl"), *arguments,
                             env={**os.environ, "PTYCHOSERVE_SERVER": f"{address}:50051"})

        nodes.run(harness.program("ptychoctl"), "simulate", scan, "--points", 49, "--frame", 64)
        ctl("run", scan, "--session", "whole", "--keep", "--schedule", "dm:100")
        ctl("create", "--scan", scan, "--session", "cut-off", "--capacity", 40)
        ctl("stream", "cut-off", scan, "--finish")
        refused = subprocess.run(
            [harness.program("ptychoctl"), "create", "--scan", str(scan), "--capacity", "1000000",
             "--server", f"{address}:50051"], capture_output=True, text=True, check=False,
            timeout=nodes.DEADLINE_S)
        assert "RESOURCE_EXHAUSTED" in refused.stderr, refused.stderr

    @classmethod
    def family(cls, name):
        """Of a histogram, what is before _bucket, _sum and _count."""
        base = re.sub(r"_(bucket|sum|count)$", "", name)
        return base if cls.families.get(base) == "histogram" else name

    def test_the_output_is_well_formed(self):
        nodes.run("promtool", "check", "metrics", input=self.text)

    def test_every_metric_that_is_asked_for_exists(self):
        for where, query in queries():
            names = METRIC.findall(query)
            self.assertTrue(names or "up{" in query, where)
            for name in names:
                self.assertIn(self.family(name), self.families, where)

    def test_every_label_that_is_asked_for_exists(self):
        for where, query in queries():
            for name, selector in SELECTOR.findall(query):
                known = self.labels.get(self.family(name), {})
                for label, operator, value in MATCHER.findall(selector):
                    if label in GIVEN:
                        continue
                    self.assertIn(label, known, f"{where}: {name}")
                    if operator == "=":
                        self.assertIn(value, known[label], f"{where}: {name} {label}")

    def test_labels_that_sums_keep_exist(self):
        for where, query in queries():
            for labels in re.findall(r"\bby \(([^)<]*)\)", query):
                wanted = set(re.split(r",\s*", labels)) - GIVEN
                known = set().union(*[self.labels.get(self.family(n), {})
                                      for n in METRIC.findall(query)])
                self.assertLessEqual(wanted, known, where)

    def test_the_page_has_every_metric_with_its_labels(self):
        figures = PAGE.read_text(encoding="utf-8").split("\n## Figures\n")[1].split("\n## ")[0]
        listed = dict(re.findall(r"`(ptychoserve_[a-z_]+)(?:\{([^}]*)\})?`", figures))
        self.assertEqual(set(listed), {f for f in self.families if f.startswith("ptychoserve_")})
        for name, labels in listed.items():
            known = set(self.labels.get(name, {})) - GIVEN
            self.assertEqual(set(filter(None, labels.split(","))), known, name)

    def test_rules_do_what_their_tests_say(self):
        nodes.run("promtool", "check", "config", PROMETHEUS / "prometheus.yml")
        nodes.run("promtool", "check", "rules", PROMETHEUS / "alerts.yml")
        nodes.run("promtool", "test", "rules", PROMETHEUS / "alerts_test.yml")

    def test_every_alert_has_a_test_and_says_what_to_do(self):
        alerts = [r["alert"] for g in
                  yaml.safe_load((PROMETHEUS / "alerts.yml").read_text())["groups"]
                  for r in g["rules"]]
        tests = yaml.safe_load((PROMETHEUS / "alerts_test.yml").read_text())["tests"]
        fires = {c["alertname"] for t in tests for c in t["alert_rule_test"] if c["exp_alerts"]}
        quiet = {c["alertname"] for t in tests for c in t["alert_rule_test"] if not c["exp_alerts"]}
        page = PAGE.read_text(encoding="utf-8")
        self.assertEqual(fires, set(alerts))
        self.assertEqual(quiet, set(alerts))
        self.assertEqual(re.findall(r"^### (Ptychoserve\w+)$", page, re.MULTILINE), alerts)


if __name__ == "__main__":
    harness.main()
