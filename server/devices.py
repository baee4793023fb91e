"""Enrolment and admission: a one-time code becomes a token that is bound to one device of one user of one tenant."""

import hashlib
import hmac
from typing import Any, Final

import msgspec

from server.problems import ProblemError, unauthorised
from server.storage import statements
from server.storage.pool import Connection, Pool
from server.together import Together
from sync.ids import ulid
from sync.merge import Author
from sync.policies import Role
from sync.protocol import Enrolled, Enrolment

CODE_VALID_MS: Final = 7 * 86_400_000
_PREFIX: Final = "tr1"
WIPING: Final = "wiping"
ADMITTED: Final = frozenset({"active", WIPING})
"""A device that is to be wiped may still bring in the work that is on it."""


class Claim(msgspec.Struct, frozen=True):
    """What a token says of itself; nothing of it is believed before the secret has been compared."""

    tenant_id: int
    device_id: str
    secret: str


class Admitted(msgspec.Struct, frozen=True):
    """A device that proved itself, and the state of its log and its tenant's clock at that moment."""

    tenant_id: int
    device_id: str
    author: Author
    epoch: int
    last_n: int
    enrolled_ms: int
    clock_seq: int
    incarnation: str
    horizon: int
    wiping: bool


def digest(secret: str) -> bytes:
    """Tokens and codes are random and long, so a plain hash suffices."""
    return hashlib.sha256(secret.encode()).digest()


def token(tenant_id: int, device_id: str, secret: str) -> str:
    return f"{_PREFIX}.{tenant_id}.{device_id}.{secret}"


def code(tenant_id: int, random: bytes) -> str:
    """A one-time enrolment code that can be read out over the phone."""
    return f"{tenant_id}-{ulid(0, random)[-12:]}"


def claim_of(header: str | None) -> Claim:
    scheme, _, value = (header or "").partition(" ")
    prefix, _, rest = value.strip().partition(".")
    parts = rest.split(".")
    if scheme.lower() != "bearer" or prefix != _PREFIX or len(parts) != 3 or not (parts[0].isdigit() and len(parts[0]) < 10):
        raise unauthorised("send the device's token as: Authorization: Bearer …")
    return Claim(int(parts[0]), parts[1], parts[2])


class Gate:
    """Admits devices. One per process: of a tenant, those that knock while one look-up is under way share the next."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._rows: Together[str, Any] = Together(self._look)

    async def admit(self, claim: Claim) -> Admitted:
        """Compare the secret and say who this is, as of now. A foreign or unknown device gets the same answer as a wrong secret."""
        return _admitted(await self._rows.ask(claim.tenant_id, claim.device_id), claim)

    async def _look(self, tenant_id: int, device_ids: list[str]) -> dict[str, Any]:
        async with self._pool.connection(tenant_id) as connection:
            return {row["id"]: row for row in await connection.fetch(statements.PROBE, tenant_id, device_ids)}


async def admit(connection: Connection, claim: Claim) -> Admitted:
    """The same for one device alone, on a connection at hand."""
    return _admitted(await connection.fetchrow(statements.PROBE, claim.tenant_id, [claim.device_id]), claim)


def _admitted(row: Any, claim: Claim) -> Admitted:
    if row is None or not hmac.compare_digest(row["token_hash"], digest(claim.secret)):
        raise unauthorised("the token is not, or no longer, valid")
    if row["status"] not in ADMITTED or not row["active"]:
        status = str(row["status"]) if row["active"] else "dismissed"
        raise unauthorised(f"the device is {status}", rule=status)
    author = Author(row["no"], row["user_id"], Role(row["role"]))
    return Admitted(
        claim.tenant_id,
        claim.device_id,
        author,
        row["epoch"],
        row["last_n"],
        row["enrolled_ms"],
        row["seq"],
        row["incarnation"],
        row["horizon"],
        row["status"] == WIPING,
    )


async def enrol(pool: Pool, request: Enrolment, *, now_ms: int, random: bytes) -> Enrolled:
    """Spend the code. `random` is 42 bytes: 10 for the device's id, 32 for its secret."""
    tenant, _, rest = request.code.strip().upper().partition("-")
    refused = ProblemError(403, "The code is not valid", "it is unknown, spent or expired", field="code", rule="enrolment")
    if not tenant.isdigit() or len(tenant) > 9 or not rest:
        raise refused
    tenant_id, device_id, secret = int(tenant), ulid(now_ms, random[:10]), random[10:].hex()
    async with pool.connection(tenant_id) as connection:
        made = await connection.fetchrow(
            statements.ENROL, tenant_id, digest(f"{tenant}-{rest}"), now_ms, device_id, request.device_name, digest(secret)
        )
        if made is None:
            raise refused
        return await _enrolled(connection, tenant_id, device_id, secret, made, now_ms)


async def renew(pool: Pool, claim: Claim, *, now_ms: int, random: bytes) -> Enrolled:
    """A new identity for an installation that shares its own with another one: a copied or restored database file.

    The new device begins a log of its own, one epoch later; the other installation goes on undisturbed. `random` as in `enrol`.
    """
    device_id, secret = ulid(now_ms, random[:10]), random[10:].hex()
    async with pool.connection(claim.tenant_id) as connection:
        await admit(connection, claim)
        made = await connection.fetchrow(statements.RENEW, claim.tenant_id, claim.device_id, device_id, digest(secret), now_ms)
        return await _enrolled(connection, claim.tenant_id, device_id, secret, made, now_ms)


async def _enrolled(connection: Connection, tenant_id: int, device_id: str, secret: str, made: Any, now_ms: int) -> Enrolled:
    who: Any = await connection.fetchrow(statements.WHO, tenant_id, made["user_id"])
    return Enrolled(
        device=device_id,
        token=token(tenant_id, device_id, secret),
        epoch=made["epoch"],
        user=made["user_id"],
        user_name=who["name"],
        role=who["role"],
        tenant=who["tenant"],
        technician=who["technician"],
        server_ms=now_ms,
    )
