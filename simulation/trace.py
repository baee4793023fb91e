"""What happened, as lines and as one hash: two runs of one seed have the same."""

import hashlib
from collections import deque
from typing import Final

import msgspec

KEPT: Final = 400


class Trace:
    def __init__(self, *, loud: bool = False) -> None:
        self._hash = hashlib.blake2b(digest_size=16)
        self._loud = loud
        self.last: deque[str] = deque(maxlen=KEPT)

    def say(self, now_ms: int, *what: object) -> None:
        line = msgspec.json.encode((now_ms, *what), order="sorted")
        self._hash.update(line)
        self.last.append(line.decode())
        if self._loud:
            print(line.decode()[:400])  # noqa: T201  # asked for on the command line

    @property
    def digest(self) -> str:
        return self._hash.hexdigest()
