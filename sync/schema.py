"""How an entity is declared, and everything that is derived from the declaration.

A field's type, bounds, policy and writers stand together, once::

    class Asset(Entity, scope=part_of("site")):
        site: Annotated[Id, refers("site"), fixed()]
        serial: Annotated[Name, manual()] = ""

The wire codec, validation, merge table, SQL tables, device tables, JSON Schema and docs/conflicts.md derive from it. A field
without a policy, an unknown scope field or a 63rd field fails at import.
"""

import types
from collections.abc import Iterable, Mapping
from typing import (
    Annotated,
    Any,
    ClassVar,
    Final,
    Literal,
    TypeAlias,
    Union,
    cast,
    dataclass_transform,
    get_args,
    get_origin,
    get_type_hints,
)

import msgspec

from sync.links import Link, scope_name
from sync.policies import NOBODY, PEOPLE, SERVER, Kind, Op, Policy, Roles

Body: TypeAlias = Mapping[str, Any]
"""A record's fields as they travel: JSON values. A field at its default may be absent."""

Id = Annotated[str, msgspec.Meta(min_length=1, max_length=80, pattern=r"^[0-9A-Za-z_.:-]+(?!\n)$", description="record id")]
Code = Annotated[str, msgspec.Meta(max_length=40)]
Name = Annotated[str, msgspec.Meta(max_length=200)]
Text = Annotated[str, msgspec.Meta(max_length=20_000)]
Instant = Annotated[int, msgspec.Meta(ge=0, le=2**52, description="milliseconds since 1970, UTC")]
Count = Annotated[int, msgspec.Meta(ge=-(2**52), le=2**52)]
Json: TypeAlias = Any

MAX_FIELDS: Final = 62
Column: TypeAlias = Literal["text", "bigint", "double precision", "boolean", "text[]", "jsonb"]


class Refers(msgspec.Struct, frozen=True):
    """Marks a field as the id of a record of `entity`, which must exist in the same tenant."""

    entity: str


def refers(entity: str) -> Refers:
    return Refers(entity)


class ScopeRule(msgspec.Struct, frozen=True):
    """The scope of a record: `kind:` and its own id, or the id in `field`; with no kind, the scope's name stands in the field."""

    kind: str
    field: str | None = None


def root(kind: str) -> ScopeRule:
    """The record is the root of a scope of its own."""
    return ScopeRule(kind)


def part_of(kind: str, field: str | None = None) -> ScopeRule:
    """The record belongs to the aggregate whose id stands in `field` (by default a field named like the kind)."""
    return ScopeRule(kind, field or kind)


def named_by(field: str) -> ScopeRule:
    """The record belongs to the scope that `field` names in full, such as `technician:01H…`."""
    return ScopeRule("", field)


def everywhere(name: str) -> ScopeRule:
    """The record belongs to the one scope `name`, held by all."""
    return ScopeRule(name, "")


class Frozen(msgspec.Struct, frozen=True):
    """While `field` has one of `states`, no other field of the record may change, except those that are `open`."""

    field: str
    states: frozenset[str]
    open: frozenset[str] = frozenset()


def frozen_while(field: str, *states: str, but: Iterable[str] = ()) -> Frozen:
    """Freeze a record by its state; `but` names what is only known then, such as who signed."""
    return Frozen(field, frozenset(states), frozenset(but))


class FieldSpec(msgspec.Struct, frozen=True):
    name: str
    index: int
    type: Any
    policy: Policy
    column: Column
    required: bool
    default: Any
    refers: str | None

    @property
    def mask(self) -> int:
        """The field's bit in version groups; stable as long as fields are only appended to an entity."""
        return 1 << self.index


class EntitySpec(msgspec.Struct, frozen=True):
    """All that is derived from one declaration. `decoder` reads a whole record, `patch` any part of one."""

    name: str
    cls: type["Entity"]
    fields: Mapping[str, FieldSpec]
    scope: ScopeRule
    create: Roles
    delete: Roles
    frozen: Frozen | None
    decoder: msgspec.json.Decoder[Any]
    patch: msgspec.json.Decoder[Any]
    references: tuple[FieldSpec, ...]

    def scope_of(self, record_id: str, body: Body) -> str:
        rule = self.scope
        if rule.field is None:
            return scope_name(rule.kind, record_id)
        if rule.field == "":
            return rule.kind
        return scope_name(rule.kind, body[rule.field]) if rule.kind else str(body[rule.field])

    @property
    def links_any(self) -> bool:
        """Whether records of this entity may state links."""
        return self.cls.links is not Entity.links

    def links(self, record_id: str, body: Body) -> frozenset[Link]:
        return frozenset(self.cls.links(record_id, body))


REGISTRY: Final[dict[str, EntitySpec]] = {}
"""Every declared entity by its wire name, in the order of declaration."""


@dataclass_transform(frozen_default=True, kw_only_default=True)
class EntityMeta(msgspec.StructMeta):
    """Makes every entity a frozen, keyword-only struct that omits defaults, and derives its `EntitySpec`."""

    def __new__(
        mcls,
        name: str,
        bases: tuple[type, ...],
        namespace: dict[str, Any],
        *,
        scope: ScopeRule | None = None,
        create: Roles = PEOPLE,
        delete: Roles = NOBODY,
        frozen_when: Frozen | None = None,
        **config: Any,
    ) -> type:
        strict = {"frozen": True, "kw_only": True, "omit_defaults": True, "forbid_unknown_fields": True}
        cls = super().__new__(mcls, name, bases, namespace, **strict | config)
        if scope is not None:
            entity = cast("type[Entity]", cls)
            entity.spec = _derive(entity, scope, create | SERVER, delete, frozen_when)
            REGISTRY[entity.spec.name] = entity.spec
        return cls


class Entity(msgspec.Struct, metaclass=EntityMeta):
    """The base of every declared entity. An instance is one record's fields, without its id."""

    spec: ClassVar[EntitySpec]

    @staticmethod
    def links(record_id: str, body: Body) -> Iterable[Link]:  # noqa: ARG004  # the default states none; entities override it
        """The links that one live record of this entity states (see `sync.links`)."""
        return ()


def _derive(cls: type[Entity], scope: ScopeRule, create: Roles, delete: Roles, frozen: Frozen | None) -> EntitySpec:
    hints = get_type_hints(cls, include_extras=True)
    fields = {info.name: _field(cls, index, info, hints[info.name]) for index, info in enumerate(msgspec.structs.fields(cls), 1)}
    if len(fields) > MAX_FIELDS:
        raise TypeError(f"{cls.__name__}: {len(fields)} fields, at most {MAX_FIELDS}")
    if scope.field and scope.field not in fields:
        raise TypeError(f"{cls.__name__}: its scope names the field {scope.field!r}, which it does not have")
    if scope.field and fields[scope.field].policy.kind is not Kind.FIXED:
        raise TypeError(f"{cls.__name__}.{scope.field}: it decides the scope, so its policy is fixed()")
    for name in (frozen.field, *frozen.open) if frozen else ():
        if name not in fields:
            raise TypeError(f"{cls.__name__}: what freezes it names the field {name!r}, which it does not have")
    patch = msgspec.defstruct(
        f"{cls.__name__}Patch",
        [(name, spec.type | msgspec.UnsetType, msgspec.UNSET) for name, spec in fields.items()],
        forbid_unknown_fields=True,
    )
    return EntitySpec(
        name=_snake(cls.__name__),
        cls=cls,
        fields=fields,
        scope=scope,
        create=create,
        delete=delete,
        frozen=frozen,
        decoder=msgspec.json.Decoder(cls),
        patch=msgspec.json.Decoder(patch),
        references=tuple(spec for spec in fields.values() if spec.refers),
    )


def _field(cls: type, index: int, info: msgspec.structs.FieldInfo, hint: Any) -> FieldSpec:
    marks = get_args(hint)[1:] if get_origin(hint) is Annotated else ()
    policies = [mark for mark in marks if isinstance(mark, Policy)]
    if len(policies) != 1:
        raise TypeError(f"{cls.__name__}.{info.name}: a field declares exactly one policy, this one has {len(policies)}")
    references = [mark.entity for mark in marks if isinstance(mark, Refers)]
    default = info.default if info.default_factory is msgspec.NODEFAULT else info.default_factory()
    column = _column(cls, info.name, hint)
    return FieldSpec(
        name=info.name,
        index=index,
        type=hint,
        policy=_fitted(f"{cls.__name__}.{info.name}", policies[0], column, hint),
        column=column,
        required=info.required,
        default=None if info.required else default,
        refers=references[0] if references else None,
    )


def _fitted(name: str, policy: Policy, column: Column, hint: Any) -> Policy:
    """The policy with the operations that the field's type can take. Raises TypeError where it makes no sense of the type."""
    plain, nullable = _strip(hint), _nullable(hint)
    listed = get_origin(plain) is tuple and not nullable
    entry = _strip(get_args(plain)[0]) if listed else None
    possible = {Op.SET}
    if column in ("bigint", "double precision"):
        possible.add(Op.INC)
    if column == "text[]" and listed:
        possible |= {Op.ADD, Op.REMOVE}
    if isinstance(entry, type) and issubclass(entry, msgspec.Struct) and "id" in entry.__struct_fields__:
        possible.add(Op.APPEND)
    if plain is str:
        possible.add(Op.EDIT)
    match policy.kind:
        case Kind.COUNTER | Kind.ADD_WINS | Kind.TEXT if not policy.ops <= possible:
            takes = {Kind.COUNTER: "a number", Kind.ADD_WINS: "a set of strings", Kind.TEXT: "a string"}[policy.kind]
            raise TypeError(f"{name}: {policy.kind}() is for {takes}")
        case Kind.KEYED if get_origin(plain) is not dict or nullable:
            raise TypeError(f"{name}: keyed() is for a map, which may be empty but not null")
        case Kind.APPEND_ONLY if get_origin(plain) is tuple and Op.APPEND not in possible:
            raise TypeError(f"{name}: an append_only() list is of structs with an id, and not null")
        case _:
            return msgspec.structs.replace(policy, ops=policy.ops & possible)


def _nullable(hint: Any) -> bool:
    while get_origin(hint) is Annotated:
        hint = get_args(hint)[0]
    return type(None) in get_args(hint)


def _column(cls: type, name: str, hint: Any) -> Column:
    plain = _strip(hint)
    if plain in (str, int, float, bool):
        return {str: "text", int: "bigint", float: "double precision", bool: "boolean"}[plain]  # type: ignore[return-value]  # the four keys
    if isinstance(plain, type) and issubclass(plain, str):
        return "text"
    if get_origin(plain) is tuple and _strip(get_args(plain)[0]) is str:
        return "text[]"
    if get_origin(plain) in (tuple, dict) or plain is Any or (isinstance(plain, type) and issubclass(plain, msgspec.Struct)):
        return "jsonb"
    raise TypeError(f"{cls.__name__}.{name}: no column type for {hint!r}")


def _strip(hint: Any) -> Any:
    """The bare type inside Annotated[...] and `... | None`."""
    while get_origin(hint) is Annotated:
        hint = get_args(hint)[0]
    if get_origin(hint) in (Union, types.UnionType):
        kinds = [arg for arg in get_args(hint) if arg is not type(None)]
        return _strip(kinds[0]) if len(kinds) == 1 else hint
    return hint


def _snake(name: str) -> str:
    return "".join(f"_{c.lower()}" if c.isupper() and at else c.lower() for at, c in enumerate(name))


def entry_order(entry: Mapping[str, Any]) -> tuple[Any, Any]:
    """Entries of an append-only list stand in the order of their time, where they have one, and then of their id."""
    return entry.get("at", 0), entry["id"]


REORDERED: Final = frozenset({Kind.ADD_WINS, Kind.APPEND_ONLY, Kind.KEYED})
"""Policies whose fields may hold a value in another form than it was said in."""


def canonical(field: FieldSpec, value: Any) -> Any:
    """A value as a record holds it: a set sorted and without doubles, a list in its order, a map without the keys that are null."""
    match field.policy.kind:
        case Kind.ADD_WINS:
            return sorted(set(value))
        case Kind.APPEND_ONLY if Op.APPEND in field.policy.ops:
            return sorted(value, key=entry_order)
        case Kind.KEYED:
            return {key: item for key, item in value.items() if item is not None}
        case _:
            return value
