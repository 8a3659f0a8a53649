"""The composition root: makes each object once, hands it what it needs, starts and stops everything in order."""

from lambdad.app.application import Application

__all__ = ["Application"]
