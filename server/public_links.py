"""Addresses that a customer gets without an account: a token names one record of one tenant, and nobody guesses another's."""

import hmac
from hashlib import sha256
from typing import Final

import msgspec

from server.storage.links import link_key, make_link_key
from server.storage.office import Office, Tenant

MAC_CHARS: Final = 32
"""128 bits, in hexadecimal."""


class Target(msgspec.Struct, frozen=True):
    tenant_id: int
    id: str


async def token_for(tenant: Tenant, entity: str, record_id: str) -> str:
    """The token of a record, always the same."""
    return f"{tenant.tenant_id}.{_mac(await make_link_key(tenant), entity, record_id)}.{record_id}"


async def target_of(office: Office, entity: str, token: str) -> Target | None:
    """What a token names; None for one that was not made here. Whether the record is still there is not looked at."""
    tenant, _, rest = token.partition(".")
    mac, _, record_id = rest.partition(".")
    if not (tenant.isascii() and tenant.isdigit() and len(tenant) < 10 and mac.isascii() and record_id):
        return None
    async with office.of(int(tenant)) as held:
        key = await link_key(held)
    if key is None or not hmac.compare_digest(mac, _mac(key, entity, record_id)):
        return None
    return Target(int(tenant), record_id)


def _mac(key: bytes, entity: str, record_id: str) -> str:
    return hmac.new(key, f"{entity}/{record_id}".encode(), sha256).hexdigest()[:MAC_CHARS]
