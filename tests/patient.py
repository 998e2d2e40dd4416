"""`python -m maskwright`, but for a shorter patience with processes that do not answer: patient.py SECONDS VERB ..."""

import sys
from datetime import timedelta

from maskwright import cli
from maskwright.training.distributed import processes

processes.PATIENCE = timedelta(seconds=float(sys.argv[1]))
cli.main(sys.argv[2:])
