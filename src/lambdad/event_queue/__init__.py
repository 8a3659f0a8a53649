"""Asynchronous invocation: events are stored, then run, retried, and delivered to their destinations."""
