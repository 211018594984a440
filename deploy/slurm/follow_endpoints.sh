#!/usr/bin/env bash
# Tells HAProxy where the servers of Slurm jobs are, each time they come up anew: the job node-a is the
# server node-a of deploy/proxy/haproxy.cfg. Runs beside HAProxy, until it is stopped.
# Usage: follow_endpoints.sh PTYCHOSERVE_DIR [HAPROXY_SOCKET]
set -euo pipefail
folder=${1:?the folder that all nodes share}/endpoints
socket=${2:-/run/haproxy/admin.sock}

# host:port, as "ADDRESS port PORT".
place() {
  local address
  address=$(getent ahostsv4 "${1%:*}" | awk 'NR == 1 {print $1}')
  [ -n "$address" ] && echo "$address port ${1##*:}"
}

# What HAProxy says when something has changed; again and again, as it forgets at a restart.
tell() { printf '%s\n' "$1" | socat -t 5 - "UNIX-CONNECT:$socket" | grep -v -e 'no need to change the addr, no need to change the port' -e '^$' || true; }

while true; do
  for file in "$folder"/*.json; do
    name=$(basename "$file" .json)
    # A server that ends takes its files away meanwhile.
    server=$(place "$(cat "$folder/$name")") || continue
    check=$(place "$(sed -n 's/.*"targets": \["\([^"]*\)"\].*/\1/p' "$file")") || continue
    tell "set server nodes/$name addr $server"
    tell "set server nodes/$name check-addr $check"
  done
  sleep 2
done
