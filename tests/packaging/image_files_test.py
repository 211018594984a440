#!/usr/bin/env python3
"""What docker/Dockerfile and docker/compose.yaml say, against the programs of a build. No image is made.

    image_files_test.py BUILD_DIR [unittest arguments]
"""
import http.server
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import threading
import unittest

import yaml

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))

import harness  # noqa: E402
from harness import ROOT  # noqa: E402

IMAGES = ("server", "clients")


def stages():
    """Of each stage of the Dockerfile, by name: its instructions, as (word, rest of it)."""
    text = re.sub(r"^\s*#.*\n", "", (ROOT / "docker/Dockerfile").read_text(encoding="utf-8"),
                  flags=re.MULTILINE)
    instructions = []
    found = {"": instructions}  # What is before the first FROM.
    for line in text.replace("\\\n", " ").splitlines():
        word, _, rest = line.partition(" ")
        if word == "FROM":
            instructions = found[rest.split(" AS ")[1]] = []
        if word:
            instructions.append((word, rest.strip()))
    return found


def only(instructions, word):
    """What the one instruction of this word says."""
    said = [rest for each, rest in instructions if each == word]
    assert len(said) == 1, (word, said)
    return said[0]


def seconds(text):
    return int(re.fullmatch(r"(\d+)s", text)[1])


class AnsweringHTTP(http.server.BaseHTTPRequestHandler):
    """Answers what the class of a test wants."""

    status = 200

    def do_GET(self):
        self.send_response(self.status if self.path == "/readyz" else 404)
        self.end_headers()

    def log_message(self, *_):
        pass


class ImageFilesTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.stages = stages()
        cls.compose = yaml.safe_load((ROOT / "docker/compose.yaml").read_text(encoding="utf-8"))
        cls.help = harness.run_program("ptychoserved", "--help").stdout

    def healthy(self, port):
        """Whether the health check of the image says so, of a server whose metrics are at this port."""
        command = only(self.stages["server"], "HEALTHCHECK").partition("CMD ")[2]
        self.assertIn("/9464 ", command)
        words = [word.replace("/9464 ", f"/{port} ") for word in json.loads(command)]
        return subprocess.run(words, check=False, capture_output=True,
                              timeout=harness.DEADLINE_S).returncode == 0

    def test_both_images_run_as_a_user_under_an_init(self):
        made = next(rest for word, rest in self.stages["base"] if word == "RUN")
        self.assertIn("install -y -qq --no-install-recommends tini", re.sub(r"\s+", " ", made))
        uid, gid = re.search(r"--uid (\d+)", made)[1], re.search(r"--gid (\d+)", made)[1]
        self.assertNotEqual(uid, "0")
        for image in IMAGES:
            self.assertEqual(only(self.stages[image], "USER"), f"{uid}:{gid}", image)
            entrypoint = json.loads(only(self.stages[image], "ENTRYPOINT"))
            self.assertEqual(entrypoint[:2], ["tini", "--"], image)
            self.assertTrue((harness.BUILD / "bin" / entrypoint[2]).is_file(), image)
        self.assertEqual(only(self.stages["server"], "STOPSIGNAL"), "SIGTERM")

    def test_the_label_is_the_version_of_the_server(self):
        versions = [rest for word, rest in self.stages[""] if word == "ARG" and rest.startswith("VERSION=")]
        said = harness.run_program("ptychoserved", "--version").stdout
        self.assertEqual(versions, ["VERSION=" + said.split()[1]])
        for image in IMAGES:
            self.assertIn(("ARG", "VERSION"), self.stages[image])
            self.assertIn('image.version="${VERSION}"', only(self.stages[image], "LABEL"))

    def test_layers_have_nothing_of_apts_own(self):
        runs = [rest for stage in self.stages.values() for word, rest in stage
                if word == "RUN" and "apt-get" in rest]
        self.assertEqual(len(runs), 4)
        for said in runs:
            self.assertRegex(said, r"&& rm -rf /var/lib/apt/lists/\* /var/cache/apt/\*( |$)")

    def test_other_packages_make_other_layers(self):
        for image in IMAGES:
            words = [word for word, _ in self.stages[image]]
            self.assertEqual(words[1:3], ["COPY", "RUN"], image)
            self.assertRegex(self.stages[image][1][1], r"^--from=packages /SHA256SUMS ")
            self.assertIn("from=packages", self.stages[image][2][1])

    def test_the_image_is_built_with_the_packages_of_the_makefile(self):
        installs = next(rest for word, rest in self.stages["build"]
                        if word == "RUN" and "packages.txt" in rest)
        choice = re.search(r"sed -e .*? docker/packages\.txt", installs)[0]
        image = subprocess.run(choice, shell=True, cwd=ROOT, text=True, capture_output=True, check=True)
        make = subprocess.run(["make", "-s", "--eval", "show-packages: ; @echo $(PACKAGES)",
                               "show-packages"], cwd=ROOT, text=True, capture_output=True, check=True)
        self.assertGreater(len(image.stdout.split()), 20)
        self.assertEqual(image.stdout.split(), make.stdout.split())

    def test_the_server_knows_the_settings_of_the_image(self):
        settings = dict(pair.split("=") for pair in only(self.stages["server"], "ENV").split())
        for name in settings:
            self.assertIn(f"Env:{name})", self.help)
        ports = {settings[name].rpartition(":")[2]
                 for name in ("PTYCHOSERVED_LISTEN", "PTYCHOSERVED_METRICS_LISTEN")}
        self.assertEqual(set(only(self.stages["server"], "EXPOSE").split()), ports)
        self.assertEqual(only(self.stages["server"], "VOLUME"), settings["PTYCHOSERVED_STATE_DIR"])
        with tempfile.TemporaryDirectory() as folder:
            checked = {**os.environ, **settings, "PTYCHOSERVED_STATE_DIR": folder}
            refused = harness.run_program("ptychoserved", "--check-config", env=checked)
            self.assertNotEqual(refused.returncode, 0)  # Without a certificate.
            self.assertIn("--allow-insecure", refused.stderr + refused.stdout)
            taken = harness.run_program("ptychoserved", "--check-config", "--allow-insecure", env=checked)
            self.assertEqual(taken.returncode, 0, taken.stderr)

    def test_the_health_check_of_a_server(self):
        with tempfile.TemporaryDirectory() as folder:
            port_file = pathlib.Path(folder) / "metrics"
            server = harness.Server(folder, "--metrics-listen", "127.0.0.1:0",
                                    "--metrics-port-file", str(port_file))
            try:
                port = port_file.read_text(encoding="utf-8").split()[0].rpartition(":")[2]
                self.assertTrue(self.healthy(port))
            finally:
                self.assertEqual(server.stop(), 0)
            self.assertFalse(self.healthy(port))  # Nobody is there.

    def test_the_health_check_of_one_that_is_not_ready(self):
        for status, healthy in ((200, True), (503, False)):
            handler = type("Handler", (AnsweringHTTP,), {"status": status})
            with http.server.HTTPServer(("127.0.0.1", 0), handler) as one:
                thread = threading.Thread(target=one.serve_forever)
                thread.start()
                try:
                    self.assertEqual(self.healthy(one.server_address[1]), healthy, status)
                finally:
                    one.shutdown()
                    thread.join()

    def test_compose_builds_images_that_there_are(self):
        for name, service in self.compose["services"].items():
            self.assertIn(service["build"]["target"], IMAGES, name)
            self.assertTrue((ROOT / "docker" / service["build"]["context"]
                             / service["build"]["dockerfile"]).is_file(), name)

    def test_compose_waits_for_an_orderly_end(self):
        shutdown_s = int(re.search(r"--shutdown-timeout-s [^=\n]*=(\d+)", self.help)[1])
        # 5 s more, after which the server ends itself.
        self.assertGreater(seconds(self.compose["services"]["server"]["stop_grace_period"]), shutdown_s + 5)


if __name__ == "__main__":
    harness.main()
