"""What a client of a peer sends after a refused write: it fetches what is there, lays its own fields over it, and writes again."""

from collections.abc import Callable

from benchmarks.sync.wire import Request

NEXT: dict[str, Callable[[Request, bytes], Request | None]] = {}
