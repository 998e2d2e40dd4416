"""SegFormer-B0 and UNet of MMSegmentation from scratch, as its own config files describe them: network, loss,
optimizer, augmentations and the shape of the schedule. What differs, as the budget is another and there are no weights:

- the schedule follows the clock, from its warm-up to its end;
- images are not enlarged: the scale around which they are drawn is the size that all entries have;
- SegFormer has one rate for all of the network, ten times that of its file, which is for ImageNet weights, and batch 8.
"""

from __future__ import annotations

import copy
import time
from pathlib import Path
from typing import Any

import absent_ops  # noqa: F401 (before mmseg)
import mmseg
import numpy as np
import torch
from job import Job, Marks
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.apis import inference_model
from mmseg.utils import register_all_modules

FILES = {
    "segformer": "segformer/segformer_mit-b0_8xb2-160k_ade20k-512x512.py",
    "unet": "unet/unet-s5-d16_fcn_4xb4-ce-1.0-dice-3.0-40k_chase-db1-128x128.py",
}
# Batch size, warm-up as a share of the training, power of the decay, lowest rate.
SCHEDULES = {"segformer": (8, 1500 / 160000, 1.0, 0.0), "unet": (4, 0.0, 0.9, 1e-4)}

# Iterations that never come; mmengine's forecast of the time left takes no more digits.
ENDLESS = 10**9


class Clock(Hook):
    """Rates by the clock, validation at its marks, the end of training, and the best weights."""

    priority = "VERY_LOW"

    def __init__(self, job: Job) -> None:
        self.job, self.marks = job, Marks(job, 0.0)
        self.best, self.best_weights, self.steps = -1.0, None, 0
        _, self.warm, self.power, self.lowest = SCHEDULES[job.variant]
        self.rates: list[float] = []

    def before_train(self, runner: Runner) -> None:
        self.rates = [group["lr"] for group in runner.optim_wrapper.optimizer.param_groups]
        image = self.job.images("val")[0]
        inference_model(runner.model, str(image))
        start = time.monotonic()
        inference_model(runner.model, str(image))
        self.marks = Marks(self.job, (time.monotonic() - start) * len(self.job.images("val")))
        self.job.start()

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        done = min(1.0, self.job.elapsed / self.job.budget)
        share = done / self.warm if done < self.warm else ((1 - done) / (1 - self.warm)) ** self.power
        for group, rate in zip(runner.optim_wrapper.optimizer.param_groups, self.rates, strict=True):
            group["lr"] = max(self.lowest, rate * share)

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        self.steps += 1
        loop = runner.train_loop
        loop.val_interval = 1 if self.marks.due() else ENDLESS  # the loop asks next whether it is time
        loop.stop_training = self.marks.training_ends

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        if metrics and metrics["mIoU"] > self.best:
            self.best, self.best_weights = metrics["mIoU"], copy.deepcopy(runner.model.state_dict())


def single(settings: Any) -> None:
    """One process: batch norm that is not synchronised, and weights from nowhere."""
    if isinstance(settings, dict):
        if settings.get("type") == "SyncBN":
            settings["type"] = "BN"
        if settings.get("type") == "Pretrained":
            settings.clear()
        for key in [key for key, value in settings.items() if key == "init_cfg" and value]:
            settings[key] = None
    values = settings.values() if isinstance(settings, dict) else settings if isinstance(settings, list) else ()
    for value in values:
        single(value)


def configured(job: Job) -> Config:
    config = Config.fromfile(Path(mmseg.__file__).parent / ".mim" / "configs" / FILES[job.variant])
    single(config.model)
    height, width = job.size
    batch = SCHEDULES[job.variant][0]
    if job.variant == "segformer":
        crop, optimizer = (height, width), config.optim_wrapper.optimizer
        optimizer.lr *= 10
        del config.optim_wrapper.paramwise_cfg.custom_keys["head"]
    else:
        crop = (min(128, height), min(128, width))
    config.model.data_preprocessor.size = crop
    config.model.decode_head.num_classes = job.classes
    if "auxiliary_head" in config.model:
        config.model.auxiliary_head.num_classes = job.classes
    flips = [{"type": "RandomFlip", "prob": 0.5}]
    if job.upside_down:
        flips.append({"type": "RandomFlip", "prob": 0.5, "direction": "vertical"})
    train = [
        {"type": "LoadImageFromFile"},
        {"type": "LoadAnnotations"},
        {"type": "RandomResize", "scale": (width, height), "ratio_range": (0.5, 2.0), "keep_ratio": True},
        {"type": "RandomCrop", "crop_size": crop, "cat_max_ratio": 0.75},
        *flips,
        {"type": "PhotoMetricDistortion"},
        {"type": "PackSegInputs"},
    ]
    test = [
        {"type": "LoadImageFromFile"},
        {"type": "Resize", "scale": (width, height), "keep_ratio": True},
        {"type": "LoadAnnotations"},
        {"type": "PackSegInputs"},
    ]
    names = tuple(f"class_{index}" for index in range(job.classes))
    colours = [[index * 20] * 3 for index in range(job.classes)]

    def dataset(split: str, pipeline: list[dict[str, Any]]) -> dict[str, Any]:
        return {
            "type": "BaseSegDataset",
            "data_root": str(job.data),
            "data_prefix": {"img_path": f"images/{split}", "seg_map_path": f"masks/{split}"},
            "img_suffix": job.images(split)[0].suffix,
            "seg_map_suffix": ".png",
            "metainfo": {"classes": names, "palette": colours},
            "pipeline": pipeline,
        }

    loader = {"num_workers": 2, "persistent_workers": True}
    config.train_dataloader = loader | {
        "batch_size": batch,
        "sampler": {"type": "InfiniteSampler", "shuffle": True},
        "dataset": dataset("train", train),
    }
    config.val_dataloader = loader | {
        "batch_size": 1,
        "sampler": {"type": "DefaultSampler", "shuffle": False},
        "dataset": dataset("val", test),
    }
    config.val_evaluator = {"type": "IoUMetric", "iou_metrics": ["mIoU"]}
    for key in ("test_dataloader", "test_evaluator", "test_cfg"):
        config[key] = None
    config.test_pipeline = test
    config.train_cfg = {"type": "IterBasedTrainLoop", "max_iters": ENDLESS, "val_interval": ENDLESS}
    config.param_scheduler = None  # the clock sets the rates
    config.default_hooks.checkpoint = None  # the best weights are kept in memory
    del config.default_hooks.visualization
    config.vis_backends = config.visualizer.vis_backends = []
    config.work_dir = str(job.work / "run")
    config.randomness = {"seed": job.seed}
    config.env_cfg.dist_cfg = {"backend": "gloo"}
    return config


def main() -> None:
    job = Job.read()
    torch.set_num_threads(job.threads)
    register_all_modules()
    config = configured(job)
    runner = Runner.from_cfg(config)
    model, clock = runner.model, Clock(job)
    model.cfg = config
    runner.register_hook(clock)
    runner.train()
    job.stop(
        steps=clock.steps,
        batch_size=SCHEDULES[job.variant][0],
        pretrained=False,
        model=f"{type(model.backbone).__name__}, {type(model.decode_head).__name__}",
    )
    if clock.best_weights:
        model.load_state_dict(clock.best_weights)
    model.eval()
    for path in job.images("test"):
        found = inference_model(model, str(path)).pred_sem_seg.data
        job.write(path, np.asarray(found.squeeze(0).cpu()))
    job.finish()


if __name__ == "__main__":
    main()
