#!/usr/bin/env bash
# Make .venv hold exactly what the locks say. Usage: scripts/setup.sh demo|dev
#
# demo: what Medic runs with. dev: that and the test tools. Run it as often as you like: a stamp inside .venv, keyed by
# the locks and pyproject.toml, ends a second run at once.
set -euo pipefail
cd "$(dirname "$0")/.."

kind=${1:-dev}
case $kind in
    demo) locks=(requirements.lock requirements-build.lock) ;;
    dev) locks=(requirements-dev.lock) ;;
    *) echo "usage: scripts/setup.sh demo|dev" >&2; exit 2 ;;
esac

say() { echo "setup: $*"; }
stop() { echo "setup: cannot make .venv: $*" >&2; exit 3; }

stamp_of() { # the kind of set-up -> one line that changes when the set-up must be made again
    local lock=$1
    cat "$lock" pyproject.toml | sha256sum | cut -d' ' -f1
}

is_done() { [[ -x .venv/bin/medic && -f .venv/medic-$1.stamp && $(<".venv/medic-$1.stamp") == "$(stamp_of "$2")" ]]; }

# The development lock holds everything of the other two, at the same versions (tests/unit/test_locks.py).
if is_done dev requirements-dev.lock || { [[ $kind == demo ]] && is_done demo requirements.lock; }; then
    exit 0
fi

find_python() { # prints the first Python that is new enough and really starts; a pyenv shim may be there and not run
    local candidate
    for candidate in python3.11 python3.12 python3.13 python3 python3.14; do
        if command -v "$candidate" >/dev/null &&
            "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
            echo "$candidate"
            return
        fi
    done
    return 1
}

can_install() { [[ $EUID -eq 0 ]] && command -v apt-get >/dev/null; }

apt_install() {
    say "installing $* with apt-get"
    export DEBIAN_FRONTEND=noninteractive
    apt-get -qq update </dev/null && apt-get -qq install -y --no-install-recommends "$@" </dev/null >/dev/null ||
        stop "apt-get could not install $*"
}

if ! python=$(find_python); then
    can_install && apt_install python3 python3-venv
    python=$(find_python) || stop "no Python 3.11 or newer found; install one and run this again"
fi

if ! "$python" -c 'import ensurepip' 2>/dev/null; then
    version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    can_install || stop "$python has no ensurepip; install the package python$version-venv and run this again"
    apt_install "python$version-venv"
fi

if [[ ! -x .venv/bin/python ]] || ! .venv/bin/python -m pip --version >/dev/null 2>&1; then
    say "making .venv with $("$python" --version)"
    "$python" -m venv --clear .venv
fi

pip=(.venv/bin/python -m pip --quiet --disable-pip-version-check --no-input)
for lock in "${locks[@]}"; do
    say "installing $lock (a minute or two the first time)"
    "${pip[@]}" install --require-hashes -r "$lock"
done
say "installing Medic itself"
"${pip[@]}" install --no-deps --no-build-isolation -e .
# Once and for all, also where PYTHONDONTWRITEBYTECODE would have every `medic` compile itself anew: it starts in half the time.
.venv/bin/python -m compileall -q agent heartbeat infra
stamp_of "${locks[0]}" >".venv/medic-$kind.stamp"
say "done"
