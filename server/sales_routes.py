"""What sales asks over HTTP: the ledger of credit and its leaderboard."""

from typing import Final

import msgspec
from litestar import Response, get
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromQuery

from server.devices import Admitted
from server.domain.incentives import leaderboard, ledger, rule_records
from server.problems import ProblemError
from server.web import AnyRequest, admitted, answer_json, context_of
from sync.entities.credit import balance, standing
from sync.policies import MANAGERS, PEOPLE

FOREVER_MS: Final = 2**52


@get("/v1/incentives")
async def incentives_route(
    request: AnyRequest, user: FromQuery[str | None] = None, lead: FromQuery[str | None] = None
) -> Response[bytes]:
    """The ledger's lines of a person (by default whoever asks) or of a lead, each with the rule that made it and whether it still
    stands; and what they come to. Of others only managers may ask."""
    device = await admitted(request, PEOPLE)
    whose = None if lead and _manages(device) and user is None else _of_whom(device, user)
    async with context_of(request).office.of(device.tenant_id) as tenant:
        lines = await ledger(tenant, user=whose, lead=lead)
        rules = await rule_records(tenant)
    left = standing(lines)
    told = [
        {
            "id": line_id,
            **msgspec.to_builtins(line),
            "stands": line_id in left,
            "rule_body": rules.get(line.rule_version, ("", None))[1],
        }
        for line_id, line in lines.items()
    ]
    return answer_json(request, {"user": whose, "lines": told, "balance": balance(lines)})


@get("/v1/leaderboard")
async def leaderboard_route(
    request: AnyRequest, from_ms: FromQuery[int] = 0, to_ms: FromQuery[int] = FOREVER_MS
) -> Response[bytes]:
    """Who is owed what, by lines of the ledger from `from_ms` to before `to_ms`; the first is owed most."""
    device = await admitted(request, PEOPLE)
    async with context_of(request).office.of(device.tenant_id) as tenant:
        return answer_json(request, await leaderboard(tenant, from_ms, to_ms))


def _manages(device: Admitted) -> bool:
    return device.author.role in MANAGERS


def _of_whom(device: Admitted, user: str | None) -> str:
    """The user asked for: oneself, or for managers anybody."""
    if user not in (None, device.author.user) and not _manages(device):
        raise ProblemError(403, "Not for this role", f"a {device.author.role} may ask of their own only", field="user", rule="role")
    return user or device.author.user


ROUTES: Final[tuple[HTTPRouteHandler, ...]] = (incentives_route, leaderboard_route)
