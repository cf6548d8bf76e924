"""One training step, vectorised, against MACIL-SD's written with its loops over the batch: at least 3 is wanted.

A step is forward, losses, backward and both optimizers, on 128 bags of 200 snippets of 1024 + 128 numbers. Timed are
the product's step, and the published one as ``--recipe macil-sd`` runs it, each in turn with the plain one.

python benchmarks/training_step.py [--rounds 5] [--threads 2]
"""

from __future__ import annotations

import argparse
import multiprocessing
import re
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import plain_macil_sd as plain
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Adam

from avdetect.models.heads import instance_mask, topk_mean
from avdetect.models.macil_sd import MacilSdConfig, MacilSdNet, MacilSdPartner
from avdetect.models.two_stream import TwoStreamConfig, TwoStreamNet, VisualPartner
from avdetect.training.objectives.bag import bag_loss
from avdetect.training.objectives.contrastive import (
    Modality,
    contrastive_losses,
    macil_sd_losses,
    macil_sd_partner_loss,
)

NUM_BAGS, NUM_SNIPPETS, AUDIO_DIM, VISUAL_DIM = 128, 200, 128, 1024
CONTRAST_WEIGHT = 1.5

Step = Callable[[], None]


def product_step() -> Step:
    audio, visual, labels, num_instances = batch()
    config = TwoStreamConfig(audio_dim=AUDIO_DIM, visual_dim=VISUAL_DIM, num_classes=1)
    network, partner = TwoStreamNet(config), VisualPartner(config)
    present = torch.ones(NUM_BAGS, NUM_SNIPPETS, 2, dtype=torch.bool)
    valid = instance_mask(num_instances, NUM_SNIPPETS)

    def losses() -> Iterator[Tensor]:
        out = network(audio, visual, present, num_instances)
        contrast = contrastive_losses(
            Modality(out.audio_logits, out.audio_representation, valid),
            Modality(out.visual_logits, out.visual_representation, valid),
            labels > 0.5,
        )
        yield bag_loss(topk_mean(out.logits, num_instances), labels) + CONTRAST_WEIGHT * sum(contrast)
        logits = partner(visual, present[..., 1], num_instances)
        yield bag_loss(topk_mean(logits, num_instances), labels)

    return optimised(network, partner, losses)


def reference_step() -> Step:
    audio, visual, labels, num_instances = batch()
    network, partner = published_networks(audio, visual, num_instances)

    def losses() -> Iterator[Tensor]:
        yield macil_sd_losses(network(audio, visual), labels, num_instances).total(CONTRAST_WEIGHT)
        yield macil_sd_partner_loss(partner(visual), labels, num_instances)

    return optimised(network, partner, losses)


def plain_step() -> Step:
    audio, visual, labels, num_instances = batch()
    network, partner = published_networks(audio, visual, num_instances)
    weights, partner_weights = dict(network.named_parameters()), dict(partner.named_parameters())

    def losses() -> Iterator[Tensor]:
        logits, heard, seen, audio_side, visual_side = plain.audio_visual(weights, audio, visual, training=True)
        bags = plain.bag_probabilities(logits[..., 0], num_instances)
        # The published code hands the visual stream over as the audio side.
        terms = plain.contrast(bags, heard[..., 0], seen[..., 0], num_instances, visual_side, audio_side)
        yield functional.binary_cross_entropy(bags, labels[:, 0]) + CONTRAST_WEIGHT * sum(terms)
        bags = plain.bag_probabilities(plain.visual_only(partner_weights, visual, training=True)[..., 0], num_instances)
        yield functional.binary_cross_entropy(bags, labels[:, 0])

    return optimised(network, partner, losses)


def batch() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    torch.manual_seed(0)
    audio, visual = (torch.randn(NUM_BAGS, NUM_SNIPPETS, width) for width in (AUDIO_DIM, VISUAL_DIM))
    labels = (torch.rand(NUM_BAGS, 1) > 0.5).float()
    return audio, visual, labels, torch.full((NUM_BAGS,), NUM_SNIPPETS)


@torch.no_grad()
def published_networks(audio: Tensor, visual: Tensor, num_instances: Tensor) -> tuple[MacilSdNet, MacilSdPartner]:
    """Both, and scores on either side of one half, as in training: otherwise the contrastive terms are left out."""
    network, partner = MacilSdNet(MacilSdConfig()), MacilSdPartner(MacilSdConfig())
    median = topk_mean(network(audio, visual).logits, num_instances).median()
    network.att_mmil.fc.bias.sub_(median / 2)  # it counts once for each stream
    return network, partner


def optimised(network: nn.Module, partner: nn.Module, losses: Callable[[], Iterator[Tensor]]) -> Step:
    """The losses of both, backward, and a step of both published optimizers."""
    optimizers = (Adam(network.parameters(), lr=4e-4), Adam(partner.parameters(), lr=8e-5))

    def step() -> None:
        for loss, optimizer in zip(losses(), optimizers, strict=True):
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    return step


STEPS = {"product": product_step, "reference": reference_step, "plain": plain_step}


def timed(step: Step) -> tuple[float, float]:
    """Wall and processor time, in seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    step()
    return time.perf_counter() - wall, time.process_time() - cpu


def peak_mb(name: str, threads: int) -> float:
    """The most memory that a fresh process needs for two steps, torch and the batch included."""
    torch.set_num_threads(threads)
    step = STEPS[name]()
    step()
    step()
    status = Path("/proc/self/status").read_text("ascii")
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) / 1024  # type: ignore[index]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    steps = {name: make() for name, make in STEPS.items()}
    for step in steps.values():
        step()
    times = [{name: timed(step) for name, step in steps.items()} for _ in range(options.rounds)]
    for name in ("product", "reference"):
        walls, cpus = ([row["plain"][i] / row[name][i] for row in times] for i in range(2))
        print(f"plain / {name}: wall {statistics.median(walls):.2f}, processor {statistics.median(cpus):.2f}")
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        for name in STEPS:
            wall_s, cpu_s = (statistics.median(row[name][i] for row in times) for i in range(2))
            memory = pool.apply(peak_mb, (name, options.threads))
            print(f"  {name}: median {wall_s:.2f} s wall, {cpu_s:.2f} s processor, peak {memory:.0f} MB")


if __name__ == "__main__":
    main()
