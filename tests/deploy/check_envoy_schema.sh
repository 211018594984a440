#!/usr/bin/env bash
# Reads the configurations of Envoy, that of Kubernetes too, as Envoy's own messages: unknown fields, wrong
# types and names are errors. Needs protoc, python3-protobuf, python3-yaml, and npm with its registry for the
# messages, so it is run by hand. Usage: check_envoy_schema.sh
set -euo pipefail
deploy=$(realpath "$(dirname "$0")/../../deploy")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm pack --silent @grpc/grpc-js-xds@1 | xargs tar -xzf
cd package/deps
# The messages use a rule that is newer than the rules' definition beside them.
sed -i 's/^message StringRules {/& optional bool ignore_empty = 26;/' protoc-gen-validate/validate/validate.proto
extensions=envoy/extensions
protoc -I envoy-api -I xds -I protoc-gen-validate -I googleapis --include_imports --descriptor_set_out=messages \
  envoy/config/bootstrap/v3/bootstrap.proto \
  $extensions/filters/http/router/v3/router.proto \
  $extensions/filters/network/http_connection_manager/v3/http_connection_manager.proto \
  $extensions/transport_sockets/{raw_buffer/v3/raw_buffer,tls/v3/tls}.proto \
  $extensions/upstreams/http/v3/http_protocol_options.proto 2> warnings || { cat warnings; exit 1; }

/usr/bin/python3 - "$deploy/proxy/envoy.yaml" "$deploy/kubernetes/components/router-envoy/envoy.yaml" << 'PYTHON'
import pathlib
import sys

import yaml
from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory

pool = descriptor_pool.DescriptorPool()
for file in descriptor_pb2.FileDescriptorSet.FromString(pathlib.Path("messages").read_bytes()).file:
    pool.Add(file)
bootstrap = pool.FindMessageTypeByName("envoy.config.bootstrap.v3.Bootstrap")
for path in map(pathlib.Path, sys.argv[1:]):
    message = message_factory.MessageFactory(pool).GetPrototype(bootstrap)()
    json_format.ParseDict(yaml.safe_load(path.read_text(encoding="utf-8")), message, descriptor_pool=pool)
    print(f"{path}: {len(message.static_resources.listeners)} listeners, "
          f"{len(message.static_resources.clusters)} clusters")
PYTHON
