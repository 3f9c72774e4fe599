#!/bin/sh
# Install Locust from PyPI into target/locust, for `weir-bench engines` to compare with.
#
#   scripts/locust.sh            prints where it is; does nothing if it is there already
#
# Needs python3 with venv and pip. Without them, or without a network, it says so and exits 1; the
# comparison then goes on without Locust.
set -eu

version=2.32.4
folder=$(dirname "$0")/../target/locust
program=$folder/bin/locust

if [ -x "$program" ]; then
    echo "$program"
    exit 0
fi
if ! command -v python3 >/dev/null 2>&1; then
    echo "no python3: the comparison does without Locust" >&2
    exit 1
fi
log=$(mktemp)
trap 'rm -f "$log"' EXIT
echo "installing: locust $version" >&2
if ! { python3 -m venv "$folder" && "$folder/bin/pip" install --quiet --disable-pip-version-check "locust==$version"; } >"$log" 2>&1; then
    cat "$log" >&2
    rm -rf "$folder"
    echo "could not install Locust: the comparison does without it" >&2
    exit 1
fi
echo "$program"
