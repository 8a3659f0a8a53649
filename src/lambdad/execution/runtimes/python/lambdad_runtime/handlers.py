"""Finds the handler: imports the module that the handler string names and takes the function from it."""

from __future__ import annotations

import importlib
import sys
from typing import Any, Callable

from . import faults

Handler = Callable[[Any, Any], Any]


def load(handler: str) -> Handler:
    """The handler function. Raises Fault for what the runtime explains itself, else what the module raised."""
    module_name, dot, function_name = handler.rpartition(".")
    if not dot:
        raise faults.Fault(
            faults.MALFORMED_HANDLER_NAME,
            "Bad handler '%s': not enough values to unpack (expected 2, got 1)" % handler,
        )
    if module_name.split(".")[0] in sys.builtin_module_names:
        raise faults.Fault(
            faults.BUILT_IN_MODULE_CONFLICT, "Cannot use built-in module %s as a handler module" % module_name
        )
    try:
        module = importlib.import_module(module_name.replace("/", "."))
    except ImportError as error:
        raise faults.Fault(
            faults.IMPORT_MODULE_ERROR, "Unable to import module '%s': %s" % (module_name, error)
        ) from error
    except SyntaxError as error:
        place = faults.places.shown(error.filename) if error.filename else error.filename
        raise faults.Fault(
            faults.USER_CODE_SYNTAX_ERROR,
            "Syntax error in module '%s': %s" % (module_name, error),
            ['  File "%s" Line %s\n    %s' % (place, error.lineno, error.text)],
        ) from error
    try:
        return getattr(module, function_name)  # type: ignore[no-any-return]
    except AttributeError:
        raise faults.Fault(
            faults.HANDLER_NOT_FOUND, "Handler '%s' missing on module '%s'" % (function_name, module_name)
        ) from None
