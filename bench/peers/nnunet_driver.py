"""nnU-Net v2 with its 2D plan on the CPU: network, patch, batch, augmentations, loss and optimizer are its own.

Its default is 1,000 epochs of 250 steps. Here there are 10, and each ends by the clock, so that the rate falls over the
budget. As by default, validation steps are a fifth of the training steps, and the last weights are used.
"""

from __future__ import annotations

import json
import time
from typing import Any

import numpy as np
import torch
from job import Job
from nnunetv2.experiment_planning.plan_and_preprocess_api import extract_fingerprints, plan_experiments, preprocess
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from PIL import Image

DATASET, EPOCHS = "Dataset001_Peers", 10
JOB = Job.read()


class Timed(nnUNetTrainer):
    """Epochs end by the clock."""

    def __init__(
        self, plans: dict, configuration: str, fold: int, dataset_json: dict, device: torch.device
    ) -> None:  # it looks for these names
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.num_epochs, self.steps = EPOCHS, 0
        self.disable_checkpointing = True  # the last weights are in memory

    def run_training(self) -> None:
        self.on_train_start()
        next(self.dataloader_train)  # the processes that load data have started
        self.logger.plot_progress_png = lambda folder: None
        JOB.start()
        validating = 0.0
        for epoch in range(EPOCHS):
            self.on_epoch_start()
            self.on_train_epoch_start()
            losses: list[dict[str, Any]] = []
            while not losses or JOB.elapsed + validating < JOB.budget * (epoch + 1) / EPOCHS:
                losses.append(self.train_step(next(self.dataloader_train)))
            self.steps += len(losses)
            self.on_train_epoch_end(losses)
            began = time.monotonic()
            with torch.no_grad():
                self.on_validation_epoch_start()
                steps = max(1, len(losses) // 5)
                self.on_validation_epoch_end([self.validation_step(next(self.dataloader_val)) for _ in range(steps)])
            validating = time.monotonic() - began
            self.on_epoch_end()
            if JOB.elapsed >= JOB.budget:
                break
        batch = self.configuration_manager.batch_size
        JOB.stop(steps=self.steps, batch_size=batch, pretrained=False, model=type(self.network).__name__)
        self.on_train_end()


def convert() -> dict[str, Any]:
    """The raw dataset of nnU-Net; returns its description."""
    raw = JOB.work / "raw" / DATASET
    for part in ("imagesTr", "labelsTr"):
        (raw / part).mkdir(parents=True, exist_ok=True)
    images = [*JOB.images("train"), *JOB.images("val")]
    for path in images:
        image, mask = JOB.pair(path)
        Image.fromarray(image).save(raw / "imagesTr" / f"{path.stem}_0000.png")
        Image.fromarray(mask).save(raw / "labelsTr" / f"{path.stem}.png")
    description = {
        "channel_names": {"0": "R", "1": "G", "2": "B"},
        "labels": {"background" if index == 0 else f"class_{index}": index for index in range(JOB.classes)},
        "numTraining": len(images),
        "file_ending": ".png",
    }
    (raw / "dataset.json").write_text(json.dumps(description), "utf-8")
    return description


def main() -> None:
    np.random.seed(JOB.seed)
    torch.manual_seed(JOB.seed)
    torch.set_num_threads(JOB.threads)
    description = convert()
    extract_fingerprints([1], num_processes=JOB.threads)
    plans_name = plan_experiments([1])
    folder = JOB.work / "preprocessed" / DATASET
    plans = json.loads((folder / f"{plans_name}.json").read_text("utf-8"))
    preprocess([1], plans_name, configurations=["2d"], num_processes=[JOB.threads])
    splits = [{split: [path.stem for path in JOB.images(split)] for split in ("train", "val")}]
    (folder / "splits_final.json").write_text(json.dumps(splits), "utf-8")
    trainer = Timed(plans | {"continue_training": False}, "2d", 0, description, torch.device("cpu"))
    trainer.run_training()
    JOB.facts |= {"patch": plans["configurations"]["2d"]["patch_size"]}
    predictor = nnUNetPredictor(device=torch.device("cpu"), perform_everything_on_device=False, allow_tqdm=False)
    trainer.set_deep_supervision_enabled(False)
    trainer.network.eval()
    predictor.manual_initialization(
        trainer.network,
        trainer.plans_manager,
        trainer.configuration_manager,
        [trainer.network.state_dict()],
        description,
        "nnUNetTrainer",
        trainer.inference_allowed_mirroring_axes,
    )
    reader = trainer.plans_manager.image_reader_writer_class()
    for path in JOB.images("test"):
        copied = JOB.work / "test_0000.png"
        Image.open(path).convert("RGB").save(copied)
        image, properties = reader.read_images([str(copied)])
        JOB.write(path, predictor.predict_single_npy_array(image, properties)[0])
    JOB.finish()


if __name__ == "__main__":
    main()
