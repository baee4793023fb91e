"""Fixtures: a shop for each test, and who gets its messages outside the house."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest
from aiosmtpd.smtp import SMTP, Envelope, Session
from conftest import Company

from server.settings import Outgoing
from tests.domain.receiver import Receiver
from tests.domain.shop import Shop


@pytest.fixture
async def shop(company: Company) -> Shop:
    return await Shop.open(company)


class Mailbox:
    """A real SMTP server; `answer` is what it says to the next letters."""

    def __init__(self) -> None:
        self.letters: list[Envelope] = []
        self.answer = "250 OK"
        self.refuses: set[str] = set()

    async def handle_RCPT(self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]) -> str:  # noqa: N802  # aiosmtpd's name
        if address in self.refuses:
            return "550 no such mailbox"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802  # aiosmtpd's name
        if self.answer.startswith("250"):
            self.letters.append(envelope)
        return self.answer


@pytest.fixture
async def mailbox(company: Company) -> AsyncIterator[Mailbox]:
    """The company's mail goes here while the test runs."""
    box = Mailbox()
    server = await asyncio.get_running_loop().create_server(lambda: SMTP(box), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    before = company.context.outgoing
    company.context.outgoing = Outgoing(smtp_url=f"smtp://127.0.0.1:{port}", mail_from="service@house.example")
    yield box
    company.context.outgoing = before
    server.close()
    await server.wait_closed()


@pytest.fixture
def receiver(company: Company) -> Iterator[Receiver]:
    """Another system's ear for webhooks, on this machine."""
    before = company.context.outgoing
    company.context.outgoing = Outgoing(private_webhooks=True)
    with Receiver() as ear:
        yield ear
    company.context.outgoing = before
