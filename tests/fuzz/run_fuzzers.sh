#!/usr/bin/env bash
# Runs fuzzers for some minutes each, and stops at the first finding with the command that repeats
# it. What they learn stays in BUILD_DIR/corpus, what they find in BUILD_DIR/findings.
# Usage: tests/fuzz/run_fuzzers.sh BUILD_DIR MINUTES [TARGET...]; all targets by default
set -uo pipefail
build=$(realpath "$1")
minutes=$2
shift 2
cd "$(dirname "$0")"
targets=${*:-$(ls corpus)}

# Libraries of the system are not instrumented: their containers' annotations contradict ours.
export ASAN_OPTIONS=detect_container_overflow=0${ASAN_OPTIONS:+:$ASAN_OPTIONS}
export UBSAN_OPTIONS=print_stacktrace=1${UBSAN_OPTIONS:+:$UBSAN_OPTIONS}
# Targets write files of some kilobytes for each input.
if [ -z "${TMPDIR:-}" ] && [ -w /dev/shm ]; then export TMPDIR=/dev/shm; fi

# Without -entropic=0 the choice of the next input, among this much code, takes most of the time.
for target in $targets; do
  mkdir -p "$build/corpus/$target" "$build/findings"
  log=$build/findings/$target.log
  echo "== $target, $minutes minutes"
  if ! "$build/bin/fuzz_$target" -max_total_time=$((minutes * 60)) -max_len=4096 -timeout=10 \
    -rss_limit_mb=2048 -malloc_limit_mb=64 -entropic=0 -len_control=10 -print_final_stats=1 \
    -artifact_prefix="$build/findings/$target-" \
    "$build/corpus/$target" "corpus/$target" > "$log" 2>&1; then
    tail -n 60 "$log"
    finding=$(sed -n 's/.*Test unit written to //p' "$log" | tail -n 1)
    echo "FINDING of $target: ${finding:-none was written; see $log}"
    echo "  again:  ASAN_OPTIONS=$ASAN_OPTIONS $build/bin/fuzz_$target -malloc_limit_mb=64 $finding"
    exit 1
  fi
  grep -E '^stat::(number_of_executed_units|average_exec_per_sec|peak_rss_mb)' "$log"
done
