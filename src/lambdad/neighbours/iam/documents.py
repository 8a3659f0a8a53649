"""What IAM asks of a policy document before it keeps it."""

from __future__ import annotations

import json
import secrets

from lambdad.domain.errors import ServiceError

_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
MAX_INLINE_CHARACTERS = 10_240
"""Of all inline policies of a role, white space left out (AWS: IAM quotas)."""
MAX_MANAGED_CHARACTERS = 6_144
MAX_TAGS = 50


def new_id(prefix: str) -> str:
    """`ANPA…` for policies: 21 characters."""
    return prefix + "".join(secrets.choice(_ALPHABET) for _ in range(17))


def check_document(text: str, *, is_trust: bool = False) -> None:
    """Raises ServiceError MalformedPolicyDocument unless the text is JSON of a policy's form."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        raise _malformed("This policy contains invalid Json") from None
    if not isinstance(document, dict):
        raise _malformed("Syntax error at position (1,1)")
    if document.get("Version", "2012-10-17") not in ("2012-10-17", "2008-10-17"):
        raise _malformed("The policy must contain a valid version string")
    statements = document.get("Statement")
    if isinstance(statements, dict):
        statements = [statements]
    if not isinstance(statements, list) or not all(isinstance(statement, dict) for statement in statements):
        raise _malformed("Syntax errors in policy.")
    for statement in statements:
        _check_statement(statement, is_trust)


def _check_statement(statement: dict[str, object], is_trust: bool) -> None:
    if statement.get("Effect") not in ("Allow", "Deny"):
        raise _malformed("Syntax errors in policy.")
    if "Action" not in statement and "NotAction" not in statement:
        raise _malformed("Policy statement must contain actions.")
    if is_trust:
        if "Resource" in statement or "NotResource" in statement:
            raise _malformed("Has prohibited field Resource")
        if "Principal" not in statement and "NotPrincipal" not in statement:
            raise _malformed("AssumeRole policy must contain a principal.")
    else:
        if "Principal" in statement or "NotPrincipal" in statement:
            raise _malformed("Policy document should not specify a principal.")
        if "Resource" not in statement and "NotResource" not in statement:
            raise _malformed("Policy statement must contain resources.")


def weight(document: str) -> int:
    """Characters that count against quotas: white space does not."""
    return sum(not character.isspace() for character in document)


def merged_tags(old: dict[str, str], new: dict[str, str]) -> dict[str, str]:
    """Tags with changes over them. Raises ServiceError LimitExceeded above 50."""
    tags = {**old, **new}
    if len(tags) > MAX_TAGS:
        raise ServiceError("LimitExceededException", f"The number of tags has reached the maximum limit: {MAX_TAGS}.")
    return tags


def _malformed(message: str) -> ServiceError:
    return ServiceError("MalformedPolicyDocumentException", message)
