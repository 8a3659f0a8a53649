"""Access keys: issued, listed, revoked, and known again after a restart."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from lambdad.control.keys import Keys
from lambdad.domain.errors import InvalidParameterValue, ResourceNotFound
from lambdad.storage.keys import AccessKeys, installation_secret
from lambdad.storage.sqlite import SqliteEngine


async def test_the_life_of_a_key(tmp_path: Path):
    engine = await SqliteEngine.open(tmp_path)
    keys = Keys(AccessKeys(engine))
    key = await keys.issue("123456789012", "laptop")
    assert re.fullmatch("AKIA[A-Z2-7]{16}", key.access_key_id)
    assert len(key.secret) == 40
    known = keys.secret_for(key.access_key_id)
    assert known is not None
    assert (known.secret, known.account, known.arn) == (key.secret, "123456789012", "arn:aws:iam::123456789012:root")
    await engine.close()

    engine = await SqliteEngine.open(tmp_path)
    keys = Keys(AccessKeys(engine))
    await keys.load()
    assert keys.secret_for(key.access_key_id) == known
    assert await keys.all() == [key]
    await keys.revoke(key.access_key_id)
    assert keys.secret_for(key.access_key_id) is None
    with pytest.raises(ResourceNotFound, match=f"There is no access key {key.access_key_id}."):
        await keys.revoke(key.access_key_id)
    await keys.load()
    assert await keys.all() == []
    await engine.close()


@pytest.mark.parametrize(("account", "label"), [("1", ""), ("12345678901a", ""), ("²" * 12, ""), ("1" * 12, "x" * 129)])
async def test_keys_are_for_accounts(tmp_path: Path, account: str, label: str):
    engine = await SqliteEngine.open(tmp_path)
    with pytest.raises(InvalidParameterValue):
        await Keys(AccessKeys(engine)).issue(account, label)
    await engine.close()


async def test_a_secret_of_the_installation_stays_the_same(tmp_path: Path):
    engine = await SqliteEngine.open(tmp_path)
    first = await installation_secret(engine, "links")
    assert len(first) == 32
    assert await installation_secret(engine, "keys") != first
    await engine.close()
    engine = await SqliteEngine.open(tmp_path)
    assert await installation_secret(engine, "links") == first
    await engine.close()
