#!/usr/bin/env bash
# Builds the two images that the Compose files run: `weir`, the proxy with the load generator, and
# `weir-stand-in`, the API that stands in for the real one.
#
#   docker/build.sh                     from source, with docker/Dockerfile
#   docker/build.sh --prebuilt          from target/release, with docker/Dockerfile.prebuilt; seconds, not minutes
#   docker/build.sh --prebuilt FOLDER   from the two programs in FOLDER
#
# Environment: TAG, the tag of both images (latest); LABEL, a label for both, NAME=VALUE; LTO=off for a faster build
# and a slower program.
# Without a registry run docker/local-images.sh first.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

TAG=${TAG:-latest}
version=$(sed -n '/^\[workspace.package\]/,/^$/s/^version = "\(.*\)"/\1/p' Cargo.toml)
revision=$(git describe --always --dirty --abbrev=40 --exclude='*' 2>/dev/null || echo unknown)
described=(--build-arg "VERSION=$version" --build-arg "REVISION=$revision" ${LABEL:+--label "$LABEL"})

case "${1-}" in
    '')
        context=.
        dockerfile=docker/Dockerfile
        described+=(--build-arg "LTO=${LTO:-fat}")
        ;;
    --prebuilt)
        # A context of its own: target/ is large.
        context=$(mktemp -d)
        trap 'rm -rf "$context"' EXIT
        dockerfile=docker/Dockerfile.prebuilt
        cp -r --parents config/scenarios docker "$context"
        mkdir "$context/out"
        for program in weir weir-bench; do
            strip --strip-debug -o "$context/out/$program" "${2:-target/release}/$program"
        done
        ;;
    *)
        sed -n '2,/^set /{/^set /d; s/^# \{0,1\}//; p}' "$0" >&2
        exit 2
        ;;
esac

for image in weir stand-in; do
    name=weir:$TAG
    [[ $image == stand-in ]] && name=weir-stand-in:$TAG
    docker build --quiet --file "$context/$dockerfile" --target "$image" --tag "$name" "${described[@]}" "$context" >/dev/null
    echo "$name: $(docker image inspect --format '{{.Size}}' "$name" | numfmt --to=iec-i --suffix=B), revision $revision"
done
