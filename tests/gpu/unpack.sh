# Unpacks the bundle that this file lies in, once, and lets programs find its libraries. Sourced by
# the other scripts, or by a shell in which programs of the bundle are to be run, from its folder.
for archive in *.tar.xz; do
  [[ -e $archive && ! -d ${archive%.tar.xz} ]] && tar -xJf "$archive"
done
export LD_LIBRARY_PATH="$PWD/lib:${CUDA_HOME:-/usr/local/cuda}/lib64${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
