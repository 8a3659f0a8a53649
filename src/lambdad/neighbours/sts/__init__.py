"""A minimal STS: who calls, and temporary keys."""

from lambdad.neighbours.sts.service import AssumedRole, Tokens

__all__ = ["AssumedRole", "Tokens"]
