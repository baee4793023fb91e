"""What a process remembers of users: who asks often is not forgotten for those who ask once."""

from server import holdings
from server.holdings import Holdings


async def test_who_asked_last_is_kept(monkeypatch):
    asked = []

    async def scopes_of(_connection, _tenant_id, user_ids):
        asked.extend(user_ids)
        return {user_id: (5, frozenset({f"van {user_id}"})) for user_id in user_ids}

    monkeypatch.setattr(holdings, "scopes_of", scopes_of)
    monkeypatch.setattr(holdings, "USERS", 2)
    kept = Holdings(None)
    for user_id in ("ann", "bob", "ann", "cat", "ann"):
        held = await kept.of_all(None, 1, "first", [user_id], 5)
        assert held == {user_id: {f"van {user_id}"}}
    assert asked == ["ann", "bob", "cat"]
