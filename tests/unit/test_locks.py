"""The locks say what pyproject.toml says, agree with one another, and name no place that packages come from."""

import json
import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
LOCKS = {
    "requirements.lock": (),
    "requirements-dev.lock": ("postgres", "infra", "llm", "ssh", "aws", "otel", "dev"),
    "requirements-llm.lock": ("llm",),
    "requirements-infra.lock": ("infra",),
    "requirements-postgres.lock": ("postgres",),
    "requirements-ssh.lock": ("ssh",),
    "requirements-aws.lock": ("aws",),
    "requirements-otel.lock": ("otel",),
}
"""Each lock and the extras it holds beside the core."""

# Put together here, so that this file passes its own test.
REGISTRIES = re.compile(
    "|".join(("py" + r"pi\.org", "python" + r"hosted\.org", "registry" + r"\.npmjs", r"artifact" + r"ory", r"pkg\." + "dev"))
)


def named(requirements: list[str]) -> set[str]:
    return {normal(re.split(r"[\[<>=!~; ]", requirement, maxsplit=1)[0]) for requirement in requirements}


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def pinned(lock: str) -> dict[str, str]:
    pins = re.findall(r"^([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==([^\s;\\]+)", (ROOT / lock).read_text(), re.MULTILINE)
    return {normal(name): version for name, version in pins}


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_pins_everything_that_pyproject_asks_for(lock: str) -> None:
    wanted = named(PROJECT["project"]["dependencies"])
    for extra in LOCKS[lock]:
        wanted |= named(PROJECT["project"]["optional-dependencies"][extra])
    assert wanted - pinned(lock).keys() == set()


def test_the_build_lock_pins_the_build_backend() -> None:
    assert named(PROJECT["build-system"]["requires"]) - pinned("requirements-build.lock").keys() == set()


@pytest.mark.parametrize("lock", [*LOCKS, "requirements-build.lock"])
def test_a_lock_takes_the_versions_that_the_tests_run_with(lock: str) -> None:
    tested = pinned("requirements-dev.lock")
    assert {name: version for name, version in pinned(lock).items() if tested.get(name, version) != version} == {}


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-build.lock"])
def test_the_development_lock_holds_all_that_a_demo_needs(lock: str) -> None:
    assert pinned(lock).keys() - pinned("requirements-dev.lock").keys() == set()


@pytest.mark.abuse("75")
@pytest.mark.parametrize("lock", [*LOCKS, "requirements-build.lock"])
def test_every_pin_of_a_lock_has_a_hash(lock: str) -> None:
    entries = re.split(r"^(?=[A-Za-z0-9])", (ROOT / lock).read_text(), flags=re.MULTILINE)
    bare = [entry.splitlines()[0] for entry in entries if "==" in entry.split("\n")[0] and "--hash=sha256:" not in entry]
    assert bare == []


def test_no_tracked_file_names_a_package_registry() -> None:
    tracked = subprocess.run(("git", "ls-files", "-z"), cwd=ROOT, capture_output=True, text=True, timeout=30, check=True).stdout
    naming = [
        name
        for name in tracked.split("\0")
        if name and (path := ROOT / name).is_file() and REGISTRIES.search(path.read_text(errors="replace"))
    ]
    assert naming == []


WITHOUT = """
import importlib, json, sys

class Nothing:
    def find_spec(self, name, *_):
        if name.partition(".")[0] in absent:
            raise ModuleNotFoundError(f"no {name} without the test tools")

absent = frozenset(json.loads(sys.argv[1]))
sys.meta_path.insert(0, Nothing())
importlib.import_module("tests.lab.demo")
"""


def test_the_demo_starts_with_what_its_own_lock_brings() -> None:
    """`make demo` is the first thing that people run, and sets up Medic without its test tools."""
    brought = pinned("requirements.lock").keys() | {normal(PROJECT["project"]["name"])}
    modules = metadata.packages_distributions()
    absent = [name for name, by in modules.items() if not {normal(each) for each in by} & brought]
    assert "pytest" in absent
    words = (sys.executable, "-c", WITHOUT, json.dumps(absent))
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
