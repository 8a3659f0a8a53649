"""All operations of the Lambda API that go through the generic front door."""

from __future__ import annotations

from lambdad.control.plane import ControlPlane
from lambdad.wire.lambda_api import durable_executions, managed_instances
from lambdad.wire.lambda_api.account_settings import AccountSettingsApi
from lambdad.wire.lambda_api.aliases import AliasesApi
from lambdad.wire.lambda_api.code_signing import CodeSigningApi
from lambdad.wire.lambda_api.concurrency import ConcurrencyApi
from lambdad.wire.lambda_api.configurations import RuntimeVersionArn
from lambdad.wire.lambda_api.durable_executions import DurableExecutionsApi
from lambdad.wire.lambda_api.event_invoke_configs import EventInvokeConfigsApi
from lambdad.wire.lambda_api.event_source_mappings import EventSourceMappingsApi
from lambdad.wire.lambda_api.function_urls import FunctionUrlsApi, UrlAddress
from lambdad.wire.lambda_api.functions import CodeUrl, FunctionsApi
from lambdad.wire.lambda_api.layers import LayersApi
from lambdad.wire.lambda_api.managed_instances import ManagedInstancesApi
from lambdad.wire.lambda_api.other_accounts import open_to_others
from lambdad.wire.lambda_api.permissions import PermissionsApi
from lambdad.wire.lambda_api.provisioned_concurrency import ProvisionedConcurrencyApi
from lambdad.wire.lambda_api.runtime_settings import RuntimeSettingsApi
from lambdad.wire.lambda_api.tags import CodeSigningTags, FunctionTags, MappingTags, TagsApi
from lambdad.wire.lambda_api.versions import VersionsApi
from lambdad.wire.service import Handler

REFUSED = managed_instances.REFUSED | durable_executions.REFUSED
"""Operations on what this server cannot have: always answered with one of AWS's own errors."""


def handlers(
    plane: ControlPlane, *, runtime_version_arn: RuntimeVersionArn, code_url: CodeUrl, url_address: UrlAddress
) -> dict[str, Handler]:
    """Handlers by operation."""
    offered = {
        **FunctionsApi(plane.functions, runtime_version_arn, code_url).handlers(),
        **VersionsApi(plane.versions, runtime_version_arn).handlers(),
        **AliasesApi(plane.aliases).handlers(),
        **ConcurrencyApi(plane.concurrency).handlers(),
        **ProvisionedConcurrencyApi(plane.provisioned_concurrency).handlers(),
        **EventInvokeConfigsApi(plane.event_invoke_configs).handlers(),
        **LayersApi(plane.layers, plane.layer_permissions, code_url).handlers(),
        **FunctionUrlsApi(plane.function_urls, url_address).handlers(),
        **PermissionsApi(plane.policies).handlers(),
        **CodeSigningApi(plane.code_signing_configs, plane.function_code_signing).handlers(),
        **EventSourceMappingsApi(plane.mappings).handlers(),
        **TagsApi(
            {
                "function": FunctionTags(plane.tags),
                "event-source-mapping": MappingTags(plane.mappings),
                "code-signing-config": CodeSigningTags(plane.code_signing_configs),
            }
        ).handlers(),
        **AccountSettingsApi(plane.accounts).handlers(),
        **ManagedInstancesApi(plane.functions).handlers(),
        **DurableExecutionsApi(plane.functions).handlers(),
        **RuntimeSettingsApi(plane.recursion, plane.runtime_management).handlers(),
    }
    return open_to_others(offered, plane.policies)
