#!/usr/bin/env bash
# Lets Prometheus, and nobody else in the Compose network, read weir's metrics: makes a token with the scope `read`, and
# a copy of weir's configuration whose admin API asks for tokens and can be reached from the other containers.
#
#   docker/monitoring/prepare.sh [FOLDER]
#
# FOLDER    where weir's proxy.toml is (docker/config)
# WEIR      the program that makes the token (target/release/weir, or the image `weir` if there is no such file)
#
# Writes docker/monitoring/private/, which no other user of this machine can enter and which git ignores. Each run makes
# a new token; the old one is gone when weir and Prometheus were restarted.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
case "${1-}" in -*) sed -n '2,/^set /{/^set /d; s/^# \{0,1\}//; p}' "$0" >&2; exit 2 ;; esac
config=${1:-$here/../config}
weir=${WEIR:-$here/../../target/release/weir}
private=${PRIVATE:-$here/private}

[[ -f $config/proxy.toml ]] || { echo "prepare.sh: $config/proxy.toml: there is no such file" >&2; exit 2; }

# Entering is for the owner; inside, what the containers' users (10001, 65534) have to read may be read by all.
mkdir -p "$private"
chmod 0700 "$private"
fresh=$(mktemp -d "$private/fresh.XXXXXX")
trap 'rm -rf "$fresh"' EXIT
mkdir "$fresh/config"
cp "$config"/* "$fresh/config/"

# The section [admin] is replaced, wherever it is.
awk '
    /^[[:space:]]*\[/ { skipped = ($0 ~ /^[[:space:]]*\[admin(\]|\.)/) }
    !skipped
    END {
        print ""
        print "# Written by docker/monitoring/prepare.sh."
        print "[admin]"
        print "listen = \"0.0.0.0:9900\"            # inside the Compose network: not published"
        print "tokens = \"/etc/weir/tokens.toml\"   # of Prometheus, which may only read"
        print "socket = \"/run/weir/admin.sock\"    # weir ctl --node unix:/run/weir/admin.sock"
    }
' "$config/proxy.toml" > "$fresh/config/proxy.toml"

if [[ -x $weir ]]; then
    "$weir" check "$fresh/config/proxy.toml" >/dev/null
    said=$("$weir" token new prometheus --scope read)
else
    said=$(docker run --rm --network none "${WEIR_IMAGE:-weir}" weir token new prometheus --scope read)
fi
# The token, an empty line, and the entry for the file, which keeps only a digest.
head -n 1 <<<"$said" | tr -d '\n' > "$fresh/prometheus.token"
sed -n '/^\[\[token\]\]/,$p' <<<"$said" > "$fresh/config/tokens.toml"

chmod 0755 "$fresh/config"
chmod 0644 "$fresh"/config/* "$fresh/prometheus.token"
rm -rf "$private/config" "$private/prometheus.token"
mv "$fresh/config" "$fresh/prometheus.token" "$private/"
echo "written: $private/config (WEIR_CONFIG of the overlay) and $private/prometheus.token"
