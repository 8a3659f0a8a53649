"""Which operation a method and path mean, and the labels in the path."""

from __future__ import annotations

from urllib.parse import parse_qsl, unquote

from lambdad.wire.protocols.errors import UnknownOperation
from lambdad.wire.protocols.model import Operation, ServiceModel


class Route:
    """The path of an operation, in segments."""

    __slots__ = ("greedy", "labels", "literals", "operation", "query", "segments")

    def __init__(self, operation: Operation) -> None:
        self.operation = operation
        self.segments = tuple(segment for segment in operation.path.split("/") if segment)
        self.literals = sum(not segment.startswith("{") for segment in self.segments)
        self.query = tuple(parse_qsl(operation.query, keep_blank_values=True))
        self.labels = tuple(
            (place, segment.strip("{}").removesuffix("+"))
            for place, segment in enumerate(self.segments)
            if segment.startswith("{")
        )
        self.greedy = next((place for place, segment in enumerate(self.segments) if segment.endswith("+}")), None)

    def matches(self, parts: list[str]) -> list[str] | None:
        """The parts of a path by segment of this route, or None when it is another one's."""
        if self.greedy is not None:
            extra = len(parts) - len(self.segments)
            if extra < 0:
                return None
            end = self.greedy + extra + 1
            parts = [*parts[: self.greedy], "/".join(parts[self.greedy : end]), *parts[end:]]
        for segment, part in zip(self.segments, parts, strict=True):
            if segment != part and not (segment.startswith("{") and part):
                return None
        return parts


class Router:
    """The routes of a rest service; the one with most literal segments wins."""

    def __init__(self, model: ServiceModel) -> None:
        self._fixed: dict[tuple[str, int], list[Route]] = {}
        self._greedy: dict[str, list[Route]] = {}
        self._methods: set[str] = set()
        for operation in model.operations.values():
            route = Route(operation)
            self._methods.add(operation.method)
            if route.greedy is None:
                self._fixed.setdefault((operation.method, len(route.segments)), []).append(route)
            else:
                self._greedy.setdefault(operation.method, []).append(route)
        for routes in (*self._fixed.values(), *self._greedy.values()):
            routes.sort(key=lambda route: (route.literals, len(route.query)), reverse=True)

    def find(self, method: str, path: str, query: str) -> tuple[Operation, dict[str, str]]:
        """The operation and its labels, percent-decoded. Raises UnknownOperation."""
        parts = path.strip("/").split("/")
        for routes in (self._fixed.get((method, len(parts)), ()), self._greedy.get(method, ())):
            for route in routes:
                found = route.matches(parts)
                if found is not None and _has_query(route, query):
                    return route.operation, {name: unquote(found[place]) for place, name in route.labels}
        raise UnknownOperation(f"No operation of this service answers {method} {path}")


def _has_query(route: Route, query: str) -> bool:
    if not route.query:
        return True
    given = parse_qsl(query, keep_blank_values=True)
    return all(pair in given for pair in route.query)
