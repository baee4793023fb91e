"""Telling the parts of one process what changed, whichever thread or replica of the same file changed it."""

import asyncio
import threading
import weakref
from collections.abc import Callable, Iterable
from pathlib import Path

from client_sdk.items import Key


class Watch:
    """An async iterator of sets of changed `(entity, id)`. Changes between two steps come together: nobody misses any."""

    def __init__(self, entity: str | None) -> None:
        self._entity = entity
        self._loop = asyncio.get_running_loop()
        self._ready = asyncio.Event()
        self._lock = threading.Lock()
        self._changed: set[Key] = set()
        self._closed = False

    def __aiter__(self) -> "Watch":
        return self

    async def __anext__(self) -> frozenset[Key]:
        await self._ready.wait()
        with self._lock:
            if not self._changed:
                raise StopAsyncIteration
            changed, self._changed = frozenset(self._changed), set()
            if not self._closed:
                self._ready.clear()
        return changed

    def offer(self, keys: Iterable[Key]) -> None:
        mine = {key for key in keys if self._entity in (None, key[0])}
        if mine:
            with self._lock:
                self._changed |= mine
            self._signal()

    def close(self) -> None:
        """End the iteration, after what has already changed was read."""
        with self._lock:
            self._closed = True
        self._signal()

    def _signal(self) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._ready.set)


class Hub:
    """All watches and background syncs of one file in this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._watches: weakref.WeakSet[Watch] = weakref.WeakSet()
        self._wakers: dict[object, Callable[[], None]] = {}

    def watch(self, entity: str | None) -> Watch:
        watch = Watch(entity)
        with self._lock:
            self._watches.add(watch)
        return watch

    def on_edit(self, owner: object, wake: Callable[[], None]) -> None:
        """Call `wake` after each local edit, until `forget(owner)`."""
        with self._lock:
            self._wakers[owner] = wake

    def forget(self, owner: object) -> None:
        with self._lock:
            self._wakers.pop(owner, None)

    def changed(self, keys: Iterable[Key]) -> None:
        with self._lock:
            watches = tuple(self._watches)
        for watch in watches:
            watch.offer(keys)

    def edited(self, keys: Iterable[Key]) -> None:
        """Like `changed`, and there is something to send."""
        self.changed(keys)
        with self._lock:
            wakers = tuple(self._wakers.values())
        for wake in wakers:
            wake()


_hubs: weakref.WeakValueDictionary[Path, Hub] = weakref.WeakValueDictionary()
_hubs_lock = threading.Lock()


def hub_of(path: Path) -> Hub:
    """The one hub of a file in this process."""
    resolved = path.resolve()
    with _hubs_lock:
        hub = _hubs.get(resolved)
        if hub is None:
            hub = _hubs[resolved] = Hub()
        return hub
