"""What else follows from the declarations: JSON Schema for other languages, the table of who wins, the wire's fingerprint."""

from collections.abc import Iterable
from hashlib import sha256
from typing import Any

import msgspec

import sync.entities  # noqa: F401  # fills the registry
from sync.policies import PEOPLE, Kind, Policy, Role, Roles
from sync.protocol import Enrolled, Enrolment, Exchange, Problem, Reply, Transaction
from sync.schema import REGISTRY, EntitySpec


def json_schema() -> dict[str, Any]:
    """JSON Schema 2020-12 of every entity; `x-policy`, `x-writers`, `x-refers` and `x-scope` carry what JSON Schema cannot say."""
    schemas, components = msgspec.json.schema_components([spec.cls for spec in REGISTRY.values()])
    del schemas
    for spec in REGISTRY.values():
        schema = components[spec.cls.__name__]
        schema["x-entity"] = spec.name
        schema["x-scope"] = {"kind": spec.scope.kind, "field": spec.scope.field}
        schema["x-create"], schema["x-delete"] = _names(spec.create), _names(spec.delete)
        for field in spec.fields.values():
            said = schema["properties"][field.name]
            said |= {"x-policy": str(field.policy.kind), "x-writers": _names(field.policy.writers), "x-index": field.index}
            if field.refers:
                said["x-refers"] = field.refers
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "$defs": components}


def wire_fingerprint() -> str:
    """A hash of all that travels: it changes exactly when a message or an entity does, and not with the words that explain them."""
    _, messages = msgspec.json.schema_components([Exchange, Transaction, Reply, Enrolment, Enrolled, Problem])
    return sha256(msgspec.json.encode(bare([messages, json_schema()]), order="sorted")).hexdigest()[:16]


def bare(schema: Any) -> Any:
    """A schema without its descriptions; a field of that name is an object, not a string, and stays."""
    if isinstance(schema, dict):
        return {name: bare(part) for name, part in schema.items() if name != "description" or not isinstance(part, str)}
    return [bare(part) for part in schema] if isinstance(schema, list) else schema


def conflicts_page() -> str:
    """docs/conflicts.md: for every field who may write it and who wins."""
    head = [
        "# Who wins",
        "",
        "Made from the declarations in `sync/entities/` by `make docs`; do not edit. A field conflicts only if it moved past what",
        "the author saw, by another device, to a different value. What loses is kept as a conflict record.",
        "",
    ]
    return "\n".join([*head, *(line for spec in REGISTRY.values() for line in _section(spec))])


def _section(spec: EntitySpec) -> Iterable[str]:
    yield f"## {spec.name}"
    yield ""
    yield f"Scope: {_scope(spec)}. Created by {_people(spec.create)}; deleted by {_people(spec.delete) or 'nobody'}."
    yield ""
    yield "| field | policy | written by |"
    yield "| --- | --- | --- |"
    for field in spec.fields.values():
        yield f"| {field.name} | {_policy(field.policy)} | {_people(field.policy.writers)} |"
    yield ""


def _policy(policy: Policy) -> str:
    return f"{policy.kind} ({policy.flow.initial} …)" if policy.kind is Kind.LIFECYCLE and policy.flow else str(policy.kind)


def _scope(spec: EntitySpec) -> str:
    rule = spec.scope
    if rule.field is None:
        return "its own"
    if rule.field == "":
        return f"`{rule.kind}`"
    return f"the {rule.kind} in `{rule.field}`" if rule.kind else f"named by `{rule.field}`"


def _people(roles: Roles) -> str:
    people = roles - {Role.SERVER}
    if people == PEOPLE:
        return "everybody"
    return ", ".join(_names(people)) or ("server" if Role.SERVER in roles else "")


def _names(roles: Roles) -> list[str]:
    return [str(role) for role in Role if role in roles]
