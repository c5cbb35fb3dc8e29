"""Names of the keys of one stream in Redis.

One server holds them all: a writer's transaction touches its own stream and the run's shared keys, which a Redis
Cluster would keep in different slots. The actor's name is a literal hash tag, so that the name can stay where somebody
splits that transaction.
"""

from dataclasses import dataclass


def rollouts_of(stream: str) -> str:
    """Id of the stream of the curious actors' rollouts, beside that of their frames."""
    return f"{stream}:rollouts"


@dataclass(frozen=True, slots=True)
class StreamKeys:
    """The keys of the stream with this id."""

    stream: str

    def frames(self, actor: str) -> str:
        """Redis Stream with one actor's frames."""
        return f"engram:{self.stream}:frames:{{{actor}}}"

    @property
    def actors(self) -> str:
        """Set of the actors that have ever written."""
        return f"engram:{self.stream}:actors"

    @property
    def written(self) -> str:
        """Hash of the entries that each actor has written over its whole life."""
        return f"engram:{self.stream}:written"

    def read(self, actor: str) -> str:
        """Hash of the entries of one actor that each reader has gone past; only where somebody waits for readers."""
        return f"engram:{self.stream}:read:{{{actor}}}"

    @property
    def heartbeats(self) -> str:
        """Hash of each part's last sign of life, msgpack."""
        return f"engram:{self.stream}:heartbeats"

    @property
    def run(self) -> str:
        """The run's configuration, YAML; only where actors on hosts outside Ray may join."""
        return f"engram:{self.stream}:run"

    @property
    def control(self) -> str:
        """What the driver wants of such actors, msgpack."""
        return f"engram:{self.stream}:control"

    @property
    def statuses(self) -> str:
        """Hash of how each such actor does, msgpack."""
        return f"engram:{self.stream}:statuses"

    def lease(self, actor: str) -> str:
        """Who is such an actor now; expires with its last sign of life."""
        return f"engram:{self.stream}:lease:{actor}"

    @property
    def quarantine(self) -> str:
        """Bounded Redis Stream of entries that did not decode."""
        return f"engram:{self.stream}:quarantine"
