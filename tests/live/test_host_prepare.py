"""`medic host prepare` on a host that lacks what it installs: apt and dpkg run for real there, and `medic host check` is clean afterwards.

The host is a container with an sshd of its own at its door: whatever is run over SSH runs in the container. No package registry can be
reached from here, so the packages are made again from the files that this machine has of them: a stand-in for the registry alone.
"""

import hashlib
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest
import yaml
from typer.testing import CliRunner

from agent.cli import main
from tests import far_hosts
from tests.far_hosts import FarHost
from tests.lab import images
from tests.lab.socket_proxy import SocketProxy
from tests.live.conftest import LABELS

pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="the packages of this test are made with dpkg-deb"),
]

WANTED = ("python3-requests", "python3-yaml")
REGISTRY = "rm -rf /etc/apt/sources.list.d/*; echo 'deb [trusted=yes] file:/registry ./' > /etc/apt/sources.list"


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that apt takes for a registry: what `WANTED` needs, made from this machine's own installed files."""
    folder = tmp_path_factory.mktemp("registry")
    needed = list(WANTED)
    for name in needed:
        depends = _asked("dpkg-query", "-W", "-f", "${Depends}", name)
        names = {each.split("|")[0].split()[0].partition(":")[0] for each in depends.split(",") if each.strip()}
        ours = {each for each in names if each.startswith("python3-") or each.startswith("libyaml")}
        needed += sorted(ours - set(needed))
    listed = [_packed(name, folder) for name in needed]
    (folder / "Packages").write_text("\n".join(listed))
    return folder


def _packed(name: str, folder: Path) -> str:
    """Make one package again from its installed files; return its paragraph of the index."""
    root = folder / name
    for line in _asked("dpkg", "-L", name).splitlines():
        path = Path(line)
        if path.is_file() or path.is_symlink():
            target = root / line.lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, target, follow_symlinks=False)
    fields = ("Package", "Version", "Architecture", "Maintainer", "Depends", "Description")
    control = "".join(
        f"{field}: {value.splitlines()[0]}\n"
        for field in fields
        if (value := _asked("dpkg-query", "-W", "-f", f"${{{field}}}", name))
    )
    (root / "DEBIAN").mkdir()
    (root / "DEBIAN" / "control").write_text(control)
    made = folder / f"{name}.deb"
    _asked("dpkg-deb", "--build", "--root-owner-group", "-Znone", str(root), str(made))
    content = made.read_bytes()
    return f"{control}Filename: ./{made.name}\nSize: {len(content)}\nSHA256: {hashlib.sha256(content).hexdigest()}\n"


def _asked(*words: str) -> str:
    return subprocess.run(words, check=True, capture_output=True, text=True, timeout=120).stdout


@pytest.fixture
def host(
    request: pytest.FixtureRequest,
    docker_client: docker.APIClient,
    registry: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[FarHost]:
    """A container after the script that the test names, reached through an sshd that runs every command inside it."""
    for variable in ("MEDIC_CONFIG", "MEDIC_STATE_DIR"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.chdir(tmp_path)
    image = images.ensure(images.BASE)
    client = shutil.which("docker")
    (tmp_path / "door").mkdir()
    binds = [f"{tmp_path}/door:/door", f"{registry}:/registry:ro", f"{client}:/usr/bin/docker:ro"]
    settings = docker_client.create_host_config(network_mode="none", binds=binds)
    made = docker_client.create_container(image, ["sleep", "600"], labels=LABELS, host_config=settings)["Id"]
    try:
        docker_client.start(made)
        pid = docker_client.inspect_container(made)["State"]["Pid"]
        inside = f'exec nsenter --target {pid} --mount --uts --ipc --pid --root --wd -- sh -c "$SSH_ORIGINAL_COMMAND"'
        with (
            SocketProxy(tmp_path / "door"),
            far_hosts.far_host(tmp_path / "sshd", "127.0.1.13", more=f"ForceCommand {inside}") as served,
        ):
            far = {"docker": "unix:///door/docker.sock", "ssh": served.words()}
            document = {"state_dir": "state", "hosts": {"far": far}}
            (tmp_path / "medic.yaml").write_text(yaml.safe_dump(document))
            _asked("docker", "exec", made, "sh", "-c", request.param)
            yield served
    finally:
        docker_client.remove_container(made, force=True, v=True)


def medic(*words: str) -> tuple[int, str]:
    result = CliRunner().invoke(main.app, list(words))
    return result.exit_code, result.stdout + result.stderr


@pytest.mark.parametrize("host", [REGISTRY], indirect=True)
def test_what_a_host_lacks_is_installed_there_and_the_check_is_clean_afterwards(host: FarHost) -> None:
    del host
    code, before = medic("host", "check", "far")
    assert code == 3
    assert "medic host prepare far: modules that speak to Docker need it" in before

    code, said = medic("host", "prepare", "far", "--check")
    assert code == 0, said
    assert "Say what is missing - missing: requests, yaml" in said
    assert medic("host", "check", "far")[0] == 3, "a dry run installs nothing"

    code, said = medic("host", "prepare", "far", "--yes")
    assert code == 0, said
    assert "changed   Install what is missing" in said

    code, after = medic("host", "check", "far")
    assert code == 0, after
    assert "missing" not in {line.split()[0] for line in after.splitlines()}

    code, again = medic("host", "prepare", "far", "--yes")
    assert code == 0, again
    assert "Say what is missing - nothing is missing" in again
    assert "changed   Install" not in again


@pytest.mark.parametrize("host", ["mv /usr/bin/apt-get /usr/bin/apt-get.away"], indirect=True)
def test_a_host_without_a_package_manager_that_medic_knows_is_told_so_and_left_alone(host: FarHost) -> None:
    del host
    code, said = medic("host", "prepare", "far", "--yes")
    assert code == 1
    assert "cannot install requests, yaml: there is no apt-get, dnf, yum, apk or zypper" in said
    assert medic("host", "check", "far")[0] == 3
