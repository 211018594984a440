#!/usr/bin/env python3
"""deploy/kubernetes says the same in all the places where it has to: names, ports, paths, times, counts.

    kubernetes_test.py BUILD_DIR [unittest arguments]

Rendering and schemas need kubectl and npm: tests/deploy/check_kubernetes_schema.sh.
"""
import pathlib
import re
import tempfile
import unittest

import nodes
from nodes import harness

import yaml

KUBERNETES = nodes.ROOT / "deploy" / "kubernetes"
WATCHDOG_S = 5  # By which ptychoserved may exceed shutdown-timeout-s; see server/main.cc.


def documents(path):
    return [d for d in yaml.safe_load_all(path.read_text(encoding="utf-8")) if d]


class KubernetesTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.config = documents(KUBERNETES / "base" / "ptychoserved.yaml")[0]
        cls.objects = {}  # By kind and name, of base and components.
        for path in [*KUBERNETES.glob("base/*.yaml"), *KUBERNETES.glob("components/*/*.yaml")]:
            for document in documents(path):
                if "metadata" in document:
                    cls.objects.setdefault((document["kind"], document["metadata"]["name"]),
                                           []).append((path, document))
        cls.server = cls.one("StatefulSet", "ptychoserve")

    @classmethod
    def one(cls, kind, name):
        return cls.objects[kind, name][0][1]

    def workloads(self):
        for (kind, _), found in self.objects.items():
            if kind in ("StatefulSet", "Deployment"):
                yield from found

    def test_every_file_is_used_and_exists(self):
        folders = {path.parent for path in KUBERNETES.rglob("kustomization.yaml")}
        for folder in folders:
            listed = documents(folder / "kustomization.yaml")[0]
            used = {*listed.get("resources", []), *listed.get("components", []),
                    *[p["path"] for p in listed.get("patches", [])],
                    *[f for g in listed.get("configMapGenerator", []) for f in g["files"]]}
            for name in used:
                self.assertTrue((folder / name).exists(), f"{folder}: {name}")
            # What other programs read is no resource.
            present = {p.name for p in folder.iterdir() if p.is_file()}
            self.assertEqual(present - used, {"kustomization.yaml"}
                             | ({"adapter_rule.yaml"} & present), folder)

    def test_selectors_find_the_pods(self):
        pods = {}
        for path, workload in self.workloads():
            labels = workload["spec"]["template"]["metadata"]["labels"]
            wanted = workload["spec"]["selector"]["matchLabels"]
            self.assertEqual(wanted, {k: labels.get(k) for k in wanted}, path)
            pods[labels["app.kubernetes.io/component"]] = (
                labels, {p["name"] for p in
                         workload["spec"]["template"]["spec"]["containers"][0]["ports"]})
        self.assertEqual(set(pods), {"server", "router"})
        for path, service in [s for (kind, _), found in self.objects.items() if kind == "Service"
                              for s in found]:
            selector = service["spec"]["selector"]
            component = selector.get("app.kubernetes.io/component", "server")
            labels, ports = pods[component]
            if "statefulset.kubernetes.io/pod-name" not in selector:
                self.assertEqual(selector, labels, path)
            for port in service["spec"]["ports"]:
                self.assertIn(port["targetPort"], ports, path)
        server = pods["server"][0]
        self.assertEqual(self.one("PodDisruptionBudget", "ptychoserve")["spec"]["selector"],
                         {"matchLabels": server})
        policy = self.one("NetworkPolicy", "ptychoserve")["spec"]
        self.assertEqual(policy["podSelector"], {"matchLabels": server})
        self.assertEqual(policy["ingress"][0]["from"][0]["podSelector"]["matchLabels"],
                         pods["router"][0])
        monitor = self.one("ServiceMonitor", "ptychoserve")["spec"]
        headless = self.one("Service", self.server["spec"]["serviceName"])
        self.assertEqual(monitor["selector"]["matchLabels"], headless["metadata"]["labels"])
        self.assertIn(monitor["endpoints"][0]["port"],
                      [p["name"] for p in headless["spec"]["ports"]])

    def test_ports_are_those_the_server_listens_on(self):
        container = self.server["spec"]["template"]["spec"]["containers"][0]
        ports = {p["name"]: p["containerPort"] for p in container["ports"]}
        self.assertEqual(self.config["listen"], f"0.0.0.0:{ports['grpc']}")
        self.assertEqual(self.config["metrics-listen"], f"0.0.0.0:{ports['metrics']}")
        for probe, path in (("startupProbe", "/healthz"), ("livenessProbe", "/healthz"),
                            ("readinessProbe", "/readyz")):
            self.assertEqual(container[probe]["httpGet"], {"path": path, "port": "metrics"})
        allowed = [p["port"] for rule in self.one("NetworkPolicy", "ptychoserve")["spec"]["ingress"]
                   for p in rule["ports"]]
        self.assertEqual(set(allowed), set(ports.values()))

    def test_there_is_time_for_an_orderly_end(self):
        pod = self.server["spec"]["template"]["spec"]
        command, pause = pod["containers"][0]["lifecycle"]["preStop"]["exec"]["command"]
        self.assertEqual(command, "sleep")
        self.assertGreater(pod["terminationGracePeriodSeconds"],
                           int(pause) + self.config["shutdown-timeout-s"] + WATCHDOG_S)

    def test_pods_have_no_more_rights_than_they_need(self):
        for path, workload in self.workloads():
            pod = workload["spec"]["template"]["spec"]
            self.assertIs(pod["automountServiceAccountToken"], False, path)
            self.assertIs(pod["securityContext"]["runAsNonRoot"], True, path)
            self.assertEqual(pod["securityContext"]["seccompProfile"], {"type": "RuntimeDefault"})
            for container in pod["containers"]:
                self.assertEqual(container["securityContext"], {
                    "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True,
                    "capabilities": {"drop": ["ALL"]}}, path)
                self.assertIn("memory", container["resources"]["limits"], path)
                self.assertIn("cpu", container["resources"]["requests"], path)

    def test_what_is_mounted_is_there_and_what_is_named_is_mounted(self):
        for path, workload in self.workloads():
            pod = workload["spec"]["template"]["spec"]
            volumes = {v["name"] for v in pod["volumes"]} | {
                v["metadata"]["name"] for v in workload["spec"].get("volumeClaimTemplates", [])}
            mounts = pod["containers"][0]["volumeMounts"]
            self.assertEqual({m["name"] for m in mounts}, volumes, path)
        mounts = [m["mountPath"] for m in
                  self.server["spec"]["template"]["spec"]["containers"][0]["volumeMounts"]]
        for name, value in self.config.items():
            if str(value).startswith("/"):
                self.assertTrue(any(f"{value}/".startswith(f"{m}/") for m in mounts),
                                f"{name}: {value}")

    def test_every_pod_has_an_address_and_a_place_in_the_routers(self):
        most = self.one("HorizontalPodAutoscaler", "ptychoserve")["spec"]["maxReplicas"]
        self.assertEqual(self.one("ScaledObject", "ptychoserve")["spec"]["maxReplicaCount"], most)
        names = [f"ptychoserve-{k}" for k in range(most)]
        self.assertEqual([n for kind, n in self.objects if kind == "Service"
                          and re.fullmatch(r"ptychoserve-\d+", n)], names)
        haproxy = (KUBERNETES / "components/router-haproxy/haproxy.cfg").read_text()
        self.assertEqual(re.findall(r"^  server (\S+) (\S+):50051 id (\d+) ", haproxy, re.M),
                         [(n, n, str(k + 1)) for k, n in enumerate(names)])
        envoy = documents(KUBERNETES / "components/router-envoy/envoy.yaml")[0]
        for cluster in envoy["static_resources"]["clusters"]:
            self.assertEqual(
                [e["endpoint"]["address"]["socket_address"]["address"]
                 for e in cluster["load_assignment"]["endpoints"][0]["lb_endpoints"]],
                names[:self.server["spec"]["replicas"]])

    def test_routers_are_as_the_proxies(self):
        proxy = nodes.ROOT / "deploy" / "proxy"
        routers = KUBERNETES / "components"

        def frontend(path):
            text = path.read_text().partition("frontend ptychoserve\n")[2].partition("\n\n")[0]
            return [line for line in text.splitlines()
                    if not line.strip().startswith(("#", "bind"))]

        self.assertEqual(frontend(routers / "router-haproxy" / "haproxy.cfg"),
                         frontend(proxy / "haproxy.cfg"))
        text = (proxy / "envoy.yaml").read_text(encoding="utf-8")
        for k, name in enumerate("abc"):
            text = harness.replace_all(text, {f"node-{name}.example.org": f"ptychoserve-{k}",
                                              f"hash_key: node-{name}": f"hash_key: ptychoserve-{k}"})
        plain = yaml.safe_load(text)["static_resources"]
        router = documents(routers / "router-envoy" / "envoy.yaml")[0]["static_resources"]
        self.assertEqual(router["clusters"], plain["clusters"])
        self.assertEqual(router["listeners"][1:], plain["listeners"])

    def test_the_server_takes_its_configuration(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder)
            text = (KUBERNETES / "base" / "ptychoserved.yaml").read_text(encoding="utf-8")
            for mount in ("/etc/ptychoserve", "/var/lib/ptychoserve"):
                self.assertIn(mount, text)
                text = text.replace(mount, f"{folder}{mount}")
            for name in ("tls", "access"):
                (path / "etc/ptychoserve" / name).mkdir(parents=True)
            nodes.certificate(path / "etc/ptychoserve/tls", "tls", "DNS:ptychoserve")
            nodes.access_file(path / "etc/ptychoserve/access/access.yaml", "token")
            (path / "config.yaml").write_text(text, encoding="utf-8")
            nodes.run(harness.program("ptychoserved"), "--config", path / "config.yaml",
                      "--check-config")

    def test_haproxy_takes_its_configuration(self):
        nodes.needs("haproxy")
        with tempfile.TemporaryDirectory() as folder:
            nodes.certificate(pathlib.Path(folder), "tls", "DNS:ptychoserve")
            text = (KUBERNETES / "components/router-haproxy/haproxy.cfg").read_text()
            text = text.replace("/etc/ptychoserve/tls/ca.crt", f"{folder}/tls.crt")
            text = text.replace("/etc/ptychoserve/tls", folder)
            text = re.sub(r"ptychoserve-(\d+):50051", r"127.0.0.1\1:50051", text)
            path = pathlib.Path(folder) / "haproxy.cfg"
            path.write_text(text, encoding="utf-8")
            nodes.run("haproxy", "-c", "-dW", "-f", path)


if __name__ == "__main__":
    harness.main()
