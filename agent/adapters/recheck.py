"""The read-only script beside each report: it collects again the facts that the report cites, so that a person can see
whether it is still so. Pure: text out of the service's declaration.

Only what people declared (container names, addresses, URLs) goes in, each quoted for the shell; nothing that a log, a
container or a model said. Every command is one that looks, with a bound. tests/unit/test_recheck.py parses the script and
refuses any other command.
"""

import re
import shlex
from collections.abc import Callable
from datetime import timedelta

from agent.checks import completion
from agent.gpu import smi
from agent.model import (
    CertificateCheck,
    Check,
    CommandCheck,
    CompletionCheck,
    ContainerCheck,
    DnsCheck,
    GpuCheck,
    HostCheck,
    HttpCheck,
    Incident,
    LogCheck,
    NginxCheck,
    Service,
    TcpCheck,
)

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
"""Docker's own rule for container names. Source: moby, daemon/names/names.go, RestrictedNameChars."""
_LOG_LINES = 200
_BODY_BYTES = 2_048
_BOUND = "timeout 10"


def script(incident: Incident, service: Service | None, redact: Callable[[str], str]) -> str:
    """Return the text of `recheck.sh`. redact: applied to declared texts that may hold a secret (URLs, headers)."""
    lines = [
        "#!/bin/sh",
        f"# Collects again what the report of incident {_one_line(incident.id)} cites. It changes nothing.",
        f"# Run it on {_one_line(incident.host)}, or with DOCKER_HOST set to its engine. Needs: docker, curl, timeout.",
        "set -u",
        "date -u",
    ]
    if service is None:
        lines.append(_say(f"service {incident.service} is no longer declared: there is nothing to look at"))
        return "\n".join([*lines, ""])
    if not _NAME.fullmatch(service.container):
        lines.append(_say("the declared container name is not one that Docker knows: containers are left out"))
    else:
        lines += _container(service.container)
    for check in service.checks:
        lines += _check(check, service, redact)
    return "\n".join([*lines, ""])


def _container(name: str) -> list[str]:
    quoted = shlex.quote(name)
    state = "{{json .State}} restarts={{.RestartCount}} image={{.Image}} policy={{.HostConfig.RestartPolicy.Name}}"
    addresses = "{{range .NetworkSettings.Networks}}{{println .IPAddress}}{{end}}"
    return [
        _say(f"container {name}"),
        f"{_BOUND} docker ps --all --no-trunc --filter {shlex.quote(f'name=^/{re.escape(name)}$')}",
        f"{_BOUND} docker inspect --type container --format {shlex.quote(state)} {quoted}",
        _say(f"the last {_LOG_LINES} log lines of {name}"),
        f"{_BOUND} docker logs --timestamps --tail {_LOG_LINES} {quoted} 2>&1 | head -c 65536",
        f'address="$({_BOUND} docker inspect --type container --format {shlex.quote(addresses)} {quoted} | head -n 1)"',
    ]


def _check(check: Check, service: Service, redact: Callable[[str], str]) -> list[str]:
    match check:
        case ContainerCheck():
            return []  # the container's own facts stand above
        case TcpCheck(address=address):
            host, _, port = _one_line(address).rpartition(":")
            target = f"telnet://{_host(host, service)}:{shlex.quote(port)}"
            bounds = _curl_bounds(check.timeout, "=telnet")
            connected = shlex.quote("%{time_connect} s to connect (0 means it did not)\\n")
            return [
                _say(f"check {check.name}: a connection to {address} opens"),
                f"curl {bounds} --output /dev/null --write-out {connected} {target} < /dev/null",
            ]
        case HttpCheck():
            return [_say(f"check {check.name}: GET {redact(check.url)}"), *_get(check, service, redact)]
        case NginxCheck() | LogCheck() | HostCheck() | GpuCheck() | CertificateCheck():
            return _of_the_host(check, service)
        case CompletionCheck():
            return [_say(f"check {check.name}: a completion from {redact(check.url)}"), *_complete(check, service, redact)]
        case CommandCheck() | DnsCheck():
            words = check.command if isinstance(check, CommandCheck) else ("getent", "hosts", check.lookup)
            shown = " ".join(shlex.quote(_one_line(redact(word))) for word in words)
            # It may change something, whatever the person who declared it meant: shown, and not run.
            return [_say(f"check {check.name}: to run in {service.container} by hand: {shown}")]


def _of_the_host(check: NginxCheck | LogCheck | HostCheck | GpuCheck | CertificateCheck, service: Service) -> list[str]:
    match check:
        case LogCheck() if _NAME.fullmatch(service.container):
            path = shlex.quote("{{.LogPath}}")
            where = f"{_BOUND} docker inspect --type container --format {path} {shlex.quote(service.container)}"
            return [_say(f"check {check.name}: the file whose size is meant"), where]
        case HostCheck():
            disks = " ".join(shlex.quote(_one_line(disk)) for disk in check.disks)
            look = (f"df -P {disks}", f"df -iP {disks}", "uptime", "free -m")
            return [_say(f"check {check.name}: the host"), *(f"{_BOUND} {each}" for each in look)]
        case GpuCheck():
            fields = ",".join(smi.FIELDS[:10])  # those that every driver knows
            asked = [
                f"{_BOUND} nvidia-smi --query-gpu={fields} --format=csv",
                f"{_BOUND} dmesg | grep -F 'NVRM: Xid' | tail -n 50",
            ]
            if check.in_container and _NAME.fullmatch(service.container):
                asked.append(
                    f"{_BOUND} docker exec {shlex.quote(service.container)} {' '.join(smi.argv(smi.TOOL, smi.IN_CONTAINER))}"
                )
            return [_say(f"check {check.name}: the GPUs"), *asked]
        case CertificateCheck():
            path = shlex.quote(_one_line(check.path))
            return [_say(f"check {check.name}: {check.path}"), f"{_BOUND} openssl x509 -noout -subject -enddate -in {path}"]
        case NginxCheck(nginx=None):
            return [_say(f"check {check.name}: what nginx on the host routes"), f"{_BOUND} nginx -T 2>&1 | head -c 65536"]
        case NginxCheck(nginx=str(nginx)) if _NAME.fullmatch(nginx):
            return [
                _say(f"check {check.name}: what nginx in {nginx} routes"),
                f"{_BOUND} docker exec {shlex.quote(nginx)} nginx -T 2>&1 | head -c 65536",
            ]
        case NginxCheck() | LogCheck():
            return [_say(f"check {check.name}: the declared container name is not one that Docker knows: left out")]


def _complete(check: CompletionCheck, service: Service, redact: Callable[[str], str]) -> list[str]:
    headers = (("Content-Type", "application/json"), *check.headers)
    sent = "".join(f" --header {shlex.quote(_one_line(redact(f'{name}: {value}')))}" for name, value in headers)
    payload = shlex.quote(_one_line(redact(completion.payload(check))))
    url = _url(_one_line(redact(completion.url(check))), service)
    ask = f"curl {_curl_bounds(check.timeout, '=http,https')} --max-redirs 0{sent} --data {payload} {url}"
    return [f"{ask} | head -c {_BODY_BYTES}"]


def _get(check: HttpCheck, service: Service, redact: Callable[[str], str]) -> list[str]:
    headers = "".join(f" --header {shlex.quote(_one_line(redact(f'{name}: {value}')))}" for name, value in check.headers)
    ask = f"curl {_curl_bounds(check.timeout, '=http,https')} --max-redirs 0{headers}"
    answered = shlex.quote("status %{http_code} after %{time_total} s\\n")
    url = _url(_one_line(redact(check.url)), service)
    lines = [f"{ask} --output /dev/null --write-out {answered} {url}"]
    if check.body is not None:
        lines += [_say(f"it should hold: {redact(check.body)}"), f"{ask} {url} | head -c {_BODY_BYTES}"]
    return lines


def _curl_bounds(timeout: timedelta, protocols: str) -> str:
    seconds = f"{max(timeout.total_seconds(), 0.1):g}"
    return f"--silent --show-error --globoff --noproxy '*' --proto {shlex.quote(protocols)} --max-time {seconds}"


def _url(url: str, service: Service) -> str:
    """Return a declared URL for the shell; the host `container` becomes the address that the script just read."""
    own = re.match(r"(https?://)container(?=[:/?#]|$)", url)
    if own and _NAME.fullmatch(service.container):
        return f'{shlex.quote(own[1])}"$address"{shlex.quote(url[own.end() :])}'
    return f"--url {shlex.quote(url)}"


def _host(host: str, service: Service) -> str:
    return '"$address"' if host == "container" and _NAME.fullmatch(service.container) else shlex.quote(host)


def _say(sentence: str) -> str:
    return f"printf '\\n== %s\\n' {shlex.quote(_one_line(sentence))}"


def _one_line(value: str) -> str:
    """Return text that stays on its line: no control character of it reaches the shell, curl or a header."""
    return " ".join("".join(char if char.isprintable() else " " for char in value).split())[:1_000]
