"""How much memory training may take: of the machine, of the container it runs in, of a GPU."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import torch

CPU_SHARE = 0.5  # of the memory of machine or container; the rest is for loaders, other programs, the disk's cache
CUDA_SHARE = 0.9  # of what is free; the allocator loses some to fragments
CGROUPS = Path("/sys/fs/cgroup")


def memory_limit(device: torch.device) -> int:
    """Bytes that a process may hold on a device, what it holds already included.

    For the CPU, half of the memory there is, which does not change from run to run, unless less than that is free.
    """
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return int(CUDA_SHARE * (free + torch.cuda.memory_reserved(device)))
    total = min(_physical_memory(), *cgroup_limits())
    return min(int(CPU_SHARE * total), _free_memory() + held_memory(device))


def held_memory(device: torch.device) -> int:
    """Bytes that this process holds now."""
    if device.type == "cuda":
        return torch.cuda.memory_allocated(device)
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:  # no Linux
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def cgroup_limits(root: Path = CGROUPS, membership: Path = Path("/proc/self/cgroup")) -> Iterator[int]:
    """The memory limits of the control groups that this process is in, of version 1 or 2; none outside of Linux."""
    try:
        groups = [line.strip().split(":", 2) for line in membership.read_text().splitlines()]
    except OSError:
        return
    for _, controllers, name in groups:
        if controllers and "memory" not in controllers.split(","):
            continue
        base, file = (root / "memory", "memory.limit_in_bytes") if controllers else (root, "memory.max")
        group = base / name.lstrip("/")
        for folder in (group, *group.parents):  # a container may not see its own group, only the root
            if folder.is_relative_to(base):
                yield from _number_in(folder / file)


def _number_in(path: Path) -> Iterator[int]:
    try:
        text = path.read_text().strip()
    except OSError:
        return
    if text.isdigit():  # version 2 says "max" for no limit
        yield int(text)


def _physical_memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _free_memory() -> int:
    """What other programs leave, caches that the kernel would give up included."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:  # no Linux
        return _physical_memory()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
