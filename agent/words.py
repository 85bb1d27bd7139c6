"""The words that people write into medic.yaml and Docker labels: each function returns its text, or says what would be right.

Pure. A ValueError's sentence is shown to a person behind the name of the file and the key, or of the label.
"""

import re
import shlex
from pathlib import PurePosixPath
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import jmespath
from jmespath.exceptions import JMESPathError

_LABEL = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?", re.ASCII)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}", re.ASCII)


def name(text: str) -> str:
    """Return a service's, host's, check's or channel's name. Names become file names, so they hold no slash and start plainly."""
    if not _NAME.fullmatch(text):
        raise ValueError(f"{text[:70]!r} is no name: letters, digits, `_`, `.`, `-`, 63 at most, a letter or digit first")
    return text


def url(text: str) -> str:
    """Return the URL of an HTTP check. Raises ValueError with what would be right."""
    if len(text) > 2048 or not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError("must be a URL of at most 2048 plain ASCII characters without spaces")
    if not text.startswith(("http://", "https://")):
        raise ValueError(f"{text[:60]!r} is no URL to check: begin with http:// or https://")
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError as exc:
        raise ValueError(f"{text[:60]!r} is no URL: {exc}") from exc
    if not host or port == 0:
        raise ValueError(f"{text[:60]!r} has no host or no port that can be asked")
    if parts.username is not None or parts.password is not None:
        raise ValueError("must not hold a user or a password: what is written here is shown and stored")
    return text


def model(text: str) -> str:
    """Return the name of a language model as litellm knows it. Raises ValueError with what would be right."""
    if not text or len(text) > 200 or not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError("must be the name of a model as litellm knows it: at most 200 plain ASCII characters without spaces")
    return text


def address(text: str) -> str:
    """Return the `host:port` of a TCP check. Raises ValueError with what would be right."""
    host, _, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    plain = text.isascii() and text.isprintable() and not set(host) & set(" /@")
    if not (host and plain and (bracketed or ":" not in host) and port.isdigit() and 0 < int(port) < 65536):
        raise ValueError(f"{text[:60]!r} is no address: write host:port, for example container:6379")
    return text


def control(text: str) -> str:
    """Return a control target: a URL, or `host:port`. Raises ValueError with what would be right."""
    return url(text) if "://" in text else address(text)


def of_clock(text: str) -> str:
    """Return a time of the wall clock, `HH:MM`. Raises ValueError with what would be right."""
    if not re.fullmatch(r"(?:[01][0-9]|2[0-3]):[0-5][0-9]", text, re.ASCII):
        raise ValueError(f"{text[:20]!r} is no time of day: write hours and minutes, 00:00 to 23:59")
    return text


def timezone(text: str) -> str:
    """Return the name of a time zone that this machine knows. Raises ValueError with what would be right."""
    try:
        ZoneInfo(text)
    except (ZoneInfoNotFoundError, ValueError, OSError) as exc:
        raise ValueError(f"{text[:60]!r} is no time zone that this machine knows: write a name such as Europe/Berlin") from exc
    return text


def parameter(text: str) -> str:
    """Return the name of an SSM parameter. Raises ValueError."""
    if re.fullmatch(r"(/[A-Za-z0-9_.-]+)+", text, re.ASCII) is None or len(text) > 1011:
        raise ValueError(f"{text[:60]!r} is no name of an SSM parameter: write /medic/medic-prod/inventory")
    return text


def digest(text: str) -> str:
    """Return the digest of an image. Raises ValueError."""
    if not re.fullmatch(r"sha256:[0-9a-f]{64}", text):
        raise ValueError(
            "must be a digest, `sha256:` and 64 hexadecimal digits (docker inspect -f '{{.Image}}' CONTAINER shows it)"
        )
    return text


NO_DOCKER = "none"
"""What stands in place of a socket for a host that has no engine."""


def docker_socket(text: str) -> str:
    """Return the socket of a host's Docker engine, or `NO_DOCKER`. Raises ValueError."""
    if text == NO_DOCKER:
        return text
    if re.fullmatch(r"unix:///[A-Za-z0-9/._@+-]+", text, re.ASCII) is None:
        raise ValueError(
            f"{text[:60]!r} is no local Docker socket: write unix:///path; how its host is reached stands under ssh"
        )
    return text


def machine_address(text: str) -> str:
    """Return a name or address of a host, which no program can take for an option. Raises ValueError."""
    if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9.:_-]*", text, re.ASCII) is None:
        raise ValueError(f"{text[:60]!r} is no name or address of a host")
    return text


def account(text: str) -> str:
    """Return the name of an account. Raises ValueError."""
    if re.fullmatch(r"[a-z_][a-z0-9_-]*", text, re.ASCII) is None:
        raise ValueError(f"{text[:60]!r} is no name of an account")
    return text


def instance(text: str) -> str:
    """Return the id of an EC2 instance, or of a machine that Systems Manager manages. Raises ValueError."""
    if re.fullmatch(r"m?i-[0-9a-f]{8,17}", text, re.ASCII) is None:
        raise ValueError(f"{text[:60]!r} is no instance: write i-0123456789abcdef0")
    return text


def region(text: str) -> str:
    """Return the name of an AWS region. Raises ValueError."""
    if re.fullmatch(r"[a-z]{2}(-[a-z]+)+-[0-9]", text, re.ASCII) is None:
        raise ValueError(f"{text[:60]!r} is no region: write eu-west-1")
    return text


def status(value: object) -> tuple[int, int]:
    """Return one accepted range of status codes from `200` or `200-399`."""
    match = re.fullmatch(r"(\d{3})(?:-(\d{3}))?", str(value), re.ASCII)
    low, high = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
    if not 100 <= low <= high <= 599:
        raise ValueError(f"{str(value)[:40]!r} is no status: write 200 or 200-399")
    return low, high


def command(value: object) -> object:
    """Return a command line as a list of words; a list stays as it is. Raises ValueError for quotes that do not close."""
    if not isinstance(value, str):
        return value
    try:
        return shlex.split(value)
    except ValueError as exc:
        raise ValueError(f"{value[:60]!r} is no command line: {str(exc).lower()}") from exc


def memory(text: str) -> str:
    """Return a memory limit as Docker writes it. Raises ValueError."""
    if not re.fullmatch(r"[1-9][0-9]*[bkmg]", text, re.ASCII):
        raise ValueError(f"{text[:40]!r} is no amount of memory: write a whole number and b, k, m or g, for example 512m")
    return text


def restart_policy(text: str) -> str:
    """Return a restart policy as Docker writes it. Raises ValueError."""
    if not re.fullmatch(r"no|always|unless-stopped|on-failure(:[0-9]+)?", text, re.ASCII):
        raise ValueError(f"{text[:40]!r} is no restart policy: write no, always, unless-stopped, on-failure or on-failure:3")
    return text


def json_condition(text: str) -> str:
    """Return a JMESPath expression. Raises ValueError with what is wrong in it."""
    try:
        jmespath.compile(text[:2048])
    except JMESPathError as exc:
        where = str(exc).splitlines()[0]
        raise ValueError(f"{text[:60]!r} is no JMESPath expression ({where}); for example status == 'ok'") from exc
    return text


def header_rule(text: str) -> str:
    """Return what a header must be: `*`, `~` and a regular expression, or the very value. Raises ValueError."""
    if not text or len(text) > 256:
        raise ValueError("a header must be `*` (any value), `~` and a regular expression, or the value: 1 to 256 characters")
    if text.startswith("~"):
        try:
            re.compile(text[1:])
        except re.error as exc:
            raise ValueError(f"{text[:60]!r} is no regular expression behind its `~`: {exc}") from exc
    return text


def host_name(text: str) -> str:
    """Return the name of a host. Raises ValueError."""
    if len(text) > 253 or not all(_LABEL.fullmatch(label) for label in text.rstrip(".").split(".")):
        raise ValueError(f"{text[:60]!r} is no host name: letters, digits, `-`, `_`, with dots between")
    return text


_OF_THE_SYSTEM = tuple(
    PurePosixPath(path)
    for path in (
        "/bin", "/boot", "/dev", "/etc", "/lib", "/lib32", "/lib64", "/proc", "/root", "/run", "/sbin", "/sys", "/usr",
        "/var/lib/containerd", "/var/lib/docker", "/var/lib/medic",
    )
)  # fmt: skip
"""Nothing in them is a service's own, and Docker's folder holds volumes. Certificates and configurations have keys of their own."""
_SHARED = tuple(PurePosixPath(path) for path in ("/", "/home", "/media", "/mnt", "/opt", "/srv", "/tmp", "/var", "/var/cache"))  # noqa: S108 -- refused here, not used
"""Everybody's: a folder inside may be a service's own, they themselves are not."""


def absolute_path(text: str) -> str:
    """Return a path that is absolute and says where it leads: no `..`, no doubled slash, nothing unprintable."""
    plain = text.isprintable() and str(PurePosixPath(text)) == text and ".." not in text.split("/")
    if not plain or not text.startswith("/") or text.startswith("//"):
        raise ValueError(f"{text[:60]!r} is no absolute path: write it out from `/`, without `..` and without a `/` at its end")
    return text


def one_or_more(value: object) -> object:
    """Return a list; a single word, or nothing, is one, too."""
    if isinstance(value, str | int):
        return [str(value)]
    return [str(each) if isinstance(each, int) else each for each in value] if isinstance(value, list) else value or []


def own_path(text: str) -> str:
    """Return a path that a remedy may change, because nothing but the service can live there. Raises ValueError."""
    path = PurePosixPath(absolute_path(text))
    if path in _SHARED or any(path == each or each in path.parents or path in each.parents for each in _OF_THE_SYSTEM):
        raise ValueError(f"{text[:60]!r} is not the service's own: name a folder or file inside, for example /srv/web/cache")
    return text


def repository(image: str) -> str:
    """Return an image's name without tag and digest: `registry:5000/team/app:1.2` -> `registry:5000/team/app`; "" for an id."""
    if image.startswith("sha256:"):
        return ""
    name = image.partition("@")[0]
    head, slash, last = name.rpartition("/")
    return f"{head}{slash}{last.partition(':')[0]}"
