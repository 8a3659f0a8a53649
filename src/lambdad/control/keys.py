"""Access keys for `lambdad keys`: issue, list, revoke; and the copy in memory that signatures are checked with."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from lambdad.domain.credentials import KnownKey, new_key_id, new_secret, root_arn
from lambdad.domain.errors import InvalidParameterValue, ResourceNotFound
from lambdad.storage.keys import AccessKey, AccessKeys

MAX_LABEL_LENGTH = 128


class Keys:
    """The keys of this installation. `await load()` once before it is asked.

    Every key stands for the root of its account until policies are enforced.
    """

    def __init__(self, stored: AccessKeys, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._stored = stored
        self._now = now
        self._known: dict[str, KnownKey] = {}

    async def load(self) -> None:
        """Reads the issued keys, also again after another server of the same database has changed them."""
        self._known = {key.access_key_id: _known(key) for key in await self._stored.all()}

    def secret_for(self, access_key_id: str) -> KnownKey | None:
        """The key of an id; None when it was never issued or is revoked."""
        return self._known.get(access_key_id)

    async def issue(self, account: str, label: str = "") -> AccessKey:
        """A new key for the root of an account (12 digits). Raises InvalidParameterValue."""
        if not (len(account) == 12 and account.isascii() and account.isdigit()):
            raise InvalidParameterValue(f"An account is 12 digits, not {account!r}.")
        if len(label) > MAX_LABEL_LENGTH:
            raise InvalidParameterValue(f"A label has {MAX_LABEL_LENGTH} characters at most.")
        key = AccessKey(
            access_key_id=new_key_id(), secret=new_secret(), account=account, label=label, created_at=self._now()
        )
        await self._stored.add(key)
        self._known[key.access_key_id] = _known(key)
        return key

    async def all(self) -> list[AccessKey]:
        """Every key, oldest first. Secrets are for the one who was issued them: do not show them again."""
        return await self._stored.all()

    async def revoke(self, access_key_id: str) -> None:
        """Makes a key unknown at once. Raises ResourceNotFound when there is none of this id."""
        if not await self._stored.remove(access_key_id):
            raise ResourceNotFound(f"There is no access key {access_key_id}.")
        self._known.pop(access_key_id, None)


def _known(key: AccessKey) -> KnownKey:
    return KnownKey(
        access_key_id=key.access_key_id,
        secret=key.secret,
        account=key.account,
        arn=root_arn(key.account),
        user_id=key.account,
    )
