#!/usr/bin/env bash
# What hosts over SSH are tested and shown with on this very machine: sshd, ssh, sudo, ip, logrotate, and what Ansible's Docker modules
# need of the host's own Python. Root on Debian or Ubuntu gets what is missing; none of it is started. Anybody else is told by whoever
# needs it.
set -euo pipefail

there() {
    [[ -x /usr/sbin/sshd ]] && command -v ssh >/dev/null && command -v sudo >/dev/null && command -v ip >/dev/null &&
        command -v logrotate >/dev/null &&
        /usr/bin/python3 -c 'import requests, yaml' 2>/dev/null
}

if there || [[ $EUID -ne 0 ]] || ! command -v apt-get >/dev/null; then exit 0; fi
echo "sshd: installing openssh-server, sudo, iproute2, logrotate, python3-requests and python3-yaml with apt-get (none of them is started)"
ours=
if [[ ! -e /usr/sbin/policy-rc.d ]]; then
    ours=/usr/sbin/policy-rc.d
    printf '#!/bin/sh\nexit 101\n' >"$ours"
    chmod 755 "$ours"
fi
trap '[[ -z $ours ]] || rm -f "$ours"' EXIT
export DEBIAN_FRONTEND=noninteractive
apt-get -qq update </dev/null
apt-get -qq install -y --no-install-recommends openssh-server openssh-client sudo iproute2 logrotate python3-requests python3-yaml </dev/null >/dev/null
