"""Record ids: ULIDs, made on the device, so that a record has its final name before any network exists."""

from typing import Final

_ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
RANDOM_BYTES: Final = 10


def ulid(now_ms: int, random: bytes) -> str:
    """A ULID (26 characters, Crockford base 32) of a time in milliseconds and 10 random bytes; sorts by time.

    >>> ulid(1_700_000_000_000, bytes(10))
    '01HF7YAT000000000000000000'
    """
    if len(random) != RANDOM_BYTES:
        raise ValueError(f"random takes {RANDOM_BYTES} bytes, not {len(random)}")
    number = now_ms << 80 | int.from_bytes(random)
    return "".join(_ALPHABET[number >> shift & 31] for shift in range(125, -1, -5))
