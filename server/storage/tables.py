"""Every table of the server. `record` is the truth; the typed tables are projections of it, derived from the declared entities.

Everything begins with `tenant_id`, so that the schema distributes on it as it is, and row-level security keys on it.
"""

from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

import sync.entities  # noqa: F401  # fills the registry
from sync.schema import REGISTRY, Column, EntitySpec

FOREVER: Final = 2**62
"""The `revoked` of a link that stands."""

metadata: Final = sa.MetaData(
    naming_convention={
        "pk": "%(table_name)s_pkey",
        "ix": "%(table_name)s_%(column_0_N_name)s_idx",
        "uq": "%(table_name)s_%(column_0_N_name)s_key",
    }
)
_text = sa.Text(collation="C")

tenant: Final = sa.Table(
    "tenant",
    metadata,
    sa.Column("tenant_id", sa.Integer, sa.Identity(), primary_key=True),
    sa.Column("name", sa.Text, nullable=False, unique=True),
    sa.Column("created_ms", sa.BigInteger, nullable=False),
)

clock: Final = sa.Table(
    "clock",
    metadata,
    sa.Column("tenant_id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("seq", sa.BigInteger, nullable=False),
    sa.Column("incarnation", _text, nullable=False),
    sa.Column("devices", sa.Integer, nullable=False, server_default="0", comment="the highest device number given out"),
    sa.Column("horizon", sa.BigInteger, nullable=False, server_default="0", comment="tombstones up to this seq are gone"),
    sa.Column("linked", sa.BigInteger, nullable=False, server_default="0", comment="the commit that last wrote a link"),
    postgresql_with={"fillfactor": "50"},
)

app_user: Final = sa.Table(
    "app_user",
    metadata,
    sa.Column("tenant_id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("id", _text, primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("role", _text, nullable=False),
    sa.Column("territories", ARRAY(sa.Text), nullable=False, server_default="{}"),
    sa.Column("active", sa.Boolean, nullable=False, server_default=sa.true()),
)

device: Final = sa.Table(
    "device",
    metadata,
    sa.Column("tenant_id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("id", _text, primary_key=True),
    sa.Column("no", sa.Integer, nullable=False, comment="short name of the device in field versions"),
    sa.Column("user_id", _text, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("token_hash", sa.LargeBinary, nullable=False),
    sa.Column("status", _text, nullable=False, server_default="active"),
    sa.Column("epoch", sa.Integer, nullable=False, server_default="1"),
    sa.Column("last_n", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("enrolled_ms", sa.BigInteger, nullable=False),
    sa.Column("seen_ms", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("cursor_seq", sa.BigInteger, nullable=False, server_default="0"),
    sa.UniqueConstraint("tenant_id", "no"),
    postgresql_with={"fillfactor": "70"},
)

enrolment: Final = sa.Table(
    "enrolment",
    metadata,
    sa.Column("tenant_id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("code_hash", sa.LargeBinary, primary_key=True),
    sa.Column("user_id", _text, nullable=False),
    sa.Column("expires_ms", sa.BigInteger, nullable=False),
    sa.Column("used_ms", sa.BigInteger),
)

record: Final = sa.Table(
    "record",
    metadata,
    sa.Column("tenant_id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("entity", _text, primary_key=True),
    sa.Column("id", _text, primary_key=True),
    sa.Column("scope", _text, nullable=False),
    sa.Column("seq", sa.BigInteger, nullable=False, comment="the commit that last changed the record"),
    sa.Column("prev", sa.BigInteger, nullable=False, comment="its seq before that"),
    sa.Column("deleted", sa.Boolean, nullable=False),
    sa.Column("body", sa.LargeBinary, nullable=False, comment="the fields as they travel"),
    sa.Column("delta", sa.LargeBinary, comment="the fields that the last commit changed; null if it made the record"),
    sa.Column("ver", sa.LargeBinary, nullable=False, comment="field versions, see sync.codec"),
    sa.Index(None, "tenant_id", "scope", "seq"),
    # For queries that say the condition too. All others do not see it: while nothing is known of the table, the planner would take
    # it for as good as the key, and read every record of an entity to find one by its id.
    sa.Index(None, "tenant_id", "entity", "seq", postgresql_where=sa.text("seq > 0")),
    postgresql_with={"autovacuum_vacuum_scale_factor": "0.02", "autovacuum_vacuum_cost_delay": "0"},
)

link: Final = sa.Table(
    "link",
    metadata,
    sa.Column("tenant_id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("source", _text, primary_key=True),
    sa.Column("kind", sa.SmallInteger, primary_key=True, autoincrement=False),
    sa.Column("target", _text, primary_key=True),
    sa.Column("reason", _text, primary_key=True, comment="entity:id of the record that states the link"),
    sa.Column("granted", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("revoked", sa.BigInteger, nullable=False, server_default=str(FOREVER)),
)

device_log: Final = sa.Table(
    "device_log",
    metadata,
    sa.Column("tenant_id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("device_no", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("epoch", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("last_n", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("first_n", sa.BigInteger, nullable=False),
    sa.Column("seq", sa.BigInteger, nullable=False),
    sa.Column("received_ms", sa.BigInteger, nullable=False),
    sa.Column("payload", sa.LargeBinary, nullable=False, comment="the transactions as they came, a JSON array under zstd"),
    sa.Column("outcomes", sa.LargeBinary, nullable=False, comment="one per transaction, with the hash of its bytes"),
    sa.Index(None, "tenant_id", "seq"),
)

exchange_log: Final = sa.Table(
    "exchange_log",
    metadata,
    sa.Column("tenant_id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("device_no", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("at_ms", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("took_us", sa.Integer, nullable=False),
    sa.Column("sent", sa.Integer, nullable=False, comment="transactions in the request"),
    sa.Column("taken", sa.BigInteger, nullable=False, comment="the number that the server has got to"),
    sa.Column("request_bytes", sa.Integer, nullable=False),
    sa.Column("reply_bytes", sa.Integer, nullable=False),
    sa.Column("checkpoint", sa.BigInteger, nullable=False, comment="what the device said it has applied"),
    sa.Column("healed", sa.Integer, nullable=False, comment="scopes sent anew because their digests differed"),
)

parked: Final = sa.Table(
    "parked",
    metadata,
    sa.Column("tenant_id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("device_no", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("epoch", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("n", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("user_id", _text, nullable=False),
    sa.Column("received_ms", sa.BigInteger, nullable=False),
    sa.Column("payload", sa.LargeBinary, nullable=False),
    sa.Column("reasons", JSONB, nullable=False),
    sa.Column("state", _text, nullable=False, server_default="waiting"),
)

rule_event: Final = sa.Table(
    "rule_event",
    metadata,
    sa.Column("tenant_id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("entity", _text, primary_key=True),
    sa.Column("id", _text, primary_key=True),
)

rule_mark: Final = sa.Table(
    "rule_mark",
    metadata,
    sa.Column("tenant_id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("rule", _text, primary_key=True),
    sa.Column("id", _text, primary_key=True, comment="what the rule looked at; empty: everything"),
    sa.Column("at_ms", sa.BigInteger, nullable=False, comment="when a clock last looked at it"),
)

match_key: Final = sa.Table(
    "match_key",
    metadata,
    sa.Column("tenant_id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("key", _text, primary_key=True, comment="what two records share that may mean the same"),
    sa.Column("entity", _text, primary_key=True),
    sa.Column("id", _text, primary_key=True),
    sa.Index(None, "tenant_id", "entity", "id"),
)

plan_run: Final = sa.Table(
    "plan_run",
    metadata,
    sa.Column("tenant_id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("id", _text, primary_key=True),
    sa.Column("state", _text, nullable=False, server_default="queued"),
    sa.Column("request", JSONB, nullable=False),
    sa.Column("progress", JSONB, nullable=False, server_default="[]"),
    sa.Column("best", JSONB, comment="the best plan so far, then the plan"),
    sa.Column("error", sa.Text),
    sa.Column("created_ms", sa.BigInteger, nullable=False),
    sa.Column("finished_ms", sa.BigInteger),
    sa.Column("wish", _text, comment="of the office: take the best so far, or cancel"),
    sa.Column("withheld", JSONB(none_as_null=True), comment="changes of the plan that are not published yet"),
    sa.Index("plan_run_withheld", "tenant_id", postgresql_where=sa.text("withheld is not null")),
    sa.Index("plan_run_active", "tenant_id", postgresql_where=sa.text("state in ('queued', 'running')")),
)

upload: Final = sa.Table(
    "upload",
    metadata,
    sa.Column("tenant_id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("device_no", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("sha256", _text, primary_key=True),
    sa.Column("size_bytes", sa.BigInteger, nullable=False, comment="as announced; how much is here stands in the staged file"),
    sa.Column("media_type", sa.Text, nullable=False),
    sa.Column("asked_ms", sa.BigInteger, nullable=False, comment="when the device last began it or took it up again"),
    sa.Column("stored_ms", sa.BigInteger, comment="when it was complete, checked and filed"),
)

kept_answer: Final = sa.Table(
    "kept_answer",
    metadata,
    sa.Column("tenant_id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("user_id", _text, primary_key=True),
    sa.Column("key", _text, primary_key=True, comment="the Idempotency-Key of the request"),
    sa.Column("request_hash", sa.LargeBinary, nullable=False),
    sa.Column("at_ms", sa.BigInteger, nullable=False),
    sa.Column("status", sa.Integer, comment="null while the request is under way"),
    sa.Column("headers", JSONB),
    sa.Column("body", sa.LargeBinary),
)

notification: Final = sa.Table(
    "notification",
    metadata,
    sa.Column("tenant_id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("id", _text, primary_key=True, comment="follows from event, channel and recipient: one message for each"),
    sa.Column("event", _text, nullable=False, comment="what happened, once: kind and record, and which time of several"),
    sa.Column("kind", _text, nullable=False),
    sa.Column("channel", _text, nullable=False, comment="email or webhook"),
    sa.Column("recipient", _text, nullable=False, comment="a contact, or a subscription"),
    sa.Column("address", sa.Text, nullable=False, server_default=""),
    sa.Column("account", _text),
    sa.Column("entity", _text, nullable=False),
    sa.Column("subject", _text, nullable=False, comment="the record that it is about"),
    sa.Column("title", sa.Text, nullable=False),
    sa.Column("body", sa.Text, nullable=False),
    sa.Column("rule_version", sa.Integer, nullable=False, server_default="0"),
    sa.Column("state", _text, nullable=False, comment="due, sent, skipped or dead"),
    sa.Column("reason", sa.Text, nullable=False, server_default="", comment="why it was skipped, or failed last"),
    sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
    sa.Column("next_ms", sa.BigInteger, nullable=False, comment="not to be tried before"),
    sa.Column("created_ms", sa.BigInteger, nullable=False),
    sa.Column("sent_ms", sa.BigInteger),
    sa.Index("notification_due_idx", "tenant_id", "next_ms", postgresql_where=sa.text("state = 'due'")),
    sa.Index(None, "tenant_id", "account", "created_ms"),
    sa.Index(None, "tenant_id", "created_ms", "id"),
    sa.Index(None, "tenant_id", "subject"),
)

webhook: Final = sa.Table(
    "webhook",
    metadata,
    sa.Column("tenant_id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("id", _text, primary_key=True),
    sa.Column("url", sa.Text, nullable=False),
    sa.Column("kinds", ARRAY(sa.Text), nullable=False, server_default="{}", comment="empty: all; appointment.* is a group"),
    sa.Column("secret", sa.Text, nullable=False),
    sa.Column("active", sa.Boolean, nullable=False, server_default=sa.true()),
    sa.Column("created_ms", sa.BigInteger, nullable=False),
    sa.Column("failing_since_ms", sa.BigInteger),
    sa.Column("disabled_ms", sa.BigInteger, comment="when it was given up after failing for long"),
)

calendar_feed: Final = sa.Table(
    "calendar_feed",
    metadata,
    sa.Column("tenant_id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("id", _text, primary_key=True),
    sa.Column("technician", _text, nullable=False),
    sa.Column("token_hash", sa.LargeBinary, nullable=False),
    sa.Column("created_ms", sa.BigInteger, nullable=False),
    sa.Column("revoked_ms", sa.BigInteger),
    sa.Index(None, "tenant_id", "technician"),
)

link_key: Final = sa.Table(
    "link_key",
    metadata,
    sa.Column("tenant_id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("key", sa.LargeBinary, nullable=False, comment="what the tokens of its public links are made with"),
)

_TYPES: Final[dict[Column, Any]] = {
    "text": sa.Text,
    "bigint": sa.BigInteger,
    "double precision": sa.Double,
    "boolean": sa.Boolean,
    "text[]": ARRAY(sa.Text),
    "jsonb": JSONB,
}
_INDICES: Final = {
    "absence": (("holder",),),
    "activity": (("account", "at"),),
    "appointment": (("technician", "planned_start"), ("work_order",), ("status",)),
    "asset": (("site",),),
    "attachment": (("sha256",),),
    "business_rule": (("kind",),),
    "campaign_member": (("campaign",),),
    "case": (("account",), ("status",)),
    "conflict": (("status",),),
    "contact": (("account",),),
    "contract": (("account",), ("end",)),
    "entitlement": (("contract",),),
    "incentive": (("user",), ("lead",)),
    "lead": (("owner",), ("status",), ("site",), ("account",), ("respond_by",), ("campaign",)),
    "maintenance_plan": (("active",), ("asset",)),
    "offer": (("work_order",), ("status",)),
    "opportunity": (("lead",), ("owner",), ("account",), ("campaign",)),
    "part_used": (("work_order",),),
    "price_entry": (("price_book",),),
    "recommendation": (("site",),),
    "sales_order": (("opportunity",),),
    "quote": (("opportunity",),),
    "shift": (("start",),),
    "site": (("account",), ("located",)),
    "skill_held": (("technician",),),
    "stock_move": (("location", "product"),),
    "survey": (("account",),),
    "technician": (("user",),),
    "time_entry": (("work_order",),),
    "work_order": (("status",), ("site",), ("account",)),
}
_NAMED: Final = sa.text("external_id <> ''")
"""Most records have no name in another system, and cost no entry."""
CREWED: Final = sa.text("mates <> '{}'")
"""Visits of a crew, which are few."""


def _projection(spec: EntitySpec) -> sa.Table:
    return sa.Table(
        spec.name,
        metadata,
        sa.Column("tenant_id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("id", _text, primary_key=True),
        *(sa.Column(field.name, _TYPES[field.column], nullable=not field.required) for field in spec.fields.values()),
        *(sa.Index(None, "tenant_id", *columns) for columns in _INDICES.get(spec.name, ())),
        *([sa.Index(None, "tenant_id", "external_id", postgresql_where=_NAMED)] if "external_id" in spec.fields else []),
        *([sa.Index(None, "tenant_id", "planned_start", postgresql_where=CREWED)] if "mates" in spec.fields else []),
        postgresql_with={"fillfactor": "80"},
    )


projections: Final[dict[str, sa.Table]] = {name: _projection(spec) for name, spec in REGISTRY.items()}

TENANT_TABLES: Final = tuple(table.name for table in metadata.sorted_tables if table is not tenant)
"""Tables under row-level security."""
