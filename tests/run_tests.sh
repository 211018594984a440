#!/usr/bin/env bash
# Runs every test registered in a build folder and ends with one line: N passed, N failed.
# Usage: tests/run_tests.sh BUILD_DIR [ctest arguments]
set -uo pipefail
build=$1
shift
report=$build/test-report.xml
ctest --test-dir "$build" --output-on-failure --no-tests=error -j "$(nproc)" \
  --output-junit "$(realpath "$build")/test-report.xml" "$@"
status=$?
python3 - "$report" <<'PY'
import sys
import xml.etree.ElementTree as ET

root = ET.parse(sys.argv[1]).getroot()
cases = root.findall(".//testcase")
passed = sum(c.get("status") == "run" for c in cases)
print(f"{passed} passed, {len(cases) - passed} failed")
PY
exit $status
