#!/bin/sh
# Make sure that the parts of the Rust toolchain that `make lint` needs are there.
set -eu

for pair in "fmt:rustfmt" "clippy:clippy"; do
    command=${pair%%:*}
    component=${pair#*:}
    cargo "$command" --version >/dev/null 2>&1 && continue
    if command -v rustup >/dev/null 2>&1; then
        echo "adding $component to the Rust toolchain"
        rustup component add "$component"
    else
        echo "cargo $command is missing: install the package of your distribution that holds $component" >&2
        exit 1
    fi
done
