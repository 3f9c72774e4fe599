#!/bin/sh
# Make sure that commands exist; install what is missing where that is possible.
#
#   scripts/need.sh COMMAND:PACKAGE...       e.g. scripts/need.sh cmake:cmake h2load:nghttp2-client
#
# On Debian and its relatives, as root, a missing package is installed with apt-get. Services that
# a package brings along are neither started nor enabled: nginx and HAProxy are wanted here as
# programs, and must not take port 80. Anywhere else the script says what is missing and exits 1.
set -eu

# Debian keeps nginx and haproxy where the PATH of an ordinary user does not look.
PATH="$PATH:/usr/sbin:/sbin"

missing_commands=
packages=
for pair in "$@"; do
    command=${pair%%:*}
    package=${pair#*:}
    if ! command -v "$command" >/dev/null 2>&1; then
        missing_commands="$missing_commands $command"
        packages="$packages $package"
    fi
done
[ -n "$packages" ] || exit 0

if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null 2>&1; then
    echo "missing:$missing_commands" >&2
    echo "please install them and try again; on Debian or Ubuntu, as root:" >&2
    echo "    apt-get install --no-install-recommends$packages" >&2
    exit 1
fi

# A policy that answers 101 keeps maintainer scripts from starting services (invoke-rc.d(8)).
policy=/usr/sbin/policy-rc.d
policy_is_ours=
if [ ! -e "$policy" ]; then
    trap '[ -z "$policy_is_ours" ] || rm -f "$policy"' EXIT
    trap 'exit 130' INT TERM
    policy_is_ours=yes
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
fi

echo "installing:$packages"
log=$(mktemp)
export DEBIAN_FRONTEND=noninteractive
# The package lists may be fresh enough; refresh them only when the first try fails.
# shellcheck disable=SC2086  # one word per package is what is meant
if ! apt-get install -y -q --no-install-recommends $packages >"$log" 2>&1; then
    if ! { apt-get update -q && apt-get install -y -q --no-install-recommends $packages; } >"$log" 2>&1; then
        cat "$log" >&2
        rm -f "$log"
        echo "could not install:$packages" >&2
        exit 1
    fi
fi
rm -f "$log"

# Where systemd runs, keep what was just installed from starting at the next boot as well.
if [ -d /run/systemd/system ]; then
    for package in $packages; do
        systemctl disable --now "$package.service" >/dev/null 2>&1 || true
    done
fi

for command in $missing_commands; do
    if ! command -v "$command" >/dev/null 2>&1; then
        echo "installed$packages, yet there is still no $command" >&2
        exit 1
    fi
done
