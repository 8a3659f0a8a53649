"""Roles and managed policies. Jobs change them over `IdentityTables`: checks and changes are one transaction."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime
from typing import Any, TypeVar

from lambdad.domain.roles import ManagedPolicy, PolicyVersion, Role
from lambdad.storage.engine import Engine, Transaction

T = TypeVar("T")


class IdentityTables:
    """The tables as one job sees them."""

    def __init__(self, tx: Transaction) -> None:
        self._tx = tx

    def role(self, account: str, name: str) -> Role | None:
        """The role of a name."""
        sql = "SELECT document FROM role WHERE account = :account AND name = :name"
        row = self._tx.one(sql, {"account": account, "name": name})
        return None if row is None else _role(row[0])

    def put_role(self, role: Role) -> None:
        """Stores a new role or the new state of one."""
        self._tx.run(
            "INSERT INTO role (account, name, document) VALUES (:account, :name, :document) "
            "ON CONFLICT (account, name) DO UPDATE SET document = excluded.document",
            {"account": role.account, "name": role.name, "document": _encode(role)},
        )

    def delete_role(self, account: str, name: str) -> None:
        """Removes a role; nothing happens when there is none."""
        sql = "DELETE FROM role WHERE account = :account AND name = :name"
        self._tx.run(sql, {"account": account, "name": name})

    def roles(self, account: str) -> list[Role]:
        """All roles of an account by name."""
        rows = self._tx.all("SELECT document FROM role WHERE account = :account ORDER BY name", {"account": account})
        return [_role(document) for (document,) in rows]

    def policy(self, account: str, name: str) -> ManagedPolicy | None:
        """The managed policy of a name."""
        sql = "SELECT document FROM managed_policy WHERE account = :account AND name = :name"
        row = self._tx.one(sql, {"account": account, "name": name})
        return None if row is None else _policy(row[0])

    def put_policy(self, policy: ManagedPolicy) -> None:
        """Stores a new policy or the new state of one."""
        self._tx.run(
            "INSERT INTO managed_policy (account, name, document) VALUES (:account, :name, :document) "
            "ON CONFLICT (account, name) DO UPDATE SET document = excluded.document",
            {"account": policy.account, "name": policy.name, "document": _encode(policy)},
        )

    def delete_policy(self, account: str, name: str) -> None:
        """Removes a policy; nothing happens when there is none."""
        sql = "DELETE FROM managed_policy WHERE account = :account AND name = :name"
        self._tx.run(sql, {"account": account, "name": name})


class Identities:
    """Roles and managed policies of all accounts."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def change(self, job: Callable[[IdentityTables], T]) -> T:
        """Runs a job over the tables in one transaction. What the job raises undoes it and is raised here."""
        return await self._engine.write(lambda tx: job(IdentityTables(tx)))

    async def role(self, account: str, name: str) -> Role | None:
        """The role of a name."""
        sql = "SELECT document FROM role WHERE account = :account AND name = :name"
        rows = await self._engine.read(sql, {"account": account, "name": name})
        return _role(rows[0][0]) if rows else None

    async def roles(self, account: str) -> list[Role]:
        """All roles of an account by name."""
        sql = "SELECT document FROM role WHERE account = :account ORDER BY name"
        return [_role(document) for (document,) in await self._engine.read(sql, {"account": account})]

    async def policy(self, account: str, name: str) -> ManagedPolicy | None:
        """The managed policy of a name."""
        sql = "SELECT document FROM managed_policy WHERE account = :account AND name = :name"
        rows = await self._engine.read(sql, {"account": account, "name": name})
        return _policy(rows[0][0]) if rows else None

    async def policies(self, account: str) -> list[ManagedPolicy]:
        """All managed policies of an account by name."""
        sql = "SELECT document FROM managed_policy WHERE account = :account ORDER BY name"
        return [_policy(document) for (document,) in await self._engine.read(sql, {"account": account})]


def _encode(value: Role | ManagedPolicy) -> str:
    return json.dumps(asdict(value), separators=(",", ":"), ensure_ascii=False, default=datetime.isoformat)


def _role(document: str) -> Role:
    members = _known(Role, json.loads(document))
    members["created_at"] = datetime.fromisoformat(members["created_at"])
    members["attached_policies"] = tuple(members["attached_policies"])
    return Role(**members)


def _policy(document: str) -> ManagedPolicy:
    members = _known(ManagedPolicy, json.loads(document))
    for name in ("created_at", "updated_at"):
        members[name] = datetime.fromisoformat(members[name])
    members["versions"] = tuple(
        PolicyVersion(**{**version, "created_at": datetime.fromisoformat(version["created_at"])})
        for version in members["versions"]
    )
    return ManagedPolicy(**members)


def _known(kind: type[Role] | type[ManagedPolicy], members: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in members.items() if name in kind.__dataclass_fields__}
