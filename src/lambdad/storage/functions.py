"""Functions, their versions and aliases, as they are kept.

Changes are made by jobs over a `FunctionTables`, each in one transaction, so that what a job has read still holds when
it writes. Versions are numbered; `$LATEST` is number 0 in the tables.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import TypeVar

from lambdad.domain.functions import (
    LATEST,
    Alias,
    Function,
    FunctionSnapshot,
    FunctionVersion,
    RuntimeUpdate,
    StoredVersion,
)
from lambdad.domain.layers import trees_of
from lambdad.storage import documents
from lambdad.storage.engine import Engine, Row, Transaction

T = TypeVar("T")

_FUNCTION_COLUMNS = "account, region, name, reserved_concurrency, tags, recursive_loop"
_KEY = "account = :account AND region = :region AND name = :name"
_ALIAS_KEY = "account = :account AND region = :region AND function = :name"


@dataclass(frozen=True, slots=True)
class FunctionKey:
    """What identifies a function."""

    account: str
    region: str
    name: str

    @property
    def arguments(self) -> dict[str, object]:
        return {"account": self.account, "region": self.region, "name": self.name}


@dataclass(frozen=True, slots=True)
class VersionKey:
    """What identifies a version; `version` is `$LATEST` or a number as text."""

    function: FunctionKey
    version: str

    @property
    def arguments(self) -> dict[str, object]:
        return {**self.function.arguments, "number": _number(self.version)}


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountUsage:
    """What an account has in a region."""

    code_bytes: int
    functions: int
    set_aside_concurrency: int
    """What functions reserve, and what is provisioned of functions that reserve nothing."""


class FunctionTables:
    """The tables as a job sees them."""

    def __init__(self, transaction: Transaction) -> None:
        self._tx = transaction
        self.transaction = transaction

    # --- functions ---

    def function(self, key: FunctionKey) -> Function | None:
        row = self._tx.one(f"SELECT {_FUNCTION_COLUMNS} FROM function WHERE {_KEY}", key.arguments)
        return None if row is None else _function(row)

    def put_function(self, function: Function) -> None:
        self._tx.run(
            "INSERT INTO function (account, region, name, reserved_concurrency, tags, recursive_loop)"
            " VALUES (:account, :region, :name, :reserved_concurrency, :tags, :recursive_loop)"
            " ON CONFLICT (account, region, name) DO UPDATE SET reserved_concurrency = excluded.reserved_concurrency,"
            " tags = excluded.tags, recursive_loop = excluded.recursive_loop",
            {**asdict(function), "tags": json.dumps(dict(function.tags), ensure_ascii=False)},
        )

    def delete_function(self, key: FunctionKey) -> bool:
        """Deletes a function with its versions, aliases and settings; its counter stays. False if it is not there."""
        for table in (
            "provisioned_concurrency", "event_invoke_config", "resource_policy", "function_url",
            "function_code_signing", "alias",
        ):  # fmt: skip
            self._tx.run(f"DELETE FROM {table} WHERE {_ALIAS_KEY}", key.arguments)
        self._tx.run(f"DELETE FROM function_version WHERE {_KEY}", key.arguments)
        return self._tx.run(f"DELETE FROM function WHERE {_KEY}", key.arguments) > 0

    def set_aside_by_others(self, key: FunctionKey) -> int:
        """Concurrency that the other functions of the account and region reserve or have provisioned in all."""
        row = self._tx.one(
            f"SELECT {_SET_ASIDE} FROM function WHERE account = :account AND region = :region AND name <> :name",
            key.arguments,
        )
        return 0 if row is None else int(row[0])

    def code_bytes(self, account: str, region: str) -> int:
        """Bytes of the code of every version and of every layer version of the account in the region."""
        row = self._tx.one(_CODE_BYTES, {"account": account, "region": region})
        return 0 if row is None else int(row[0])

    def next_generation(self, key: FunctionKey) -> int:
        """A number that no version of this name had before, also not one of a deleted function."""
        return self._next(key, "last_generation")

    def next_version(self, key: FunctionKey) -> str:
        """The number of a version to publish; numbers are never reused."""
        return str(self._next(key, "last_version"))

    def _next(self, key: FunctionKey, column: str) -> int:
        row = self._tx.one(
            f"INSERT INTO version_counter (account, region, name, {column}) VALUES (:account, :region, :name, 1)"
            f" ON CONFLICT (account, region, name) DO UPDATE SET {column} = {column} + 1 RETURNING {column}",
            key.arguments,
        )
        assert row is not None
        return int(row[0])

    # --- versions ---

    def version(self, key: VersionKey) -> StoredVersion | None:
        row = self._tx.one(
            f"SELECT document, previous FROM function_version WHERE {_KEY} AND number = :number", key.arguments
        )
        return None if row is None else _stored(row)

    def put_version(self, stored: StoredVersion, *, settled: bool, fingerprint: str | None = None) -> None:
        """Inserts or replaces a version. `settled` is False while it waits for its preparation.

        `fingerprint` is what `latest_published` gives back; None leaves it as it is.
        """
        current, previous = stored.current, stored.previous
        self._tx.run(
            "INSERT INTO function_version (account, region, name, number, settled, code_sha256, code_size, document,"
            " previous, previous_code_sha256, fingerprint) VALUES (:account, :region, :name, :number, :settled,"
            " :code_sha256, :code_size, :document, :previous, :previous_code_sha256, :fingerprint)"
            " ON CONFLICT (account, region, name, number) DO UPDATE SET settled = excluded.settled,"
            " code_sha256 = excluded.code_sha256, code_size = excluded.code_size, document = excluded.document,"
            " previous = excluded.previous, previous_code_sha256 = excluded.previous_code_sha256,"
            " fingerprint = COALESCE(excluded.fingerprint, fingerprint)",
            {
                **version_key(current).arguments,
                "settled": int(settled),
                "code_sha256": current.code_sha256,
                "code_size": current.code_size,
                "document": documents.encode(current),
                "previous": None if previous is None else documents.encode(previous),
                "previous_code_sha256": None if previous is None else previous.code_sha256,
                "fingerprint": fingerprint,
            },
        )

    def show(self, version: FunctionVersion) -> None:
        """Replaces what an existing version shows; what it serves and whether it is settled stay."""
        self._tx.run(
            f"UPDATE function_version SET document = :document WHERE {_KEY} AND number = :number",
            {**version_key(version).arguments, "document": documents.encode(version)},
        )

    def delete_version(self, key: VersionKey) -> bool:
        """With what belongs to it. False if it is not there."""
        self._delete_of_qualifier(key.function, key.version)
        return self._tx.run(f"DELETE FROM function_version WHERE {_KEY} AND number = :number", key.arguments) > 0

    def latest_published(self, key: FunctionKey) -> tuple[FunctionVersion, str] | None:
        """The published version with the highest number, and its fingerprint; None if there is none."""
        row = self._tx.one(
            f"SELECT document, fingerprint FROM function_version WHERE {_KEY} AND number > 0"
            " ORDER BY number DESC LIMIT 1",
            key.arguments,
        )
        return None if row is None else (documents.decode_version(row[0]), row[1] or "")

    def put_runtime_update(self, key: VersionKey, update: RuntimeUpdate) -> bool:
        """False if there is no such version."""
        changed = self._tx.run(
            f"UPDATE function_version SET runtime_update = :update WHERE {_KEY} AND number = :number",
            {**key.arguments, "update": json.dumps(asdict(update))},
        )
        return changed > 0

    # --- aliases ---

    def alias(self, key: FunctionKey, name: str) -> Alias | None:
        row = self._tx.one(
            f"SELECT document FROM alias WHERE {_ALIAS_KEY} AND name = :alias", {**key.arguments, "alias": name}
        )
        return None if row is None else documents.decode_alias(row[0])

    def aliases(self, key: FunctionKey) -> list[Alias]:
        """All aliases of a function, by name."""
        rows = self._tx.all(f"SELECT document FROM alias WHERE {_ALIAS_KEY} ORDER BY name", key.arguments)
        return [documents.decode_alias(row[0]) for row in rows]

    def put_alias(self, alias: Alias) -> None:
        self._tx.run(
            "INSERT INTO alias (account, region, function, name, document)"
            " VALUES (:account, :region, :function, :name, :document)"
            " ON CONFLICT (account, region, function, name) DO UPDATE SET document = excluded.document",
            {
                "account": alias.account,
                "region": alias.region,
                "function": alias.function,
                "name": alias.name,
                "document": documents.encode(alias),
            },
        )

    def delete_alias(self, key: FunctionKey, name: str) -> bool:
        """With what belongs to it. False if it is not there."""
        self._delete_of_qualifier(key, name)
        arguments = {**key.arguments, "alias": name}
        return self._tx.run(f"DELETE FROM alias WHERE {_ALIAS_KEY} AND name = :alias", arguments) > 0

    def _delete_of_qualifier(self, key: FunctionKey, qualifier: str) -> None:
        """What versions and aliases have that tables of their own hold."""
        for table in ("provisioned_concurrency", "resource_policy"):
            self._tx.run(
                f"DELETE FROM {table} WHERE {_ALIAS_KEY} AND qualifier = :qualifier",
                {**key.arguments, "qualifier": qualifier},
            )


class FunctionRepository:
    """The stored functions of an engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.engine = engine

    async def write(self, job: Callable[[FunctionTables], T]) -> T:
        """Runs a job in one transaction; returns its result once that is on disk."""
        return await self._engine.write(lambda transaction: job(FunctionTables(transaction)))

    async def load(self, account: str, region: str, name: str) -> FunctionSnapshot | None:
        """A function with everything that calls need, as of one moment; None if there is none."""
        key = FunctionKey(account, region, name)
        rows = await self._engine.read(
            f"SELECT 'function', tags, recursive_loop, reserved_concurrency FROM function WHERE {_KEY}"
            f" UNION ALL SELECT 'version', document, previous, NULL FROM function_version WHERE {_KEY}"
            f" UNION ALL SELECT 'alias', document, NULL, NULL FROM alias WHERE {_ALIAS_KEY}"
            " UNION ALL SELECT 'provisioned', qualifier, NULL, requested FROM provisioned_concurrency"
            f" WHERE {_ALIAS_KEY}"
            f" UNION ALL SELECT 'policy', qualifier, document, NULL FROM resource_policy WHERE {_ALIAS_KEY}",
            key.arguments,
        )
        function: Function | None = None
        versions: dict[str, StoredVersion] = {}
        aliases: dict[str, Alias] = {}
        provisioned: dict[str, int] = {}
        policies: dict[str, str] = {}
        for kind, document, second, number in rows:
            if kind == "function":
                function = _function((account, region, name, number, document, second))
            elif kind == "provisioned":
                provisioned[document] = number
            elif kind == "version":
                stored = _stored((document, second))
                versions[stored.current.version] = stored
            elif kind == "policy":
                policies[document] = second
            else:
                alias = documents.decode_alias(document)
                aliases[alias.name] = alias
        if function is None:
            return None
        return FunctionSnapshot(
            function=function, versions=versions, aliases=aliases, provisioned=provisioned, policies=policies
        )

    async def function(self, key: FunctionKey) -> Function | None:
        rows = await self._engine.read(f"SELECT {_FUNCTION_COLUMNS} FROM function WHERE {_KEY}", key.arguments)
        return _function(rows[0]) if rows else None

    async def version(self, key: VersionKey) -> tuple[Function, StoredVersion] | None:
        """A version and the function that it belongs to."""
        rows = await self._engine.read(
            f"SELECT {_FUNCTION_COLUMNS}, document, previous FROM function JOIN function_version"
            f" USING (account, region, name) WHERE {_KEY} AND number = :number",
            key.arguments,
        )
        return (_function(rows[0][:6]), _stored(rows[0][6:])) if rows else None

    async def alias(self, key: FunctionKey, name: str) -> Alias | None:
        rows = await self._engine.read(
            f"SELECT document FROM alias WHERE {_ALIAS_KEY} AND name = :alias", {**key.arguments, "alias": name}
        )
        return documents.decode_alias(rows[0][0]) if rows else None

    async def runtime_update(self, key: VersionKey) -> RuntimeUpdate:
        rows = await self._engine.read(
            f"SELECT runtime_update FROM function_version WHERE {_KEY} AND number = :number", key.arguments
        )
        return RuntimeUpdate(**json.loads(rows[0][0])) if rows and rows[0][0] is not None else RuntimeUpdate()

    async def list_latest(self, account: str, region: str, *, after: str = "", limit: int) -> list[FunctionVersion]:
        """`$LATEST` of the account's functions by name, of the names behind `after`."""
        rows = await self._engine.read(
            "SELECT document FROM function_version"
            " WHERE account = :account AND region = :region AND name > :after AND number = 0"
            " ORDER BY name LIMIT :limit",
            {"account": account, "region": region, "after": after, "limit": limit},
        )
        return [documents.decode_version(row[0]) for row in rows]

    async def list_all(
        self, account: str, region: str, *, after: tuple[str, int] = ("", 0), limit: int
    ) -> list[FunctionVersion]:
        """Every version of every function, by name and number, behind the name and number `after`."""
        rows = await self._engine.read(
            "SELECT document FROM function_version"
            " WHERE account = :account AND region = :region AND (name, number) > (:name, :number)"
            " ORDER BY name, number LIMIT :limit",
            {"account": account, "region": region, "name": after[0], "number": after[1], "limit": limit},
        )
        return [documents.decode_version(row[0]) for row in rows]

    async def list_versions(self, key: FunctionKey, *, after: int = -1, limit: int) -> list[FunctionVersion]:
        """`$LATEST` (number 0), then the published versions in order, of the numbers behind `after`."""
        rows = await self._engine.read(
            f"SELECT document FROM function_version WHERE {_KEY} AND number > :after ORDER BY number LIMIT :limit",
            {**key.arguments, "after": after, "limit": limit},
        )
        return [documents.decode_version(row[0]) for row in rows]

    async def list_aliases(self, key: FunctionKey) -> list[Alias]:
        """All aliases of a function, by name."""
        rows = await self._engine.read(f"SELECT document FROM alias WHERE {_ALIAS_KEY} ORDER BY name", key.arguments)
        return [documents.decode_alias(row[0]) for row in rows]

    async def usage(self, account: str, region: str) -> AccountUsage:
        arguments: Mapping[str, object] = {"account": account, "region": region}
        rows = await self._engine.read(
            f"SELECT ({_CODE_BYTES}), COUNT(*), {_SET_ASIDE} FROM function"
            " WHERE account = :account AND region = :region",
            arguments,
        )
        code_bytes, functions, set_aside = rows[0]
        return AccountUsage(code_bytes=code_bytes, functions=functions, set_aside_concurrency=set_aside)

    async def reservations(self) -> list[tuple[FunctionKey, int]]:
        """Every function that reserves concurrency, and how much."""
        rows = await self._engine.read(
            "SELECT account, region, name, reserved_concurrency FROM function WHERE reserved_concurrency IS NOT NULL"
        )
        return [(FunctionKey(*row[:3]), row[3]) for row in rows]

    async def unsettled(self) -> list[VersionKey]:
        """Versions whose preparation was not finished."""
        rows = await self._engine.read(
            "SELECT account, region, name, number FROM function_version WHERE settled = 0"
            " ORDER BY account, region, name, number"
        )
        return [VersionKey(FunctionKey(*row[:3]), _version(row[3])) for row in rows]

    async def code_in_use(self) -> set[str]:
        """The base64 SHA-256 of every archive and merged tree that something needs: a layer version, or a version of a
        function, also one that only serves during an update.
        """
        rows = await self._engine.read(
            "SELECT code_sha256 FROM function_version UNION"
            " SELECT previous_code_sha256 FROM function_version WHERE previous_code_sha256 IS NOT NULL UNION"
            " SELECT code_sha256 FROM layer_version"
        )
        found = {row[0] for row in rows}
        rows = await self._engine.read(
            "SELECT json_extract(document, '$.layers') FROM function_version UNION"
            " SELECT json_extract(previous, '$.layers') FROM function_version WHERE previous IS NOT NULL"
        )
        for row in rows:
            found |= trees_of(documents.decode_layers(row[0]))
        return found


_SUM = "(SELECT COALESCE(SUM(code_size), 0) FROM {} WHERE account = :account AND region = :region)"
_CODE_BYTES = f"SELECT {_SUM.format('function_version')} + {_SUM.format('layer_version')}"

_SET_ASIDE = (
    "COALESCE(SUM(COALESCE(reserved_concurrency, (SELECT SUM(requested) FROM provisioned_concurrency AS p"
    " WHERE p.account = function.account AND p.region = function.region AND p.function = function.name), 0)), 0)"
)

_PUBLISHED = re.compile(r"[1-9][0-9]{0,17}", re.ASCII)
_NO_VERSION = -1

_VOLATILE = (
    "version", "generation", "revision_id", "last_modified", "state", "state_reason", "state_reason_code",
    "last_update_status", "last_update_status_reason", "last_update_status_reason_code",
)  # fmt: skip


def fingerprint(version: FunctionVersion) -> str:
    """A digest of what a version does: code and configuration, not its number, revision and states."""
    content = {name: value for name, value in asdict(version).items() if name not in _VOLATILE}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def function_key(value: Function | FunctionVersion) -> FunctionKey:
    return FunctionKey(value.account, value.region, value.name)


def version_key(version: FunctionVersion) -> VersionKey:
    return VersionKey(function_key(version), version.version)


def _number(version: str) -> int:
    if version == LATEST:
        return 0
    # `0`, `01` and numbers that no column holds are no version's.
    return int(version) if _PUBLISHED.fullmatch(version) else _NO_VERSION


def _version(number: int) -> str:
    return LATEST if number == 0 else str(number)


def _function(row: Row) -> Function:
    account, region, name, reserved, tags, loop = row
    return Function(
        account=account,
        region=region,
        name=name,
        reserved_concurrency=reserved,
        tags=json.loads(tags),
        recursive_loop=loop,
    )


def _stored(row: Row) -> StoredVersion:
    document, previous = row
    return StoredVersion(
        current=documents.decode_version(document),
        previous=None if previous is None else documents.decode_version(previous),
    )
