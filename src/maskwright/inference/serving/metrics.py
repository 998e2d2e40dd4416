"""What the server counts, in the text that Prometheus reads
(https://prometheus.io/docs/instrumenting/exposition_formats)."""

from __future__ import annotations

from typing import Literal

Outcome = Literal["answered", "refused", "busy", "failed"]


class Metrics:
    """Counts of requests for a mask. Only the event loop touches them."""

    def __init__(self) -> None:
        self.requests: dict[Outcome, int] = {"answered": 0, "refused": 0, "busy": 0, "failed": 0}
        self.seconds = 0.0

    def count(self, status: int, seconds: float) -> None:
        """One request that was answered with this HTTP status after so long."""
        outcome: Outcome = (
            "answered" if status < 400 else "refused" if status < 500 else "busy" if status == 503 else "failed"
        )
        self.requests[outcome] += 1
        self.seconds += seconds

    def text(self, waiting: int) -> str:
        """All of it; `waiting` is the length of the queue."""
        lines = [
            "# HELP maskwright_requests_total Requests for a mask by outcome.",
            "# TYPE maskwright_requests_total counter",
            *(f'maskwright_requests_total{{outcome="{key}"}} {value}' for key, value in self.requests.items()),
            "# HELP maskwright_request_seconds Time from a request for a mask to its answer.",
            "# TYPE maskwright_request_seconds summary",
            f"maskwright_request_seconds_sum {self.seconds:.6f}",
            f"maskwright_request_seconds_count {sum(self.requests.values())}",
            "# HELP maskwright_queue_length Images that wait for their turn.",
            "# TYPE maskwright_queue_length gauge",
            f"maskwright_queue_length {waiting}",
        ]
        return "\n".join(lines) + "\n"
