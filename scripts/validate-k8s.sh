#!/bin/sh
# Check the manifests under docker/k8s against the API schemas of several Kubernetes versions, without a cluster:
# unknown and misspelt fields are errors.
#
#   scripts/validate-k8s.sh            exit code 0: valid; 1: not; 3: could not be checked here
#
# Installs kubernetes-validate from PyPI into target/kubernetes-validate; needs python3 with venv and pip. With kubectl
# (or kustomize) also what the kustomizations make is checked. Schemas of custom resources (ServiceMonitor) and of
# files that are not sent to the API server are not among them: these are listed as not checked.
set -eu

version=1.33.1
folder=$(dirname "$0")/..
venv=$folder/target/kubernetes-validate
manifests=$folder/docker/k8s

if ! [ -x "$venv/bin/kubernetes-validate" ]; then
    command -v python3 >/dev/null || { echo "no python3: manifests not checked" >&2; exit 3; }
    log=$(mktemp)
    trap 'rm -f "$log"' EXIT
    echo "installing: kubernetes-validate $version" >&2
    if ! { python3 -m venv "$venv" \
        && "$venv/bin/pip" install --quiet --disable-pip-version-check "kubernetes-validate==$version"; } >"$log" 2>&1; then
        cat "$log" >&2
        rm -rf "$venv"
        echo "could not install kubernetes-validate: manifests not checked" >&2
        exit 3
    fi
fi

made=$(mktemp -d)
trap 'rm -rf "$made"' EXIT
if command -v kubectl >/dev/null; then
    build() { kubectl kustomize "$1"; }
elif command -v kustomize >/dev/null; then
    build() { kustomize build "$1"; }
else
    echo "neither kubectl nor kustomize: what the kustomizations make is not checked" >&2
    build() { :; }
fi
build "$manifests" >"$made/made-by-kustomization.yaml"
build "$manifests/monitored" >"$made/made-by-kustomization-monitored.yaml"

"$venv/bin/python" - "$manifests" "$made" <<'PYTHON'
import pathlib, sys
import kubernetes_validate, yaml

VERSIONS = ("1.25", "1.30", "1.33")
NOT_IN_SCHEMAS = {"Kustomization", "ServiceMonitor"}
wrong = 0
for folder in map(pathlib.Path, sys.argv[1:]):
    for file in sorted(folder.rglob("*.yaml")):
        for document in filter(None, yaml.safe_load_all(file.read_text())):
            kind = document.get("kind")
            name = f"{file.relative_to(folder)}: {kind} {document.get('metadata', {}).get('name', '')}".rstrip()
            if kind is None or kind in NOT_IN_SCHEMAS:
                print(f"{name}: not checked, no schema")
                continue
            for version in VERSIONS:
                try:
                    kubernetes_validate.validate(document, version, strict=True)
                except Exception as error:
                    wrong += 1
                    print(f"{name}: not valid for Kubernetes {version}: {error}", file=sys.stderr)
                    break
            else:
                print(f"{name}: valid for {', '.join(VERSIONS)}")
sys.exit(1 if wrong else 0)
PYTHON
