"""What a motion encoder makes of clips from places that it has never seen, as they are and disturbed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from avdetect.training.motion.clip_pictures import ClipPictures
from avdetect.training.motion.disturbances import DISTURBANCES, disturbed
from avdetect.training.motion.network import MotionNet
from avdetect.training.motion.views import plain_views, resized

__all__ = ["HeldOut", "area_under_roc", "clip_logits", "measure", "share_above"]

RECALL = 0.6
"""False positives are counted at the threshold that this share of the events reaches."""
_STRENGTH = 0.7
_EVERY_S = (0.32, 1.0)
"""Between two views of a clip as it is, and of one that is disturbed."""


@dataclass(frozen=True, slots=True, eq=False)
class HeldOut:
    """Mean logit of the likeliest class, of each clip and of each clip under each disturbance."""

    names: tuple[str, ...]
    places: tuple[str, ...]
    is_event: NDArray[np.bool_]
    """``(clips,)``."""
    scores: NDArray[np.float64]
    """As they are, ``(clips,)``."""
    disturbed: NDArray[np.float64]
    """``(clips, disturbances)``, in the order of ``DISTURBANCES``."""

    def figures(self) -> dict[str, Any]:
        """In words and numbers, to be kept; ``None`` where nothing can be said."""
        normal, events = self.scores[~self.is_event], self.scores[self.is_event]
        if not len(normal) or not len(events):
            return {"auc": None, "events": len(events), "normal": len(normal)}
        threshold = float(np.quantile(events, 1 - RECALL))
        lively = self.disturbed[~self.is_event]
        return {
            "auc": round(area_under_roc(events, normal), 4),
            "auc_against_disturbed": round(area_under_roc(events, lively.ravel()), 4),
            "events": len(events),
            "normal": len(normal),
            "false_positive_share": round(share_above(normal, threshold), 4),
            "false_positive_share_disturbed": {
                "all": round(share_above(lively, threshold), 4),
                **{kind: round(share_above(lively[:, at], threshold), 4) for at, kind in enumerate(DISTURBANCES)},
            },
        }


def measure(network: MotionNet, clips: Sequence[ClipPictures], class_names: Sequence[str]) -> HeldOut:
    """Score ``clips`` as they are and under every kind of disturbance, the same ones each time."""
    return HeldOut(
        names=tuple(one.clip.path.name for one in clips),
        places=tuple(one.clip.place for one in clips),
        is_event=np.array([one.clip.label in class_names for one in clips]),
        scores=np.array([clip_logits(network, one).max() for one in clips]),
        disturbed=np.array(
            [
                [clip_logits(network, one, kind=kind, seed=row).max() for kind in DISTURBANCES]
                for row, one in enumerate(clips)
            ]
        ),
    )


def clip_logits(
    network: MotionNet, one: ClipPictures, *, kind: str | None = None, seed: int = 0
) -> NDArray[np.float64]:
    """Mean logits of all of a clip, ``(classes,)``.

    Args:
        network: in evaluation mode.
        one: the clip.
        kind: a disturbance to lay over it; ``None`` for none.
        seed: of the disturbance.
    """
    views = plain_views(one, one.luma.shape[1:] if kind else network.config.size, every_s=_EVERY_S[kind is not None])
    pictures = views.pictures
    if kind is not None:
        rng = np.random.default_rng([seed, DISTURBANCES.index(kind)])
        pictures = torch.stack([disturbed(kind, three, _STRENGTH, rng) for three in pictures]).clamp(0, 255)
        pictures = resized(pictures, network.config.size)
    with torch.inference_mode():
        logits = network(pictures, views.rates).logits
    return np.asarray(logits.double().mean(0).numpy(), np.float64)


def area_under_roc(events: NDArray[np.float64], others: NDArray[np.float64]) -> float:
    """How often an event scores higher than something else; a tie counts half."""
    above = (events[:, None] > others[None, :]).mean()
    return float(above + 0.5 * (events[:, None] == others[None, :]).mean())


def share_above(scores: NDArray[np.float64], threshold: float) -> float:
    """Share of the scores that reach the threshold."""
    return float((scores >= threshold).mean())
