"""The process that brings one run of a study or a search to its end: `python -m maskwright.studies.worker FOLDER NAME
SLOT DEVICE`.

It trains or resumes the run and scores it. When its standard input ends, because the study is stopped or the process
that leads it has died, it saves the run's state and ends too. Why it failed it leaves in the study's folder, where only
what the user has to fix counts as a failure.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
import traceback
import warnings
from pathlib import Path

from maskwright.base.storage import patient_lock
from maskwright.errors import Interrupted, LockedError, MaskwrightError
from maskwright.studies.folder import RunsFolder, Study
from maskwright.studies.searching.folder import Search
from maskwright.studies.status import scored

# How long a process waits for one of a study that was killed, which may still be saving its state.
_PATIENCE = 60.0


def work(study: RunsFolder, name: str, slot: int = 0, device: str = "auto") -> None:
    """Trains the run, or resumes it, and scores it where that is not done yet; `slot` numbers the processes that
    work at the same time. Raises what `train`, `resume` and `evaluate` raise, and LockedError."""
    import torch

    from maskwright.evaluation.scoring.evaluate import evaluate
    from maskwright.modeling.models.devices import preferring
    from maskwright.training.train import train_or_resume

    if device in ("auto", "cuda") and torch.cuda.is_available():
        torch.cuda.set_device(slot % torch.cuda.device_count())
    run = study.run(name)
    with patient_lock(study.job(name), _PATIENCE), preferring(device):
        study.tidy(name)
        study.forgive(name)
        train_or_resume(study.run_config(name), out=run.path, decoded=study.decoded)
        if threads := run.config().train.threads:  # so that all scores of the run are made alike
            torch.set_num_threads(threads)
        for split in study.evaluate:
            if not scored(run, split):
                evaluate(run, split=split)


def _stop_with_input() -> None:
    """Asks this process to stop when its standard input ends, again and again: torch may swallow what it is asked
    while it loads a file, and a second signal only means that the last minute is trained again."""
    while os.read(0, 1):
        pass
    while True:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(_PATIENCE)


def outcome(study: RunsFolder, name: str, slot: int = 0, device: str = "auto") -> int:
    """Works on a run, and returns the exit code instead of raising; what is the run's own fault is noted."""
    try:
        work(study, name, slot, device)
    except (Interrupted, KeyboardInterrupt):
        return Interrupted.exit_code
    except LockedError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    except MaskwrightError as error:
        print(error, file=sys.stderr)
        study.fail(name, error.exit_code, str(error))
        return error.exit_code
    except Exception as error:
        traceback.print_exc()
        study.fail(name, 1, f"unexpected {type(error).__name__}: {error}; see {study.log(name)}")
        return 1
    return 0


def main(arguments: list[str]) -> int:
    """The process."""
    warnings.filterwarnings("ignore")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # until training takes it over
    threading.Thread(target=_stop_with_input, daemon=True).start()
    folder, search = Path(arguments[0]), Search(Path(arguments[0]))
    found = search if search.begun else Study(folder)
    return outcome(found, arguments[1], int(arguments[2]), arguments[3])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
