"""Bad input: whatever comes in, what comes out is a `Refused` that names the field and the rule."""

import re
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sync.codec import MAX_DEPTH, decode_edit, decode_transaction, spec_of
from sync.merge import Refused
from sync.overlay import overlay
from sync.schema import REGISTRY
from tests.sync.samples import SPEC


def nested(depth: int) -> str:
    return "[" * depth + "1" + "]" * depth


def transaction(changes: str) -> bytes:
    return f'{{"n":1,"stamp":1,"wrote_ms":1,"changes":[{changes}]}}'.encode()


def decoded(entity: str, members: str) -> None:
    """Decode a transaction of one change as the server does."""
    one = decode_transaction(transaction(f'{{"entity":"{entity}","id":"X",{members}}}')).changes[0]
    decode_edit(spec_of(one), one)


@pytest.mark.parametrize(
    ("raw", "field", "rule"),
    [
        (b"", "", "json"),
        (b"{", "", "json"),
        (b"[]", "", "type"),
        (b"\xff", "", "json"),
        (b'{"n":1,"stamp":1,"wrote_ms":1}', "changes", "required"),
        (b'{"n":"1","stamp":1,"wrote_ms":1,"changes":[]}', "n", "type"),
        (b'{"n":1.5,"stamp":1,"wrote_ms":1,"changes":[]}', "n", "type"),
        (b'{"n":1,"stamp":1,"wrote_ms":1,"changes":[],"label":"\xff"}', "", "json"),
        (b'{"n":1,"stamp":1,"wrote_ms":1,"changes":[],"more":1}', "more", "unknown_field"),
        (b'{"n":1,"stamp":1,"wrote_ms":1,"changes":[],"a`b":1}', "a`b", "unknown_field"),
        (transaction('{"id":"X"}'), "changes[0].entity", "required"),
        (transaction('{"entity":"site","id":""}'), "changes[0].id", "bounds"),
        (transaction('{"entity":"site","id":"a b"}'), "changes[0].id", "bounds"),
        (transaction('{"entity":"site","id":"X\\n"}'), "changes[0].id", "bounds"),
        (transaction('{"entity":"site","id":"%s"}' % ("x" * 81)), "changes[0].id", "bounds"),
        (transaction('{"entity":"site","id":"X","sett":{}}'), "changes[0].sett", "unknown_field"),
        (transaction('{"entity":"site","id":"X","inc":{"name":"1"}}'), "changes[0].inc[...]", "type"),
        (transaction('{"entity":"site","id":"X","edit":{"access_notes":["a"]}}'), "changes[0].edit[...]", "type"),
        (transaction('{"entity":"site","id":"X","set":' + nested(9_000) + "}"), "", "json"),
    ],
)
def test_a_transaction_that_does_not_decode_says_where_and_why(raw: bytes, field: str, rule: str) -> None:
    with pytest.raises(Refused) as refused:
        decode_transaction(raw)
    assert (refused.value.field, refused.value.rule) == (field, rule)
    assert refused.value.detail


@pytest.mark.parametrize(
    ("entity", "members", "field", "rule"),
    [
        ("sight", '"set":{}', "entity", "unknown_entity"),
        ("site", '"set":{"nome":"a"}', "nome", "unknown_field"),
        ("site", '"set":{"a`b":"a"}', "a`b", "unknown_field"),
        ("site", '"set":{"name":3}', "name", "type"),
        ("site", '"set":{"name":null}', "name", "type"),
        ("site", '"set":"name"', "", "type"),
        ("site", '"set":{"name":"%s"}' % ("x" * 201), "name", "bounds"),
        ("site", '"set":{"position":{"lat":91,"lon":0}}', "position.lat", "bounds"),
        ("site", '"set":{"position":{"lat":1}}', "position.lon", "required"),
        ("site", '"set":{"position":{"lat":1,"lon":2,"alt":3}}', "position.alt", "unknown_field"),
        ("site", '"set":{"position":[1,2]}', "position", "type"),
        ("site", '"set":{"custom":[]}', "custom", "type"),
        ("site", '"set":{"custom":{"%s":1}}' % ("k" * 41), "custom", "bounds"),
        ("site", '"set":{"custom":{"deep":' + nested(MAX_DEPTH) + "}}", "custom", "bounds"),
        ("site", '"create":true,"set":{"account":"A"}', "name", "required"),
        ("site", '"create":true', "account", "required"),
        ("site", '"edit":{"access_notes":["","%s"]}' % ("x" * 20_001), "access_notes", "bounds"),
        ("site", '"edit":{"nome":["",""]}', "nome", "unknown_field"),
        ("work_order", '"set":{"priority":1.5}', "priority", "type"),
        ("work_order", '"set":{"priority":2.0}', "priority", "type"),
        ("work_order", '"set":{"priority":true}', "priority", "type"),
        ("work_order", '"set":{"priority":6}', "priority", "bounds"),
        ("work_order", '"set":{"due":-1}', "due", "bounds"),
        ("work_order", '"set":{"status":"lost"}', "status", "bounds"),
        ("work_order", '"inc":{"priority":1.5}', "priority", "type"),
        ("work_order", '"inc":{"prioriti":1}', "prioriti", "unknown_field"),
        ("account", '"add":{"tags":["ok",3]}', "tags[1]", "type"),
        ("account", '"add":{"tags":"ok"}', "tags", "type"),
        ("account", '"add":{"name":"ok"}', "name", "type"),
        ("account", '"remove":{"tags":null}', "tags", "type"),
        ("asset", '"append":{"readings":[{"id":"r","at":1,"value":"2"}]}', "readings[0].value", "type"),
        ("asset", '"append":{"readings":[{"at":1,"value":2}]}', "readings[0].id", "required"),
        ("activity", '"append":{"outcome":"said yes"}', "outcome", "type"),
        ("activity", '"append":{"by":null}', "by", "type"),
        ("site", '"delete":true,"set":{"name":"a"}', "delete", "operation"),
        ("site", '"delete":true,"create":true', "delete", "operation"),
    ],
)
def test_a_value_that_breaks_the_declaration_names_field_and_rule(entity: str, members: str, field: str, rule: str) -> None:
    with pytest.raises(Refused) as refused:
        decoded(entity, members)
    assert (refused.value.field, refused.value.rule) == (field, rule)


def test_bytes_that_are_no_text_are_refused_inside_a_value_too() -> None:
    raw = b'{"n":1,"stamp":1,"wrote_ms":1,"changes":[{"entity":"site","id":"X","set":{"name":"\xff"}}]}'
    with pytest.raises(Refused, match="utf-8"):
        decode_edit(REGISTRY["site"], decode_transaction(raw).changes[0])


scalars = st.none() | st.booleans() | st.integers(-3, 2**70) | st.sampled_from([1.5, 1e300]) | st.text(max_size=3)
json_values = scalars | st.lists(scalars, max_size=2) | st.dictionaries(st.sampled_from(["id", "at", "a"]), scalars, max_size=2)
OPS = ("set", "inc", "add", "remove", "append", "edit")


@given(st.binary(max_size=60) | st.from_regex(re.compile(rb'\A[\[\]{}",:0-9a-z\\\xff.eE+-]{0,60}\Z')))
@example(b"[" * 100_000)
@example(b'{"changes":' * 3_000)
def test_of_raw_bytes_only_a_refusal_or_a_transaction_comes_out(raw: bytes) -> None:
    with suppress(Refused):
        decode_transaction(raw)


@st.composite
def changes(draw: st.DrawFn) -> tuple[str, dict[str, Any]]:
    """A change that is nearly right: known operations on known fields, any values."""
    entity = draw(st.sampled_from([*REGISTRY, "sample"]))
    names = st.sampled_from([*(SPEC if entity == "sample" else REGISTRY[entity]).fields, "nonsense"])
    value = json_values | st.lists(json_values, max_size=2)
    members: dict[str, Any] = {op: {draw(names): draw(value)} for op in draw(st.sets(st.sampled_from(OPS), max_size=3))}
    return entity, members | draw(st.dictionaries(st.sampled_from(["create", "delete", "base", *OPS]), json_values, max_size=2))


@settings(max_examples=250)
@given(changes())
def test_of_any_change_only_a_refusal_or_an_edit_comes_out(made: tuple[str, dict[str, Any]]) -> None:
    entity, members = made
    spec = SPEC if entity == "sample" else REGISTRY[entity]
    raw = msgspec.json.encode({"entity": entity, "id": "X", **members})
    with suppress(Refused):
        change = decode_transaction(transaction(raw.decode())).changes[0]
        edit = decode_edit(spec, change)
        touched = [*edit.set, *edit.inc, *edit.add, *edit.remove, *edit.append, *edit.edit]
        assert set(touched) <= set(spec.fields)
        if all(op in spec.fields[name].policy.ops for op in OPS for name in getattr(edit, op)):
            overlay(spec, {}, edit)
