"""The code in the documentation, as tests run it.

Code stands between fences, and the language says what it is. `script` makes one bash script of all the code
of a page; what no test can run is in NOT_RUN, with the reason. tests/docs/check_docs.py sees to it that there
is nothing else: that each page with code has a test that takes its script.
"""
import os
import re
import subprocess
import sys
import tempfile
from typing import NamedTuple

import harness

COMPILED = "cpp"  # Stands in a test as well: check_docs.py.
READ_ONLY = {"text", "mermaid", COMPILED}  # Output and diagrams.
COMMANDS = "sh"
FILES = {"python", "yaml", "json", "csv"}  # What the commands of the page use; or a program of its own.
BLOCK = re.compile(r"^#+ ([^\n]+)$|^```([^\n]*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)

CONTAINERS = "needs an engine for containers, and images from elsewhere"
MINUTES = "takes minutes and builds what is tested here"
# By the first line of the block. Of benchmarks pages_test.py compares the options with the help.
NOT_RUN = {
    "README.md": {
        "make demo    # install packages, build, stream a simulated scan, watch it appear, fetch the result":
            f"{MINUTES}; demo_test.py runs the demo on a build"},
    "CONTRIBUTING.md": {
        "make test         # installs packages, builds, runs all tests": MINUTES},
    "docs/acquisition.md": {
        "sudo apt install python3-zmq python3-cbor2 python3-lz4 python3-h5py":
            "needs a detector and an encoder; the same command is run on the emulators",
        "python3 tests/bench/bridge_throughput.py build --frames 100000     # or --stream v2":
            "takes minutes, a machine that does nothing else, and a GPU"},
    "docs/bluesky.md": {
        "TILED_API_KEY=... python3 to_tiled.py 127.0.0.1:50051 scan-42-9f0c2b1e http://tiled:8000/recon RUN_UID":
            "needs a Tiled server; tiled_test.py runs the program with one of its own"},
    "docs/dashboard.md": {
        "ssh -L 8080:localhost:8080 beamline-machine": "needs another machine",
        "/usr/bin/python3 tests/bench/dashboard_load.py build --viewers 10 --pairs 30":
            "takes minutes and a browser"},
    "docs/deployment.md": {
        "make package      # build, then build/package/*.deb, *.tar.gz, *.cdx.json, SHA256SUMS":
            f"{MINUTES}; packages_test.py makes the packages of a build",
        "docker build -f docker/Dockerfile --target server  -t ptychoserve .": CONTAINERS,
        "docker run --rm --read-only --tmpfs /tmp --cap-drop ALL --security-opt no-new-privileges \\":
            CONTAINERS,
        "docker compose -f docker/compose.yaml up --build --wait":
            f"{CONTAINERS}; service_files_test.py checks what it asks for",
        "docker/make_secrets.sh daq.example.org": CONTAINERS,
        "docker compose -f docker/compose.yaml -f docker/compose.gpu.yaml up --build --wait": CONTAINERS,
        "tar -xzf ptychoserve-0.1.0-debian12-amd64.tar.gz":
            "needs the packages; packages_test.py unpacks them and runs the programs"},
    "docs/performance.md": {
        "make gpu-bundle                        # on a machine with nvcc; no GPU needed":
            "needs nvcc, and a GPU"},
    "docs/scale_out.md": {
        "PTYCHOSERVE_NETWORK=namespaces PTYCHOSERVE_SESSIONS=20 python3 tests/deploy/proxy_test.py build":
            "needs root; the same test runs on the loopback interface",
        "mkdir -p -m 700 /shared/ptychoserve/secrets      # tls.crt, tls.key, access.yaml":
            "needs Slurm; slurm_test.py does it, by hand",
        "deploy/slurm/follow_endpoints.sh /shared/ptychoserve     # needs socat":
            "needs Slurm; slurm_test.py does it, by hand",
        "kubectl create namespace ptychoserve":
            "needs a cluster; kubernetes_test.py checks what is applied"},
    "docs/testing.md": {
        'make test        # builds and runs everything; ends with "N passed, N failed"': MINUTES,
        "tests/fuzz/pick_corpus.py build/fuzz TARGET": "needs a build by Clang, and what hours of fuzzing leave"},
}

# Installing takes root and a network: that the packages are those of docker/packages.txt is checked.
PRELUDE = f"""set -e
apt() {{ :; }}
sudo() {{ if [ "$1" = -u ]; then shift 2; fi; "$@"; }}
python3() {{ '{sys.executable}' -B "$@"; }}
"""


class Block(NamedTuple):
    heading: str
    number: int  # Below this heading, of those in this language.
    language: str
    text: str

    @property
    def first_line(self):
        return self.text.partition("\n")[0]


def blocks(page):
    """All blocks of a page, which is named as seen from the root of the tree."""
    heading, found = "", []
    for match in BLOCK.finditer((harness.ROOT / page).read_text(encoding="utf-8")):
        if match[1]:
            heading = match[1]
        else:
            number = sum((b.heading, b.language) == (heading, match[2]) for b in found)
            found.append(Block(heading, number, match[2], match[3]))
    return found


def to_run(page):
    """Those that a test has to run."""
    return [block for block in blocks(page) if block.language not in READ_ONLY
            and block.first_line not in NOT_RUN.get(page, {})]


def script(page, files=(), before=None, after=None, replaced=None):
    """All the code of a page in bash: writes its files, then goes through its commands from top to bottom.

    `files` names the blocks that are not commands, in their order, or is the one file of all. `before`
    and `after` are put around blocks of commands, by (heading, number). `replaced` is what a name that
    stands for something is below a heading, by (heading, name).
    """
    before, after = before or {}, after or {}
    code = to_run(page)
    contents = [block for block in code if block.language != COMMANDS]
    names = [files] * len(contents) if isinstance(files, str) else files
    assert len(contents) == len(names), f"{page}: {len(contents)} files"
    out = [PRELUDE]
    for name, block in zip(names, contents):
        out.append(f"cat >> {name} <<'END OF BLOCK'\n{block.text}END OF BLOCK")
    known = set()
    for block in code:
        if block.language == COMMANDS:
            key = block.heading, block.number
            known.add(key)
            text = block.text
            for (heading, old), new in (replaced or {}).items():
                text = text.replace(old, new) if heading == block.heading else text
            out += [before.get(key, ""), f"echo '=== {block.heading}, {block.number}'", text,
                    after.get(key, "")]
    assert {*before, *after} <= known, {*before, *after} - known
    return "\n".join(out)


def run(text, folder, **environment):
    """Runs a script with the programs of the build, and ends what it leaves; what it has printed."""
    inherited = {name: value for name, value in os.environ.items()
                 if not name.startswith(("PTYCHOSERVE", "LC_", "LANG"))}
    inherited["PATH"] = f"{harness.BUILD / 'bin'}:{inherited['PATH']}"
    with tempfile.TemporaryFile("w+", encoding="utf-8") as said:
        # A session of its own, so that nothing outlives the script.
        shell = subprocess.Popen(["bash", "-c", text], cwd=folder, stdin=subprocess.DEVNULL,
                                 stdout=said, stderr=subprocess.STDOUT, start_new_session=True,
                                 env={**inherited, **environment})
        try:
            shell.wait(harness.DEADLINE_S)
        finally:
            subprocess.run(["pkill", "-KILL", "-s", str(shell.pid)], check=False)
            shell.wait()
            said.seek(0)
            output = said.read()
            assert shell.returncode == 0, f"{output}\nended with {shell.returncode}"
    return output
