"""Rules are read whole or refused with a sentence that says where and what."""

from pathlib import Path

import pytest

from agent import rule_file
from agent.errors import ConfigError
from agent.model import Cause

SHIPPED = Path(__file__).parents[2] / "agent" / "rules"
GOOD = """
rules:
  - id: disk
    cause: disk_full
    order: 10
    summary: full
    advice: free some
    log: ['no space']
    agree: { exit_code: "1" }
"""


def folder(tmp_path: Path, text: str) -> Path:
    (tmp_path / "one.yaml").write_text(text)
    return tmp_path


def test_reads_a_rule(tmp_path: Path) -> None:
    (rule,) = rule_file.load_rules(folder(tmp_path, GOOD))
    assert (rule.id, rule.cause, rule.order, rule.log, rule.agree) == (
        "disk",
        Cause.DISK_FULL,
        10,
        ("no space",),
        (("exit_code", "1"),),
    )


def test_every_shipped_rule_is_read_and_every_cause_has_one() -> None:
    rules = rule_file.load_rules(SHIPPED)
    assert {rule.cause for rule in rules} == set(Cause) - {Cause.INCONCLUSIVE}
    assert [rule.order for rule in rules] == sorted(rule.order for rule in rules)


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("order: 10", "order: 10\n    colour: red", "rule 'disk': colour: unknown key"),
        ("cause: disk_full", "cause: gremlins", "rule 'disk': cause: unknown cause 'gremlins': one of gpu_out_of_memory"),
        ("cause: disk_full", "cause: inconclusive", "rule 'disk': cause: unknown cause 'inconclusive'"),
        ("exit_code:", "exit:", "rule 'disk': agree: unknown fact 'exit': one of artefact, cache_disk, changed"),
        ('"1"', "1", "rule 'disk': agree.exit_code: Input should be a valid string"),
        ("'no space'", "'no (space'", "rule 'disk': log.0: pattern 'no (space' is no regular expression"),
        ("'no space'", "'no.*space'", "rule 'disk': log.0: pattern 'no.*space' may run away: write `.{0,80}` for `.*`"),
        ("'no space'", "'(?:no )+space'", "may run away"),
        ("'no space'", "'(?:no ){2}space'", "may run away"),
        ("'no space'", "'no\\s+space'", "may run away"),
        ("'no space'", "'no[^+]*space'", "may run away"),
        ("'no space'", "'no .{2,}space'", "may run away"),
        ("'no space'", "'no|space'", "needs 3 plain characters in a row outside any group"),
        ("'no space'", f"'{'x' * 201}'", "pattern is longer than 200 characters"),
        ("    log: ['no space']\n    agree: { exit_code: \"1\" }\n", "", "a rule needs `facts` or `log`"),
        ("    log: ['no space']\n", "", "a rule needs `facts` or `log`"),
        (
            "    log: ['no space']\n",
            '    facts: { exit_code: "1" }\n',
            "`not_log`, `agree` and `cleared_by` say something about `log`",
        ),
        ("id: disk", "id: Disk Full", "rule 'Disk Full': id: String should match pattern"),
        ("id: disk", "ident: disk", "rule number 1: id: Field required"),
        ("rules:", "rule:", "rules: Field required"),
        ("rules:", "rules: [", "cannot load"),
    ],
)
def test_refuses_with_file_rule_and_key(tmp_path: Path, old: str, new: str, sentence: str) -> None:
    assert old in GOOD
    with pytest.raises(ConfigError) as refused:
        rule_file.load_rules(folder(tmp_path, GOOD.replace(old, new)))
    assert str(refused.value).startswith(f"cannot load {tmp_path / 'one.yaml'}: ")
    assert sentence in str(refused.value)


def test_refuses_one_id_in_two_files(tmp_path: Path) -> None:
    folder(tmp_path, GOOD)
    (tmp_path / "two.yaml").write_text(GOOD)
    with pytest.raises(ConfigError, match="rule 'disk' is there twice"):
        rule_file.load_rules(tmp_path)


def test_refuses_a_folder_without_rules(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"there is no \*\.yaml file in it"):
        rule_file.load_rules(tmp_path)
