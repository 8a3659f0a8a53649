"""Finds the handler: imports the module that the handler string names and takes the function from it."""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any

from . import faults

if TYPE_CHECKING:
    from collections.abc import Callable

    Handler = Callable[[Any, Any], Any]


def load(handler: str) -> Handler:
    """The handler function. Raises Fault for what the runtime explains itself, else what the module raised."""
    module_name, dot, function_name = handler.rpartition(".")
    if not dot:
        raise faults.Fault(
            faults.MALFORMED_HANDLER_NAME,
            f"Bad handler '{handler}': not enough values to unpack (expected 2, got 1)",
        )
    if module_name.split(".")[0] in sys.builtin_module_names:
        raise faults.Fault(
            faults.BUILT_IN_MODULE_CONFLICT, f"Cannot use built-in module {module_name} as a handler module"
        )
    try:
        module = importlib.import_module(module_name.replace("/", "."))
    except ImportError as error:
        raise faults.Fault(faults.IMPORT_MODULE_ERROR, f"Unable to import module '{module_name}': {error}") from error
    except SyntaxError as error:
        place = faults.places.shown(error.filename) if error.filename else error.filename
        raise faults.Fault(
            faults.USER_CODE_SYNTAX_ERROR,
            f"Syntax error in module '{module_name}': {error}",
            [f'  File "{place}" Line {error.lineno}\n    {error.text}'],
        ) from error
    try:
        return getattr(module, function_name)  # type: ignore[no-any-return]
    except AttributeError:
        raise faults.Fault(
            faults.HANDLER_NOT_FOUND, f"Handler '{function_name}' missing on module '{module_name}'"
        ) from None
