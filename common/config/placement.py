"""Where the parts of a run live in a cluster."""

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, kw_only=True)
class PlacementConfig:
    """Names of resources that hosts declare in their host.yaml.

    Attributes:
        actors: Of the actors; empty for `vrchat` or `screen` where the world is of that kind, and else for all hosts
            in turn but the learner's.
        learner: Of each of the learner's ranks; empty for a GPU, or where the cluster has none, for the host with the
            most CPUs.
        evaluator: Of the evaluator; empty for the driver's host.
    """

    GROUP: ClassVar[str] = "placement"

    actors: str = ""
    learner: str = ""
    evaluator: str = ""
