"""What users of other tools write in a config, and where it stands here."""

from __future__ import annotations

from pydantic import BaseModel

from maskwright.config.data_section import DataConfig
from maskwright.config.schema import ModelConfig, OptimizerConfig, ScheduleConfig, TrainConfig

# Keys of a section are also found where they do not belong.
_SECTIONS: dict[str, type[BaseModel]] = {
    "data": DataConfig,
    "model": ModelConfig,
    "optimizer": OptimizerConfig,
    "schedule": ScheduleConfig,
    "train": TrainConfig,
}
SYNONYMS = {
    key: f"{section}.{key}"
    for section, model in _SECTIONS.items()
    for key in model.model_fields
    if key not in ("name", "args")
} | {
    "learning_rate": "optimizer.lr",
    "base_lr": "optimizer.lr",
    "lr0": "optimizer.lr",
    "wd": "optimizer.weight_decay",
    "optim": "optimizer",
    "optimiser": "optimizer",
    "scheduler": "schedule",
    "lr_scheduler": "schedule",
    "lr_schedule": "schedule",
    "warmup_steps": "schedule.warmup",
    "warmup_iters": "schedule.warmup",
    "epoch": "train.epochs",
    "num_epochs": "train.epochs",
    "n_epochs": "train.epochs",
    "max_epochs": "train.epochs",
    "steps": "train.iterations",
    "max_steps": "train.iterations",
    "num_steps": "train.iterations",
    "iters": "train.iterations",
    "max_iters": "train.iterations",
    "max_iterations": "train.iterations",
    "batch": "train.batch_size",
    "batchsize": "train.batch_size",
    "bs": "train.batch_size",
    "samples_per_gpu": "train.batch_size",
    "num_workers": "train.workers",
    "n_workers": "train.workers",
    "patience": "train.early_stopping",
    "amp": "train.precision",
    "eval_every": "train.evaluate_every",
    "eval_interval": "train.evaluate_every",
    "val_interval": "train.evaluate_every",
    "time": "train.budget",
    "img_size": "data.image_size",
    "imgsz": "data.image_size",
    "imsize": "data.image_size",
    "size": "data.image_size",
    "input_size": "data.image_size",
    "crop_size": "data.image_size",
    "resolution": "data.image_size",
    "dataset": "data.root",
    "data_root": "data.root",
    "dataset_path": "data.root",
    "path": "data.root",
    "val_split": "data.holdout",
    "validation_split": "data.holdout",
    "interpolation": "data.resample",
    "backbone": "model.encoder",
    "encoder_name": "model.encoder",
    "arch": "model.name",
    "architecture": "model.name",
    "network": "model.name",
    "pretrained": "model.weights",
    "encoder_weights": "model.weights",
    "losses": "loss",
    "criterion": "loss",
    "augmentation": "augment",
    "augmentations": "augment",
    "transforms": "augment",
    "random_seed": "seed",
    "random_state": "seed",
    "logger": "trackers",
    "loggers": "trackers",
    "tta": "flip_average",
}
