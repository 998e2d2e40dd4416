"""The model that a user means: of a run, of one of its model files, or of an exported model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from maskwright.base.extras import require_train
from maskwright.core.predictor import with_postprocessing
from maskwright.errors import DataError
from maskwright.inference.exporting.exported import ExportedModel, is_exported
from maskwright.run import Run

if TYPE_CHECKING:
    from maskwright.modeling.models.segmenter import Segmenter


def model_file(model: str | Path | Run) -> Path:
    """The model file that a run folder, a Run or a path to a model file means."""
    path = model.path if isinstance(model, Run) else Path(model)
    if path.is_file() or is_exported(path):
        return path
    best = Run.open(path).best
    if not best.exists():
        raise DataError(f"{path}: the run has no checkpoint yet; let it reach its first evaluation")
    return best


def load(model: str | Path | Run, *, device: str | None = "cpu", postprocess: bool = True) -> Segmenter | ExportedModel:
    """The model of a run (its best checkpoint), of a model file or of an exported model (`MODEL.onnx`, which needs no
    torch), ready for `label`; without a `device` on cuda where there is one. `postprocess` is as in `predict`."""
    require_torch(model, "load")
    return open_model(model, device, postprocess)


def require_torch(model: str | Path | Run, verb: str) -> None:
    """SetupError where the model needs torch, and it is not installed."""
    if not is_exported(model):
        require_train(f"{verb} with a run")


def open_model(model: str | Path | Run, device: str | None, postprocess: bool) -> Segmenter | ExportedModel:
    """The model on a device, when left out on cuda where there is one, with its post-processing if that is wanted."""
    file = model_file(model)
    if is_exported(file):
        exported = ExportedModel.open(file, device)
        return exported if postprocess else with_postprocessing(exported, None, str(file))
    from maskwright.modeling.models.devices import device_of
    from maskwright.modeling.models.segmenter import load_segmenter

    segmenter = load_segmenter(file, device_of(device))
    run = model if isinstance(model, Run) else Run(Path(model))
    return with_postprocessing(segmenter, run.postprocessing if postprocess else None, str(run.postprocessing_file))
