"""What the tests of deployments share: servers that are nodes of one installation, and a proxy's client.

Each test script is called as SCRIPT BUILD_DIR [unittest arguments].
"""
import hashlib
import os
import pathlib
import pwd
import random
import shutil
import signal
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
DEADLINE_S = 120  # What takes longer hangs.
sys.path.insert(0, str(ROOT / "tests" / "e2e"))
# What unpack_programs.sh has unpacked, where the machine has none of its own.
os.environ["PATH"] += "".join(f":{ROOT / 'build/programs' / place}" for place in ("usr/sbin", "usr/bin"))

import harness  # noqa: E402  (from the folder above)


def needs(*programs):
    """Fails with words when a program is not installed."""
    for name in programs:
        assert shutil.which(name), f"this test needs the program {name}: make test-packages"


def run(*command, **options):
    """Runs a command, which must succeed; what it printed."""
    done = subprocess.run(list(map(str, command)), text=True, capture_output=True,
                          timeout=DEADLINE_S, check=False, **options)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def certificate(folder, name, alternatives):
    """A certificate that signs itself, and its key: NAME.crt and NAME.key."""
    run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
        "-days", "2", "-subj", f"/CN={name}", "-addext", f"subjectAltName={alternatives}",
        "-keyout", folder / f"{name}.key", "-out", folder / f"{name}.crt")


def access_file(path, token):
    """Whoever has the token may do what an operator may."""
    path.write_text("principals:\n  - name: tests\n    role: operator\n"
                    f"    sha256: {hashlib.sha256(token.encode()).hexdigest()}\n",
                    encoding="utf-8")


def haproxy_config(folder, listen, peer, node_ca):
    """deploy/proxy/haproxy.cfg, where to listen and for nodes with TLS for the name ptychoserve.

    In `folder` are proxy.crt and proxy.key.
    """
    pem = folder / "proxy.pem"
    pem.write_text((folder / "proxy.crt").read_text() + (folder / "proxy.key").read_text())
    replaced = {
        "bind :50051": f"bind {listen}",
        "peer proxy-a 127.0.0.1:10000": f"peer proxy-a {peer}",
        "/etc/haproxy/ptychoserve.pem": pem,
        "/run/haproxy/admin.sock": folder / "admin.sock",
        "log /dev/log local0": "log stdout format raw local0",
        "default-server proto h2 ": "default-server proto h2 ssl alpn h2 verify required "
                                    f"ca-file {node_ca} verifyhost ptychoserve ",
    }
    # Only root can become somebody else, and only where the package was installed there is that user.
    if os.geteuid() != 0 or "haproxy" not in {user.pw_name for user in pwd.getpwall()}:
        replaced["  user haproxy\n  group haproxy\n"] = ""
    return harness.replace_all((ROOT / "deploy" / "proxy" / "haproxy.cfg").read_text(), replaced)


class Loopback:
    """Addresses on the loopback interface that no other test uses."""

    # For servers without TLS.
    plaintext_flags = ()

    def __init__(self):
        self._net = f"127.{random.randint(1, 254)}.{random.randint(0, 255)}"

    def address(self, number):
        return f"{self._net}.{number}"

    def enter(self, _number):
        """What to put before a command that shall run on a node."""
        return []

    def close(self):
        pass


class Namespaces:
    """Each node in a network namespace of its own, all on one bridge. Needs CAP_NET_ADMIN."""

    plaintext_flags = ("--allow-insecure",)  # Behind a proxy with TLS, on a network of their own.

    def __init__(self):
        needs("ip")
        self._tag = f"pty{os.getpid() % 10000}"
        self._net = f"10.{random.randint(64, 254)}.{random.randint(0, 255)}"
        self._names = []
        run("ip", "link", "add", self._tag, "type", "bridge")
        run("ip", "addr", "add", f"{self._net}.1/24", "dev", self._tag)
        run("ip", "link", "set", self._tag, "up")

    def address(self, number):
        return f"{self._net}.{number}"

    def enter(self, number):
        name = f"{self._tag}n{number}"
        if name not in self._names:
            run("ip", "netns", "add", name)
            self._names.append(name)
            run("ip", "link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", name)
            run("ip", "link", "set", name, "master", self._tag, "up")
            run("ip", "-n", name, "addr", "add", f"{self._net}.{number}/24", "dev", "eth0")
            run("ip", "-n", name, "link", "set", "eth0", "up")
            run("ip", "-n", name, "link", "set", "lo", "up")
        return ["ip", "netns", "exec", name]

    def close(self):
        for name in self._names:
            run("ip", "netns", "del", name)
        run("ip", "link", "del", self._tag)


class Node:
    """A ptychoserved with one thread that keeps its sessions in a state directory."""

    def __init__(self, network, number, state_dir, *flags):
        self.address = network.address(number)
        self.state_dir = pathlib.Path(state_dir)
        self.state_dir.mkdir(exist_ok=True)
        port_file = self.state_dir / "address"
        port_file.unlink(missing_ok=True)
        with open(self.state_dir / "server.log", "a", encoding="utf-8") as log:
            self.process = subprocess.Popen(
                [*network.enter(number), harness.program("ptychoserved"),
                 "--listen", f"{self.address}:50051", "--metrics-listen", f"{self.address}:9464",
                 "--port-file", str(port_file), "--state-dir", str(self.state_dir),
                 "--device", "cpu", "--threads", "1", *map(str, flags)],
                stdout=log, stderr=subprocess.STDOUT)
        harness.wait_until(lambda: port_file.exists() or self.process.poll() is not None, "a server is up")
        assert self.process.poll() is None, (self.state_dir / "server.log").read_text()

    def drain(self):
        """Ends it in order; its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(DEADLINE_S)

    def kill(self):
        self.process.kill()
        self.process.wait()
