"""Managed policies of accounts, with their versions."""

STATEMENTS = (
    """CREATE TABLE managed_policy (
        account TEXT NOT NULL, name TEXT NOT NULL, document TEXT NOT NULL,
        PRIMARY KEY (account, name)
    ) WITHOUT ROWID""",
)
