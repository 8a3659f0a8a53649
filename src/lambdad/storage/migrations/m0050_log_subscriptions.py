"""Subscription filters of log groups: whom new events of a group are handed to."""

STATEMENTS = (
    # `delivered_segment` is the last of log_segment whose events were handed over.
    """CREATE TABLE log_subscription (
        group_id INTEGER NOT NULL REFERENCES log_group (id) ON DELETE CASCADE, name TEXT NOT NULL,
        pattern TEXT NOT NULL, destination TEXT NOT NULL, distribution TEXT NOT NULL, created_ms INTEGER NOT NULL,
        delivered_segment INTEGER NOT NULL,
        PRIMARY KEY (group_id, name)
    ) WITHOUT ROWID""",
)
