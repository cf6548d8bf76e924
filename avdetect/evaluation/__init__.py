"""How good a detector is, and thresholds that keep its false alarms rare. Start reading at ``evaluate.evaluate``.

Needs numpy and no torch. What each number means: ``docs/metrics.md``.
"""
