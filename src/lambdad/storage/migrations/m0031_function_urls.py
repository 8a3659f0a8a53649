"""Function URLs: one for a function, one for each of its aliases. The qualifier is empty for the function."""

STATEMENTS = (
    # `cors` is a JSON document, NULL for none.
    """CREATE TABLE function_url (
        account TEXT NOT NULL, region TEXT NOT NULL, function TEXT NOT NULL, qualifier TEXT NOT NULL,
        id TEXT NOT NULL UNIQUE,
        auth_type TEXT NOT NULL, cors TEXT, invoke_mode TEXT NOT NULL,
        created TEXT NOT NULL, last_modified TEXT NOT NULL,
        PRIMARY KEY (account, region, function, qualifier)
    ) WITHOUT ROWID""",
)
