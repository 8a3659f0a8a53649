"""What a function tells about the items of its batch: ReportBatchItemFailures.

`{"batchItemFailures": [{"itemIdentifier": "…"}]}`. No answer, an empty object and an empty or absent list mean that
all is well; everything else that is not of this form, or names an item that was not in the batch, means that the
whole batch has failed (AWS: recorded 2025-11; AWS Lambda developer guide).
"""

from __future__ import annotations

import json
from collections.abc import Collection

WHOLE_BATCH = None


def reported_failures(payload: bytes, identifiers: Collection[str]) -> frozenset[str] | None:
    """The items that failed; WHOLE_BATCH for an answer that names none properly."""
    try:
        answer = json.loads(payload) if payload.strip() else None
    except (ValueError, RecursionError):
        return WHOLE_BATCH
    if answer is None or answer in ("", []):  # (AWS: recorded 2025-11)
        return frozenset()
    if not isinstance(answer, dict):
        return WHOLE_BATCH
    failures = answer.get("batchItemFailures")
    if failures is None:
        return frozenset()
    if not isinstance(failures, list):
        return WHOLE_BATCH
    failed = {failure.get("itemIdentifier") if isinstance(failure, dict) else None for failure in failures}
    known = {identifier for identifier in failed if isinstance(identifier, str) and identifier in identifiers}
    return frozenset(known) if known == failed else WHOLE_BATCH
