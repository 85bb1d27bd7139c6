"""Paths and image names as people write them: what a remedy may touch, and what it never may."""

import pytest

from agent import words


@pytest.mark.parametrize("path", ["/srv/web/cache", "/data", "/var/cache/web", "/home/web/models", "/tmp/web"])
def test_a_folder_of_its_own_is_taken(path: str) -> None:
    assert words.own_path(path) == path


@pytest.mark.parametrize(
    "path",
    [
        "/", "/srv", "/home", "/tmp", "/var", "/var/lib", "/var/cache", "/etc", "/etc/nginx", "/usr/share/web", "/var/lib/docker",
        "/var/lib/docker/volumes/data/_data", "/var/lib/medic/good", "/proc/1/root", "/dev/shm", "/root/.cache",
    ],
)  # fmt: skip
def test_what_is_the_systems_or_everybodys_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match="is not the service's own"):
        words.own_path(path)


@pytest.mark.parametrize(
    "path",
    [
        "",
        "cache",
        "./cache",
        "/srv/web/../../etc",
        "/srv//web",
        "//srv/web",
        "/srv/web/",
        "/srv/./web",
        "/srv/web\n",
        "/srv/\0x",
    ],
)
def test_a_path_that_may_lead_elsewhere_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match="is no absolute path"):
        words.own_path(path)


@pytest.mark.parametrize(
    ("image", "repository"),
    [
        ("app", "app"),
        ("app:1.2", "app"),
        ("team/app:1", "team/app"),
        ("registry:5000/team/app", "registry:5000/team/app"),
        ("registry:5000/team/app:1", "registry:5000/team/app"),
        ("app@sha256:" + "a" * 64, "app"),
        ("registry:5000/app:1@sha256:" + "a" * 64, "registry:5000/app"),
        ("sha256:" + "a" * 64, ""),
    ],
)
def test_the_repository_of_an_image(image: str, repository: str) -> None:
    assert words.repository(image) == repository
