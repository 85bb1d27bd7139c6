"""The commands as a person types them: exit codes, sentences, JSON, and what a fast start may import."""

import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from agent.adapters.eval_records import EvalRecords
from agent.cli import machine, main, options
from agent.model import (
    Cause,
    Closing,
    Diagnosis,
    Health,
    HostName,
    IncidentId,
    IncidentState,
    Judgement,
    LogLine,
    Plane,
    Refusal,
    RefusalCode,
    RunbookMark,
    RunbookMarkKind,
    Service,
    ServiceName,
    StoryKind,
    Sureness,
    SweepReport,
    Verdict,
)
from agent.ports import Store
from agent.wiring import clock, keeping, opinions, reading, shipped
from tests import escalated as example

ROOT = Path(__file__).parents[3]
NOW = datetime(2026, 3, 1, 12, 0, 3, tzinfo=UTC)
HOSTILE = "[red]boom[/red] \x1b[2J\x1b]0;x\x07"

Medic = Callable[..., tuple[int, str, str]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a medic.yaml whose Docker engine does not answer."""
    (tmp_path / "medic.yaml").write_text(
        f"state_dir: state\nhosts: {{local: {{docker: 'unix://{tmp_path}/no.sock'}}}}\nservices: {{web: {{}}, db: {{}}}}\n"
    )
    return tmp_path


@pytest.fixture
def medic(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Medic:
    """Run one command in the folder; return its exit code, stdout and stderr."""
    monkeypatch.chdir(folder)
    for variable in [key for key in os.environ if key.startswith("MEDIC_")]:
        monkeypatch.delenv(variable)

    def run(*words: str) -> tuple[int, str, str]:
        result = CliRunner().invoke(main.app, list(words))
        return result.exit_code, result.stdout, result.stderr

    return run


@pytest.fixture
def store(folder: Path, medic: Medic) -> Iterator[Store]:
    """The store that the commands read."""
    with keeping.open_store(reading.settings(folder / "medic.yaml")) as opened:
        yield opened


def escalated(store: Store) -> IncidentId:
    """Open an incident, explain it and hand it over."""
    judgement = Judgement(check="container", plane=Plane.CONTAINER, health=Health.SICK, detail=HOSTILE)
    verdict = Verdict(service=ServiceName("web"), health=Health.SICK, at=NOW, judgements=(judgement,))
    service = Service(name=ServiceName("web"), host=HostName("local"), container="web", checks=())
    store.services.enrol(service, now=NOW)
    incident, _ = store.incidents.open(service, verdict, fingerprint="f", now=NOW)
    lines = (LogLine(id="L1", text=HOSTILE),)
    diagnosis = Diagnosis(
        cause=Cause.APPLICATION_BUG, sureness=Sureness.CONFIRMED, said_by="rule:r", summary="it crashed", plane=None, lines=lines
    )  # fmt: skip
    store.incidents.keep_diagnosis(incident.id, diagnosis)
    store.story.tell(incident.id, service.name, StoryKind.SEEN, HOSTILE, now=NOW)
    store.incidents.escalate(incident.id, Refusal(code=RefusalCode.NOTHING_KNOWN_HELPS, because="no runbook"))
    return incident.id


# ------------------------------------------------------------------------------------------------------------ fast start


@pytest.mark.parametrize("words", [["--version"], ["--help"], ["check", "--help"], ["runbook", "run", "--help"]])
def test_a_fast_command_imports_no_vendor(words: list[str]) -> None:
    code = (
        "import sys\nfrom agent.cli import main\n"
        f"sys.argv = ['medic', *{words!r}]\n"
        "try:\n    main.run()\nexcept SystemExit as end:\n    assert end.code in (0, None), end.code\n"
        "heavy = {'docker', 'dbos', 'apprise', 'litellm', 'ansible', 'ansible_runner', 'sqlalchemy', 'yaml', 'rich', 'paramiko'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=30, check=True)
    assert ended.stderr.strip() == "[]"
    assert "medic" in ended.stdout


def test_check_imports_neither_engine_nor_ansible(folder: Path) -> None:
    code = (
        "import sys\nfrom agent.cli import main\n"
        "sys.argv = ['medic', 'check']\n"
        "try:\n    main.run()\nexcept SystemExit:\n    pass\n"
        "heavy = {'dbos', 'apprise', 'litellm', 'ansible', 'ansible_runner', 'sqlalchemy', 'paramiko'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True, timeout=30, check=True
    )
    assert ended.stderr.strip() == "[]"


# -------------------------------------------------------------------------------------------------------------- wrong use


def test_help_documents_the_exit_codes(medic: Medic) -> None:
    code, out, _ = medic("--help")
    assert code == 0
    assert " ".join(options.EXIT_CODES.split()) in " ".join(out.split())


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("bogus",), "No such command 'bogus'"),
        (("check", "--bogus"), "No such option: --bogus"),
        (("heal",), "Missing argument 'SERVICE'"),
        (("--config", "nope.yaml", "check"), "medic: cannot read nope.yaml: there is no such file"),
        (("check", "wbe"), "medic: cannot check 'wbe': there is no such service (did you mean 'web'?)"),
        (("heal", "wbe"), "medic: cannot find service 'wbe' (did you mean 'web'?)"),
        (("runbook", "show", "reboot-world"), "medic: cannot find runbook 'reboot-world': the runbooks are"),
        (("runbook", "run", "restart-container", "web", "--set", "x"), "medic: cannot read --set 'x': write NAME=VALUE"),
        (("incident", "show", "I99"), "medic: cannot find incident 'I99': the latest are none"),
        (("incident", "show", "../../etc"), "medic: cannot find incident '../../etc'"),
        (("init",), "medic: cannot write medic.yaml: it is there already"),
    ],
)
def test_wrong_use_is_a_sentence_and_exit_code_2(words: tuple[str, ...], sentence: str, medic: Medic) -> None:
    code, out, err = medic(*words)
    assert (code, out) == (options.BAD_INPUT, "")
    assert sentence in err
    assert "Traceback" not in err


def test_a_wrong_file_is_one_sentence_and_with_v_its_trace(medic: Medic, folder: Path) -> None:
    (folder / "medic.yaml").write_text("servces: {}\n")
    sentence = "medic: cannot read medic.yaml: servces: there is no such key (did you mean 'services'?)\n"
    assert medic("check") == (options.BAD_INPUT, "", sentence)
    code, _, err = medic("-v", "check")
    assert code == options.BAD_INPUT
    assert err.startswith("Traceback")
    assert err.endswith(sentence)


def test_nothing_declared_is_said_and_not_called_well(medic: Medic, folder: Path) -> None:
    (folder / "medic.yaml").write_text((folder / "medic.yaml").read_text().replace("{web: {}, db: {}}", "{}"))
    code, _, err = medic("check")
    assert code == options.BAD_INPUT
    assert "no service is declared" in err


# ---------------------------------------------------------------------------------------------------------------- reading


def test_check_that_cannot_look_exits_3_and_calls_nothing_sick(medic: Medic) -> None:
    code, out, _ = medic("check")
    assert code == options.CANNOT_LOOK
    assert "? unknown" in out
    assert "sick" not in out
    code, out, _ = medic("check", "web", "--json")
    (verdict,) = json.loads(out)
    assert code == options.CANNOT_LOOK
    assert (verdict["service"], verdict["health"]) == ("web", "unknown")


def test_check_says_what_is_recorded_where_it_is_asked_to(medic: Medic, store: Store) -> None:
    escalated(store)
    assert "running" not in medic("check")[1]
    assert "running" in medic("check", "--recorded")[1]


def test_config_shows_the_defaults_and_they_load(medic: Medic, folder: Path) -> None:
    code, out, _ = medic("config")
    assert code == 0
    (folder / "medic.yaml").write_text(out)
    assert medic("config") == (0, out, "")
    assert json.loads(medic("--json", "config")[1])["services"]["web"]["limits"]["attempts"] == 2


def test_incidents_read_as_text_and_as_json(medic: Medic, store: Store) -> None:
    assert medic("incident", "list") == (0, "no incidents\n", "")
    id_ = escalated(store)
    code, out, _ = medic("incident", "list", "--open")
    assert code == 0
    assert "escalated" in out
    (listed,) = json.loads(medic("incident", "list", "--service", "web", "--json")[1])
    assert (listed["id"], listed["state"], listed["diagnosis"]["cause"]) == (id_, "escalated", "application_bug")
    whole = json.loads(medic("--json", "incident", "show", id_)[1])
    assert set(whole) == {"incident", "story"}
    assert [event["kind"] for event in whole["story"]] == ["seen"]


@pytest.mark.abuse("88")
def test_hostile_text_in_an_incident_is_shown_and_not_obeyed(medic: Medic, store: Store) -> None:
    id_ = escalated(store)
    for words in (("incident", "list"), ("incident", "show", id_)):
        out = medic(*words)[1]
        assert "[red]boom[/red]" in "".join(out.split())
        assert "\x1b" not in out


def test_an_incident_says_what_asking_a_model_brought(medic: Medic, store: Store) -> None:
    id_ = escalated(store)
    incident = store.incidents.get(id_)
    assert incident is not None
    assert incident.diagnosis is not None
    store.incidents.keep_diagnosis(id_, replace(incident.diagnosis, consultation=example.consultation()))
    out = " ".join(medic("incident", "show", id_)[1].split())
    assert "says disk_full with confidence 0.70, and does not show it" in out
    assert "3 calls, 7520 tokens, $0.0276; bundle 0123456789abcdef" in out
    assert "[red]The disk[/red] is full" in out


def test_following_a_handed_over_incident_ends(medic: Medic, store: Store) -> None:
    code, out, _ = medic("incident", "show", escalated(store), "--follow")
    assert code == 0
    assert "seen" in out


def test_a_report_is_printed_where_there_is_one(medic: Medic, store: Store, folder: Path) -> None:
    id_ = escalated(store)
    code, _, err = medic("incident", "report", id_)
    assert code == options.BAD_INPUT
    assert f"cannot print the report of {id_}: it has none" in err
    reports = folder / "state" / "incidents" / id_
    reports.mkdir(parents=True)
    (reports / "report.md").write_text("# Report\nseen \x1b[2J\n")
    assert medic("incident", "report", id_) == (0, "# Report\nseen [2J\n", "")
    assert medic("incident", "report", id_, "--path") == (0, f"{reports / 'report.md'}\n", "")
    assert medic("incident", "report", id_, "--format", "pdf")[0] == options.BAD_INPUT


def test_an_export_holds_the_record_and_the_files_and_follows_no_link(medic: Medic, store: Store, folder: Path) -> None:
    id_ = escalated(store)
    evidence = folder / "state" / "incidents" / id_ / "attempt-1"
    evidence.mkdir(parents=True)
    (evidence / "stdout").write_text("ok")
    (evidence / "link").symlink_to("/etc/passwd")
    assert medic("incident", "export", id_, "--to", "out.tar.gz") == (0, "out.tar.gz\n", "")
    with tarfile.open(folder / "out.tar.gz") as archive:
        assert sorted(archive.getnames()) == [f"{id_}/attempt-1/stdout", f"{id_}/incident.json"]


def test_an_export_that_cannot_be_written_is_a_sentence(medic: Medic, store: Store) -> None:
    code, _, err = medic("incident", "export", escalated(store), "--to", "no/such/folder.tar.gz")
    assert (code, err) == (options.CANNOT_LOOK, "medic: cannot write no/such/folder.tar.gz: No such file or directory\n")


def test_a_person_closes_an_incident_once(medic: Medic, store: Store) -> None:
    id_ = escalated(store)
    assert medic("incident", "close", id_) == (0, f"{id_} closed\n", "")
    assert medic("incident", "close", id_) == (0, f"{id_} was closed already\n", "")
    closed = store.incidents.get(id_)
    assert closed is not None
    assert (closed.state, closed.closing, closed.closed_by) == (IncidentState.CLOSED, Closing.BY_PERSON, options.login())


def test_sweep_reports_read_as_text_and_as_json(medic: Medic, store: Store) -> None:
    assert medic("sweeps")[1].startswith("no sweeps yet")
    store.sweeps.keep(
        SweepReport(
            slot=1, at=NOW, took=timedelta(milliseconds=3), checked=(ServiceName("web"),), sick=(), unknown=(), opened=(),
            healed=(ServiceName("web"),), missing=(), unrecorded=(HOSTILE,),
        )
    )  # fmt: skip
    out = medic("sweeps")[1]
    assert "3 ms" in out
    assert "\x1b" not in out
    assert json.loads(medic("sweeps", "--json")[1])[0]["healed"] == ["web"]


def test_the_catalogue_reads_as_text_and_as_json(medic: Medic) -> None:
    code, out, _ = medic("runbook", "list")
    assert code == 0
    ids = [runbook["id"] for runbook in json.loads(medic("runbook", "list", "--json")[1])]
    assert ids
    assert all(id_ in out for id_ in ids)
    assert json.loads(medic("runbook", "show", ids[0], "--json")[1])["id"] == ids[0]
    assert ids[0] in medic("runbook", "show", ids[0])[1]


def test_a_breaker_is_shown_until_a_person_resets_it_with_a_reason(medic: Medic, store: Store) -> None:
    assert medic("breaker") == (0, "no breaker is open\n", "")
    store.breakers.open("fleet", because="3 of 4 turned sick", services=(ServiceName("web"),), now=NOW)
    code, out, _ = medic("breaker")
    assert (code, "3 of 4 turned sick" in out) == (1, True)
    assert [row["scope"] for row in json.loads(medic("breaker", "--json")[1])] == ["fleet"]
    assert medic("breaker", "reset", "fleet")[0] == 2, "nobody resets it without saying why"
    assert medic("breaker", "reset", "fleet", "--why", " ")[0] == 2
    assert medic("breaker", "reset", "group:shop", "--why", "x")[2].startswith("medic: cannot reset 'group:shop'")
    assert medic("breaker", "reset", "fleet", "--why", "the switch is back")[0] == 0
    assert medic("breaker")[0] == 0


def test_a_runbook_that_asks_first_says_where_and_why_in_the_list(medic: Medic, store: Store) -> None:
    assert "asks first" not in medic("runbook", "list")[1]
    restart = next(runbook for runbook in shipped.runbooks() if runbook.id == "restart-container")
    for number in range(3):
        store.runbook_standing.note(
            RunbookMark(
                runbook=restart.id,
                hash=restart.hash,
                kind=RunbookMarkKind.INEFFECTIVE,
                at=clock.CLOCK.now(),
                service=ServiceName("web"),
                key=f"I{number}-1 ineffective",
            )
        )
    shown = " ".join(medic("runbook", "list")[1].split())
    assert "asks first" in shown
    assert "on web:" in shown


def test_a_runbook_out_of_service_is_marked_in_the_list_and_can_be_restored(medic: Medic, store: Store) -> None:
    store.breakers.open("runbook:restart-container", because="it failed on 3 services", services=(), now=NOW)
    assert "it failed on 3" in medic("runbook", "list")[1]
    assert medic("runbook", "restore", "restart-container", "--why", "mended")[0] == 0
    assert "out of service" not in medic("runbook", "list")[1]
    assert medic("runbook", "restore", "restart-container", "--why", "again")[0] == 2


# -------------------------------------------------------------------------------------------------------- halt and doctor


@pytest.mark.abuse("69")
def test_halt_works_with_a_broken_file_and_resume_ends_it(medic: Medic, folder: Path) -> None:
    (folder / "medic.yaml").write_text("state_dir: state\nservces: {}\n")
    code, out, _ = medic("halt", "deploy under way")
    assert (code, out) == (0, f"halted in {folder / 'state'}; `medic resume` ends it\n")
    assert "deploy under way" in (folder / "state" / "halt").read_text()
    assert medic("resume") == (0, "resumed\n", "")
    assert medic("resume") == (0, f"was not halted in {folder / 'state'}\n", "")


def test_resume_says_so_when_the_environment_still_halts(medic: Medic, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDIC_HALT", "deploy")
    code, _, err = medic("resume")
    assert code == options.REFUSED
    assert "MEDIC_HALT=deploy" in err


def test_doctor_exits_3_and_says_how_when_docker_does_not_answer(medic: Medic) -> None:
    code, out, _ = medic("doctor", "--json")
    answers = {answer["what"]: answer for answer in json.loads(out)}
    assert code == options.CANNOT_LOOK
    assert not answers["docker on local"]["well"]
    assert "start dockerd" in answers["docker on local"]["how"]
    assert answers["python"]["well"]
    assert answers["store"]["well"]
    text = medic("doctor")[1]
    assert "missing docker on local" in text
    assert "ok      python" in text


@pytest.mark.abuse("75")
def test_doctor_names_a_start_up_file_that_no_package_put_there(tmp_path: Path) -> None:
    record = tmp_path / "good-1.0.dist-info" / "RECORD"
    record.parent.mkdir()
    record.with_name("METADATA").write_text("Metadata-Version: 2.1\nName: good\nVersion: 1.0\n")
    record.write_text("good/__init__.py,,\ngood.pth,sha256=x,1\nfolder/evil.pth,,\n")
    (tmp_path / "good.pth").touch()
    assert machine.start_up_files(tmp_path).well
    (tmp_path / "evil.pth").write_text("import os")
    found = machine.start_up_files(tmp_path)
    assert (found.well, found.found) == (False, "evil.pth")
    assert str(tmp_path) in found.how


@pytest.mark.abuse("90")
def test_doctor_shows_what_is_kept_beside_what_may_be(medic: Medic, folder: Path) -> None:
    (folder / "medic.yaml").write_text("state_dir: state\nretention: {most_bytes: 1000000}\nservices: {web: {}}\n")
    bundle = folder / "state" / "incidents" / "I1"
    bundle.mkdir(parents=True)
    for size, well in ((500_000, True), (2_000_000, False)):
        (bundle / "evidence-1.json").write_bytes(b"x" * size)
        answers = {answer["what"]: answer for answer in json.loads(medic("doctor", "--json")[1])}
        assert answers["incidents"]["well"] is well
        assert answers["incidents"]["found"] == f"{size / 1024**2:,.1f} MiB of at most 1.0 MiB"
        assert answers["sweep reports"]["found"] == "0.0 MiB of at most 190.7 MiB"
        assert "medic.db " in answers["databases"]["found"]


def test_doctor_says_how_far_the_proposals_of_a_model_go(medic: Medic, folder: Path) -> None:
    (folder / "medic.yaml").write_text("state_dir: state\nmodel: {providers: [{model: openai/x}]}\nservices: {web: {}}\n")
    using = reading.settings(folder / "medic.yaml")
    asked, bundle = machine.model(using)
    assert asked.well
    assert asked.found.startswith("openai/x through litellm 1.")
    assert not bundle.well
    assert "not evaluated: proposals are only suggested" in bundle.found
    id_, _ = opinions.model_bundle(using)
    EvalRecords(using.state_dir).keep(id_, passed=True, figures={}, now=NOW)
    assert [found.well for found in machine.model(using)] == [True, True]
    (folder / "medic.yaml").write_text("state_dir: state\nmodel: {providers: [{model: openai/y}]}\nservices: {web: {}}\n")
    assert opinions.model_bundle(reading.settings(folder / "medic.yaml")) != (id_, True), "another model is another bundle"


def test_doctor_says_which_store_cannot_be_opened(medic: Medic, folder: Path) -> None:
    (folder / "state").mkdir(mode=0o700)
    (folder / "state" / "medic.db").write_bytes(b"this is no database, whatever its name says" * 100)
    code, out, _ = medic("doctor")
    assert code == options.CANNOT_LOOK
    assert "missing store" in out
