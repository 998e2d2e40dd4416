"""The quality that several tools reach in the same wall time, on the same data and the same quiet machine.

    python bench/peers.py --data skin --root FOLDER [--budget 300] [--seeds 0 1 2] [--weights FILE] [--out FOLDER]
                          [--entries ours plain ultralytics mmseg-segformer mmseg-unet nnunet]

FOLDER holds the data sets `skin`, `steel` and `faces`. An entry is trained for the budget (seconds; validation is in
it; imports, conversion of data and prediction of the test images are not, but are printed), on the processor, from the
same copy of the data, by its driver in `bench/peers/`. `ours` is run by this Python; each other entry gets an
environment of its own, which `uv` makes in `OUT/environments` at the first call, with the newest versions that fit and
the torch of this Python. Entries run one after another. One that fails is a row with its reason.

The written masks are scored by `maskwright evaluate`. mIoU is that of the counts of all seeds together, its 95 %
interval a bootstrap over the test images; `to ours` is the difference to `ours` in the same resamples. Images are drawn
again, seeds are not: look at the scores by seed, too. Where there is no val split, 2 training images are taken for it,
the same for all entries; test images that are also training images, byte for byte, are left out. Scores depend on the
weights that a tool can start from: that column belongs to the result.

With `--out`, a second call goes on with the runs that are there; what failed is tried again. The table goes to stderr,
JSON to stdout and to `OUT/DATA-BUDGET/result.json`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from maskwright import evaluate, init, load_dataset
from maskwright.base.storage import atomic_write_json, dump_json, read_json
from maskwright.core.dataset import Dataset
from maskwright.evaluation.metrics import bootstrap_sums, mean_image_iou, mIoU

DRIVERS = Path(__file__).parent / "peers"
VAL_IMAGES = 2  # taken from train where there is no val split
MOST_PIXELS = 52_000  # of the size to train at
SPARE = 1800  # seconds for everything besides the training, after which an entry has failed

# (S, N, K, K) int64: counts of each seed and test image.
Counts = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Entry:
    """`environment` is None for this Python; `requirements` come on top of torch and torchvision."""

    driver: str
    environment: str | None = None
    requirements: tuple[str, ...] = ()
    variant: str = ""


SMP = ("segmentation-models-pytorch", "timm", "albumentations", "opencv-python-headless", "safetensors")
MMSEG = ("mmsegmentation", "mmengine", "mmcv-lite<2.2", "ftfy", "regex")
ENTRIES = {
    "ours": Entry("ours_driver.py"),
    "plain": Entry("plain_driver.py", "plain", SMP),
    "ultralytics": Entry("ultralytics_driver.py", "ultralytics", ("ultralytics",)),
    "mmseg-segformer": Entry("mmseg_driver.py", "mmseg", MMSEG, "segformer"),
    "mmseg-unet": Entry("mmseg_driver.py", "mmseg", MMSEG, "unet"),
    "nnunet": Entry("nnunet_driver.py", "nnunet", ("nnunetv2",)),
}
# Of the packages of an environment, those that are printed; all are in the JSON.
SHOWN = ("maskwright", "segmentation-models-pytorch", "ultralytics", "mmsegmentation", "mmcv-lite", "nnunetv2")


@dataclass(frozen=True)
class Material:
    """A copy of the data that every entry is given: `images/SPLIT` and `masks/SPLIT`."""

    folder: Path
    classes: int
    size: tuple[int, int]
    images: dict[str, int]
    left_out: list[str]


def prepare(source: Path, labels: str, folder: Path) -> Material:
    """Copies `source/img/SPLIT` and `source/LABELS/SPLIT`."""
    files = {
        split: sorted((source / "img" / split).iterdir())
        for split in ("train", "val", "test")
        if (source / "img" / split).is_dir()
    }
    if "val" not in files:
        chosen = set(np.random.default_rng(0).permutation(len(files["train"]))[:VAL_IMAGES].tolist())
        files["val"] = [file for place, file in enumerate(files["train"]) if place in chosen]
        files["train"] = [file for place, file in enumerate(files["train"]) if place not in chosen]
    known = {digest(file) for split in ("train", "val") for file in files[split]}
    left_out = [file.name for file in files["test"] if digest(file) in known]
    files["test"] = [file for file in files["test"] if file.name not in left_out]
    shutil.rmtree(folder, ignore_errors=True)
    highest, sizes = 0, []
    for split, images in files.items():
        for kind in ("images", "masks"):
            (folder / kind / split).mkdir(parents=True)
        for image in images:
            mask = source / labels / image.parent.name / f"{image.stem}.png"
            shutil.copy(image, folder / "images" / split)
            shutil.copy(mask, folder / "masks" / split)
            indices = np.asarray(Image.open(mask))
            highest = max(highest, int(indices.max()))
            sizes.append(indices.shape)
    if highest == 255:
        raise SystemExit(f"{source}: its masks have ignored pixels (255), which not every entry can take")
    height, width = np.median(sizes, axis=0)
    counts = {split: len(images) for split, images in files.items()}
    return Material(folder, highest + 1, size_for(height, width), counts, left_out)


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def size_for(height: float, width: float) -> tuple[int, int]:
    """The multiples of 32 that are nearest to the size of the images, made smaller to MOST_PIXELS if need be."""
    shrink = min(1.0, math.sqrt(MOST_PIXELS / (height * width)))
    sides = [max(32, 32 * round(side * shrink / 32)) for side in (height, width)]
    while sides[0] * sides[1] > MOST_PIXELS:
        longest = sides.index(max(sides))
        sides[longest] -= 32
    return sides[0], sides[1]


def uv() -> str:
    """The program, from the environment of this Python or the path."""
    found = shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
    if not found:
        raise SystemExit("uv is needed to make the environments; install it: python -m pip install uv")
    return found


def made_environment(entry: Entry, folder: Path) -> Path:
    """The Python of an entry's environment. RuntimeError when it cannot be made."""
    if entry.environment is None:
        return Path(sys.executable)
    import torch

    home = folder / entry.environment
    python, ready = home / "bin" / "python", home / "ready"
    if not ready.is_file():
        wanted = [f"torch=={torch.__version__.partition('+')[0]}", "torchvision", *entry.requirements]
        shutil.rmtree(home, ignore_errors=True)
        for command in (
            ["venv", "--quiet", "--python", sys.executable, str(home)],
            ["pip", "install", "--quiet", "--python", str(python), *wanted],
        ):
            done = subprocess.run([uv(), *command], capture_output=True, text=True, check=False)
            if done.returncode:
                raise RuntimeError(f"environment: {last_line(done.stderr)}")
        ready.touch()
    return python


def installed(python: Path) -> dict[str, str]:
    """Versions of all packages of an environment by their names."""
    code = (
        "import importlib.metadata as m, json; "
        "print(json.dumps({d.metadata['Name'].lower(): d.version for d in m.distributions() if d.metadata['Name']}))"
    )
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout))


def last_line(text: str) -> str:
    """What an error is called: the last line that is not empty, no longer than a row."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:200] if lines else "no message"


def surroundings(work: Path, threads: int) -> dict[str, str]:
    """Environment variables of a driver: no GPU, no network, so many threads, and all that a tool keeps in `work`."""
    return {
        **dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(threads)),
        **dict.fromkeys(("nnUNet_n_proc_DA", "nnUNet_def_n_proc"), str(threads)),
        **{f"nnUNet_{name}": str(work / name) for name in ("raw", "preprocessed", "results")},
        "CUDA_VISIBLE_DEVICES": "",
        "HF_HUB_OFFLINE": "1",
        "NO_ALBUMENTATIONS_UPDATE": "1",
        "YOLO_CONFIG_DIR": str(work),
        "YOLO_OFFLINE": "true",
    }


def run_entry(entry: Entry, python: Path, job: dict[str, Any]) -> dict[str, Any]:
    """Runs a driver and returns its result; the run of an equal job that is there is taken. RuntimeError with the
    reason when it fails."""
    work = Path(job["work"])
    done, result, log = work / "done.json", work / "result.json", work / "log.txt"
    if not done.is_file() or read_json(work / "job.json") != json.loads(json.dumps(job)):
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        atomic_write_json(work / "job.json", job)
        load, began = os.getloadavg()[0], time.monotonic()
        with log.open("w", encoding="utf-8") as output:
            process = subprocess.Popen(
                [python, DRIVERS / entry.driver, work / "job.json"],
                stdout=output,
                stderr=subprocess.STDOUT,
                env=os.environ | surroundings(work, job["threads"]),
                start_new_session=True,
            )
            try:
                code = process.wait(job["budget"] * 2 + SPARE)
            except subprocess.TimeoutExpired as error:
                raise RuntimeError(f"not done after {error.timeout:.0f} s") from None
            finally:  # with all processes that load its data: the next entry is to be alone
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        if code or not result.is_file():
            raise RuntimeError(f"exit {code}: {last_line(log.read_text('utf-8', 'replace'))}")
        atomic_write_json(done, read_json(result) | {"load_before": load, "wall_seconds": time.monotonic() - began})
    return dict(read_json(done))


def counted(predictions: Sequence[Path], dataset: Dataset) -> Counts:
    """What `maskwright evaluate` counts in each folder of predicted masks. DataError where masks lack or do not fit."""
    return np.stack([evaluate(folder, data=dataset).confusions for folder in predictions])


def score(counts: Counts) -> dict[str, Any]:
    """mIoU of the counts of all seeds with its interval, of each seed, and the mean of the IoUs of images."""
    pooled = counts.sum(0)
    interval = bootstrap_sums(pooled, lambda sums: np.asarray(mIoU(sums))[:, None])[0]
    by_image = [float(np.nanmean(mean_image_iou(one))) for one in counts]
    return {
        "mIoU": asdict(interval),
        "mIoU_by_seed": [float(mIoU(one.sum(0))) for one in counts],
        "mean_image_IoU": float(np.mean(by_image)),
        "mean_image_IoU_by_seed": by_image,
    }


def difference(counts: Counts, ours: Counts) -> dict[str, float]:
    """mIoU of an entry less that of `ours`, with its interval, in the same resamples of the test images."""
    both = np.stack([counts.sum(0), ours.sum(0)], axis=1)

    def gains(sums: Counts) -> npt.NDArray[np.float64]:
        values = np.asarray(mIoU(sums))
        return values[:, :1] - values[:, 1:]

    return asdict(bootstrap_sums(both, gains)[0])


def scored(rows: list[dict[str, Any]], dataset: Dataset) -> None:
    """Adds the scores to the rows that have `predictions`, and the reason where these cannot be scored."""
    found: dict[str, Counts] = {}
    for row in rows:
        folders = row.pop("predictions", None)
        if not folders:
            continue
        try:
            found[row["entry"]] = counted(folders, dataset)
        except Exception as error:  # one entry's masks must not end the bench
            row["failed"] = f"masks: {last_line(str(error))}"
            continue
        row |= score(found[row["entry"]])
        if "ours" in found and row["entry"] != "ours":
            row["to_ours"] = difference(found[row["entry"]], found["ours"])


def table(result: dict[str, Any]) -> str:
    images, size = result["images"], result["size"]
    lines = [
        f"{result['data']}: {images['train']} train, {images['val']} val, {images['test']} test images, "
        f"{result['classes']} classes, trained at {size[0]}x{size[1]} (or as the tool plans)",
        f"budget {result['budget']:g} s, {len(result['seeds'])} seeds, {result['threads']} threads, no GPU; left out, "
        f"being training images too: {', '.join(result['left_out']) or 'none'}",
        "",
        f"{'entry':<16} mIoU   95 % interval   image IoU  to ours  95 % interval     by seed",
    ]
    for row in result["rows"]:
        if "mIoU" not in row:
            lines.append(f"{row['entry']:<16} failed: {row['failed']}")
            continue
        value, seeds = row["mIoU"], " ".join(f"{one:.3f}" for one in row["mIoU_by_seed"])
        gain = row.get("to_ours")
        beside = f"{gain['value']:+.3f}   [{gain['low']:+.3f}, {gain['high']:+.3f}]" if gain else " " * 26
        lines.append(
            f"{row['entry']:<16} {value['value']:.3f}  [{value['low']:.3f}, {value['high']:.3f}]  "
            f"{row['mean_image_IoU']:.3f}      {beside}  {seeds}"
        )
    lines += ["", f"{'entry':<16} seconds  steps  batch  prepare  predict  weights   load  network; versions"]
    for row in result["rows"]:
        runs = row["runs"]
        if not runs:
            continue
        mean = {
            key: sum(one[key] for one in runs) / len(runs)
            for key in ("seconds", "steps", "prepare_seconds", "predict_seconds", "load_before")
        }
        versions = ", ".join(f"{name} {row['versions'][name]}" for name in (*SHOWN, "torch") if name in row["versions"])
        lines.append(
            f"{row['entry']:<16} {mean['seconds']:7.1f}  {mean['steps']:5.0f}  {runs[0]['batch_size']:5}  "
            f"{mean['prepare_seconds']:7.1f}  {mean['predict_seconds']:7.1f}  "
            f"{'ImageNet' if runs[0]['pretrained'] else 'none':8}  {mean['load_before']:4.1f}  "
            f"{runs[0]['model']}; {versions}"
        )
        if row.get("failed") and "mIoU" in row:
            lines.append(f"{'':<16} of {len(result['seeds'])} seeds, {len(runs)} are scored: {row['failed']}")
    lines += [
        "",
        "Seconds, steps, prepare, predict and load are means over the seeds. load: average load of the machine before "
        "a run; on a quiet one it is that of the run before.",
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", choices=("skin", "steel", "faces"), required=True)
    parser.add_argument("--root", type=Path, required=True, help="the folder that holds the data sets")
    parser.add_argument("--labels", help="the folder of masks; labels, for faces labels_precise, when left out")
    parser.add_argument("--budget", type=float, default=300, help="seconds")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--entries", nargs="+", choices=ENTRIES, default=[*ENTRIES])
    parser.add_argument("--weights", type=Path, help="of MobileNetV2 (.safetensors), for ours and plain")
    parser.add_argument("--threads", type=int, help="processors that are used; all when left out")
    parser.add_argument("--out", type=Path, default=Path(tempfile.gettempdir()) / "maskwright-peers")
    given = parser.parse_args()
    allowed = sorted(os.sched_getaffinity(0))[: given.threads]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))  # so that no entry is left running
    os.sched_setaffinity(0, allowed)  # holds for every entry, whatever number of threads it takes
    # Absolute, but not resolved: the environment of a Python is where its link lies.
    out = given.out.absolute() / f"{given.data}-{given.budget:g}"
    labels = given.labels or ("labels_precise" if given.data == "faces" else "labels")
    material = prepare(given.root / given.data, labels, out / "data")
    rows: list[dict[str, Any]] = []
    for name in given.entries:
        entry = ENTRIES[name]
        row: dict[str, Any] = {"entry": name, "versions": {}, "runs": [], "predictions": []}
        rows.append(row)
        try:
            python = made_environment(entry, given.out.absolute() / "environments")
            row["versions"] = installed(python)
            for seed in given.seeds:
                work = out / f"{name}-{seed}"
                job = {
                    "data": str(material.folder),
                    "classes": material.classes,
                    "size": material.size,
                    "upside_down": given.data != "faces",
                    "budget": given.budget,
                    "seed": seed,
                    "threads": len(allowed),
                    "weights": str(given.weights.absolute()) if given.weights else None,
                    "work": str(work),
                    "predictions": str(work / "predictions"),
                    "variant": entry.variant,
                }
                print(f"{name}, seed {seed}: log in {work / 'log.txt'}", file=sys.stderr, flush=True)
                row["runs"].append({"seed": seed, **run_entry(entry, python, job)})
                row["predictions"].append(work / "predictions")
        except (RuntimeError, OSError, subprocess.SubprocessError) as error:
            row["failed"] = last_line(str(error))
            print(f"{name}: failed: {row['failed']}", file=sys.stderr, flush=True)
    description = out / "description"
    if not (description / "dataset.yaml").exists():
        init(material.folder, out=description)
    scored(rows, load_dataset(description))
    result = {
        "data": given.data,
        "labels": labels,
        "budget": given.budget,
        "seeds": given.seeds,
        "threads": len(allowed),
        "processor": platform.machine(),
        "python": platform.python_version(),
        "weights": digest(given.weights) if given.weights else None,
        "classes": material.classes,
        "size": material.size,
        "images": material.images,
        "left_out": material.left_out,
        "rows": rows,
    }
    atomic_write_json(out / "result.json", result)
    print(table(result), file=sys.stderr)
    print(dump_json(result, indent=2))


if __name__ == "__main__":
    main()
