#!/usr/bin/env bash
# Measures time, memory and convergence of the engine on the first GPU, in some minutes, with the
# programs of the bundle that this script lies in. One JSON document for each line of the table
# below, and all that was printed, go to OUT_DIR. Ends with the number of those that failed.
# Usage: run_bench.sh [OUT_DIR]
set -uo pipefail
out=$(realpath -m "${1:-bench}")
cd "$(dirname "$(realpath "$0")")" || exit 1
. ./unpack.sh
mkdir -p "$out"
failed=0

# bench NAME FLAGS...
bench() {
  local name=$1
  shift
  echo "== $name"
  if ! bin/bench_engine "$@" --json "$out/$name.json" 2>&1 | tee "$out/$name.log"; then
    failed=$((failed + 1))
    echo "FAILED: $name"
  fi
}

nvidia-smi --query-gpu=name,driver_version,memory.total,clocks.sm,clocks.max.sm \
  --format=csv,noheader | tee "$out/gpu.txt"
bench integer_256 --frames 1024,4096 --sizes 256 --integer_positions
bench float_256 --frames 1024,4096 --sizes 256
bench integer_128 --frames 4096 --sizes 128 --integer_positions
bench float_128 --frames 4096 --sizes 128
bench integer_512 --frames 1024 --sizes 512 --integer_positions
bench float_512 --frames 1024 --sizes 512
bench single_integer_256 --frames 1024,4096 --sizes 256 --integer_positions --single_precision_waves
bench single_float_256 --frames 4096 --sizes 256 --single_precision_waves
bench single_integer_128 --frames 4096 --sizes 128 --integer_positions --single_precision_waves
bench single_integer_512 --frames 1024 --sizes 512 --integer_positions --single_precision_waves
bench large_256 --algorithms dm --frames 40000 --sizes 256 --iterations 10 --integer_positions
bench deterministic_256 --frames 4096 --sizes 256 --integer_positions --deterministic
bench epie_256 --algorithms epie,lsqml --frames 1024,4096 --sizes 256
bench epie_seq_256 --algorithms epie_seq --frames 1024 --sizes 256 --iterations 5
bench snapshots_256 --frames 4096 --sizes 256 --integer_positions --snapshots
bench single_convergence_256 --convergence --frames 1024,4096 --sizes 256 --schedule dm:60 \
  --single_precision_waves
bench convergence_256 --convergence --frames 1024,4096 --sizes 256 --schedule dm:60
bench lsqml_convergence_256 --convergence --frames 1024,4096 --sizes 256 --schedule lsqml:60

echo "$failed failed"
((failed == 0))
