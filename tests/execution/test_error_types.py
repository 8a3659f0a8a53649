"""Which declared error types reach logs and metrics."""

from __future__ import annotations

import pytest

from lambdad.execution.error_types import declared_error_type


@pytest.mark.parametrize(
    ("declared", "expected"),
    [
        ("Runtime.ImportModuleError", "Runtime.ImportModuleError"),
        ("Function.SomeReason", "Function.SomeReason"),
        ("Function.some", "Function.Unknown"),
        ("Function.A1", "Function.Unknown"),
        ("Runtime.ExitError\n", "Runtime.Unknown"),
        ("Exception", "Runtime.Unknown"),
        ("", "Runtime.Unknown"),
    ],
)
def test_declared_error_types(declared: str, expected: str) -> None:
    assert declared_error_type(declared) == expected
