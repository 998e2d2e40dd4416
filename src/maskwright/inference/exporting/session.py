"""A session of onnxruntime, opened the same way by all who compute with an ONNX file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from maskwright.base.extras import require_onnx
from maskwright.base.workers import available_cores
from maskwright.errors import DataError, SetupError, argument

_CUDA = "CUDAExecutionProvider"


def open_session(model: Path | bytes, device: str | None = None, threads: int | None = None) -> Any:
    """An InferenceSession of a file, or of the bytes of one. `device` is cpu or cuda; when left out, cuda where the
    installed onnxruntime has it. `threads` are all cores that there are when left out.

    SetupError without onnxruntime or the device, DataError for what is no ONNX model.
    """
    require_onnx("an exported model")
    import onnxruntime

    if device not in (None, "cpu") and not (device or "").startswith("cuda"):
        raise SetupError(f"{argument('device')} {device}: an exported model runs on cpu or cuda; name one of them")
    cuda = _CUDA in onnxruntime.get_available_providers()
    if device is not None and device != "cpu" and not cuda:
        raise SetupError(
            f"{argument('device')} {device}: the installed onnxruntime has no CUDA; `pip install onnxruntime-gpu`, or "
            "use cpu"
        )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or available_cores()
    options.log_severity_level = 4  # errors are raised
    index = {"device_id": (device or "").partition(":")[2] or "0"}
    providers = [*([(_CUDA, index)] if cuda and device != "cpu" else []), "CPUExecutionProvider"]

    class Session(onnxruntime.InferenceSession):  # type: ignore[misc]
        """One that can be sent to another process."""

        def __reduce__(self) -> tuple[Any, ...]:
            return open_session, (model, device, threads)

    try:
        return Session(model if isinstance(model, bytes) else str(model), options, providers)
    except Exception as error:  # onnxruntime has a class for each status, below no common one
        name = "the graph" if isinstance(model, bytes) else model
        first = str(error).strip().partition("\n")[0]
        raise DataError(f"{name}: not a readable ONNX model ({first}); export it again") from None
