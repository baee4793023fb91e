"""What the demo is made of: its bad lines, its journals, its places."""

import asyncio
import json
from pathlib import Path
from random import Random

import httpx
import pytest

from demo.journal import Journal, Op, read
from demo.line import Fault, Line
from demo.places import BadAddresses, read_places


async def answering(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A server that says ok to everything."""
    while head := await reader.readuntil(b"\r\n\r\n"):
        await reader.readexactly(int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0]))
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")


def batch(first: int, count: int) -> bytes:
    return json.dumps({"first": first, "transactions": [{}] * count}).encode()


async def post(line: Line, body: bytes) -> int:
    async with httpx.AsyncClient() as client:
        return (await client.post(f"{line.url}/v1/sync", content=body)).status_code


async def test_a_line_fails_as_it_is_told_and_counts_what_was_sent_again() -> None:
    server = await asyncio.start_server(answering, "127.0.0.1", 0)
    async with Line(server.sockets[0].getsockname()[1], Random(1)) as line:
        line.next = [Fault.REQUEST_LOST, Fault.REPLY_LOST, Fault.REPLY_CUT]
        for resent in (0, 0, 1):
            with pytest.raises(httpx.TransportError):
                await post(line, batch(1, 2))
            assert line.resent_batches == resent
        assert await post(line, batch(2, 3)) == 200
        assert await post(line, batch(5, 1)) == 200
        assert (line.resent_batches, line.faults) == (2, 3)
        line.down()
        with pytest.raises(httpx.TransportError):
            await post(line, batch(6, 1))
        line.up()
        assert await post(line, batch(6, 1)) == 200
        assert line.was_down(line.downs[0][0])
        assert not line.was_down(line.downs[0][0] - 1)
    server.close()


def test_a_journal_keeps_what_was_written_before_a_kill(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j")
    first = journal.deed(1, "one", (Op("delete", "task", "K"),))
    journal.done(first, 7)
    journal.deed(2, "two", ())
    journal.close()
    with (tmp_path / "j").open("ab") as file:
        file.write(b'{"type":"deed","k":3')
    noted = read(tmp_path / "j")
    assert [deed.label for deed in noted.deeds] == ["one", "two"]
    assert noted.numbers == {1: 7}
    assert Journal(tmp_path / "j").deed(3, "three", ()) == 3


def test_addresses_are_taken_from_the_city_that_is_named(tmp_path: Path) -> None:
    at = {"coordinates": {"lat": 36.1, "lng": -86.7}}
    rows = [at | {"address1": "1 Elm", "city": "Nashville", "postalCode": "37201"}, at | {"city": "Norman"}, at]
    (tmp_path / "a.json").write_text(json.dumps({"addresses": rows}))
    (place,) = read_places(tmp_path / "a.json", "nashville")
    assert (place.street, place.city, place.postal_code, place.lat, place.lon) == ("1 Elm", "Nashville", "37201", 36.1, -86.7)


@pytest.mark.parametrize(
    ("content", "city", "words"),
    [
        ('{"addresses":[{"city":"Nashville","coordinates":{"lat":1,"lng":2}}]}', "Nashvile", "Did you mean Nashville?"),
        ('{"addresses":[{"city":"Nashville","coordinates":{"lat":1,"lng":2}}]}', "", "Name a city with --city"),
        ('{"addresses":[{"city":"Nashville"}]}', "Nashville", "coordinates"),
        ('{"addresses":[]}', "Nashville", "no address with a city"),
        ("not json", "Nashville", "not a file of addresses"),
        (None, "Nashville", "cannot be read"),
    ],
)
def test_a_file_that_cannot_be_used_says_why(tmp_path: Path, content: str | None, city: str, words: str) -> None:
    if content is not None:
        (tmp_path / "a.json").write_text(content)
    with pytest.raises(BadAddresses, match=words.replace("?", "\\?")):
        read_places(tmp_path / "a.json", city)
