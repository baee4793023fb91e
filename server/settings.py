"""How one server process is set up: read once from the environment, passed on as a value."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from server.plan_request import PlanLimits

DEFAULT_HOME: Final = Path(".truckroll")


class Outgoing(msgspec.Struct, frozen=True):
    """How messages leave the house: the mail server (`smtp://` or `smtps://user:password@host:port`; empty: none), the sender of
    companies that name none of their own, and whether webhooks may go to private addresses and without TLS."""

    smtp_url: str = ""
    mail_from: str = "no-reply@truckroll.invalid"
    private_webhooks: bool = False

    @classmethod
    def read(cls, env: Mapping[str, str]) -> "Outgoing":
        """From `TRUCKROLL_SMTP_URL`, `…_MAIL_FROM` and `…_PRIVATE_WEBHOOKS`."""
        return cls(
            smtp_url=env.get("TRUCKROLL_SMTP_URL", ""),
            mail_from=env.get("TRUCKROLL_MAIL_FROM", cls().mail_from),
            private_webhooks=env.get("TRUCKROLL_PRIVATE_WEBHOOKS", "") == "1",
        )


class Settings(msgspec.Struct, frozen=True):
    """`database_url` empty means: the PostgreSQL that comes with the package, its files in `home`. `attachments_url` empty means: a
    folder in `home`; else a store such as `s3://bucket/folder`. `roads` empty means: travel is estimated; else as
    `roads.service_of` says. `geocoder` empty means: sites without a position get none by themselves; else as
    `geocoding.geocoder_of` says."""

    database_url: str = ""
    home: Path = DEFAULT_HOME
    host: str = "127.0.0.1"
    port: int = 8400
    connections: int = 8
    max_body_bytes: int = 16 * 1024 * 1024
    attachments_url: str = ""
    max_attachment_bytes: int = 512 * 1024 * 1024
    plan_limits: PlanLimits = PlanLimits()
    outgoing: Outgoing = Outgoing()
    roads: str = ""
    geocoder: str = ""

    @classmethod
    def read(cls, env: Mapping[str, str]) -> "Settings":
        """From `DATABASE_URL` and `TRUCKROLL_HOME`, `…_HOST`, `…_PORT`, `…_ATTACHMENTS`, `…_ROADS`, `…_GEOCODER`, and what
        `PlanLimits` and `Outgoing` read. Raises ValueError naming the variable.
        """
        port = env.get("TRUCKROLL_PORT", str(cls.__struct_defaults__[3]))
        if not port.isdigit() or int(port) > 65_535:
            raise ValueError(f"TRUCKROLL_PORT is a port number from 0 to 65535, not {port!r}")
        return cls(
            database_url=env.get("DATABASE_URL", ""),
            home=Path(env.get("TRUCKROLL_HOME", str(DEFAULT_HOME))),
            host=env.get("TRUCKROLL_HOST", "127.0.0.1"),
            port=int(port),
            attachments_url=env.get("TRUCKROLL_ATTACHMENTS", ""),
            plan_limits=PlanLimits.read(env),
            outgoing=Outgoing.read(env),
            roads=env.get("TRUCKROLL_ROADS", ""),
            geocoder=env.get("TRUCKROLL_GEOCODER", ""),
        )
