"""The machines that train together, read from torchrun's variables: the same on all, except for the rank.

    PET_NNODES=2  PET_NODE_RANK=0 or 1  PET_MASTER_ADDR=first-machine  PET_MASTER_PORT=29500

Machine 0 runs the whole flow; the others join its training. Ranks must be fixed, because rank 0 logs and writes, and
so must run where the flow runs.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Final

from audiocls.errors import ParamsError

_DEFAULT_PORT: Final = "29500"  # torchrun's


@dataclass(frozen=True, slots=True)
class Machines:
    """The number of machines, the rank of this one, and the address of machine 0."""

    count: int
    rank: int
    meeting: str  # address:port of machine 0


def machines() -> Machines:
    """Read torchrun's variables; without them, this machine trains alone.

    Raises:
        ParamsError: They lack a fixed number of machines, the rank of this one, or the address of machine 0.
    """
    count, rank = os.environ.get("PET_NNODES", "1"), os.environ.get("PET_NODE_RANK", "0")
    if count == "1":
        return Machines(1, 0, "")
    if not count.isdecimal() or not rank.isdecimal() or int(rank) >= int(count):
        raise ParamsError(
            f"PET_NNODES = {count} and PET_NODE_RANK = {rank}: set the number of machines, and this one's rank, from 0"
        )
    backend = os.environ.get("PET_RDZV_BACKEND", "static")
    if backend != "static":
        raise ParamsError(
            f"PET_RDZV_BACKEND = {backend}: assigns ranks as machines join, but the one that runs the flow must be "
            "0; unset it, and set PET_NODE_RANK, PET_MASTER_ADDR and PET_MASTER_PORT"
        )
    if "PET_MASTER_ADDR" not in os.environ:
        raise ParamsError(f"PET_NNODES = {count}: set PET_MASTER_ADDR too, to the address of machine 0")
    meeting = f"{os.environ['PET_MASTER_ADDR']}:{os.environ.get('PET_MASTER_PORT', _DEFAULT_PORT)}"
    return Machines(int(count), int(rank), meeting)


def num_processes() -> int:
    """Return how many processes train together, including this one."""
    return int(os.environ.get("WORLD_SIZE", "1"))
