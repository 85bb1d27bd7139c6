"""Runbook files: the shipped ones load, and each mistake gets one sentence that says what would be right."""

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from agent import runbook_file
from agent.errors import ConfigError
from agent.model import Cause, ContainerState, Parameter, ParameterSource, Rerun, Risk, Runbook, RunbookRule
from agent.policy import trust

ROOT = Path(__file__).resolve().parents[2]

GOOD = """
id: poke-container
title: Poke the container
treats: {causes: [hang_or_timeout], symptoms: [port-closed]}
never_for: [data_corruption]
when: {container_states: [running], needs: [spec], facts: {exit_code: 1|2}}
rung: 20
risk: safe
parameters:
  container: {source: container, help: The container.}
  spec: {source: spec, kind: json, help: The spec.}
  how: {source: person, choices: [gently, hard], default: gently, help: How to poke.}
playbook: poke.yml
timeout: 90s
settle: 2s
rerun: never
evidence: optional
"""
EXPECTED = "symptoms: [port-closed]\ncauses: [hang_or_timeout]\nservices: {web: {}}\n"
PLAYBOOK = "- hosts: target\n  tasks:\n    - ansible.builtin.import_role: {name: marker}\n"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A folder with one good runbook, its playbook and a role that uses another role."""
    runbook = tmp_path / "runbooks" / "poke-container"
    runbook.mkdir(parents=True)
    (runbook / "runbook.yaml").write_text(GOOD)
    (runbook / "expect.yaml").write_text(EXPECTED)
    (runbook / "inject.yml").write_text("- hosts: target\n")
    (runbook / "revert.yml").write_text("- hosts: target\n")
    for role, text in (("marker", "- include_role: {name: inner}\n"), ("inner", "- debug:\n"), ("unused", "- debug:\n")):
        tasks = tmp_path / "ansible" / "roles" / role / "tasks"
        tasks.mkdir(parents=True)
        (tasks / "main.yml").write_text(text)
    (tmp_path / "ansible" / "playbooks").mkdir()
    (tmp_path / "ansible" / "playbooks" / "poke.yml").write_text(PLAYBOOK)
    return tmp_path


def load(tree: Path) -> Runbook:
    (runbook,) = runbook_file.load_runbooks(tree / "runbooks", tree / "ansible" / "playbooks")
    return runbook


def test_reads_every_key(tree: Path) -> None:
    runbook = load(tree)

    assert runbook == Runbook(
        id=runbook.id,
        title="Poke the container",
        treats_causes=(Cause.HANG_OR_TIMEOUT,),
        treats_symptoms=("port-closed",),
        never_for=(Cause.DATA_CORRUPTION,),
        container_states=(ContainerState.RUNNING,),
        needs=("spec",),
        facts=(("exit_code", "1|2"),),
        rung=20,
        risk=Risk.SAFE,
        parameters=(
            Parameter(name="container", kind="string", source=ParameterSource.CONTAINER, help="The container."),
            Parameter(name="spec", kind="json", source=ParameterSource.SPEC, help="The spec."),
            Parameter(
                name="how",
                kind="string",
                source=ParameterSource.PERSON,
                default="gently",
                choices=("gently", "hard"),
                help="How to poke.",
            ),
        ),
        playbook="poke.yml",
        timeout=timedelta(seconds=90),
        settle=timedelta(seconds=2),
        rerun=Rerun.NEVER,
        undo=None,
        evidence_required=False,
        hash=runbook.hash,
    )
    assert runbook.id == "poke-container"


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("title:", "titel:", "titel: there is no such key (did you mean 'title'?)"),
        ("needs: [spec],", "neds: [spec],", "when.neds: there is no such key (did you mean 'needs'?)"),
        ("rung: 20\n", "", "rung: is missing"),
        ("rung: 20", "rung: '20'", "rung: must be a whole number, not '20'"),
        ("rung: 20", "rung: 0", "rung: must be 1 or more, not 0"),
        ("id: poke-container", "id: poke", "id: must be 'poke-container', the name of its folder, not 'poke'"),
        ("risk: safe", "risk: saef", "risk: cannot be 'saef' (did you mean 'safe'?)"),
        ("risk: safe", "risk: safe\nwhole_host: true", "whole_host: what is done to a whole host is not safe"),
        ("rerun: never", "rerun: often", "rerun: cannot be 'often' (one of: safe, never)"),
        ("[port-closed]", "[port-close]", "treats.symptoms[0]: there is no symptom 'port-close' (did you mean 'port-closed'?)"),
        ("[hang_or_timeout]", "[hang]", "treats.causes[0]: cannot be 'hang' (did you mean 'hang_or_timeout'?)"),
        ("{exit_code: 1|2}", "{exitcode: 1}", "when.facts.exitcode: there is no fact 'exitcode' (did you mean 'exit_code'?)"),
        ("[running]", "[runing]", "when.container_states[0]: cannot be 'runing' (did you mean 'running'?)"),
        ("source: container", "source: log", "parameters.container.source: cannot be 'log' (one of: container, nginx, spec, "),
        ("kind: json, ", "", "parameters.spec: its kind must be 'json', which is what source 'spec' gives"),
        (
            "{source: container,",
            "{source: container, default: web,",
            "parameters.container: default, choices, minimum and maximum are for source 'person' only",
        ),
        (
            " needs: [spec],",
            "",
            "parameter 'spec' comes from the declaration, so when.needs must name 'spec'",
        ),
        ("[data_corruption]", "[hang_or_timeout]", "treats.causes and never_for both name 'hang_or_timeout'"),
        ("timeout: 90s", "timeout: 90", "timeout: '90' is no span of time: write a number and a unit (did you mean 90s?)"),
        ("timeout: 90s", "timeout: 2d", "timeout: must be at most 1h, not 2d"),
        ("rerun: never", "rerun: never\nundo: unpoke", "undo: there is no runbook 'unpoke' (one of: poke-container)"),
        ("rerun: never", "rerun: never\nundo: poke-container", "undo names the runbook itself"),
        ("rung: 20", "rung: 20\nrung: 30", "line 8, column 1: the key 'rung' is there twice"),
    ],
)
def test_says_what_is_wrong_and_what_would_be_right(tree: Path, old: str, new: str, sentence: str) -> None:
    file = tree / "runbooks" / "poke-container" / "runbook.yaml"
    assert old in GOOD
    file.write_text(GOOD.replace(old, new, 1))

    with pytest.raises(ConfigError) as caught:
        load(tree)

    assert str(caught.value).startswith(f"cannot read {file}: {sentence}")


def test_says_which_playbook_there_is(tree: Path) -> None:
    file = tree / "runbooks" / "poke-container" / "runbook.yaml"
    file.write_text(GOOD.replace("poke.yml", "pokes.yml"))

    with pytest.raises(ConfigError) as caught:
        load(tree)

    missing = tree / "ansible" / "playbooks" / "pokes.yml"
    assert str(caught.value) == f"cannot read {file}: playbook: there is no {missing} (did you mean 'poke.yml'?)"


@pytest.mark.parametrize("name", runbook_file.FILES)
def test_refuses_a_folder_without_one_of_its_files(tree: Path, name: str) -> None:
    file = tree / "runbooks" / "poke-container" / name
    file.unlink()

    with pytest.raises(ConfigError) as caught:
        load(tree)

    assert str(caught.value) == f"cannot read runbook 'poke-container': there is no {file}"


def test_refuses_an_empty_catalogue(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        runbook_file.load_runbooks(tmp_path, tmp_path)

    assert str(caught.value) == f"cannot load runbooks from {tmp_path}: there is no runbook in it"


def test_refuses_a_playbook_with_a_role_that_is_not_there(tree: Path) -> None:
    shutil.rmtree(tree / "ansible" / "roles" / "inner")

    with pytest.raises(ConfigError, match=r"role 'inner' is not in "):
        load(tree)


@pytest.mark.parametrize(
    "changed",
    [
        "runbooks/poke-container/runbook.yaml",
        "runbooks/poke-container/inject.yml",
        "ansible/playbooks/poke.yml",
        "ansible/roles/marker/tasks/main.yml",
        "ansible/roles/inner/tasks/main.yml",
    ],
)
def test_the_hash_binds_everything_that_decides_what_it_does(tree: Path, changed: str) -> None:
    before = load(tree).hash

    with (tree / changed).open("a") as file:
        file.write("# changed\n")

    assert load(tree).hash != before


def test_the_hash_leaves_out_what_it_does_not_use(tree: Path) -> None:
    before = load(tree).hash

    (tree / "ansible" / "roles" / "unused" / "tasks" / "main.yml").write_text("- debug: {msg: changed}\n")

    assert load(tree).hash == before


def shipped() -> dict[str, Runbook]:
    loaded = runbook_file.load_runbooks(ROOT / "runbooks", ROOT / "ansible" / "playbooks")
    return {runbook.id: runbook for runbook in loaded}


def test_the_shipped_runbooks_load_in_the_order_of_their_rungs() -> None:
    assert [(runbook.id, runbook.rung) for runbook in shipped().values()] == [
        ("rollback-image", 5),
        ("rollback-config", 6),
        ("reconnect-network", 8),
        ("recreate-namespace-child", 9),
        ("regenerate-nginx-routes", 9),
        ("reload-nginx", 10),
        ("start-container", 10),
        ("sync-clock", 10),
        ("unpause-container", 10),
        ("restore-nginx-config", 12),
        ("truncate-container-log", 12),
        ("evict-cache", 14),
        ("restore-artefact", 14),
        ("restore-config", 15),
        ("renew-certificate", 16),
        ("regain-gpu", 17),
        ("restart-dependency", 18),
        ("restart-fabric-manager", 18),
        ("restart-replica", 19),
        ("restart-container", 20),
        ("rotate-logs", 25),
        ("prune-unused-images", 30),
        ("recreate-container", 40),
        ("recreate-gpu-container", 42),
        ("replace-host", 55),
        ("quarantine-gpu-host", 60),
        ("restart-docker", 60),
        ("put-back-config", 90),
        ("reboot-host", 95),
        ("retire-host", 99),
    ]


AGAIN = {"start-container", "restart-container", "recreate-container"}


@pytest.mark.parametrize("cause", [Cause.DATA_CORRUPTION, Cause.GPU_HARDWARE_FAULT, Cause.GPU_RUNTIME_UNAVAILABLE])
def test_running_the_program_again_is_never_the_answer_to_what_it_makes_worse(cause: Cause) -> None:
    assert {id_ for id_, runbook in shipped().items() if cause in runbook.never_for} >= AGAIN


def test_a_cause_that_log_text_can_claim_does_not_keep_a_dead_service_from_being_started() -> None:
    assert shipped()["start-container"].never_for == (
        Cause.DATA_CORRUPTION,
        Cause.GPU_HARDWARE_FAULT,
        Cause.GPU_RUNTIME_UNAVAILABLE,
    )


def test_whatever_a_recreate_treats_a_gentler_rung_treats_first() -> None:
    # plan prefers a remedy for the cause to one for a symptom: a cause that only the recreate named would skip the restart.
    runbooks = shipped()
    recreate = set(runbooks["recreate-container"].treats_causes)

    assert recreate <= set(runbooks["start-container"].treats_causes)
    assert recreate <= set(runbooks["restart-container"].treats_causes)


def test_the_published_schema_is_current() -> None:
    published = (ROOT / "runbooks" / "runbook.schema.json").read_text(encoding="utf-8")

    assert published == runbook_file.schema(), "run `python -m agent.runbook_file`"


def test_a_runbook_that_cannot_be_put_to_the_test_says_why_and_is_never_safe() -> None:
    unrehearsed = {id_: runbook for id_, runbook in shipped().items() if runbook.unrehearsed is not None}

    by_hand = {"sync-clock", "reboot-host", "restart-fabric-manager", "replace-host", "retire-host"}
    assert set(unrehearsed) == by_hand
    assert all(runbook.risk is not Risk.SAFE for runbook in unrehearsed.values())
    assert all(
        trust.why_demoted(runbook, (), None, RunbookRule(), datetime(2026, 3, 1, tzinfo=UTC))
        for runbook in unrehearsed.values()
    )
