"""CSV in and out over HTTP, for the office."""

import io
from typing import Final

from litestar import Response, get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, FromQuery
from litestar.response import Stream

from server.intake.files import BadFile, read, rejected_csv, written
from server.intake.incoming import Incoming, Rejected
from server.intake.run import Importer
from server.problems import ProblemError
from server.web import AnyRequest, admitted, answer_json, body_of, context_of
from sync.policies import MANAGERS
from sync.schema import REGISTRY

MAX_ROWS: Final = 5_000
"""More would keep a request open for too long; the command takes files of any length."""


@post("/v1/imports/{entity:str}")
async def import_route(request: AnyRequest, entity: FromPath[str], dry_run: FromQuery[bool] = False) -> Response[bytes]:  # noqa: FBT002  # a query parameter
    """Take the rows of a CSV file. Query parameters `map.HEADER=field` say which field a column fills."""
    device = await admitted(request, MANAGERS)
    _known(entity)
    mapping = {key.removeprefix("map."): value for key, value in request.query_params.items() if key.startswith("map.")}
    try:
        text = (await body_of(request)).decode("utf-8-sig")
        rows = list(read(entity, "body", io.StringIO(text, newline=""), mapping))
    except (BadFile, UnicodeDecodeError) as error:
        raise ProblemError(400, "This is no CSV of the entity", str(error), field="body", rule="csv") from error
    if len(rows) > MAX_ROWS:
        raise ProblemError(413, "Too many rows", f"at most {MAX_ROWS}; the command takes more", field="body", rule="bounds")
    importer = Importer(context_of(request), device.tenant_id, dry_run=dry_run)
    report = await importer.take(row for row in rows if isinstance(row, Incoming))
    report.rejected.extend(row for row in rows if isinstance(row, Rejected))
    told = {
        "dry_run": dry_run,
        "entities": report.tallies,
        "corrected": report.corrected,
        "rejected": report.rejected,
        "rejected_csv": rejected_csv(report.rejected),
    }
    return answer_json(request, told)


@get("/v1/exports/{entity:str}")
async def export_route(request: AnyRequest, entity: FromPath[str]) -> Stream:
    """Every record of an entity as CSV, which an import takes back."""
    device = await admitted(request)
    _known(entity)
    headers = {"content-disposition": f'attachment; filename="{entity}.csv"'}
    return Stream(written(context_of(request), device.tenant_id, entity), media_type="text/csv; charset=utf-8", headers=headers)


def _known(entity: str) -> None:
    if entity not in REGISTRY:
        raise ProblemError(404, "There is no such entity", entity, field="entity", rule="unknown_entity")


ROUTES: Final[list[HTTPRouteHandler]] = [import_route, export_route]
