#!/usr/bin/env bash
# Runs all GPU tests of the bundle that this script lies in and ends with one line:
# N passed, N failed. Logs go to LOG_DIR. With BENCH=0 in the environment nothing is measured.
# Usage: run_gpu_tests.sh [LOG_DIR]
set -uo pipefail
cd "$(dirname "$(realpath "$0")")" || exit 1
. ./unpack.sh
logs=${1:-logs}
mkdir -p "$logs"
cuda=${CUDA_HOME:-/usr/local/cuda}
export PTYCHOSERVE_REFERENCE_DIR=$PWD/reference
passed=0
failed=0

# result NAME STATUS LOG: counts one check that is not a GoogleTest program.
result() {
  if (($2 == 0)); then
    passed=$((passed + 1))
    echo "passed: $1"
  else
    failed=$((failed + 1))
    echo "FAILED: $1"
    tail -n 30 "$3"
  fi
}

# googletest NAME PROGRAM [ARGUMENTS]: counts each test; a crash counts as one failure.
googletest() {
  local name=$1 log=$logs/$1.log xml=$logs/$1.xml
  shift
  "$@" --gtest_brief=1 "--gtest_output=xml:$xml" > "$log" 2>&1
  local status=$? tests=0 failures=0
  if [[ -s $xml ]]; then
    read -r tests failures < <(sed -n \
      's/.*<testsuites tests="\([0-9]*\)" failures="\([0-9]*\)".*/\1 \2/p' "$xml" | head -n 1)
  fi
  ((status != 0 && failures == 0)) && failures=1 && tests=$((tests > 0 ? tests : 1))
  passed=$((passed + tests - failures))
  failed=$((failed + failures))
  echo "$name: $((tests - failures)) passed, $failures failed"
  ((failures > 0)) && grep -v '^Running main' "$log" | tail -n 60
  grep 'largest deviations\|estimate' "$log" | sort | uniq
}

nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader
googletest cuda_tests bin/cuda_tests
[[ -x bin/engine_tests ]] && googletest engine_tests bin/engine_tests

# Memory errors and reads of uninitialised memory, over everything that grows, moves or overflows;
# races in shared memory, over the kernels that use it, with every length of row and column.
sanitizer=$(command -v compute-sanitizer || echo "$cuda/bin/compute-sanitizer")
declare -A filters=(
  [memcheck]='Streaming.*:Canvas.*:CudaBackend.*:Chunks.*:*ExitWaves*:*RefinementAgreement*:*NearField*:*GpuEqualsCpu*/LsqMl_*-*SideBySide*'
  [initcheck]='Streaming.*:Canvas.*:CudaBackend.*:Chunks.*:*ExitWaves*:*RefinementAgreement*:*NearField*:*GpuEqualsCpu*/LsqMl_*-*SideBySide*'
  [racecheck]='*GpuEqualsCpu*/DifferenceMap_*:*GpuEqualsCpu*/MlPoisson_*:*GpuEqualsCpu*/LsqMl_*:*RefinementAgreement*'
)
if [[ -x $sanitizer ]]; then
  for tool in memcheck initcheck racecheck; do
    "$sanitizer" --tool "$tool" --error-exitcode 9 bin/cuda_tests \
      "--gtest_filter=${filters[$tool]}" > "$logs/$tool.log" 2>&1
    result "compute-sanitizer $tool" $? "$logs/$tool.log"
  done
else
  echo "compute-sanitizer is not there" > "$logs/sanitizer.log"
  result "compute-sanitizer" 1 "$logs/sanitizer.log"
fi

# The time of an iteration; run_bench.sh has the full table.
if [[ ${BENCH:-1} != 0 && -x bin/bench_engine ]]; then
  bin/bench_engine --algorithms dm,ml_grad,epie,lsqml --json "$logs/bench.json" > "$logs/bench.log" 2>&1
  result "bench_engine" $? "$logs/bench.log"
  cat "$logs/bench.log"
fi

# Scripts that exercise server and client end to end; each says so by its exit status.
for script in e2e/*.sh; do
  [[ -e $script ]] || continue
  name=$(basename "$script" .sh)
  bash "$script" "$PWD/bin" > "$logs/$name.log" 2>&1
  result "$name" $? "$logs/$name.log"
done

echo "$passed passed, $failed failed"
((failed == 0))
