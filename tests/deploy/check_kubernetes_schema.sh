#!/usr/bin/env bash
# Renders each overlay, and each component on top of the base, and checks every object against the types
# of the Kubernetes API, of the Prometheus Operator and of KEDA: unknown, missing and wrong fields.
# Needs kubectl, and npm with its registry, so it is run by hand. Usage: check_kubernetes_schema.sh
set -euo pipefail
kubernetes=$(realpath "$(dirname "$0")/../../deploy/kubernetes")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
cp -r "$kubernetes" tree
npm install --silent --no-audit --no-fund kubernetes-models@5 @kubernetes-models/prometheus-operator@6 \
  @kubernetes-models/keda yaml@2 typescript@5 > /dev/null

cat > typed.mjs << 'JS'
import fs from "fs";
import YAML from "yaml";
const packages = {"monitoring.coreos.com": "@kubernetes-models/prometheus-operator/", "keda.sh": "@kubernetes-models/keda/"};
YAML.parseAllDocuments(fs.readFileSync(0, "utf8")).map(d => d.toJS()).filter(Boolean).forEach((object, k) => {
  const from = (packages[object.apiVersion.split("/")[0]] ?? "kubernetes-models/") + object.apiVersion;
  console.log(`import type {I${object.kind} as T${k}} from "${from}/${object.kind}";`);
  console.log(`export const object${k}: T${k} = ${JSON.stringify(object, null, 1)};`);
});
JS

check() {
  kubectl kustomize "$1" > rendered.yaml
  node typed.mjs < rendered.yaml > typed.ts
  npx tsc --noEmit --strict --module nodenext --moduleResolution nodenext --skipLibCheck typed.ts
  echo "$2: $(grep -c '^kind:' rendered.yaml) objects"
}

for overlay in tree/overlays/*/; do check "$overlay" "$(basename "$overlay")"; done
for component in tree/components/*/; do
  mkdir -p tree/overlays/one
  printf 'resources: [../../base]\ncomponents: [../../components/%s]\n' "$(basename "$component")" \
    > tree/overlays/one/kustomization.yaml
  check tree/overlays/one "$(basename "$component")"
done
