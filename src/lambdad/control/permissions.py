"""Resource policies of functions, their versions and aliases: statement by statement, or whole."""

from __future__ import annotations

from dataclasses import replace

from lambdad.control.changes import Changes, function_not_found, key_of, new_revision_id
from lambdad.domain.arns import FunctionReference, is_alias_name, is_version_number
from lambdad.domain.errors import (
    InvalidParameterValue,
    PolicyLengthExceeded,
    PreconditionFailed,
    ResourceConflict,
    ResourceNotFound,
)
from lambdad.domain.functions import LATEST, Alias, FunctionVersion
from lambdad.domain.permissions import Permission, compact, principal_of, statement_of, with_statements
from lambdad.domain.policies import Decision, by_principal, decide, problem_of, statements_of
from lambdad.storage import policies
from lambdad.storage.functions import FunctionRepository, FunctionTables, VersionKey
from lambdad.storage.policies import StoredPolicy

MAX_POLICY_BYTES = 20_480
"""AWS Lambda quotas."""

_ADD, _REMOVE, _WHOLE = "GetPolicy", "GetFunction/GetAlias", "GetResourcePolicy"
"""What the refusal of a wrong RevisionId says to call. That of AddPermission was recorded in 2025-11; the others do not
follow it: AWS has the older words for RemovePermission, and what it says for whole policies is not known."""


class ResourcePolicies:
    """The resource `policy`. Every change of one gives the function, version or alias a new revision id too."""

    def __init__(self, repository: FunctionRepository, changes: Changes) -> None:
        self._repository = repository
        self._changes = changes

    async def add(self, reference: FunctionReference, permission: Permission, *, revision_id: str | None = None) -> str:
        """Adds a statement; returns it as JSON. Texts of refusals: AWS, recorded 2025-11; that of the size and of the
        authentication type: AWS, captured."""
        if reference.qualifier == LATEST:
            raise InvalidParameterValue("We currently do not support adding policies for $LATEST.")
        principal = principal_of(permission.principal)
        if principal is None:
            raise InvalidParameterValue("The provided principal was invalid. Please check the principal and try again.")
        if permission.function_url_auth_type is not None and permission.action != "lambda:InvokeFunctionUrl":
            raise InvalidParameterValue("FunctionUrlAuthType is only supported for lambda:InvokeFunctionUrl action")
        key, qualifier = key_of(reference), reference.qualifier or ""
        statement = statement_of(permission, reference.arn, principal)

        def job(tables: FunctionTables) -> None:
            holder = _holder(tables, reference)
            stored = policies.find(tables.transaction, key, qualifier)
            _check_revision(revision_id, holder, stored, _ADD)
            statements = statements_of(stored.document) if stored else []
            if any(other.get("Sid") == permission.statement_id for other in statements):
                raise ResourceConflict(
                    f"The statement id ({permission.statement_id}) provided already exists. "
                    "Please provide a new statement id, or remove the existing statement."
                )
            _put(tables, reference, holder, with_statements([*statements, statement]))

        await self._changes.make(key, job)
        return compact(statement)

    async def remove(self, reference: FunctionReference, statement_id: str, *, revision_id: str | None = None) -> None:
        """Removes a statement, and the policy with the last one."""
        key, qualifier = key_of(reference), _qualifier(reference)

        def job(tables: FunctionTables) -> None:
            if tables.function(key) is None:
                raise ResourceNotFound(f"No policy found for: {reference.arn}")
            holder = _holder(tables, reference)
            stored = policies.find(tables.transaction, key, qualifier)
            if stored is None:
                raise ResourceNotFound("No policy is associated with the given resource.")
            statements = statements_of(stored.document)
            left = [other for other in statements if other.get("Sid") != statement_id]
            if len(left) == len(statements):
                raise ResourceNotFound(f"Statement {statement_id} is not found in resource policy.")
            _check_revision(revision_id, holder, stored, _REMOVE)
            _put(tables, reference, holder, with_statements(left) if left else None)

        await self._changes.make(key, job)

    async def get(self, reference: FunctionReference) -> StoredPolicy:
        """The policy of exactly this qualifier. The same refusal whether it is missing or its function."""
        key, qualifier = key_of(reference), _qualifier(reference)
        found = await policies.read(self._repository.engine, key, qualifier)
        if found is None:
            raise _no_policy()
        return found

    async def put(self, reference: FunctionReference, document: str, *, revision_id: str | None = None) -> StoredPolicy:
        """Replaces the whole policy."""
        problem = problem_of(document, reference.arn)
        if problem is not None:
            raise InvalidParameterValue(problem)
        if reference.qualifier == LATEST:
            raise InvalidParameterValue("We currently do not support adding policies for $LATEST.")
        key, qualifier = key_of(reference), reference.qualifier or ""

        def job(tables: FunctionTables) -> StoredPolicy:
            holder = _holder(tables, reference)
            _check_revision(revision_id, holder, policies.find(tables.transaction, key, qualifier), _WHOLE)
            return _put(tables, reference, holder, document)

        return await self._changes.make(key, job)

    async def delete(self, reference: FunctionReference, *, revision_id: str | None = None) -> None:
        """Removes the whole policy."""
        key, qualifier = key_of(reference), _qualifier(reference)

        def job(tables: FunctionTables) -> None:
            stored = policies.find(tables.transaction, key, qualifier)
            if stored is None:
                raise _no_policy()
            holder = _holder(tables, reference)
            _check_revision(revision_id, holder, stored, _WHOLE)
            _put(tables, reference, holder, None)

        await self._changes.make(key, job)

    async def allows(self, reference: FunctionReference, principal_arn: str, action: str) -> bool:
        """Whether a caller of another account may do something: `lambda:GetFunction`."""
        key, qualifier = key_of(reference), _qualifier(reference)
        stored = await policies.read(self._repository.engine, key, qualifier)
        request = by_principal(principal_arn, action, reference.arn)
        return stored is not None and decide(stored.document, request) is Decision.ALLOW


def _qualifier(reference: FunctionReference) -> str:
    """`$LATEST` has no policy of its own."""
    return "" if reference.qualifier in (None, LATEST) else reference.qualifier or ""


def _no_policy() -> ResourceNotFound:
    return ResourceNotFound("The resource you requested does not exist.")


def _holder(tables: FunctionTables, reference: FunctionReference) -> FunctionVersion | Alias:
    """What the policy belongs to. Raises ResourceNotFound in AWS's words for each case (recorded 2025-11)."""
    key, qualifier = key_of(reference), reference.qualifier or LATEST
    if is_alias_name(qualifier):
        alias = tables.alias(key, qualifier)
        if alias is not None:
            return alias
        if tables.function(key) is not None:
            raise ResourceNotFound(f"Cannot find alias arn: {reference.arn}")
        raise function_not_found(reference.arn)
    if qualifier != LATEST and not is_version_number(qualifier):
        raise function_not_found(reference.arn)
    stored = tables.version(VersionKey(key, qualifier))
    if stored is None:
        raise function_not_found(reference.arn)
    return stored.current


def _check_revision(
    given: str | None, holder: FunctionVersion | Alias, stored: StoredPolicy | None, operation: str
) -> None:
    """Both ids count: clients read the one of the function before the first statement, of the policy later."""
    if given is not None and given != holder.revision_id and (stored is None or given != stored.revision_id):
        raise PreconditionFailed(
            "The Revision Id provided does not match the latest Revision Id. "
            f"Call the {operation} API to retrieve the latest Revision Id"
        )


def _put(
    tables: FunctionTables, reference: FunctionReference, holder: FunctionVersion | Alias, document: str | None
) -> StoredPolicy:
    """Stores a policy, or with None removes it, under a new revision of what it belongs to."""
    revision_id = new_revision_id()
    if document is not None and len(document.encode("utf-8", "replace")) > MAX_POLICY_BYTES:
        size = len(document.encode("utf-8", "replace"))
        raise PolicyLengthExceeded(f"The final policy size ({size}) is bigger than the limit ({MAX_POLICY_BYTES}).")
    policy = StoredPolicy(document or "", revision_id)
    if document is None:
        policies.delete(tables.transaction, key_of(reference), _qualifier(reference))
    else:
        policies.put(tables.transaction, key_of(reference), _qualifier(reference), policy)
    if isinstance(holder, Alias):
        tables.put_alias(replace(holder, revision_id=revision_id))
    else:
        tables.show(replace(holder, revision_id=revision_id))
    return policy
