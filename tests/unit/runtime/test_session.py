from __future__ import annotations

import onnxruntime
import pytest

from avdetect.errors import BundleError, ProviderError, UsageError
from avdetect.runtime.bundle_files import default_bundle_path
from avdetect.runtime.session import Provider, choose_provider, open_session


@pytest.mark.parametrize("device", ["gpu", "cpu:1", "auto:0", "cuda:x", ""])
def test_an_unknown_device_is_misuse(device: str) -> None:
    with pytest.raises(UsageError, match="choose auto, cpu, cuda, cuda:N or tensorrt"):
        choose_provider(device)


def test_the_cpu_is_always_there() -> None:
    assert choose_provider("cpu").is_cpu


def test_a_gpu_that_does_not_answer_is_an_error_not_a_fallback() -> None:
    with pytest.raises(ProviderError, match="--device cuda:99: .*choose --device cpu"):
        choose_provider("cuda:99")


@pytest.mark.skipif(
    "CUDAExecutionProvider" not in onnxruntime.get_available_providers(), reason="onnxruntime without CUDA"
)
def test_a_provider_that_onnxruntime_drops_is_an_error() -> None:
    """onnxruntime itself goes on with the CPU and a log line."""
    graph = (default_bundle_path() / "detector.onnx").read_bytes()
    with pytest.raises(ProviderError, match="asked for CUDAExecutionProvider, onnxruntime loaded CPUExecutionProvider"):
        open_session(graph, name="detector.onnx", provider=Provider("CUDAExecutionProvider", 77), num_threads=1)


def test_a_graph_onnxruntime_cannot_read_is_named() -> None:
    with pytest.raises(BundleError, match=r"visual\.onnx cannot be loaded by onnxruntime"):
        open_session(b"\x08\x08", name="visual.onnx", provider=choose_provider("cpu"), num_threads=1)
