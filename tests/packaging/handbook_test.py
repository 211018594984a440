#!/usr/bin/env python3
"""The commands of docs/operations.md, from top to bottom, in one shell, with the failures they are for.

    handbook_test.py BUILD_DIR [unittest arguments]

It needs neither root nor systemd: files lie in a folder, and functions of the shell stand for the programs
that need either.
"""
import os
import pathlib
import re
import socket
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))

import harness  # noqa: E402
from harness import ROOT  # noqa: E402

PAGE = ROOT / "docs/operations.md"
DEADLINE_S = 240

STAND_INS = r"""
set -eu -o pipefail
apt() { :; }
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
trap '[ -z "$server" ] || kill -KILL $server 2> /dev/null || true' EXIT
: > server.log
expect() { grep -q -e "$1" || { echo "missing: $1"; exit 1; }; }
"""

# What goes wrong before a block, by its heading and its number below it.
BEFORE = {
    ("It does not start", 0): """
        echo "no-such-option: 1" >> /etc/ptychoserve/ptychoserved.yaml
        if systemctl restart; then echo "it has started"; exit 1; fi""",
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
# Blocks that end with an error when something is wrong, as it is here.
TELLS = {("It does not start", 0)}
AFTER = {
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


def blocks():
    """Heading, number below it, language, text of each block of the page."""
    heading, number = "", 0
    pattern = r"^#+ ([^\n]+)$|^```(\w+)\n(.*?)^```$"
    for match in re.finditer(pattern, PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE):
        if match[1]:
            heading, number = match[1], 0
        else:
            yield heading, number, match[2], match[3]
            number += match[2] == "sh"


def script():
    out, known = [STAND_INS], set()
    for heading, number, language, text in blocks():
        key = (heading, number)
        if language == "yaml":
            out.append(f"cat > /etc/ptychoserve/ptychoserved.yaml <<'END'\n{text}END\n")
            continue
        known.add(key)
        assert "SESSION" not in text or heading in SESSIONS, key
        text = text.replace("SESSION", SESSIONS.get(heading, ""))
        out.append(f"echo '=== {heading}, {number}'")
        out.append(BEFORE.get(key, ""))
        out.append(f"if (\n{text}); then echo 'all is well, it says'; exit 1; fi" if key in TELLS else text)
        out.append(AFTER.get(key, ""))
    assert {*BEFORE, *AFTER} <= known, {*BEFORE, *AFTER} - known
    return "\n".join(out) + "\nsystemctl stop\nserver=\n"


class HandbookTest(unittest.TestCase):
    def test_each_command_does_what_the_page_says(self):
        folder = tempfile.TemporaryDirectory(prefix="hb")  # Short: the path of a socket is limited.
        self.addCleanup(folder.cleanup)
        here = pathlib.Path(folder.name)
        port, metrics = free_ports(2)
        replaced = {"0.0.0.0:50051": f"127.0.0.1:{port}", ":50051": f":{port}", ":9464": f":{metrics}",
                    "gpu1.example.org": "localhost"}
        for place in ("/etc/ptychoserve", "/var/lib/ptychoserve", "/var/log/ptychoserve",
                      "/run/ptychoserve"):
            (here / place[1:]).mkdir(parents=True)
            replaced[place] = f"{here}{place}"
        text = script()
        for old, new in replaced.items():
            self.assertIn(old, text)
            text = text.replace(old, new)
        environment = {key: value for key, value in os.environ.items()
                       if not key.startswith(("PTYCHOSERVE", "LC_", "LANG"))}
        environment["PATH"] = f"{harness.BUILD / 'bin'}:{environment['PATH']}"
        done = subprocess.run(["bash", "-c", text], cwd=here, env=environment, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
                              timeout=DEADLINE_S)
        said = done.stdout
        self.assertEqual(done.returncode, 0, said[-6000:] + (here / "server.log").read_text()[-3000:])
        for words in ("OK    token       accepted: operator, operator of tenant beamline7",
                      "no-such-option", "No space left on device",
                      '"event":"the journal cannot be written; the session goes on without"',
                      '"event":"the journal is written again"', "INPUT_NOT_KEPT",
                      '"event":"call refused"', 'auth_failures_total{reason="unknown"} 1',
                      "ptychoserve_unsaved_sessions 0", '"event":"a session cannot be taken up; its files stay"',
                      "deleted sessions/tall", "no frame can be used", "wrote kept.state",
                      "accepted: dashboard, viewer of tenant beamline7"):
            self.assertIn(words, said)


if __name__ == "__main__":
    harness.main()
