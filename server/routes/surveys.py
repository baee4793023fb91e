"""Where customers answer, by a link and without an account; and where the office gets that link."""

from typing import Final

import msgspec
from litestar import Response, get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from server.author import write
from server.domain.look import Seen, look
from server.domain.surveys import BOUNDS, Answer, OutOfBounds, answered
from server.problems import ProblemError, malformed
from server.public_links import Target, target_of, token_for
from server.web import AnyRequest, admitted, answer_json, body_of, context_of
from sync.codec import refusal
from sync.entities.service import SurveyKind
from sync.protocol import OutcomeKind

ATTEMPTS: Final = 5
_INVALID: Final = "the link is not, or no longer, valid"


@get("/v1/surveys/{token:str}")
async def question_route(request: AnyRequest, token: FromPath[str]) -> Response[bytes]:
    """What is asked, for the page on which it is answered."""
    _, survey = await _survey(request, token)
    low, high = BOUNDS[SurveyKind(survey.get("kind"))]
    shown = {"kind": survey.get("kind"), "lowest": low, "highest": high, "answered": survey.get("answered_at") is not None}
    return answer_json(request, shown)


@post("/v1/surveys/{token:str}")
async def answer_route(request: AnyRequest, token: FromPath[str]) -> Response[bytes]:
    """Answer a survey, once."""
    context = context_of(request)
    try:
        answer = msgspec.json.decode(await body_of(request), type=Answer)
    except msgspec.DecodeError as error:
        raise malformed(refusal(error)) from error
    for _ in range(ATTEMPTS):
        target, survey = await _survey(request, token)
        if survey.get("answered_at") is not None:
            raise ProblemError(409, "This survey is answered", "an answer is given once", field="token", rule="answered")
        try:
            changes = answered(survey, answer, context.now_ms())
        except OutOfBounds as bounds:
            raise ProblemError(400, "The score does not fit", str(bounds), field="score", rule="bounds") from bounds
        done = await write(context, target.tenant_id, "a customer's answer", [changes])
        if done.outcomes[0].kind is not OutcomeKind.PARKED:
            return answer_json(request, {"answered": True}, 201)
    raise ProblemError(503, "Others are writing there", "nothing was stored; send the same again", rule="unavailable")


@get("/v1/surveys/{survey_id:str}/link")
async def link_route(request: AnyRequest, survey_id: FromPath[str]) -> Response[bytes]:
    """The token of a survey, for an office that sends its own letters."""
    device = await admitted(request)
    async with context_of(request).office.of(device.tenant_id) as tenant:
        if await look(tenant, "survey", survey_id) is None:
            raise ProblemError(404, "There is no such record", f"survey {survey_id}", rule="not_found")
        return answer_json(request, {"token": await token_for(tenant, "survey", survey_id)})


async def _survey(request: AnyRequest, token: str) -> tuple[Target, Seen]:
    office = context_of(request).office
    target = await target_of(office, "survey", token)
    if target is None:
        raise ProblemError(404, "There is no such survey", _INVALID, field="token", rule="not_found")
    async with office.of(target.tenant_id) as tenant:
        survey = await look(tenant, "survey", target.id)
    if survey is None:
        raise ProblemError(404, "There is no such survey", _INVALID, field="token", rule="not_found")
    return target, survey


ROUTES: Final[list[HTTPRouteHandler]] = [question_route, answer_route, link_route]
