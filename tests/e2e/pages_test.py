#!/usr/bin/env python3
"""The code of the pages that no other test runs, as a user would."""
import functools
import json
import pathlib
import re
import socket
import subprocess
import sys
import tempfile
import unittest

import harness
import pages
from certificates import Authority
from harness import ROOT

SMALL = "--points 49 --frame 64"


def free_address():
    with socket.create_server(("127.0.0.1", 0)) as free:
        return f"127.0.0.1:{free.getsockname()[1]}"


@functools.lru_cache(None)
def help_of(*command):
    done = subprocess.run([*command, "--help"], text=True, capture_output=True, check=False,
                          timeout=harness.DEADLINE_S)
    assert done.returncode == 0, f"{command}: {done.stderr}"
    return done.stdout


class PagesTest(harness.EndToEndTest):

    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="page")
        self.addCleanup(folder.cleanup)
        self.here = pathlib.Path(folder.name)

    def run_here(self, script, **environment):
        return pages.run(script, self.here,
                         **{"PTYCHOSERVE_SERVER": self.server.address, **environment})

    def server_here(self, *flags):
        server = harness.Server(self.here, *map(str, flags))
        self.addCleanup(server.kill)
        return server.address

    def test_api(self):
        """The stubs, the example in one file, and the Python of the page as one program."""
        script = pages.script("docs/api.md", "guide.py") + "\npython3 guide.py\n"
        for folder in ("docs", "proto"):
            (self.here / folder).symlink_to(ROOT / folder)
        said = self.run_here(harness.replace_all(script, {
            "127.0.0.1:50051": self.server.address, "/tmp/stubs": self.here / "stubs"}))
        self.assertIn("\n196 of 196 frames accepted\n", said)
        self.assertRegex(said, r"object \(\d+, \d+\) of iteration \d+, \d+% covered")
        self.assertIn("\n196 of 196 frames\n196 of 196 positions\n", said)
        self.assertIn("\nSESSION_STATE_COMPLETED ", said)
        self.assertRegex(said, r"\nNOT_FOUND SESSION_NOT_FOUND \| .*scan-4712")

    def test_state_files(self):
        address = self.server_here("--state-dir", self.here / "state")
        script = harness.replace_all(pages.script("docs/state_files.md"), {
            "other:50051": self.server.address, "dm:200,ml_grad:100": "dm:20,ml_grad:10"})
        said = self.run_here(f"ptychoctl simulate scan.cxi {SMALL}\n{script}\nptychoctl list",
                             PTYCHOSERVE_SERVER=address)
        self.assertTrue((self.here / "other.cxi").exists())
        self.assertRegex(said, r"\ns1 .*\ns3 ")
        self.assertEqual(self.json("get", "s2")["state"], "SESSION_STATE_COMPLETED")

    def test_quality(self):
        """Two results of one object, from frames with other noise."""
        script = "\n".join([
            f"ptychoctl simulate scan.cxi {SMALL}", "ptychoctl run scan.cxi --out even.cxi",
            f"ptychoctl simulate again.cxi {SMALL} --photons 1e5", "ptychoctl run again.cxi --out odd.cxi",
            pages.script("docs/quality.md")])
        said = self.run_here(script)
        self.assertEqual(said.count("half-bit"), 2, said)  # One of each command.

    def test_durability(self):
        script = harness.replace_all(pages.script("docs/durability.md"), {
            "/var/lib/ptychoserve": f"{self.here}/state --listen 127.0.0.1:0 --port-file started "
                                    "--device cpu --threads 1 &"})
        self.run_here(f"{script}\nuntil [ -s started ]; do sleep 0.1; done\nkill $! && wait $!")
        self.assertTrue((self.here / "state").is_dir())

    def test_security(self):
        script = pages.script("docs/security.md", ["access.yaml"])
        said = self.run_here(harness.replace_all(f"""{script}
            openssl genpkey -algorithm ec -pkeyopt ec_paramgen_curve:P-256 | \\
                openssl pkey -pubout -out /etc/ptychoserve/issuer.pem
            ptychoserved --check-config --access-file access.yaml --listen unix:socket
            """, {"/etc/ptychoserve/issuer.pem": self.here / "issuer.pem"}))
        self.assertIn("the configuration is valid", said)

    def test_dashboard(self):
        """Each asks its server for a session that there is not, unless it asks for a token before that."""
        (self.here / "page").mkdir()
        (self.here / "page" / "index.html").write_text("the page", encoding="utf-8")
        token = self.json("token", "dashboard", "--role", "viewer")
        (self.here / "viewer.token").write_text(token.pop("token"), encoding="ascii")
        (self.here / "access.yaml").write_text(json.dumps({"principals": [token]}), encoding="ascii")
        certificate, key = Authority(self.here).sign("server")
        with_tls = self.server_here("--tls-cert", certificate, "--tls-key", key,
                                    "--access-file", self.here / "access.yaml")
        first, second, third = free_address(), free_address(), free_address()
        script = harness.replace_all(pages.script("docs/dashboard.md", after={
            ("Dashboard", 0): f"answers {first} 404",
            ("Towards the server", 0): f"answers {second} 404",
            ("In a container", 0): f"answers {third} 401"}), {
                "make dashboard ": "true ",  # Which is what is tested.
                "127.0.0.1:50051\n": f"{self.server.address} --listen {first} &\n",
                "gpu.example.org:50051": with_tls,
                "viewer.token\n": f"viewer.token --listen {second} &\n",
                "reconstruction:50051": self.server.address,
                "0.0.0.0:8080": third.replace("127.0.0.1", "0.0.0.0"),
                "--page-token-file page.token\n": "--page-token-file page.token &\n"})
        answers = """answers() {
            until code=$(curl -s -o answer -w '%{http_code}' $1/api/sessions/none/result.cxi); do sleep 0.1; done
            [ $code = $2 ] || { cat answer; return 1; }
        }
        """
        self.run_here(answers + script, PTYCHOSERVE_DASHBOARD_PAGE=str(self.here / "page"))

    def test_performance(self):
        address = free_address()
        script = harness.replace_all(pages.script("docs/performance.md"), {
            "127.0.0.1:50051 &": f"{address} --device cpu --threads 1 &",
            "127.0.0.1:50051": address, "8 40000 256": "2 64 64"})
        self.assertIn('"acknowledged_frames_per_s":', self.run_here(script))


class OptionsTest(unittest.TestCase):
    """Of commands that are not run, the options are those of the help."""

    def check(self, command, arguments):
        known = re.findall(r"^ +(?:-\w, ?)?(--[\w-]+)", help_of(*command), re.MULTILINE)
        for option in re.findall(r"(?:^| )(--[\w-]+)", arguments):
            with self.subTest(program=command[-1], arguments=arguments):
                self.assertIn(option, known)

    def test_in_the_text(self):
        code = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)
        commands = [found for page in (*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"))
                    for found in re.findall(r"`(ptychoctl|ptychoserved|ptychoserve-[a-z]+) ([^`]+)`",
                                            code.sub("", page.read_text(encoding="utf-8")))]
        self.assertTrue(commands)
        for program, arguments in commands:
            word = arguments.split()[0]
            command = [] if word.startswith("-") or program == "ptychoserved" else [word]
            self.check([harness.program(program), *command], arguments)

    def test_of_benchmarks(self):
        commands = [found for page, not_run in pages.NOT_RUN.items()
                    for block in pages.blocks(page) if block.first_line in not_run
                    for found in re.findall(r"python3 (tests/bench/\S+) (.*)", block.text)]
        self.assertTrue(commands)
        for program, arguments in commands:
            self.check([sys.executable, "-B", str(ROOT / program)], arguments)


if __name__ == "__main__":
    harness.main()
