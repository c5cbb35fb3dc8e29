"""Who may steer a run from outside, and where."""

from dataclasses import dataclass
from typing import ClassVar

from common.config import checks


@dataclass(frozen=True, kw_only=True)
class ControlConfig:
    """pamiq-core's web API, for `pamiq-console` and `pamiq-kbctl`.

    Attributes:
        enabled: Off for a run that only signals can stop.
        host: Address to listen at. Beyond loopback every request must bear the token of the variable
            `ENGRAM_CONTROL_TOKEN`, which the console does not: let it come through an SSH tunnel.
        port: TCP port; 0 takes a free one, and so does a run that finds it taken.
    """

    GROUP: ClassVar[str] = "control"

    enabled: bool = True
    host: str = "127.0.0.1"
    port: int = 8391

    def __post_init__(self) -> None:
        checks.between(self, 0, 65535, "port")
        if not self.host:
            raise checks.refuse(self, "host", "must be an address of this machine")
