"""Event source mappings, and how far each has read the shards of its stream."""

STATEMENTS = (
    """CREATE TABLE event_source_mapping (
        uuid TEXT PRIMARY KEY, account TEXT NOT NULL, region TEXT NOT NULL,
        function TEXT NOT NULL, qualifier TEXT, source_arn TEXT NOT NULL,
        state TEXT NOT NULL, is_enabled INTEGER NOT NULL, settings TEXT NOT NULL, tags TEXT NOT NULL DEFAULT '{}',
        last_result TEXT NOT NULL, modified_us INTEGER NOT NULL
    ) WITHOUT ROWID""",
    "CREATE INDEX event_source_mapping_place ON event_source_mapping (account, region, uuid)",
    "CREATE INDEX event_source_mapping_source ON event_source_mapping (source_arn)",
    # `document` is the state of one shard: see domain/stream_positions.py.
    """CREATE TABLE mapping_checkpoint (
        mapping TEXT NOT NULL REFERENCES event_source_mapping (uuid) ON DELETE CASCADE, shard TEXT NOT NULL,
        document TEXT NOT NULL,
        PRIMARY KEY (mapping, shard)
    ) WITHOUT ROWID""",
)
