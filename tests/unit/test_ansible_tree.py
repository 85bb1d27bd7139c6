"""Rules that every shipped playbook keeps: bounded commands, quoted words, markers around the change, one target."""

import functools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
PLAYBOOKS = sorted((ROOT / "ansible" / "playbooks").glob("*.yml"))
TRIALS = sorted((ROOT / "runbooks").glob("*/*.yml"))
TASK_FILES = sorted((ROOT / "ansible" / "roles").glob("*/tasks/*.yml"))
COMMANDS = ("command", "shell", "raw", "script", "expect")
WITHOUT_CHECK_MODE = ("shell", "script", "expect", "docker_container_exec", "uri")
"""Modules that cannot say what they would change. `command` and `raw` are skipped in check mode; here they always are."""

READS = (
    "stat",
    "slurp",
    "fail",
    "debug",
    "set_fact",
    "docker_network_info",
    "docker_container_info",
    "docker_image_info",
    "docker_host_info",
)
HOOK = r"\{\{ \['timeout', '-k', '\d+', '\d+'\] \+ hook \}\}"
"""The one list of words that is not written out in a playbook: a program that the service declares, behind its bound."""


@functools.cache
def read(file: Path) -> Any:
    return yaml.safe_load(file.read_text())


def plays(file: Path) -> list[dict[str, Any]]:
    return read(file)


def tasks(file: Path) -> Iterator[dict[str, Any]]:
    document = read(file)
    for entry in document:
        listed = (
            [entry]
            if file in TASK_FILES
            else [task for key in ("pre_tasks", "tasks", "post_tasks") for task in entry.get(key, [])]
        )
        for task in listed:
            if "block" not in task:
                yield task
            for block in ("block", "rescue", "always"):
                yield from task.get(block, [])


def module(task: dict[str, Any]) -> tuple[str, Any]:
    """Return the short name and the arguments of the module that a task runs."""
    names = [key for key in task if "." in key]
    assert len(names) == 1, f"{task.get('name')}: name one module, by its full name"
    return names[0].rsplit(".", 1)[1], task[names[0]]


def command_of(task: dict[str, Any]) -> str | None:
    name, arguments = module(task)
    if name not in COMMANDS:
        return None
    if isinstance(arguments, str):
        return arguments
    words = arguments["argv"]
    return " ".join(words) if isinstance(words, list) else re.sub(r"[\[\]{}',]", "", words).strip()


def reads(task: dict[str, Any]) -> bool:
    """Say whether a task changes nothing: a module that only looks, a command that says so, a role of such tasks."""
    name, arguments = module(task)
    if name == "import_role":
        return all(reads(each) for each in tasks(ROOT / "ansible" / "roles" / arguments["name"] / "tasks" / "main.yml"))
    return name in READS or task.get("changed_when") is False


def words_of(task: dict[str, Any]) -> list[str]:
    return (command_of(task) or "").split()


EVERY = [pytest.param(file, id=str(file.relative_to(ROOT))) for file in (*PLAYBOOKS, *TRIALS, *TASK_FILES)]
SHIPPED = [pytest.param(file, id=file.stem) for file in PLAYBOOKS]


@pytest.mark.parametrize("file", EVERY)
def test_every_command_has_a_bound_on_the_target(file: Path) -> None:
    # A kill on this side cannot reach what a command started on another host.
    for task in tasks(file):
        command = command_of(task)
        assert command is None or "async" in task or re.match(r"timeout -k \S+ (\d+|\{\{.+?\}\}) ", command), task["name"]


@pytest.mark.parametrize("file", EVERY)
def test_every_word_in_a_command_is_quoted_or_a_number(file: Path) -> None:
    for task in tasks(file):
        name, arguments = module(task)
        if name == "command":  # a list of words goes to no shell, and what one word holds stays one word
            assert list(arguments) == ["argv"], task["name"]
            words = arguments["argv"]
            assert isinstance(words, list) or re.fullmatch(HOOK, words), task["name"]
            continue
        for word in re.findall(r"\{\{(.+?)\}\}", command_of(task) or ""):
            assert word.rstrip().endswith("| quote") or re.fullmatch(r" stop_timeout( \+ \d+)? ", word), (
                f"{task['name']}: {word}"
            )


@pytest.mark.parametrize("file", EVERY)
def test_nothing_goes_through_a_shell_that_raw_does_not_need(file: Path) -> None:
    for task in tasks(file):
        assert module(task)[0] not in WITHOUT_CHECK_MODE, task["name"]


@pytest.mark.parametrize("file", SHIPPED)
def test_marks_the_run_before_the_first_change_and_after_the_last(file: Path) -> None:
    (play,) = plays(file)
    marks = [(at, task["vars"]["marker"]) for at, task in enumerate(play["tasks"]) if task.get("vars", {}).keys() & {"marker"}]

    assert [mark for _, mark in marks] == ["started", "finished"]
    begins, ends = (at for at, _ in marks)
    assert ends == len(play["tasks"]) - 1
    for task in play["tasks"][:begins]:
        assert reads(task) or task.get("when") == "ansible_check_mode", f"{task['name']} comes before the mark"


@pytest.mark.parametrize("file", SHIPPED)
def test_has_one_target_and_gathers_no_facts(file: Path) -> None:
    (play,) = plays(file)

    assert play["hosts"] == "target"
    assert play["gather_facts"] is False


@pytest.mark.parametrize("file", SHIPPED)
def test_changes_nothing_in_check_mode(file: Path) -> None:
    # `check_mode: false` makes a task run in a dry run too: only one that reads may say so.
    for task in tasks(file):
        if task.get("check_mode") is False:
            assert task.get("changed_when") is False, task["name"]


SHIPPED_TASKS = [*SHIPPED, *(pytest.param(file, id=str(file.relative_to(ROOT))) for file in TASK_FILES)]
TAKES_AWAY = {
    "evict-cache": {"-delete"},
    "prune-unused-images": {"rm"},
    "restore-artefact": {"mv"},
    "truncate-container-log": {"truncate"},
    "restore-config": {"state: absent"},
}
"""The only playbooks that take something away, and by which word."""
WORDS_THAT_TAKE_AWAY = {"rm", "rmi", "mv", "truncate", "-delete", "-exec", "prune", "down", "dd", "shred", "mkfs", "umount"}
TARGETS = {"{{ container }}", "{{ nginx }}", "{{ container | quote }}", "{{ nginx | quote }}"}
PATHS = ("path", "dest", "src")


@pytest.mark.parametrize("file", SHIPPED_TASKS)
def test_nothing_is_taken_away_but_what_the_table_says(file: Path) -> None:
    found = {word for task in tasks(file) for word in words_of(task) if word in WORDS_THAT_TAKE_AWAY}
    found |= {
        "state: absent"
        for task in tasks(file)
        if isinstance(module(task)[1], dict) and module(task)[1].get("state") == "absent"
    }

    assert found == (TAKES_AWAY.get(file.stem, set()) if file in PLAYBOOKS else set())


@pytest.mark.parametrize("file", SHIPPED_TASKS)
def test_no_playbook_can_reach_a_volume(file: Path) -> None:
    for task in tasks(file):
        name, arguments = module(task)
        assert name not in ("docker_volume", "docker_prune", "docker_compose_v2_run"), task["name"]
        assert not {"volume", "volumes", "--volumes", "-v", "system"} & set(words_of(task)), task["name"]
        assert not (isinstance(arguments, dict) and arguments.get("keep_volumes") is False), task["name"]


@pytest.mark.parametrize("file", SHIPPED_TASKS)
def test_a_docker_command_that_acts_on_a_container_acts_on_the_target(file: Path) -> None:
    acts = {"restart", "start", "stop", "kill", "pause", "unpause", "rename", "update", "exec", "connect", "disconnect"}
    for task in tasks(file):
        command = command_of(task) or ""
        words = re.findall(r"\{\{.+?\}\}|\S+", command)
        if "docker" in words and acts & set(words[words.index("docker") + 1 :][:2]):
            assert TARGETS & set(words), task["name"]


@pytest.mark.parametrize("file", SHIPPED_TASKS)
def test_every_path_comes_from_a_declaration(file: Path) -> None:
    # A path written out in a playbook is one that no service declared; one with `..` may lead out of what it did.
    for task in tasks(file):
        _, arguments = module(task)
        for key in PATHS:
            path = arguments.get(key) if isinstance(arguments, dict) else None
            assert path is None or (path.startswith("{{") and ".." not in path), f"{task['name']}: {key}"


def test_every_playbook_belongs_to_a_runbook() -> None:
    declared = [read(file) for file in (ROOT / "runbooks").glob("*/runbook.yaml")]
    used = {each["playbook"] for each in declared if each.get("fleet") not in ("replace", "retire")}

    assert {file.name for file in PLAYBOOKS} == used


def test_nothing_under_ansible_can_shadow_the_package_of_that_name() -> None:
    assert list((ROOT / "ansible").rglob("*.py")) == []
