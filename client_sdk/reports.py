"""Service reports on the device: signed over the hash of what they say, and amended by a further version.

::

    with replica.edit("signed") as tx:
        reports.sign(replica, tx, report, signer="Ana Lake", at=now_ms, strokes=path)
"""

from client_sdk.draft import Draft
from client_sdk.errors import NotFound
from client_sdk.items import Item
from client_sdk.query import col
from client_sdk.replica import Replica
from sync.entities import ServiceReport, Signature
from sync.entities.work import ReportStatus, report_sha256


def sign(replica: Replica, tx: Draft, report_id: str, *, signer: str, at: int, strokes: str = "", photo: str | None = None) -> str:
    """The customer signs what the report says as it is stored; returns the signature's id. Nothing of it changes after that.

    Raises `NotFound` if the device holds no such report.
    """
    report = _held(replica, report_id).fields
    sha256 = report_sha256(report)
    about = {"scope": f"work_order:{report.work_order}", "subject_entity": ServiceReport.spec.name, "subject": report_id}
    signature = tx.create(Signature(**about, sha256=sha256, signer=signer, at=at, strokes=strokes, photo=photo))
    tx.set(ServiceReport, report_id, sha256=sha256, status=ReportStatus.SIGNED)
    return signature


def amend(replica: Replica, tx: Draft, report_id: str) -> str:
    """A draft of the next version with the same content; returns its id. The signed one stands. Raises `NotFound`."""
    report = _held(replica, report_id).fields
    versions = [one.fields.version for one in replica.query(ServiceReport, col(ServiceReport.work_order).is_(report.work_order))]
    return tx.create(ServiceReport(work_order=report.work_order, version=max(versions) + 1, lines=report.lines, words=report.words))


def _held(replica: Replica, report_id: str) -> Item[ServiceReport]:
    report = replica.get(ServiceReport, report_id)
    if report is None:
        raise NotFound(f"this replica holds no service_report {report_id}")
    return report
