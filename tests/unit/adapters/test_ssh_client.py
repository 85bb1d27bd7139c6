"""What ssh is told about the way to a host, and what its complaints mean."""

import shlex
import subprocess
from pathlib import Path

import pytest

from agent.adapters import ssh_client, target_keeper
from agent.adapters.ssh_client import Hop, Way
from agent.adapters.target_keeper import Post
from agent.errors import OutsideError

HOP = Hop(address="10.0.3.7", port=2222, user="medic", known_hosts="/etc/medic/known hosts", key_file="/etc/medic/id")
JUMP = Hop(address="bastion.example", port=22, user="door", known_hosts="/etc/medic/other", key_file=None)


def way(*hops: Hop, sudo: bool = False) -> Way:
    return Way(host="gpu-1", hops=hops, sudo=sudo, docker="unix:///var/run/docker.sock", agent_socket="/run/agent")


@pytest.mark.parametrize(
    ("complaint", "says", "passes"),
    [
        ("@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\nHost key verification failed.", "this may be an attack", False),
        ("No ED25519 host key is known for [10.0.3.7]:2222 and you have requested strict checking.", "`medic host add`", False),
        ("medic@10.0.3.7: Permission denied (publickey).", "add the public key to ~medic/.ssh/authorized_keys", False),
        ("sudo: a password is required", "allow `medic ALL=(ALL) NOPASSWD: ALL`", False),
        ("medic is not in the sudoers file.  This incident will be reported.", "may not use sudo there", False),
        ("sh: 1: sudo: not found", "there is no sudo there", False),
        ("ssh: connect to host 10.0.3.7 port 2222: Connection refused", "nothing listens on port 2222", True),
        ("ssh: connect to host 10.0.3.7 port 2222: Connection timed out", "did not answer on port 2222 in time", True),
        ("ssh: connect to host 10.0.3.7 port 2222: No route to host", "no way to 10.0.3.7", True),
        ("ssh: Could not resolve hostname gpu-1: Name or service not known", "is no name that is known here", True),
        ("kex_exchange_identification: read: Connection reset by peer", "closed the connection", True),
        (
            "Permissions 0644 for '/etc/medic/id' are too open.\nWARNING: UNPROTECTED PRIVATE KEY FILE!",
            "run `chmod 600`",
            False,
        ),
        ('Load key "/etc/medic/id": error in libcrypto', "the private key /etc/medic/id cannot be read", False),
        ("what nobody has ever seen", "what nobody has ever seen", True),
        ("", "exited 255 without a word", True),
    ],
)
def test_each_complaint_is_a_sentence_with_what_to_do(complaint: str, says: str, passes: bool) -> None:
    sentence, transient = ssh_client.trouble(way(HOP), complaint)

    assert sentence.startswith("cannot reach host 'gpu-1': ")
    assert says in sentence
    assert transient is passes


def test_every_hop_is_pinned_and_only_its_own_key_is_offered(tmp_path: Path) -> None:
    text = ssh_client.write_config(way(JUMP, HOP), tmp_path).read_text()

    everywhere, jump, target = text.split("\n\n")
    assert "StrictHostKeyChecking yes" in everywhere
    assert "GlobalKnownHostsFile /dev/null" in everywhere
    assert "BatchMode yes" in everywhere
    assert jump.startswith("Host jump1\n  HostName bastion.example\n  Port 22\n  User door\n")
    assert "IdentityFile" not in jump
    assert 'UserKnownHostsFile "/etc/medic/known hosts"' in target
    assert "IdentitiesOnly yes" in target
    assert "ProxyJump jump1" in target


@pytest.mark.parametrize("path", ['/a"b', "/a\\b", "/$HOME/x", "/a\nProxyCommand evil"])
def test_a_path_that_ssh_would_read_otherwise_is_refused(path: str, tmp_path: Path) -> None:
    hop = Hop(address="a", port=22, user="b", known_hosts=path, key_file=None)

    with pytest.raises(OutsideError, match="a path may hold no"):
        ssh_client.write_config(way(hop), tmp_path)


def test_words_for_the_target_are_quoted_and_go_through_sudo_where_it_is_wanted() -> None:
    words = ssh_client.command(Path("/c"), "sh", "-c", "echo $1", "x; rm -rf /", way=way(HOP, sudo=True))

    assert words[-1] == "sudo -n -- sh -c 'echo $1' 'x; rm -rf /'"


def test_the_agent_is_offered_only_where_a_hop_has_no_key_of_its_own() -> None:
    assert ssh_client.environment(way(HOP)) == {}
    assert ssh_client.environment(way(JUMP, HOP)) == {"SSH_AUTH_SOCK": "/run/agent"}


@pytest.mark.parametrize(
    "words", ["echo 'it''s' \"$HOME\" `id`", "sh -c 'if true; then echo \"$(id)\"; fi'", "printf '%s\\n' a\\b", "a\nb"]
)
def test_what_ansible_runs_on_a_target_arrives_there_word_for_word(words: str, tmp_path: Path) -> None:
    post = Post(way=way(HOP, sudo=True), folder=str(tmp_path), lock="l", mark="I1-1/x", place="p", holder="h")
    (tmp_path / "bin").mkdir()
    stand_in = tmp_path / "bin" / "ssh"
    stand_in.write_text('#!/bin/sh\nfor word do printf "%s\\0" "$word"; done\n')
    stand_in.chmod(0o755)

    call = [target_keeper.write_ssh(post), "-F", "/c", "-tt", ssh_client.TARGET, words]
    said = subprocess.run(
        call, env={"PATH": f"{tmp_path}/bin:/usr/bin:/bin"}, capture_output=True, text=True, check=True
    ).stdout

    *options, command, _ = said.split("\0")
    assert options == call[1:-1]
    there = shlex.split(command)
    assert there[:5] == ["sudo", "-n", "--", "/usr/bin/env", f"{target_keeper.MARK}=I1-1/x"]
    assert there[-3:] == ["/bin/sh", "-c", words]
