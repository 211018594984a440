#!/usr/bin/env bash
# A server on the GPU that is killed in mid-run, and started again, ends each deterministic run with
# the bits of one that nobody disturbed: through difference map and gradient, with one mode and with
# three. Usage: killed_runs.sh BIN_DIR [ROUNDS]
set -euo pipefail
bin=$1
rounds=${2:-3}
work=$(mktemp -d -p "$([[ -w /dev/shm ]] && echo /dev/shm || echo /tmp)")
server=
trap 'kill -KILL $server 2>/dev/null || true; tail -n 20 "$work/log"; rm -rf "$work"' EXIT

# start_server: on the port of the first one, with what that one has saved.
address=127.0.0.1:0
start_server() {
  rm -f "$work/address"
  "$bin/ptychoserved" --listen "$address" --port-file "$work/address" --device cuda \
    --state-dir "$work/state" --checkpoint-interval-s 0.3 >> "$work/log" 2>&1 &
  server=$!
  for _ in $(seq 300); do [[ -s $work/address ]] && break; sleep 0.1; done
  address=$(cat "$work/address")
}

# run NAME MODES: reconstructs the scan, all of which is there from the first iteration on.
run() {
  "$bin/ptychoctl" run "$work/scan.cxi" --server "$address" --session "$1" --modes "$2" \
    --probe "$work/scan.cxi:/entry_1/instrument_1/initial_probe" --deterministic \
    --min-points 400 --schedule dm:4000,ml_grad:2000 --out "$work/$1.npz" --quiet
}

"$bin/ptychoctl" simulate "$work/scan.cxi" --points 400 --frame 128 --modes 3
start_server
killed=0
for modes in 1 3; do
  begin=$SECONDS
  run undisturbed-$modes $modes
  echo "$modes modes: undisturbed in $((SECONDS - begin)) s"
  for round in $(seq "$rounds"); do
    run killed-$modes-$round $modes &
    client=$!
    for _ in 1 2; do
      sleep "$(python3 -c "import random; print(random.uniform(0.4, 1.6))")"
      kill -0 $client 2>/dev/null && killed=$((killed + 1))
      kill -KILL $server
      wait $server 2>/dev/null || true
      start_server
    done
    wait $client
    python3 - "$work/undisturbed-$modes.npz" "$work/killed-$modes-$round.npz" <<'PY'
import sys
import zipfile

members = [{name: archive.read(name) for name in archive.namelist()}
           for archive in map(zipfile.ZipFile, sys.argv[1:])]
assert members[0].keys() == members[1].keys()
different = [name for name in members[0] if members[0][name] != members[1][name]]
assert not different, f"{sys.argv[2]}: other bits in {different}"
PY
    echo "$modes modes, round $round: the same bits"
  done
done
((killed > 0)) || { echo "no run was killed"; exit 1; }
echo "$killed kills in mid-run"
kill -TERM $server
wait $server
