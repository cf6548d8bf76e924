"""The ``manifest.json`` of a bundle, which export writes and the runtime obeys.

Every number that the network fixed lives here, so that the runtime has no constant of its own to disagree
with. What the operator may choose (thresholds, durations) is here as a default only.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveInt, model_validator

from avdetect.errors import BundleError
from avdetect.timebase import as_seconds

SCHEMA_VERSION = "1.2"
"""``major.minor``: a bundle of another major version is refused, a newer minor version is read. 1.1 knows prompts, 1.2
``order_spread``."""

Probability = Annotated[float, Field(ge=0.0, le=1.0)]
Seconds = Annotated[float, Field(ge=0.0)]


_UNIT_LENGTH_TOLERANCE = 1e-3


class _Part(BaseModel):
    """Frozen; unknown keys are an error, so that a misspelt setting is noticed.

    Validators are built when first used: a process that scores ten seconds would feel the time.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)


class FileEntry(_Part):
    """One file of the bundle."""

    path: str
    """Relative to the bundle, forward slashes."""
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    size: Annotated[int, Field(ge=0)]
    """Bytes."""


class VisualSpec(_Part):
    """The appearance encoder: ``frames`` uint8 ``[N, height, width, 3]`` RGB -> ``embedding`` float32 ``[N, D]``.

    ``N`` counts frames; a snippet's embedding is the mean over its ``frames_per_snippet`` frames.
    """

    graph: str
    frames_per_snippet: PositiveInt
    width: PositiveInt
    height: PositiveInt
    embedding_dim: PositiveInt


class MotionSpec(_Part):
    """The motion encoder, on low-resolution luma.

    ``luma`` uint8 ``[N, cells_per_snippet + 1, height, width]`` (full range, the first picture is the last one
    of the snippet before) and ``time_s`` float32 ``[N, cells_per_snippet + 1]`` (seconds from the snippet's
    start; a picture that stands in for a missing one repeats the time of the picture it repeats) ->
    ``embedding`` float32 ``[N, D]``.
    """

    graph: str
    cells_per_snippet: PositiveInt
    """The hop is cut into this many equal cells; each gives at most one picture."""
    width: PositiveInt
    height: PositiveInt
    embedding_dim: PositiveInt
    logits: dict[str, NonNegativeInt] = Field(default_factory=dict)
    """Which number of the embedding is the encoder's own logit of which class, where it was trained to have some."""

    @model_validator(mode="after")
    def _has_its_logits(self) -> MotionSpec:
        for name, place in self.logits.items():
            if place >= self.embedding_dim:
                raise ValueError(f"the logit of {name} is number {place} of an embedding of {self.embedding_dim}")
        return self


class AudioSpec(_Part):
    """The audio encoder: ``waveform`` float32 ``[N, window_samples]`` mono -> ``embedding`` float32 ``[N, D]``.

    The window ends where the snippet ends.
    """

    graph: str
    rate_hz: PositiveInt
    window_samples: PositiveInt
    embedding_dim: PositiveInt


class StateSpec(_Part):
    """A state tensor of the streaming detector; zeros at the start of a stream.

    The graph's input is called ``name``, its output ``name + "_next"``.
    """

    name: str
    shape: tuple[PositiveInt, ...]
    """Shape without the leading batch axis."""
    dtype: Literal["float32", "bool", "int64"] = "float32"


class DetectorSpec(_Part):
    """The detector.

    Inputs ``audio`` ``[B, T, Da]``, ``visual`` ``[B, T, Dv]`` (appearance, then motion), ``present`` bool
    ``[B, T, 2]`` (audio, visual) and the state tensors. Outputs ``scores``, ``audio_scores``,
    ``visual_scores`` ``[B, T, C]``, ``embedding`` ``[B, T, H]`` and the next state. Row ``k`` of an output belongs to
    snippet ``k - lookahead_snippets`` of the stream.

    The offline form has no state and takes all snippets of a source at once. Of its inputs ``present`` and of its
    outputs all but ``scores`` may be missing.
    """

    graph: str
    form: Literal["streaming", "offline"] = "streaming"
    left_context_snippets: Annotated[int, Field(ge=0)]
    """W: how many snippets before ``t`` it may attend to."""
    lookahead_snippets: Annotated[int, Field(ge=0)]
    """R: how many snippets after ``t`` it may attend to."""
    chunk_snippets: tuple[PositiveInt, ...] = (1, 32)
    """The sizes of T used at run time, smallest first; few, so that engines and CUDA graphs can be cached."""
    embedding_dim: PositiveInt
    uses_appearance: bool = True
    """False: it ignores the appearance part of ``visual``, which is then left zero, and its encoder is not run."""
    state: tuple[StateSpec, ...] = ()


class EventRule(_Part):
    """The rule by which the event decoder turns the scores of one class into events.

    A score is first smoothed by a centred mean over ``smooth_snippets``. An event opens when the smoothed score
    reaches ``on`` and closes when it falls below ``off``; two events of a class closer than ``merge_gap_s`` become
    one; one shorter than ``min_duration_s`` is dropped; after an event has ended, another of the same class may open
    only ``cooldown_s`` later.
    """

    on: Probability = 0.5
    off: Probability = 0.3
    smooth_snippets: Annotated[int, Field(ge=1)] = 1
    """Odd."""
    min_duration_s: Seconds = 0.0
    merge_gap_s: Seconds = 1.28
    cooldown_s: Seconds = 0.0

    @model_validator(mode="after")
    def _check(self) -> EventRule:
        if self.off > self.on:
            raise ValueError(f"off ({self.off}) must not be above on ({self.on})")
        if self.smooth_snippets % 2 == 0:
            raise ValueError(f"smooth_snippets must be odd, got {self.smooth_snippets}")
        return self


class TextSpec(_Part):
    """The text encoder: ``input_ids``, ``attention_mask`` int64 ``[N, L]`` -> ``embedding`` float32 ``[N, D]``, of unit
    length.
    """

    name: str
    """Name of the model."""
    graph: str
    tokenizer: str
    """File of the tokenizers library."""
    embedding_dim: PositiveInt
    max_tokens: PositiveInt
    """Longest phrase in tokens; more are cut off."""


class AlignmentSpec(_Part):
    """Sound and text in one space; ``avdetect.text.scoring`` has the formulas.

    The audio graph streams as the detector does: ``audio`` ``[B, T, Da]``, ``present`` bool ``[B, T]`` and the state
    tensors -> ``vectors`` ``[B, T, D]``, ``salience`` ``[B, T]`` and the next state; row ``k`` of an output belongs
    to snippet ``k - lookahead_snippets`` of the stream. The text graph: ``phrases`` ``[B, N, Dt]``, ``places`` int64
    ``[B, N]``, ``told`` bool ``[B, N]`` -> ``phrase_vectors`` ``[B, N, D]``, ``text_vector`` ``[B, D]``.
    """

    audio_graph: str
    text_graph: str | None
    """``None`` where nothing more is to be asked in words than what was baked into the bundle."""
    joint_dim: PositiveInt
    left_context_snippets: Annotated[int, Field(ge=0)]
    lookahead_snippets: Annotated[int, Field(ge=0)]
    state: tuple[StateSpec, ...] = ()
    overall_weight: float
    temporal_weight: float
    order_weight: float
    sharpness: float
    """Sharpness of the attention of a phrase to time."""
    order_spread: Annotated[float, Field(gt=0)] = 0.5
    """A term that is added to the product of the spreads of times and places. It keeps the agreement small where
    they hardly differ. Older bundles have the default."""
    relevance_scale: float
    relevance_bias: float
    """``sigmoid(scale * cosine + bias)`` is the relevance of a snippet to a phrase."""
    prompt_rule: EventRule = Field(default_factory=EventRule)
    """The rule that turns relevance into events, where nothing better is known."""


class PromptSpec(_Part):
    """A class in words, and its vector in the joint space of sound and text."""

    phrases: Annotated[tuple[str, ...], Field(min_length=1)]
    vector: tuple[Annotated[float, Field(allow_inf_nan=False)], ...]
    """``(joint_dim,)``, of unit length: the direction of the mean of the phrases' vectors."""

    @model_validator(mode="after")
    def _check(self) -> PromptSpec:
        length = math.hypot(*self.vector)
        if abs(length - 1.0) > _UNIT_LENGTH_TOLERANCE:
            raise ValueError(f"the vector must be of unit length, got {length:.3g}")
        return self


class ClassSpec(_Part):
    """One class: an output of the detector, or one of words."""

    name: Annotated[str, Field(min_length=1)]
    anomaly: bool = True
    """True if it counts towards the anomaly score, the probability of any event."""
    title: str = ""
    """Name for people; where it is empty, ``name`` is shown."""
    temperature: Annotated[float, Field(gt=0)] = 1.0
    """The log-odds that the detector gives are divided by this, and then ``bias`` is added: what makes of its scores
    probabilities. All three heads alike; of a prompted class, the relevance."""
    bias: float = 0.0
    rule: EventRule = Field(default_factory=EventRule)
    prompt: PromptSpec | None = None
    """The prompt of a class of words. Its score is the relevance of the sound to them, no output of the detector."""


class Manifest(_Part):
    """The whole of ``manifest.json``."""

    schema_version: str
    name: str
    version: str
    created: str
    """ISO 8601, UTC."""
    licences: tuple[str, ...] = ()
    """One notice for every third-party part, in words."""
    hop_s: Annotated[float, Field(gt=0)]
    classes: tuple[ClassSpec, ...]
    """Classes of the detector, in the order of its outputs, then those of words; none without a detector."""
    visual: VisualSpec | None
    motion: MotionSpec | None
    audio: AudioSpec | None
    detector: DetectorSpec | None
    """``None`` for encoders alone: a detector can be trained with them, nothing can be scored."""
    text: TextSpec | None = None
    alignment: AlignmentSpec | None = None
    calibration: str = ""
    """A sentence about how the rules' thresholds were chosen."""
    provenance: dict[str, Any] = {}
    """Training data, metrics, parity figures, code version."""
    files: tuple[FileEntry, ...]

    @property
    def hop(self) -> Fraction:
        """The hop, exactly, in seconds."""
        return as_seconds(self.hop_s)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes in the order of the scores: the detector's outputs, then prompted classes."""
        return tuple(spec.name for spec in self.classes)

    @property
    def detected_classes(self) -> tuple[ClassSpec, ...]:
        """Classes of the detector, in the order of its outputs."""
        return tuple(spec for spec in self.classes if spec.prompt is None)

    @property
    def prompted_classes(self) -> tuple[ClassSpec, ...]:
        """Classes of words, after the detector's."""
        return tuple(spec for spec in self.classes if spec.prompt is not None)

    @property
    def graphs(self) -> tuple[str, ...]:
        """The paths of all graphs."""
        parts = (self.visual, self.motion, self.audio, self.detector, self.text)
        own = [part.graph for part in parts if part is not None]
        pair = (self.alignment.audio_graph, self.alignment.text_graph) if self.alignment else ()
        return (*own, *(path for path in pair if path is not None))

    @property
    def takes_prompts(self) -> bool:
        """True if it understands words; a bundle with prompts put in need not."""
        return self.text is not None and self.alignment is not None and self.alignment.text_graph is not None

    @property
    def has_encoders(self) -> bool:
        """False for a bundle that scores features which were made elsewhere."""
        return any(part is not None for part in (self.visual, self.motion, self.audio))

    @property
    def audio_dim(self) -> int:
        """Width of the detector's ``audio`` input; 0 without encoders, for then its graph alone knows."""
        return self.audio.embedding_dim if self.audio else 0

    @property
    def visual_dim(self) -> int:
        """Width of the detector's ``visual`` input: appearance, then motion; 0 without encoders, as above."""
        return (self.visual.embedding_dim if self.visual else 0) + (self.motion.embedding_dim if self.motion else 0)

    @property
    def appearance(self) -> VisualSpec | None:
        """The appearance encoder, if it is to be run."""
        return self.visual if self.detector is None or self.detector.uses_appearance else None

    @property
    def left_context_snippets(self) -> int:
        """Number of snippets before ``t`` that its scores may depend on."""
        return max((part.left_context_snippets for part in self._scoring), default=0)

    @property
    def lookahead_snippets(self) -> int:
        """Number of snippets after ``t`` that its scores wait for."""
        return max((part.lookahead_snippets for part in self._scoring), default=0)

    @property
    def latency_s(self) -> float:
        """Time from a snippet's end until its scores can be known: the lookahead, without compute time."""
        return float(self.lookahead_snippets * self.hop)

    @property
    def _scoring(self) -> Sequence[DetectorSpec | AlignmentSpec]:
        """The parts that score: the alignment only where a class is prompted."""
        parts = (self.detector, self.alignment if self.prompted_classes else None)
        return tuple(part for part in parts if part is not None)

    def require_detector(self) -> DetectorSpec:
        """The detector.

        Raises:
            BundleError: there is none.
        """
        if self.detector is None:
            raise BundleError(
                f"{self.name} holds encoders and no detector, so it cannot score: train one with `avdetect train "
                "--bundle` and put it in with `avdetect export --base`."
            )
        return self.detector

    @model_validator(mode="after")
    def _check(self) -> Manifest:
        names = self.class_names
        if len(set(names)) != len(names):
            raise ValueError(f"class names must be distinct, got {', '.join(names)}")
        detected, prompted = self.detected_classes, self.prompted_classes
        if self.detector is not None and not detected:
            raise ValueError("the detector has no class: there is none, or all are prompted")
        if self.detector is None and self.classes:
            raise ValueError("there are classes, and no detector to find them")
        if (*detected, *prompted) != self.classes:
            raise ValueError("prompted classes must come after those of the detector")
        for spec in prompted:
            self._check_prompt(spec)
        listed = {entry.path for entry in self.files}
        wanted = self.graphs if self.text is None else (*self.graphs, self.text.tokenizer)
        missing = [path for path in wanted if path not in listed]
        if missing:
            raise ValueError(f"files lists no {', '.join(missing)}")
        return self

    def _check_prompt(self, spec: ClassSpec) -> None:
        assert spec.prompt is not None  # who else would ask
        if self.alignment is None:
            raise ValueError(f"the class {spec.name} is prompted, and there is no alignment of sound and text")
        if len(spec.prompt.vector) != self.alignment.joint_dim:
            raise ValueError(
                f"the prompt of {spec.name} has {len(spec.prompt.vector)} numbers, the alignment "
                f"{self.alignment.joint_dim}"
            )
