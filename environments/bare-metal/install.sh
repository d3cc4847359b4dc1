#!/bin/sh
# Installs the agent from a built source tree, or stages it into a folder (for an image).
# It owns <prefix>/lib/edgedag, the link <prefix>/bin/edgedag, the systemd unit and the example of
# its environment file. It starts nothing and never touches a configuration that you have changed.
set -eu

usage() {
  cat <<'END'
usage: install.sh [--prefix DIR] [--root DIR] [--no-systemd]
       install.sh --uninstall [--purge] [--prefix DIR] [--root DIR]
  --prefix DIR   where the program goes (default /usr/local)
  --root DIR     put everything below DIR instead of / (staging; nothing of the host is touched)
  --no-systemd   no unit and no environment file (containers)
  --uninstall    remove the program, the unit, and an environment file that was never changed
  --purge        with --uninstall: also a changed environment file and the agent's state
END
}

fail() { # sentence, remedy
  echo "install.sh: $1" >&2
  echo "    $2" >&2
  exit 1
}

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
source=$(CDPATH='' cd -- "$here/../.." && pwd)
prefix=/usr/local root='' action=install systemd=yes purge=no
while [ "$#" -gt 0 ]; do
  case "$1" in
    -h | --help) usage; exit 0 ;;
    --prefix | --root)
      [ "$#" -gt 1 ] || { usage >&2; exit 64; }
      if [ "$1" = --prefix ]; then prefix=$2; else root=${2%/}; fi
      shift ;;
    --no-systemd) systemd=no ;;
    --uninstall) action=uninstall ;;
    --purge) purge=yes ;;
    *) usage >&2; exit 64 ;;
  esac
  shift
done
case "$prefix" in /*) ;; *) fail "the prefix '$prefix' is relative" "give an absolute path" ;; esac

lib=$root$prefix/lib/edgedag
link=$root$prefix/bin/edgedag
unit=$root/etc/systemd/system/edgedag-agent.service
config=$root/etc/edgedag/agent.env

if [ "$action" = uninstall ]; then
  rm -rf "$lib"
  rm -f "$link" "$unit"
  if [ -f "$config" ]; then
    if [ "$purge" = yes ] || cmp -s "$config" "$here/agent.env.example"; then
      rm -f "$config"
    else
      echo "kept $config: it was changed (remove it with --purge)"
    fi
  fi
  [ "$purge" = no ] || rm -rf "$root/var/lib/edgedag" "$root/var/lib/private/edgedag"
  # The host's own folders stay; a staging root keeps only what something else has put there.
  if [ -z "$root" ]; then
    rmdir /etc/edgedag 2>/dev/null || true
    exit 0
  fi
  for folder in "${prefix#/}/lib" "${prefix#/}/bin" etc/systemd/system etc/edgedag; do
    (cd "$root" && rmdir -p "$folder" 2>/dev/null) || true
  done
  exit 0
fi

set -- "$source"/build/launcher-*
if [ ! -f "$source/dist/edgedag.mjs" ] || [ ! -f "$1" ]; then
  fail "dist/ or build/ is missing in $source" "run 'npm ci && npm run build' there first"
fi
[ -x "$source/node_modules/node/bin/node" ] ||
  fail "the pinned Node.js is missing" "run 'npm ci' in $source first"

# A new tree is made beside the old one and renamed, so that a failed copy breaks nothing.
rm -rf "$lib.new"
mkdir -p "$lib.new/bin" "$lib.new/build" "$lib.new/agent/exec" "$lib.new/node_modules/node/bin" \
  "$root$prefix/bin"
cp "$source/bin/edgedag" "$lib.new/bin/"
cp -R "$source/dist" "$source/sdk" "$source/package.json" "$source/LICENSE" "$lib.new/"
cp -R "$source/agent/exec/workers" "$lib.new/agent/exec/"
mkdir -p "$lib.new/master/policy" "$lib.new/library"
cp -R "$source/master/policy/python_policy.py" "$source/master/policy/python_ast" "$lib.new/master/policy/"
cp "$source"/library/*.js "$source"/library/*.d.ts "$lib.new/library/"
cp "$source"/build/launcher-* "$lib.new/build/"
cp "$source/node_modules/node/bin/node" "$lib.new/node_modules/node/bin/"
find "$lib.new" -name __pycache__ -prune -exec rm -rf {} +
rm -rf "$lib"
mv "$lib.new" "$lib"
ln -sf ../lib/edgedag/bin/edgedag "$link"
[ "$systemd" = yes ] || exit 0

mkdir -p "$root/etc/systemd/system" "$root/etc/edgedag"
sed "s|@PREFIX@|$prefix|g" "$here/edgedag-agent.service" > "$unit"
# It may hold the token of the master: for root's eyes only, systemd reads it before the switch.
[ -f "$config" ] || (umask 077 && cp "$here/agent.env.example" "$config")
[ -n "$root" ] || echo "next: edit $config, then systemctl enable --now edgedag-agent"
