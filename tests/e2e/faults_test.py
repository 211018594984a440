#!/usr/bin/env python3
"""Faults as an operator meets them: exit codes, reasons, log lines, and the ways back that the handbook has.

    faults_test.py BUILD_DIR [unittest arguments]
"""
import fcntl
import os
import pathlib
import subprocess
import urllib.request

import harness

LOST_GPU = {"PTYCHOSERVE_FAILPOINTS": "device.iterate=eio@20-"}


def damaged(data):
    """With a byte in the middle that is another one."""
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 0xff]) + data[middle + 1:]


class FaultsTest(harness.EndToEndTest):
    def start(self, name, *flags, **others):
        """A server in a folder of its own, where its state is, too."""
        folder = pathlib.Path(self.path(name))
        folder.mkdir(exist_ok=True)
        server = harness.Server(folder, "--state-dir", str(folder / "state"), *flags, **others)
        self.addCleanup(server.kill)
        return server

    def log_of(self, name):
        return pathlib.Path(self.path(name), "server.log").read_text(encoding="utf-8")

    def client(self, *arguments):
        process = subprocess.Popen([harness.program("ptychoctl"), *map(str, arguments)], text=True,
                                   stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        return process

    def test_a_lost_device_ends_with_4_and_the_next_server_goes_on(self):
        server = self.start("lost", env={**os.environ, **LOST_GPU})
        client = self.client("run", self.scan, "--session", "s", "--keep", "--server", server.address)
        self.assertEqual(server.process.wait(harness.DEADLINE_S), 4)
        self.assertIn("a device is lost; the server ends, to be started again", self.log_of("lost"))
        server = self.start("lost", listen=server.address)
        _, said = client.communicate(timeout=harness.DEADLINE_S)
        self.assertEqual(client.returncode, 0, said)
        session = self.json("get", "s", "--server", server.address)
        self.assertEqual((session["state"], session["restarts"]), ("SESSION_STATE_COMPLETED", 1))
        self.assertEqual(server.stop(), 0)

    def test_a_full_disk_is_told_to_the_user_and_at_the_end(self):
        full = {"PTYCHOSERVE_FAILPOINTS": "record.write=enospc@8-"}
        server = self.start("full", env={**os.environ, **full})
        done = self.ctl("run", self.scan, "--session", "s", "--keep", "--iterations", 10,
                        "--server", server.address)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertRegex(done.stdout, r"\nNOT SAFE: .*No space left on device")
        done = self.ctl("get", "s", "--server", server.address)
        self.assertRegex(done.stdout, r"\n  NOT SAFE   .*No space left on device")
        self.assertEqual(server.stop(), 0)
        self.assertRegex(self.log_of("full"), "error +not all that was acknowledged is on disk .*sessions=s")

    def test_an_end_that_hangs_ends_with_3_and_the_session_is_there(self):
        pipe = self.path("audit")  # That nobody reads, and that is full.
        os.mkfifo(pipe)
        reader = os.open(pipe, os.O_RDWR)
        self.addCleanup(os.close, reader)
        os.write(reader, bytes(fcntl.fcntl(reader, fcntl.F_SETPIPE_SZ, 4096)))
        server = self.start("hangs", "--audit-log", pipe, "--shutdown-timeout-s", "1")
        self.client("create", "--scan", self.scan, "--session", "s", "--server", server.address)
        harness.wait_until(lambda: "session created" in self.log_of("hangs"), "a session")
        self.assertEqual(server.stop(), 3)
        self.assertIn("the shutdown hangs, leaving at once", self.log_of("hangs"))
        server = self.start("hangs")
        self.assertEqual([s["name"] for s in self.json("list", "--server", server.address)["sessions"]],
                         ["sessions/s"])
        self.assertEqual(server.stop(), 0)

    def test_a_journal_that_is_damaged_after_the_end_of_the_data(self):
        server = self.start("damaged")
        self.json("create", "--session", "s", "--scan", self.scan, "--iterations", 100000,
                  "--server", server.address)
        # What is in the middle of the journal is of frames, and not of all: at a rate, many records
        # have them, and those of the positions are before.
        self.json("stream", "s", self.scan, "--positions-only", "--server", server.address)
        self.json("stream", "s", self.scan, "--frames-only", "--rate", 400, "--finish",
                  "--server", server.address)
        server.kill()
        journal, = pathlib.Path(self.path("damaged"), "state/sessions/s").glob("input-*.rec")
        journal.write_bytes(damaged(journal.read_bytes()))

        server = self.start("damaged")
        at = ("--server", server.address)
        self.assertRegex(self.log_of("damaged"), r"session taken up .*lost_bytes=[1-9]")
        had = int(self.json("get", "s", *at)["frames"]["accepted"])
        self.assertLess(had, 100)
        # Its data have ended: what is missing comes too late for it, and not for another one.
        again = self.json("stream", "s", self.scan, "--producer", "p", *at)["frames"]
        self.assertEqual(int(again["accepted"]), had)
        self.assertEqual(harness.rejected(again, "LATE"), 100 - had)
        self.json("delete", "s", "--force", *at)
        self.json("create", "--session", "s", "--scan", self.scan, *at)
        frames = self.json("stream", "s", self.scan, "--producer", "p", "--finish", *at)["frames"]
        self.assertEqual(int(frames["accepted"]), 100)
        self.assertEqual(server.stop(), 0)

    def test_a_state_file_that_is_damaged_cut_off_or_none_leaves_nothing(self):
        self.json("run", self.scan, "--session", "saved", "--schedule", "dm:2", "--keep", "--quiet")
        whole = pathlib.Path(self.path("whole.state"))
        self.json("export", "saved", whole, "--no-input")
        self.json("delete", "saved")
        data = whole.read_bytes()
        for name, content in (("damaged", damaged(data)), ("cut", data[:len(data) // 2]),
                              ("none", b"nothing of the kind")):
            path = pathlib.Path(self.path(f"{name}.state"))
            path.write_bytes(content)
            with self.subTest(name):
                self.assertEqual(self.refused(2, "import", path, "--session", "taken")["reason"],
                                 "BAD_STATE_FILE")
        self.assertEqual(self.json("list")["sessions"], [])

    def test_streams_beyond_the_limit_are_refused_until_one_ends(self):
        port_file = self.path("metrics")
        server = self.start("streams", "--max-streams", "2", "--metrics-listen", "127.0.0.1:0",
                            "--metrics-port-file", port_file)
        metrics = f"http://{pathlib.Path(port_file).read_text(encoding='ascii').strip()}/metrics"

        def watchers(count):
            with urllib.request.urlopen(metrics, timeout=harness.DEADLINE_S) as answer:
                return f'ptychoserve_streams{{kind="publish"}} {count}\n' in answer.read().decode()

        at = ("--server", server.address)
        self.json("create", "--session", "s", "--scan", self.scan, *at)
        watcher = self.client("watch", "s", *at)
        harness.wait_until(lambda: watchers(1), "one who watches")
        error = self.refused(1, "stream", "s", self.scan, *at)  # Frames and positions: one too many.
        self.assertEqual(error["reason"], "STREAM_LIMIT")
        self.assertIn("limit of 2 open streams", error["message"])
        self.assertIn("--max-streams", error["message"])
        watcher.kill()
        harness.wait_until(lambda: watchers(0), "nobody who watches")
        frames = self.json("stream", "s", self.scan, "--producer", "p", *at)["frames"]
        self.assertEqual(int(frames["accepted"]), 100)
        self.assertEqual(server.stop(), 0)


if __name__ == "__main__":
    harness.main()
