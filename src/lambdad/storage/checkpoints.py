"""How far mappings have come in the shards of their streams."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from lambdad.domain.stream_positions import Position, Window
from lambdad.storage.engine import Engine, Transaction


async def positions(engine: Engine, mapping: str) -> dict[str, Position]:
    """By shard."""
    rows = await engine.read(
        "SELECT shard, document FROM mapping_checkpoint WHERE mapping = :mapping", {"mapping": mapping}
    )
    return {shard: _decode(document) for shard, document in rows}


def put(tx: Transaction, mapping: str, shard: str, position: Position) -> None:
    """Unless the mapping is gone."""
    tx.run(
        "INSERT INTO mapping_checkpoint (mapping, shard, document)"
        " SELECT :mapping, :shard, :document FROM event_source_mapping WHERE uuid = :mapping"
        " ON CONFLICT (mapping, shard) DO UPDATE SET document = excluded.document",
        {"mapping": mapping, "shard": shard, "document": _encode(position)},
    )


def _encode(position: Position) -> str:
    window = position.window
    document: dict[str, Any] = {
        "begin": position.begin,
        "since": _text(position.since),
        "sequence_number": position.sequence_number,
        "is_closed": position.is_closed,
    }
    if window is not None:
        document["window"] = {"start": _text(window.start), "end": _text(window.end), "state": window.state}
    return json.dumps(document, separators=(",", ":"))


def _decode(text: str) -> Position:
    document = json.loads(text)
    window = document.get("window")
    return Position(
        begin=document["begin"],
        since=_moment(document.get("since")),
        sequence_number=document.get("sequence_number"),
        is_closed=document.get("is_closed", False),
        window=None
        if window is None
        else Window(
            start=datetime.fromisoformat(window["start"]),
            end=datetime.fromisoformat(window["end"]),
            state=window.get("state"),
        ),
    )


def _text(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
