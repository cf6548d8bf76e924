"""The motion encoder: statistics of how a few small luma pictures change, written with plain ONNX operators.

Every number is made per pair of consecutive pictures first, then summed up over the pairs of a snippet:

* *difference*: what is left of the change of luma after the change of the mean (exposure, flicker) is taken
  off and small differences (noise) are shrunk to zero, as a rate per cell of 0.08 s;
* *flow*: least squares optical flow, once for the whole picture (a camera that pans) and once per block of a
  grid; what the global flow does not explain is the motion of things in the picture;
* *jerk*: how much the difference changes from one pair to the next;
* *cut*: pictures that have nothing to do with each other; such pairs count as cuts and not as motion.

Pairs without a time difference (a picture that stands in for a missing one) do not count at all. Nothing is said of
where in the picture things move: with numbers per place, a detector learns its training cameras by heart.
"""

from __future__ import annotations

from dataclasses import dataclass

import onnx

from avdetect_export.graph_builder import GraphBuilder

__all__ = [
    "MOTION",
    "PAIR_FEATURES",
    "MotionGraphSpec",
    "MotionStatistics",
    "motion_feature_names",
    "motion_graph",
]


@dataclass(frozen=True, slots=True)
class MotionGraphSpec:
    """The sizes and constants of the motion encoder. Luma is in grey levels, 0 to 255."""

    num_cells: int = 8
    height: int = 60
    width: int = 80
    block_pixels: int = 10
    """Side of the square blocks that have a flow of their own."""
    region_blocks: int = 2
    """Side of the square regions, in blocks, of which the liveliest is reported."""
    cell_s: float = 0.08
    """Differences are given as rates over this time."""
    rate_limits: tuple[float, float] = (0.25, 2.0)
    """A difference saturates as soon as things have moved by their own size, so slow pictures are not scaled down
    in full, nor fast ones up."""
    noise_levels: float = 3.0
    """Differences up to this are taken as noise."""
    moving_levels: float = 12.0
    """A pixel that changes by more moves."""
    gradient_floor: float = 4.0
    """Added to gradients, in grey levels per pixel, so that flat places have no flow."""
    cut_correlation: float = 0.5
    """Two pictures that correlate less, and differ by more than ``cut_levels``, are on two sides of a cut."""
    cut_levels: float = 12.0


MOTION = MotionGraphSpec()

PAIR_FEATURES = (
    "difference",
    "difference_rms",
    "moving_share",
    "normal_flow",
    "pan",
    "unexplained",
    "flow",
    "flow_disorder",
    "flow_peak",
    "difference_peak",
    "brightness",
    "jerk",
)
"""The measures of every pair of pictures."""

_MOMENTS = ("mean", "std", "max")
_PICTURE_FEATURES = ("pairs", "cuts", "luma", "contrast", "detail")


def motion_feature_names(spec: MotionGraphSpec = MOTION) -> tuple[str, ...]:
    """Names of the numbers of the embedding, in order."""
    return (*(f"{feature}_{moment}" for moment in _MOMENTS for feature in PAIR_FEATURES), *_PICTURE_FEATURES)


def motion_graph(spec: MotionGraphSpec = MOTION) -> onnx.ModelProto:
    """``luma`` uint8 ``[N, 9, 60, 80]``, ``time_s`` float32 ``[N, 9]`` -> ``embedding`` float32 ``[N, D]``.

    All numbers are finite and between 0 and about 6; a snippet without two distinct pictures has no motion.
    """
    g = GraphBuilder("motion")
    luma = g.input("luma", "uint8", ("N", spec.num_cells + 1, spec.height, spec.width))
    time_s = g.input("time_s", "float32", ("N", spec.num_cells + 1))
    embedding = MotionStatistics(g, spec, g.as_float(luma), time_s).build()
    g.output("embedding", embedding, "float32", ("N", len(motion_feature_names(spec))))
    return g.build()


class MotionStatistics:
    """The statistics, as a part of a graph. Values that several features need are each ``[N, pairs, ...]``.

    Args:
        g: the graph.
        spec: sizes and constants.
        luma: float ``[N, 9, 60, 80]``, in grey levels.
        time_s: float ``[N, 9]``.
    """

    def __init__(self, g: GraphBuilder, spec: MotionGraphSpec, luma: str, time_s: str) -> None:
        self.g = g
        self.spec = spec
        mean = g.reduce("ReduceMean", luma, 2, 3)
        centred = g.op("Sub", luma, mean)
        self.mean, self.centred = mean, centred
        self.mean_before, self.mean_after = g.slice(mean, 1, 0, -1), g.slice(mean, 1, 1)
        self.before, self.after = g.slice(centred, 1, 0, -1), g.slice(centred, 1, 1)
        self.change = g.op("Sub", self.after, self.before)
        elapsed = g.op("Sub", g.slice(time_s, 1, 1), g.slice(time_s, 1, 0, -1))
        self.distinct = g.as_float(g.op("Greater", elapsed, g.constant(1e-4)))
        self.cut = g.op("Mul", self.distinct, self._is_cut())
        self.counted = g.op("Sub", self.distinct, self.cut)
        rate = g.op("Div", g.constant(spec.cell_s), g.op("Max", elapsed, g.constant(1e-4)))
        low, high = spec.rate_limits
        self.rate = g.unsqueeze(g.op("Clip", rate, g.constant(low), g.constant(high)), 2, 3)

    def build(self) -> str:
        """The numbers that ``motion_feature_names`` names, ``[N, D]``."""
        g, spec = self.g, self.spec
        shrunk = g.op("Sub", g.op("Abs", self.change), g.constant(spec.noise_levels))
        difference = g.op("Mul", g.op("Relu", shrunk), self.rate)
        regions = self._average(difference, spec.block_pixels * spec.region_blocks)
        pairs = g.op("Concat", *self._pair_features(difference, regions), axis=2)
        return g.op("Concat", *self._over_time(pairs), self._picture_features(), axis=1)

    def _is_cut(self) -> str:
        """1 where a pair has nothing in common, ``[N, pairs]``."""
        g = self.g
        product = g.reduce("ReduceSum", g.op("Mul", self.before, self.after), 2, 3, keepdims=False)
        power = g.reduce("ReduceSum", g.op("Mul", self.centred, self.centred), 2, 3, keepdims=False)
        powers = g.op("Mul", g.slice(power, 1, 0, -1), g.slice(power, 1, 1))
        bound = g.op("Mul", g.op("Sqrt", powers), g.constant(self.spec.cut_correlation))
        level = g.reduce("ReduceMean", g.op("Abs", self.change), 2, 3, keepdims=False)
        unlike = g.op("Less", product, bound)
        large = g.op("Greater", level, g.constant(self.spec.cut_levels))
        return g.as_float(g.op("And", unlike, large))

    def _pair_features(self, difference: str, regions: str) -> list[str]:
        """Each ``[N, pairs, 1]``, compressed by a logarithm, in the order of ``PAIR_FEATURES``."""
        g, spec = self.g, self.spec
        gx, gy = self._gradients()
        slope = g.op("Sqrt", g.op("Add", g.op("Mul", gx, gx), g.op("Mul", gy, gy)))
        normal = g.op("Div", difference, g.op("Add", slope, g.constant(spec.gradient_floor)))
        moving = g.as_float(g.op("Greater", g.op("Abs", self.change), g.constant(spec.moving_levels)))
        products = self._flow_products(gx, gy)
        blocks = [self._average(product, spec.block_pixels) for product in products]
        whole = [g.reduce("ReduceMean", block, 2, 3) for block in blocks]
        pan_x, pan_y = self._solve_flow(whole)
        flow_x, flow_y = self._solve_flow(blocks)
        flow = self._speed(flow_x, flow_y)
        astray = self._speed(g.op("Sub", flow_x, pan_x), g.op("Sub", flow_y, pan_y))
        explained = g.op("Add", g.op("Mul", gx, pan_x), g.op("Mul", gy, pan_y))
        rest = g.op("Abs", g.op("Add", self.change, explained))
        rest = g.op("Mul", g.op("Relu", g.op("Sub", rest, g.constant(spec.noise_levels))), self.rate)
        brightness = g.op("Abs", g.op("Sub", self.mean_after, self.mean_before))
        return [
            self._log(self._mean(difference), 1.0),
            self._log(g.op("Sqrt", self._mean(g.op("Mul", difference, difference))), 1.0),
            self._log(self._mean(moving), 20.0),
            self._log(self._mean(normal), 10.0),
            self._log(self._speed(pan_x, pan_y), 2.0),
            self._log(self._mean(rest), 1.0),
            self._log(self._mean(flow), 2.0),
            self._log(self._mean(astray), 2.0),
            self._log(g.reduce("ReduceMax", astray, 2, 3), 2.0),
            self._log(g.reduce("ReduceMax", regions, 2, 3), 1.0),
            self._log(brightness, 1.0),
            self._log(self._jerk(), 1.0),
        ]

    def _gradients(self) -> tuple[str, str]:
        """Central differences in grey levels per pixel of the mean of a pair, ``[N, pairs, height, width]`` each.

        Zero along the border, where there is no neighbour.
        """
        g = self.g
        picture = g.op("Mul", g.op("Add", self.before, self.after), g.constant(0.25))

        def along(axis: int) -> str:
            inner = g.op("Sub", g.slice(picture, axis, 2), g.slice(picture, axis, 0, -2))
            before = [1 if place == axis else 0 for place in range(4)]
            return g.op("Pad", inner, g.integers(*before, *before))

        return along(3), along(2)

    def _flow_products(self, gx: str, gy: str) -> list[str]:
        """Compute the parts of the normal equations of ``change + gx * u + gy * v = 0``."""
        g = self.g
        pairs = ((gx, gx), (gx, gy), (gy, gy), (gx, self.change), (gy, self.change))
        return [g.op("Mul", a, b) for a, b in pairs]

    def _solve_flow(self, products: list[str]) -> tuple[str, str]:
        """Flow in pixels from the means of ``_flow_products``; drawn to zero where there is no detail."""
        g, spec = self.g, self.spec
        ridge = g.constant(spec.gradient_floor**2)
        xx, xy, yy, xt, yt = products
        xx, yy = g.op("Add", xx, ridge), g.op("Add", yy, ridge)
        determinant = g.op("Sub", g.op("Mul", xx, yy), g.op("Mul", xy, xy))
        u = g.op("Sub", g.op("Mul", xy, yt), g.op("Mul", yy, xt))
        v = g.op("Sub", g.op("Mul", xy, xt), g.op("Mul", xx, yt))
        return g.op("Div", u, determinant), g.op("Div", v, determinant)

    def _jerk(self) -> str:
        """Mean absolute change of the difference from one pair to the next, ``[N, pairs, 1, 1]``.

        A pair that counts and has none before it that does (the first of a snippet, one after a cut) takes the mean
        of the others: it tells nothing, and must not pass for calm.
        """
        g = self.g
        rates = g.op("Mul", self.change, self.rate)
        turn = g.op("Abs", g.op("Sub", g.slice(rates, 1, 1), g.slice(rates, 1, 0, -1)))
        turn = g.op("Relu", g.op("Sub", turn, g.constant(2 * self.spec.noise_levels)))
        both = g.unsqueeze(g.op("Mul", g.slice(self.counted, 1, 1), g.slice(self.counted, 1, 0, -1)), 2, 3)
        level = g.op("Mul", self._mean(turn), both)
        number = g.op("Max", g.reduce("ReduceSum", both, 1), g.constant(1.0))
        usual = g.op("Div", g.reduce("ReduceSum", level, 1), number)
        missing = g.op("Mul", usual, g.op("Sub", g.constant(1.0), both))
        return g.op("Concat", usual, g.op("Add", level, missing), axis=1)

    def _over_time(self, values: str) -> list[str]:
        """Mean, standard deviation and maximum of ``[N, pairs, D]`` over the pairs that count, ``[N, D]`` each."""
        g = self.g
        counted = g.unsqueeze(self.counted, 2)
        number = g.op("Max", g.reduce("ReduceSum", counted, 1, keepdims=False), g.constant(1.0))

        def mean(value: str) -> str:
            total = g.reduce("ReduceSum", g.op("Mul", value, counted), 1, keepdims=False)
            return g.op("Div", total, number)

        centre = mean(values)
        away = g.op("Sub", values, g.unsqueeze(centre, 1))
        spread = g.op("Sqrt", mean(g.op("Mul", away, away)))
        highest = g.reduce("ReduceMax", g.op("Mul", values, counted), 1, keepdims=False)
        return [centre, spread, highest]

    def _picture_features(self) -> str:
        """Number of pairs and cuts (as shares), mean luma, contrast and detail, ``[N, 5]``."""
        g, spec = self.g, self.spec
        share = g.constant(1 / spec.num_cells)
        pairs = g.op("Mul", g.reduce("ReduceSum", self.distinct, 1), share)
        cuts = g.op("Min", g.reduce("ReduceSum", self.cut, 1), g.constant(1.0))
        luma = g.op("Mul", g.reduce("ReduceMean", self.mean, 1, 2, 3), g.constant(1 / 255))
        deviation = g.op("Sqrt", g.reduce("ReduceMean", g.op("Mul", self.centred, self.centred), 1, 2, 3))
        last = g.slice(self.centred, 1, spec.num_cells)
        step = g.op("Abs", g.op("Sub", g.slice(last, 3, 1), g.slice(last, 3, 0, -1)))
        detail = self._log(g.reduce("ReduceMean", step, 1, 2, 3), 1.0, flat=False)
        contrast = g.op("Mul", deviation, g.constant(1 / 64))
        pictures = [g.reshape(value, -1, 1) for value in (luma, contrast, detail)]
        return g.op("Concat", pairs, cuts, *pictures, axis=1)

    def _mean(self, value: str) -> str:
        return self.g.reduce("ReduceMean", value, 2, 3)

    def _average(self, value: str, side: int) -> str:
        return self.g.op("AveragePool", value, kernel_shape=(side, side), strides=(side, side))

    def _speed(self, x: str, y: str) -> str:
        """Length of a flow, as a rate per cell."""
        g = self.g
        length = g.op("Sqrt", g.op("Add", g.op("Mul", x, x), g.op("Mul", y, y)))
        return g.op("Mul", length, self.rate)

    def _log(self, value: str, scale: float, *, flat: bool = True) -> str:
        """``log(1 + scale * value)``, as ``[N, pairs, 1]``."""
        g = self.g
        scaled = value if scale == 1.0 else g.op("Mul", value, g.constant(scale))
        logarithm = g.op("Log", g.op("Add", scaled, g.constant(1.0)))
        return g.reshape(logarithm, 0, 0, 1) if flat else logarithm
