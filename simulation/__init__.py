"""A seeded simulation of devices, consoles, a server, links, clocks and crashes under one scheduler.

The code under test is the real one: `client_sdk.Replica` on SQLite, `server.exchange` on PostgreSQL. Only time and the link are
replaced. One seed decides everything, so a failing seed fails again. Read it in this order: `schedule` (virtual time), `plan` (what
a seed decides), `server`, `link`, `party`, `device`, `console` (the players), `field_acts` and `office_acts` (what people do),
`model` (what must come of it) and `oracle` (whether it did), `world` (one run), `main` (many).
"""
