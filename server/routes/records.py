"""Records over HTTP: read, made, changed and deleted one by one or in bulk, by anybody in the office and by other systems.

Every write goes through the one door as the user whose token asks, with that role's rights.
"""

import re
from typing import Any, Final
from urllib.parse import urlencode

import msgspec
from litestar import Response, delete, get, patch, post, put
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, FromQuery

from server.answers import Answer, once
from server.devices import Admitted
from server.problems import ProblemError
from server.records_api import MAX_BULK, Done, How, Item, spec_named, write_items
from server.storage import records
from server.web import AnyRequest, admitted, answer_json, body_of, context_of, decoded_as
from sync.schema import EntitySpec

PAGE: Final = 500
PATH: Final = "/v1/records/{entity:str}"
_ETAG: Final = re.compile(r'(?:W/)?"?(\d{1,15})"?')


class Bulk(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    items: tuple[Item, ...]


@get(PATH, include_in_schema=False)
async def records_route(
    request: AnyRequest,
    entity: FromPath[str],
    after: FromQuery[str] = "",
    limit: FromQuery[int] = PAGE,
    updated_since: FromQuery[int | None] = None,
) -> Response[bytes]:
    """Records of an entity in the order of their ids, a page at a time; `Link` has the next one. Fields filter by equality.

    With `updated_since`, what changed after that commit instead, deleted records too, whole commits in their order.
    """
    spec = spec_named(entity)
    device = await admitted(request)
    limit = max(1, min(limit, PAGE))
    filters = _filters(spec, request)
    async with context_of(request).office.of(device.tenant_id) as tenant:
        if updated_since is None:
            rows = await records.page(tenant, entity, filters, after=after, limit=limit)
        elif filters:
            raise ProblemError(
                400, "The request does not fit", "news are not filtered by fields", field="updated_since", rule="filter"
            )
        else:
            rows = await records.news(tenant, entity, since=updated_since, limit=limit)
    reply = answer_json(request, rows)
    if len(rows) >= limit:
        onward = {"after": rows[-1].id} if updated_since is None else {"updated_since": rows[-1].seq}
        query = {name: value for name, value in request.query_params.items() if name not in onward}
        reply.headers["link"] = f'<{request.url.path}?{urlencode(query | onward)}>; rel="next"'
    return reply


def _filters(spec: EntitySpec, request: AnyRequest) -> dict[str, Any]:
    """Field values from the query, as the columns have them."""
    found: dict[str, Any] = {}
    for name, value in request.query_params.items():
        if name in ("after", "limit", "updated_since"):
            continue
        field = spec.fields.get(name)
        if field is None or field.column in ("jsonb", "double precision"):
            detail = f"{spec.name} has no field {name}" if field is None else f"{name} is not filtered by"
            raise ProblemError(400, "The request does not fit", detail, field=name, rule="filter")
        try:
            kind: Any = {"bigint": int, "boolean": bool}.get(field.column, str)
            found[name] = msgspec.convert(value, kind, strict=False)
        except msgspec.ValidationError as error:
            raise ProblemError(400, "The request does not fit", str(error), field=name, rule="type") from error
    return found


@get(PATH + "/{record_id:str}", include_in_schema=False)
async def record_route(request: AnyRequest, entity: FromPath[str], record_id: FromPath[str]) -> Response[bytes]:
    """One record; its `ETag` is its version (seq)."""
    device = await admitted(request)
    async with context_of(request).office.of(device.tenant_id) as tenant:
        held = await tenant.record(entity, record_id)
    if held is None:
        raise ProblemError(404, "There is no such record", f"{entity} {record_id}", rule="not_found")
    if request.headers.get("if-none-match") == f'"{held.seq}"':
        return Response(b"", status_code=304, headers={"etag": f'"{held.seq}"'})
    reply = answer_json(request, held)
    reply.headers["etag"] = f'"{held.seq}"'
    return reply


@post(PATH, include_in_schema=False)
async def create_route(request: AnyRequest, entity: FromPath[str]) -> Response[bytes]:
    """Make a record of the fields in the body."""
    return await _one(request, entity, Item(), how="create")


@put(PATH + "/{record_id:str}", include_in_schema=False)
async def put_route(request: AnyRequest, entity: FromPath[str], record_id: FromPath[str]) -> Response[bytes]:
    """Make the record of this id, or give it the fields in the body; fields left out stay."""
    return await _one(request, entity, Item(id=record_id), how="upsert")


@put(PATH + "/by-external-id/{external_id:str}", include_in_schema=False)
async def external_route(request: AnyRequest, entity: FromPath[str], external_id: FromPath[str]) -> Response[bytes]:
    """The same for the record that another system knows by this id."""
    return await _one(request, entity, Item(external_id=external_id), how="upsert")


@patch(PATH + "/{record_id:str}", include_in_schema=False)
async def patch_route(request: AnyRequest, entity: FromPath[str], record_id: FromPath[str]) -> Response[bytes]:
    """Give a record the fields in the body; with `If-Match`, only if it is at that version."""
    return await _one(request, entity, Item(id=record_id), how="update")


@delete(PATH + "/{record_id:str}", status_code=200, include_in_schema=False)
async def delete_route(request: AnyRequest, entity: FromPath[str], record_id: FromPath[str]) -> Response[bytes]:
    return await _one(request, entity, Item(id=record_id, delete=True), how="update")


@post(PATH + "/bulk", include_in_schema=False)
async def bulk_route(request: AnyRequest, entity: FromPath[str]) -> Response[bytes]:
    """Up to 500 items, each by `id`, by `external_id` or new; each stands alone and has a result of its own."""
    spec = spec_named(entity)
    device = await admitted(request)
    body = await body_of(request)
    asked = decoded_as(body, Bulk)
    if not 1 <= len(asked.items) <= MAX_BULK:
        raise ProblemError(422, "The request does not fit", f"1 to {MAX_BULK} items", field="items", rule="bounds")

    async def serve(key: str, redone: bool) -> Answer:  # noqa: FBT001  # as `once` calls it
        done = await write_items(context_of(request), device, spec, asked.items, key=key, redone=redone)
        return Answer(200, msgspec.json.encode({"results": [_result(one) for one in done]}))

    return await once(request, device, body, serve)


def _result(done: Done | ProblemError) -> object:
    return {"status": done.problem.status, "problem": done.problem} if isinstance(done, ProblemError) else done


async def _one(request: AnyRequest, entity: str, item: Item, *, how: How) -> Response[bytes]:
    """One item as the body says it; answers with the record as it then stands."""
    spec = spec_named(entity)
    device = await admitted(request)
    body = await body_of(request)
    fields: dict[str, Any] = {} if item.delete else decoded_as(body, dict[str, Any])
    item = msgspec.structs.replace(item, fields=fields, base=_base(request))
    context = context_of(request)

    async def serve(key: str, redone: bool) -> Answer:  # noqa: FBT001  # as `once` calls it
        (done,) = await write_items(context, device, spec, [item], how=how, key=key, redone=redone)
        if isinstance(done, ProblemError):
            raise done
        return await _standing(request, device, spec, done)

    return await once(request, device, body, serve)


async def _standing(request: AnyRequest, device: Admitted, spec: EntitySpec, done: Done) -> Answer:
    async with context_of(request).office.of(device.tenant_id) as tenant:
        held = await tenant.record(spec.name, done.id)
    if done.status == 204 or held is None:
        return Answer(204)
    headers = {"etag": f'"{held.seq}"'}
    if done.status == 201:
        headers["location"] = f"/v1/records/{spec.name}/{done.id}"
    return Answer(done.status, msgspec.json.encode(held), headers)


def _base(request: AnyRequest) -> int | None:
    """The version named by `If-Match`; `If-None-Match: *` means that there shall be none yet."""
    if request.headers.get("if-none-match") == "*":
        return 0
    said = request.headers.get("if-match")
    if said is None or said == "*":
        return None
    found = _ETAG.fullmatch(said)
    if found is None:
        raise ProblemError(400, "The request does not fit", 'a version, such as "17"', field="If-Match", rule="etag")
    return int(found[1])


ROUTES: Final[tuple[HTTPRouteHandler, ...]] = (
    records_route,
    record_route,
    create_route,
    put_route,
    external_route,
    patch_route,
    delete_route,
    bulk_route,
)
