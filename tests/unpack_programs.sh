#!/usr/bin/env bash
# Unpacks Debian packages of which tests need a program into a folder. They are not installed: that would
# start their services, now and each time that the machine starts. Only the libraries they need are.
# Usage: tests/unpack_programs.sh FOLDER PACKAGE...
set -euo pipefail
folder=$1
shift
sudo=()
[ "$(id -u)" = 0 ] || sudo=(sudo)
missing=()
for package in "$@"; do
  [ -e "$folder/$package" ] || missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || exit 0

mkdir -p "$folder"
folder=$(realpath "$folder")
download=$(mktemp -d)
trap 'rm -rf "$download"' EXIT
echo "unpacking into $folder: ${missing[*]}"
"${sudo[@]}" apt-get update -qq
for package in "${missing[@]}"; do
  libraries=$(apt-cache show --no-all-versions "$package" | sed -n 's/^Depends: //p' | tr ',' '\n' \
    | grep -E '^ *lib' | grep -v 'libjs-' | paste -sd,)
  "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get satisfy -y -qq --no-install-recommends \
    -o DPkg::Lock::Timeout=300 "$libraries"
  (cd "$download" && apt-get download -qq -o APT::Sandbox::User="$(id -un)" "$package")
  dpkg -x "$download/$package"_*.deb "$folder"
  touch "$folder/$package"
done
