#!/usr/bin/env bash
# Write every requirements*.lock anew from pyproject.toml. Needs uv; where packages come from is this machine's matter
# (uv reads UV_* variables, not pip's configuration) and never gets into a lock. Add --upgrade to take newer versions.
set -euo pipefail
cd "$(dirname "$0")/.."

command -v uv >/dev/null || { echo "lock: cannot write the locks: uv not found; install it and run this again" >&2; exit 3; }

lock() { # output file, then the arguments that choose what goes in
    local output=$1
    shift
    echo "lock: $output"
    uv pip compile --quiet --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-header \
        --output-file "$output" "$@"
}

# The development lock first: the others take its versions, so that every set-up of Medic runs what the tests ran.
lock requirements-dev.lock "$@" --extra postgres --extra infra --extra llm --extra ssh --extra aws --extra otel \
    --extra dev pyproject.toml
lock requirements.lock "$@" --constraint requirements-dev.lock pyproject.toml
for extra in llm infra postgres ssh aws otel; do
    lock "requirements-$extra.lock" "$@" --constraint requirements-dev.lock --extra "$extra" pyproject.toml
done
# What `pip install --no-build-isolation .` needs to find: the build backend, with hashes like everything else.
build=$(mktemp --suffix=.in)
trap 'rm -f "$build"' EXIT
sed -n 's/^requires = \["\(.*\)"\]$/\1/p' pyproject.toml >"$build"
lock requirements-build.lock "$@" --constraint requirements-dev.lock --no-annotate "$build"
