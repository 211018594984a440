#!/usr/bin/env python3
"""The commands of docs/operations.md, from top to bottom, in one shell, with the failures they are for; and
those of docs/upgrade.md and docs/deployment.md.

    handbook_test.py BUILD_DIR [unittest arguments]

It needs neither root nor systemd: files lie in a folder, and functions of the shell stand for the programs
that need either.
"""
import pathlib
import shutil
import socket
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))

import harness  # noqa: E402
import pages  # noqa: E402

STAND_INS = r"""
set -eu -o pipefail
install() { command install "${@:5}"; }  # Without an owner and a group.
runuser() { shift 3; "$@"; }
journalctl() { cat server.log; }
systemctl() {
  case $1 in
    enable|start)
      rm -f started
      ptychoserved --config /etc/ptychoserve/ptychoserved.yaml --device cpu --threads 1 \
        --port-file started 2>> server.log &
      server=$!
      while [ ! -s started ]; do kill -0 $server 2> /dev/null || return 1; sleep 0.05; done ;;
    stop) kill -TERM $server && wait $server ;;
    restart) { systemctl stop || true; } && systemctl start ;;
    reload)
      kill -HUP $server
      until tail -n 1 server.log | grep -q 'configuration read again'; do sleep 0.05; done ;;
  esac
}
server=
trap 'code=$?; [ $code = 0 ] || tail -n 20 server.log; exit $code' EXIT
: > server.log
expect() { grep -q -e "$1" || { echo "missing: $1"; exit 1; }; }
"""

# What goes wrong before a block, by its heading and its number below it.
BEFORE = {
    ("It does not start", 0): """
        echo "no-such-option: 1" >> /etc/ptychoserve/ptychoserved.yaml
        if systemctl restart; then echo "it has started"; exit 1; fi
        if (""",  # The block ends with an error when something is wrong, as it is here.
    ("It does not start", 1): "sed -i /no-such-option/d /etc/ptychoserve/ptychoserved.yaml",
    ("It has ended", 0): "kill -KILL $server; wait $server || true",
    ("The disk is full or broken", 0): """
        PTYCHOSERVE_FAILPOINTS=record.write=enospc@3 systemctl restart  # The second write of input.
        ptychoctl create --scan scan.cxi --session kept
        ptychoctl stream kept scan.cxi --rate 400 --finish
        until grep -q 'written again' server.log; do sleep 0.05; done""",
    ("The disk is full or broken", 1): "ptychoctl watch kept",
    ("A session was not taken up", 0): """
        ptychoctl create --scan scan.cxi --session damaged
        systemctl stop
        echo nonsense > /var/lib/ptychoserve/sessions/damaged@beamline7/manifest.rec
        systemctl start""",
    ("Clients are refused", 0): """
        echo wrong > wrong.token
        if ptychoctl info --token-file wrong.token; then exit 1; fi""",
    ("There is no room", 1): "ptychoctl create --scan scan.cxi --session tall",
    ("Nothing arrives", 0): """
        ptychoctl create --scan scan.cxi --session half
        ptychoctl stream half scan.cxi --frames-only""",
    ("A session has failed", 0): """
        ptychoctl create --scan scan.cxi --session empty
        ptychoctl finish empty
        ptychoctl watch empty || true""",
    ("State files", 0): """
        if ptychoctl export kept kept.state --json; then exit 1; fi
        if [ -e kept.state ]; then exit 1; fi""",
}
# What SESSION is.
SESSIONS = {"The disk is full or broken": "kept", "A session was not taken up": "damaged",
            "There is no room": "tall", "Nothing arrives": "half", "A session has failed": "empty",
            "State files": "kept"}
AFTER = {
    ("It does not start", 0): "); then echo 'all is well, it says'; exit 1; fi",
    ("5. Look after it", 1): "tail -n 1 server.log | expect 'configuration read again'",
    ("A session was not taken up", 1): """
        ptychoctl list > list.txt
        expect kept < list.txt
        if grep damaged list.txt; then exit 1; fi""",
}


def free_ports(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [str(each.getsockname()[1]) for each in sockets]
    for each in sockets:
        each.close()
    return ports


class HandbookTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="hb")  # Short: the path of a socket is limited.
        self.addCleanup(folder.cleanup)
        self.here = pathlib.Path(folder.name)

    def run_here(self, script):
        """What a script says that is as on a machine of its own, but for its root."""
        script = f"{STAND_INS}{script}\nsystemctl stop\n"
        for place in ("/etc/ptychoserve", "/var/lib/ptychoserve", "/var/log/ptychoserve",
                      "/run/ptychoserve"):
            (self.here / place[1:]).mkdir(parents=True)
            script = script.replace(place, f"{self.here}{place}")
        return pages.run(script, self.here)

    def test_each_command_does_what_the_page_says(self):
        port, metrics = free_ports(2)
        script = pages.script(
            "docs/operations.md", ["/etc/ptychoserve/ptychoserved.yaml"], BEFORE, AFTER,
            {(heading, "SESSION"): session for heading, session in SESSIONS.items()})
        self.assertNotIn("SESSION ", script)
        said = self.run_here(harness.replace_all(script, {
            "0.0.0.0:50051": f"127.0.0.1:{port}", ":50051": f":{port}", ":9464": f":{metrics}",
            "gpu1.example.org": "localhost"}))
        for words in ("OK    token       accepted: operator, operator of tenant beamline7",
                      "no-such-option", "No space left on device",
                      '"event":"the journal cannot be written; the session goes on without"',
                      '"event":"the journal is written again"', "INPUT_NOT_KEPT",
                      '"event":"call refused"', 'auth_failures_total{reason="unknown"} 1',
                      "ptychoserve_unsaved_sessions 0", '"event":"a session cannot be taken up; its files stay"',
                      "deleted sessions/tall", "no frame can be used", "wrote kept.state",
                      "accepted: dashboard, viewer of tenant beamline7"):
            self.assertIn(words, said)

    def test_deployment(self):
        """The unit's configuration as it is, and what clients of the containers do with the secrets."""
        port, metrics, secure = free_ports(3)
        secrets = """
            ptychoserved --device cpu --threads 1 --listen localhost:$secure --tls-cert docker/secrets/server/server.crt \
                --tls-key docker/secrets/server/server.key \
                --access-file docker/secrets/server/access.yaml &
            pushd docker/secrets"""
        script = pages.script("docs/deployment.md", after={("Compose", 0): secrets, ("Compose", 2): "popd"},
                              before={("Packages and systemd", 0): "export PTYCHOSERVE_SERVER=localhost:$port"})
        (self.here / "docker").mkdir()
        shutil.copy(harness.ROOT / "docker/make_secrets.sh", self.here / "docker")
        sample = (harness.ROOT / "deploy/systemd/ptychoserved.yaml").read_text(encoding="utf-8")
        script = f"cat > /etc/ptychoserve/ptychoserved.yaml <<'END'\n{sample}END\n{script}\n"
        said = self.run_here(harness.replace_all(script, {
            "$port": port, "$secure": secure, "127.0.0.1:50051": f"127.0.0.1:{port}", ":9464": f":{metrics}",
            "sudoedit ": "ls ", "--server daq.example.org:50051": f"--server localhost:{secure}"}))
        self.assertIn("the configuration is valid", said)
        self.assertEqual(said.count("\nptychoserved "), 2)  # What info says, of both servers.

    def test_upgrade(self):
        """And back again: what the newer server has taken is not there any more."""
        port, = free_ports(1)
        script = pages.script("docs/upgrade.md", before={
            ("One server", 0): "systemctl start; ptychoctl create --scan scan.cxi --session before",
            ("Back again", 1): "ptychoctl create --scan scan.cxi --session after; ptychoctl list"})
        said = self.run_here(f"""
            cat > /etc/ptychoserve/ptychoserved.yaml <<'END'
listen: ["127.0.0.1:{port}"]
state-dir: /var/lib/ptychoserve
END
            export PTYCHOSERVE_SERVER=127.0.0.1:{port}
            ptychoctl simulate scan.cxi --points 9 --frame 64
            {script}
            ptychoctl list
            ls /var/lib/ptychoserve.after/sessions""")
        listed = said.rpartition("===")[2]
        self.assertRegex(listed, "(?m)^before ")
        self.assertNotRegex(listed, "(?m)^after ")
        self.assertRegex(listed, "(?m)^after$")


if __name__ == "__main__":
    harness.main()
