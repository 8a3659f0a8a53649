"""How the commands reach a running server: as any AWS client does, through botocore."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import urlsplit

import botocore.session
import click
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.configprovider import ConfiguredEndpointProvider
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionClosedError,
    EndpointConnectionError,
)
from botocore.httpsession import URLLib3Session

from lambdad.config import DEFAULT_ENDPOINT, DEFAULT_REGION

LONGEST_INVOCATION_S = 900
"""Lambda's largest timeout."""

F = TypeVar("F", bound=Callable[..., Any])

endpoint_option = click.option(
    "--endpoint-url",
    metavar="URL",
    help=f"Endpoint of the server. [default: AWS_ENDPOINT_URL, else {DEFAULT_ENDPOINT}]",
)


def make_session() -> botocore.session.Session:
    """A session with the user's AWS settings; keys `test`/`test` and region us-east-1 where there are none."""
    session = botocore.session.Session()
    # Never ask the metadata service of a cloud machine: it is slow where there is none, and its keys are of no use.
    session.get_component("credential_provider").remove("iam-role")
    if session.get_credentials() is None:
        session.set_credentials("test", "test")
    if not session.get_config_variable("region"):
        session.set_config_variable("region", DEFAULT_REGION)
    return session


def make_client(service: str, endpoint_url: str | None, session: botocore.session.Session | None = None) -> Any:
    """A client of one service at the server. It never falls back to AWS itself, and never tries a call twice."""
    session = session or make_session()
    return session.create_client(
        service,
        endpoint_url=resolve_endpoint(session, service, endpoint_url),
        config=Config(
            connect_timeout=5,
            read_timeout=LONGEST_INVOCATION_S + 60,
            retries={"total_max_attempts": 1},
        ),
    )


def resolve_endpoint(session: botocore.session.Session, service: str, given: str | None) -> str:
    """The endpoint given, else the configured one, else the local default."""
    return given or configured_endpoint(session, service) or DEFAULT_ENDPOINT


def configured_endpoint(session: botocore.session.Session, service: str) -> str | None:
    """The endpoint that variables such as AWS_ENDPOINT_URL or the profile name."""
    endpoint: str | None = ConfiguredEndpointProvider(
        full_config=session.full_config,
        scoped_config=session.get_scoped_config(),
        client_name=service,
    ).provide()
    return endpoint


def speaks_to_server(command: F) -> F:
    """Turns what can go wrong on the way to the server into messages that say what to do."""

    @functools.wraps(command)
    def run(*args: Any, **kwargs: Any) -> Any:
        try:
            return command(*args, **kwargs)
        except EndpointConnectionError as error:
            url = urlsplit(error.kwargs.get("endpoint_url", ""))
            endpoint = f"{url.scheme}://{url.netloc}" if url.netloc else "the endpoint"
            raise click.ClickException(
                f"Nothing answers at {endpoint}. Start the server with `lambdad up`, or name it with --endpoint-url."
            ) from None
        except ConnectionClosedError:
            raise click.ClickException("The server closed the connection before it answered; did it stop?") from None
        except ClientError as error:
            detail = error.response.get("Error", {})
            raise click.ClickException(f"{detail.get('Code', 'Error')}: {detail.get('Message', error)}") from None
        except (BotoCoreError, ValueError) as error:
            raise click.ClickException(str(error)) from None

    return run  # type: ignore[return-value]


def call_own(method: str, path: str, endpoint_url: str | None, body: dict[str, Any] | None = None) -> dict[str, Any]:
    """A signed call of one of the server's own endpoints under `/_lambdad/`; an empty answer is an empty dict."""
    session = make_session()
    url = resolve_endpoint(session, "lambda", endpoint_url).rstrip("/") + path
    content = b"" if body is None else json.dumps(body).encode()
    request = AWSRequest(method=method, url=url, data=content)
    credentials = session.get_credentials()
    assert credentials is not None  # make_session has set some
    SigV4Auth(credentials, "lambda", session.get_config_variable("region")).add_auth(request)
    answer = URLLib3Session(timeout=30).send(request.prepare())
    if answer.status_code >= 300:
        try:
            message = json.loads(answer.content)["message"]
        except (ValueError, KeyError, TypeError):
            message = f"{method} {url} was answered with status {answer.status_code}; is this a lambdad server?"
        raise click.ClickException(message)
    return json.loads(answer.content) if answer.content else {}
