"""Several users of one device: a van's tablet, the counter of a depot."""

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from random import Random
from types import TracebackType
from typing import Final, Self, TypedDict, Unpack
from urllib.parse import quote, unquote

from client_sdk.errors import NotEnrolled, SdkError, StorageError
from client_sdk.replica import Replica
from client_sdk.session import asked_to_enrol
from client_sdk.transport import Transport
from sync.schema import EntitySpec

_OWNER_ONLY: Final = 0o700
_SUFFIX: Final = ".db"


class Options(TypedDict, total=False):
    """What `Replica.open` takes beside path and key."""

    clock: Callable[[], int]
    random: Random
    sleep: Callable[[float], Awaitable[object]]
    transport: Transport
    registry: Mapping[str, EntitySpec]


def no_key(user: str) -> str | None:  # noqa: ARG001  # the same for every user
    """Files are not encrypted."""
    return None


class Replicas:
    """The replicas of a device that several users share: one file for each, named by the user's id, in one folder.

    Users have nothing in common: neither records nor outbox, nor token, nor, with `key_of`, a key. One of them is at the device,
    `current`; what the others have not delivered waits in their files, and `deliver` takes it along when the app wishes::

        tablet = Replicas("data", key_of=keychain.get)
        replica = await tablet.enrol("https://sync.example.com", code="A1B2-C3D4")
        replica = tablet.switch(user)
    """

    def __init__(self, folder: str | Path, *, key_of: Callable[[str], str | None] = no_key, **options: Unpack[Options]) -> None:
        self._folder, self._key_of, self._options = Path(folder), key_of, options
        self._current: Replica | None = None
        self._user: str | None = None
        try:
            self._folder.mkdir(_OWNER_ONLY, parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(f"{self._folder.name}: {error.strerror}") from error

    @property
    def current(self) -> Replica | None:
        """The replica of the user who is at the device."""
        return self._current

    @property
    def current_user(self) -> str | None:
        return self._user

    def users(self) -> list[str]:
        """The ids of those who have a file here."""
        return sorted(unquote(path.name.removesuffix(_SUFFIX)) for path in self._folder.glob(f"*{_SUFFIX}"))

    async def enrol(self, url: str, code: str, device_name: str = "") -> Replica:
        """A user of the server at `url` comes to this device, with a one-time code, and is `current` then.

        Raises `AlreadyEnrolled` if the code's user has a file here: `switch` to it.
        """
        answer, enrolled = await asked_to_enrol(self._options.get("transport"), url, code, device_name)
        replica = self._open(enrolled.user)
        try:
            replica.adopt(url, answer)
        except SdkError:
            replica.close()
            raise
        self._become(enrolled.user, replica)
        return replica

    def open(self, user: str) -> Replica:
        """The replica of any of the users, for the caller to close; `current` stays who it is."""
        if not self._path(user).exists():
            raise NotEnrolled(f"user {user} has no replica on this device")
        return self._open(user)

    def switch(self, user: str) -> Replica:
        """`user` is at the device now. The replica of whoever was before is closed, with its watches and its background sync."""
        if self._current is None or self._user != user:
            self._become(user, self.open(user))
        assert self._current is not None
        return self._current

    def leave(self) -> None:
        """Nobody is at the device."""
        self._become(None, None)

    async def deliver(self) -> dict[str, SdkError | None]:
        """Sync each of the other users who has work waiting; says for each what went wrong, if anything did."""
        found: dict[str, SdkError | None] = {}
        for user in self.users():
            if user == self._user:
                continue
            try:
                with self.open(user) as replica:
                    if replica.status().waiting:
                        found[user] = None
                        await replica.sync()
            except SdkError as error:
                found[user] = error
        return found

    def close(self) -> None:
        self.leave()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _become(self, user: str | None, replica: Replica | None) -> None:
        if self._current is not None:
            self._current.close()
        self._user, self._current = user, replica

    def _open(self, user: str) -> Replica:
        return Replica.open(self._path(user), key=self._key_of(user), **self._options)

    def _path(self, user: str) -> Path:
        """An id is the server's to choose: whatever is in it, its file is in this folder."""
        return self._folder / f"{quote(user, safe='')}{_SUFFIX}"
