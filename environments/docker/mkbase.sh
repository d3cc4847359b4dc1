#!/bin/sh
# Makes a base image where there is no registry: from Debian's packages, or from this machine's own
# programs (a second, but not reproducible: for tests).
set -eu

usage() {
  cat <<'END'
usage: mkbase.sh [--debian | --host] [TAG]
  --debian   mmdebstrap: Debian bookworm with python3 (default; needs root or user namespaces)
  --host     sh, bash, coreutils and python3 of this machine with their libraries
  TAG        name of the image (default edgedag-base)
END
}

from=debian
case "${1:-}" in
  -h | --help) usage; exit 0 ;;
  --debian | --host) from=${1#--}; shift ;;
  -*) usage >&2; exit 64 ;;
esac
tag=${1:-edgedag-base}
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
trap 'exit 1' HUP INT TERM

need() { # program, package
  command -v "$1" >/dev/null && return
  echo "mkbase.sh: $1 is missing" >&2
  echo "    apt-get install $2" >&2
  exit 69
}
need docker docker.io

if [ "$from" = debian ]; then
  need mmdebstrap mmdebstrap
  mmdebstrap --variant=minbase --include=python3,libatomic1,ca-certificates \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
    bookworm - | docker import - "$tag"
  exit 0
fi

# ldd prints "name => /path (address)" and "/path (address)": the paths are what is copied.
copy() { # programs and libraries, each with the libraries that it needs
  for file in "$@"; do
    mkdir -p "$root$(dirname -- "$file")"
    cp -L "$file" "$root$file"
    ldd "$file" 2>/dev/null | grep -o '/[^ ]*' | while read -r library; do
      [ -e "$root$library" ] && continue
      mkdir -p "$root$(dirname -- "$library")"
      cp -L "$library" "$root$library"
    done
  done
}

python=$(readlink -f /usr/bin/python3) || { echo "mkbase.sh: /usr/bin/python3 is missing" >&2; exit 69; }
library=/usr/lib/$(basename -- "$python")
for folder in usr/bin usr/lib usr/lib64 usr/sbin etc/ssl/certs tmp proc sys dev run root var/lib opt; do
  mkdir -p "$root/$folder"
done
ln -s usr/bin usr/lib usr/lib64 usr/sbin "$root/"
for tool in sh bash env cat cp mv rm ls ln mkdir rmdir mktemp chmod chown touch dirname basename \
  readlink uname id head tail wc sort uniq tr cut grep sed awk find seq date sleep true false test \
  timeout sha256sum cmp df stat od kill; do
  path=$(command -v "$tool" || true)
  case "$path" in
    /*) copy "/usr/bin/${path##*/}" ;;
    *) [ ! -x "/usr/bin/$tool" ] || copy "/usr/bin/$tool" ;; # a builtin here, a program elsewhere
  esac
done
copy "$python"
ln -sf "$(basename -- "$python")" "$root/usr/bin/python3"
mkdir -p "$root$library"
tar -C "$library" --exclude=test --exclude=tkinter --exclude=idlelib --exclude=lib2to3 \
  --exclude=ensurepip --exclude='config-*' --exclude=__pycache__ -cf - . | tar -C "$root$library" -xf -
copy "$library"/lib-dynload/*.so
# The pinned Node.js comes with the agent, its libraries come with the base.
node=$here/../../node_modules/node/bin/node
ldd "$node" | grep -o '=> /[^ ]*' | cut -c4- | while read -r file; do copy "$file"; done
cp -R /usr/lib/locale/C.utf8 "$root/usr/lib/" 2>/dev/null || true
cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/" 2>/dev/null || true
echo 'root:x:0:0:root:/root:/bin/sh' > "$root/etc/passwd"
echo 'root:x:0:' > "$root/etc/group"
chmod 1777 "$root/tmp"
tar -C "$root" --numeric-owner --owner=0 --group=0 -cf - . | docker import - "$tag"
