"""Who is who on an SSH connection: the host keys that people pinned, and the key Medic shows. Reads files; sends nothing.

A host key that is not pinned is never accepted and never written down: only a person adds one to the file.
"""

import contextlib
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import paramiko
from cryptography.exceptions import UnsupportedAlgorithm
from paramiko.hostkeys import HostKeyEntry, HostKeys, InvalidHostKey

from agent.errors import HostKeyRefused, OutsideError
from agent.model import HostName, SshAccess

_LONGEST = 1_048_576
"""Bytes of a file with host keys that are read at most."""


@dataclass(frozen=True, slots=True)
class Pins:
    """The keys that a host may show, and those that nobody may show any more (`@revoked`), in base64."""

    keys: tuple[paramiko.PKey, ...]
    revoked: frozenset[str]

    def wanted(self, algorithms: tuple[str, ...]) -> tuple[str, ...]:
        """Return the algorithms with those of the pinned keys first: a server shows the key of the first that it has."""
        kinds = {key.get_name() for key in self.keys}
        return tuple(sorted(algorithms, key=lambda algorithm: _kind(algorithm) not in kinds))


def pinned_name(access: SshAccess) -> str:
    """Return the name under which a host stands in the file: `address`, or `[address]:port` for another port than 22."""
    return access.address if access.port == 22 else f"[{access.address}]:{access.port}"


def pins(host: HostName, access: SshAccess) -> Pins:
    """Read what is pinned for a host, afresh each time: people change the file while Medic runs. Raises OutsideError."""
    name = pinned_name(access)
    keys, revoked = [], set()
    for line in _lines(host, Path(access.known_hosts)):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if words[0] == "@revoked":
            revoked.update(words[3:4])
            continue
        if words[0].startswith("@"):
            continue  # certificate authorities: Medic takes plain keys only
        try:
            entry = HostKeyEntry.from_line(" ".join(words))
        except (InvalidHostKey, paramiko.SSHException, ValueError) as exc:  # not base64, or base64 of something else
            raise _wrong(host, f"{access.known_hosts} holds a line that is no host key: {line[:60]!r}") from exc
        if entry is not None and any(_is_of(name, listed) for listed in entry.hostnames or ()):
            keys.append(entry.key)
    return Pins(tuple(keys), frozenset(revoked))


def confirm(host: HostName, access: SshAccess, pinned: Pins, shown: paramiko.PKey) -> None:
    """Return if the host showed a pinned key. Raises HostKeyRefused if another one is pinned, OutsideError if none is."""
    name, key = pinned_name(access), f"{shown.get_name()} key {shown.fingerprint}"
    if shown.get_base64() in pinned.revoked:
        raise HostKeyRefused(
            f"cannot reach host {host!r} over SSH: it showed the {key}, which is revoked in {access.known_hosts}"
        )
    if any(shown.asbytes() == each.asbytes() for each in pinned.keys):
        return
    if pinned.keys:
        raise HostKeyRefused(
            f"cannot reach host {host!r} over SSH: it showed the {key}, and another one is pinned for {name} in"
            f" {access.known_hosts}; the machine was replaced, or somebody answers in its place"
        )
    raise _wrong(
        host,
        f"no key is pinned for {name} in {access.known_hosts}; it shows the {key}: compare that with"
        " `ssh-keygen -lf` of its public host key on the machine itself, and add it",
    )


@contextlib.contextmanager
def own_keys(host: HostName, access: SshAccess) -> Iterator[tuple[paramiko.PKey, ...]]:
    """Give the keys to show while the body runs: of the declared file, else what the ssh-agent offers. Raises OutsideError."""
    if access.key_file is not None:
        yield (_of_file(host, access.key_file),)
        return
    agent = None
    try:
        agent = paramiko.Agent()
        offered = tuple(agent.get_keys())
        if not offered:
            raise _wrong(host, "no key_file is declared, and no ssh-agent offers a key")
        yield offered
    except (paramiko.SSHException, OSError) as exc:
        raise _wrong(host, f"the ssh-agent does not answer: {exc}") from exc
    finally:
        if agent is not None:
            agent.close()


def _of_file(host: HostName, file: str) -> paramiko.PKey:
    path = Path(file)
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & 0o077:
            raise _wrong(host, f"others may read the key {file} (mode {mode:04o}); say chmod 600")
        return paramiko.PKey.from_path(path)
    except OSError as exc:
        raise _wrong(host, f"cannot read the key {file}: {exc.strerror or exc}") from exc
    except TypeError as exc:  # what cryptography raises for a key with a passphrase when it was given none
        raise _wrong(host, f"the key {file} has a passphrase: give it to an ssh-agent, and leave key_file out") from exc
    except (paramiko.SSHException, UnsupportedAlgorithm, ValueError) as exc:
        raise _wrong(host, f"{file} is no private key that can be read") from exc


def _wrong(host: HostName, why: str) -> OutsideError:
    return OutsideError(f"cannot reach host {host!r} over SSH: {why}", transient=False)


def _lines(host: HostName, path: Path) -> list[str]:
    try:
        with path.open("rb") as file:
            return file.read(_LONGEST).decode("utf-8", errors="replace").splitlines()
    except OSError as exc:
        raise _wrong(host, f"cannot read {path}: {exc.strerror or exc}") from exc


def _is_of(name: str, listed: str) -> bool:
    """Say whether one name of an entry is this one; names may stand there hashed. Source: sshd(8), known_hosts."""
    return listed == name or (listed.startswith("|1|") and HostKeys.hash_host(name, listed) == listed)


def _kind(algorithm: str) -> str:
    """Return the kind of key that a signature algorithm is made with. Source: RFC 8332, section 3."""
    return "ssh-rsa" if algorithm.startswith("rsa-sha2-") else algorithm
