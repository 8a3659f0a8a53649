"""Execution environments: which one, how it starts, how it is driven and ended."""
