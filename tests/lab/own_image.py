"""Medic's own image, built from the Dockerfile as it is, without any registry: `python -m tests.lab.own_image`.

In: the base that `tests.lab.images` makes, and what the locks pin, fetched once by this machine's pip into .cache/wheels. The build
itself has no network. Out: `medic-lab/own`, labelled as the lab's other images are.
"""

import hashlib
import shutil
import sys
import tempfile
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from tests.lab import images
from tests.lab.images import LabError

OWN = "medic-lab/own"
BUILD_STAGE = "medic-lab/own-build"
"""The first stage has a name of its own: what a later build leaves behind is found by it, and removed."""

ROOT = Path(__file__).parents[2]
LOCKS = ("requirements.lock", "requirements-build.lock")
FETCH = timedelta(minutes=4)
BUILD = timedelta(minutes=15)
"""Most of it unpacks Ansible. Where only Medic itself has changed it takes seconds."""


def ensure(say: Callable[[str], None] = print) -> str:
    """Build Medic's own image as the checkout is now; return its name. Raises LabError.

    Layers that are as before come from the engine's cache, so that a second call takes a second.
    """
    images.ensure(images.PYTHON, say)
    with images.one_builder(), tempfile.TemporaryDirectory(prefix="medic-own-image-") as folder:
        wheels = _wheels(say)
        for path in _files():
            to = Path(folder, path)
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / path, to)
        shutil.copytree(wheels, Path(folder, "wheels"))
        arguments = ("--build-arg", f"BASE={images.PYTHON}", "--build-arg", "PIP=--no-index --find-links=/lock")
        build = ("docker", "build", "--quiet", "--network", "none", "--label", "medic.lab=true", *arguments)
        images.run(*build, "--target", "build", "--tag", BUILD_STAGE, folder, timeout=BUILD)
        images.run(*build, "--tag", OWN, folder, timeout=BUILD)
        images.run("docker", "image", "prune", "--force", "--filter", "label=medic.lab=true", timeout=BUILD)
    return OWN


def _files() -> list[str]:
    """Return the files of the checkout, those too that are new in it."""
    listed = images.run("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", timeout=images.ASK, folder=ROOT)
    return [name for name in listed.split("\0") if name and (ROOT / name).is_file()]


def _wheels(say: Callable[[str], None]) -> Path:
    """Return a folder with every package that the locks pin, for the Python of the base."""
    _same_python()
    key = hashlib.sha256(b"".join((ROOT / lock).read_bytes() for lock in LOCKS)).hexdigest()[:16]
    kept = ROOT / ".cache/wheels" / key
    if kept.is_dir():
        return kept
    say("fetching the packages of Medic's own image (once)")
    shutil.rmtree(kept.parent, ignore_errors=True)  # those of older locks, or what was cut in the middle
    part = kept.with_suffix(".part")
    part.mkdir(parents=True)
    pip = (sys.executable, "-m", "pip", "--quiet", "--no-input", "--disable-pip-version-check", "download")
    for lock in LOCKS:
        images.run(*pip, "--require-hashes", "--only-binary", ":all:", "-d", str(part), "-r", str(ROOT / lock), timeout=FETCH)
    part.rename(kept)
    return kept


def _same_python() -> None:
    ask = ("docker", "run", "--rm", "--network", "none", images.PYTHON, "python3", "-c")
    theirs = images.run(*ask, "import sys; print('%d.%d' % sys.version_info[:2])", timeout=images.ASK).strip()
    ours = f"{sys.version_info[0]}.{sys.version_info[1]}"
    if theirs != ours:
        raise LabError(f"cannot build {OWN}: the base has Python {theirs} and the packages would be for {ours}")


if __name__ == "__main__":
    sys.exit(images.build(ensure))
