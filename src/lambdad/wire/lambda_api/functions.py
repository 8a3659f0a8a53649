"""Functions on the wire."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from lambdad.control.code_source import CodeSource
from lambdad.control.functions import CreateFunction, Functions, UpdateFunctionCode, UpdateFunctionConfiguration
from lambdad.domain.arns import parse_new_function_name
from lambdad.domain.functions import LATEST, FunctionVersion
from lambdad.wire.lambda_api.configurations import (
    RuntimeVersionArn,
    check_offered,
    parse_configuration,
    show_configuration,
    show_listed,
)
from lambdad.wire.lambda_api.references import any_version, function_only
from lambdad.wire.service import Answer, ApiCall, Handler

CodeUrl = Callable[[str], str]
"""Gives a signed URL from which an archive, named by its code_sha256, can be downloaded for ten minutes."""


class FunctionsApi:
    """CreateFunction to ListFunctions."""

    def __init__(self, functions: Functions, runtime_version_arn: RuntimeVersionArn, code_url: CodeUrl) -> None:
        self._functions = functions
        self._runtime_version_arn = runtime_version_arn
        self._code_url = code_url

    def handlers(self) -> dict[str, Handler]:
        return {
            "CreateFunction": self.create,
            "GetFunction": self.get,
            "GetFunctionConfiguration": self.get_configuration,
            "UpdateFunctionCode": self.update_code,
            "UpdateFunctionConfiguration": self.update_configuration,
            "DeleteFunction": self.delete,
            "ListFunctions": self.list,
        }

    async def create(self, call: ApiCall) -> Answer:
        version = await self._functions.create(parse_create(call))
        # Unqualified also when version 1 was published in the same call (AWS: recorded 2025-11).
        shown = show_configuration(version, version.unqualified_arn, self._runtime_version_arn)
        return Answer(members=shown, status=201)

    async def get(self, call: ApiCall) -> Answer:
        view = await self._functions.find(any_version(call))
        code = {"RepositoryType": "S3", "Location": self._code_url(view.version.code_sha256)}
        if view.version.source_kms_key_arn is not None:
            code["SourceKMSKeyArn"] = view.version.source_kms_key_arn
        members: dict[str, Any] = {
            "Configuration": show_configuration(view.version, view.arn, self._runtime_version_arn),
            "Code": code,
        }
        if (
            view.arn == view.version.unqualified_arn
        ):  # tags and concurrency belong to the function, not to versions of it
            if view.function.tags:
                members["Tags"] = dict(view.function.tags)
            if view.function.reserved_concurrency is not None:
                members["Concurrency"] = {"ReservedConcurrentExecutions": view.function.reserved_concurrency}
        return Answer(members=members)

    async def get_configuration(self, call: ApiCall) -> Answer:
        view = await self._functions.find(any_version(call))
        return Answer(members=show_configuration(view.version, view.arn, self._runtime_version_arn))

    async def update_code(self, call: ApiCall) -> Answer:
        return Answer(members=self._show(await self._functions.update_code(parse_update_code(call))))

    async def update_configuration(self, call: ApiCall) -> Answer:
        command = UpdateFunctionConfiguration(
            reference=function_only(call, latest_allowed=True),
            configuration=parse_configuration(call.params),
            revision_id=call.params.get("RevisionId"),
            caller_arn=call.caller.arn,
        )
        return Answer(members=self._show(await self._functions.update_configuration(command)))

    async def delete(self, call: ApiCall) -> Answer:
        await self._functions.delete(any_version(call))
        return Answer(status=204)

    async def list(self, call: ApiCall) -> Answer:
        every = call.params.get("FunctionVersion") == "ALL"
        page = await self._functions.list(
            call.caller.account,
            call.caller.region,
            all_versions=every,
            marker=call.params.get("Marker"),
            max_items=call.params.get("MaxItems"),
        )
        shown = [show_listed(version, qualified_arn(version) if every else version.arn) for version in page.items]
        return Answer(members={"Functions": shown, **({"NextMarker": page.next_marker} if page.next_marker else {})})

    def _show(self, version: FunctionVersion) -> dict[str, Any]:
        return show_configuration(version, version.arn, self._runtime_version_arn)


def parse_create(call: ApiCall) -> CreateFunction:
    params = call.params
    return CreateFunction(
        reference=parse_new_function_name(params["FunctionName"], caller=call.caller),
        configuration=parse_configuration(params),
        code=parse_code(params["Code"]),
        package_type=params.get("PackageType") or "Zip",
        architectures=tuple(params.get("Architectures") or ("x86_64",)),
        tags=params.get("Tags") or {},
        code_signing_config_arn=params.get("CodeSigningConfigArn"),
        source_kms_key_arn=params["Code"].get("SourceKMSKeyArn"),
        publish=bool(params.get("Publish")),
        caller_arn=call.caller.arn,
    )


def parse_update_code(call: ApiCall) -> UpdateFunctionCode:
    params = call.params
    check_offered(params)
    architectures = params.get("Architectures")
    return UpdateFunctionCode(
        reference=function_only(call, latest_allowed=True),
        code=parse_code(params),
        architectures=None if architectures is None else tuple(architectures),
        source_kms_key_arn=params.get("SourceKMSKeyArn"),
        revision_id=params.get("RevisionId"),
        dry_run=bool(params.get("DryRun")),
        publish=bool(params.get("Publish")),
    )


def parse_code(params: Mapping[str, Any]) -> CodeSource:
    return CodeSource(
        zip_file=params.get("ZipFile"),
        s3_bucket=params.get("S3Bucket"),
        s3_key=params.get("S3Key"),
        s3_object_version=params.get("S3ObjectVersion"),
        image_uri=params.get("ImageUri"),
    )


def qualified_arn(version: FunctionVersion) -> str:
    """As listings of versions print it, also for `$LATEST`."""
    return f"{version.unqualified_arn}:{LATEST}" if version.version == LATEST else version.arn
