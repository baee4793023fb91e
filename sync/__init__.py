"""The pure core of synchronisation: no I/O, no clock, no randomness; everything is passed in.

Read it in this order: `clock` (stamps), `schema` (how an entity is declared), `policies` (who wins), `merge` (record and change
to record and conflicts), `links` (who may hold what), `protocol` (what travels), `entities` (the declarations themselves).
"""
