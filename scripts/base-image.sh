#!/bin/sh
# Make sure that the base image of the containers is there, where containers can be run at all.
#
# Without a Docker engine that answers there is nothing to do. With one, docker/local-images.sh makes the image if it
# is missing: 40 seconds, without a registry. Fails if that fails.
set -eu
cd "$(dirname "$0")/.."

image="debian:$(sed -n 's/^ARG DEBIAN_SUITE=//p' docker/Dockerfile)-slim"
if ! timeout 30 docker info >/dev/null 2>&1; then
    echo "no Docker engine answers: the tests of containers are skipped"
    exit 0
fi
docker image inspect "$image" >/dev/null 2>&1 && exit 0

echo "making the base image $image"
# A mirror that hangs holds nobody up.
if ! timeout 600 docker/local-images.sh --runtime; then
    echo "could not make $image; \`docker pull $image\` gets it where a registry can be reached" >&2
    exit 1
fi
