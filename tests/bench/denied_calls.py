#!/usr/bin/env python3
"""Whether the time that a denied call takes tells what is there.

    denied_calls.py BUILD_DIR [--calls N]

Starts a ptychoserved with an access file and asks, over one connection and in turns of random order,
for things that are there and things that are not, which the caller may see neither of. Prints one
JSON line for each pair:

    pair                    what was asked for
    median_us               of either
    told_apart              the probability that a call about what is there takes longer than one
                            about what is not: 0.5 is a guess; +- is one standard error of a guess
"""

import argparse
import json
import os
import pathlib
import random
import statistics
import sys
import tempfile
import time

TESTS = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(TESTS / "e2e"))

import harness  # noqa: E402


def told_apart(there, absent):
    """Mann and Whitney's U, of the number of pairs; Annals of Mathematical Statistics 18, 50."""
    ranked = sorted([(t, 1) for t in there] + [(t, 0) for t in absent])
    ranks = sum(rank for rank, (_, is_there) in enumerate(ranked, 1) if is_there)
    n, m = len(there), len(absent)
    return (ranks - n * (n + 1) / 2) / (n * m), ((n + m + 1) / (12 * n * m)) ** 0.5


def compare(pair, calls, rounds):
    """`calls`: what asks for what is there, and for what is not."""
    times = ([], [])
    for warm in (True, False):
        for _ in range(rounds // 10 if warm else rounds):
            for which in random.sample((0, 1), 2):
                begin = time.perf_counter_ns()
                calls[which]()
                if not warm:
                    times[which].append(time.perf_counter_ns() - begin)
    probability, error = told_apart(*times)
    print(json.dumps({"pair": pair, "median_us": [statistics.median(t) / 1e3 for t in times],
                      "told_apart": round(probability, 4), "+-": round(error, 4)}), flush=True)


def ctl(*arguments, **environment):
    done = harness.run_program("ptychoctl", *arguments, env={**os.environ, **environment})
    assert done.returncode == 0, done.stderr
    return done.stdout


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("--calls", type=int, default=10_000)
    options = parser.parse_args()
    harness.BUILD = options.build.resolve()
    sys.path.insert(0, str(harness.BUILD / "python"))
    import grpc
    from ptychoserve.v1 import session_pb2

    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder)

        def token(name, tenant):
            return json.loads(ctl("token", name, "--role", "operator", "--tenant", tenant, "--json"))

        owner, stranger = token("owner", "a"), token("stranger", "b")
        secret, other = owner.pop("token"), stranger.pop("token")
        (path / "access.yaml").write_text(json.dumps({"principals": [owner, stranger]}))
        server = harness.Server(folder, "--access-file", str(path / "access.yaml"))
        try:
            scan = path / "scan.cxi"
            ctl("simulate", scan, "--points", "60", "--frame", "64")
            ctl("create", "--session", "there", "--scan", scan, PTYCHOSERVE_SERVER=server.address,
                PTYCHOSERVE_TOKEN=secret)
            with grpc.insecure_channel(server.address) as channel:
                get = channel.unary_unary("/ptychoserve.v1.Ptychoserve/GetSession",
                                          session_pb2.GetSessionRequest.SerializeToString)

                def asking(name, bearer):
                    request = session_pb2.GetSessionRequest(name=f"sessions/{name}")
                    metadata = (("authorization", f"Bearer {bearer}"),)

                    def ask():
                        try:
                            get(request, metadata=metadata)
                            raise AssertionError("the call was not denied")
                        except grpc.RpcError:
                            pass

                    return ask

                compare("another tenant's session, and none of that name",
                        (asking("there", other), asking("ether", other)), options.calls)
                close = secret[:-1] + ("A" if secret[-1] != "A" else "B")
                far = ("A" if secret[0] != "A" else "B") + secret[1:]
                compare("a token wrong in its last character, and in its first",
                        (asking("there", close), asking("there", far)), options.calls)
        finally:
            server.stop()


if __name__ == "__main__":
    main()
