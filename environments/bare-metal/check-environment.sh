#!/bin/sh
# Says whether this machine can run the agent. Each problem goes to stderr, its remedy to stdout;
# so `check-environment.sh 2>/dev/null` is a list of things to do. Changes nothing.
set -eu

usage() {
  cat <<'END'
usage: check-environment.sh [-h] [STATE-FOLDER]
  STATE-FOLDER   where the agent will keep its state (default /var/lib/edgedag)
  exit code      0 all well or only advice, 1 the agent cannot work here
END
}

state=/var/lib/edgedag
case "${1:-}" in
  -h | --help) usage; exit 0 ;;
  -*) usage >&2; exit 64 ;;
  ?*) state=$1 ;;
esac
broken=0

problem() { # sentence, remedy
  broken=1
  echo "problem: $1" >&2
  echo "$2"
}

advice() { # sentence, remedy
  echo "advice: $1" >&2
  echo "$2"
}

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
source=$(CDPATH='' cd -- "$here/../.." && pwd)
machine=$(uname -m)

[ "$(uname -s)" = Linux ] ||
  problem "this is $(uname -s); the agent needs Linux" "Use a Linux machine."

node=$source/node_modules/node/bin/node
if [ ! -x "$node" ]; then
  problem "the pinned Node.js is missing at $node" "Run 'npm ci' in $source."
elif ! version=$("$node" --version 2>&1); then
  problem "the pinned Node.js does not start: $version" \
    "Install the C and C++ run-time libraries: apt-get install libc6 libstdc++6 libatomic1"
fi

launcher=$source/build/launcher-$machine
if [ ! -x "$launcher" ]; then
  problem "there is no launcher for $machine" \
    "Run 'npm run build' in $source, with a C compiler: apt-get install gcc libc6-dev"
fi

if ! command -v python3 >/dev/null 2>&1; then
  advice "python3 is not on the PATH; python tasks will fail" "apt-get install python3"
elif ! python3 -c 'import sys; sys.exit(sys.version_info < (3, 8))'; then
  advice "$(python3 --version) is older than 3.8; python tasks will fail" \
    "Install Python 3.8 or newer."
fi

if ! probe=$(mktemp -d /dev/shm/edgedag-check.XXXXXX 2>/dev/null); then
  problem "/dev/shm cannot be written to; large values travel through it" \
    "mount -t tmpfs -o mode=1777 tmpfs /dev/shm"
else
  rmdir "$probe"
  shm_kb=$(df -Pk /dev/shm | awk 'NR == 2 { print $4 }')
  [ "$shm_kb" -ge 65536 ] ||
    advice "/dev/shm has only $shm_kb KiB free" "mount -o remount,size=25% /dev/shm"
fi

# The state folder need not exist yet: its nearest parent that does tells the file system.
folder=$state
while [ ! -d "$folder" ]; do folder=$(dirname -- "$folder"); done
free_kb=$(df -Pk "$folder" | awk 'NR == 2 { print $4 }')
[ "$free_kb" -ge 262144 ] ||
  problem "only $free_kb KiB are free for $state" "Free 256 MiB there, or choose another folder."

[ -d /run/systemd/system ] ||
  advice "systemd does not run here; the unit will not start the agent" \
    "Start '<prefix>/bin/edgedag agent' by the init system that you have."

[ "$broken" -eq 1 ] || echo "ready" >&2
exit "$broken"
