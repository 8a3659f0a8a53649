"""`/_lambdad/keys`: who may manage keys, and that secrets are shown once."""

import json
from dataclasses import dataclass

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from lambdad.control.keys import Keys
from lambdad.domain.credentials import TemporaryKeys
from lambdad.domain.errors import AccessDenied, InvalidRequestContent, LambdadError, ResourceNotFound
from lambdad.http.messages import Request, Response
from lambdad.storage.keys import AccessKeys
from lambdad.storage.sqlite import SqliteEngine
from lambdad.wire.access.gate import AuthMode, Gate
from lambdad.wire.own import OwnEndpoints
from lambdad.wire.own_keys import PATH, KeyEndpoints


@dataclass
class Call:
    """Stands for an exchange: the endpoints answer by returning."""

    request: Request


class Installation:
    def __init__(self, keys: Keys, mode: AuthMode) -> None:
        self.keys = keys
        self.temporary = TemporaryKeys(b"x" * 32)
        self.endpoints = OwnEndpoints()
        KeyEndpoints(keys, Gate(mode, keys, self.temporary)).register(self.endpoints)

    async def call(self, method: str, path: str, credentials: Credentials | None, body: object = None) -> Response:
        content = b"" if body is None else json.dumps(body).encode()
        signed = AWSRequest(method=method, url=f"http://localhost{path}", data=content)
        if credentials:
            SigV4Auth(credentials, "lambda", "us-east-1").add_auth(signed)
        headers = {"host": "localhost"} | {name.lower(): value for name, value in signed.headers.items()}
        endpoint = self.endpoints.find(method, path)
        assert endpoint is not None
        request = Request(method=method, path=path, headers=headers, body=content)
        response = await endpoint.handler(Call(request))  # type: ignore[arg-type]
        assert response is not None
        return response


@pytest.fixture
async def keys(tmp_path):
    engine = await SqliteEngine.open(tmp_path)
    stored = Keys(AccessKeys(engine))
    await stored.load()
    yield stored
    await engine.close()


@pytest.fixture
async def strict(keys):
    return Installation(keys, AuthMode.STRICT)


async def issued(keys: Keys, account: str = "000000000000") -> Credentials:
    key = await keys.issue(account)
    return Credentials(key.access_key_id, key.secret)


async def test_a_key_makes_another_of_its_account_which_then_works(strict, keys):
    first = await issued(keys, "111122223333")
    made = json.loads((await strict.call("POST", PATH, first, {"label": "ci"})).body)
    assert (made["account"], made["label"]) == ("111122223333", "ci")
    second = Credentials(made["access_key_id"], made["secret_access_key"])
    assert (await strict.call("GET", PATH, second)).status == 200


async def test_the_list_shows_the_accounts_own_keys_without_secrets(strict, keys):
    mine, _ = await issued(keys), await issued(keys, "111122223333")
    listed = json.loads((await strict.call("GET", PATH, mine)).body)["keys"]
    assert [key["access_key_id"] for key in listed] == [mine.access_key]
    assert not any("secret" in name for name in listed[0])


async def test_a_revoked_key_is_unknown_at_once(strict, keys):
    mine, other = await issued(keys), await issued(keys)
    assert (await strict.call("DELETE", f"{PATH}/{other.access_key}", mine)).status == 204
    with pytest.raises(LambdadError):
        await strict.call("GET", PATH, other)


async def test_keys_of_other_accounts_can_be_neither_made_nor_revoked(strict, keys):
    mine, other = await issued(keys), await issued(keys, "111122223333")
    with pytest.raises(AccessDenied):
        await strict.call("POST", PATH, mine, {"account": "111122223333"})
    with pytest.raises(ResourceNotFound):
        await strict.call("DELETE", f"{PATH}/{other.access_key}", mine)
    assert keys.secret_for(other.access_key) is not None


async def test_a_functions_own_keys_cannot_make_keys(strict):
    temporary = strict.temporary.issue(
        account="000000000000",
        arn="arn:aws:sts::000000000000:assumed-role/r/hello",
        user_id="AROA:hello",
        expires_at=4e9,
    )
    credentials = Credentials(temporary.access_key_id, temporary.secret_access_key, temporary.session_token)
    with pytest.raises(AccessDenied):
        await strict.call("POST", PATH, credentials)


@pytest.mark.parametrize("mode", AuthMode)
async def test_nothing_goes_without_a_signature_in_any_mode(keys, mode: AuthMode):
    with pytest.raises(LambdadError):
        await Installation(keys, mode).call("POST", PATH, None)


@pytest.mark.parametrize("body", [["label"], {"label": 1}, "label"])
async def test_a_body_of_another_form_is_refused(strict, keys, body: object):
    with pytest.raises(InvalidRequestContent):
        await strict.call("POST", PATH, await issued(keys), body)
