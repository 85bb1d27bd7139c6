#!/usr/bin/env bash
# Every test, the quick ones first. Sets itself up: the venv, a Docker engine, the lab's images.
set -euo pipefail
cd "$(dirname "$0")/.."

if [[ ${1:-} != --with-docker ]]; then
    scripts/setup.sh dev
    exec scripts/docker.sh "$0" --with-docker
fi

say() { echo; echo "== $* =="; }
pytest=(.venv/bin/python -m pytest --quiet --durations=10 --durations-min=1)

say "rules and cases"
"${pytest[@]}" tests/unit tests/cases

say "lab images"
.venv/bin/python -m tests.lab.images

# One after another and not spread over processes: they measure times, share one Docker engine and two cores.
say "contracts, stories, live, lab"
"${pytest[@]}" tests/contracts tests/stories tests/live tests/lab
