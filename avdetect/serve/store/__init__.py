"""What a service remembers: events, gaps, answers, and what its sinks have still to get."""

from __future__ import annotations

from avdetect.serve.store.schema import Answer, StoredEvent
from avdetect.serve.store.store import Prunable, ScoreBlock, Store

__all__ = ["Answer", "Prunable", "ScoreBlock", "Store", "StoredEvent"]
