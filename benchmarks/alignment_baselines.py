"""What the alignment is measured against, trained on the same data through the same encoders.

    python benchmarks/alignment_baselines.py SOUNDS.jsonl TRACKS.jsonl --embeddings DIR

Mean pooling: a recording is the mean of its snippets' embeddings, a text the mean of its phrases', each followed by a
linear map into the joint space; symmetric InfoNCE on the cosine, on the very batches that the alignment learns from.
Its recall among the tracks is printed.

Linear probe: logistic regression on the mean embedding of each sound, trained on the split train of SOUNDS with the
classes that prompts have to do without. Its accuracy on the split val is printed, for several strengths of
regularisation.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn
from torch.nn import functional

from avdetect.evaluation.retrieval import recall
from avdetect.features.encoders import EncoderSessions
from avdetect.runtime.bundle import Bundle
from avdetect.text.records import TextRecord, read_text_records
from avdetect.training.alignment.scene_bank import audio_only
from avdetect.training.alignment.track_batches import ComposedBatches, told
from avdetect.training.alignment.train_text import PhraseCache, feature_statistics, prepare
from avdetect.training.config import TextTrainConfig
from avdetect.training.embeddings import Encoders, embed
from avdetect.training.objectives.infonce import ContrastiveBatch, SymmetricInfoNCE
from avdetect_export.text_graph import load_sentence_transformer

LEARNING_RATE = 2e-3
WEIGHT_DECAY = 1e-2
REGULARISATIONS = (1e-3, 1e-2, 1e-1, 1.0)


class MeanPooling(nn.Module):
    """Mean, then a linear map, on both sides."""

    def __init__(self, mean: Tensor, std: Tensor, text_dim: int, joint_dim: int) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)
        self.audio = nn.Linear(len(mean), joint_dim)
        self.text = nn.Linear(text_dim, joint_dim)
        self.log_scale = nn.Parameter(torch.tensor(2.6))

    def scores(self, audio: Tensor, present: Tensor, phrases: Tensor, said: Tensor) -> Tensor:
        """Every recording ``[A, T, audio_dim]`` against every text ``[L, N, text_dim]``: ``[A, L]``."""
        heard = self.audio((masked_mean(audio, present) - self.mean) / self.std)
        read = self.text(masked_mean(phrases, said))
        return self.log_scale.exp() * functional.normalize(heard, dim=-1) @ functional.normalize(read, dim=-1).T


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """``[B, T, D]`` and bool ``[B, T]`` -> ``[B, D]``."""
    return (values * mask[..., None]).sum(1) / mask.sum(1, keepdim=True).clamp(min=1)


def train_mean_pooling(config: TextTrainConfig, encoders: Encoders, phrases: PhraseCache) -> MeanPooling:
    """On the batches that ``avdetect train-text`` would use with the same config."""
    material = prepare(config, encoders)
    torch.manual_seed(config.run.seed)
    mean, std = feature_statistics(material)
    network = MeanPooling(mean, std + 1e-3, phrases(["sound"]).shape[1], config.recipe.joint_dim)
    optimizer = torch.optim.AdamW(network.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    batches = ComposedBatches(
        material.scenes, material.pairs, phrases, config.recipe, hop_s=material.hop_s, seed=config.run.seed
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=len(batches), pct_start=0.1)
    objective = SymmetricInfoNCE()
    for step in range(len(batches)):
        batch = batches[step]
        logits = network.scores(batch.audio, batch.present, batch.phrases, batch.told)
        views = {"audio": logits, "text": logits}
        loss = objective(ContrastiveBatch(views, {("audio", "text"): logits}))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 100 == 99:
            print(f"step {step + 1}: loss {loss.item():.3f}", flush=True)
    return network.eval()


def embeddings_of(records: list[TextRecord], encoders: Encoders) -> list[np.ndarray]:
    """Of the snippets with sound, ``(T, audio_dim)`` each."""
    every = (embed(record.media, encoders) for record in records)
    return [one.audio[one.present[:, 0]] for one in every]


def probe(sounds: Path, encoders: Encoders) -> dict[float, float]:
    """Accuracy on the split val, by strength of regularisation."""
    records = [one for one in read_text_records(sounds) if one.label is not None]
    means, labels = {}, {}
    for split in ("train", "val"):
        mine = [one for one in records if one.split == split]
        means[split] = np.stack([one.mean(axis=0) for one in embeddings_of(mine, encoders)])
        labels[split] = [one.label for one in mine]
    accuracies = {}
    for strength in REGULARISATIONS:
        model = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=1000))
        model.fit(means["train"], labels["train"])
        accuracies[strength] = float(model.score(means["val"], labels["val"]))
    return accuracies


def main() -> None:
    """Train and measure both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sounds", type=Path, help="manifest of labelled sounds with splits")
    parser.add_argument("tracks", type=Path, help="manifest of tracks to retrieve, of `avdetect compose`")
    parser.add_argument("--embeddings", type=Path, required=True, help="folder of encoded scenes, as for train-text")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    bundle = Bundle.load(device="cpu")
    encoders = audio_only(Encoders(bundle.manifest, EncoderSessions(None, None, bundle.audio)))
    for strength, accuracy in probe(options.sounds, encoders).items():
        print(f"linear probe, C = {strength:g}: accuracy {accuracy:.3f}", flush=True)
    config = TextTrainConfig.model_validate(
        {
            "manifest": options.sounds,
            "output": options.embeddings,
            "embeddings": options.embeddings,
            "run": {"seed": options.seed},
        }
    )
    phrases = PhraseCache(load_sentence_transformer())
    network = train_mean_pooling(config, encoders, phrases)
    tracks = list(read_text_records(options.tracks))
    embedded, places, said = told([one.text for one in tracks], phrases)
    del places  # the mean knows no order
    with torch.inference_mode():
        rows = [
            network.scores(torch.from_numpy(audio)[None], torch.ones(1, len(audio)).bool(), embedded, said)
            for audio in embeddings_of(tracks, encoders)
        ]
    print("mean pooling:", recall(torch.cat(rows).numpy()))


if __name__ == "__main__":
    main()
