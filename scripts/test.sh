#!/usr/bin/env bash
# Every test, the quick ones first. Sets itself up: the venv, a Docker engine, the lab's images.
set -euo pipefail
cd "$(dirname "$0")/.."
unset PYTHONDONTWRITEBYTECODE # as in the Makefile, for whoever calls this by hand

if [[ ${1:-} != --with-docker ]]; then
    scripts/setup.sh dev
    exec scripts/docker.sh "$0" --with-docker
fi

say() { echo; echo "== $* =="; }
# Two at a time, whatever the machine has: the budget is for two cores, and the live tests share one Docker engine.
pytest=(.venv/bin/python -m pytest --quiet --numprocesses 2 --durations=10 --durations-min=1)

# All that the suite leaves is in one folder, for the canaries at the end. Open to others as /tmp is: sshd reads keys in it as
# another user. A short name: the path of a socket has 107 characters.
TMPDIR=$(mktemp --directory /tmp/mt.XXXX)
export TMPDIR
chmod 1777 "$TMPDIR"

say "rules and cases"
"${pytest[@]}" tests/unit tests/cases

scripts/sshd.sh

say "contracts and stories"
"${pytest[@]}" tests/contracts tests/stories

# cloud-init's own schema, out of Debian's package: to install it would be to run it at this machine's next boot.
schema=.cache/cloud-init/schema-cloud-config-v1.json
if [[ ! -f $schema ]] && command -v dpkg-deb >/dev/null; then
    unpacked=$(mktemp -d)
    if (cd "$unpacked" && apt-get -qq download cloud-init && dpkg-deb -x cloud-init_*.deb .) 2>/dev/null; then
        install -D -m 644 "$unpacked"/usr/lib/python3/dist-packages/cloudinit/config/schemas/schema-cloud-config-v1.json "$schema"
    fi
    rm -rf "$unpacked"
fi

say "infrastructure (on Pulumi's mocks, and on a stand-in engine over moto)"
"${pytest[@]}" --dist loadfile tests/infra

say "lab images"
.venv/bin/python -m tests.lab.images

say "lab, live"
# The lab first: its demos take longest, and whoever is done with the rest takes over from the end.
"${pytest[@]}" --dist worksteal tests/lab tests/live

say "canaries (30 secrets that were planted in what the tests break, looked for in all that they left)"
.venv/bin/python -m tests.canaries "$TMPDIR"
rm -rf --one-file-system "$TMPDIR"
