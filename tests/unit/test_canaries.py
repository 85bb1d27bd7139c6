"""The search for planted secrets finds one in every form in which it could be left."""

import base64
import gzip
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import canaries

SECRET = canaries.CONTAINERS["HF_TOKEN"].encode()


def test_there_are_thirty_of_them_and_no_two_are_alike() -> None:
    planted = [*canaries.CONTAINERS.values(), *canaries.PRINTED.values(), *canaries.SUITE.values()]
    assert len(set(planted)) == 30
    assert all(canaries.MARK in each for each in planted)


@pytest.mark.parametrize(
    "form",
    [
        lambda secret: secret,
        lambda secret: secret[:20],
        lambda secret: b"\x00SQLite" + secret + b"\xff",
        lambda secret: secret.hex().encode(),
        lambda secret: base64.b64encode(secret),
        lambda secret: base64.b64encode(b"x" + secret),
        lambda secret: base64.b64encode(b"xy" + secret),
        gzip.compress,
    ],
    ids=["as it is", "cut", "in a database", "hex", "base64", "base64 by one", "base64 by two", "gzip"],
)
def test_finds_a_secret(tmp_path: Path, form: Callable[[bytes], bytes], capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "deep").mkdir()
    leak = tmp_path / "deep" / "left"
    leak.write_bytes(form(SECRET))
    assert canaries.main(tmp_path) == 1
    leak.unlink()  # the suite ends with this very search, over what its tests left
    assert "deep/left" in capsys.readouterr().err


def test_is_content_where_only_marks_stand_and_only_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    canaries.write(tmp_path)
    (tmp_path / "log").write_text("nothing here")
    assert canaries.main(tmp_path) == 1
    assert "never came by" in capsys.readouterr().err
    (tmp_path / "log").write_text("password=[REDACTED:word]")
    assert canaries.main(tmp_path) == 0
