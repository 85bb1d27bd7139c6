"""The host keys that a person pins: fetched once, shown as fingerprints, and written down when the person agrees.

What ssh-keyscan brings is not to be trusted by itself: whoever answers in the host's place is heard as well. So a person compares
the fingerprint with the host's own. This is the only place that writes a known_hosts file.
"""

import base64
import binascii
import hashlib
import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from agent.errors import ConfigError, OutsideError

WITHIN = 10
"""Seconds for an answer."""
KINDS = ("ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "ssh-rsa")
"""The best first: that one is pinned."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostKey:
    """One key that a host showed."""

    kind: str
    base64: str

    @property
    def fingerprint(self) -> str:
        """Return it as `ssh-keygen -l` prints it."""
        digest = hashlib.sha256(base64.b64decode(self.base64)).digest()
        return f"SHA256:{base64.b64encode(digest).decode().rstrip('=')}"


def fetch(address: str, port: int) -> HostKey:
    """Return the best key that a host shows. Raises OutsideError when it does not answer with one."""
    try:
        done = subprocess.run(  # noqa: S603 -- both words were checked to be an address and a number
            ["/usr/bin/ssh-keyscan", "-T", str(WITHIN), "-p", str(port), "--", address],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=WITHIN + 5,
            check=False,
        )
    except (OSError, subprocess.SubprocessError) as exc:
        raise OutsideError(f"cannot fetch the host key of {address}: {exc}", transient=True) from exc
    shown = [
        HostKey(kind=words[1], base64=words[2])
        for words in map(str.split, done.stdout.decode(errors="replace").splitlines())
        if _is_key(words)
    ]
    if not shown:
        raise OutsideError(f"cannot fetch the host key of {address}: nothing on port {port} showed one", transient=True)
    return min(shown, key=lambda key: KINDS.index(key.kind))


def pin(file: Path, address: str, port: int, key: HostKey) -> bool:
    """Write a key down; False if it stands there already. Raises ConfigError where another one does, or it cannot be written."""
    name = address if port == 22 else f"[{address}]:{port}"
    try:
        text = file.read_text(encoding="utf-8", errors="replace") if file.exists() else ""
        for words in map(str.split, text.splitlines()):
            if len(words) >= 3 and name in words[0].split(",") and words[1] == key.kind:
                if words[2] == key.base64:
                    return False
                raise ConfigError(
                    f"cannot pin the key of {name}: {file} holds another {key.kind} key for it; find out why it changed,"
                    f" then remove it with `ssh-keygen -R '{name}' -f {file}`"
                )
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "w", encoding="utf-8") as out:
            out.write(f"{'' if not text or text.endswith(chr(10)) else chr(10)}{name} {key.kind} {key.base64}\n")
    except OSError as exc:
        raise ConfigError(f"cannot write {file}: {exc.strerror or exc}") from exc
    return True


def _is_key(words: list[str]) -> bool:
    if len(words) != 3 or words[1] not in KINDS or not re.fullmatch(r"[A-Za-z0-9+/=]+", words[2]):
        return False
    try:
        base64.b64decode(words[2], validate=True)
    except binascii.Error:
        return False
    return True
