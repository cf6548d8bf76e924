"""What a trained motion encoder makes of places that it has never seen: as many encoders as there are folds of places.

python benchmarks/motion_by_places.py CLIPS DIR [--folds 5] [--without-negatives]

Clip AUC by fold, their mean, and pooled over all clips; the share of normal clips that are taken for events, as they
are and disturbed, at the threshold that 60 % of the events of the fold reach. An encoder that is in DIR already is
measured only, and a run that was broken off goes on. About two minutes of processor time for a fold of 190 clips.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

from avdetect.runtime.bundle_files import default_bundle_path
from avdetect.training.motion.clip_pictures import decode_clips
from avdetect.training.motion.config import parse_motion_config, states_folder
from avdetect.training.motion.measure import area_under_roc, clip_logits
from avdetect.training.motion.train_motion import LUMA_SIZE, MOTION_CHECKPOINT_NAME, load_motion, train_motion
from avdetect.training.scenes.material import fold_of, read_clips
from avdetect_export.motion_encoder import appearance_graph


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("clips", type=Path)
    parser.add_argument("folder", type=Path, metavar="DIR")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--without-negatives", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    appearance = appearance_graph(default_bundle_path())
    clips = read_clips(arguments.clips)
    pictures = decode_clips(clips, LUMA_SIZE)
    is_event = np.array([clip.label is not None for clip in clips])
    folds = fold_of(
        [clip.place for clip in clips], [clip.label or "normal" for clip in clips], num_folds=arguments.folds
    )
    scores = np.zeros(len(clips))
    aucs = []
    print("fold     AUC  normal  disturbed")
    for fold in range(arguments.folds):
        places = sorted({clip.place for clip, at in zip(clips, folds, strict=True) if at == fold})
        checkpoint = load_motion(_trained(arguments, fold, places, appearance), appearance)
        figures = checkpoint.notes["held_out"]
        lively = figures["false_positive_share_disturbed"]["all"]
        print(f"{fold:>4}  {figures['auc']:6.3f}  {figures['false_positive_share']:6.3f}  {lively:9.3f}", flush=True)
        aucs.append(figures["auc"])
        for row in np.flatnonzero(folds == fold):
            scores[row] = clip_logits(checkpoint.network, pictures[row]).max()
    print(f"mean  {np.mean(aucs):6.3f}")
    print(f"pooled{area_under_roc(scores[is_event], scores[~is_event]):6.3f}")


def _trained(arguments: argparse.Namespace, fold: int, places: list[str], appearance: bytes) -> Path:
    output = arguments.folder / f"fold{fold}"
    folder = states_folder(output)
    if (folder / MOTION_CHECKPOINT_NAME).is_file():
        return folder / MOTION_CHECKPOINT_NAME
    config = {
        "clips": arguments.clips,
        "output": output,
        "hold_out_places": places,
        "recipe": {"synthetic_negatives": not arguments.without_negatives},
        "run": {"accelerator": "cpu", "progress": False, "resume": (folder / "lightning" / "last.ckpt").is_file()},
    }
    return train_motion(parse_motion_config(config), appearance)


if __name__ == "__main__":
    main()
