"""Resource policies of functions, one for each qualifier that has one; the qualifier is empty for the function."""

STATEMENTS = (
    """CREATE TABLE resource_policy (
        account TEXT NOT NULL, region TEXT NOT NULL, function TEXT NOT NULL, qualifier TEXT NOT NULL,
        document TEXT NOT NULL, revision_id TEXT NOT NULL,
        PRIMARY KEY (account, region, function, qualifier)
    ) WITHOUT ROWID""",
)
