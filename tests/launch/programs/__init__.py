"""Programs written for plain pamiq-core, as its users write them: nothing here knows of pamiq-engram.

Each module has functions `interaction`, `models`, `buffers` and `trainers`; trainers append what they did to the file
that the variable `NOTES` names.
"""

import json
import os
from typing import Any


def note(**row: Any) -> None:
    """Appends a line of JSON."""
    with open(os.environ["NOTES"], "a", encoding="utf-8") as file:  # noqa: PTH123
        file.write(json.dumps(row) + "\n")
