"""The verb: what it refuses, and a whole process that answers and ends."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys

import httpx
import psutil
import pytest

import maskwright
from hostile import FORMATS, PICTURE, encoded, requests
from maskwright.base import extras
from maskwright.errors import ConfigError, DataError, SetupError

WITHOUT_TORCH = """
import sys
for name in ("torch", "segmentation_models_pytorch", "safetensors", "sklearn", "timm", "torchvision", "onnx"):
    sys.modules[name] = None
from maskwright.cli import main
main()
"""


def test_what_it_refuses(exported, tmp_path, monkeypatch) -> None:
    for token in (None, "short"):
        with pytest.raises(ConfigError, match=r"others can reach it there; give `token` with it"):
            maskwright.serve(exported.file, host="0.0.0.0", token=token)
    with pytest.raises(ConfigError) as refused:
        maskwright.serve(exported.file, max_bytes=0, timeout=float("nan"), queue=-1, token="")
    assert len(refused.value.problems) == 4
    with pytest.raises(DataError, match="no such file"):
        maskwright.serve(tmp_path / "nothing.onnx")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(SetupError, match="cannot listen there"):
            maskwright.serve(exported.file, port=taken.getsockname()[1])
    monkeypatch.setattr(extras.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(
        SetupError, match=r"serve needs fastapi, uvicorn: not installed; `pip install maskwright\[review\]`"
    ):
        maskwright.serve(exported.file)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_process_without_torch(exported, number: int) -> None:
    command = [sys.executable, "-c", WITHOUT_TORCH, "serve", str(exported.file), "--max-bytes", "100000"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            line = process.stderr.readline()
            address = re.fullmatch(r"serving garden\.onnx: (http://127\.0\.0\.1:\d+)\n", line)[1]
            assert httpx.get(f"{address}/health").json()["ready"] is True
            answer = httpx.post(f"{address}/predict?as=json", content=encoded("PNG"), headers=PICTURE)
            assert answer.status_code == 200 and sum(row["pixels"] for row in answer.json()["classes"]) == 40 * 60
            assert answer.headers["x-content-type-options"] == "nosniff" and "server" not in answer.headers
            with socket.create_connection(("127.0.0.1", int(address.rpartition(":")[2]))) as raw:
                raw.sendall(
                    b"POST /predict HTTP/1.1\r\nhost: localhost\r\ncontent-type: image/png\r\ncontent-length: 999999999\r\n\r\n"
                )
                assert raw.recv(1 << 16).startswith(b"HTTP/1.1 413 ")
            assert httpx.get(f"{address}/health", headers={"host": "evil.example"}).status_code == 403
            process.send_signal(number)
            out, rest = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 0 and out == "" and rest.endswith("ended\n") and "Traceback" not in rest, rest


@pytest.mark.slow
def test_two_hundred_hostile_bodies_leave_a_process_as_it_was(exported) -> None:
    """Each is refused, pictures are answered meanwhile, and memory stays what it was after the first of three rounds."""
    bodies = [(body, headers) for _, body, headers, _ in requests() if "content-length" not in headers]
    for kind in FORMATS:
        data = encoded(kind)
        bodies += [(data[: int(len(data) * share / 20)], PICTURE) for share in range(1, 18)]
    assert len(bodies) >= 200
    command = [sys.executable, "-c", WITHOUT_TORCH, "serve", str(exported.file), "--max-bytes", str(1 << 20)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            address = process.stderr.readline().split()[-1]
            held = []
            with httpx.Client(timeout=60) as client:
                for _ in range(3):
                    for number, (body, headers) in enumerate(bodies):
                        answer = client.post(f"{address}/predict", content=body, headers=headers)
                        assert 400 <= answer.status_code < 500 and list(answer.json()) == ["error"]
                        if number % 20 == 0:
                            whole = client.post(f"{address}/predict", content=encoded("PNG"), headers=PICTURE)
                            assert whole.status_code == 200
                    held.append(psutil.Process(process.pid).memory_info().rss / 1e6)
            process.send_signal(signal.SIGTERM)
            _, rest = process.communicate(timeout=60)
        finally:
            process.kill()
    print(f"{len(bodies)} bodies; resident MB after each round: {', '.join(f'{one:.0f}' for one in held)}")
    assert held[2] < held[0] + 10
    assert process.returncode == 0 and "Traceback" not in rest, rest
