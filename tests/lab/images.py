"""The lab's images, built on the spot without any registry: `python -m tests.lab.images` builds the first two.

tiny: busybox and nothing else, a second. base: a small Debian with nginx, redis and python3, half a minute.
python: a Debian that the Dockerfile builds on, half a minute; `tests.lab.own_image` asks for it.
servers: a Debian with the servers whose logs `tests.lab.logs` makes, some minutes; no test needs it.
In: this machine's Debian or Ubuntu package sources. Out: images labelled `medic.lab=true` and with the key of the recipe
they were made by, so that a second call finds them and a changed recipe replaces them.
"""

import contextlib
import fcntl
import hashlib
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

TINY = "medic-lab/tiny"
BASE = "medic-lab/base"
PYTHON = "medic-lab/python"
SERVERS = "medic-lab/servers"

BASE_PACKAGES = ("nginx-light", "python3", "redis-server", "procps", "curl", "ca-certificates")
"""python3 and not python3-minimal: the minimal one has no `http.server`, which the lab's services are made of."""

PYTHON_PACKAGES = ("python3", "python3-venv", "ca-certificates", "haproxy")
"""What `python:3.11-slim` has; and HAProxy, so that one image is the base of Medic's own and the door before Docker."""

SERVER_PACKAGES = (
    *("nginx-light", "haproxy", "caddy", "apache2", "php-fpm", "openssl", "ca-certificates", "procps", "curl"),
    *("postgresql", "mariadb-server", "redis-server", "memcached", "etcd-server", "rabbitmq-server", "mosquitto", "prometheus"),
    *("python3", "gunicorn", "uvicorn", "celery", "python3-flask", "python3-fastapi", "python3-django", "python3-sqlalchemy"),
    *("python3-psycopg2", "python3-redis", "python3-requests", "nodejs", "default-jdk-headless"),
    *("squid", "varnish", "slapd", "bind9", "unbound", "dnsmasq", "pgbouncer", "nats-server", "uwsgi", "uwsgi-plugin-python3"),
    *(
        "lighttpd",
        "puma",
        "prosody",
        "openssh-server",
        "redis-sentinel",
        "prometheus-alertmanager",
        "docker-registry",
        "stunnel4",
    ),
    *("influxdb", "dovecot-imapd", "proftpd-core", "supervisor", "icecast2"),
    *("python3-pika", "python3-kafka", "python3-pymongo", "python3-grpcio"),
)
"""Every server here is Debian's own build, and prints what it prints in anybody's container."""

APT_SOURCES = ("sources.list.d/debian.sources", "sources.list.d/ubuntu.sources", "sources.list")
"""Where a distribution keeps its own package sources, below /etc/apt; the first that exists is used, third parties never."""

ASK = timedelta(seconds=30)
DOWNLOAD = timedelta(minutes=3)
BUILD = timedelta(minutes=8)
"""mmdebstrap takes 30 s here with a near mirror and two cores; a far mirror gets sixteen times that."""


class LabError(Exception):
    """The lab cannot be set up on this machine; the sentence says what is missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How one image is made: `build` writes a root file system as a tar; `words` name everything its content depends on."""

    image: str
    words: tuple[str, ...]
    build: Callable[[Path], None]

    @property
    def key(self) -> str:
        """Return the name of this very recipe: other words, other key."""
        return hashlib.sha256("\n".join(self.words).encode()).hexdigest()[:16]


def ensure(image: str, say: Callable[[str], None] = print) -> str:
    """Make sure that `image` (TINY, BASE, PYTHON or SERVERS) is in the local engine as its recipe says today; return its name.

    Raises LabError when it cannot be built. Two processes may ask at once: the second waits for the first.
    """
    recipe = next(recipe for recipe in _recipes() if recipe.image == image)
    if _key_in_engine(image) == recipe.key:
        return image
    with one_builder():
        if _key_in_engine(image) == recipe.key:
            return image
        say(f"building {image} (once)")
        started = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="medic-lab-") as folder:
            root = Path(folder, "root.tar")
            recipe.build(root)
            changes = ("LABEL medic.lab=true", f"LABEL medic.lab.key={recipe.key}", 'CMD ["/bin/sh"]')
            flags = [word for change in changes for word in ("--change", change)]
            run("docker", "import", *flags, str(root), f"{image}:latest", timeout=BUILD)
        # The image of an older recipe has lost its name just now; nothing but the lab ever used it.
        run("docker", "image", "prune", "--force", "--filter", "label=medic.lab=true", timeout=BUILD)
        say(f"built {image} in {time.monotonic() - started:.0f} s")
    return image


def digest(image: str) -> str:
    """Return the content digest of an image of this engine, `sha256:...`."""
    return run("docker", "image", "inspect", "--format", "{{.Id}}", image, timeout=ASK).strip()


def _recipes() -> tuple[Recipe, ...]:
    codename = platform.freedesktop_os_release().get("VERSION_CODENAME", "")
    machine = platform.machine()
    return (
        Recipe(image=TINY, words=("busybox-static", codename, machine, "2"), build=_build_tiny),
        _debian(BASE, BASE_PACKAGES, codename, machine),
        # Docker's client is this machine's own: a package of it would bring the whole engine along on Debian 12.
        _debian(PYTHON, PYTHON_PACKAGES, codename, machine, programs=("docker",)),
        _debian(SERVERS, SERVER_PACKAGES, codename, machine),
    )


def _debian(image: str, packages: tuple[str, ...], codename: str, machine: str, *, programs: tuple[str, ...] = ()) -> Recipe:
    return Recipe(
        image=image,
        words=("minbase", codename, machine, *packages, *programs),
        build=lambda tar: _build_debian(tar, image, packages, codename, programs),
    )


def _build_tiny(tar: Path) -> None:
    """Write a tar with busybox, a link for each of its applets, and the few files that programs expect."""
    folder = tar.parent
    fetch_package("busybox-static", folder)
    root = folder / "root"
    binary = next((path for path in (root / "bin/busybox", root / "usr/bin/busybox") if path.is_file()), None)
    if binary is None:
        raise LabError("cannot build the tiny image: the busybox-static package holds no busybox")
    applets = run(str(binary), "--list", timeout=ASK).split()
    for name in ("etc", "proc", "sys", "dev", "tmp", "var", "srv"):
        (folder / "image" / name).mkdir(parents=True)
    (folder / "image/tmp").chmod(0o1777)
    bin_folder = folder / "image/bin"
    bin_folder.mkdir()
    shutil.copy(binary, bin_folder / "busybox")
    for applet in applets:
        if applet != "busybox":
            (bin_folder / applet).symlink_to("busybox")
    (folder / "image/etc/passwd").write_text("root:x:0:0:root:/:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n")
    (folder / "image/etc/group").write_text("root:x:0:\nnogroup:x:65534:\n")
    with tarfile.open(tar, "w") as archive:
        archive.add(folder / "image", arcname=".", filter=_owned_by_root)


def fetch_package(package: str, folder: Path) -> None:
    """Unpack a package into `folder`/root without installing it: busybox-static would displace an installed busybox."""
    _need("apt-get", "dpkg-deb")
    try:
        run("apt-get", "-qq", "download", package, timeout=DOWNLOAD, folder=folder)
    except LabError:
        # A fresh Debian image has no package lists yet.
        run("apt-get", "-qq", "update", timeout=DOWNLOAD)
        run("apt-get", "-qq", "download", package, timeout=DOWNLOAD, folder=folder)
    archive = next(folder.glob(f"{package}_*.deb"))
    run("dpkg-deb", "-x", str(archive), str(folder / "root"), timeout=ASK)


def _owned_by_root(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = "root"
    return member


def _build_debian(tar: Path, image: str, packages: tuple[str, ...], codename: str, programs: tuple[str, ...]) -> None:
    """Write a tar of a minimal Debian with `packages`, from the sources this machine itself installs from, and its own `programs`."""
    _need("mmdebstrap", *programs)
    sources = next((path for name in APT_SOURCES if (path := Path("/etc/apt", name)).is_file()), None)
    if sources is None or not codename:
        raise LabError(f"cannot build {image}: this machine has no Debian or Ubuntu package sources")
    copies = [f"--customize-hook=copy-in {shutil.which(program)} /usr/bin" for program in programs]
    included = f"--include={','.join(packages)}"
    command = ("mmdebstrap", "--quiet", "--variant=minbase", included, *copies, codename, str(tar), "-")
    run(*command, timeout=BUILD, stdin=sources.read_bytes())


def _key_in_engine(image: str) -> str | None:
    wanted = '{{index .Config.Labels "medic.lab.key"}}'
    seen = subprocess.run(
        ("docker", "image", "inspect", "--format", wanted, image),
        capture_output=True,
        text=True,
        timeout=ASK.total_seconds(),
        check=False,
    )
    return seen.stdout.strip() if seen.returncode == 0 else None


def _need(*programs: str) -> None:
    missing = [program for program in programs if shutil.which(program) is None]
    if missing:
        raise LabError(f"cannot build the lab images: {', '.join(missing)} not found; run scripts/docker.sh as root")


def run(*command: str, timeout: timedelta, folder: Path | None = None, stdin: bytes | None = None) -> str:
    """Run one program to its end and return what it printed. Raises LabError with the tail of its complaint."""
    try:
        done = subprocess.run(
            command, capture_output=True, timeout=timeout.total_seconds(), check=False, cwd=folder, input=stdin or b""
        )
    except subprocess.TimeoutExpired:
        raise LabError(f"cannot run {command[0]}: no end after {timeout.total_seconds():.0f} s") from None
    if done.returncode != 0:
        complaint = (done.stderr or done.stdout).decode(errors="replace").strip()[-600:]
        raise LabError(f"cannot run {' '.join(command[:3])}: it ended with {done.returncode}: {complaint}")
    return done.stdout.decode(errors="replace")


@contextlib.contextmanager
def one_builder() -> Iterator[None]:
    """Let one process of this machine build at a time."""
    with Path(tempfile.gettempdir(), "medic-lab.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def build(*images: Callable[[], str]) -> int:
    """Make images that are not there and name each; return 0, or 3 when this machine lacks something."""
    try:
        for ensured in images:
            print(f"{ensured()} is there")
    except LabError as error:
        print(error, file=sys.stderr)
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(build(lambda: ensure(TINY), lambda: ensure(BASE)))
