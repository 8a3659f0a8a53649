"""Ids of events are taken from a counter, many at once."""

STATEMENTS = (
    "CREATE TABLE event_counter (last_id INTEGER NOT NULL)",
    """INSERT INTO event_counter (last_id) SELECT MAX(
        COALESCE((SELECT MAX(seq) FROM sqlite_sequence WHERE name = 'event'), 0),
        COALESCE((SELECT MAX(id) FROM ledger_event), 0)
    )""",
)
