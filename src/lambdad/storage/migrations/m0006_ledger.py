"""The ledger: what became of asynchronous events, beside the queue."""

STATEMENTS = (
    # Steps of events that are still in the queue. An event that ends with its first attempt never has a row here, and
    # accepting one writes nothing.
    "CREATE TABLE ledger_pending (event_id INTEGER PRIMARY KEY, steps TEXT NOT NULL)",
    # Events that have ended, under their ids in the queue. `payload` is kept of those that can be run again.
    """CREATE TABLE ledger_event (
        id INTEGER PRIMARY KEY, request_id TEXT NOT NULL,
        account TEXT NOT NULL, region TEXT NOT NULL, function TEXT NOT NULL, qualifier TEXT NOT NULL,
        accepted_ms INTEGER NOT NULL, ended_ms INTEGER NOT NULL, condition TEXT NOT NULL,
        invoke_count INTEGER NOT NULL, steps TEXT NOT NULL, bytes INTEGER NOT NULL,
        trace TEXT NOT NULL, payload BLOB
    )""",
    "CREATE INDEX ledger_event_request ON ledger_event (request_id)",
    "CREATE INDEX ledger_event_function ON ledger_event (function, id)",
    "CREATE INDEX ledger_event_ended ON ledger_event (ended_ms, bytes)",
    "CREATE INDEX ledger_event_dropped ON ledger_event (id) WHERE condition <> 'Success'",
)
