"""What passes between the runner and the load generator: requests made beforehand, and what came of them."""

from typing import Final

import msgspec


class Request(msgspec.Struct, frozen=True, array_like=True):
    """`head` ends with the last header that the body does not decide. `follow` names what is done with the reply, see `load`."""

    head: bytes
    body: bytes
    follow: str = ""

    @property
    def raw(self) -> bytes:
        return b"%scontent-length: %d\r\n\r\n%s" % (self.head, len(self.body), self.body)


def request(method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None, follow: str = "") -> Request:
    lines = [f"{method} {path} HTTP/1.1", "host: localhost", *(f"{name}: {value}" for name, value in (headers or {}).items())]
    if body:
        lines.append("content-type: application/json")
    return Request("".join(f"{line}\r\n" for line in lines).encode(), body, follow)


class Job(msgspec.Struct, frozen=True):
    """Each device sends its requests one after another. `expect` is what must be found `expected` times in all the replies."""

    port: int
    devices: list[list[Request]]
    connections: int
    expect: bytes
    expected: int
    host: str = "127.0.0.1"


class Answered(msgspec.Struct, frozen=True):
    """What came of a job. `latency_ms` has the 50th, 95th and 99th percentile; bytes are those of bodies, as they travelled."""

    wall_s: float
    requests: int
    statuses: dict[int, int]
    up_bytes: int
    down_bytes: int
    latency_ms: tuple[float, float, float]
    found: int


decode_job: Final = msgspec.msgpack.Decoder(Job)
