#!/bin/sh
# `service docker start | stop | restart` on a host of the lab, as the init script of its engine would do it. It stands in `files` of the
# host's folder, as `systemctl`, too: where this machine itself runs systemd, its own would do it to this machine's engine.
folder=$(dirname "$(dirname "$(readlink -f "$0")")")
lives() { [ -d "/proc/$1" ] && ! grep -q '^State:.Z' "/proc/$1/status"; }

start() {
    # As service(8) does: a daemon inherits nothing of whoever starts it.
    env -i "PATH=$PATH" setsid dockerd --host "unix://$folder/docker.sock" --data-root "$folder/data" --exec-root "$folder/exec" \
        --pidfile "$folder/docker.pid" >>"$folder/dockerd.log" 2>&1 </dev/null &
}

stop() {
    [ -f "$folder/docker.pid" ] || return 0
    engine=$(cat "$folder/docker.pid") tries=0
    kill -TERM "$engine"
    while lives "$engine"; do
        tries=$((tries + 1))
        [ $tries -ne 300 ] || kill -KILL "$engine"
        sleep 0.1
    done
    rm -f "$folder/docker.pid"
}

case "$1 $2" in
    "docker start" | "start docker") start ;;
    "docker stop" | "stop docker") stop ;;
    "docker restart" | "restart docker") stop; start ;;
    "stop docker.socket") ;;
    *) echo "$1 $2: there is no such service on this host" >&2; exit 1 ;;
esac
