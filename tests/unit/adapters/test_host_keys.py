"""Host keys that a person pins."""

from pathlib import Path

import pytest

from agent.adapters import host_keys
from agent.adapters.host_keys import HostKey
from agent.errors import ConfigError

ONE = HostKey(kind="ssh-ed25519", base64="AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl")
OTHER = HostKey(kind="ssh-ed25519", base64="AAAAC3NzaC1lZDI1NTE5AAAAIPJjMhYxqhdWRBgGVWQoVdNfDN1Ii7bQWXEuQwvPnoFx")


def test_the_fingerprint_is_the_one_that_ssh_keygen_prints() -> None:
    # GitHub publishes this key and this fingerprint: https://docs.github.com/en/authentication (SSH key fingerprints).
    assert ONE.fingerprint == "SHA256:+DiY3wvvV6TuJJhbpZisF/zLDA0zPMSvHdkr4UvCOqU"


def test_a_key_is_written_once_below_what_stands_there_and_for_its_port(tmp_path: Path) -> None:
    file = tmp_path / "ssh" / "known_hosts"
    file.parent.mkdir()
    file.write_text("other ssh-ed25519 AAAA")

    assert host_keys.pin(file, "10.0.0.1", 2222, ONE) is True
    assert host_keys.pin(file, "10.0.0.1", 2222, ONE) is False
    assert file.read_text() == f"other ssh-ed25519 AAAA\n[10.0.0.1]:2222 ssh-ed25519 {ONE.base64}\n"


def test_a_key_never_takes_the_place_of_another(tmp_path: Path) -> None:
    file = tmp_path / "known_hosts"
    host_keys.pin(file, "10.0.0.1", 22, ONE)

    with pytest.raises(ConfigError, match="holds another ssh-ed25519 key for it; find out why it changed"):
        host_keys.pin(file, "10.0.0.1", 22, OTHER)
    assert OTHER.base64 not in file.read_text()
