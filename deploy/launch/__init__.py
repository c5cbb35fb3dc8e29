"""`engram.launch`: any pamiq-core system, unchanged, with its interactions and its trainers in processes of their own.

control thread (here)   pamiq-core's: pause, resume, save, shutdown, web API, uptime
├─ inference        RemoteInteractions ─► InteractionHost × actors ─┬─► data ─► Redis ─┐
└─ training         RemoteTrainers ─────► TrainerHost ◄─────────────┼──────────────────┘
└─► models ─► ModelBoard ─► actors
"""

from deploy.launch.config import LaunchConfig
from deploy.launch.system import launch

__all__ = ["LaunchConfig", "launch"]
