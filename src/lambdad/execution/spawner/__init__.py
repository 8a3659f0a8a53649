"""The small separate process that forks, isolates, limits and kills; `client.py` is the server's side of it.

    server ── client.py ═ messages ═ main.py, forks.py (spawner) ═ messages ═ zygote.py
                                         ║ START, ORDER                        │ forks
                                      starting.py (runtime) ──── forked by ── supervisor.py

In the spawner, `main.py` answers the server, `plans.py` makes an order of what it asks for, `environments.py` and
`runs.py` hold what there is, `forks.py` has it forked, four environments ahead of need, and `limits.py` watches it.

Tiers, found out by trying (`ground.py`, `isolation/probe.py`); `isolation/obstacles.py` tells why one does not work:

- T3, as root: each environment has mount, pid, IPC and host name namespaces, a root of its own (/var/task and /opt
  read-only, /tmp a tmpfs of its size), a user id of its own, a system call filter, control groups for memory and tasks.
- T2, as any user: the same in a user namespace, which the spawner enters at its start (`isolation/user_namespace.py`);
  instead of a user id, each environment has an inner user namespace, by which the kernel also counts its tasks. Control
  groups where the user may make some; else memory is measured every 50 ms.
- T1, without namespaces: Landlock leaves an environment its code, layers, runtime, the system's programs and a private
  directory for temporary files (TMPDIR); the system call filter; a user id of its own where the spawner is root.
- T0, anywhere else: its own session, clean variables, the private directory, resource limits. Functions share the
  server's user: for trusted code only.

Decisions that are not obvious:

- Memory size is enforced on what the function uses itself. /tmp and the page cache are charged to the same control
  group but left out (`isolation/memory.py`), because /tmp is a disk on AWS.
- There is no /dev/shm, as on AWS.
- A Python environment is a fork of a zygote, unless one of its variables works only at an interpreter's start, or
  AWS_LAMBDA_EXEC_WRAPPER is set; then Python is executed. The zygote that has boto3 loaded serves functions that
  mention boto3, bring no copy of it, and have no module of a name that is loaded already (`plans.py`).
- Whoever loses the other's socket ends: server gone, spawner kills everything; spawner gone, the kernel kills zygotes
  (PDEATHSIG), with them each pid 1, and with that every process of an environment. The next spawner sweeps groups and
  directories of one that was killed.

Modules that zygotes load (`messages`, `supervisor`, `starting`, `restrictions`, `zygote`, and of `isolation`
`syscalls`, `landlock`, `network` and `user_namespace`) run on Python 3.8 and newer.
"""
