"""Published versions on the wire."""

from __future__ import annotations

from lambdad.control.versions import PublishVersion, Versions
from lambdad.domain.arns import NameKind
from lambdad.wire.lambda_api.configurations import RuntimeVersionArn, check_offered, show_configuration, show_listed
from lambdad.wire.lambda_api.functions import qualified_arn
from lambdad.wire.lambda_api.references import function_only
from lambdad.wire.service import Answer, ApiCall, Handler


class VersionsApi:
    """PublishVersion and ListVersionsByFunction."""

    def __init__(self, versions: Versions, runtime_version_arn: RuntimeVersionArn) -> None:
        self._versions = versions
        self._runtime_version_arn = runtime_version_arn

    def handlers(self) -> dict[str, Handler]:
        return {"PublishVersion": self.publish, "ListVersionsByFunction": self.list}

    async def publish(self, call: ApiCall) -> Answer:
        check_offered(call.params)
        version = await self._versions.publish(
            PublishVersion(
                reference=function_only(call, latest_allowed=True),
                code_sha256=call.params.get("CodeSha256"),
                description=call.params.get("Description"),
                revision_id=call.params.get("RevisionId"),
            )
        )
        return Answer(members=show_configuration(version, version.arn, self._runtime_version_arn), status=201)

    async def list(self, call: ApiCall) -> Answer:
        page = await self._versions.list(
            function_only(call, NameKind.NAMESPACED, latest_allowed=True),
            marker=call.params.get("Marker"),
            max_items=call.params.get("MaxItems"),
        )
        shown = [show_listed(version, qualified_arn(version)) for version in page.items]
        return Answer(members={"Versions": shown, **({"NextMarker": page.next_marker} if page.next_marker else {})})
