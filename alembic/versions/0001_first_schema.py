"""The first schema.

Besides the tables: the role that the server works as, the guard of a commit's write, and row-level security for every table that
has a tenant.
"""

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

ROLE = """
do $$ begin
    if not exists (select from pg_roles where rolname = 'truckroll_app') then
        create role truckroll_app nologin;
    end if;
exception when duplicate_object or unique_violation then null; -- another database of this server made it just now
end $$;
grant truckroll_app to current_user;
grant usage on schema public to truckroll_app;
"""

# A write that finds a record or a device moved since it was read must leave nothing behind.
GUARD = """
create function refuse_if_stale(records bigint, records_expected bigint, devices bigint, devices_expected bigint) returns void
language plpgsql as $$ begin
    if records <> records_expected or devices <> devices_expected then
        raise exception 'stale: % of % records, % of % devices', records, records_expected, devices, devices_expected
            using errcode = 'TR001';
    end if;
end $$
"""

# Called after every upgrade, so that a new table cannot be forgotten.
SECURE = """
create function secure_tenant_tables() returns void language plpgsql as $$
declare one record;
begin
    for one in
        select c.oid::regclass as name from pg_class c
        join pg_attribute a on a.attrelid = c.oid and a.attname = 'tenant_id'
        where c.relkind = 'r' and c.relnamespace = 'public'::regnamespace and c.relname <> 'tenant' and not c.relrowsecurity
    loop
        execute format('alter table %s enable row level security', one.name);
        execute format('alter table %s force row level security', one.name);
        execute format(
            'create policy tenant_rows on %s using (tenant_id = nullif(current_setting(''app.tenant'', true), '''')::int)',
            one.name
        );
    end loop;
end $$
"""


def upgrade() -> None:
    op.execute(ROLE)
    op.execute(GUARD)
    op.execute(SECURE)
    op.create_table(
        "account",
        sa.Column("tenant_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("id", sa.Text(collation="C"), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("external_id", sa.Text(), nullable=True),
        sa.Column("parent", sa.Text(), nullable=True),
        sa.Column("segment", sa.Text(), nullable=True),
        sa.Column("tier", sa.Text(), nullable=True),
        sa.Column("territory", sa.Text(), nullable=True),
        sa.Column("owner", sa.Text(), nullable=True),
        sa.Column("credit_hold", sa.Boolean(), nullable=True),
        sa.Column("tax_id", sa.Text(), nullable=True),
        sa.Column("tags", postgresql.ARRAY(sa.Text()), nullable=True),
        sa.Column("custom", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("account_pkey")),
        postgresql_with={"fillfactor": "80"},
    )
    op.create_table(
        "activity",
        sa.Column("tenant_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("id", sa.Text(collation="C"), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=True),
        sa.Column("by", sa.Text(), nullable=True),
        sa.Column("lead", sa.Text(), nullable=True),
        sa.Column("opportunity", sa.Text(), nullable=True),
        sa.Column("next_step", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("activity_pkey")),
        postgresql_with={"fillfactor": "80"},
    )
    op.create_table(
        "app_user",
        sa.Column("tenant_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("id", sa.Text(collation="C"), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(collation="C"), nullable=False),
        sa.Column("territories", postgresql.ARRAY(sa.Text()), server_default="{}", nullable=False),
        sa.Column("active", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("app_user_pkey")),
    )
    op.create_table(
        "appointment",
        sa.Column("tenant_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("id", sa.Text(collation="C"), nullable=False),
        sa.Column("work_order", sa.Text(), nullable=False),
        sa.Column("earliest", sa.BigInteger(), nullable=True),
        sa.Column("due", sa.BigInteger(), nullable=True),
        sa.Column("promised_from", sa.BigInteger(), nullable=True),
        sa.Column("promised_to", sa.BigInteger(), nullable=True),
        sa.Column("planned_start", sa.BigInteger(), nullable=True),
        sa.Column("planned_end", sa.BigInteger(), nullable=True),
        sa.Column("duration_s", sa.BigInteger(), nullable=True),
        sa.Column("travel_s", sa.BigInteger(), nullable=True),
        sa.Column("technician", sa.Text(), nullable=True),
        sa.Column("pinned", sa.Boolean(), nullable=True),
        sa.Column("epoch", sa.BigInteger(), nullable=True),
        sa.Column("held", sa.Boolean(), nullable=True),
        sa.Column("actual", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("status", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("appointment_pkey")),
        postgresql_with={"fillfactor": "80"},
    )
    op.create_index(op.f("appointment_tenant_id_status_idx"), "appointment", ["tenant_id", "status"], unique=False)
    op.create_index(
        op.f("appointment_tenant_id_technician_planned_start_idx"),
        "appointment",
        ["tenant_id", "technician", "planned_start"],
        unique=False,
    )
    op.create_index(op.f("appointment_tenant_id_work_order_idx"), "appointment", ["tenant_id", "work_order"], unique=False)
    op.create_table(
        "asset",
        sa.Column("tenant_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("id", sa.Text(collation="C"), nullable=False),
        sa.Column("site", sa.Text(), nullable=False),
        sa.Column("product", sa.Text(), nullable=True),
        sa.Column("parent", sa.Text(), nullable=True),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("serial", sa.Text(), nullable=True),
        sa.Column("installed_on", sa.BigInteger(), nullable=True),
        sa.Column("warranty_end", sa.BigInteger(), nullable=True),
        sa.Column("status", sa.Text(), nullable=True),
        sa.Column("condition", sa.Text(), nullable=True),
        sa.Column("readings", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("custom", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("asset_pkey")),
        postgresql_with={"fillfactor": "80"},
    )
    op.create_table(
        "attachment",
        sa.Column("tenant_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("id", sa.Text(collation="C"), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("parent_entity", sa.Text(), nullable=False),
        sa.Column("parent", sa.Text(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("media_type", sa.Text(), nullable=False),
        sa.Column("caption", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("attachment_pkey")),
        postgresql_with={"fillfactor": "80"},
    )
    op.create_table(
        "clock",
        sa.Column("tenant_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("incarnation", sa.Text(collation="C"), nullable=False),
        sa.Column("devices", sa.Integer(), server_default="0", nullable=False, comment="the highest device number given out"),
        sa.Column("horizon", sa.BigInteger(), server_default="0", nullable=False, comment="tombstones up to this seq are gone"),
        sa.PrimaryKeyConstraint("tenant_id", name=op.f("clock_pkey")),
        postgresql_with={"fillfactor": "50"},
    )
    op.create_table(
        "conflict",
        sa.Column("tenant_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("id", sa.Text(collation="C"), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("subject_entity", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("field", sa.Text(), nullable=False),
        sa.Column("policy", sa.Text(), nullable=True),
        sa.Column("kept", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("held", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("held_by", sa.Text(), nullable=True),
        sa.Column("at", sa.BigInteger(), nullable=True),
        sa.Column("status", sa.Text(), nullable=True),
        sa.Column("resolution", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("conflict_pkey")),
        postgresql_with={"fillfactor": "80"},
    )
    op.create_index(op.f("conflict_tenant_id_status_idx"), "conflict", ["tenant_id", "status"], unique=False)
    op.create_table(
        "contact",
        sa.Column("tenant_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("id", sa.Text(collation="C"), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=True),
        sa.Column("phones", postgresql.ARRAY(sa.Text()), nullable=True),
        sa.Column("emails", postgresql.ARRAY(sa.Text()), nullable=True),
        sa.Column("consent", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("contact_pkey")),
        postgresql_with={"fillfactor": "80"},
    )
    op.create_table(
        "depot",
        sa.Column("tenant_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("id", sa.Text(collation="C"), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("position", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("depot_pkey")),
        postgresql_with={"fillfactor": "80"},
    )
    op.create_table(
        "device",
        sa.Column("tenant_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("id", sa.Text(collation="C"), nullable=False),
        sa.Column("no", sa.Integer(), nullable=False, comment="short name of the device in field versions"),
        sa.Column("user_id", sa.Text(collation="C"), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("token_hash", sa.LargeBinary(), nullable=False),
        sa.Column("status", sa.Text(collation="C"), server_default="active", nullable=False),
        sa.Column("epoch", sa.Integer(), server_default="1", nullable=False),
        sa.Column("last_n", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("enrolled_ms", sa.BigInteger(), nullable=False),
        sa.Column("seen_ms", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("cursor_seq", sa.BigInteger(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("device_pkey")),
        sa.UniqueConstraint("tenant_id", "no", name=op.f("device_tenant_id_no_key")),
        postgresql_with={"fillfactor": "70"},
    )
    op.create_table(
        "device_log",
        sa.Column("tenant_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("device_no", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("epoch", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("last_n", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("first_n", sa.BigInteger(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("received_ms", sa.BigInteger(), nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False, comment="the transactions as they came, a JSON array under zstd"),
        sa.Column("outcomes", sa.LargeBinary(), nullable=False, comment="one per transaction, with the hash of its bytes"),
        sa.PrimaryKeyConstraint("tenant_id", "device_no", "epoch", "last_n", name=op.f("device_log_pkey")),
    )
    op.create_index(op.f("device_log_tenant_id_seq_idx"), "device_log", ["tenant_id", "seq"], unique=False)
    op.create_table(
        "enrolment",
        sa.Column("tenant_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("code_hash", sa.LargeBinary(), nullable=False),
        sa.Column("user_id", sa.Text(collation="C"), nullable=False),
        sa.Column("expires_ms", sa.BigInteger(), nullable=False),
        sa.Column("used_ms", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("tenant_id", "code_hash", name=op.f("enrolment_pkey")),
    )
    op.create_table(
        "lead",
        sa.Column("tenant_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("id", sa.Text(collation="C"), nullable=False),
        sa.Column("need", sa.Text(), nullable=False),
        sa.Column("account", sa.Text(), nullable=True),
        sa.Column("site", sa.Text(), nullable=True),
        sa.Column("asset", sa.Text(), nullable=True),
        sa.Column("appointment", sa.Text(), nullable=True),
        sa.Column("product", sa.Text(), nullable=True),
        sa.Column("urgency", sa.Text(), nullable=True),
        sa.Column("estimate_cents", sa.BigInteger(), nullable=True),
        sa.Column("photo", sa.Text(), nullable=True),
        sa.Column("captured_by", postgresql.ARRAY(sa.Text()), nullable=True),
        sa.Column("captured_at", sa.BigInteger(), nullable=True),
        sa.Column("status", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("territory", sa.Text(), nullable=True),
        sa.Column("owner", sa.Text(), nullable=True),
        sa.Column("score", sa.BigInteger(), nullable=True),
        sa.Column("opportunity", sa.Text(), nullable=True),
        sa.Column("duplicate_of", sa.Text(), nullable=True),
        sa.Column("custom", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("lead_pkey")),
        postgresql_with={"fillfactor": "80"},
    )
    op.create_index(op.f("lead_tenant_id_owner_idx"), "lead", ["tenant_id", "owner"], unique=False)
    op.create_index(op.f("lead_tenant_id_status_idx"), "lead", ["tenant_id", "status"], unique=False)
    op.create_table(
        "link",
        sa.Column("tenant_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("source", sa.Text(collation="C"), nullable=False),
        sa.Column("kind", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("target", sa.Text(collation="C"), nullable=False),
        sa.Column("reason", sa.Text(collation="C"), nullable=False, comment="entity:id of the record that states the link"),
        sa.Column("granted", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("revoked", sa.BigInteger(), server_default="4611686018427387904", nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "source", "kind", "target", "reason", "granted", name=op.f("link_pkey")),
    )
    op.create_table(
        "opportunity",
        sa.Column("tenant_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("id", sa.Text(collation="C"), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("lead", sa.Text(), nullable=True),
        sa.Column("owner", sa.Text(), nullable=True),
        sa.Column("product", sa.Text(), nullable=True),
        sa.Column("amount_cents", sa.BigInteger(), nullable=True),
        sa.Column("close_on", sa.BigInteger(), nullable=True),
        sa.Column("stage", sa.Text(), nullable=True),
        sa.Column("lost_reason", sa.Text(), nullable=True),
        sa.Column("team", postgresql.ARRAY(sa.Text()), nullable=True),
        sa.Column("forecast_cents", sa.BigInteger(), nullable=True),
        sa.Column("external_id", sa.Text(), nullable=True),
        sa.Column("custom", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("opportunity_pkey")),
        postgresql_with={"fillfactor": "80"},
    )
    op.create_index(op.f("opportunity_tenant_id_lead_idx"), "opportunity", ["tenant_id", "lead"], unique=False)
    op.create_index(op.f("opportunity_tenant_id_owner_idx"), "opportunity", ["tenant_id", "owner"], unique=False)
    op.create_table(
        "parked",
        sa.Column("tenant_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("device_no", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("epoch", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("n", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("user_id", sa.Text(collation="C"), nullable=False),
        sa.Column("received_ms", sa.BigInteger(), nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.Column("reasons", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("state", sa.Text(collation="C"), server_default="waiting", nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "device_no", "epoch", "n", name=op.f("parked_pkey")),
    )
    op.create_table(
        "part_used",
        sa.Column("tenant_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("id", sa.Text(collation="C"), nullable=False),
        sa.Column("work_order", sa.Text(), nullable=False),
        sa.Column("product", sa.Text(), nullable=False),
        sa.Column("quantity", sa.BigInteger(), nullable=False),
        sa.Column("lot", sa.Text(), nullable=True),
        sa.Column("price_cents", sa.BigInteger(), nullable=True),
        sa.Column("reverses", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("part_used_pkey")),
        postgresql_with={"fillfactor": "80"},
    )
    op.create_table(
        "plan_run",
        sa.Column("tenant_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("id", sa.Text(collation="C"), nullable=False),
        sa.Column("state", sa.Text(collation="C"), server_default="queued", nullable=False),
        sa.Column("request", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("progress", postgresql.JSONB(astext_type=sa.Text()), server_default="[]", nullable=False),
        sa.Column("best", postgresql.JSONB(astext_type=sa.Text()), nullable=True, comment="the best plan so far, then the plan"),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("finished_ms", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("plan_run_pkey")),
    )
    op.create_table(
        "price_book",
        sa.Column("tenant_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("id", sa.Text(collation="C"), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=True),
        sa.Column("valid_from", sa.BigInteger(), nullable=True),
        sa.Column("valid_to", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("price_book_pkey")),
        postgresql_with={"fillfactor": "80"},
    )
    op.create_table(
        "price_entry",
        sa.Column("tenant_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("id", sa.Text(collation="C"), nullable=False),
        sa.Column("price_book", sa.Text(), nullable=False),
        sa.Column("product", sa.Text(), nullable=False),
        sa.Column("price_cents", sa.BigInteger(), nullable=False),
        sa.Column("floor_cents", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("price_entry_pkey")),
        postgresql_with={"fillfactor": "80"},
    )
    op.create_table(
        "product",
        sa.Column("tenant_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("id", sa.Text(collation="C"), nullable=False),
        sa.Column("sku", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("unit", sa.Text(), nullable=True),
        sa.Column("family", sa.Text(), nullable=True),
        sa.Column("price_cents", sa.BigInteger(), nullable=True),
        sa.Column("lifetime_days", sa.BigInteger(), nullable=True),
        sa.Column("substitutes", postgresql.ARRAY(sa.Text()), nullable=True),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("product_pkey")),
        postgresql_with={"fillfactor": "80"},
    )
    op.create_table(
        "profile",
        sa.Column("tenant_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("id", sa.Text(collation="C"), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=True),
        sa.Column("territories", postgresql.ARRAY(sa.Text()), nullable=True),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("profile_pkey")),
        postgresql_with={"fillfactor": "80"},
    )
    op.create_table(
        "quote",
        sa.Column("tenant_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("id", sa.Text(collation="C"), nullable=False),
        sa.Column("opportunity", sa.Text(), nullable=False),
        sa.Column("price_book", sa.Text(), nullable=False),
        sa.Column("valid_to", sa.BigInteger(), nullable=True),
        sa.Column("lines", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("discount_pct", sa.Double(), nullable=True),
        sa.Column("total_cents", sa.BigInteger(), nullable=True),
        sa.Column("status", sa.Text(), nullable=True),
        sa.Column("signed_by", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("quote_pkey")),
        postgresql_with={"fillfactor": "80"},
    )
    op.create_table(
        "record",
        sa.Column("tenant_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("entity", sa.Text(collation="C"), nullable=False),
        sa.Column("id", sa.Text(collation="C"), nullable=False),
        sa.Column("scope", sa.Text(collation="C"), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False, comment="the commit that last changed the record"),
        sa.Column("prev", sa.BigInteger(), nullable=False, comment="its seq before that"),
        sa.Column("deleted", sa.Boolean(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False, comment="the fields as they travel"),
        sa.Column(
            "delta", sa.LargeBinary(), nullable=True, comment="the fields that the last commit changed; null if it made the record"
        ),
        sa.Column("ver", sa.LargeBinary(), nullable=False, comment="field versions, see sync.codec"),
        sa.PrimaryKeyConstraint("tenant_id", "entity", "id", name=op.f("record_pkey")),
        postgresql_with={"autovacuum_vacuum_scale_factor": "0.02", "autovacuum_vacuum_cost_delay": "0"},
    )
    op.create_index(op.f("record_tenant_id_scope_seq_idx"), "record", ["tenant_id", "scope", "seq"], unique=False)
    op.create_table(
        "rule_event",
        sa.Column("tenant_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("entity", sa.Text(collation="C"), nullable=False),
        sa.Column("id", sa.Text(collation="C"), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "seq", "entity", "id", name=op.f("rule_event_pkey")),
    )
    op.create_table(
        "shift",
        sa.Column("tenant_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("id", sa.Text(collation="C"), nullable=False),
        sa.Column("technician", sa.Text(), nullable=False),
        sa.Column("start", sa.BigInteger(), nullable=False),
        sa.Column("end", sa.BigInteger(), nullable=False),
        sa.Column("break_s", sa.BigInteger(), nullable=True),
        sa.Column("break_earliest", sa.BigInteger(), nullable=True),
        sa.Column("break_latest", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("shift_pkey")),
        postgresql_with={"fillfactor": "80"},
    )
    op.create_index(op.f("shift_tenant_id_start_idx"), "shift", ["tenant_id", "start"], unique=False)
    op.create_table(
        "site",
        sa.Column("tenant_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("id", sa.Text(collation="C"), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("address", sa.Text(), nullable=True),
        sa.Column("city", sa.Text(), nullable=True),
        sa.Column("postal_code", sa.Text(), nullable=True),
        sa.Column("position", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("hours", sa.Text(), nullable=True),
        sa.Column("territory", sa.Text(), nullable=True),
        sa.Column("access_notes", sa.Text(), nullable=True),
        sa.Column("custom", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("site_pkey")),
        postgresql_with={"fillfactor": "80"},
    )
    op.create_table(
        "skill_held",
        sa.Column("tenant_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("id", sa.Text(collation="C"), nullable=False),
        sa.Column("technician", sa.Text(), nullable=False),
        sa.Column("skill", sa.Text(), nullable=False),
        sa.Column("level", sa.BigInteger(), nullable=True),
        sa.Column("valid_from", sa.BigInteger(), nullable=True),
        sa.Column("valid_to", sa.BigInteger(), nullable=True),
        sa.Column("certificate", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("skill_held_pkey")),
        postgresql_with={"fillfactor": "80"},
    )
    op.create_index(op.f("skill_held_tenant_id_technician_idx"), "skill_held", ["tenant_id", "technician"], unique=False)
    op.create_table(
        "stock_count",
        sa.Column("tenant_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("id", sa.Text(collation="C"), nullable=False),
        sa.Column("location", sa.Text(), nullable=False),
        sa.Column("product", sa.Text(), nullable=False),
        sa.Column("expected", sa.BigInteger(), nullable=True),
        sa.Column("counted", sa.BigInteger(), nullable=True),
        sa.Column("status", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("stock_count_pkey")),
        postgresql_with={"fillfactor": "80"},
    )
    op.create_table(
        "stock_move",
        sa.Column("tenant_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("id", sa.Text(collation="C"), nullable=False),
        sa.Column("location", sa.Text(), nullable=False),
        sa.Column("product", sa.Text(), nullable=False),
        sa.Column("quantity", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("part_used", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("stock_move_pkey")),
        postgresql_with={"fillfactor": "80"},
    )
    op.create_index(
        op.f("stock_move_tenant_id_location_product_idx"), "stock_move", ["tenant_id", "location", "product"], unique=False
    )
    op.create_table(
        "technician",
        sa.Column("tenant_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("id", sa.Text(collation="C"), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("user", sa.Text(), nullable=True),
        sa.Column("home", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("territories", postgresql.ARRAY(sa.Text()), nullable=True),
        sa.Column("speed_factor", sa.Double(), nullable=True),
        sa.Column("cost_hour_cents", sa.BigInteger(), nullable=True),
        sa.Column("depot", sa.Text(), nullable=True),
        sa.Column("active", sa.Boolean(), nullable=True),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("technician_pkey")),
        postgresql_with={"fillfactor": "80"},
    )
    op.create_index(op.f("technician_tenant_id_user_idx"), "technician", ["tenant_id", "user"], unique=False)
    op.create_table(
        "tenant",
        sa.Column("tenant_id", sa.Integer(), sa.Identity(always=False), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", name=op.f("tenant_pkey")),
        sa.UniqueConstraint("name", name=op.f("tenant_name_key")),
    )
    op.create_table(
        "time_entry",
        sa.Column("tenant_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("id", sa.Text(collation="C"), nullable=False),
        sa.Column("work_order", sa.Text(), nullable=False),
        sa.Column("technician", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("start", sa.BigInteger(), nullable=False),
        sa.Column("end", sa.BigInteger(), nullable=True),
        sa.Column("approved", sa.Boolean(), nullable=True),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("time_entry_pkey")),
        postgresql_with={"fillfactor": "80"},
    )
    op.create_table(
        "work_order",
        sa.Column("tenant_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("id", sa.Text(collation="C"), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("site", sa.Text(), nullable=False),
        sa.Column("asset", sa.Text(), nullable=True),
        sa.Column("number", sa.Text(), nullable=True),
        sa.Column("type", sa.Text(), nullable=True),
        sa.Column("subject", sa.Text(), nullable=True),
        sa.Column("priority", sa.BigInteger(), nullable=True),
        sa.Column("due", sa.BigInteger(), nullable=True),
        sa.Column("skill", sa.Text(), nullable=True),
        sa.Column("skill_level", sa.BigInteger(), nullable=True),
        sa.Column("symptom", sa.Text(), nullable=True),
        sa.Column("cause", sa.Text(), nullable=True),
        sa.Column("remedy", sa.Text(), nullable=True),
        sa.Column("status", sa.Text(), nullable=True),
        sa.Column("summary", sa.Text(), nullable=True),
        sa.Column("custom", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("work_order_pkey")),
        postgresql_with={"fillfactor": "80"},
    )
    op.create_index(op.f("work_order_tenant_id_site_idx"), "work_order", ["tenant_id", "site"], unique=False)
    op.create_index(op.f("work_order_tenant_id_status_idx"), "work_order", ["tenant_id", "status"], unique=False)
    op.create_table(
        "work_order_task",
        sa.Column("tenant_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("id", sa.Text(collation="C"), nullable=False),
        sa.Column("work_order", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=True),
        sa.Column("required", sa.Boolean(), nullable=True),
        sa.Column("kind", sa.Text(), nullable=True),
        sa.Column("result", sa.Text(), nullable=True),
        sa.Column("note", sa.Text(), nullable=True),
        sa.Column("done_by", sa.Text(), nullable=True),
        sa.Column("done_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("work_order_task_pkey")),
        postgresql_with={"fillfactor": "80"},
    )


def downgrade() -> None:
    op.execute("drop function secure_tenant_tables()")
    op.execute("drop function refuse_if_stale(bigint, bigint, bigint, bigint)")
    op.drop_table("work_order_task")
    op.drop_index(op.f("work_order_tenant_id_status_idx"), table_name="work_order")
    op.drop_index(op.f("work_order_tenant_id_site_idx"), table_name="work_order")
    op.drop_table("work_order")
    op.drop_table("time_entry")
    op.drop_table("tenant")
    op.drop_index(op.f("technician_tenant_id_user_idx"), table_name="technician")
    op.drop_table("technician")
    op.drop_index(op.f("stock_move_tenant_id_location_product_idx"), table_name="stock_move")
    op.drop_table("stock_move")
    op.drop_table("stock_count")
    op.drop_index(op.f("skill_held_tenant_id_technician_idx"), table_name="skill_held")
    op.drop_table("skill_held")
    op.drop_table("site")
    op.drop_index(op.f("shift_tenant_id_start_idx"), table_name="shift")
    op.drop_table("shift")
    op.drop_table("rule_event")
    op.drop_index(op.f("record_tenant_id_scope_seq_idx"), table_name="record")
    op.drop_table("record")
    op.drop_table("quote")
    op.drop_table("profile")
    op.drop_table("product")
    op.drop_table("price_entry")
    op.drop_table("price_book")
    op.drop_table("plan_run")
    op.drop_table("part_used")
    op.drop_table("parked")
    op.drop_index(op.f("opportunity_tenant_id_owner_idx"), table_name="opportunity")
    op.drop_index(op.f("opportunity_tenant_id_lead_idx"), table_name="opportunity")
    op.drop_table("opportunity")
    op.drop_table("link")
    op.drop_index(op.f("lead_tenant_id_status_idx"), table_name="lead")
    op.drop_index(op.f("lead_tenant_id_owner_idx"), table_name="lead")
    op.drop_table("lead")
    op.drop_table("enrolment")
    op.drop_index(op.f("device_log_tenant_id_seq_idx"), table_name="device_log")
    op.drop_table("device_log")
    op.drop_table("device")
    op.drop_table("depot")
    op.drop_table("contact")
    op.drop_index(op.f("conflict_tenant_id_status_idx"), table_name="conflict")
    op.drop_table("conflict")
    op.drop_table("clock")
    op.drop_table("attachment")
    op.drop_table("asset")
    op.drop_index(op.f("appointment_tenant_id_work_order_idx"), table_name="appointment")
    op.drop_index(op.f("appointment_tenant_id_technician_planned_start_idx"), table_name="appointment")
    op.drop_index(op.f("appointment_tenant_id_status_idx"), table_name="appointment")
    op.drop_table("appointment")
    op.drop_table("app_user")
    op.drop_table("activity")
    op.drop_table("account")
