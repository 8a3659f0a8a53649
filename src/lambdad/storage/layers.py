"""Layer versions and their policies, as they are kept."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from typing import TypeVar

from lambdad.domain.layer_policies import LayerPolicy
from lambdad.domain.layers import LayerReference, LayerVersion
from lambdad.storage.engine import Engine, Transaction

T = TypeVar("T")

_LAYER = "account = :account AND region = :region AND name = :name"
_VERSION = f"{_LAYER} AND version = :version"
# A version that does not say what it is compatible with is found by no filter.
_MATCHES = (
    "(:runtime IS NULL OR :runtime IN (SELECT value FROM json_each(document, '$.compatible_runtimes')))"
    " AND (:architecture IS NULL"
    " OR :architecture IN (SELECT value FROM json_each(document, '$.compatible_architectures')))"
)
_MEMBERS = frozenset(LayerVersion.__dataclass_fields__)


def next_version(tx: Transaction, layer: LayerReference) -> int:
    """The number of a version to publish; numbers are never reused."""
    row = tx.one(
        "INSERT INTO layer_counter (account, region, name, last_version) VALUES (:account, :region, :name, 1)"
        " ON CONFLICT (account, region, name) DO UPDATE SET last_version = last_version + 1 RETURNING last_version",
        _key(layer),
    )
    assert row is not None
    return int(row[0])


def put(tx: Transaction, layer: LayerVersion) -> None:
    """Inserts a version that is not there yet."""
    tx.run(
        "INSERT INTO layer_version (account, region, name, version, code_sha256, code_size, document)"
        " VALUES (:account, :region, :name, :version, :code_sha256, :code_size, :document)",
        {
            **_key(layer.reference),
            "version": layer.version,
            "code_sha256": layer.code_sha256,
            "code_size": layer.code_size,
            "document": json.dumps(asdict(layer), separators=(",", ":"), ensure_ascii=False),
        },
    )


def find(tx: Transaction, layer: LayerReference, version: int) -> tuple[LayerVersion, LayerPolicy] | None:
    """A version with its policy, which is empty if it has none."""
    row = tx.one(f"SELECT document, policy FROM layer_version WHERE {_VERSION}", {**_key(layer), "version": version})
    return None if row is None else (_version(row[0]), _policy(row[1]))


def put_policy(tx: Transaction, layer: LayerReference, version: int, policy: LayerPolicy) -> None:
    """Replaces the policy of a version that is there."""
    tx.run(
        f"UPDATE layer_version SET policy = :policy WHERE {_VERSION}",
        {**_key(layer), "version": version, "policy": json.dumps(asdict(policy)) if policy.statements else None},
    )


def delete(tx: Transaction, layer: LayerReference, version: int) -> None:
    """Deletes a version and its policy; none there is fine."""
    tx.run(f"DELETE FROM layer_version WHERE {_VERSION}", {**_key(layer), "version": version})


class LayerRepository:
    """The stored layers of an engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def write(self, job: Callable[[Transaction], T]) -> T:
        """Runs a job in one transaction; returns its result once that is on disk."""
        return await self._engine.write(job)

    async def find(self, layer: LayerReference, version: int) -> tuple[LayerVersion, LayerPolicy] | None:
        """A version with its policy, which is empty if it has none."""
        rows = await self._engine.read(
            f"SELECT document, policy FROM layer_version WHERE {_VERSION}", {**_key(layer), "version": version}
        )
        return (_version(rows[0][0]), _policy(rows[0][1])) if rows else None

    async def list_versions(
        self, layer: LayerReference, *, runtime: str | None, architecture: str | None, before: int, limit: int
    ) -> list[LayerVersion]:
        """Versions that match, with numbers below `before`, the newest first."""
        rows = await self._engine.read(
            f"SELECT document FROM layer_version WHERE {_LAYER} AND version < :before AND {_MATCHES}"
            " ORDER BY version DESC LIMIT :limit",
            {
                **_key(layer), "before": before, "limit": limit,
                "runtime": runtime, "architecture": architecture,
            },
        )  # fmt: skip
        return [_version(row[0]) for row in rows]

    async def list_layers(
        self, account: str, region: str, *, runtime: str | None, architecture: str | None, after: str, limit: int
    ) -> list[LayerVersion]:
        """The newest matching version of each layer of the account, by name, of the names behind `after`."""
        # SQLite takes the other columns of an aggregate from the row that has the maximum.
        rows = await self._engine.read(
            "SELECT document, MAX(version) FROM layer_version"
            f" WHERE account = :account AND region = :region AND name > :after AND {_MATCHES}"
            " GROUP BY name ORDER BY name LIMIT :limit",
            {
                "account": account, "region": region, "after": after, "limit": limit,
                "runtime": runtime, "architecture": architecture,
            },
        )  # fmt: skip
        return [_version(row[0]) for row in rows]


def _key(layer: LayerReference) -> dict[str, object]:
    return {"account": layer.account, "region": layer.region, "name": layer.name}


def _version(document: str) -> LayerVersion:
    members = {name: value for name, value in json.loads(document).items() if name in _MEMBERS}
    for name in ("compatible_runtimes", "compatible_architectures"):
        if members.get(name) is not None:
            members[name] = tuple(members[name])
    return LayerVersion(**members)


def _policy(document: str | None) -> LayerPolicy:
    if document is None:
        return LayerPolicy()
    members = json.loads(document)
    return LayerPolicy(statements=tuple(members["statements"]), revision_id=members["revision_id"])
