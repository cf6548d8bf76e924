"""The JSON schemas that the documentation promises. ``python -m tests.synth.schemas`` writes those of models anew."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema

from avdetect.events.event import FeedEventRecord, GapRecord, Record, SourceEventRecord
from avdetect.sinks.score_document import ScoreDocument

_SCHEMAS = Path(__file__).parents[2] / "docs" / "schema"

OF_MODELS: dict[str, tuple[type[Record], str]] = {
    "event": (SourceEventRecord, "avdetect event, version 2"),
    "score-document": (ScoreDocument, "avdetect score document, version 2"),
    "feed-event": (FeedEventRecord, "avdetect event of a live feed, version 2"),
    "feed-gap": (GapRecord, "avdetect gap of a live feed, version 2"),
}
"""The schemas that are made of models, with their titles."""


def schema(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((_SCHEMAS / f"{name}.schema.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(loaded)
    return loaded


def made_of_model(name: str) -> dict[str, Any]:
    """What the schema called ``name`` should be."""
    model, title = OF_MODELS[name]
    made = model.model_json_schema(mode="serialization")
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": f"urn:avdetect:schema:{name}:2"}
    return head | _untitled(made) | {"title": title}


def closed(value: Any) -> Any:
    """The schema without room for fields it does not describe, so that none is forgotten in it."""
    if isinstance(value, list):
        return [closed(item) for item in value]
    if not isinstance(value, dict):
        return value
    inner = {key: closed(item) for key, item in value.items()}
    return inner | {"additionalProperties": False} if "required" in value else inner


def _untitled(value: Any) -> Any:
    """The schema without titles that only repeat the names of fields."""
    if isinstance(value, list):
        return [_untitled(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {key: _untitled(item) for key, item in value.items() if not (key == "title" and isinstance(item, str))}


if __name__ == "__main__":
    for each in OF_MODELS:
        (_SCHEMAS / f"{each}.schema.json").write_text(json.dumps(made_of_model(each), indent=2) + "\n", "utf-8")
