"""`lambdad keys`: access keys for `--auth strict`.

While a server works on the data folder it is asked; otherwise the folder is opened here. So the first key of a strict
server is made before the server starts.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import click
from botocore.exceptions import EndpointConnectionError

from lambdad.cli.client import call_own, configured_endpoint, endpoint_option, make_session, speaks_to_server
from lambdad.cli.options import load_settings
from lambdad.control.keys import Keys
from lambdad.domain.errors import LambdadError
from lambdad.storage.engine import DataFolderInUse
from lambdad.storage.keys import AccessKeys
from lambdad.storage.sqlite import SqliteEngine

T = TypeVar("T")

PATH = "/_lambdad/keys"
DEFAULT_ACCOUNT = "000000000000"

data_option = click.option(
    "--data", envvar="LAMBDAD_DATA", metavar="DIR", help="Data folder of the server. [LAMBDAD_DATA]"
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group("keys")
def command() -> None:
    """Make, list and revoke access keys.

    A key stands for its whole account. A server that runs is asked with your own AWS keys; to make the first key of a
    server with --auth strict, call this before the server starts.
    """


@command.command("create")
@click.option("--account", metavar="NUMBER", help=f"Account of the key, 12 digits. [default: {DEFAULT_ACCOUNT}]")
@click.option("--label", default="", metavar="TEXT", help="What the key is for.")
@data_option
@endpoint_option
@json_option
@speaks_to_server
def create(account: str | None, label: str, data: str | None, endpoint_url: str | None, as_json: bool) -> None:
    """Make a key and show its secret, once."""

    async def directly(keys: Keys) -> dict[str, Any]:
        key = await keys.issue(account or DEFAULT_ACCOUNT, label)
        return {"access_key_id": key.access_key_id, "secret_access_key": key.secret, "account": key.account}

    def asked() -> dict[str, Any]:
        return call_own("POST", PATH, endpoint_url, {"label": label} | ({"account": account} if account else {}))

    key = _run(data, endpoint_url, directly, asked)
    if as_json:
        click.echo(json.dumps(key, indent=2))
        return
    click.echo(f"A key for account {key['account']}. Its secret is not shown again:\n")
    click.echo(f"    export AWS_ACCESS_KEY_ID={key['access_key_id']}")
    click.echo(f"    export AWS_SECRET_ACCESS_KEY={key['secret_access_key']}")


@command.command("list")
@data_option
@endpoint_option
@json_option
@speaks_to_server
def list_keys(data: str | None, endpoint_url: str | None, as_json: bool) -> None:
    """Show every key, without its secret."""

    async def directly(keys: Keys) -> list[dict[str, Any]]:
        return [
            {
                "access_key_id": key.access_key_id,
                "account": key.account,
                "label": key.label,
                "created_at": key.created_at.isoformat(),
            }
            for key in await keys.all()
        ]

    found = _run(data, endpoint_url, directly, lambda: call_own("GET", PATH, endpoint_url)["keys"])
    if as_json:
        click.echo(json.dumps({"keys": found}, indent=2))
    elif not found:
        click.echo("There are no keys. `lambdad keys create` makes one.")
    else:
        for key in found:
            click.echo(f"{key['access_key_id']}  {key['account']}  {key['created_at'][:19]}  {key['label']}".rstrip())


@command.command("revoke")
@click.argument("access_key_id")
@data_option
@endpoint_option
@speaks_to_server
def revoke(access_key_id: str, data: str | None, endpoint_url: str | None) -> None:
    """Make the key ACCESS_KEY_ID unknown, at once."""

    async def directly(keys: Keys) -> None:
        await keys.revoke(access_key_id)

    def asked() -> None:
        call_own("DELETE", f"{PATH}/{access_key_id}", endpoint_url)

    _run(data, endpoint_url, directly, asked)
    click.echo(f"{access_key_id} is revoked.")


def _run(
    data: str | None, endpoint_url: str | None, directly: Callable[[Keys], Awaitable[T]], asked: Callable[[], T]
) -> T:
    """Asks the server if one is named; else works on the data folder, or asks the server that has it.

    A key in another folder than that of the server whose export lines were pasted would be of no use: AWS_ENDPOINT_URL
    counts as naming a server too, unless a folder is named or nothing answers there.
    """
    if endpoint_url:
        return asked()
    if not data and configured_endpoint(make_session(), "lambda"):
        with contextlib.suppress(EndpointConnectionError):
            return asked()
    folder = load_settings({"data": data}).data

    async def on_folder() -> T:
        engine = await SqliteEngine.open(folder)
        try:
            keys = Keys(AccessKeys(engine))
            await keys.load()
            return await directly(keys)
        finally:
            await engine.close()

    try:
        return asyncio.run(on_folder())
    except DataFolderInUse:
        return asked()
    except LambdadError as error:
        raise click.ClickException(error.message) from None
    except OSError as error:
        raise click.ClickException(f"The data folder {folder} cannot be used: {error.strerror}.") from None
