#!/usr/bin/env bash
# Runs every test registered in a build folder, repeats what the failed ones said in lines that begin
# with FAILED, and ends with one line: N passed, N failed. Of a registered test that is a shard of many,
# each one counts.
# Usage: tests/run_tests.sh BUILD_DIR [ctest arguments]
set -uo pipefail
build=$1
shift
report=$build/test-report.xml
ctest --test-dir "$build" --output-on-failure --no-tests=error -j "$(nproc)" \
  --output-junit "$(realpath "$build")/test-report.xml" "$@"
status=$?
python3 - "$report" <<'PY'
import re
import sys
import xml.etree.ElementTree as ET

root = ET.parse(sys.argv[1]).getroot()
cases = root.findall(".//testcase")
failed = [c for c in cases if c.get("status") != "run"]
for case in failed:
    for line in (case.findtext("system-out") or "").splitlines()[-40:] or ["(said nothing)"]:
        print(f"FAILED {case.get('name')}: {line}")


def count(case, word, otherwise):
    found = re.search(rf"^\[  {word}  \] (\d+) tests?", case.findtext("system-out") or "", re.MULTILINE)
    return int(found[1]) if found else otherwise


passed = sum(count(case, "PASSED", int(case not in failed)) for case in cases)
print(f"{passed} passed, {sum(count(case, 'FAILED', 1) for case in failed)} failed")
PY
exit $status
