#!/usr/bin/env bash
# Makes the two base images that docker/Dockerfile names, from Debian packages and from the Rust toolchain of this
# machine, for machines that cannot pull from a registry. Where a registry can be reached this is not needed.
#
#   docker/local-images.sh             make what is missing or out of date
#   docker/local-images.sh --runtime   only the small one, debian:bookworm-slim (enough for build.sh --prebuilt)
#   docker/local-images.sh --remove    remove what this script has made
#
# Needs root, Debian's package mirror, about 3 GB of disk while it works, and for the builder image a Rust
# toolchain. Images of the same name that did not come from here are left alone.
#
# They differ from the official images: Debian's packages without the security suite, no rustup, and the builder
# image has cmake and the crates of Cargo.lock in it and keeps cargo offline, so that the build needs no network.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# Both names come from the Dockerfile: what is made here is what it asks for.
arg() { sed -n "s/^ARG $1=//p" docker/Dockerfile; }
SUITE=$(arg DEBIAN_SUITE)
RUNTIME=debian:$SUITE-slim
BUILDER=rust:$(arg RUST_VERSION)-$SUITE
LABEL=weir.local-base

# What the image was made from, `foreign` for an image of somebody else's, nothing if there is none.
made_from() {
    docker image inspect --format "{{ or (index .Config.Labels \"$LABEL\") \"foreign\" }}" "$1" 2>/dev/null || true
}

case "${1-}" in
    '' | --runtime) ;;
    --remove)
        for image in "$RUNTIME" "$BUILDER"; do
            case "$(made_from "$image")" in
                '' | foreign) ;;
                *) docker rmi --force "$image" >/dev/null && echo "$image: removed" ;;
            esac
        done
        exit 0
        ;;
    *)
        sed -n '2,/^set /{/^set /d; s/^# \{0,1\}//; p}' "$0" >&2
        exit 2
        ;;
esac

# Whether there is nothing to do for image $1, which should be made from $2.
is_current() {
    case "$(made_from "$1")" in
        foreign) echo "$1: not made here, left alone" ;;
        "$2") echo "$1: up to date" ;;
        *) return 1 ;;
    esac
}

# A Debian root file system in folder $1, with the packages named after it.
root_file_system() {
    local into=$1
    shift
    if ! command -v debootstrap >/dev/null; then
        apt-get update -qq
        apt-get install -y -qq --no-install-recommends debootstrap >/dev/null
    fi
    # The packages are kept from one run to the next.
    local packages=/var/cache/weir-local-images
    mkdir -p "$packages"
    debootstrap --variant=minbase --cache-dir="$packages" ${1:+--include="$(IFS=,; echo "$*")"} \
        "$SUITE" "$into" >"$WORK/debootstrap.log" 2>&1 || {
        tail -5 "$WORK/debootstrap.log" >&2
        return 1
    }
    rm -rf "$into"/var/cache/apt/* "$into"/var/lib/apt/lists/* "$into"/var/log/*.log "$into"/dev/*
    # As in the official slim image.
    rm -rf "$into"/usr/share/{doc,man,info,locale,lintian}/*
}

# Imports folder $1 as image $2, made from $3; further arguments are Dockerfile instructions.
import() {
    local folder=$1 image=$2 from=$3 change
    shift 3
    local -a changes=(--change "LABEL $LABEL=$from")
    for change; do changes+=(--change "$change"); done
    tar --create --numeric-owner --directory "$folder" . | docker import "${changes[@]}" - "$image" >/dev/null
    echo "$image: made, $(docker image inspect --format '{{.Size}}' "$image" | numfmt --to=iec-i --suffix=B)"
}

WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT

if ! is_current "$RUNTIME" 1; then
    root_file_system "$WORK/runtime"
    import "$WORK/runtime" "$RUNTIME" 1 'CMD ["bash"]'
    rm -rf "$WORK/runtime"
fi
[[ "${1-}" == --runtime ]] && exit 0

from=$(sha256sum Cargo.lock <(rustc --version) | sha256sum | cut -c1-16)
if ! is_current "$BUILDER" "$from"; then
    # cargo puts the crates of Cargo.lock, and only those, into a home of their own.
    cargo_home=${CARGO_HOME:-$HOME/.cargo}
    cargo fetch --locked --quiet
    root_file_system "$WORK/builder" gcc g++ make cmake libc6-dev ca-certificates
    sysroot=$(rustc --print sysroot)
    mkdir -p "$WORK/builder/usr/local/cargo/registry"
    tar --create --directory "$sysroot" --exclude='rust-analyzer*' --exclude='lib/rustlib/src' \
        --exclude='lib/rustlib/rustc-src' --exclude=share bin lib libexec 2>/dev/null \
        | tar --extract --directory "$WORK/builder/usr/local"
    cp -a "$cargo_home"/registry/{cache,index} "$WORK/builder/usr/local/cargo/registry/"
    import "$WORK/builder" "$BUILDER" "$from" \
        'ENV CARGO_HOME=/usr/local/cargo' 'ENV CARGO_NET_OFFLINE=true' \
        'ENV PATH=/usr/local/cargo/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' 'CMD ["bash"]'
fi
