"""SQS: queues, their messages, the groups of FIFO queues, deduplication, and tasks that move messages."""

STATEMENTS = (
    # AUTOINCREMENT wherever an id stands in a receipt handle or a sequence number: it must never come back.
    """CREATE TABLE queue (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        account TEXT NOT NULL, region TEXT NOT NULL, name TEXT NOT NULL,
        bucket INTEGER NOT NULL, created_ms INTEGER NOT NULL, modified_ms INTEGER NOT NULL, purged_ms INTEGER,
        settings TEXT NOT NULL, tags TEXT NOT NULL DEFAULT '{}',
        dead_letter_arn TEXT,
        UNIQUE (account, region, name)
    )""",
    "CREATE INDEX queue_dead_letter ON queue (dead_letter_arn) WHERE dead_letter_arn IS NOT NULL",
    # The messages of a queue are those of its bucket. A purge or a deletion sets `queue_id` to NULL and is done; the
    # messages are removed bit by bit, so that others can write. `stored` counts the messages.
    """CREATE TABLE queue_bucket (
        id INTEGER PRIMARY KEY AUTOINCREMENT, queue_id INTEGER, stored INTEGER NOT NULL DEFAULT 0
    )""",
    "CREATE INDEX queue_bucket_garbage ON queue_bucket (id) WHERE queue_id IS NULL",
    # Names that may not be used again yet.
    """CREATE TABLE queue_deleted (
        account TEXT NOT NULL, region TEXT NOT NULL, name TEXT NOT NULL, deleted_ms INTEGER NOT NULL,
        PRIMARY KEY (account, region, name)
    ) WITHOUT ROWID""",
    # What receiving changes is apart from the content, so that it stays dense and no body is written twice.
    # `group_name` is set in FIFO queues only.
    """CREATE TABLE queue_message (
        id INTEGER PRIMARY KEY AUTOINCREMENT, bucket INTEGER NOT NULL,
        visible_ms INTEGER NOT NULL, receives INTEGER NOT NULL DEFAULT 0,
        sent_ms INTEGER NOT NULL, received_ms INTEGER, first_received_ms INTEGER,
        group_name TEXT
    )""",
    "CREATE INDEX queue_message_visible ON queue_message (bucket, visible_ms, receives)",
    "CREATE INDEX queue_message_sent ON queue_message (bucket, sent_ms)",
    "CREATE INDEX queue_message_group ON queue_message (bucket, group_name, id) WHERE group_name IS NOT NULL",
    # `earlier_receives` were made in the queue that the message was moved from, `source_arn`.
    """CREATE TABLE queue_message_content (
        id INTEGER PRIMARY KEY, message_id TEXT NOT NULL, sender_id TEXT NOT NULL, body TEXT NOT NULL,
        attributes TEXT, trace_header TEXT, group_id TEXT, deduplication_id TEXT,
        source_arn TEXT, earlier_receives INTEGER NOT NULL DEFAULT 0
    )""",
    # One row for each group of a FIFO queue that has messages. `due_ms`: from when its first message, number `head`,
    # can be received; in the future while a message of the group is in flight.
    """CREATE TABLE queue_group (
        bucket INTEGER NOT NULL, name TEXT NOT NULL, due_ms INTEGER NOT NULL, head INTEGER NOT NULL,
        PRIMARY KEY (bucket, name)
    ) WITHOUT ROWID""",
    "CREATE INDEX queue_group_due ON queue_group (bucket, due_ms, head)",
    # `scope` is the message group, or empty where deduplication is by queue.
    """CREATE TABLE queue_deduplication (
        bucket INTEGER NOT NULL, scope TEXT NOT NULL, deduplication_id TEXT NOT NULL,
        sent_ms INTEGER NOT NULL, message_id TEXT NOT NULL, row_id INTEGER NOT NULL,
        PRIMARY KEY (bucket, scope, deduplication_id)
    ) WITHOUT ROWID""",
    "CREATE INDEX queue_deduplication_sent ON queue_deduplication (sent_ms)",
    # What a receive call with an attempt id got: message, count of receipts and end of visibility of each, as JSON.
    """CREATE TABLE queue_receive_attempt (
        bucket INTEGER NOT NULL, attempt_id TEXT NOT NULL, received_ms INTEGER NOT NULL, messages TEXT NOT NULL,
        PRIMARY KEY (bucket, attempt_id)
    ) WITHOUT ROWID""",
    "CREATE INDEX queue_receive_attempt_received ON queue_receive_attempt (received_ms)",
    """CREATE TABLE queue_move_task (
        id TEXT PRIMARY KEY, source_arn TEXT NOT NULL, destination_arn TEXT, rate INTEGER,
        status TEXT NOT NULL, started_ms INTEGER NOT NULL, to_move INTEGER NOT NULL, moved INTEGER NOT NULL DEFAULT 0,
        failure TEXT
    ) WITHOUT ROWID""",
    "CREATE INDEX queue_move_task_source ON queue_move_task (source_arn, started_ms)",
    "CREATE INDEX queue_move_task_running ON queue_move_task (status) WHERE status = 'RUNNING'",
)
