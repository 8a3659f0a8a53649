"""Archives from S3: the embedded one, or the endpoint that a rule names for the bucket."""

from __future__ import annotations

from typing import Any

from lambdad.control.code_source import ObjectReference
from lambdad.domain.errors import InvalidParameterValue, ServiceFailure
from lambdad.domain.layers import MAX_UNZIPPED_BYTES
from lambdad.event_queue.clients import EMBEDDED
from lambdad.event_queue.remote import RemoteTargets
from lambdad.event_queue.threads import on_thread

PIECE_BYTES = 1_048_576


class Objects:
    """Reads objects for the control plane."""

    def __init__(self, remote: RemoteTargets) -> None:
        self._remote = remote

    async def read(self, wanted: ObjectReference) -> bytes | None:
        """The whole object, of at most as many bytes as code may have unzipped; None if there is no S3 for the bucket.

        Raises InvalidParameterValue with S3's own code and text (AWS: recorded), ServiceFailure if S3 does not answer.
        """
        endpoint = self._remote.endpoint_of(f"arn:aws:s3:::{wanted.bucket}")
        if endpoint is None:
            return None
        return await on_thread(lambda: self._read(endpoint, wanted))

    def _read(self, endpoint: str, wanted: ObjectReference) -> bytes:
        """On a thread."""
        from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415

        version = {} if wanted.version is None else {"VersionId": wanted.version}
        try:
            client = self._remote.clients.client("s3", endpoint, wanted.region, wanted.account)
            if endpoint == EMBEDDED:
                _check_region(client, wanted)
            found = client.get_object(Bucket=wanted.bucket, Key=wanted.key, **version)
            return _content(found["Body"], found.get("ContentLength", 0))
        except ClientError as error:
            told = error.response.get("Error", {})
            raise _s3_error(told.get("Code", "Unknown"), told.get("Message", str(error))) from error
        except BotoCoreError as error:
            raise ServiceFailure(f"S3 could not be asked for the code: {error}") from error


def _content(body: Any, announced: int) -> bytes:
    if announced > MAX_UNZIPPED_BYTES:
        raise _too_large()
    parts: list[bytes] = []
    size = 0
    while piece := body.read(PIECE_BYTES):
        size += len(piece)
        if size > MAX_UNZIPPED_BYTES:
            raise _too_large()
        parts.append(piece)
    return b"".join(parts)


def _check_region(client: Any, wanted: ObjectReference) -> None:
    """The bucket has to be where the function is (botocore model of FunctionCode); the text is S3's for redirects."""
    place = client.get_bucket_location(Bucket=wanted.bucket).get("LocationConstraint") or "us-east-1"
    if place != wanted.region:
        raise _s3_error(
            "PermanentRedirect", f"The bucket is in this region: {place}. Please use this region to retry the request"
        )


def _s3_error(code: str, message: str) -> InvalidParameterValue:
    return InvalidParameterValue(f"Error occurred while GetObject. S3 Error Code: {code}. S3 Error Message: {message}")


def _too_large() -> InvalidParameterValue:
    return InvalidParameterValue(f"Unzipped size must be smaller than {MAX_UNZIPPED_BYTES} bytes")
