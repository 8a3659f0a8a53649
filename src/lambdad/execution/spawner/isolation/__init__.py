"""What keeps one environment apart from the rest: system calls, mounts, users, cgroups, process trees, filters."""
