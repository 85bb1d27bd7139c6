#!/usr/bin/env bash
# Run a command with a Docker engine that answers. Usage: scripts/docker.sh COMMAND [ARGUMENT...]
#
# Where none answers on Debian or Ubuntu, root gets one: docker.io and mmdebstrap (for the lab's images) are installed,
# and dockerd is started by hand where no init system does it. An engine that this very call started is stopped again
# when the command is over; any other is left alone.
set -euo pipefail

log=${TMPDIR:-/tmp}/medic-dockerd.log
patience=60 # seconds for dockerd to answer; it takes 2 here, more where it must load kernel modules or check its images

say() { echo "docker: $*"; }
stop() { echo "docker: cannot use Docker: $*" >&2; exit 3; }

[[ $# -gt 0 ]] || { echo "usage: scripts/docker.sh COMMAND [ARGUMENT...]" >&2; exit 2; }

answers() { timeout 10 docker version --format '{{.Server.Version}}' >/dev/null 2>&1; }

can_install() { [[ $EUID -eq 0 ]] && command -v apt-get >/dev/null; }

apt_install() {
    say "installing $* with apt-get"
    export DEBIAN_FRONTEND=noninteractive
    apt-get -qq update </dev/null || stop "apt-get update failed"
    apt-get -qq install -y "$@" </dev/null >/dev/null || stop "apt-get could not install $*"
}

[[ -z ${DOCKER_HOST:-} ]] || answers || stop "nothing answers at DOCKER_HOST=$DOCKER_HOST"
if ! answers && ! command -v dockerd >/dev/null; then
    can_install || stop "no engine answers; install Docker and start it, or run this as root on Debian or Ubuntu"
    apt_install docker.io
    # Newer Debian has the command-line client in a package of its own.
    command -v docker >/dev/null || apt_install docker-cli
fi
# mmdebstrap makes the lab's images; haproxy is the door that docs/how-to/least-privilege.md puts before Docker.
if ! { command -v mmdebstrap && command -v haproxy; } >/dev/null && can_install; then
    apt_install mmdebstrap haproxy
fi

# And Compose, which brings Medic's own image up beside that door: Docker's plugin where it is, else Debian's program.
if ! { docker compose version || command -v docker-compose; } >/dev/null 2>&1 && can_install; then
    apt_install --no-install-recommends docker-compose
fi

wait_until_it_answers() { # waits while process $1 lives, for `patience` at most
    local end=$((SECONDS + patience))
    until answers; do
        kill -0 "$1" 2>/dev/null || stop "dockerd ended at once; its log is $log"
        ((SECONDS < end)) || stop "dockerd does not answer after $patience s; its log is $log"
        sleep 0.3
    done
}

started=
if ! answers; then
    [[ $EUID -eq 0 ]] || stop "the engine does not answer; start it, or put this user into the group docker"
    if [[ -d /run/systemd/system ]]; then
        say "starting the docker service"
        systemctl start docker || stop "systemctl could not start it"
        wait_until_it_answers $$
    else
        say "starting dockerd (log: $log)"
        # A session of its own: ^C in the terminal must reach the command, which cleans up, and not the engine first.
        setsid dockerd >"$log" 2>&1 </dev/null &
        started=$!
        wait_until_it_answers "$started"
    fi
fi

stop_what_was_started() {
    [[ -n $started ]] || return 0
    if [[ -n $(timeout 10 docker ps --quiet 2>/dev/null) ]]; then
        say "dockerd (process $started) stays: containers run in it"
        return 0
    fi
    say "stopping the dockerd this run started"
    kill "$started" 2>/dev/null || true
    wait "$started" 2>/dev/null || true
}
trap stop_what_was_started EXIT
# ^C reaches the command as well, since it shares the terminal: let it clean up before the engine goes.
trap ':' INT

code=0
"$@" || code=$?
exit "$code"
