"""A private Ray for a benchmark, as that of a run, with an object store of the size asked for."""

from collections.abc import Generator
from contextlib import contextmanager

from deploy.cluster import LocalCluster, prepare_environment


@contextmanager
def private_cluster(store_bytes: int) -> Generator[None]:
    """Ray on this machine for as long as the block.

    Args:
        store_bytes: Size of the object store.
    """
    prepare_environment()
    cluster = LocalCluster(store_bytes)
    cluster.start()
    try:
        yield
    finally:
        cluster.stop()
