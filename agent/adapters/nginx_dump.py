"""Reads what `nginx -T` prints into routes. The text comes from a container and is data: it is bounded, never run, and names
no file that is opened here.

crossplane is nginx's own parser. It would open included files by their path, on *this* machine; so each section of the
dump is parsed by itself from a private folder, and includes are joined among the sections of the dump alone.
"""

import functools
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any  # crossplane ships no types: a statement is a dictionary

import crossplane

from agent.model import NginxRoute, NginxTarget

_SECTION = re.compile(r"^# configuration file (.+):$", re.MULTILINE)
"""How `nginx -T` heads each file (src/core/nginx.c, since 1.9.2)."""

_MESSAGE_LINE = re.compile(r"^(?:nginx: |\d{4}/\d\d/\d\d \d\d:\d\d:\d\d )\[[a-z]+\] .*\n?", re.MULTILINE)
"""A warning of nginx beside its dump, in the shape of its stderr or, where its log is a link to stderr, of its log."""

_PASSES = {"proxy_pass": 80, "grpc_pass": 80, "uwsgi_pass": None, "fastcgi_pass": None, "scgi_pass": None}
"""Directives that send a location elsewhere, and the port they mean without one. Only the first two may leave it out."""

_SECURE = frozenset({"https", "grpcs"})

_VARIABLE = re.compile(r"\$(?:\{([A-Za-z0-9_]+)\}|([A-Za-z0-9_]+))")

_PATH_IN_VARIABLE = re.compile(r"\$(?:request_uri|uri|document_uri|is_args)\b.*")
"""What follows a host without a slash where the path comes from a variable, which always begins with one."""

_BLOCKS_IN_LOCATIONS = frozenset({"if", "limit_except"})

Statement = dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Site:
    """What every location of one `server` block shares."""

    listen: tuple[str, ...]
    names: tuple[str, ...]
    upstreams: Mapping[str, tuple[NginxTarget, ...]]
    default: bool


@functools.lru_cache(maxsize=16)
def routes(dump: str) -> tuple[NginxRoute, ...]:
    """Return the routes of a dump, in its order. Raises ValueError when it cannot be read.

    A variable that is `set` to plain text in its server or location is put in; a target that depends on another stays as
    written, with port 0. So does a Unix socket.
    """
    files = _split(dump)
    if not files:
        raise ValueError("no configuration in what nginx printed")
    try:
        parsed = _parse(files)
        main = next(iter(parsed))
        statements = list(_joined(main, parsed, PurePosixPath(main).parent, ()))
        return tuple(_routes(statements))
    except (crossplane.errors.NgxParserBaseException, RecursionError, StopIteration, RuntimeError) as exc:
        # A text that ends inside a directive ends crossplane's token iterator: StopIteration, or RuntimeError by PEP 479.
        raise ValueError(f"nginx's configuration cannot be read: {str(exc)[:200] or type(exc).__name__}") from exc


def _split(dump: str) -> dict[str, str]:
    """Return the text of each file of a dump; nginx's own messages between them are dropped."""
    parts = _SECTION.split(_MESSAGE_LINE.sub("", dump))
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def _parse(files: Mapping[str, str]) -> dict[str, list[Statement]]:
    parsed = {}
    with tempfile.TemporaryDirectory(prefix="medic-nginx-") as folder:
        private = Path(folder) / "section.conf"
        for name, text in files.items():
            private.write_text(text, encoding="utf-8", errors="replace")
            # nginx has checked contexts and arguments already; a section alone would fail the check of contexts.
            payload = crossplane.parse(str(private), single=True, catch_errors=True, check_ctx=False, check_args=False)
            errors = payload["errors"]
            if errors:
                raise ValueError(
                    f"nginx's configuration cannot be read: {name}: {str(errors[0]['error']).replace(str(private), name)[:200]}"
                )
            parsed[name] = payload["config"][0]["parsed"]
    return parsed


def _joined(
    name: str, parsed: Mapping[str, list[Statement]], prefix: PurePosixPath, within: tuple[str, ...]
) -> Iterator[Statement]:
    """Yield the statements of one file with its includes in their place."""
    yield from _with_includes(parsed[name], parsed, prefix, (*within, name))


def _with_includes(
    statements: Sequence[Statement], parsed: Mapping[str, list[Statement]], prefix: PurePosixPath, within: tuple[str, ...]
) -> Iterator[Statement]:
    for statement in statements:
        if statement["directive"] == "include" and statement["args"]:
            # nginx reads a relative path from the folder of its main file, and a pattern in the order of names.
            pattern = str(prefix / statement["args"][0])
            for included in sorted(name for name in parsed if PurePosixPath(name).match(pattern) and name not in within):
                yield from _joined(included, parsed, prefix, within)
        elif "block" in statement:
            yield {**statement, "block": list(_with_includes(statement["block"], parsed, prefix, within))}
        else:
            yield statement


def _routes(statements: Sequence[Statement]) -> Iterator[NginxRoute]:
    for http in _blocks(statements, "http"):
        upstreams = {
            upstream["args"][0]: _servers(upstream) for upstream in _blocks(http["block"], "upstream") if upstream["args"]
        }
        servers = _blocks(http["block"], "server")
        defaults = _defaults(servers)
        for index, server in enumerate(servers):
            listen = tuple(" ".join(words) for words in _listens(server))
            names = tuple(name for each in server["block"] if each["directive"] == "server_name" for name in each["args"])
            site = _Site(listen, names, upstreams, default=index in defaults)
            yield from _locations(server["block"], site, _set_to(server["block"], {}))


def _listens(server: Statement) -> list[list[str]]:
    return [each["args"] for each in server["block"] if each["directive"] == "listen" and each["args"]]


def _defaults(servers: Sequence[Statement]) -> set[int]:
    """Return which servers answer for names that no block has: per socket the one that says so, else the first.

    Source: nginx, "How nginx processes a request". Without `listen`, nginx listens on *:80.
    """
    first: dict[str, int] = {}
    said: dict[str, int] = {}
    for index, server in enumerate(servers):
        for words in _listens(server) or [["80"]]:
            socket = words[0].removeprefix("*:")
            if socket.startswith("unix:"):
                continue  # no user comes that way
            first.setdefault(socket, index)
            if "default_server" in words[1:] or "default" in words[1:]:
                said[socket] = index
    return set({**first, **said}.values())


def _set_to(statements: Sequence[Statement], outer: Mapping[str, str]) -> Mapping[str, str]:
    """Return the variables that are plain text in a block; one that is set twice may be either, and is left out."""
    names = [each["args"][0] for each in _assignments(statements)]
    here = {each["args"][0]: each["args"][1] for each in _assignments(statements)}
    known = {name: value for name, value in here.items() if names.count(name) == 1 and "$" not in value}
    return {**{name: value for name, value in outer.items() if name not in here}, **known}


def _assignments(statements: Sequence[Statement]) -> Iterator[Statement]:
    for each in statements:
        if each["directive"] == "set" and len(each["args"]) == 2:
            yield each
        elif each["directive"] == "if" and "block" in each:
            yield from (inner for inner in _assignments(each["block"]) for _ in range(2))  # set or not: one of two values


def _locations(statements: Sequence[Statement], site: _Site, known: Mapping[str, str]) -> Iterator[NginxRoute]:
    for location in _blocks(statements, "location"):
        here = _set_to(location["block"], known)
        targets = tuple(dict.fromkeys(_targets(location["block"], site, here)))
        if targets:
            where = " ".join(location["args"])
            yield NginxRoute(listen=site.listen, server_names=site.names, location=where, targets=targets, default=site.default)
        yield from _locations(location["block"], site, here)


def _targets(statements: Sequence[Statement], site: _Site, known: Mapping[str, str]) -> Iterator[NginxTarget]:
    for statement in statements:
        directive = statement["directive"]
        if directive in _PASSES and statement["args"]:
            written = _VARIABLE.sub(lambda name: known.get(f"${name[1] or name[2]}", name[0]), statement["args"][0])
            yield from _passed(written, _PASSES[directive], site.upstreams)
        elif directive in _BLOCKS_IN_LOCATIONS and "block" in statement:
            yield from _targets(statement["block"], site, known)


def _passed(
    written: str, default_port: int | None, upstreams: Mapping[str, tuple[NginxTarget, ...]]
) -> tuple[NginxTarget, ...]:
    scheme, separator, rest = written.partition("://")
    place = rest if separator else written
    if place.startswith("unix:"):
        # What follows a second colon is the path that the socket's owner is asked for.
        return (NginxTarget(host=f"unix:{place.removeprefix('unix:').partition(':')[0]}", port=0),)
    authority = _PATH_IN_VARIABLE.sub("", place.partition("/")[0])
    if "$" in authority or "$" in scheme:
        return (NginxTarget(host=written, port=0),)
    if authority in upstreams:
        return upstreams[authority]
    return (_target(authority, 443 if scheme in _SECURE else default_port or 0),)


def _servers(upstream: Statement) -> tuple[NginxTarget, ...]:
    """Return the servers of an `upstream` block but those marked `down`. Port 80 is nginx's default there."""
    lines = [each["args"] for each in upstream["block"] if each["directive"] == "server" and each["args"]]
    return tuple(_target(args[0], 80) for args in lines if "down" not in args[1:])


def _target(written: str, default_port: int) -> NginxTarget:
    if written.startswith("unix:") or "$" in written:
        return NginxTarget(host=written, port=0)
    host, colon, port = written.rpartition(":")
    if not colon or not port.isascii() or not port.isdigit():
        host, port = written, str(default_port)
    return NginxTarget(host=host.removeprefix("[").removesuffix("]"), port=int(port[:6]))


def _blocks(statements: Sequence[Statement], directive: str) -> list[Statement]:
    return [each for each in statements if each["directive"] == directive and "block" in each]
