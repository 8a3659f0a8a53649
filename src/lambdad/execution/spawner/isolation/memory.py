"""Enforces an environment's memory size without counting what it keeps in /tmp.

/tmp is a tmpfs, and its pages are charged to the control group like the function's own memory; on AWS /tmp is a disk.
So the group's hard limit is memory size plus size of /tmp, and what is really used (without /tmp and without the page
cache, which the kernel gives back) is compared with the memory size as soon as the group passes it: version 1 tells by
an eventfd, version 2 slows the group down (memory.high) until it is looked at. A function that allocates too much is
killed within milliseconds; should that come too late for a very fast one, the hard limit holds.
"""

from __future__ import annotations

import os

from .cgroups import Group


class MemoryGuard:
    """Watches one group. `descriptor` becomes readable when it is worth checking; -1 if only polling tells."""

    def __init__(self, group: Group, *, limit_bytes: int, tmp: str) -> None:
        self._group = group
        self._limit = limit_bytes
        self._tmp = tmp
        """Where its tmpfs is; empty if /tmp is a directory, which is not charged."""
        self._near = limit_bytes - min(limit_bytes // 4, (os.cpu_count() or 1) << 20)
        """From here on it is looked at again and again. The kernel tells once that the limit was passed, and looks only
        after some hundred pages on each processor, which also keep pages in reserve: so the count may be at the limit
        or just below it when the event is read, and then pass it without another one."""
        self._high = limit_bytes
        self._usage = os.open(
            f"{group.memory}/{'memory.current' if group.version == 2 else 'memory.usage_in_bytes'}",
            os.O_RDONLY | os.O_CLOEXEC,
        )
        self.descriptor = -1
        self.is_above = False
        """Look again soon: the group holds more than the memory size, which page cache or /tmp may explain, or hardly
        less, or the kernel does not watch yet."""
        self._control = f"{group.memory}/cgroup.event_control"
        if group.version == 1 and os.path.exists(self._control):
            self.descriptor = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self.is_armed = False
        self._is_confirmed = False
        """The kernel watches: whoever asked it raises the event once when it does."""

    def arm(self) -> tuple[str, list[int]] | None:
        """What the kernel is to be asked for by another process: the bytes, and where to ask, the event, the counter.

        None if it was done, or there is nothing to ask.
        """
        if self.descriptor < 0 or self.is_armed:
            return None
        self.is_armed = self.is_above = True
        control = os.open(self._control, os.O_WRONLY | os.O_CLOEXEC)
        return str(self._limit), [control, os.dup(self.descriptor), os.dup(self._usage)]

    def drain(self) -> None:
        """Takes the event that made the descriptor readable."""
        try:
            os.eventfd_read(self.descriptor)
            self._is_confirmed = True
        except BlockingIOError:
            return

    def is_exceeded(self) -> bool:
        """Whether the function uses more than its memory size now."""
        usage = int(os.pread(self._usage, 32, 0))
        self._group.note_usage(usage)
        is_near = usage >= self._near
        self.is_above = is_near or (self.is_armed and not self._is_confirmed)
        if self.is_armed and not is_near and not self._is_confirmed:
            return (
                False  # looked at often, and by many at once; what was killed meanwhile is asked when it is confirmed
            )
        if self._group.has_killed():  # one process, which is not all that the limit is for
            return True
        if usage <= self._limit:
            return False
        in_tmp = self._bytes_in_tmp()
        if self._group.version == 2:
            self._move_high(in_tmp)
        return usage - in_tmp - self._page_cache() > self._limit

    def _bytes_in_tmp(self) -> int:
        if not self._tmp:
            return 0
        blocks = os.statvfs(self._tmp)
        return (blocks.f_blocks - blocks.f_bfree) * blocks.f_frsize

    def _page_cache(self) -> int:
        cache = 0
        prefix = b"" if self._group.version == 2 else b"total_"
        with open(f"{self._group.memory}/memory.stat", "rb") as stat:
            for line in stat:
                name, _, value = line.partition(b" ")
                if name in (prefix + b"active_file", prefix + b"inactive_file"):
                    cache += int(value)
        return cache

    def _move_high(self, in_tmp: int) -> None:
        """What lies in /tmp cannot be reclaimed, so it must not slow the function down."""
        if self._high != self._limit + in_tmp:
            self._high = self._limit + in_tmp
            with open(f"{self._group.memory}/memory.high", "w") as high:
                high.write(str(self._high))

    def close(self) -> None:
        os.close(self._usage)
        if self.descriptor >= 0:
            os.close(self.descriptor)
