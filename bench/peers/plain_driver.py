"""The training script that an experienced person writes: a U-Net of segmentation_models_pytorch, albumentations, AdamW,
cross entropy and Dice. Nothing in it is from Maskwright."""

from __future__ import annotations

import copy
import random
import time

import albumentations as A
import cv2
import numpy as np
import segmentation_models_pytorch as smp
import torch
from job import Job, Marks, mean_iou
from safetensors.torch import load_file
from torch.utils.data import DataLoader, Dataset

BATCH, RATE, ENCODER_SHARE, POWER = 8, 1e-3, 0.3, 0.9


class Images(Dataset):
    def __init__(self, job: Job, split: str, augmented: bool) -> None:
        height, width = job.size
        resize = A.Resize(height, width)
        pairs = [job.pair(path) for path in job.images(split)]
        self.pairs = [resize(image=image, mask=mask) for image, mask in pairs]
        changes = [
            A.HorizontalFlip(p=0.5),
            *([A.VerticalFlip(p=0.5)] if job.upside_down else []),
            A.Affine(scale=(0.8, 1.25), rotate=(-15, 15), translate_percent=(-0.06, 0.06), border_mode=4, p=0.8),
            A.RandomBrightnessContrast(0.2, 0.2, p=0.5),
        ]
        normalise = A.Normalize(mean=(0.5,) * 3, std=(0.5,) * 3)
        self.change = A.Compose([*(changes if augmented else []), normalise], seed=job.seed)

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        changed = self.change(**self.pairs[index])
        return changed["image"].transpose(2, 0, 1), changed["mask"].astype(np.int64)


@torch.no_grad()
def validate(model: torch.nn.Module, loader: DataLoader, classes: int) -> float:
    model.eval()
    counts = np.zeros((classes, classes), np.int64)
    for images, truth in loader:
        found = model(images).argmax(1)
        counts += np.bincount((truth * classes + found).flatten(), minlength=classes**2).reshape(classes, classes)
    model.train()
    return mean_iou(counts)


def main() -> None:
    job = Job.read()
    random.seed(job.seed)
    np.random.seed(job.seed)
    torch.manual_seed(job.seed)
    torch.set_num_threads(job.threads)
    model = smp.Unet("tu-mobilenetv2_100", encoder_weights=None, classes=job.classes)
    if job.weights:
        model.encoder.model.load_state_dict(load_file(job.weights), strict=False)
    encoder_rate = RATE * (ENCODER_SHARE if job.weights else 1)
    others = [value for name, value in model.named_parameters() if not name.startswith("encoder.")]
    optimizer = torch.optim.AdamW(
        [{"params": model.encoder.parameters(), "lr": encoder_rate}, {"params": others, "lr": RATE}]
    )
    rates = [group["lr"] for group in optimizer.param_groups]
    dice, entropy = smp.losses.DiceLoss("multiclass"), torch.nn.CrossEntropyLoss()
    train = Images(job, "train", augmented=True)
    batch = min(BATCH, len(train))
    loader = DataLoader(train, batch, shuffle=True, drop_last=True, num_workers=2, persistent_workers=True)
    val_loader = DataLoader(Images(job, "val", augmented=False), BATCH)
    start = time.monotonic()
    validate(model, val_loader, job.classes)
    marks = Marks(job, time.monotonic() - start)
    best, best_weights, steps = -1.0, model.state_dict(), 0
    job.start()
    while not marks.training_ends:
        for images, truth in loader:
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * max(0.0, 1 - job.elapsed / job.budget) ** POWER
            logits = model(images)
            loss = entropy(logits, truth) + dice(logits, truth)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            steps += 1
            if marks.due() and (score := validate(model, val_loader, job.classes)) > best:
                best, best_weights = score, copy.deepcopy(model.state_dict())
            if marks.training_ends:
                break
    job.stop(steps=steps, batch_size=batch, pretrained=bool(job.weights), model="Unet over tu-mobilenetv2_100")
    model.load_state_dict(best_weights)
    model.eval()
    height, width = job.size
    change = A.Compose([A.Resize(height, width), A.Normalize(mean=(0.5,) * 3, std=(0.5,) * 3)])
    for path in job.images("test"):
        image = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
        with torch.no_grad():
            logits = model(torch.from_numpy(change(image=image)["image"].transpose(2, 0, 1))[None])
        logits = torch.nn.functional.interpolate(logits, image.shape[:2], mode="bilinear", align_corners=False)
        job.write(path, logits.argmax(1)[0].numpy())
    job.finish()


if __name__ == "__main__":
    main()
