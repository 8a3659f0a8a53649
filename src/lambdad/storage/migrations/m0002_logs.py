"""CloudWatch Logs: groups, streams, and segments of events as they were flushed."""

STATEMENTS = (
    # AUTOINCREMENT: an id must never come back. Writers remember the ids of their streams, and positions in pages and
    # event ids hold those of segments, also after a group or stream has been deleted.
    """CREATE TABLE log_group (
        id INTEGER PRIMARY KEY AUTOINCREMENT, account TEXT NOT NULL, region TEXT NOT NULL, name TEXT NOT NULL,
        created_ms INTEGER NOT NULL, retention_days INTEGER, group_class TEXT NOT NULL DEFAULT 'STANDARD',
        kms_key TEXT, deletion_protected INTEGER NOT NULL DEFAULT 0, tags TEXT NOT NULL DEFAULT '{}',
        UNIQUE (account, region, name)
    )""",
    """CREATE TABLE log_stream (
        id INTEGER PRIMARY KEY AUTOINCREMENT, group_id INTEGER NOT NULL REFERENCES log_group (id) ON DELETE CASCADE,
        name TEXT NOT NULL, created_ms INTEGER NOT NULL,
        first_event_ms INTEGER, last_event_ms INTEGER, last_ingestion_ms INTEGER,
        UNIQUE (group_id, name)
    )""",
    # One row holds the events of one stream between two flushes, so that a busy function costs few rows. No foreign
    # keys: deleting a group takes its streams at once, its segments bit by bit (log_garbage), so that others can write.
    """CREATE TABLE log_segment (
        id INTEGER PRIMARY KEY AUTOINCREMENT, group_id INTEGER NOT NULL, stream_id INTEGER NOT NULL,
        first_ms INTEGER NOT NULL, last_ms INTEGER NOT NULL, ingested_ms INTEGER NOT NULL,
        bytes INTEGER NOT NULL, data BLOB NOT NULL
    )""",
    "CREATE INDEX log_segment_group ON log_segment (group_id, first_ms, id, last_ms, stream_id)",
    "CREATE INDEX log_segment_stream ON log_segment (stream_id, first_ms, id, last_ms)",
    # Deleted groups and streams whose segments are still to be removed; one of the two is set.
    "CREATE TABLE log_garbage (id INTEGER PRIMARY KEY, group_id INTEGER, stream_id INTEGER)",
)
