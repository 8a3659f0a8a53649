"""STS through boto3: who calls, and keys that work for a while."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from lambdad.control.keys import Keys
from lambdad.domain.credentials import TemporaryKeys
from lambdad.neighbours.iam import Roles
from lambdad.neighbours.sts import Tokens
from lambdad.storage.keys import AccessKeys
from lambdad.storage.roles import Identities
from lambdad.storage.sqlite import SqliteEngine
from lambdad.wire.access.gate import AuthMode
from lambdad.wire.sts import sts_service
from tests.neighbours.iam.test_iam import TRUST
from tests.wire.harness import SECRET, Boto, a_front_door

ROLE = "arn:aws:iam::000000000000:role/svc/r"


class Place:
    """STS over a database, in one of the modes of access."""

    def __init__(self, engine: SqliteEngine, mode: AuthMode) -> None:
        identities = Identities(engine)
        self.roles = Roles(identities, lambda: datetime.now(UTC))
        self.keys = Keys(AccessKeys(engine))
        strict = mode is AuthMode.STRICT
        tokens = Tokens(identities, TemporaryKeys(SECRET), time.time, requires_roles=strict)
        self.boto = Boto(a_front_door(sts_service(tokens), mode=mode, keys=self.keys))


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[SqliteEngine]:
    engine = await SqliteEngine.open(tmp_path)
    yield engine
    await engine.close()


async def test_the_caller_is_told_who_it_is(engine: SqliteEngine):
    place = Place(engine, AuthMode.DEV)
    found = await place.boto("sts").get_caller_identity()
    del found["ResponseMetadata"]
    assert found == {"UserId": "000000000000", "Account": "000000000000", "Arn": "arn:aws:iam::000000000000:root"}
    assert (await place.boto("sts", key="111122223333").get_caller_identity())["Account"] == "111122223333"


async def test_an_assumed_role_is_another_caller(engine: SqliteEngine):
    place = Place(engine, AuthMode.DEV)
    role = await place.roles.create("000000000000", "r", trust_policy=TRUST, path="/svc/")
    session = await place.boto("sts").assume_role(RoleArn=ROLE, RoleSessionName="me", DurationSeconds=900)
    assert session["AssumedRoleUser"] == {
        "AssumedRoleId": f"{role.role_id}:me",
        "Arn": "arn:aws:sts::000000000000:assumed-role/r/me",
    }
    credentials = session["Credentials"]
    assert 890 < credentials["Expiration"].timestamp() - time.time() <= 900
    caller = await boto_with(place, credentials).get_caller_identity()
    assert caller["Arn"] == "arn:aws:sts::000000000000:assumed-role/r/me"
    assert caller["UserId"] == f"{role.role_id}:me"
    with pytest.raises(ClientError, match="SignatureDoesNotMatch"):
        await boto_with(place, {**credentials, "SecretAccessKey": "x"}).get_caller_identity()


def boto_with(place: Place, credentials: dict[str, Any]) -> Any:
    return place.boto(
        "sts",
        key=credentials["AccessKeyId"],
        secret=credentials["SecretAccessKey"],
        token=credentials["SessionToken"],
    )


async def test_dev_lets_everybody_assume_roles_that_do_not_exist(engine: SqliteEngine):
    place = Place(engine, AuthMode.DEV)
    arn = "arn:aws:iam::111122223333:role/cdk-deploy-role"
    session = await place.boto("sts").assume_role(RoleArn=arn, RoleSessionName="session")
    assert (await boto_with(place, session["Credentials"]).get_caller_identity())["Account"] == "111122223333"


async def test_strict_wants_existing_roles_of_the_own_account(engine: SqliteEngine):
    place = Place(engine, AuthMode.STRICT)
    key = await place.keys.issue("000000000000")
    sts = place.boto("sts", key=key.access_key_id, secret=key.secret)
    with pytest.raises(
        ClientError, match="is not authorized to perform: sts:AssumeRole on resource: arn:aws:iam::0000"
    ):
        await sts.assume_role(RoleArn=ROLE, RoleSessionName="session")
    await place.roles.create("000000000000", "r", trust_policy=TRUST, path="/svc/")
    session = await sts.assume_role(RoleArn=ROLE, RoleSessionName="session")
    assert (await boto_with(place, session["Credentials"]).get_caller_identity())["Account"] == "000000000000"
    other = await place.keys.issue("111122223333")
    with pytest.raises(ClientError, match="AccessDenied"):
        await place.boto("sts", key=other.access_key_id, secret=other.secret).assume_role(
            RoleArn=ROLE, RoleSessionName="session"
        )


@pytest.mark.parametrize(
    ("params", "text"),
    [
        ({"RoleArn": "arn:aws:s3:::bucket-of-nobody"}, "is invalid"),
        ({"RoleArn": ROLE, "DurationSeconds": 899}, "Member must have value greater than or equal to 900"),
        ({"RoleArn": ROLE, "DurationSeconds": 43_201}, "Member must have value less than or equal to 43200"),
        ({"RoleArn": ROLE, "DurationSeconds": 3_601}, "exceeds the MaxSessionDuration"),
        ({"RoleArn": ROLE, "RoleSessionName": "a b"}, "Member must satisfy regular expression pattern"),
    ],
)
async def test_what_cannot_be_assumed(engine: SqliteEngine, params: dict[str, Any], text: str):
    place = Place(engine, AuthMode.DEV)
    await place.roles.create("000000000000", "r", trust_policy=TRUST, path="/svc/")
    with pytest.raises(ClientError, match=text) as caught:
        await place.boto("sts").assume_role(**{"RoleSessionName": "session", **params})
    assert caught.value.response["Error"]["Code"] == "ValidationError"


async def test_a_session_token_is_for_the_caller_itself(engine: SqliteEngine):
    place = Place(engine, AuthMode.DEV)
    credentials = (await place.boto("sts").get_session_token())["Credentials"]
    assert (await boto_with(place, credentials).get_caller_identity())["Arn"] == "arn:aws:iam::000000000000:root"
