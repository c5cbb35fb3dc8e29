"""Where the ranks of one learner meet: a small store that the driver opens, and what each rank does to join.

    driver    Rendezvous(address) ─► Place(rank, count, host, port) ─► each rank, as an argument
    rank k    join(place) ─► TCPStore ─► gloo between CPUs, NCCL between GPUs

Neither the store nor what the ranks send each other (gradients, votes, rows of the ledger) is encrypted or asks who is
there. So both listen on one address only, the one that Ray uses for the node: loopback in a local run, and in a cluster
a network that nobody else is on.
"""

import os
import socket
from dataclasses import dataclass
from datetime import timedelta
from ipaddress import ip_address

import psutil
import torch
import torch.distributed as dist
from torch._C._distributed_c10d import TCPStore

from common.errors import RunError
from learner.ranks import DistributedRanks

PATIENCE = timedelta(minutes=5)
"""How long a rank waits for the others: at the start, while they load and compile, and then in every exchange. A rank
that dies is noticed at once, one that hangs by its silence (`silence`); this is for what both have missed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """What a rank must know to find the others.

    Attributes:
        rank: Its number, from 0.
        count: How many there are.
        host: Address of the store.
        port: Its TCP port.
    """

    rank: int
    count: int
    host: str
    port: int


class Rendezvous:
    """The store of one group of ranks, for as long as this object lives; every new start of a group needs a new one.

    Args:
        address: The one address to listen on.
        count: How many ranks there will be.
    """

    def __init__(self, address: str, count: int) -> None:
        family = socket.AF_INET6 if ip_address(address).version == 6 else socket.AF_INET
        listener = socket.create_server((address, 0), family=family)
        self._host, self._count = address, count
        self._port: int = listener.getsockname()[1]
        self._store = TCPStore(
            address, self._port, is_master=True, wait_for_workers=False, master_listen_fd=listener.detach()
        )

    def place(self, rank: int) -> Place:
        """What rank number `rank` must know."""
        return Place(rank=rank, count=self._count, host=self._host, port=self._port)


def join(place: Place, device: torch.device, *, address: str) -> DistributedRanks:
    """Makes this process a rank; comes back when all are there.

    Args:
        place: Where they meet.
        device: Where this rank trains.
        address: This node's own, by which the other ranks reach it.

    Raises:
        RunError: The others did not come in time.
    """
    for library in ("GLOO", "NCCL"):
        os.environ.setdefault(f"{library}_SOCKET_IFNAME", interface_of(address))
    on_gpu = device.type == "cuda"
    try:
        store = TCPStore(place.host, place.port, is_master=False, timeout=PATIENCE)
        dist.init_process_group(
            "cpu:gloo,cuda:nccl" if on_gpu else "gloo",
            store=store,
            rank=place.rank,
            world_size=place.count,
            timeout=PATIENCE,
            device_id=torch.device(device.type, device.index or 0) if on_gpu else None,
        )
    except dist.DistError as error:
        raise RunError(f"rank {place.rank} of {place.count} did not find the others: {error}") from error
    return DistributedRanks(device)


def interface_of(address: str) -> str:
    """Finds the network interface with this address; for any of loopback's (127.0.0.2), loopback."""
    wanted = ip_address(address)
    for name, addresses in psutil.net_if_addrs().items():
        for known in addresses:
            if known.family not in (socket.AF_INET, socket.AF_INET6):
                continue
            found = ip_address(known.address.partition("%")[0])
            if found == wanted or (found.is_loopback and wanted.is_loopback and found.version == wanted.version):
                return name
    raise RunError(f"no network interface of this node has the address {address}, by which Ray knows it")
