"""Ray on loopback alone, for a cluster of one machine.

On Linux Ray takes 127.0.0.1 for a mistake: its servers then listen on every address of the machine, with their token as
the only lock, and some without (its own metrics). On macOS and Windows it stays on loopback, to spare people the
questions of firewalls; a switch, made for clusters of such machines, has it do so here.

Ray also starts a cluster without being told to, on its defaults, for whoever calls it while there is none: a thread
that asks an actor a moment after the end is enough, and where that start fails, Ray ends the process without a word.
"""

import os

from ray._private import auto_init_hook, ray_constants

LOOPBACK = "127.0.0.1"
"""What `ray.init` is to be given as `_node_ip_address`."""
_SWITCH = ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR
_UNASKED = "RAY_ENABLE_AUTO_CONNECT"


def start_only_when_asked() -> None:
    """Has calls to Ray fail where there is no cluster, in this process and in those that it starts from now on."""
    os.environ[_UNASKED] = "0"
    auto_init_hook.enable_auto_connect = False


def confine() -> None:
    """Has a Ray that this process starts from now on, and all its processes, listen on loopback alone."""
    os.environ[_SWITCH] = "0"
    ray_constants.ENABLE_RAY_CLUSTER = False


def release() -> None:
    """Lets this process join clusters of several machines again."""
    os.environ.pop(_SWITCH, None)
    ray_constants.ENABLE_RAY_CLUSTER = True
