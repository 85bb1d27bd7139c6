"""Cutting the frames and the size of an engine's long answers."""

import pytest

from agent.adapters import docker_stream


def frame(stream: int, content: bytes) -> bytes:
    return bytes([stream, 0, 0, 0]) + len(content).to_bytes(4, "big") + content


@pytest.mark.parametrize("size", [1, 3, 8, 1000])
def test_frames_are_taken_apart_wherever_the_chunks_are_cut(size: int) -> None:
    sent = frame(1, b"to stdout\n") + frame(2, b"") + frame(2, b"to stderr\n")
    chunks = [sent[start : start + size] for start in range(0, len(sent), size)]
    assert b"".join(docker_stream.demultiplex(chunks)) == b"to stdout\nto stderr\n"


def test_a_frame_that_promises_more_than_comes_gives_what_came() -> None:
    assert list(docker_stream.demultiplex([b"\x01\0\0\0\xff\xff\xff\xffshort"])) == [b"short"]


@pytest.mark.parametrize(("limit", "kept"), [(0, b""), (2, b"ab"), (3, b"abc"), (100, b"abcdef")])
def test_the_first_bytes_are_kept_and_the_rest_is_read(limit: int, kept: bytes) -> None:
    chunks = iter([b"ab", b"cd", b"ef"])
    assert docker_stream.first(chunks, limit) == kept
    assert list(chunks) == []


@pytest.mark.parametrize(("limit", "kept"), [(0, b""), (3, b"def"), (100, b"abcdef")])
def test_the_last_bytes_are_kept(limit: int, kept: bytes) -> None:
    assert docker_stream.last([b"ab", b"cd", b"ef"], limit) == kept


def test_the_last_bytes_of_a_long_answer_are_the_last() -> None:
    chunks = (b"%06d\n" % number for number in range(200_000))
    assert docker_stream.last(chunks, 14) == b"199998\n199999\n"
