"""The OpenAPI document of the office's API: what Litestar finds out about the routes, and for records the entities as declared."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec
from litestar.openapi.config import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin, ScalarRenderPlugin
from litestar.openapi.spec import Components, SecurityScheme, Tag

from server.records_api import MAX_BULK, Done, Item
from server.web import AnyRequest
from sync.derive import json_schema
from sync.protocol import Exchange, Problem, Reply
from sync.schema import REGISTRY, EntitySpec

_Json = dict[str, Any]
_COMPONENTS: Final = "#/components/schemas/{name}"
_REFERENCE: Final = {
    "type": "object",
    "properties": {"external_id": {"type": "string"}},
    "required": ["external_id"],
    "additionalProperties": False,
    "description": "the record that another system knows by this id",
}
_PAGED: Final = (("after", "string", "the last id of the page before"), ("limit", "integer", "at most 500"))
_SINCE: Final = ("updated_since", "integer", "what changed after this commit (seq), deleted records too")
_TYPES: Final = {"text": "string", "bigint": "integer", "boolean": "boolean", "text[]": "string"}


_EXCHANGE: Final = {
    "summary": "Sync",
    "description": "One exchange of a device: new transactions up, outcomes and a page of the feed down (docs/protocol.md).",
    "operationId": "sync",
    "requestBody": {"required": True, "content": {"application/json": {"schema": {"$ref": _COMPONENTS.format(name="Exchange")}}}},
    "responses": {
        "200": {"description": "done", "content": {"application/json": {"schema": {"$ref": _COMPONENTS.format(name="Reply")}}}},
        "default": {
            "description": "what is wrong",
            "content": {"application/problem+json": {"schema": {"$ref": _COMPONENTS.format(name="Problem")}}},
        },
    },
}
"""A route of plain ASGI, of which Litestar finds out nothing."""


def config() -> OpenAPIConfig:
    """`/v1/docs/openapi.json`, and a page to read it at `/v1/docs`."""
    return OpenAPIConfig(
        title="Truckroll",
        version="1",
        path="/v1/docs",
        use_handler_docstrings=True,
        render_plugins=[_Page(path="/"), _Document(path="/openapi.json")],
        components=Components(
            security_schemes={"token": SecurityScheme(type="http", scheme="bearer", description="the token of an enrolled device")}
        ),
        security=[{"token": []}],
        tags=[Tag("records", "What devices hold and the office works with; every write goes through the one door.")],
    )


class _Document(JsonRenderPlugin):
    def render(self, request: AnyRequest, openapi_schema: _Json) -> bytes:
        return super().render(request, whole(openapi_schema))


class _Page(ScalarRenderPlugin):
    def render(self, request: AnyRequest, openapi_schema: _Json) -> bytes:
        return super().render(request, whole(openapi_schema))


def whole(found: _Json) -> _Json:
    """Litestar's document with every entity's schema and its paths."""
    schemas = _placed(json_schema()["$defs"])
    _, own = msgspec.json.schema_components([Problem, Item, Done, Exchange, Reply], ref_template=_COMPONENTS)
    for spec in REGISTRY.values():
        schemas |= _variants(spec, schemas[spec.cls.__name__])
    components = found.get("components", {})
    paths: _Json = {path: _answered(item) for path, item in found.get("paths", {}).items()}
    paths["/v1/sync"] = {"post": _EXCHANGE}
    for spec in REGISTRY.values():
        paths |= _paths(spec)
    schemas = components.get("schemas", {}) | own | schemas
    return found | {"paths": dict(sorted(paths.items())), "components": components | {"schemas": dict(sorted(schemas.items()))}}


def _placed(part: Any) -> Any:
    """JSON Schema with its references where OpenAPI keeps schemas."""
    if isinstance(part, dict):
        return {
            name: value.replace("#/$defs/", "#/components/schemas/") if name == "$ref" else _placed(value)
            for name, value in part.items()
        }
    return [_placed(item) for item in part] if isinstance(part, list) else part


def _answered(item: _Json) -> _Json:
    """Every route may answer with a problem document."""
    return {
        method: said | {"responses": said.get("responses", {}) | {"default": _ref_response("Problem", "application/problem+json")}}
        if isinstance(said, dict)
        else said
        for method, said in item.items()
    }


def _variants(spec: EntitySpec, schema: _Json) -> _Json:
    """What is sent: fields without those that only rules write, references also by external id; and what comes back."""
    name = spec.cls.__name__
    properties = {
        field.name: _sent(schema["properties"][field.name], field.refers)
        for field in spec.fields.values()
        if any(role != "server" for role in field.policy.writers)
    }
    sent = {"type": "object", "properties": properties, "additionalProperties": False}
    required = [one for one in schema.get("required", []) if one in properties]
    record = {
        "type": "object",
        "properties": {
            "entity": {"const": spec.name},
            "id": {"type": "string"},
            "seq": {"type": "integer", "description": "its version: the commit that changed it last"},
            "scope": {"type": "string"},
            "fields": {"$ref": f"#/components/schemas/{name}"},
        },
        "required": ["entity", "id", "seq", "scope", "fields"],
    }
    listed = record | {
        "properties": record["properties"] | {"fields": {"type": "object"}, "deleted": {"type": "boolean"}},  # type: ignore[operator]  # a dict
    }
    creating = sent | ({"required": required} if required else {})
    return {f"{name}New": creating, f"{name}Fields": sent, f"{name}Record": record, f"{name}Listed": listed}


def _sent(schema: _Json, refers: str | None) -> _Json:
    return {"anyOf": [schema, _REFERENCE]} if refers and "external_id" in REGISTRY[refers].fields else schema


def _paths(spec: EntitySpec) -> _Json:
    name, path = spec.cls.__name__, f"/v1/records/{spec.name}"
    record_id = [_parameter("record_id", "path", "string")]
    match = _parameter("If-Match", "header", "string", 'the version that you saw, such as "17"; if it has moved, 412')
    once = _parameter("Idempotency-Key", "header", "string", "repeat a request with the same key, get the same answer")
    read, made = _ref_response(f"{name}Record"), _ref_response(f"{name}Record", words="made")
    filters = [_parameter(field.name, "query", _TYPES[field.column]) for field in spec.fields.values() if field.column in _TYPES]
    pages = [_parameter(one, "query", kind, words) for one, kind, words in (*_PAGED, _SINCE)]
    listing = {"description": "a page", "content": _content({"type": "array", "items": _ref(f"{name}Listed")})}
    bulk = {"type": "object", "required": ["items"], "properties": {"items": _many("Item")}}
    result = {
        "anyOf": [_ref("Done"), {"type": "object", "properties": {"status": {"type": "integer"}, "problem": _ref("Problem")}}]
    }
    results = {"type": "object", "required": ["results"], "properties": {"results": {"type": "array", "items": result}}}

    def operation(
        verb: str, words: str, parameters: Iterable[_Json], answers: Mapping[str, _Json], body: _Json | None = None
    ) -> _Json:
        said = {
            "operationId": f"{verb}_{spec.name}",
            "summary": words,
            "tags": ["records"],
            "parameters": list(parameters),
            "responses": {**answers, "default": _ref_response("Problem", "application/problem+json")},
        }
        return said | ({"requestBody": {"required": True, "content": _content(body)}} if body else {})

    upsert = {"200": read, "201": made}
    return {
        path: {
            "get": operation("list", f"List {spec.name} records", [*pages, *filters], {"200": listing}),
            "post": operation("create", f"Make a {spec.name}", [once], {"201": made}, _ref(f"{name}New")),
        },
        f"{path}/{{record_id}}": {
            "get": operation("read", f"Read a {spec.name}", record_id, {"200": read}),
            "put": operation("put", f"Make or change a {spec.name}", [*record_id, match, once], upsert, _ref(f"{name}Fields")),
            "patch": operation("change", f"Change a {spec.name}", [*record_id, match, once], {"200": read}, _ref(f"{name}Fields")),
            "delete": operation("delete", f"Delete a {spec.name}", [*record_id, match, once], {"204": {"description": "gone"}}),
        },
        f"{path}/bulk": {
            "post": operation("bulk", f"Up to {MAX_BULK} {spec.name} items, each with its own result", [once],
                              {"200": {"description": "a result for each item", "content": _content(results)}}, bulk),
        },
    } | (
        {
            f"{path}/by-external-id/{{external_id}}": {
                "put": operation(
                    "upsert",
                    f"Make or change the {spec.name} that another system knows by this id",
                    [_parameter("external_id", "path", "string"), match, once],
                    upsert,
                    _ref(f"{name}Fields"),
                )
            }
        }
        if "external_id" in spec.fields
        else {}
    )  # fmt: skip


def _parameter(name: str, place: str, kind: str, words: str = "") -> _Json:
    said: _Json = {"name": name, "in": place, "schema": {"type": kind}}
    return said | ({"required": True} if place == "path" else {}) | ({"description": words} if words else {})


def _ref(name: str) -> _Json:
    return {"$ref": _COMPONENTS.format(name=name)}


def _many(name: str) -> _Json:
    return {"type": "array", "minItems": 1, "maxItems": MAX_BULK, "items": _ref(name)}


def _content(schema: _Json, media_type: str = "application/json") -> _Json:
    return {media_type: {"schema": schema}}


def _ref_response(name: str, media_type: str = "application/json", words: str = "") -> _Json:
    return {
        "description": words or ("what is wrong" if name == "Problem" else "the record"),
        "content": _content(_ref(name), media_type),
    }
