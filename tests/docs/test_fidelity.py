"""docs/fidelity.md tells the truth: its tests exist, its operations are those that are offered."""

import re
import textwrap
from pathlib import Path
from unittest.mock import MagicMock

import pytest

from lambdad.wire.cloudwatch import cloudwatch_service
from lambdad.wire.eventbridge import eventbridge_service
from lambdad.wire.iam import iam_service
from lambdad.wire.lambda_api import operations
from lambdad.wire.logs import logs_service
from lambdad.wire.sns import sns_service
from lambdad.wire.sqs import sqs_service
from lambdad.wire.sts import sts_service

ROOT = Path(__file__).parent.parent.parent
TEXT = (ROOT / "docs" / "fidelity.md").read_text(encoding="utf-8")

SERVICES = ("Lambda", "CloudWatch", "CloudWatch Logs", "SQS", "SNS", "EventBridge", "IAM", "STS")
INVOKING = {"Invoke", "InvokeAsync", "InvokeWithResponseStream"}
"""Written by hand, beside the table of handlers."""


def offered(service: str) -> set[str]:
    anything = MagicMock()
    if service == "Lambda":
        made_for_lambda = operations.handlers(
            anything, runtime_version_arn=anything, code_url=anything, url_address=anything
        )
        return made_for_lambda.keys() - operations.REFUSED | INVOKING
    made = {
        "CloudWatch": lambda: cloudwatch_service(anything, anything),
        "CloudWatch Logs": lambda: logs_service(anything),
        "SQS": lambda: sqs_service(anything),
        "SNS": lambda: sns_service(anything),
        "EventBridge": lambda: eventbridge_service(anything),
        "IAM": lambda: iam_service(anything, anything),
        "STS": lambda: sts_service(anything),
    }
    return set(made[service]().handlers)


def paragraph(service: str) -> str:
    """As docs/fidelity.md has it; script/docs writes it."""
    names = ", ".join(f"`{name}`" for name in sorted(offered(service)))
    return "\n".join(textwrap.wrap(f"**{service}**: {names}", 125, break_long_words=False)) + "\n"


def test_every_test_it_names_exists():
    named = re.findall(r"`(tests/[\w./-]+\.py)(?:::(\w+))?`", TEXT)
    assert len(named) > 40
    missing = [
        f"{path}::{test}"
        for path, test in named
        if not (ROOT / path).is_file() or (test and f"def {test}(" not in (ROOT / path).read_text(encoding="utf-8"))
    ]
    assert missing == []


@pytest.mark.parametrize("service", SERVICES)
def test_it_lists_exactly_the_operations_that_are_offered(service: str):
    assert f"\n{paragraph(service)}\n" in TEXT, "run script/docs"
