"""`/_lambdad/keys`: access keys while the server runs, for the root of an account and for that account alone."""

from __future__ import annotations

import json
from urllib.parse import unquote

from lambdad.control.keys import Keys
from lambdad.domain.credentials import root_arn
from lambdad.domain.errors import AccessDenied, InvalidRequestContent, ResourceNotFound
from lambdad.domain.identity import Caller
from lambdad.http.messages import Request, Response
from lambdad.http.protocol import Exchange
from lambdad.wire.access.gate import Gate
from lambdad.wire.own import PREFIX, OwnEndpoints, refuse_other_origins
from lambdad.wire.protocols import json_values

PATH = f"{PREFIX}keys"


class KeyEndpoints:
    """`POST` issues a key, `GET` lists keys without their secrets, `DELETE …/ID` revokes one.

    All need a signature, in dev mode too. The keys of functions and assumed roles cannot make keys.
    """

    def __init__(self, keys: Keys, gate: Gate) -> None:
        self._keys = keys
        self._gate = gate

    def register(self, endpoints: OwnEndpoints) -> None:
        """Adds the three endpoints."""
        # Open for the front door, because they identify their callers themselves.
        endpoints.add("POST", PATH, self.issue, is_open=True)
        endpoints.add("GET", PATH, self.list, is_open=True)
        endpoints.add("DELETE", f"{PATH}/*", self.revoke, is_open=True)

    async def issue(self, exchange: Exchange) -> Response:
        """Body: `{"label": "…", "account": "…"}`, both may be left out. 201 with the key and, this once, its secret."""
        caller = self._root(exchange.request)
        wanted = _texts(exchange.request.body)
        if wanted.get("account", caller.account) != caller.account:
            raise AccessDenied(
                f"This call is signed for account {caller.account} and so makes keys for that account alone. "
                "Use a key of the other account, or make this one while the server is stopped."
            )
        key = await self._keys.issue(caller.account, wanted.get("label", ""))
        return _json(
            201,
            {
                "access_key_id": key.access_key_id,
                "secret_access_key": key.secret,
                "account": key.account,
                "label": key.label,
                "created_at": key.created_at.isoformat(),
            },
        )

    async def list(self, exchange: Exchange) -> Response:
        """200 with `{"keys": […]}`, oldest first."""
        caller = self._root(exchange.request)
        keys = [
            {
                "access_key_id": key.access_key_id,
                "account": key.account,
                "label": key.label,
                "created_at": key.created_at.isoformat(),
            }
            for key in await self._keys.all()
            if key.account == caller.account
        ]
        return _json(200, {"keys": keys})

    async def revoke(self, exchange: Exchange) -> Response:
        """204; 404 for a key that is not there or belongs to another account."""
        caller = self._root(exchange.request)
        access_key_id = unquote(exchange.request.path.removeprefix(f"{PATH}/"))
        known = self._keys.secret_for(access_key_id)
        if known is None or known.account != caller.account:
            raise ResourceNotFound(f"Account {caller.account} has no access key {access_key_id}.")
        await self._keys.revoke(access_key_id)
        return Response(204)

    def _root(self, request: Request) -> Caller:
        refuse_other_origins(request)
        caller, _ = self._gate.identify(request)
        if caller.arn != root_arn(caller.account):
            raise AccessDenied(f"Only the root of an account manages its keys, not {caller.arn}.")
        return caller


def _texts(body: bytes) -> dict[str, str]:
    try:
        given = json.loads(body) if body else {}
    except (ValueError, RecursionError):
        given = None
    if not isinstance(given, dict) or not all(isinstance(value, str) for value in given.values()):
        raise InvalidRequestContent('The body must be {"label": "…", "account": "…"} or empty.')
    return given


def _json(status: int, value: object) -> Response:
    headers = [("content-type", "application/json"), ("cache-control", "no-store")]
    return Response(status, headers, json_values.dump(value))
