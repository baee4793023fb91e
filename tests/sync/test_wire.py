"""The wire is pinned: nobody changes by accident what devices in the field have to read."""

import pytest

from sync.derive import wire_fingerprint
from sync.schema import REGISTRY
from tests.sync.samples import SPEC

PINNED = "29192bb3a99bd5c7"

ADVICE = """
The wire has changed: a message, or an entity that travels in one. Devices in the field have the old one, for years.
1. Was it meant? If not, undo it.
2. Can an old device still read what the new server sends, and the new server what an old device sends? Fields may be added at
   the end of an entity, with a default. Never rename, retype, move or remove a field, nor narrow its bounds; a value added to an
   enumeration is shown as the default by those who do not know it.
3. Run `python -m tests.vectors.make`, `make docs` and a migration (`alembic revision --autogenerate`).
4. Say it in CHANGELOG.md and docs/protocol.md, and put the new fingerprint here: {}
"""


def test_the_wire_is_what_devices_know() -> None:
    assert wire_fingerprint() == PINNED, ADVICE.format(wire_fingerprint())


def test_an_entity_that_comes_or_changes_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    before = wire_fingerprint()
    monkeypatch.setitem(REGISTRY, SPEC.name, SPEC)
    assert wire_fingerprint() != before


def test_the_words_that_explain_a_message_are_no_part_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    before = wire_fingerprint()
    monkeypatch.setattr(REGISTRY["site"].cls, "__doc__", "Said better.")
    assert wire_fingerprint() == before
