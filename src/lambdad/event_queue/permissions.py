"""Whether a service may call a function: what its resource policy says (AWS: no service calls without a permission)."""

from __future__ import annotations

import re
import shlex

from lambdad.domain.arns import FunctionReference, no_policy_allows, policy_denies
from lambdad.domain.destinations import function_target
from lambdad.domain.errors import AccessDenied, InvalidParameterValue
from lambdad.domain.functions import LATEST
from lambdad.domain.policies import Decision, ServiceCaller, by_service, decide
from lambdad.storage import policies
from lambdad.storage.engine import Transaction
from lambdad.storage.functions import FunctionKey

ACTION = "lambda:InvokeFunction"


def check_in(tx: Transaction, function_arn: str, caller: ServiceCaller) -> None:
    """Raises AccessDenied, with the command that adds what is missing, unless the policy of the function, version or
    alias lets the service in for its source."""
    target = function_target(function_arn)
    if target is None:
        raise InvalidParameterValue(f"{function_arn} is not the ARN of a function.")
    key = FunctionKey(target.account, target.region, target.name)
    qualifier = "" if target.qualifier in (None, LATEST) else target.qualifier or ""
    stored = policies.find(tx, key, qualifier)
    decision = decide(stored.document if stored else None, by_service(caller, ACTION, function_arn))
    if decision is Decision.ALLOW:
        return
    if decision is Decision.DENY:
        raise policy_denies(caller.service, ACTION, function_arn)
    refusal = no_policy_allows(caller.service, ACTION, function_arn)
    hint = ""
    if target.qualifier == LATEST:  # AWS: "We currently do not support adding policies for $LATEST."
        hint = f"No permission is for $LATEST: make {target.unqualified_arn} the target. "
    raise AccessDenied(f"{refusal.message}. {hint}This adds it: {_command(target, caller)}")


def _command(target: FunctionReference, caller: ServiceCaller) -> str:
    statement_id = re.sub(r"[^a-zA-Z0-9-_]+", "-", caller.source_arn.rpartition(":")[2])[:90]
    words = [
        "aws", "lambda", "add-permission", "--function-name", target.unqualified_arn, "--statement-id",
        f"{caller.service.split('.')[0]}-{statement_id}", "--action", ACTION, "--principal", caller.service,
        "--source-arn", caller.source_arn,
    ]  # fmt: skip
    if caller.source_arn.split(":")[4:5] == [""]:  # names of buckets are not an account's own
        words += ["--source-account", caller.source_account]
    if target.qualifier not in (None, LATEST):
        words += ["--qualifier", str(target.qualifier)]
    return shlex.join(words)
