"""Issued access keys, and the secrets of the installation."""

from __future__ import annotations

import base64
import secrets
from dataclasses import dataclass
from datetime import datetime

from lambdad.storage.engine import Engine, Transaction

SECRET_BYTES = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessKey:
    """A key that was issued and not revoked."""

    access_key_id: str
    secret: str
    account: str
    label: str
    created_at: datetime


class AccessKeys:
    """The issued keys. Their secrets must be readable: signatures are computed from them."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def add(self, key: AccessKey) -> None:
        """Stores a new key."""
        args = {
            "id": key.access_key_id,
            "secret": key.secret,
            "account": key.account,
            "label": key.label,
            "created_at": key.created_at.isoformat(),
        }
        sql = (
            "INSERT INTO access_key (id, secret, account, label, created_at) "
            "VALUES (:id, :secret, :account, :label, :created_at)"
        )
        await self._engine.write(lambda tx: tx.run(sql, args))

    async def remove(self, access_key_id: str) -> bool:
        """Revokes a key; False when there is none of this id."""
        sql = "DELETE FROM access_key WHERE id = :id"
        return await self._engine.write(lambda tx: tx.run(sql, {"id": access_key_id})) > 0

    async def all(self) -> list[AccessKey]:
        """Every key, oldest first."""
        sql = "SELECT id, secret, account, label, created_at FROM access_key ORDER BY created_at, id"
        return [
            AccessKey(
                access_key_id=key_id,
                secret=secret,
                account=account,
                label=label,
                created_at=datetime.fromisoformat(created_at),
            )
            for key_id, secret, account, label, created_at in await self._engine.read(sql)
        ]


async def installation_secret(engine: Engine, name: str) -> bytes:
    """A secret of this installation, 32 bytes, made at its first use: for signed links, for temporary keys."""
    fresh = base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode("ascii")

    def take(tx: Transaction) -> str:
        args = {"name": f"secret.{name}", "value": fresh}
        tx.run("INSERT INTO setting (name, value) VALUES (:name, :value) ON CONFLICT (name) DO NOTHING", args)
        row = tx.one("SELECT value FROM setting WHERE name = :name", {"name": f"secret.{name}"})
        assert row is not None
        return str(row[0])

    return base64.b64decode(await engine.write(take))
