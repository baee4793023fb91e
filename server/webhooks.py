"""Calls to other systems after the Standard Webhooks specification 1.0, to addresses that are really outside.

A call is signed over its id, its time and its body; the id stays the same however often it is tried, so a receiver that has seen it
drops the repeat. Source: https://github.com/standard-webhooks/standard-webhooks.
"""

import asyncio
import base64
import hashlib
import hmac
import ipaddress
import socket
from typing import Final

import httpx

TIMEOUT_S: Final = 15.0
SECRET_BYTES: Final = 24
_PREFIX: Final = "whsec_"


class Forbidden(Exception):
    """The address is not one that calls may go to."""


class Unwanted(Exception):
    """The receiver said that it wants no more (410)."""


class Failed(Exception):
    """The call did not succeed; it may the next time."""


def secret(random: bytes) -> str:
    return _PREFIX + base64.b64encode(random).decode()


def signature(key: str, message_id: str, at_s: int, body: bytes) -> str:
    signed = b"%s.%d.%s" % (message_id.encode(), at_s, body)
    digest = hmac.new(base64.b64decode(key.removeprefix(_PREFIX)), signed, hashlib.sha256).digest()
    return "v1," + base64.b64encode(digest).decode()


def check_url(url: str, *, private: bool) -> httpx.URL:
    """The address, if it may be called at all; names are looked up only when calling. Raises `Forbidden`."""
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, ValueError) as error:
        raise Forbidden(f"it is no address: {error}") from error
    if parsed.scheme != "https" and not (private and parsed.scheme == "http"):
        raise Forbidden("calls go to https")
    if not parsed.host or parsed.userinfo:
        raise Forbidden("it names no host" if not parsed.host else "it holds a password: verify the signature instead")
    try:
        literal = ipaddress.ip_address(parsed.host)
    except ValueError:
        return parsed
    if not private and not _outside(literal):
        raise Forbidden(f"{literal} is not an address of the internet")
    return parsed


def _outside(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Whether an address is of the public internet, looked at through the ways in which IPv6 wraps IPv4."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)
        if inner is not None:
            return _outside(inner)
    return address.is_global and not address.is_multicast


async def _resolved(url: httpx.URL, *, private: bool) -> str:
    """The one IP address to connect to: checked here and used as it is, so that a second look-up cannot say another."""
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(url.host, url.port or (443 if url.scheme == "https" else 80), type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        raise Failed(f"{url.host} is not known: {error}") from error
    addresses = [ipaddress.ip_address(str(info[4][0]).partition("%")[0]) for info in found]
    inside = [address for address in addresses if not _outside(address)]
    if inside and not private:
        raise Forbidden(f"{url.host} is {inside[0]}, which is not an address of the internet")
    return str(addresses[0])


async def call(url: str, key: str, message_id: str, body: bytes, now_ms: int, *, private: bool) -> None:
    """Post a signed body. Raises `Forbidden`, `Unwanted` or `Failed`."""
    target = check_url(url, private=private)
    address = await _resolved(target, private=private)
    at_s = now_ms // 1000
    headers = {
        "host": target.netloc.decode(),
        "content-type": "application/json",
        "user-agent": "Truckroll-Webhooks/1",
        "webhook-id": message_id,
        "webhook-timestamp": str(at_s),
        "webhook-signature": signature(key, message_id, at_s, body),
    }
    try:
        async with httpx.AsyncClient(timeout=TIMEOUT_S, trust_env=False, follow_redirects=False) as client:
            request = client.build_request(
                "POST", target.copy_with(host=address), content=body, headers=headers, extensions={"sni_hostname": target.host}
            )
            async with asyncio.timeout(TIMEOUT_S):
                reply = await client.send(request, stream=True)  # nobody reads the answer, however long it is
                await reply.aclose()
    except (httpx.HTTPError, TimeoutError, OSError) as error:
        raise Failed(f"{type(error).__name__}: {error}"[:300]) from error
    if reply.status_code == httpx.codes.GONE:
        raise Unwanted("the receiver answered 410 Gone")
    if not reply.is_success:
        raise Failed(f"the receiver answered {reply.status_code}")
