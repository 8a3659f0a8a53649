"""Asynchronous invocation: the queue of events, settings by qualifier, and the outbox of messages to remote targets."""

STATEMENTS = (
    # One row for each function that was ever called asynchronously. No event of a function that is throttled is looked
    # at before `resume_ms`; `throttles` counts the refusals in a row.
    """CREATE TABLE event_queue (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        account TEXT NOT NULL, region TEXT NOT NULL, function TEXT NOT NULL,
        throttles INTEGER NOT NULL DEFAULT 0, resume_ms INTEGER NOT NULL DEFAULT 0,
        UNIQUE (account, region, function)
    )""",
    # `state` 0: waits for `due_ms`, which is its place in the queue. 1: claimed, `due_ms` is the end of the lease.
    # 2: the service failed to run it; from `due_ms` on it waits again at its old place, `place_ms`.
    # What claims change is apart from the content, so that it stays dense and no payload is written twice.
    """CREATE TABLE event (
        id INTEGER PRIMARY KEY AUTOINCREMENT, queue_id INTEGER NOT NULL,
        state INTEGER NOT NULL DEFAULT 0, due_ms INTEGER NOT NULL, place_ms INTEGER NOT NULL,
        accepted_ms INTEGER NOT NULL, bytes INTEGER NOT NULL,
        attempts INTEGER NOT NULL DEFAULT 0, setbacks INTEGER NOT NULL DEFAULT 0
    )""",
    "CREATE INDEX event_waiting ON event (queue_id, due_ms) WHERE state = 0",
    "CREATE INDEX event_claimed ON event (due_ms) WHERE state <> 0",
    # `settings` and `dead_letter_arn` are those of the moment of acceptance, NULL for none.
    """CREATE TABLE event_content (
        id INTEGER PRIMARY KEY, request_id TEXT NOT NULL, qualifier TEXT NOT NULL,
        payload BLOB NOT NULL, trace TEXT NOT NULL, dead_letter_arn TEXT, settings TEXT
    )""",
    """CREATE TABLE event_invoke_config (
        account TEXT NOT NULL, region TEXT NOT NULL, function TEXT NOT NULL, qualifier TEXT NOT NULL,
        retry_attempts INTEGER, event_age_s INTEGER, on_success TEXT, on_failure TEXT, modified_us INTEGER NOT NULL,
        PRIMARY KEY (account, region, function, qualifier)
    ) WITHOUT ROWID""",
    """CREATE TABLE event_outbox (
        id INTEGER PRIMARY KEY AUTOINCREMENT, target_arn TEXT NOT NULL, message TEXT NOT NULL, body BLOB NOT NULL,
        created_ms INTEGER NOT NULL, due_ms INTEGER NOT NULL, tries INTEGER NOT NULL DEFAULT 0
    )""",
    "CREATE INDEX event_outbox_due ON event_outbox (due_ms)",
)
