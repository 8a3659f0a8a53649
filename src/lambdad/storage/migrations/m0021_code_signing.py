"""Code signing configurations, and which function has which."""

STATEMENTS = (
    """CREATE TABLE code_signing_config (
        account TEXT NOT NULL, region TEXT NOT NULL, id TEXT NOT NULL,
        document TEXT NOT NULL, tags TEXT NOT NULL,
        PRIMARY KEY (account, region, id)
    ) WITHOUT ROWID""",
    # At most one for each function; a configuration that a function has cannot be deleted.
    """CREATE TABLE function_code_signing (
        account TEXT NOT NULL, region TEXT NOT NULL, function TEXT NOT NULL, config_id TEXT NOT NULL,
        PRIMARY KEY (account, region, function)
    ) WITHOUT ROWID""",
    "CREATE INDEX function_code_signing_config ON function_code_signing (account, region, config_id, function)",
)
