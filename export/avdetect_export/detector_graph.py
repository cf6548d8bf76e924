"""The first detector: AudioSet's own classes and the amount of motion, mapped to events by a small table.

It has the inputs, outputs and state of a trained detector, so that one can take its place without anything else
changing. What is heard of a class is a weighted sum of the logits of some AudioSet classes; what is seen is
``activity``: motion now, and compared with what is usual in the ``W`` snippets before.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray

from avdetect_export.graph_builder import GraphBuilder

__all__ = [
    "ActivityModel",
    "TableDetector",
    "detector_graph",
    "detector_state_shapes",
    "score_offline",
]

FloatArray = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class ActivityModel:
    """``sigmoid(gain * near + rise_gain * (near - usual) + offset)``.

    ``near`` is the mean motion level of snippets ``t - 1`` to ``t + R``, ``usual`` that of the ``W`` snippets before
    them; absent ones are left out, and where none is there, ``usual`` is ``near``.
    """

    column: int
    """The motion level's place in the ``visual`` embedding."""
    gain: float
    rise_gain: float
    offset: float


@dataclass(frozen=True, slots=True, eq=False)
class TableDetector:
    """The whole first detector: classes that are heard, then ``activity``, which is seen."""

    audio_weight: FloatArray
    """``(heard classes, audio_dim)``."""
    audio_bias: FloatArray
    """``(heard classes,)``; ``sigmoid(audio_weight @ audio + audio_bias)`` are their scores."""
    visual_dim: int
    activity: ActivityModel
    left_context_snippets: int
    """W."""
    lookahead_snippets: int
    """R."""

    @property
    def num_heard(self) -> int:
        """How many classes are heard."""
        return len(self.audio_bias)

    @property
    def num_classes(self) -> int:
        """C."""
        return self.num_heard + 1

    @property
    def embedding_dim(self) -> int:
        """H: what was heard and what was seen of every class, in logits."""
        return 2 * self.num_classes

    @property
    def history_snippets(self) -> int:
        """How many snippets before ``t`` are read in all: ``W`` and the one that ``near`` begins with."""
        return self.left_context_snippets + 1


def detector_state_shapes(model: TableDetector) -> dict[str, tuple[int, ...]]:
    """Name and shape of the state tensors, without the batch axis; all are float32."""
    ahead, kept = model.lookahead_snippets, model.history_snippets + model.lookahead_snippets
    return {"heard": (ahead, model.num_heard + 1), "moved": (kept, 2)}


def detector_graph(model: TableDetector) -> onnx.ModelProto:
    """The streaming detector; see ``DetectorSpec`` for its inputs and outputs."""
    g = GraphBuilder("table_detector")
    audio = g.input("audio", "float32", ("B", "T", model.audio_weight.shape[1]))
    visual = g.input("visual", "float32", ("B", "T", model.visual_dim))
    present = g.as_float(g.input("present", "bool", ("B", "T", 2)))
    shapes = detector_state_shapes(model)
    heard_before = g.input("heard", "float32", ("B", *shapes["heard"]))
    moved_before = g.input("moved", "float32", ("B", *shapes["moved"]))

    # Logits and, in the last column, whether there was sound; the newest R wait for the pictures to come.
    logits = g.op("MatMul", audio, g.constant(np.ascontiguousarray(model.audio_weight.T)))
    logits = g.op("Add", logits, g.constant(model.audio_bias))
    is_heard, is_seen = g.slice(present, 2, 0, 1), g.slice(present, 2, 1, 2)
    heard = g.op("Concat", heard_before, g.op("Concat", logits, is_heard, axis=2), axis=1)
    level = g.slice(visual, 2, model.activity.column, model.activity.column + 1)
    moved_now = g.op("Concat", g.op("Mul", level, is_seen), is_seen, axis=2)
    moved = g.op("Concat", moved_before, moved_now, axis=1)

    ahead = model.lookahead_snippets
    heard_now = g.slice(heard, 1, 0, -ahead)
    seen_now = g.slice(g.slice(moved, 1, model.history_snippets, -ahead), 2, 1)
    audio_present = g.slice(heard_now, 2, -1)
    nothing = g.op("Mul", g.slice(heard_now, 2, 0, 1), g.constant(0.0))
    others = [nothing] * model.num_heard
    audio_logits = g.op("Mul", g.op("Concat", g.slice(heard_now, 2, 0, -1), nothing, axis=2), audio_present)
    visual_logits = g.op("Concat", *others, _activity_logit(g, moved, model), axis=2)
    visual_logits = g.op("Mul", visual_logits, seen_now)
    audible = g.constant(np.array([1.0] * model.num_heard + [0.0], np.float32))
    visible = g.constant(np.array([0.0] * model.num_heard + [1.0], np.float32))
    audio_mask = g.op("Mul", audio_present, audible)
    visual_mask = g.op("Mul", seen_now, visible)
    audio_scores = g.op("Mul", g.op("Sigmoid", audio_logits), audio_mask)
    visual_scores = g.op("Mul", g.op("Sigmoid", visual_logits), visual_mask)

    scores_shape = ("B", "T", model.num_classes)
    g.output("scores", g.op("Max", audio_scores, visual_scores), "float32", scores_shape)
    g.output("audio_scores", audio_scores, "float32", scores_shape)
    g.output("visual_scores", visual_scores, "float32", scores_shape)
    embedding = g.op("Concat", audio_logits, visual_logits, axis=2)
    g.output("embedding", embedding, "float32", ("B", "T", model.embedding_dim))
    kept = shapes["moved"][0]
    g.output("heard_next", g.slice(heard, 1, -ahead), "float32", ("B", *shapes["heard"]))
    g.output("moved_next", g.slice(moved, 1, -kept), "float32", ("B", *shapes["moved"]))
    return g.build()


def _activity_logit(g: GraphBuilder, moved: str, model: TableDetector) -> str:
    """``[B, W + 1 + R + T, 2]`` -> ``[B, T, 1]``: window sums of level and presence by one convolution each."""
    near_length = 2 + model.lookahead_snippets
    window = model.left_context_snippets + near_length
    kernels = np.zeros((4, 1, window), np.float32)
    kernels[0::2, 0, : model.left_context_snippets] = 1.0
    kernels[1::2, 0, model.left_context_snippets :] = 1.0
    # Groups of two outputs read the level, then the presence.
    channels = g.op("Transpose", moved, perm=(0, 2, 1))
    sums = g.op("Conv", channels, g.constant(kernels), kernel_shape=(window,), group=2)
    sums = g.op("Transpose", sums, perm=(0, 2, 1))
    usual_sum, near_sum, usual_count, near_count = (g.slice(sums, 2, i, i + 1) for i in range(4))
    one = g.constant(1.0)
    near = g.op("Div", near_sum, g.op("Max", near_count, one))
    usual = g.op("Div", usual_sum, g.op("Max", usual_count, one))
    known = g.op("Min", usual_count, one)
    rise = g.op("Mul", g.op("Sub", near, usual), known)
    activity = model.activity
    logit = g.op("Add", g.op("Mul", near, g.constant(activity.gain)), g.constant(activity.offset))
    return g.op("Add", logit, g.op("Mul", rise, g.constant(activity.rise_gain)))


def score_offline(
    model: TableDetector, audio: FloatArray, visual: FloatArray, present: NDArray[np.bool_]
) -> FloatArray:
    """Fused scores of a whole stream, one snippet after the other: what the graph must agree with.

    Args:
        model: the detector.
        audio: ``(T, audio_dim)``.
        visual: ``(T, visual_dim)``.
        present: ``(T, 2)``, audio and visual.

    Returns:
        ``(T, num_classes)``; row ``t`` belongs to snippet ``t``.
    """
    scores = np.zeros((len(audio), model.num_classes), np.float32)
    levels = visual[:, model.activity.column].astype(np.float64)
    for t in range(len(audio)):
        if present[t, 0]:
            scores[t, :-1] = _sigmoid(model.audio_weight @ audio[t] + model.audio_bias)
        if present[t, 1]:
            scores[t, -1] = _activity_score(model, levels, present[:, 1], t)
    return scores


def _activity_score(model: TableDetector, levels: NDArray[np.float64], seen: NDArray[np.bool_], t: int) -> float:
    start = max(0, t - 1)
    first = max(0, t - model.history_snippets)
    stop = t + model.lookahead_snippets + 1
    near = float(levels[start:stop][seen[start:stop]].mean())
    before = levels[first:start][seen[first:start]]
    rise = near - float(before.mean()) if before.size else 0.0
    activity = model.activity
    logit = activity.gain * near + activity.rise_gain * rise + activity.offset
    return float(_sigmoid(np.asarray(logit)))


def _sigmoid(logit: NDArray[np.floating]) -> FloatArray:
    return np.asarray(1.0 / (1.0 + np.exp(-logit)), np.float32)
