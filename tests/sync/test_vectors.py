"""The golden vectors are what the code of today comes to, byte for byte."""

import msgspec
import pytest

from sync.derive import bare, json_schema
from sync.protocol import Exchange, Reply
from sync.schema import REGISTRY
from tests.vectors.make import FILES, HERE, rendered

AFRESH = """{} is not what the code comes to. If the protocol was meant to change, run `python -m tests.vectors.make`, look at the
difference with the eyes of somebody who wrote a client by the old file, and say in CHANGELOG.md what they must do."""


@pytest.fixture(scope="module")
def today() -> dict[str, bytes]:
    return rendered()


@pytest.mark.parametrize("name", [*(f"{name}.json" for name in FILES), "schema.json"])
def test_the_vectors_are_what_the_code_comes_to(name: str, today: dict[str, bytes]) -> None:
    assert (HERE / name).read_bytes() == today[name], AFRESH.format(name)


def test_there_are_no_vectors_that_nobody_makes(today: dict[str, bytes]) -> None:
    assert {path.name for path in HERE.glob("*.json")} == set(today)


def test_every_entity_has_a_scope_vector() -> None:
    cases = msgspec.json.decode((HERE / "scopes.json").read_bytes())
    assert {case["entity"] for case in cases} == set(REGISTRY)


def test_messages_read_back_as_they_were_written() -> None:
    types = {"Exchange": Exchange, "Reply": Reply}
    for case in msgspec.json.decode((HERE / "messages.json").read_bytes()):
        read = msgspec.json.decode(case["json"].encode(), type=types[case["message"]])
        assert msgspec.json.encode(read).decode() == case["json"]


def test_a_schema_without_words_still_has_every_field() -> None:
    said = bare({"description": "words", "properties": {"description": {"type": "string", "description": "words"}}})
    assert said == {"properties": {"description": {"type": "string"}}}
    assert set(bare(json_schema())["$defs"]) >= {spec.cls.__name__ for spec in REGISTRY.values()}
