"""Whatever stands in medic.yaml, the answer is settings or one ConfigError: never another error, never two lines."""

from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from agent import config, config_shape
from agent.errors import ConfigError

SHAPES = [shape for shape in vars(config_shape).values() if isinstance(shape, type) and issubclass(shape, BaseModel)]
KEYS = sorted({key for shape in SHAPES for key in shape.model_fields} | {"local", "web", "x y", "{given}"})
WORDS = [
    "http",
    "container",
    "tcp",
    "nginx",
    "webhook",
    "file",
    "5s",
    "-1",
    "",
    "{0}",
    "http://container:80/",
    "a:1",
    "../..",
    "\x85",
    "%s",
]

scalars = st.sampled_from(WORDS) | st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=5),
    max_leaves=30,
)
checks = st.lists(
    st.dictionaries(st.sampled_from(KEYS), values, max_size=4).map(lambda check: {"kind": "http", **check}), max_size=3
)
services = st.dictionaries(
    st.sampled_from(KEYS),
    st.dictionaries(st.sampled_from(KEYS), values) | st.fixed_dictionaries({"checks": checks}),
    max_size=2,
)
documents = (
    values
    | st.fixed_dictionaries({"services": services})
    | st.dictionaries(st.sampled_from(list(config_shape.MedicFile.model_fields)), values)
)


def answer(file: Path, text: str) -> str:
    """Return the sentence of a refusal, or nothing when the text loads."""
    file.write_text(text, encoding="utf-8", errors="replace")
    try:
        config.load(file, {})
    except ConfigError as exc:
        return str(exc)
    return ""


def is_one_sentence(sentence: str, file: Path) -> bool:
    return not sentence or (sentence.startswith(f"cannot read {file}: ") and len(sentence.splitlines()) == 1)


@pytest.mark.abuse("86")
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(documents)
def test_any_document_is_settings_or_one_sentence(tmp_path: Path, document: object) -> None:
    file = tmp_path / "medic.yaml"
    assert is_one_sentence(answer(file, yaml.safe_dump(document, allow_unicode=True)), file)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.text(alphabet=st.characters(codec="utf-8"), max_size=200) | st.text(alphabet="{}[]:,-#&*!|>'\"%@` \n\tab1", max_size=60)
)
def test_any_text_is_settings_or_one_sentence(tmp_path: Path, text: str) -> None:
    file = tmp_path / "medic.yaml"
    assert is_one_sentence(answer(file, text), file)


@pytest.mark.abuse("86")
@pytest.mark.parametrize(
    "text", ["interval: " + "9" * 5000, "a: " + "[" * 2000, "#" * 1_000_001, "services: {web: {sick_after: " + "9" * 400 + "}}"]
)
def test_too_much_of_anything_is_one_sentence(text: str, tmp_path: Path) -> None:
    sentence = answer(tmp_path / "medic.yaml", text)
    assert sentence
    assert is_one_sentence(sentence, tmp_path / "medic.yaml")
    assert len(sentence) < 400
