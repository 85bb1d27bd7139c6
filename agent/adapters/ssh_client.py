"""How the acting half reaches a host: the OpenSSH client, which is what Ansible itself uses, with one configuration per run.

In: the way to a host, as hops. Out: the text of an ssh_config that pins every hop's key, and what ssh's complaints mean, as
one sentence that says what to do. Standard library only: the guard must start fast. Looking goes over a link of its own.
"""

import re
import shlex
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from agent.errors import OutsideError

CONNECT_WITHIN = 10
"""Seconds for a connection, its key exchange and its first word."""
ALIVE_EVERY = 3
ALIVE_COUNT = 3
"""So many unanswered questions, so many seconds apart, and the client takes the connection for lost: after about 12 s."""
TARGET = "target"
"""What the last hop is called in the configuration, and in the inventory."""

_UNQUOTABLE = re.compile(r'["\\$\n\r]')
"""What means something inside a quoted word of ssh_config(5), or would be filled in from the environment there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hop:
    """One machine on the way, the target last."""

    address: str
    port: int
    user: str
    known_hosts: str
    """The file in which its key is pinned."""
    key_file: str | None
    """None: the keys that the ssh-agent offers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """How a host is reached and what is done there."""

    host: str
    """Its name in medic.yaml, for sentences."""
    hops: tuple[Hop, ...]
    sudo: bool
    docker: str
    """The engine's socket there, as DOCKER_HOST."""
    agent_socket: str | None = None
    """The ssh-agent, for hops without a key file."""


def way_of(plain: dict[str, object]) -> Way:
    """Return the way that `dataclasses.asdict` made `plain` of. Raises TypeError for anything else."""
    hops = plain.pop("hops")
    assert isinstance(hops, list | tuple)  # noqa: S101 -- it was a tuple of dataclasses
    return Way(hops=tuple(Hop(**hop) for hop in hops), **plain)  # type: ignore[arg-type]  # checked by the one who wrote it


def write_config(way: Way, folder: Path) -> Path:
    """Write the configuration for `way` into a private folder and return its path. Raises OutsideError for a path ssh cannot read.

    The folder must have a short path without spaces: the socket of the shared connection lies in it, too.
    """
    blocks = [
        "Host *\n"
        "  BatchMode yes\n"
        "  StrictHostKeyChecking yes\n"
        "  GlobalKnownHostsFile /dev/null\n"
        "  UpdateHostKeys no\n"
        "  CheckHostIP no\n"
        "  VerifyHostKeyDNS no\n"
        "  PreferredAuthentications publickey\n"
        "  ForwardAgent no\n"
        "  ForwardX11 no\n"
        "  ClearAllForwardings yes\n"
        "  PermitLocalCommand no\n"
        "  ConnectionAttempts 1\n"
        f"  ConnectTimeout {CONNECT_WITHIN}\n"
        f"  ServerAliveInterval {ALIVE_EVERY}\n"
        f"  ServerAliveCountMax {ALIVE_COUNT}\n"
    ]
    for number, hop in enumerate(way.hops):
        last = number == len(way.hops) - 1
        lines = [
            f"Host {TARGET if last else _jump(number)}",
            f"  HostName {hop.address}",
            f"  Port {hop.port}",
            f"  User {hop.user}",
            f"  UserKnownHostsFile {_quoted(hop.known_hosts)}",
        ]
        if hop.key_file is not None:
            lines += [f"  IdentityFile {_quoted(hop.key_file)}", "  IdentitiesOnly yes", "  IdentityAgent none"]
        if number:
            lines.append(f"  ProxyJump {_jump(number - 1)}")
        if last:
            lines += ["  ControlMaster no", f"  ControlPath {folder / 'c'}"]
        blocks.append("\n".join(lines) + "\n")
    config = folder / "config"
    config.write_text("\n".join(blocks), encoding="utf-8")
    return config


def command(config: Path, *words: str, way: Way, options: tuple[str, ...] = ()) -> list[str]:
    """Return the words of an ssh call that runs `words` on the target, by sudo where the way says so. No shell here reads them.

    The one on the target does: each word is quoted for it.
    """
    return ["ssh", "-F", str(config), *options, "-T", TARGET, shlex.join((*becoming(way), *words))]


def becoming(way: Way) -> tuple[str, ...]:
    """Return the words before a command on the target that make it root's, where the way says so."""
    return ("sudo", "-n", "--") if way.sudo and way.hops[-1].user != "root" else ()


def environment(way: Way) -> dict[str, str]:
    """Return what ssh needs in its environment beside PATH."""
    needs_agent = way.agent_socket is not None and any(hop.key_file is None for hop in way.hops)
    return {"SSH_AUTH_SOCK": str(way.agent_socket)} if needs_agent else {}


def ask(way: Way, script: str, *arguments: str, within: float = 15.0) -> str:
    """Run a shell script on the target with arguments, and return what it printed. Reads only: it may be cut at any point.

    Raises OutsideError when the target cannot be reached, or the script fails.
    """
    folder = Path(tempfile.mkdtemp(prefix="medic-ssh-", dir="/tmp"))  # a socket needs a short path
    try:
        words = command(write_config(way, folder), "sh", "-c", script, "medic", *arguments, way=way)
        done = subprocess.run(  # noqa: S603 -- the words are ours, and those of the target are quoted for its shell
            words,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=within,
            check=False,
            env={"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8", **environment(way)},
        )
    except subprocess.TimeoutExpired as exc:
        raise OutsideError(f"cannot reach host {way.host!r}: it did not answer within {within:g} s", transient=True) from exc
    except OSError as exc:
        raise OutsideError(f"cannot reach host {way.host!r}: ssh cannot be started: {exc.strerror}", transient=False) from exc
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if done.returncode != 0:
        complaint = (done.stderr or done.stdout).decode("utf-8", "replace")
        sentence, transient = trouble(way, complaint, done.returncode)
        raise OutsideError(sentence, transient=transient)
    return done.stdout.decode("utf-8", "replace")


_TROUBLE: tuple[tuple[str, str, bool], ...] = (
    (
        r"REMOTE HOST IDENTIFICATION HAS CHANGED|host key for .* has changed",
        "its host key is not the one pinned in {known_hosts}: this may be an attack; find out why it changed before you pin it anew",
        False,
    ),
    (
        r"No .* host key is known|Host key verification failed",
        "no key of it stands in {known_hosts}: `medic host add` shows its fingerprint and pins it once you agree",
        False,
    ),
    (
        r"UNPROTECTED PRIVATE KEY FILE|bad permissions",
        "others may read the private key {key_file}: run `chmod 600` on it",
        False,
    ),
    (
        r"Load key .*|no such identity|invalid format",
        "the private key {key_file} cannot be read: {said}",
        False,
    ),
    (
        r"Permission denied \(|Too many authentication failures",
        "it refuses the key {key_file} for {user}: add the public key to ~{user}/.ssh/authorized_keys there",
        False,
    ),
    (
        r"sudo: .*password is required|sudo: a terminal is required|Missing sudo password|sudo: no tty",
        "sudo asks {user} for a password there: allow `{user} ALL=(ALL) NOPASSWD: ALL` in /etc/sudoers.d, or leave out `sudo: true`",
        False,
    ),
    (
        r"not in the sudoers file|not allowed to (execute|run)",
        "{user} may not use sudo there: allow `{user} ALL=(ALL) NOPASSWD: ALL` in /etc/sudoers.d, or leave out `sudo: true`",
        False,
    ),
    (
        r"sudo: (command )?not found|: sudo: (inaccessible or )?not found",
        "there is no sudo there: install it, or leave out `sudo: true` and let {user} be one who may use Docker",
        False,
    ),
    (r"Could not resolve hostname", "its address {address!r} is no name that is known here", True),
    (r"Connection refused", "nothing listens on port {port} of {address}: is sshd running there?", True),
    (r"timed out|Connection timeout", "{address} did not answer on port {port} in time", True),
    (r"No route to host|Network is unreachable", "there is no way to {address} in the network", True),
    (r"kex_exchange_identification|Connection (closed|reset)|Broken pipe", "{address} closed the connection", True),
)
"""What ssh and sudo print (OpenSSH 9.2, sudo 1.9), what that means and what to do, and whether it may pass by itself."""


def trouble(way: Way, complaint: str, code: int = 255) -> tuple[str, bool]:
    """Return what a complaint of ssh, or of sudo on the target, means, as a sentence, and whether it may pass by itself.

    complaint: as printed. Where it is none we know, its last line is quoted.
    """
    lines = [line.strip() for line in complaint.replace("\r", "").split("\n") if line.strip()]
    said = lines[-1][:300] if lines else f"ssh exited {code} without a word"
    hop = way.hops[-1]
    for pattern, meaning, transient in _TROUBLE:
        found = next((line for line in lines if re.search(pattern, line)), None)
        if found is not None:
            words = meaning.format(
                known_hosts=hop.known_hosts,
                key_file=hop.key_file or "of the ssh-agent",
                user=hop.user,
                address=hop.address,
                port=hop.port,
                said=found[:300],
            )
            return f"cannot reach host {way.host!r}: {words}", transient
    return f"cannot reach host {way.host!r}: {said}", code == 255


def _jump(number: int) -> str:
    return f"jump{number + 1}"


def _quoted(path: str) -> str:
    if _UNQUOTABLE.search(path):
        raise OutsideError(
            f"cannot hand {path!r} to ssh: a path may hold no quote, backslash, dollar or line end", transient=False
        )
    return f'"{path.replace("%", "%%")}"'
