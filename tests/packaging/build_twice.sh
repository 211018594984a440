#!/usr/bin/env bash
# Builds the packages of the commit twice, from nothing, in folders of different names, and compares them
# bit by bit. Takes as long as two builds. Without CUDA, as what nvcc makes depends on the folder.
# Usage: tests/packaging/build_twice.sh [FOLDER]
set -euo pipefail
root=$(realpath "$(dirname "$0")/../..")
work=$(mktemp -d "${1:-${TMPDIR:-/tmp}}/build-twice.XXXXXX")
export CCACHE_DISABLE=1
from=$root
for copy in once once_more; do
  folder=$work/$copy/ptychoserve
  git clone --quiet "$from" "$folder"
  from=$folder  # Of the same commit, whatever is committed meanwhile.
  (cd "$folder" && cmake --preset release -DPTYCHOSERVE_CUDA=OFF > /dev/null)
  make -C "$folder" package
done
sums() { (cd "$1" && sha256sum -- *); }
once=$work/once/ptychoserve/build/package
if diff <(sums "$once") <(sums "$work/once_more/ptychoserve/build/package"); then
  sums "$once"
  echo "both builds are the same"
  rm -rf "$work"
else
  echo "the builds differ; they are left in $work" >&2
  exit 1
fi
