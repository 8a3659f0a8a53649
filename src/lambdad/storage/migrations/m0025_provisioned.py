"""Provisioned concurrency of versions and aliases. How far it has come is not stored: it ends with the server."""

STATEMENTS = (
    """CREATE TABLE provisioned_concurrency (
        account TEXT NOT NULL, region TEXT NOT NULL, function TEXT NOT NULL,
        qualifier TEXT NOT NULL, -- the number of a version or the name of an alias
        requested INTEGER NOT NULL, last_modified TEXT NOT NULL,
        PRIMARY KEY (account, region, function, qualifier)
    ) WITHOUT ROWID""",
)
