"""onnxruntime sessions on the provider that was asked for, and graphs as their manifest promises, or an error."""

from __future__ import annotations

import ctypes
import os
import re
import sys
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from avdetect.errors import BundleError, ProviderError, UsageError

if TYPE_CHECKING:
    import onnxruntime

_CPU = "CPUExecutionProvider"
_NAMES = {"cpu": _CPU, "cuda": "CUDAExecutionProvider", "tensorrt": "TensorrtExecutionProvider"}
_MAX_THREADS = 4
"""Number of threads for one run of a graph; the encoders are too small to keep more of them busy."""
_ERROR_LEVEL = 3  # onnxruntime's log severities: 0 verbose, 1 info, 2 warning, 3 error, 4 fatal


@dataclass(frozen=True, slots=True)
class Provider:
    """An execution provider and a device for onnxruntime."""

    name: str
    """onnxruntime's name of the execution provider."""
    device_index: int = 0

    @property
    def is_cpu(self) -> bool:
        """True for the CPU."""
        return self.name == _CPU


def choose_provider(device: str) -> Provider:
    """The execution provider for ``auto``, ``cpu``, ``cuda``, ``cuda:N``, ``tensorrt`` or ``tensorrt:N``.

    ``auto`` takes CUDA where the installed onnxruntime has it and a GPU answers, the CPU elsewhere.

    Raises:
        UsageError: ``device`` is none of these.
        ProviderError: the installed onnxruntime lacks it, or no GPU answers.
    """
    match = re.fullmatch(r"(auto|cpu|cuda|tensorrt)(?::(\d+))?", device.strip().lower())
    if match is None or (match[2] and match[1] in ("auto", "cpu")):
        raise UsageError(f"device {device!r} is not known; choose auto, cpu, cuda, cuda:N or tensorrt.")
    kind, index = match[1], int(match[2] or 0)
    if kind == "cpu":
        return Provider(_CPU)

    import onnxruntime

    available = onnxruntime.get_available_providers()
    if kind == "auto":
        return Provider(_NAMES["cuda"] if _NAMES["cuda"] in available and _num_gpus() > 0 else _CPU)
    name = _NAMES[kind]
    if name not in available:
        raise ProviderError(
            f"--device {device}: this onnxruntime has no {name} (it has {', '.join(available)}); "
            "install onnxruntime-gpu in place of onnxruntime, or choose --device cpu."
        )
    if index >= _num_gpus():
        raise ProviderError(
            f"--device {device}: {_num_gpus()} NVIDIA GPU(s) answer on this machine; check the driver with nvidia-smi, "
            "or choose --device cpu."
        )
    return Provider(name, index)


@dataclass(frozen=True, slots=True, eq=False)
class OpenedSessions:
    """Sessions of a bundle's graphs, all in the same place."""

    sessions: dict[str, onnxruntime.InferenceSession]
    """The sessions by part of the bundle."""
    provider: Provider
    notes: tuple[str, ...]
    """Notes for the user about opening them."""


def open_sessions(
    graphs: Mapping[str, bytes], *, where: Path, device: str, num_threads: int | None, optimise: bool = True
) -> OpenedSessions:
    """Open ``graphs`` on ``device``; where it is ``auto`` and the GPU cannot be used, on the CPU.

    Args:
        graphs: ONNX models by part.
        where: their bundle, for messages.
        device: as for ``choose_provider``.
        num_threads: of the CPU, for one run of a graph; by default one per processor, but no more than four.
        optimise: False for graphs that are run so seldom that the time is better spent on running them as they are.

    Raises:
        BundleError: onnxruntime cannot read a graph.
        ProviderError: the device was asked for and could not be loaded.
        UsageError: ``device`` is not known.
    """
    num_threads = num_threads or min(os.cpu_count() or 1, _MAX_THREADS)
    provider = choose_provider(device)
    try:
        return OpenedSessions(_open_all(graphs, where, provider, num_threads, optimise=optimise), provider, ())
    except ProviderError as error:
        if device != "auto":
            raise
        note = f"A GPU is there but cannot be used, running on the CPU: {error}"
    provider = choose_provider("cpu")
    return OpenedSessions(_open_all(graphs, where, provider, num_threads, optimise=optimise), provider, (note,))


def _open_all(
    graphs: Mapping[str, bytes], where: Path, provider: Provider, num_threads: int, *, optimise: bool
) -> dict[str, onnxruntime.InferenceSession]:
    """Open the sessions side by side: onnxruntime optimises a graph without holding Python's lock."""
    with ThreadPoolExecutor(max_workers=len(graphs)) as pool:
        opening = {
            part: pool.submit(
                open_session,
                graph,
                name=f"{where}: {part}",
                provider=provider,
                num_threads=num_threads,
                optimise=optimise,
            )
            for part, graph in graphs.items()
        }
        return {part: future.result() for part, future in opening.items()}


def open_session(
    graph: bytes, *, name: str, provider: Provider, num_threads: int, optimise: bool = True
) -> onnxruntime.InferenceSession:
    """Open ``graph`` on ``provider``.

    Args:
        graph: the ONNX model.
        name: what to call it in messages.
        provider: where to run it.
        num_threads: of the CPU, for one run.
        optimise: let onnxruntime rewrite the graph for speed.

    Raises:
        ProviderError: onnxruntime did not load the provider.
        BundleError: onnxruntime cannot read the graph.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = num_threads
    options.log_severity_level = _ERROR_LEVEL
    if not optimise:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    # Threads that spin between runs take the processor from the decoder.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        session = onnxruntime.InferenceSession(graph, options, providers=_provider_list(provider))
    except Exception as error:  # onnxruntime's exceptions have no common base but Exception
        raise BundleError(f"{name} cannot be loaded by onnxruntime {onnxruntime.__version__}: {error}") from error
    loaded = session.get_providers()
    if loaded[0] != provider.name:
        raise ProviderError(
            f"{name}: asked for {provider.name}, onnxruntime loaded {', '.join(loaded)}; install the CUDA libraries it "
            "needs (pip install 'onnxruntime-gpu[cuda,cudnn]'), or choose --device cpu."
        )
    return session


def _provider_list(provider: Provider) -> list[Any]:
    if provider.is_cpu:
        return [_CPU]
    _preload_cuda_libraries()
    cuda = (_NAMES["cuda"], {"device_id": provider.device_index, "cudnn_conv_algo_search": "HEURISTIC"})
    if provider.name == _NAMES["cuda"]:
        return [cuda, _CPU]
    cache_root = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")  # noqa: PTH111
    engines = {
        "device_id": provider.device_index,
        "trt_fp16_enable": True,
        "trt_engine_cache_enable": True,
        "trt_timing_cache_enable": True,
        "trt_engine_cache_path": os.path.join(cache_root, "avdetect", "tensorrt"),  # noqa: PTH118
    }
    return [(provider.name, engines), cuda, _CPU]


@cache
def _preload_cuda_libraries() -> None:
    """Let onnxruntime find the CUDA libraries that pip installed."""
    import onnxruntime

    preload = getattr(onnxruntime, "preload_dlls", None)  # from 1.21 on
    if preload is not None:
        preload()


@cache
def _num_gpus() -> int:
    """Return the number of NVIDIA GPUs that the driver reports; 0 without a driver."""
    try:
        driver = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
        count = ctypes.c_int(0)
        if driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0:
            return count.value
    except (OSError, AttributeError):
        pass
    return 0


def check_inputs(
    where: Path, part: str, session: onnxruntime.InferenceSession, widths: Mapping[str, int | None]
) -> None:
    """The graph takes what it is to be given.

    Args:
        where: the bundle.
        part: what the graph is called in messages.
        session: of the graph.
        widths: how many numbers, of the last axis, each input has; ``None`` where that is not asked.

    Raises:
        BundleError: an input is not there, or the graph says that it has another width.
    """
    _check(where, part, "input", session.get_inputs(), widths, "takes")


def check_outputs(
    where: Path, part: str, session: onnxruntime.InferenceSession, widths: Mapping[str, int | None]
) -> None:
    """The graph gives what is wanted of it; arguments and errors as of ``check_inputs``."""
    _check(where, part, "output", session.get_outputs(), widths, "gives")


def _check(
    where: Path,
    part: str,
    kind: str,
    nodes: Iterable[onnxruntime.NodeArg],
    widths: Mapping[str, int | None],
    does: str,
) -> None:
    found = {node.name: node.shape[-1] if node.shape else None for node in nodes}
    missing = [name for name in widths if name not in found]
    if missing:
        raise BundleError(
            f"{where}: the {part} graph has no {kind} called {', '.join(missing)} (it has {', '.join(sorted(found))})."
        )
    for name, wanted in widths.items():
        if wanted is not None and isinstance(found[name], int) and found[name] != wanted:
            raise BundleError(
                f"{where}: the {part} graph {does} {found[name]} numbers of {name}, its manifest says {wanted}."
            )
