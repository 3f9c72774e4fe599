#!/usr/bin/env bash
# Prints the Secret `weir-tokens`, with new tokens: one for Prometheus (reads), one for an operator (reads and writes).
#
#   docker/k8s/tokens.sh [OPERATOR] | kubectl apply -f -
#
# The operator's token is shown on standard error, once. Pods get only the hashes; Prometheus reads its token from the
# Secret's key `metrics`. Run again it makes others; running pods take them with `weir ctl reload`, once they have
# arrived. WEIR names the program (weir).
set -euo pipefail

weir=${WEIR:-weir}
operator=${1:-operator}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
file=$folder/tokens.toml

metrics=$("$weir" token new prometheus --scope read --file "$file" 2>/dev/null)
token=$("$weir" token new "$operator" --scope read --scope write --file "$file" 2>/dev/null)

cat <<EOF
apiVersion: v1
kind: Secret
metadata:
  name: weir-tokens
  labels: { app.kubernetes.io/name: weir }
type: Opaque
data:
  tokens.toml: $(base64 -w0 <"$file")
  metrics: $(printf %s "$metrics" | base64 -w0)
EOF
printf 'token of %s, shown only now: %s\n' "$operator" "$token" >&2
