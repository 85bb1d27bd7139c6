"""The re-check script, read by a parser: only commands that look, each with a bound, and only declared names in them."""

import shlex
from dataclasses import replace
from datetime import timedelta

import pytest

from agent.adapters import recheck
from agent.model import (
    CertificateCheck,
    CommandCheck,
    CompletionCheck,
    DnsCheck,
    GpuCheck,
    HostCheck,
    HttpCheck,
    LogCheck,
    NginxCheck,
    Plane,
    Service,
    TcpCheck,
)
from agent.redact import Redactor
from tests import escalated

REDACT = Redactor()
DOCKER = {
    "ps": {"--all", "--no-trunc", "--filter"},
    "inspect": {"--type", "--format"},
    "logs": {"--timestamps", "--tail"},
    "exec": {"-T"},
}
CURL = {
    "--silent", "--show-error", "--globoff", "--noproxy", "--proto", "--max-time", "--max-redirs", "--output", "--write-out", "--header", "--url", "--data",
}  # fmt: skip


def commands(script: str) -> list[list[str]]:
    """Split a script into its commands as a shell would, without running any: lines, pipes, `$( )`, redirections."""
    found = []
    for line in script.splitlines():
        if not line or line.startswith("#"):
            continue
        line = line.removeprefix('address="$(').removesuffix(')"') if line.startswith("address=") else line
        lexer = shlex.shlex(line, posix=True, punctuation_chars="();<>|&")
        lexer.whitespace_split = True
        lexer.commenters = ""
        command: list[str] = []
        for token in lexer:
            if token == "|":
                found.append(command)
                command = []
            else:
                command.append(token)
        found.append(command)
    return found


def curl_options(arguments: list[str]) -> dict[str, str]:
    """Read curl's arguments as curl does: a switch stands alone, any other option takes what follows, whatever that looks like."""
    options, left = {}, iter(arguments)
    for argument in left:
        if argument in ("--silent", "--show-error", "--globoff"):
            options[argument] = ""
        elif argument.startswith("-"):
            options[argument] = next(left, "")
    return options


def judge(command: list[str]) -> str:
    """Return why a command may not stand in a script that only looks; empty when it may."""
    rest = " ".join(command)
    for allowed in (["2", ">&", "1"], ["2>&1"], ["<", "/dev/null"]):
        if command[-len(allowed) :] == allowed:
            command = command[: -len(allowed)]
    if looks_at_gpus(command) or any(set(token) <= set("();<>|&") and token for token in command):
        return "" if looks_at_gpus(command) else f"an operator: {rest}"
    match command:
        case ["set", "-u"] | ["date", "-u"] | ["printf", "\\n== %s\\n", _] | ["head", "-n" | "-c", _]:
            return ""
        case ["timeout", "10", "docker", "exec", _, "nginx", "-T"] | ["timeout", "10", "nginx", "-T"]:
            return ""
        case ["timeout", "10", "df", "-P" | "-iP", *_] | ["timeout", "10", "uptime"] | ["timeout", "10", "free", "-m"]:
            return ""
        case ["timeout", "10", "openssl", "x509", "-noout", "-subject", "-enddate", "-in", _]:
            return ""
        case ["timeout", "10", "docker", "ps" | "inspect" | "logs" as verb, *arguments]:
            return "" if {a for a in arguments if a.startswith("-")} <= DOCKER[verb] else f"an option: {rest}"
        case ["curl", *arguments]:
            options = curl_options(arguments)
            bounded = "--max-time" in options and options.get("--output", "/dev/null") == "/dev/null"
            return "" if options.keys() <= CURL and bounded else f"an option: {rest}"
        case _:
            return f"not a command that only looks: {rest}"


def looks_at_gpus(command: list[str]) -> bool:
    match command:
        case ["timeout", "10", "dmesg"] | ["grep", "-F", "NVRM: Xid"] | ["tail", "-n", _]:
            return True
        case ["timeout", "10", "nvidia-smi", query, "--format=csv"]:
            return query.startswith("--query-gpu=")
        case ["timeout", "10", "docker", "exec", _, "nvidia-smi", query, "--format=csv"]:
            return query.startswith("--query-gpu=")
        case _:
            return False


def script(service: Service | None = None) -> str:
    return recheck.script(escalated.incident(), service or escalated.service(), REDACT)


def test_holds_only_commands_that_look() -> None:
    found = commands(script())
    assert len(found) > 12
    assert [judge(command) for command in found if judge(command)] == []


@pytest.mark.parametrize(
    "line",
    [
        "timeout 10 docker restart shop-checkout",
        "timeout 10 docker exec shop-nginx sh -c 'nginx -s reload'",
        "docker ps",
        "curl --max-time 2 --request POST http://x",
        "curl --max-time 2 --output /etc/passwd http://x",
        "timeout 10 openssl x509 -noout -subject -enddate -in a -out b",
        "curl http://x",
        "rm -rf /",
        "printf x > /etc/passwd",
        "date -u ; reboot",
        "date -u && reboot",
        "head -n 1 < /etc/shadow",
        "timeout 10 dmesg --clear",
        "timeout 10 nvidia-smi --gpu-reset",
        "timeout 10 docker exec web reboot --query-gpu=uuid --format=csv",
    ],
)
def test_the_parser_of_this_test_refuses_what_changes_or_waits(line: str) -> None:
    assert any(judge(command) for command in commands(line))


NASTY = (
    "$(touch /tmp/pwned)",
    "`reboot`",
    "'; reboot; '",
    '"; reboot #',
    "a\nreboot\n",
    "x | reboot",
    "-rf",
    "--privileged",
    "\\",
    "${IFS}",
    "a b",
    "",
)


def nasty_service(nasty: str) -> Service:
    """Return a service whose every declared text is the same nasty one."""
    every, thresholds, timeout = escalated.EVERY, escalated.THRESHOLDS, timedelta(seconds=1)
    return replace(
        escalated.service(),
        container=nasty,
        checks=(
            TcpCheck(
                name=nasty, every=every, thresholds=thresholds, plane=Plane.DIRECT, address=f"{nasty}:80", timeout=timeout
            ),
            TcpCheck(
                name="port",
                every=every,
                thresholds=thresholds,
                plane=Plane.DIRECT,
                address=f"container:{nasty}",
                timeout=timeout,
            ),
            HttpCheck(
                name="web",
                every=every,
                thresholds=thresholds,
                plane=Plane.DIRECT,
                url=f"http://container/{nasty}",
                timeout=timeout,
                headers=((nasty, nasty),),
                body=nasty,
            ),
            NginxCheck(name="route", every=every, thresholds=thresholds, nginx=nasty, port=80),
            NginxCheck(name="on-host", every=every, thresholds=thresholds, nginx=None, port=80),
            CompletionCheck(
                name="llm",
                every=every,
                thresholds=thresholds,
                url=f"http://container/{nasty}",
                model=nasty,
                prompt=nasty,
                timeout=timeout,
                headers=((nasty, nasty),),
            ),
            CommandCheck(name="inside", every=every, thresholds=thresholds, command=(nasty, nasty), timeout=timeout),
            DnsCheck(name="dns", every=every, thresholds=thresholds, lookup=nasty, timeout=timeout),
            LogCheck(name="log", every=every, thresholds=thresholds, most_bytes=1),
            HostCheck(name="host", every=every, thresholds=thresholds, disks=("/", f"/{nasty}")),
            GpuCheck(name="gpu", every=every, thresholds=thresholds, tool=f"/{nasty}", kernel_log=f"/{nasty}"),
            CertificateCheck(name="tls", every=every, thresholds=thresholds, path=f"/{nasty}"),
        ),
    )


@pytest.mark.parametrize("nasty", NASTY)
def test_declared_texts_stay_single_arguments(nasty: str) -> None:
    assert [judge(command) for command in commands(script(nasty_service(nasty))) if judge(command)] == []


def test_nothing_that_was_observed_goes_in() -> None:
    text = script()
    observed = ("9f2c4e6a8b0d", "172.18.0.4", "sha256:", "htp://payments", "Exited")
    assert [word for word in observed if word in text] == []


def test_the_containers_own_address_is_read_when_the_script_runs() -> None:
    assert """http://"$address"':8080/health?deep=1&q=""" in script()


def test_a_declared_secret_is_not_written_down() -> None:
    assert "0123456789abcdef0123" not in script()


def test_without_a_declaration_it_says_so_and_looks_at_nothing() -> None:
    text = recheck.script(escalated.incident(), None, REDACT)
    assert "no longer declared" in text
    assert "docker" not in [word for command in commands(text) for word in command]
