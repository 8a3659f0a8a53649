"""What a reset leaves of the event queue and the ledger, to be removed bit by bit."""

STATEMENTS = (
    # Events and ledger rows up to `last_id` are of before a reset. Nobody finds them any more: their queues are gone.
    "CREATE TABLE event_garbage (last_id INTEGER NOT NULL)",
)
