"""The semantic task of Ultralytics, from scratch: its smallest network, its own batch, augmentations and schedule,
ended by its own clock. Its package holds no weights, and none are fetched."""

from __future__ import annotations

import shutil

import torch
import yaml
from job import Job
from ultralytics import YOLO

NETWORK = "yolo26n-sem.yaml"
BATCH = 16  # its default


def main() -> None:
    job = Job.read()
    torch.set_num_threads(job.threads)
    data = job.work / "data"  # it writes files beside the masks
    shutil.copytree(job.data, data, dirs_exist_ok=True)
    description = data / "data.yaml"
    names = {index: f"class_{index}" for index in range(job.classes)}
    facts = {"path": str(data), "train": "images/train", "val": "images/val", "masks_dir": "masks", "names": names}
    description.write_text(yaml.safe_dump(facts), "utf-8")
    size, steps = max(job.size), 0

    def started(_: object) -> None:
        job.start()

    def stepped(_: object) -> None:
        nonlocal steps
        steps += 1

    def ended(_: object) -> None:  # called after each epoch, and once more after a last validation of the best weights
        job.stop(steps=steps, batch_size=BATCH, pretrained=False, model=NETWORK.removesuffix(".yaml"))

    model = YOLO(NETWORK, task="semantic")
    for event, call in (("on_train_start", started), ("on_train_batch_end", stepped), ("on_fit_epoch_end", ended)):
        model.add_callback(event, call)
    model.train(
        data=str(description),
        time=job.budget / 3600,
        imgsz=size,
        batch=BATCH,
        seed=job.seed,
        device="cpu",
        workers=2,
        patience=10**6,  # the budget is to be used
        pretrained=False,
        amp=False,  # is for GPUs, and its check fetches a model
        plots=False,
        flipud=0.5 if job.upside_down else 0.0,
        project=str(job.work),
        name="run",
        exist_ok=True,
    )
    trained = YOLO(str(job.work / "run" / "weights" / "best.pt"))
    for path in job.images("test"):
        found = trained.predict(str(path), imgsz=size, device="cpu", verbose=False, save=False)[0]
        job.write(path, found.semantic_mask.data.squeeze().cpu().numpy())
    job.finish()


if __name__ == "__main__":
    main()
