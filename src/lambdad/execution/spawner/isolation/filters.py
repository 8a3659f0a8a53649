"""The system call filter: what no function needs and a kernel's weak spots are made of is refused with EPERM.

A classic BPF program by table, per architecture. Everything not listed passes: a function may run any program, so a
list of what is allowed would break some. 32-bit and x32 entries are refused as a whole.
"""

from __future__ import annotations

import os
import struct

_INSTRUCTION = struct.Struct("=HBBI")
_LOAD_WORD = 0x20  # BPF_LD | BPF_W | BPF_ABS
_JUMP_EQUAL = 0x15  # BPF_JMP | BPF_JEQ | BPF_K
_JUMP_AT_LEAST = 0x35  # BPF_JMP | BPF_JGE | BPF_K
_JUMP_ANY_BIT = 0x45  # BPF_JMP | BPF_JSET | BPF_K
_RETURN = 0x06
_ALLOW = 0x7FFF0000
_REFUSE = 0x00050000 | 1  # SECCOMP_RET_ERRNO | EPERM
_NOT_THERE = 0x00050000 | 38  # SECCOMP_RET_ERRNO | ENOSYS
_NUMBER_OFFSET, _ARCHITECTURE_OFFSET, _FIRST_ARGUMENT_OFFSET = 0, 4, 16
_NEW_NAMESPACES = 0x7E020080
"""Every CLONE_NEW* flag that clone(2) takes."""
_X32_BIT = 0x40000000

_ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}

# Number on x86_64, on aarch64 (-1: not there).
_REFUSED = {
    "acct": (163, 89),
    "add_key": (248, 217),
    "bpf": (321, 280),
    "clock_adjtime": (305, 266),
    "clock_settime": (227, 112),
    "create_module": (174, -1),
    "delete_module": (176, 106),
    "fanotify_init": (300, 262),
    "finit_module": (313, 273),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fsopen": (430, 430),
    "fspick": (433, 433),
    "get_kernel_syms": (177, -1),
    "init_module": (175, 105),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "io_uring_setup": (425, 425),
    "ioperm": (173, -1),
    "iopl": (172, -1),
    "kcmp": (312, 272),
    "kexec_file_load": (320, 294),
    "kexec_load": (246, 104),
    "keyctl": (250, 219),
    "lookup_dcookie": (212, 18),
    "mbind": (237, 235),
    "migrate_pages": (256, 238),
    "mount": (165, 40),
    "mount_setattr": (442, 442),
    "move_mount": (429, 429),
    "move_pages": (279, 239),
    "name_to_handle_at": (303, 264),
    "nfsservctl": (180, 42),
    "open_by_handle_at": (304, 265),
    "open_tree": (428, 428),
    "perf_event_open": (298, 241),
    "pivot_root": (155, 41),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    "reboot": (169, 142),
    "request_key": (249, 218),
    "set_mempolicy": (238, 237),
    "setdomainname": (171, 162),
    "sethostname": (170, 161),
    "setns": (308, 268),
    "settimeofday": (164, 170),
    "swapoff": (168, 225),
    "swapon": (167, 224),
    "syslog": (103, 116),
    "umount2": (166, 39),
    "unshare": (272, 97),
    "uselib": (134, -1),
    "userfaultfd": (323, 282),
    "vhangup": (153, 58),
    "vmsplice": (278, 75),
}
_CLONE = {"x86_64": 56, "aarch64": 220}
_CLONE3 = 435


def program(machine: str = "") -> bytes:
    """The filter for this machine, or the one named; empty if it is not known."""
    machine = machine or os.uname().machine
    if machine not in _ARCHITECTURES:
        return b""
    column = list(_ARCHITECTURES).index(machine)
    numbers = sorted(entry[column] for entry in _REFUSED.values() if entry[column] >= 0)
    rules = [
        (_LOAD_WORD, 0, 0, _ARCHITECTURE_OFFSET),
        (_JUMP_EQUAL, 1, 0, _ARCHITECTURES[machine]),
        (_RETURN, 0, 0, _REFUSE),
        (_LOAD_WORD, 0, 0, _NUMBER_OFFSET),
        (_JUMP_AT_LEAST, 0, 1, _X32_BIT),
        (_RETURN, 0, 0, _REFUSE),
        # The C library falls back on clone when clone3, whose flags a filter cannot see, is not there.
        (_JUMP_EQUAL, 0, 1, _CLONE3),
        (_RETURN, 0, 0, _NOT_THERE),
        (_JUMP_EQUAL, 0, 4, _CLONE[machine]),
        (_LOAD_WORD, 0, 0, _FIRST_ARGUMENT_OFFSET),
        (_JUMP_ANY_BIT, 0, 1, _NEW_NAMESPACES),
        (_RETURN, 0, 0, _REFUSE),
        (_RETURN, 0, 0, _ALLOW),
    ]
    rules += _search(numbers)
    return b"".join(_INSTRUCTION.pack(*rule) for rule in rules)


def _search(numbers: list[int]) -> list[tuple[int, int, int, int]]:
    """A binary search: about six comparisons for a system call instead of one for each entry."""
    if len(numbers) <= 3:
        last = [(_RETURN, 0, 0, _ALLOW), (_RETURN, 0, 0, _REFUSE)]
        return [(_JUMP_EQUAL, len(numbers) - at, 0, number) for at, number in enumerate(numbers)] + last
    middle = len(numbers) // 2
    below, above = _search(numbers[:middle]), _search(numbers[middle:])
    return [(_JUMP_AT_LEAST, len(below), 0, numbers[middle]), *below, *above]
