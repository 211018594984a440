#!/usr/bin/env bash
# Collects everything that the tests on a GPU machine need into one folder: the programs, their
# shared libraries, the expected results, run_gpu_tests.sh and run_bench.sh. That machine needs
# the NVIDIA driver, a CUDA toolkit with cuFFT and compute-sanitizer, and a C++ runtime at least
# as new as the one here; none of this project's packages.
# Usage: tests/gpu/make_bundle.sh BUILD_DIR OUT_DIR
set -euo pipefail
build=$(realpath "$1")
out=$2
here=$(dirname "$(realpath "$0")")
readonly limit_mib=60

# Whatever of these has been built; the first is what the bundle is for.
programs=(cuda_tests memory_hog bench_engine polling_bench ingest_bench sharing_bench ptychoserved ptychoctl)
# Come with the GPU machine: the C and C++ runtime, the driver, the CUDA toolkit.
readonly from_system='^(linux-vdso|ld-linux-x86-64|libc|libm|libdl|libpthread|librt|libresolv|libstdc\+\+|libgcc_s|libcuda|libcufft|libcudart|libnvJitLink)\.so'

if [[ ! -x $build/bin/cuda_tests ]]; then
  echo "make_bundle.sh: $build/bin/cuda_tests is missing; build with -DPTYCHOSERVE_CUDA=ON" >&2
  exit 1
fi
rm -rf "$out"
mkdir -p "$out/bin" "$out/lib"
for program in "${programs[@]}"; do
  [[ -x $build/bin/$program ]] || continue
  strip -o "$out/bin/$program" "$build/bin/$program"
  while read -r name path; do
    [[ $name =~ $from_system ]] && continue
    if [[ $path != /* ]]; then
      echo "make_bundle.sh: $program needs $name, which is not found here" >&2
      exit 1
    fi
    [[ -e $out/lib/$name ]] || strip -o "$out/lib/$name" "$path" 2>/dev/null ||
      cp -L "$path" "$out/lib/$name"
  done < <(ldd "$build/bin/$program" | awk '$2 == "=>" { print $1, $3 }')
done
cp -r "$build/tests/reference/data" "$out/reference"
# The scripts unpack what compresses well.
for folder in bin lib reference; do
  tar -C "$out" -cJf "$out/$folder.tar.xz" "$folder"
  rm -r "${out:?}/$folder"
done
cp "$here/unpack.sh" "$here/run_gpu_tests.sh" "$here/run_bench.sh" "$out/"
[[ -d $here/e2e ]] && cp -r "$here/e2e" "$out/"

size_mib=$(du -sm "$out" | cut -f1)
echo "$out: $size_mib MiB"
if ((size_mib >= limit_mib)); then
  echo "make_bundle.sh: the bundle must stay below $limit_mib MiB" >&2
  exit 1
fi
