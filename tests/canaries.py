"""Thirty secrets that are planted in what the suite breaks, and the search for them in everything the suite leaves.

Planted: in the environment of the containers that the lab, the crash driver and the live tests make, in what the lab's services
print when they start, and in the environment of the tests themselves, which every daemon and playbook of theirs inherits. They
are never written to a file but `canary.env`, so whatever other file holds one is a leak.

`python -m tests.canaries FOLDER` looks through every file below FOLDER (what a run with `TMPDIR=FOLDER` left) and ends with 1
when it finds any, or when nothing shows that secrets came by at all.
"""

import base64
import gzip
import random
import string
import sys
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

FILE = "canary.env"
MARK = "Qz7cAnArY4Wm"
"""Twelve characters that are in every one of them: one search finds all, cut ones too."""
REDACTED = b"[REDACTED:"
GZIP = b"\x1f\x8b"


def _secret(number: int, prefix: str = "") -> str:
    random_ = random.Random(number)  # the same in every process of a run, and no secret of anybody
    return prefix + MARK + "".join(random_.choices(string.ascii_letters + string.digits, k=28))


CONTAINERS: Mapping[str, str] = {
    "DB_PASSWORD": _secret(1),
    "POSTGRES_PASSWORD": _secret(2),
    "REDIS_AUTH_TOKEN": _secret(3),
    "AWS_SECRET_ACCESS_KEY": _secret(4),
    "HF_TOKEN": _secret(5, "hf_"),
    "OPENAI_API_KEY": _secret(6, "sk-proj-"),
    "GITHUB_TOKEN": _secret(7, "ghp_"),
    "DATABASE_URL": f"postgres://app:{_secret(8)}@db:5432/app",
    "BROKER_URL": f"amqp://guest:{_secret(9)}@queue:5672/",
    "DJANGO_SECRET_KEY": _secret(10),
    "CLIENT_SECRET": _secret(11),
    "SMTP_PASS": _secret(12),
}
"""In the environment of containers."""

_LINES = (
    f"using postgres://app:{_secret(13)}@db:5432/app",
    f"GET /v1/items?token={_secret(14)}&page=2",
    f"Authorization: Bearer {_secret(15)}",
    f'{{"password": "{_secret(16)}"}}',
    f"DB_PASSWORD={_secret(17)}",
    f"api_key: {_secret(18)}",
    f"using key {_secret(19, 'sk-proj-')}",
    f"hub login with {_secret(20, 'hf_')}",
    f"push as {_secret(21, 'ghp_')}",
    f"Cookie: session={_secret(22)}",
    f"running tool --api-key {_secret(23)} --port 80",
    f"curl -u admin:{_secret(24)} http://x/",
    f"X-Api-Key: {_secret(25)}",
    f"cloning with {_secret(26, 'glpat-')}",
    f"Config(user='x', password='{_secret(27)}', port=1)",
)
PRINTED: Mapping[str, str] = {f"PRINTED_{number}": line for number, line in enumerate(_LINES, 1)}
"""In the environment of the lab's own services, which print them when they start (`tests/lab/app.py`)."""

SUITE: Mapping[str, str] = {
    "DEPLOY_PASSWORD": _secret(28),
    "VAULT_TOKEN": _secret(29, "hvs."),
    "REGISTRY_URL": f"https://bob:{_secret(30)}@registry.example/",
}
"""In the environment of the tests."""


def words() -> list[str]:
    """Return the environment of a container, as Docker's API takes it."""
    return [f"{name}={value}" for name, value in CONTAINERS.items()]


def flags() -> list[str]:
    """Return the same as words for `docker run`."""
    return [word for each in words() for word in ("--env", each)]


def write(folder: Path) -> Path:
    """Write the environment file of the lab's services into a folder; return its path."""
    file = folder / FILE
    file.write_text("".join(f"{name}={value}\n" for name, value in {**CONTAINERS, **PRINTED}.items()))
    return file


@dataclass(frozen=True, slots=True)
class Found:
    """What a search saw."""

    leaks: tuple[str, ...] = ()
    """`<file>: <the characters around it>`, one for every file with a leak."""
    files: int = 0
    size: int = 0
    """Bytes."""
    databases: int = 0
    redacted: int = 0
    """Marks of the redactor, which show that secrets came by."""


def search(*places: Path) -> Found:
    """Look for the planted secrets, as they are, in base64, in hex, and within gzip, in files and in every file below folders."""
    leaks: list[str] = []
    files = size = databases = redacted = 0
    for file in sorted(each for place in places for each in (place.rglob("*") if place.is_dir() else [place])):
        if file.name == FILE or file.is_symlink() or not file.is_file():
            continue
        try:
            text = _read(file)
        except OSError as exc:  # what nobody can read leaks nothing; that it was left out is said
            print(f"canaries: not looked into {file}: {exc.strerror}", file=sys.stderr)
            continue
        files, size = files + 1, size + len(text)
        databases += file.name == "medic.db"
        redacted += text.count(REDACTED)
        leaks += [f"{file}: {text[max(0, at - 40) : at + 60]!r}" for at in _places(text)]
    return Found(tuple(leaks), files, size, databases, redacted)


def _read(file: Path) -> bytes:
    text = file.read_bytes()
    if text.startswith(GZIP):
        try:
            return gzip.decompress(text)
        except (OSError, EOFError, zlib.error):
            return text
    return text


def _forms() -> tuple[bytes, ...]:
    mark = MARK.encode()
    # Base64 has three forms of a text, by where it begins in a group of three bytes; its first and last characters may hold
    # bits of what stands around.
    shifted = (base64.b64encode(b"\0" * shift + mark)[(0, 2, 3)[shift] :] for shift in range(3))
    return (mark, mark.hex().encode(), mark.hex().upper().encode(), *(form.rstrip(b"=")[:-1] for form in shifted))


FORMS = _forms()


def _places(text: bytes) -> Iterator[int]:
    """Yield where the first one of each form is."""
    for form in FORMS:
        at = text.find(form)
        if at >= 0:
            yield at


def main(folder: Path) -> int:
    """Say what was found. 0: nothing, though secrets came by; 1 otherwise."""
    found = search(folder)
    looked = f"{found.files} files ({found.size / 1e6:.0f} MB), {found.databases} of them ledgers"
    for leak in found.leaks:
        print(f"canaries: {leak}", file=sys.stderr)
    if found.leaks:
        print(f"canaries: {len(found.leaks)} leaks in {looked}", file=sys.stderr)
        return 1
    if not found.redacted:
        print(f"canaries: nothing was redacted in {looked}: the planted secrets never came by", file=sys.stderr)
        return 1
    print(
        f"canaries: none of the 30 planted secrets is in {looked}; {found.redacted} marks of the redactor stand in such places"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
