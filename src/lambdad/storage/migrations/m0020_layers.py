"""Layers: their versions, each with its policy, and the counters of their numbers."""

STATEMENTS = (
    # Numbers are never reused, also not after every version of a layer was deleted.
    """CREATE TABLE layer_counter (
        account TEXT NOT NULL, region TEXT NOT NULL, name TEXT NOT NULL,
        last_version INTEGER NOT NULL,
        PRIMARY KEY (account, region, name)
    ) WITHOUT ROWID""",
    # `policy` is NULL until a first permission is added. Functions keep what they need of a layer version in their own
    # documents, so deleting one here takes nothing from them.
    """CREATE TABLE layer_version (
        account TEXT NOT NULL, region TEXT NOT NULL, name TEXT NOT NULL, version INTEGER NOT NULL,
        code_sha256 TEXT NOT NULL, code_size INTEGER NOT NULL,
        document TEXT NOT NULL, policy TEXT,
        PRIMARY KEY (account, region, name, version)
    ) WITHOUT ROWID""",
    "CREATE INDEX layer_version_size ON layer_version (account, region, code_size)",
)
