"""Small pictures against FFmpeg's own conversion, on a textured picture and on colours that are known."""

from __future__ import annotations

import subprocess
import sys
import threading
from fractions import Fraction
from functools import cache
from itertools import product

import numpy as np
import pytest
from av.filter import Graph
from av.video.format import VideoFormat
from av.video.frame import VideoFrame

from avdetect.errors import MediaError
from avdetect.media import planes
from avdetect.media.planes import Orientation, PictureMaker

HEIGHT, WIDTH = 240, 320
LUMA_SIZE, RGB_SIZE = (30, 40), (48, 64)
BT_601, BT_709, BT_2020 = 6, 1, 9
LIMITED, FULL = 1, 2
MATRIX_NAMES = {BT_601: "bt601", BT_709: "bt709", BT_2020: "bt2020"}
COLOURS = ((255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255), (0, 0, 0), (128, 128, 128), (250, 200, 20))


@pytest.fixture(scope="module")
def makers() -> tuple[PictureMaker, PictureMaker]:
    return PictureMaker(LUMA_SIZE, RGB_SIZE, compiled=False), PictureMaker(LUMA_SIZE, RGB_SIZE, compiled=True)


@cache
def textured() -> np.ndarray:
    """Smooth shades, edges and noise, as in a photograph; RGB."""
    rng = np.random.default_rng(7)
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    smooth = np.stack([128 + 90 * np.sin(x / 37 + y / 53 + phase) for phase in (0, 2, 4)], -1)
    smooth[HEIGHT // 3 : HEIGHT // 2, WIDTH // 4 : WIDTH // 2] = (200, 60, 40)
    return np.clip(smooth + rng.normal(0, 12, smooth.shape), 0, 255).astype(np.uint8)


def ffmpeg(data: bytes, source: str, size: str, filters: str, target: str) -> bytes:
    command = ["ffmpeg", "-v", "error", "-f", "rawvideo", "-pix_fmt", source, "-s", size, "-i", "-", "-vf", filters]
    command += ["-pix_fmt", target, "-f", "rawvideo", "-"]
    return subprocess.run(command, input=data, capture_output=True, check=True).stdout


def coded(rgb: np.ndarray, pixel_format: str, matrix: int, colour_range: int) -> VideoFrame:
    """``rgb`` as a frame of ``pixel_format``, converted by FFmpeg and tagged."""
    height, width = rgb.shape[:2]
    layout = "out_range=full"
    if colour_range == LIMITED:
        # In video, chroma is on the column of the left of its luma samples and midway between their lines.
        pixels = VideoFormat(pixel_format, width, height)
        layout = "out_range=limited"
        layout += ":out_h_chr_pos=0" if pixels.chroma_width() < width else ""
        layout += ":out_v_chr_pos=128" if pixels.chroma_height() < height else ""
    scale = f"scale=out_color_matrix={MATRIX_NAMES[matrix]}:{layout}:flags=bicubic+accurate_rnd+full_chroma_inp"
    data = ffmpeg(rgb.tobytes(), "rgb24", f"{width}x{height}", scale, pixel_format)
    frame = VideoFrame(width, height, pixel_format)
    fill(frame, data)
    frame.colorspace, frame.color_range = matrix, colour_range
    return frame


def fill(frame: VideoFrame, data: bytes) -> None:
    """Copy packed ``data``, plane after plane, into ``frame``, whose lines are longer."""
    at = 0
    heights = {c.plane: c.height for c in frame.format.components}
    itemsize = -(-frame.format.components[0].bits // 8)
    for index, plane in enumerate(frame.planes):
        components = [c for c in frame.format.components if c.plane == index]
        row = components[0].width * len(components) * itemsize
        lines = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
        lines[:] = 99  # Whatever is beyond the picture must not be seen.
        for line in lines[: heights[index]]:
            line[:row] = np.frombuffer(data[at : at + row], np.uint8)
            at += row
    assert at == len(data)


@cache
def expected_rgb(size: tuple[int, int]) -> np.ndarray:
    """The textured picture at ``size``, by FFmpeg."""
    scale = f"scale={size[1]}:{size[0]}:flags=area+accurate_rnd"
    data = ffmpeg(textured().tobytes(), "rgb24", f"{WIDTH}x{HEIGHT}", scale, "rgb24")
    return np.frombuffer(data, np.uint8).reshape(*size, 3)


def difference(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one.astype(int) - other.astype(int)).mean())


@pytest.mark.parametrize(
    ("pixel_format", "matrix", "colour_range"),
    [
        *product(("yuv420p", "yuv444p"), (BT_601, BT_709), (LIMITED, FULL)),
        *product(("yuv422p", "yuv411p", "yuv440p", "nv12", "nv21", "yuv420p10le"), (BT_709,), (LIMITED,)),
        ("yuv444p12le", BT_2020, LIMITED),
        ("yuv422p16le", BT_709, FULL),
        ("yuva420p", BT_601, LIMITED),
        ("yuv410p", BT_601, LIMITED),
    ],
)
def test_pictures_are_those_that_ffmpeg_makes(
    makers: tuple[PictureMaker, PictureMaker], pixel_format: str, matrix: int, colour_range: int
) -> None:
    frame = coded(textured(), pixel_format, matrix, colour_range)
    shares = {BT_601: (0.299, 0.587, 0.114), BT_709: (0.2126, 0.7152, 0.0722), BT_2020: (0.2627, 0.678, 0.0593)}
    luma = expected_rgb(LUMA_SIZE) @ np.array(shares[matrix])
    for maker in makers:
        # A sixteenth of the chroma loses some of the edges' colour.
        assert difference(maker.rgb(frame), expected_rgb(RGB_SIZE)) < (2.0 if pixel_format == "yuv410p" else 1.0)
        assert difference(maker.luma(frame), luma) < 1.0
    np.testing.assert_array_equal(makers[0].rgb(frame), makers[1].rgb(frame))
    np.testing.assert_array_equal(makers[0].luma(frame), makers[1].luma(frame))


@pytest.mark.parametrize(("matrix", "colour_range"), list(product((BT_601, BT_709, BT_2020), (LIMITED, FULL))))
@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuv422p", "yuv444p10le", "nv12"])
def test_colour_bars_keep_their_colours(
    makers: tuple[PictureMaker, PictureMaker], pixel_format: str, matrix: int, colour_range: int
) -> None:
    bars = np.repeat(np.array(COLOURS, np.uint8)[None], 64, axis=1).repeat(64, axis=0)
    picture = makers[0].rgb(coded(bars, pixel_format, matrix, colour_range))
    centres = (np.arange(len(COLOURS)) + 0.5) * RGB_SIZE[1] / len(COLOURS)
    np.testing.assert_allclose(picture[10, centres.astype(int)].astype(int), COLOURS, atol=3)


RGB_FORMATS = ("rgb24", "bgr24", "bgra", "rgba", "gbrp", "gbrp10le", "gbrap", "rgb48be", "0rgb", "x2rgb10le")
PACKED_FORMATS = ("yuyv422", "uyvy422", "p010le", "yuv420p10be", "yuv444p16be", "y210le")


@pytest.mark.parametrize("pixel_format", [*RGB_FORMATS, *PACKED_FORMATS])
def test_other_formats_go_through_swscale_without_a_change_of_colour(
    makers: tuple[PictureMaker, PictureMaker], pixel_format: str
) -> None:
    plain = VideoFrame.from_ndarray(textured(), format="rgb24")
    plain.colorspace, plain.color_range = (0, FULL) if pixel_format in RGB_FORMATS else (BT_601, LIMITED)
    frame = plain.reformat(format=pixel_format, dst_colorspace="ITU601") if pixel_format != "rgb24" else plain
    assert frame.format.name == pixel_format
    assert difference(makers[0].rgb(frame), expected_rgb(RGB_SIZE)) < 1.5
    luma = expected_rgb(LUMA_SIZE) @ np.array((0.299, 0.587, 0.114))
    assert difference(makers[0].luma(frame), luma) < 1.0
    np.testing.assert_array_equal(makers[0].rgb(frame), makers[1].rgb(frame))


@pytest.mark.parametrize("pixel_format", ["gray", "gray10le", "gray16be", "ya8"])
def test_grey_pictures_are_grey(makers: tuple[PictureMaker, PictureMaker], pixel_format: str) -> None:
    plain = VideoFrame.from_ndarray(textured(), format="rgb24")
    frame = plain.reformat(format="gray", dst_color_range="JPEG").reformat(format=pixel_format)
    picture = makers[0].rgb(frame)
    assert (picture == picture[..., :1]).all()
    assert difference(picture[..., 0], expected_rgb(RGB_SIZE) @ np.array((0.299, 0.587, 0.114))) < 1.0


def test_a_palette_is_looked_up(makers: tuple[PictureMaker, PictureMaker]) -> None:
    palette = np.zeros((256, 4), np.uint8)
    palette[:2] = (255, 10, 20, 30), (255, 200, 100, 50)
    indices = np.repeat(np.array([[0, 1]], np.uint8), 32, axis=1).repeat(64, axis=0)
    picture = makers[0].rgb(VideoFrame.from_ndarray((indices, palette), format="pal8"))
    assert picture[5, 5].tolist() == [10, 20, 30]
    assert picture[5, -5].tolist() == [200, 100, 50]


def test_a_format_that_nothing_can_read_is_a_media_error(makers: tuple[PictureMaker, PictureMaker]) -> None:
    with pytest.raises(MediaError, match="pixel format rgb4 cannot be read"):
        makers[0].luma(VideoFrame(64, 64, "rgb4"))


@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuv444p", "gray", "gbrp", "rgb24"])
def test_a_picture_stored_bottom_up_is_shown_upright(
    makers: tuple[PictureMaker, PictureMaker], pixel_format: str
) -> None:
    frame = VideoFrame.from_ndarray(textured(), format="rgb24").reformat(format=pixel_format)
    graph = Graph()
    flip = graph.add("vflip")
    graph.add_buffer(width=WIDTH, height=HEIGHT, format=frame.format, time_base=Fraction(1, 25), name="in").link_to(
        flip
    )
    flip.link_to(graph.add("buffersink"))
    graph.configure()
    graph.push(frame)
    flipped = graph.pull()
    assert flipped.planes[0].line_size < 0
    assert difference(makers[0].rgb(flipped), makers[0].rgb(frame)[::-1]) < 1.0


@pytest.mark.parametrize("rotation", [0, 90, 180, 270, -90])
def test_pictures_are_turned_clockwise(makers: tuple[PictureMaker, PictureMaker], rotation: int) -> None:
    upright = coded(textured(), "yuv420p", BT_601, LIMITED)
    turned = coded(np.ascontiguousarray(np.rot90(textured(), rotation // 90)), "yuv420p", BT_601, LIMITED)
    maker = PictureMaker((30, 40), (48, 48), compiled=False)
    assert maker.luma(turned, Orientation(rotation)).shape == (30, 40)
    assert difference(maker.luma(turned, Orientation(rotation)), maker.luma(upright)) < 0.6
    assert difference(maker.rgb(turned, Orientation(rotation)), maker.rgb(upright)) < 1.0


@pytest.mark.parametrize(("size", "matrix"), [((720, 1280), BT_709), ((576, 720), BT_601), ((1080, 608), BT_709)])
def test_an_unspecified_matrix_is_chosen_by_the_size(
    makers: tuple[PictureMaker, PictureMaker], size: tuple[int, int], matrix: int
) -> None:
    frame = coded(np.full((*size, 3), (200, 60, 40), np.uint8), "yuv420p", matrix, LIMITED)
    frame.colorspace, frame.color_range = 2, 0
    np.testing.assert_allclose(makers[0].rgb(frame)[0, 0].astype(int), (200, 60, 40), atol=2)


def test_the_kind_of_picture_may_change_at_any_time() -> None:
    maker = PictureMaker(LUMA_SIZE, RGB_SIZE, compiled=False)
    for pixel_format, colour_range in product(("yuv420p", "yuv444p10le", "yuv420p"), (LIMITED, FULL)):
        for source in (textured(), textured()[:200, :161]):
            frame = coded(np.ascontiguousarray(source), pixel_format, BT_709, colour_range)
            fresh = PictureMaker(LUMA_SIZE, RGB_SIZE, compiled=False)
            np.testing.assert_array_equal(maker.rgb(frame), fresh.rgb(frame))


def test_what_is_remembered_of_kinds_of_pictures_is_bounded() -> None:
    maker = PictureMaker((2, 2), (2, 2), compiled=False)
    for width in range(16, 100):
        maker.luma(VideoFrame(width, 16, "gray"))
    assert len(maker._recipes) <= planes._MAX_RECIPES


def test_a_size_of_zero_costs_nothing() -> None:
    maker = PictureMaker((0, 0), (0, 0))
    frame = VideoFrame(64, 64, "yuv420p")
    assert maker.luma(frame).shape == (0, 0)
    assert maker.rgb(frame, Orientation(90)).shape == (0, 0, 3)


def test_the_kernel_takes_over_after_enough_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planes, "_LOADING_S", 0.002)
    maker = PictureMaker(LUMA_SIZE, RGB_SIZE)
    frame = coded(textured(), "yuv420p", BT_709, LIMITED)
    first = maker.luma(frame)
    while maker._is_undecided:
        maker.luma(frame)
    for thread in threading.enumerate():
        if thread.name == "avdetect-kernels":
            thread.join()
    assert maker._resample is not planes.resample
    np.testing.assert_array_equal(maker.luma(frame), first)


@pytest.mark.parametrize(("expected", "loads"), [(10**6, True), (100, False)])
def test_a_known_length_is_decided_upon_early(expected: int, loads: bool) -> None:
    script = (
        "import sys, threading, av; from avdetect.media.planes import Orientation, PictureMaker;"
        f"maker = PictureMaker((60, 80), (160, 160), expected_pictures={expected});"
        "frame = av.VideoFrame(1280, 720, 'yuv420p'); [maker.luma(frame) for _ in range(20)];"
        "[thread.join() for thread in threading.enumerate() if thread.name == 'avdetect-kernels'];"
        f"sys.exit(('numba' in sys.modules) != {loads})"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_short_clips_never_import_numba() -> None:
    script = (
        "import sys, av; from avdetect.media.planes import Orientation, PictureMaker;"
        "maker = PictureMaker((60, 80), (160, 160)); frame = av.VideoFrame(1280, 720, 'yuv420p');"
        "[maker.luma(frame) for _ in range(20)]; sys.exit('numba' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
