"""The image of `serve`: what it copies is there, and it starts the verb as the verb is."""

from __future__ import annotations

import json
import re
from pathlib import Path

import typer

from maskwright.cli import app

ROOT = Path(__file__).parents[1]


def test_the_image_of_serve_fits_the_repository() -> None:
    text = (ROOT / "docker/serve.Dockerfile").read_text("utf-8")
    lines = [line.partition(" ") for line in text.splitlines() if line and not line.startswith("#")]
    for name, _, rest in lines:
        if name == "COPY" and not rest.startswith("--from"):
            assert all((ROOT / source).exists() for source in rest.split()[:-1]), rest
    assert [name for name, _, _ in lines].index("USER") < [name for name, _, _ in lines].index("ENTRYPOINT")
    extras = re.search(r"'\.\[(.+)\]'", text)[1].split(",")
    assert extras == ["onnx", "review"]
    program, verb, *options = json.loads(next(rest for name, _, rest in lines if name == "ENTRYPOINT"))
    command = typer.main.get_command(app).commands[verb]
    known = {option for parameter in command.params for option in parameter.opts}
    assert program == "maskwright" and {option for option in options if option.startswith("--")} <= known
    token = next(parameter for parameter in command.params if parameter.name == "token")
    health = json.loads(next(rest for name, _, rest in lines if name == "HEALTHCHECK").partition("CMD ")[2])
    assert token.envvar in health[-1] and token.envvar in text.partition("FROM")[0]
    compile(health[-1], "health", "exec")
