"""boto3 on a control plane."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from lambdad.wire.lambda_api.operations import handlers
from lambdad.wire.service import Service
from tests.control.building import ACCOUNT, REGION, ROLE, Bench, a_bench, zipped
from tests.wire.harness import Boto, a_front_door

CODE = zipped({"index.py": "def handler(event, context):\n    return event\n"})
OTHER_CODE = zipped({"index.py": "def handler(event, context):\n    return 2\n"})


class Lambda:
    """Calls operations as boto3 does; `refused` gives the error that one has to end with."""

    def __init__(self, boto: Boto, bench: Bench) -> None:
        self.bench = bench
        self._boto = boto

    def __getattr__(self, operation: str) -> Any:
        return getattr(self._boto("lambda"), operation)

    def of(self, **options: Any) -> Any:
        """A client with another key, region or parameter validation."""
        return self._boto("lambda", **options)

    async def create(self, name: str = "f", *, wait: bool = True, **settings: Any) -> dict[str, Any]:
        settings.setdefault("Code", {"ZipFile": CODE})
        answer = await self.create_function(
            **{"FunctionName": name, "Runtime": "python3.12", "Handler": "index.handler", "Role": ROLE, **settings}
        )
        if wait:
            await self.bench.settle()
        return answer  # type: ignore[no-any-return]

    async def refused(self, operation: str, **params: Any) -> ClientError:
        with pytest.raises(ClientError) as error:
            await getattr(self, operation)(**params)
        return error.value


@pytest.fixture
async def aws(tmp_path: Path) -> AsyncIterator[Lambda]:
    async with a_bench(tmp_path) as bench:
        service = Service(
            name="lambda",
            signing_names=("lambda",),
            handlers=handlers(
                bench.plane,
                runtime_version_arn=lambda region, runtime: f"arn:aws:lambda:{region}::runtime:of-{runtime}",
                url_address=lambda url: f"http://{url.host('localhost')}:4566/",
                code_url=lambda code_sha256: f"http://localhost:4566/code/{code_sha256}",
            ),
        )
        front = a_front_door(service)
        try:
            yield Lambda(Boto(front, key=ACCOUNT, region=REGION), bench)
        finally:
            await asyncio.wait_for(front.finish(1), 5)


def message_of(error: ClientError) -> str:
    return str(error.response["Error"]["Message"])


def code_of(error: ClientError) -> str:
    return str(error.response["Error"]["Code"])
