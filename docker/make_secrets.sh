#!/usr/bin/env bash
# Makes what compose.yaml wants in docker/secrets: a certificate authority, the server's certificate,
# tokens, and the access file that knows them. Usage: docker/make_secrets.sh [NAME...]
# NAME: further host names or addresses by which clients reach the server.
# Keeps what is there, so that it can be run again: remove docker/secrets for new ones.
set -euo pipefail
umask 022
directory=$(dirname "$(realpath "$0")")/secrets
mkdir -p "$directory"
# Files have to be readable for the user of the containers, so that the directory is closed instead.
chmod 700 "$directory"
cd "$directory"

names="DNS:server,DNS:localhost,IP:127.0.0.1"
for name in "$@"; do
  if [[ $name =~ ^[0-9.]+$|: ]]; then names+=",IP:$name"; else names+=",DNS:$name"; fi
done
if [ ! -e server.crt ]; then
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650 -sha256 \
    -subj "/CN=ptychoserve CA" -addext "keyUsage=critical,keyCertSign,cRLSign" \
    -keyout ca.key -out ca.crt 2> /dev/null
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -sha256 -subj "/CN=server" \
    -keyout server.key -out server.csr 2> /dev/null
  openssl x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 825 -sha256 \
    -extfile <(echo "subjectAltName=$names"; echo "extendedKeyUsage=serverAuth") \
    -out server.crt 2> /dev/null
  rm server.csr
  chmod 644 server.key
  chmod 600 ca.key
fi

[ -e page.token ] || openssl rand -hex 24 > page.token
if [ ! -e access.yaml ]; then
  echo "principals:" > access.yaml
  for role in producer viewer; do
    openssl rand -hex 32 > $role.token
    {
      echo "  - name: $role"
      echo "    role: $role"
      echo "    sha256: $(head -n 1 $role.token | tr -d '\n' | sha256sum | cut -d' ' -f1)"
    } >> access.yaml
  done
fi
echo "$directory has:"
ls -1
