"""Metrics: series, and points of a minute each. One minute of one series may have several points."""

STATEMENTS = (
    # `dimensions` is JSON, sorted by name: [["FunctionName","greet"]].
    """CREATE TABLE metric_series (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        account TEXT NOT NULL, region TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL,
        dimensions TEXT NOT NULL, last_ms INTEGER NOT NULL,
        UNIQUE (account, region, namespace, name, dimensions)
    )""",
    # `samples` is JSON, [[value, how often]], NULL when all values are `minimum` or when they are not known.
    """CREATE TABLE metric_point (
        series_id INTEGER NOT NULL, at_ms INTEGER NOT NULL, unit TEXT NOT NULL,
        count REAL NOT NULL, sum REAL NOT NULL, minimum REAL NOT NULL, maximum REAL NOT NULL, samples TEXT
    )""",
    "CREATE INDEX metric_point_series ON metric_point (series_id, at_ms)",
    "CREATE INDEX metric_point_time ON metric_point (at_ms)",
)
