"""A private Ray cluster for a benchmark, brought up as local mode does, with an object store of the size asked for."""

# pyright: reportUnknownMemberType=false

import logging
import os
import shutil
import sys
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import ray

from deploy.cluster import prepare_environment


@contextmanager
def private_cluster(store_bytes: int) -> Generator[None]:
    """Ray on this machine for as long as the block.

    Args:
        store_bytes: Size of the object store.
    """
    prepare_environment()
    folder = Path(tempfile.mkdtemp(prefix="engram-"))
    loopback = "127.0.0.2" if sys.platform == "linux" else None
    try:
        ray.init(
            address="local",
            num_cpus=os.cpu_count(),
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
            object_store_memory=store_bytes,
            _temp_dir=str(folder),
            _node_ip_address=loopback,
        )
        yield
    finally:
        ray.shutdown()
        shutil.rmtree(folder, ignore_errors=True)
