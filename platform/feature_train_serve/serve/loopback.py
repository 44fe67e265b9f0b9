"""Keeps Ray Serve's replicas off the network on a machine that runs the whole stack alone.

Each replica of Ray 2.60 opens a gRPC server for its neighbours on all interfaces, without authentication and without a
setting for the address. In a cluster that is needed and fenced by network policy; on a laptop it is an open door.
"""

from __future__ import annotations

import contextlib
import os
from typing import Any

LOCAL_ONLY = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"  # despite its name: "0" makes Ray listen on the loopback address


def keep_to_loopback() -> None:
    """Make this replica's server listen on 127.0.0.1 if Ray runs for this machine only. To be called by its constructor."""
    if os.environ.get(LOCAL_ONLY) != "0":
        return
    with contextlib.suppress(ImportError, AttributeError):  # another Ray: nothing to correct, or not like this
        from ray.serve._private import replica

        bind = replica.add_port_to_grpc_server

        def bind_to_loopback(server: Any, address: str) -> int:
            return int(bind(server, address.replace("[::]", "127.0.0.1")))

        replica.add_port_to_grpc_server = bind_to_loopback
