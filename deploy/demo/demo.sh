#!/usr/bin/env bash
# Streams a simulated scan into a server of its own while it is reconstructed, and leaves the
# result as pictures and a CXI file. Usage: deploy/demo/demo.sh BUILD_DIR
# While it runs, the dashboard shows it in a browser, if its page has been built.
# DEMO_OUT=DIR keeps the result there; DEMO_POINTS and DEMO_RATE (frames per second) set the scan.
set -euo pipefail
build=$(realpath "${1:?build folder}")
out=${DEMO_OUT:-$(mktemp -d /tmp/ptychoserve-demo.XXXXXX)}
points=${DEMO_POINTS:-400}
rate=${DEMO_RATE:-40}
mkdir -p "$out"
out=$(realpath "$out")

server_pid=
dashboard_pid=
cleanup() {
  for pid in $dashboard_pid $server_pid; do
    kill -TERM "$pid" 2>/dev/null || true
    wait "$pid" 2>/dev/null || true
  done
}
trap cleanup EXIT
trap 'exit 130' INT TERM

echo "1/4  simulating a detector: $points frames of 128 x 128"
"$build/bin/ptychoctl" simulate "$out/scan.cxi" --points "$points" --seed 1

echo "2/4  starting a server on a free port (log: $out/server.log)"
"$build/bin/ptychoserved" --listen 127.0.0.1:0 --port-file "$out/address" \
  > "$out/server.log" 2>&1 &
server_pid=$!
for _ in $(seq 100); do
  [ -s "$out/address" ] && break
  kill -0 "$server_pid" 2>/dev/null || { cat "$out/server.log"; exit 1; }
  sleep 0.1
done
address=$(cat "$out/address")

start_dashboard() {
  if [ ! -f "$build/dashboard/index.html" ]; then
    if command -v npm > /dev/null; then
      echo "     no dashboard: its page is not built yet (make dashboard)"
    else
      echo "     no dashboard: its page needs npm to be built (make dashboard installs it)"
    fi
    return
  fi
  PYTHONPATH=$build/python PTYCHOSERVE_PROGRAM="ptychoctl dashboard" \
    /usr/bin/python3 -B -m ptychoserve.dashboard --server "$address" --listen 127.0.0.1:0 \
    --port-file "$out/page" > "$out/dashboard.log" 2>&1 &
  dashboard_pid=$!
  for _ in $(seq 50); do
    [ -s "$out/page" ] && break
    kill -0 "$dashboard_pid" 2>/dev/null || break
    sleep 0.1
  done
  if [ ! -s "$out/page" ]; then
    echo "     no dashboard: see $out/dashboard.log"
    return
  fi
  local url
  url="$(cat "$out/page")#/sessions/demo"
  echo "     in a browser: $url"
  if [ -n "${DISPLAY:-}${WAYLAND_DISPLAY:-}" ] && command -v xdg-open > /dev/null; then
    xdg-open "$url" > /dev/null 2>&1 &
  fi
}
start_dashboard

echo "3/4  streaming $rate frames a second to $address while it iterates"
"$build/bin/ptychoctl" run "$out/scan.cxi" --server "$address" --session demo \
  --rate "$rate" --batch 4 --out "$out/result.cxi" --pictures "$out"

echo "4/4  stopping the server"
if [ -n "$dashboard_pid" ]; then
  kill -TERM "$dashboard_pid" 2>/dev/null || true
  wait "$dashboard_pid" || true
  dashboard_pid=
fi
kill -TERM "$server_pid"
wait "$server_pid"
server_pid=

echo
echo "Results in $out:"
ls -1 "$out" | sed 's/^/  /'
