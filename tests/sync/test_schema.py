"""Declarations: what makes no sense fails when it is declared, and the message names it."""

from collections.abc import Callable
from typing import Annotated, Any

import msgspec
import pytest

from sync.policies import Kind, Op, Policy, add_wins, append_only, counter, fixed, keyed, last_writer, server_only, text
from sync.schema import MAX_FIELDS, REGISTRY, Entity, EntityMeta, Id, ScopeRule, frozen_while, named_by, part_of, root
from tests.sync.samples import SPEC

THING = root("thing")


def declare(fields: dict[str, Any], scope: ScopeRule = THING, **config: Any) -> None:
    """Declare an entity `Thing`; if that succeeds after all, take it out of the registry."""
    EntityMeta("Thing", (Entity,), {"__annotations__": fields, "__module__": __name__}, scope=scope, **config)
    del REGISTRY["thing"]


@pytest.mark.parametrize(
    ("fields", "scope", "message"),
    [
        ({"colour": str}, root("thing"), r"Thing\.colour: a field declares exactly one policy, this one has 0"),
        (
            {"colour": Annotated[str, last_writer(), fixed()]},
            root("thing"),
            r"Thing\.colour: a field declares exactly one policy, this one has 2",
        ),
        ({"colour": Annotated[str, fixed()]}, part_of("site"), r"Thing: its scope names the field 'site', which it does not have"),
        ({"colour": Annotated[str, fixed()]}, named_by("where"), r"Thing: its scope names the field 'where'"),
        ({"site": Annotated[Id, last_writer()]}, part_of("site"), r"Thing\.site: it decides the scope, so its policy is fixed\(\)"),
        (
            {f"f{n}": Annotated[str, last_writer()] for n in range(MAX_FIELDS + 1)},
            root("thing"),
            rf"Thing: {MAX_FIELDS + 1} fields, at most {MAX_FIELDS}",
        ),
        ({"colour": Annotated[set[int], last_writer()]}, root("thing"), r"Thing\.colour: no column type for"),
        ({"colour": Annotated[str, add_wins()]}, root("thing"), r"Thing\.colour: add_wins\(\) is for a set of strings"),
        (
            {"colours": Annotated[tuple[str, ...] | None, add_wins()]},
            root("thing"),
            r"Thing\.colours: add_wins\(\) is for a set of strings",
        ),
        ({"colour": Annotated[str, counter()]}, root("thing"), r"Thing\.colour: counter\(\) is for a number"),
        ({"colour": Annotated[int, text()]}, root("thing"), r"Thing\.colour: text\(\) is for a string"),
        ({"colour": Annotated[str, keyed()]}, root("thing"), r"Thing\.colour: keyed\(\) is for a map"),
        ({"colours": Annotated[dict[str, Any] | None, keyed()]}, root("thing"), r"Thing\.colours: keyed\(\) is for a map"),
        (
            {"colours": Annotated[tuple[str, ...], append_only()]},
            root("thing"),
            r"Thing\.colours: an append_only\(\) list is of structs with an id",
        ),
    ],
)
def test_a_declaration_that_makes_no_sense_fails_and_names_the_field(
    fields: dict[str, Any], scope: ScopeRule, message: str
) -> None:
    with pytest.raises(TypeError, match=message):
        declare(fields, scope)
    assert "thing" not in REGISTRY


def test_a_freeze_names_a_field_that_is_there() -> None:
    with pytest.raises(TypeError, match="Thing: what freezes it names the field 'status', which it does not have"):
        declare({"colour": Annotated[str, last_writer()]}, frozen_when=frozen_while("status", "sent"))


def test_as_many_fields_as_a_version_mask_has_bits_are_taken() -> None:
    declare({f"f{n}": Annotated[str, last_writer()] for n in range(MAX_FIELDS)})


@pytest.mark.parametrize(
    ("policy", "hint", "ops"),
    [
        (append_only, str, {Op.SET}),
        (server_only, str, {Op.SET}),
        (server_only, int, {Op.SET, Op.INC}),
        (server_only, tuple[str, ...], {Op.SET, Op.ADD, Op.REMOVE}),
        (server_only, dict[str, Any], {Op.SET}),
    ],
)
def test_a_field_takes_only_operations_that_its_type_can(policy: Callable[[], Policy], hint: Any, ops: set[Op]) -> None:
    taken: dict[str, Policy] = {}
    hints = {"field": Annotated[hint, policy()]}
    cls: Any = EntityMeta("Thing", (Entity,), {"__annotations__": hints, "__module__": __name__}, scope=root("thing"))
    taken = {name: field.policy for name, field in REGISTRY.pop("thing").fields.items()}
    assert cls.spec.fields["field"].policy.ops == ops == taken["field"].ops


def test_the_sample_has_a_field_of_every_policy() -> None:
    assert {field.policy.kind for field in SPEC.fields.values()} == set(Kind)


def test_references_and_scopes_name_entities_that_exist() -> None:
    for spec in REGISTRY.values():
        for field in spec.references:
            assert field.refers in REGISTRY, f"{spec.name}.{field.name} refers to {field.refers}"
        if spec.scope.field and spec.scope.kind:
            refers = spec.fields[spec.scope.field].refers or ""
            assert REGISTRY[refers].scope == root(spec.scope.kind), f"{spec.name} is part of a {spec.scope.kind}"


def test_a_record_made_of_required_fields_alone_decodes_and_has_a_scope() -> None:
    for spec in REGISTRY.values():
        required = {f.name: msgspec.json.decode(_least(f.type)) for f in spec.fields.values() if f.required}
        spec.decoder.decode(msgspec.json.encode(required))
        assert spec.scope_of("X", required)
        assert all(link.source and link.target for link in spec.links("X", required))


def _least(hint: Any) -> bytes:
    """A value that the type takes."""
    values = (b'"x"', b"1", b'"%s"' % (b"0" * 64), *(b'"%s"' % v.encode() for v in ("call", "used", "work", "accrue", "nps")))
    for value in values:
        try:
            msgspec.json.decode(value, type=hint)
        except msgspec.ValidationError:
            continue
        return value
    raise AssertionError(f"no value here fits {hint}")


def test_ids_are_one_line_of_safe_characters() -> None:
    for good in ("x", "01HF7YAT000000000000000000", "a.b-c_d:e", "x" * 80):
        assert msgspec.convert(good, Id) == good
    for bad in ("", " ", "a b", "x\n", "\nx", 'a"b', "x" * 81, "é"):
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert(bad, Id)
