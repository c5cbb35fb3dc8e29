"""Ray on loopback alone, for a cluster of one machine.

On Linux Ray takes 127.0.0.1 for a mistake: its servers then listen on every address of the machine, with their token as
the only lock, and some without (its own metrics). On macOS and Windows it stays on loopback, to spare people the
questions of firewalls; a switch, made for clusters of such machines, has it do so here.
"""

import os

from ray._private import ray_constants

LOOPBACK = "127.0.0.1"
"""What `ray.init` is to be given as `_node_ip_address`."""
_SWITCH = ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR


def confine() -> None:
    """Has a Ray that this process starts from now on, and all its processes, listen on loopback alone."""
    os.environ[_SWITCH] = "0"
    ray_constants.ENABLE_RAY_CLUSTER = False


def release() -> None:
    """Lets this process join clusters of several machines again."""
    os.environ.pop(_SWITCH, None)
    ray_constants.ENABLE_RAY_CLUSTER = True
