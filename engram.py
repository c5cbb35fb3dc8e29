"""The public face of pamiq-engram: `launch` distributes any pamiq-core system, `main` is the command line."""

import importlib.util
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deploy.launch import LaunchConfig, launch

__all__ = ["LaunchConfig", "__version__", "launch", "main"]

PARTS = ("actors", "common", "deploy", "evaluator", "learner")

try:
    __version__ = version("pamiq-engram")
except PackageNotFoundError:
    __version__ = "0+unknown"


def check_parts() -> None:
    """Makes sure that our short package names are ours: any file called `common.py` could shadow one.

    Raises:
        ImportError: One is shadowed; the message names the file.
    """
    home = Path(__file__).resolve().parent
    for name in PARTS:
        spec = importlib.util.find_spec(name)
        origin = Path(spec.origin).resolve() if spec and spec.origin else None
        if origin != home / name / "__init__.py":
            raise ImportError(
                f"the package {name!r} of pamiq-engram is shadowed by {origin}: "
                "rename that file, or give pamiq-engram an environment of its own"
            )


check_parts()


def __getattr__(name: str) -> Any:
    """Imports `launch` and `LaunchConfig` when they are asked for: the command line needs neither."""
    if name in ("launch", "LaunchConfig"):
        import deploy.launch

        return getattr(deploy.launch, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def main() -> None:
    """Runs the command line and exits with its code."""
    try:
        from deploy.cli import main as run

        sys.exit(run())
    except KeyboardInterrupt:  # while the first modules are loaded
        sys.exit(130)


if __name__ == "__main__":
    main()
