"""GetAccountSettings on the wire."""

from __future__ import annotations

from lambdad.control.account import Accounts
from lambdad.wire.service import Answer, ApiCall, Handler


class AccountSettingsApi:
    """GetAccountSettings."""

    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts

    def handlers(self) -> dict[str, Handler]:
        return {"GetAccountSettings": self.get}

    async def get(self, call: ApiCall) -> Answer:
        settings = await self._accounts.settings(call.caller.account, call.caller.region)
        return Answer(
            members={
                "AccountLimit": {
                    "TotalCodeSize": settings.code_bytes_limit,
                    "CodeSizeUnzipped": settings.unzipped_bytes_limit,
                    "CodeSizeZipped": settings.zipped_bytes_limit,
                    "ConcurrentExecutions": settings.concurrency_limit,
                    "UnreservedConcurrentExecutions": settings.unreserved_concurrency,
                },
                "AccountUsage": {"TotalCodeSize": settings.code_bytes, "FunctionCount": settings.functions},
            }
        )
