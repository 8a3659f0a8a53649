"""EventBridge: buses, rules with the next firing of their schedules, targets, and deliveries that are tried again."""

STATEMENTS = (
    # The default bus of an account and region has a row as soon as something is kept about it. `rules_version` is
    # another random text after each change of the bus's rules, so that servers need not read them for each event.
    """CREATE TABLE event_bus (
        id INTEGER PRIMARY KEY AUTOINCREMENT, account TEXT NOT NULL, region TEXT NOT NULL, name TEXT NOT NULL,
        created_ms INTEGER NOT NULL, modified_ms INTEGER NOT NULL,
        settings TEXT NOT NULL, policy TEXT NOT NULL DEFAULT '', tags TEXT NOT NULL DEFAULT '{}',
        rules_version TEXT NOT NULL DEFAULT '',
        UNIQUE (account, region, name)
    )""",
    # `next_ms` is NULL for rules without a schedule, disabled ones, and schedules that have come to their end.
    """CREATE TABLE event_rule (
        id INTEGER PRIMARY KEY AUTOINCREMENT, bus_id INTEGER NOT NULL REFERENCES event_bus (id), name TEXT NOT NULL,
        settings TEXT NOT NULL, tags TEXT NOT NULL DEFAULT '{}',
        anchor_ms INTEGER NOT NULL, next_ms INTEGER,
        UNIQUE (bus_id, name)
    )""",
    "CREATE INDEX event_rule_next ON event_rule (next_ms) WHERE next_ms IS NOT NULL",
    """CREATE TABLE rule_target (
        rule_id INTEGER NOT NULL REFERENCES event_rule (id) ON DELETE CASCADE, id TEXT NOT NULL,
        arn TEXT NOT NULL, document TEXT NOT NULL,
        PRIMARY KEY (rule_id, id)
    ) WITHOUT ROWID""",
    "CREATE INDEX rule_target_arn ON rule_target (arn)",
    # Deliveries that failed for a while, and those to targets outside of this server. `target` is the target as it was
    # when the event came, `input` what it is to get, NULL when that is the event itself.
    """CREATE TABLE rule_delivery (
        id INTEGER PRIMARY KEY AUTOINCREMENT, due_ms INTEGER NOT NULL, created_ms INTEGER NOT NULL,
        tries INTEGER NOT NULL DEFAULT 0, rule_arn TEXT NOT NULL, target_id TEXT NOT NULL, target_arn TEXT NOT NULL,
        target TEXT NOT NULL, event TEXT NOT NULL, input TEXT, trace TEXT NOT NULL DEFAULT ''
    )""",
    "CREATE INDEX rule_delivery_due ON rule_delivery (due_ms)",
)
