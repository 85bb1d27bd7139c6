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
# The same number at a time, whatever the machine has: the budget is for two cores, and the live tests share one Docker engine.
pytest=(.venv/bin/python -m pytest --quiet --durations=10 --durations-min=1)
two=(--numprocesses 2)
three=(--numprocesses 3) # they mostly wait for others: two of them left half of two cores idle

# All that the suite leaves is in one folder, for the canaries at the end. Open to others as /tmp is: sshd reads keys in it as
# another user. A short name: the path of a socket has 107 characters.
TMPDIR=$(mktemp --directory /tmp/mt.XXXX)
export TMPDIR
chmod 1777 "$TMPDIR"

say "rules and cases"
"${pytest[@]}" "${two[@]}" tests/unit tests/cases

scripts/sshd.sh

# Takes one file out of one of Debian's packages into .cache. To install cloud-init would be to run it at this machine's next
# boot, and Prometheus would be started here and now.
take() {
    local package=$1 file=$2 to=.cache/$3 unpacked
    if [[ -f $to ]] || ! command -v dpkg-deb >/dev/null; then return; fi
    unpacked=$(mktemp -d)
    if (cd "$unpacked" && apt-get -qq download "$package" && dpkg-deb -x "$package"_*.deb .) 2>/dev/null; then
        install -D -m "$4" "$unpacked/$file" "$to"
    fi
    rm -rf "$unpacked"
}
take prometheus usr/bin/promtool prometheus/promtool 755
# cloud-init's own schema.
take cloud-init usr/lib/python3/dist-packages/cloudinit/config/schemas/schema-cloud-config-v1.json \
    cloud-init/schema-cloud-config-v1.json 644

say "contracts and stories"
"${pytest[@]}" "${three[@]}" tests/contracts tests/stories

say "infrastructure (on Pulumi's mocks, and on a stand-in engine over moto)"
"${pytest[@]}" "${two[@]}" --dist loadfile tests/infra

say "lab images"
.venv/bin/python -m tests.lab.images

say "lab, live"
# The lab first: its demos take longest, and whoever is done with the rest takes over from the end.
"${pytest[@]}" "${three[@]}" --dist worksteal tests/lab tests/live

say "canaries (30 secrets that were planted in what the tests break, looked for in all that they left)"
.venv/bin/python -m tests.canaries "$TMPDIR"
rm -rf --one-file-system "$TMPDIR"
