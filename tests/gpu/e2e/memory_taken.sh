#!/usr/bin/env bash
# Another program takes the GPU's memory behind the server's back: a session that does not fit is
# refused in words, nothing stays reserved for it, one that runs is not disturbed, and when the
# memory is back, so are the sessions. Usage: memory_taken.sh BIN_DIR
set -euo pipefail
bin=$1
work=$(mktemp -d)
trap 'jobs -p | xargs -r kill -KILL 2>/dev/null || true; tail -n 20 "$work/log"; rm -rf "$work"' EXIT
"$bin/ptychoserved" --listen 127.0.0.1:0 --port-file "$work/address" --device cuda \
  > "$work/log" 2>&1 &
server=$!
for _ in $(seq 300); do [[ -s $work/address ]] && break; sleep 0.1; done
address=$(cat "$work/address")
reserved() {
  "$bin/ptychoctl" info --server "$address" --json |
    python3 -c 'import json, sys; print(json.load(sys.stdin)["devices"][0]["reserved_bytes"])'
}

"$bin/ptychoctl" simulate "$work/scan.cxi" --points 400 --frame 128
probe="$work/scan.cxi:/entry_1/instrument_1/initial_probe"
"$bin/ptychoctl" run "$work/scan.cxi" --server "$address" --session before --probe "$probe" \
  --schedule dm:40000,ml_grad:10 --out "$work/before.npz" --quiet --json > "$work/before.json" &
running=$!
for _ in $(seq 100); do (($(reserved) > 0)) && break; sleep 0.1; done
held=$(reserved)

mkfifo "$work/hold"
"$bin/memory_hog" $((1 << 30)) < "$work/hold" > "$work/hog" &
exec 3> "$work/hold"
for _ in $(seq 100); do [[ -s $work/hog ]] && break; sleep 0.1; done
echo "taken: $(cat "$work/hog") bytes"

# Two gigabytes of exit waves, and a quarter as much of frames.
large=(--capacity 20000 --probe "$probe")
if "$bin/ptychoctl" run "$work/scan.cxi" --server "$address" --session large "${large[@]}" \
    --quiet 2> "$work/refused"; then
  echo "a session was admitted that does not fit" && exit 1
fi
cat "$work/refused"
grep -qi 'memory' "$work/refused"
[[ $(reserved) == "$held" ]] || { echo "reserved: $(reserved), before: $held"; exit 1; }

exec 3>&-
for _ in $(seq 100); do
  "$bin/ptychoctl" run "$work/scan.cxi" --server "$address" --session "again-$RANDOM" \
    "${large[@]}" --schedule dm:5 --quiet 2> "$work/again" && break
  sleep 0.2
done
cat "$work/again"
kill -0 $running  # It was under way all the time.
"$bin/ptychoctl" stop before --server "$address" > /dev/null
wait $running
grep -Eq "STOPPED|COMPLETED" "$work/before.json"
[[ $(reserved) == 0 ]] || { echo "still reserved: $(reserved)"; exit 1; }
kill -TERM $server
wait $server
