"""What can go wrong, named for what happened. All derive from `SdkError`."""

from sync.protocol import Problem


class SdkError(Exception):
    """The base of everything that the SDK raises on purpose."""


class Invalid(SdkError):
    """A value or an operation breaks the entity's declaration; nothing was stored."""

    def __init__(self, entity: str, record_id: str, field: str, rule: str, detail: str) -> None:
        super().__init__(f"{entity} {record_id}{'.' + field if field else ''}: {detail} ({rule})")
        self.entity, self.record_id, self.field, self.rule, self.detail = entity, record_id, field, rule, detail


class NotFound(SdkError):
    """The replica holds no such record, or no such parked transaction."""


class NeedsApproval(SdkError):
    """Somebody has to approve the quote before it may go out; `reason` says what of it. Nothing was stored."""

    def __init__(self, quote_id: str, reason: str) -> None:
        super().__init__(f"quote {quote_id} needs approval: {reason}")
        self.quote_id, self.reason = quote_id, reason


class Unreadable(SdkError):
    """A newer server wrote a value of a required field that this version of the app does not know."""


class NotEnrolled(SdkError):
    """The file belongs to no device yet: call `enrol` first."""


class AlreadyEnrolled(SdkError):
    """The file belongs to a device. Each enrolment has a file of its own, so that no user's work mixes with another's."""


class Closed(SdkError):
    """The replica was closed."""


class StorageError(SdkError):
    """The device's storage does not do what it should: no room, no access, a damaged file, or a lock that is held for too long."""


class DiskFull(StorageError):
    """No room on the device. What was to be stored is not, not even in part; what was stored before is safe."""


class WrongKey(StorageError):
    """The file does not open with this key, or is no replica."""


class SyncError(SdkError):
    """An exchange did not succeed. What was to be sent is kept and is sent again."""


class Offline(SyncError):
    """No connection, no answer in time, or a server that is busy or down. A transport raises this (or an `OSError`)."""


class BadReply(SyncError):
    """The answer is not one that this protocol knows; a captive portal's page, for example."""


class Rejected(SyncError):
    """The server refused the request as a whole, with a problem document."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(f"{problem.status} {problem.title}: {problem.detail} ({problem.field or '-'}, {problem.rule or '-'})")
        self.problem = problem


class Wiped(SyncError):
    """The server ordered the device to erase itself, after its work was delivered. The file is as new."""


class Revoked(Rejected):
    """The device's token is not valid (any more)."""
