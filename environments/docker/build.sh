#!/bin/sh
# Builds the image of the agent with one DAG in it. Stages the build context by the same
# install.sh that installs on bare metal, so that there is one list of what an install holds.
set -eu

usage() {
  cat <<'END'
usage: build.sh [-t TAG] [-b BASE_IMAGE] [-f DAG_FILE] DAG_FOLDER [-- DOCKER_BUILD_OPTION...]
  -t TAG         name of the image (default edgedag-<name of the folder>)
  -b BASE_IMAGE  default debian:bookworm-slim; without a registry make one with mkbase.sh
  -f DAG_FILE    the document in the folder (default dag.yaml)
The daemon is the one that the docker command talks to (DOCKER_HOST).
END
}

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
tag='' base=debian:bookworm-slim file=dag.yaml
while getopts ht:b:f: option; do
  case "$option" in
    h) usage; exit 0 ;;
    t) tag=$OPTARG ;;
    b) base=$OPTARG ;;
    f) file=$OPTARG ;;
    *) usage >&2; exit 64 ;;
  esac
done
shift $((OPTIND - 1))
[ "$#" -gt 0 ] || { usage >&2; exit 64; }
folder=${1%/}
shift
[ "${1:-}" != -- ] || shift
if [ ! -f "$folder/$file" ]; then
  echo "build.sh: there is no $folder/$file" >&2
  echo "    give the folder of the DAG, and its document with -f" >&2
  exit 66
fi

stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
trap 'exit 1' HUP INT TERM
"$here/../bare-metal/install.sh" --root "$stage/rootfs" --prefix /usr/local --no-systemd
mkdir "$stage/dag"
cp -R "$folder/." "$stage/dag/"
cp "$here/Dockerfile" "$stage/"
# Only what is executable for its owner is a program; everybody may read, nobody but root may write.
chmod -R u+rwX,go+rX,go-w "$stage/rootfs" "$stage/dag"
docker build -t "${tag:-edgedag-$(basename -- "$folder")}" \
  --build-arg "BASE_IMAGE=$base" --build-arg "DAG_FILE=$file" "$@" "$stage"
