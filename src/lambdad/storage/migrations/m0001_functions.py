"""Functions, their versions and aliases, access keys and roles."""

STATEMENTS = (
    """CREATE TABLE function (
        account TEXT NOT NULL, region TEXT NOT NULL, name TEXT NOT NULL,
        reserved_concurrency INTEGER,
        tags TEXT NOT NULL DEFAULT '{}',
        recursive_loop TEXT NOT NULL DEFAULT 'Terminate',
        PRIMARY KEY (account, region, name)
    ) WITHOUT ROWID""",
    # Numbers of versions and generations are never reused, also not by a function that is created again under the same
    # name.
    """CREATE TABLE version_counter (
        account TEXT NOT NULL, region TEXT NOT NULL, name TEXT NOT NULL,
        last_version INTEGER NOT NULL DEFAULT 0, last_generation INTEGER NOT NULL DEFAULT 0,
        PRIMARY KEY (account, region, name)
    ) WITHOUT ROWID""",
    # A number of 0 is `$LATEST`. `settled` is 0 while the version is being prepared. `previous` is what calls are
    # served with while an update is in progress or after it failed, NULL when that is `document` itself.
    # `fingerprint` is the content that a published version was made from. `runtime_update` is the runtime management
    # configuration.
    """CREATE TABLE function_version (
        account TEXT NOT NULL, region TEXT NOT NULL, name TEXT NOT NULL, number INTEGER NOT NULL,
        settled INTEGER NOT NULL,
        code_sha256 TEXT NOT NULL, code_size INTEGER NOT NULL,
        document TEXT NOT NULL,
        previous TEXT, previous_code_sha256 TEXT,
        fingerprint TEXT, runtime_update TEXT,
        PRIMARY KEY (account, region, name, number)
    ) WITHOUT ROWID""",
    "CREATE INDEX function_version_unsettled ON function_version (settled) WHERE settled = 0",
    "CREATE INDEX function_version_code ON function_version (code_sha256)",
    "CREATE INDEX function_version_size ON function_version (account, region, code_size)",
    """CREATE TABLE alias (
        account TEXT NOT NULL, region TEXT NOT NULL, function TEXT NOT NULL, name TEXT NOT NULL,
        document TEXT NOT NULL,
        PRIMARY KEY (account, region, function, name)
    ) WITHOUT ROWID""",
    """CREATE TABLE access_key (
        id TEXT PRIMARY KEY, secret TEXT NOT NULL, account TEXT NOT NULL,
        label TEXT NOT NULL, created_at TEXT NOT NULL
    ) WITHOUT ROWID""",
    """CREATE TABLE role (
        account TEXT NOT NULL, name TEXT NOT NULL, document TEXT NOT NULL,
        PRIMARY KEY (account, name)
    ) WITHOUT ROWID""",
    # Small facts of the installation, such as the secret that signs code URLs.
    "CREATE TABLE setting (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
)
