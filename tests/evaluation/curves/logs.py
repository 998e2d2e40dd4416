"""Logs as each tool writes them, made by code. Each holds the same training: 20 iterations (2 epochs), validation mIoU
0.5 and then 0.4, so that best and last differ."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from run_folders import logged_run


def lines(path: Path, *records: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def own(
    folder: Path,
    *,
    model: str = "UNet",
    loss: object = "ce",
    seed: int = 0,
    scores: tuple[float, ...] = (0.5, 0.4),
    scale: float = 1.0,
) -> Path:
    """A run of ours: every ten iterations a loss and a validation."""
    run = logged_run(folder, [])
    config = run.config().to_dict()
    from maskwright.config import RunConfig

    run.write_config(
        RunConfig.model_validate(
            config | {"model": {"name": model}, "seed": seed, "loss": [loss] if isinstance(loss, (str, dict)) else loss}
        )
    )
    run.metrics.truncate(0)
    for count, score in enumerate(scores, 1):
        at = 10 * count
        run.metrics.append(
            {"iteration": at, "epoch": count, "loss": scale / count, "loss_max": 9.0, "lr": 0.1}, durable=False
        )
        run.metrics.append(
            {
                "iteration": at,
                "val_loss": scale * 1.5 / count,
                "val_mIoU": score,
                "val_iou": [None, score],
                "best": True,
            },
            durable=False,
        )
    return folder


def mmcv(folder: Path) -> Path:
    """By iteration, scores as shares; `iter` of a validation is the number of its batches."""

    def train(at: int) -> dict[str, object]:
        return {
            "mode": "train",
            "epoch": 1,
            "iter": at,
            "lr": 0.01,
            "memory": 900,
            "data_time": 0.1,
            "decode.loss_ce": 9 / at,
            "decode.acc_seg": 80.0,
            "loss": 10 / at,
            "time": 0.3,
        }

    def val(score: float) -> dict[str, object]:
        return {"mode": "val", "epoch": 1, "iter": 77, "lr": 0.01, "aAcc": 0.9, "mIoU": score, "IoU.road": score}

    return lines(
        folder / "20230101_120000.log.json",
        {"env_info": "a\nb", "exp_name": "unet.py"},
        train(5),
        train(10),
        val(0.5),
        train(20),
        val(0.4),
    ).parent


def mmengine(folder: Path) -> Path:
    """By iteration, scores in per cent."""

    def train(at: int) -> dict[str, object]:
        return {
            "base_lr": 0.01,
            "lr": 0.01,
            "data_time": 0.1,
            "loss": 10 / at,
            "decode.loss_ce": 10 / at,
            "decode.acc_seg": 80.0,
            "time": 0.3,
            "iter": at,
            "memory": 900,
            "step": at,
        }

    def val(at: int, score: float) -> dict[str, object]:
        return {"aAcc": 90.0, "mIoU": score, "mAcc": 60.0, "data_time": 0.1, "time": 0.2, "step": at}

    return lines(
        folder / "vis_data" / "scalars.json", train(5), train(10), val(10, 50.0), train(20), val(20, 40.0)
    ).parent.parent


def ultralytics(folder: Path) -> Path:
    """An old version: padded, from epoch 0."""
    return text(
        folder / "results.csv",
        "                  epoch,         train/seg_loss,    metrics/mAP50-95(M),         val/seg_loss,  lr/pg0,  lr/pg1\n"
        "                      0,                    1.0,                    0.5,                  1.5,     0.1,     0.1\n"
        "                      1,                    0.5,                    0.4,                 0.75,     0.1,     0.1\n",
    ).parent


def lightning(folder: Path) -> Path:
    """Sparse columns."""
    return text(
        folder / "metrics.csv",
        "epoch,lr-AdamW,step,train_loss_epoch,train_loss_step,val/mean_iou,val_loss\n"
        "0,0.1,10,,1.1,,\n0,,10,,,0.5,1.5\n0,,10,1.0,,,\n1,0.1,20,,0.6,,\n1,,20,,,0.4,0.75\n1,,20,0.5,,,\n",
    ).parent


def tensorboard(folder: Path) -> Path:
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(folder)) as writer:
        for count, score in enumerate((0.5, 0.4), 1):
            writer.add_scalar("Loss/train", 1 / count, 10 * count)
            writer.add_scalar("Loss/val", 1.5 / count, 10 * count)
            writer.add_scalar("val/mIoU", score, 10 * count)
    return folder


def text(path: Path, content: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


LOGS: dict[str, Callable[[Path], Path]] = {
    "maskwright": own,
    "mmengine": mmengine,
    "mmcv": mmcv,
    "ultralytics": ultralytics,
    "lightning": lightning,
    "tensorboard": tensorboard,
}
