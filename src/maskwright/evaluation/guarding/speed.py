"""How fast a run trained, with and without the time in which the model only waited for its batches."""

from __future__ import annotations

from dataclasses import dataclass

from maskwright.base import strictyaml
from maskwright.run import Run


@dataclass(frozen=True)
class Speed:
    """`images_per_second` of the training steps, evaluations left out; `waited`: the share (0..1) of that time that
    went into waiting for batches; `machine` is a text that is equal for runs whose times can be compared."""

    images_per_second: float
    waited: float
    machine: str = ""

    @property
    def busy(self) -> float:
        """Images a second with the waiting taken out: the speed of the step itself."""
        return self.images_per_second / max(1 - self.waited, 1e-9)


def speed_of(run: Run) -> Speed | None:
    """The speed that a run's `timing.jsonl` tells of, or None when it holds no step."""
    seconds = waited = 0.0
    steps = before = 0
    for row in run.timing.read():
        if "waited" in row:
            # After a kill a run repeats steps: what the first of them took is not known.
            if row["iteration"] > before:
                steps += row["iteration"] - before
                seconds, waited = seconds + row["seconds_since"], waited + row["waited"]
            before = row["iteration"]
    if not steps or seconds <= 0:
        return None
    info, data = run.info(), strictyaml.read(run.config_file).data
    machine = [
        info.get("device"),
        info.get("threads"),
        info.get("processes"),
        info.get("environment", {}).get("machine"),
    ]
    return Speed(
        steps * data["train"]["batch_size"] / seconds,
        min(waited / seconds, 1.0),
        ", ".join(str(part) for part in machine if part is not None),
    )
