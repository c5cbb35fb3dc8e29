"""`python -m tests.launch local|distributed PROGRAM FOLDER PORT [STATE] [SETTING=N …]`: a program, either launch."""

import logging
import os
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pamiq_core


def main(how: str, program: str, folder: str, port: str, state: str = "", *settings: str) -> None:
    logging.basicConfig(level=logging.INFO)
    os.environ["NOTES"] = str(Path(folder) / f"{how}.jsonl")
    module: Any = import_module(f"tests.launch.programs.{program}")
    config: dict[str, Any] = {
        "states_dir": Path(folder) / how,
        "web_api_address": ("127.0.0.1", int(port)),
        "saved_state_path": state or None,
        **{name: int(value) for name, value in (one.split("=") for one in settings)},
    }
    if how == "local":
        pamiq_core.launch(module.interaction(), module.models(), module.buffers(), module.trainers(), config)
    else:
        import engram

        engram.launch(module.interaction, module.models, module.buffers, module.trainers, config)


if __name__ == "__main__":
    main(*sys.argv[1:])
