#!/usr/bin/env bash
# Server and client over loopback on the GPU: a simulated scan must come out near its known
# object, on the GPU, and the server must stop cleanly. Usage: simulated_scan.sh BIN_DIR
set -euo pipefail
bin=$1
work=$(mktemp -d)
"$bin/ptychoserved" --listen 127.0.0.1:0 --port-file "$work/address" --device cuda \
  > "$work/log" 2>&1 &
server=$!
trap 'kill -KILL $server 2>/dev/null || true; cat "$work/log"; rm -rf "$work"' EXIT
for _ in $(seq 100); do [[ -s $work/address ]] && break; sleep 0.1; done
address=$(cat "$work/address")

"$bin/ptychoctl" simulate "$work/scan.cxi" --points 900 --frame 256
"$bin/ptychoctl" run "$work/scan.cxi" --server "$address" --streams 2 --encoding bslz4 --shuffle \
  --duplicate 0.05 --probe "$work/scan.cxi:/entry_1/instrument_1/initial_probe" \
  --out "$work/result.npz" --json | tee "$work/result.json"
python3 - "$work/result.json" <<'PY'
import json
import sys

result = json.loads(open(sys.argv[1]).readlines()[-1])
session = result
assert session["state"].endswith("COMPLETED"), session["state"]
assert session["device"].startswith("cuda:"), session["device"]
assert result["truth"]["complex_error"] < 0.1, result["truth"]
PY
kill -TERM $server
wait $server
