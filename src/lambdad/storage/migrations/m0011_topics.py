"""SNS: topics, subscriptions, deduplication of FIFO topics, and what waits to be sent over HTTP."""

STATEMENTS = (
    # AUTOINCREMENT: what was begun for a row that is gone must never end in a new one. `published` counts the
    # messages of a FIFO topic, for sequence numbers.
    """CREATE TABLE topic (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        account TEXT NOT NULL, region TEXT NOT NULL, name TEXT NOT NULL,
        attributes TEXT NOT NULL, tags TEXT NOT NULL DEFAULT '{}', created_ms INTEGER NOT NULL,
        published INTEGER NOT NULL DEFAULT 0, unsubscribed INTEGER NOT NULL DEFAULT 0,
        UNIQUE (account, region, name)
    )""",
    """CREATE TABLE topic_subscription (
        id INTEGER PRIMARY KEY AUTOINCREMENT, topic_id INTEGER NOT NULL,
        unique_part TEXT NOT NULL UNIQUE, protocol TEXT NOT NULL, endpoint TEXT NOT NULL,
        owner TEXT NOT NULL, principal TEXT NOT NULL, attributes TEXT NOT NULL DEFAULT '{}',
        is_confirmed INTEGER NOT NULL, was_authenticated INTEGER NOT NULL, protects_deletion INTEGER NOT NULL DEFAULT 0,
        token TEXT NOT NULL DEFAULT '', created_ms INTEGER NOT NULL,
        UNIQUE (topic_id, protocol, endpoint)
    )""",
    "CREATE INDEX topic_subscription_http ON topic_subscription (id) WHERE protocol IN ('http', 'https')",
    "CREATE INDEX topic_subscription_pending ON topic_subscription (created_ms) WHERE is_confirmed = 0",
    # `scope` is the message group, or empty where deduplication is by topic.
    """CREATE TABLE topic_deduplication (
        topic_id INTEGER NOT NULL, scope TEXT NOT NULL, deduplication_id TEXT NOT NULL,
        published_ms INTEGER NOT NULL, message_id TEXT NOT NULL, sequence_number TEXT NOT NULL,
        PRIMARY KEY (topic_id, scope, deduplication_id)
    ) WITHOUT ROWID""",
    "CREATE INDEX topic_deduplication_published ON topic_deduplication (published_ms)",
    """CREATE TABLE topic_post (
        id INTEGER PRIMARY KEY AUTOINCREMENT, subscription_id INTEGER NOT NULL, due_ms INTEGER NOT NULL,
        tries INTEGER NOT NULL DEFAULT 0, headers TEXT NOT NULL, body TEXT NOT NULL
    )""",
    "CREATE INDEX topic_post_due ON topic_post (subscription_id, due_ms)",
)
