from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from avdetect.errors import UsageError
from avdetect.evaluation.evaluate import evaluate, pair_with_curves
from avdetect.evaluation.result import Evaluation, evaluation_document
from avdetect.events.curve import ScoreCurve
from avdetect.labels.videos import LabelledVideo
from avdetect.timebase import Span
from tests.unit.evaluation.synthetic import curve, happening, manifest, truth

Pairs = list[tuple[LabelledVideo, ScoreCurve]]
CLASSES = ("bang", "fight")


@pytest.fixture
def pairs() -> Pairs:
    """Snippets of a second. One event heard and found, one seen and missed, and a false alarm in the normal video."""
    events = (happening(2, 4, "bang", "audio"), happening(6, 8, "fight", "visual"))
    scores = [[0.1, 0.1]] * 2 + [[0.9, 0.1]] * 2 + [[0.1, 0.1]] * 2 + [[0.1, 0.3]] * 2 + [[0.1, 0.1]] * 2
    quiet = [[0.1, 0.1]] * 5 + [[0.6, 0.1]] + [[0.1, 0.1]] * 14
    return [
        (truth("a.mp4", 10.0, events), curve("a.mp4", CLASSES, scores, hop_s=1.0)),
        (truth("b.mp4", 20.0), curve("b.mp4", CLASSES, quiet, hop_s=1.0)),
    ]


@pytest.fixture
def result(pairs: Pairs) -> Evaluation:
    return evaluate(pairs, manifest(*CLASSES))


def test_frames_by_hand(result: Evaluation) -> None:
    assert result.frames is not None
    # 50 frames found alone, then 25 false ones, then the other 50.
    assert result.frames.anomaly.average_precision == pytest.approx(0.5 * 1 + 0.5 * 100 / 125)
    assert result.frames.anomaly.chance == pytest.approx(100 / 750)
    assert result.frames.classes["bang"].average_precision == 1.0


def test_a_modality_leaves_the_frames_of_the_others_out(result: Evaluation) -> None:
    assert result.frames is not None
    assert set(result.frames.modalities) == {"audio", "visual"}
    assert result.frames.modalities["audio"].average_precision == 1.0
    # Above the visual event's frames are only the 25 of the false alarm: the audio event's do not count.
    assert result.frames.modalities["visual"].average_precision == pytest.approx(50 / 75)
    assert result.frames.modalities["visual"].chance == pytest.approx(50 / 700)


def test_videos_are_ranked_by_their_highest_score(result: Evaluation) -> None:
    assert result.videos.anomaly.average_precision == 1.0
    assert set(result.videos.classes) == {"bang", "fight"}


def test_events_by_hand(result: Evaluation) -> None:
    assert result.events is not None
    counts = result.events.alarms[0.5]
    assert (counts.num_matched, counts.num_detections, counts.num_events) == (1, 2, 2)
    assert counts.f1 == 0.5
    assert result.events.modality_recall == {"audio": {0.3: 1.0, 0.5: 1.0}, "visual": {0.3: 0.0, 0.5: 0.0}}
    # At a threshold of 0.3, both events are found and the false alarm stays.
    assert result.events.best_f1[0.5] == pytest.approx(2 * 2 / (3 + 2))
    assert result.events.mean_average_precision[0.5] == pytest.approx(1.0)


def test_alarms_by_hand(result: Evaluation) -> None:
    assert result.alarms.false_per_normal_hour == pytest.approx(3600 / 20)
    assert result.alarms.false_per_hour == pytest.approx(3600 / 30)
    assert result.alarms.false_per_normal_hour_by_class == {"bang": pytest.approx(180.0), "fight": 0.0}
    assert result.alarms.detected_share == 0.5
    lookahead_s = manifest(*CLASSES).latency_s
    assert lookahead_s > 0
    assert result.alarms.median_delay_s == pytest.approx(1.0 + lookahead_s)  # the snippet has to end as well


def test_what_went_wrong_is_listed(result: Evaluation) -> None:
    alarms, missed = result.false_alarms, result.missed
    assert [(item.video, item.alarm.span, item.alarm.class_names) for item in alarms] == [
        ("b.mp4", Span(5, 6), ("bang",))
    ]
    assert [(item.event.class_name, item.highest_score) for item in missed] == [("fight", pytest.approx(0.3))]


def test_an_alarm_that_is_already_known_has_no_delay() -> None:
    scores = curve("a", ["bang"], [[0.9]] * 10, hop_s=1.0)

    found = evaluate([(truth("a", 10.0, [happening(8, 10, "bang")]), scores)], manifest("bang"))

    assert found.alarms.median_delay_s == 0.0


def test_classes_that_are_no_anomaly_raise_no_alarm(pairs: Pairs) -> None:
    calm = [(video, ScoreCurve(**{**_fields(scores), "anomaly_classes": (False, True)})) for video, scores in pairs]

    found = evaluate(calm, manifest(*CLASSES, anomaly=[False, True]))

    assert found.alarms.false_per_hour == 0.0
    assert found.alarms.false_per_normal_hour_by_class["bang"] == pytest.approx(180.0)


def _fields(scores: ScoreCurve) -> dict[str, object]:
    return {name: getattr(scores, name) for name in ScoreCurve.__dataclass_fields__}


@pytest.mark.parametrize("seed", range(3))
def test_frame_metrics_agree_with_scikit_learn_frame_by_frame(seed: int) -> None:
    """The benchmark's definition, written as plainly as can be."""
    metrics = pytest.importorskip("sklearn.metrics")
    random = np.random.default_rng(seed)
    pairs: Pairs = []
    labels, scores, modalities = [], [], []
    for number in range(6):
        duration_s = float(np.round(random.uniform(8, 20), 2))
        events = [
            happening(start, start + float(random.uniform(0.5, 2)), "bang", kind)
            for start, kind in zip((1.03, 4.2, 6.6), ("audio", "visual", "audio-visual"), strict=True)
        ][: number % 4]
        values = np.round(random.random((math.ceil(duration_s / 0.64), 1)), 2).astype(np.float32)
        pairs.append((truth(f"{number}", duration_s, events), curve(f"{number}", ["bang"], values.tolist())))
        for frame in range(round(duration_s * 25)):
            inside = [event.modality for event in events if event.span.start_s <= frame / 25 < event.span.end_s]
            labels.append(bool(inside))
            modalities.append(inside[0] if inside else "")
            scores.append(values[frame // 16, 0])

    frames = evaluate(pairs, manifest("bang")).frames

    assert frames is not None
    assert frames.anomaly.average_precision == pytest.approx(metrics.average_precision_score(labels, scores))
    assert frames.anomaly.roc_auc == pytest.approx(metrics.roc_auc_score(labels, scores))
    for modality, ranking in frames.modalities.items():
        kept = [index for index, name in enumerate(modalities) if name in ("", modality)]
        own = [modalities[index] == modality for index in kept]
        expected = metrics.average_precision_score(own, [scores[index] for index in kept])
        assert ranking.average_precision == pytest.approx(expected)


def test_labels_alone_give_what_can_be_said_of_whole_videos(pairs: Pairs) -> None:
    labelled = [(truth("a.mp4", 10.0, None, classes=["bang", "glass"]), pairs[0][1]), pairs[1]]

    found = evaluate(labelled, manifest(*CLASSES))

    assert (found.frames, found.events) == (None, None)
    assert found.videos.classes["bang"].average_precision == 1.0
    assert found.alarms.false_per_normal_hour == pytest.approx(180.0)
    assert math.isnan(found.alarms.detected_share)
    assert found.classes_not_known == ("glass",)


def test_the_document_is_json_without_nan(pairs: Pairs, result: Evaluation) -> None:
    labelled = evaluate([(truth("a.mp4", 10.0, None, classes=["bang"]), pairs[0][1])], manifest(*CLASSES))
    for each in (result, labelled):
        document = evaluation_document(
            each, list_path="a.jsonl", bundle=manifest(*CLASSES), avdetect_version="1", num_worst=1
        )
        assert json.loads(json.dumps(document, allow_nan=False)) == document
    assert document["schema_version"] == "2.0"
    assert document["alarms"]["false_per_normal_hour"] is None  # type: ignore[index]


def test_scores_are_found_by_path_or_by_the_name_in_the_manifest(tmp_path: Path, pairs: Pairs) -> None:
    video, scores = pairs[0]
    named = replace(video, name="sub/a.mp4", media=tmp_path / "sub" / "a.mp4")
    for source in (str(tmp_path / "sub" / "a.mp4"), "/elsewhere/sub/a.mp4", "sub/a.mp4"):
        renamed = ScoreCurve(**{**_fields(scores), "source": source})
        assert pair_with_curves([named], [renamed]) == [(named, renamed)]

    with pytest.raises(UsageError, match="no scores of 1 of 1 videos, such as sub/a.mp4"):
        pair_with_curves([named], [scores])


def test_a_detector_of_unnamed_events_is_right_about_whatever_happens() -> None:
    video = truth("a.mp4", 10.0, [happening(2, 4, "bang")])
    scores = curve("a.mp4", ["event"], [[0.1]] * 2 + [[0.9]] * 2 + [[0.1]] * 6, hop_s=1.0)

    result = evaluate(pair_with_curves([video], [scores]), manifest("event"))

    assert result.frames is not None
    assert result.frames.classes["event"].average_precision == 1.0
    assert result.classes_not_known == ()


def test_scores_of_different_classes_are_refused(pairs: Pairs) -> None:
    other = (pairs[1][0], curve("b.mp4", ["siren"], [[0.1]]))

    with pytest.raises(UsageError, match="of different classes"):
        evaluate([pairs[0], other], manifest(*CLASSES))
