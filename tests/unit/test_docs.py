"""The documents say what the code does: every name they use is there, and the closed lists are the code's own."""

import enum
import functools
import re
from pathlib import Path

import pytest
import typer
from typer.main import get_command

from agent import checks, runbook_file
from agent.cli import main
from agent.model import HoldCode, Outcome, RefusalCode, RunEnd
from agent.wiring import shipped

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), ROOT / "docs/flow.svg", ROOT / "docs/how-to/medic.service"])
BY_PAGE = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))

SYMPTOM = re.compile(
    r'"((?:container|http|port|nginx|oom|image|healthcheck|certificate|engine|command|dns|log|disk|inodes|memory|load|docker|clock|network|host-key|gpu)-[a-z-]+|cannot-look)"'
)
"""A symptom word as it stands in our source: in quotes, and of one of these families."""


def words_of(heading: str) -> set[str]:
    """Return the words defined in one table of the glossary, the section whose heading begins so."""
    glossary = (ROOT / "docs/glossary.md").read_text(encoding="utf-8")
    section = next(part for part in glossary.split("\n## ") if part.startswith(heading))
    return set(re.findall(r"^\| `([a-z-]+)` \|", section, re.MULTILINE))


def source(*patterns: str) -> str:
    return "\n".join(path.read_text(encoding="utf-8") for pattern in patterns for path in sorted(ROOT.glob(pattern)))


def test_the_glossary_has_every_symptom_that_a_check_or_a_sweep_can_see_and_no_other() -> None:
    seen = set(SYMPTOM.findall(source("agent/checks/*.py", "agent/sweep.py")))
    assert words_of("Symptoms") == seen


def test_the_glossary_has_every_symptom_that_a_runbook_may_name_and_no_other() -> None:
    assert words_of("Symptoms") == set(runbook_file.SYMPTOMS)


def test_every_symptom_family_is_looked_for() -> None:
    # The pattern above knows the families; a check that begins a new one must not slip past it.
    files = [path for path in sorted((ROOT / "agent/checks").glob("*.py")) if path.name != "__init__.py"]
    assert len(files) >= len(checks.KINDS)
    named = {word for file in files for word in _constants(file)}
    assert named <= words_of("Symptoms")


def _constants(file: Path) -> set[str]:
    text = file.read_text(encoding="utf-8")
    return set(re.findall(r'(?:word=|\(|yield |_symptom\(|_sick\(check, )"([a-z]+(?:-[a-z]+)+)"', text))


@pytest.mark.parametrize("kind", [HoldCode, RefusalCode, Outcome, RunEnd], ids=lambda kind: kind.__name__)
def test_the_glossary_has_every_member_and_no_other(kind: type[enum.Enum]) -> None:
    assert words_of(kind.__name__) == {member.value for member in kind}


def test_the_glossary_says_which_outcomes_count() -> None:
    glossary = (ROOT / "docs/glossary.md").read_text(encoding="utf-8")
    for outcome in Outcome:
        assert re.search(rf"^\| `{outcome.value}` \|.*\| {'yes' if outcome.counts else 'no'} \|$", glossary, re.MULTILINE)


def test_the_table_of_runbooks_is_what_ships() -> None:
    page = (ROOT / "docs/how-to/write-a-runbook.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| `([a-z-]+)` \| (\w+) \| (\d+) \| \S", page.partition("## What ships")[2], re.MULTILINE)
    assert listed == [(each.id, each.risk.value, str(each.rung)) for each in shipped.runbooks()]


@BY_PAGE
def test_every_file_that_a_page_names_is_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    named = re.findall(r"(?<![\w./-])((?:agent|heartbeat|tests|bench|scripts|docs|runbooks|ansible)/[\w./-]*[\w/])", text)
    assert [name for name in named if "<" not in name and not (ROOT / name).exists()] == []


@BY_PAGE
def test_every_function_and_constant_that_a_page_names_is_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    places = re.findall(r"`((?:agent|heartbeat)/[\w/]+\.py)(?::(\w+)`|` \(((?:`\w+`(?:, )?)+)\))", text)
    gone = []
    for file, function, constants in places:
        code = (ROOT / file).read_text(encoding="utf-8")
        if function and not re.search(rf"^\s*def {function}\(", code, re.MULTILINE):
            gone.append(f"{file}:{function}")
        gone += [
            f"{file}:{name}" for name in re.findall(r"\w+", constants) if not re.search(rf"^{name} = ", code, re.MULTILINE)
        ]
    assert gone == []


@BY_PAGE
def test_every_link_inside_the_repository_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)(?:#[\w-]+)?\)", page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


@BY_PAGE
def test_every_make_target_that_a_page_names_is_there(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = set(re.findall(r"(?:`|^)make ([a-z-]+)", page.read_text(encoding="utf-8"), re.MULTILINE))
    assert named <= targets


@BY_PAGE
def test_every_command_that_a_page_names_is_there(page: Path) -> None:
    # In code only: behind a backtick or at the start of a line of a block; options in between are passed over.
    call = re.compile(
        r"(?:`|^|/bin/)medic((?: +(?:--?[a-z-]+(?: [\w./-]+\.yaml)?))*) +([a-z][a-z-]+)(?: +([a-z][a-z-]+))?", re.MULTILINE
    )
    unknown = [match[0] for match in call.finditer(page.read_text(encoding="utf-8")) if not _is_command(match[2], match[3])]
    assert unknown == []


@functools.cache
def _group() -> typer.core.TyperGroup:
    group = get_command(main.app)
    assert isinstance(group, typer.core.TyperGroup)
    return group


def _is_command(name: str, second: str | None) -> bool:
    group = _group()
    command = group.commands.get(name)
    if isinstance(command, typer.core.TyperGroup) and second is not None:
        return second in command.commands
    return command is not None


def test_a_name_that_is_gone_would_be_noticed() -> None:
    assert not _is_command("mend", None)
    assert not _is_command("incident", "erase")
    assert _is_command("incident", "show")
