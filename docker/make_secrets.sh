#!/usr/bin/env bash
# Makes what compose.yaml wants in docker/secrets: a certificate authority and tokens; in its folder server/
# the server's certificate, and the access file that knows the tokens.
# Usage: docker/make_secrets.sh [NAME...]
# NAME: further host names or addresses by which clients reach the server.
# Keeps what is there, so that it can be run again. For a new certificate remove server/server.crt alone:
# clients go on with the authority and the tokens that they have. For all of it anew remove docker/secrets.
set -euo pipefail
umask 022

die() { echo "make_secrets.sh: $*" >&2; exit 1; }
# openssl, which is heard only when it fails.
ssl() { local said; said=$(openssl "$@" 2>&1) || die "openssl $1: $said"; }
is_address() { [[ $1 =~ ^[0-9.]+$|: ]]; }

names="DNS:server,DNS:localhost,IP:127.0.0.1"
for name in "$@"; do
  [[ $name =~ ^[A-Za-z0-9*:][A-Za-z0-9.:*-]*$ ]] || die "'$name' is no host name and no address"
  if is_address "$name"; then names+=",IP:$name"; else names+=",DNS:$name"; fi
done
command -v openssl > /dev/null || die "needs the package openssl"

directory=$(dirname "$(realpath "$0")")/secrets
mkdir -p "$directory/server"
# Files have to be readable for the user of the containers, so that the directory is closed instead.
chmod 700 "$directory"
cd "$directory"

if [ ! -e ca.crt ]; then
  ssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650 -sha256 \
    -subj "/CN=ptychoserve CA" -addext "keyUsage=critical,keyCertSign,cRLSign" \
    -keyout ca.key -out ca.crt
  chmod 600 ca.key
fi
if [ ! -e server/server.crt ]; then
  ssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -sha256 -subj "/CN=server" \
    -keyout server/server.key -out server.csr
  ssl x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 825 -sha256 \
    -extfile <(echo "subjectAltName=$names"; echo "extendedKeyUsage=serverAuth") -out server/server.crt
  rm server.csr
  chmod 644 server/server.key
fi
for name in "$@"; do
  if is_address "$name"; then check=-checkip; else check=-checkhost; fi
  openssl x509 -noout -in server/server.crt $check "$name" | grep -q 'does match' \
    || die "server.crt is not for '$name': remove $directory/server/server.crt," \
      "and run this again with all names"
done

[ -e page.token ] || openssl rand -hex 24 > page.token
if [ ! -e server/access.yaml ]; then
  access="principals:"
  for role in producer viewer operator; do
    [ -e $role.token ] || openssl rand -hex 32 > $role.token
    access+=$'\n'"  - name: $role"$'\n'"    role: $role"
    access+=$'\n'"    sha256: $(tr -d '\n' < $role.token | sha256sum | cut -d' ' -f1)"
  done
  echo "$access" > server/access.yaml
fi
echo "$directory has:"
find . -type f -printf '%P\n' | sort
