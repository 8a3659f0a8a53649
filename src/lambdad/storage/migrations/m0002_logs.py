"""CloudWatch Logs: groups, streams, and segments of events as they were flushed."""

STATEMENTS = (
    """CREATE TABLE log_group (
        id INTEGER PRIMARY KEY, account TEXT NOT NULL, region TEXT NOT NULL, name TEXT NOT NULL,
        created_ms INTEGER NOT NULL, retention_days INTEGER, tags TEXT NOT NULL DEFAULT '{}',
        UNIQUE (account, region, name)
    )""",
    """CREATE TABLE log_stream (
        id INTEGER PRIMARY KEY, group_id INTEGER NOT NULL REFERENCES log_group (id) ON DELETE CASCADE,
        name TEXT NOT NULL, created_ms INTEGER NOT NULL,
        first_event_ms INTEGER, last_event_ms INTEGER, last_ingestion_ms INTEGER,
        UNIQUE (group_id, name)
    )""",
    # One row holds the events of one stream between two flushes, so that a busy function costs few rows.
    """CREATE TABLE log_segment (
        id INTEGER PRIMARY KEY, group_id INTEGER NOT NULL REFERENCES log_group (id) ON DELETE CASCADE,
        stream_id INTEGER NOT NULL REFERENCES log_stream (id) ON DELETE CASCADE,
        first_ms INTEGER NOT NULL, last_ms INTEGER NOT NULL, ingested_ms INTEGER NOT NULL,
        events INTEGER NOT NULL, bytes INTEGER NOT NULL, data BLOB NOT NULL
    )""",
    "CREATE INDEX log_segment_group ON log_segment (group_id, last_ms)",
    "CREATE INDEX log_segment_stream ON log_segment (stream_id, id)",
)
