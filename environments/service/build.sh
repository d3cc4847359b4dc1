#!/bin/sh
# Builds the image of the code-execution service, by the same install.sh that installs on bare metal.
set -eu

usage() {
  cat <<'END'
usage: build.sh [-t TAG] [-b BASE_IMAGE] [-r RUNSC] [-- DOCKER_BUILD_OPTION...]
  -t TAG         name of the image (default edgedag-service)
  -b BASE_IMAGE  default debian:bookworm
  -r RUNSC       gVisor's program for this architecture, put into the image for level gvisor
The daemon is the one that the docker command talks to (DOCKER_HOST).
END
}

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
tag=edgedag-service base=debian:bookworm runsc=
while getopts ht:b:r: option; do
  case "$option" in
    h) usage; exit 0 ;;
    t) tag=$OPTARG ;;
    b) base=$OPTARG ;;
    r) runsc=$OPTARG ;;
    *) usage >&2; exit 64 ;;
  esac
done
shift $((OPTIND - 1))
[ "${1:-}" != -- ] || shift

stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
trap 'exit 1' HUP INT TERM
"$here/../bare-metal/install.sh" --root "$stage/rootfs" --prefix /usr/local --no-systemd
if [ -n "$runsc" ]; then
  mkdir -p "$stage/rootfs/usr/local/bin"
  cp "$runsc" "$stage/rootfs/usr/local/bin/runsc"
  chmod 0755 "$stage/rootfs/usr/local/bin/runsc"
fi
cp "$here/Dockerfile" "$stage/"
chmod -R u+rwX,go+rX,go-w "$stage/rootfs"
docker build -t "$tag" --build-arg "BASE_IMAGE=$base" "$@" "$stage"
