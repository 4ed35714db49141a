"""What a process that judges can no longer do once its libraries are loaded.

Linux on x86-64 and 64-bit ARM lets through the system calls named here alone: memory, reading
files, and writing replies. Elsewhere, and where the kernel refuses a filter, an audit hook ends the
process when it would write, start, send or remove something; Python's audit hooks do not see all.

`judge_process` runs this as a file: it needs nothing of this package.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import resource
import signal
import struct
import sys
from typing import Any

FILES = 64
"""Files that may be open at a time."""

_PR_SET_PDEATHSIG, _PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS = 1, 22, 38
_SECCOMP_MODE_FILTER = 2
_ALLOW, _ERROR = 0x7FFF0000, 0x00050000 | errno.EPERM
_LOAD, _EQUAL, _AT_LEAST, _AND, _RETURN = 0x20, 0x15, 0x35, 0x54, 0x06
_NUMBER, _MACHINE, _FIRST, _THIRD = 0, 4, 16, 32
"""Where the call's number, the machine and two arguments stand in `struct seccomp_data`; the
arguments' lower halves, as both machines are little-endian."""

_MACHINES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_CALLS = {  # what both allow: names, then the numbers on x86-64 and on ARM
    "read": (0, 63),
    "close": (3, 57),
    "stat": (4, 79),  # on ARM all of these are newfstatat
    "fstat": (5, 80),
    "lstat": (6, 79),
    "lseek": (8, 62),
    "mmap": (9, 222),
    "mprotect": (10, 226),
    "munmap": (11, 215),
    "brk": (12, 214),
    "rt_sigprocmask": (14, 135),
    "rt_sigreturn": (15, 139),
    "pread64": (17, 67),
    "access": (21, 48),
    "sched_yield": (24, 124),
    "mremap": (25, 216),
    "madvise": (28, 233),
    "setitimer": (38, 103),
    "getpid": (39, 172),
    "exit": (60, 93),
    "uname": (63, 160),
    "getcwd": (79, 17),
    "readlink": (89, 78),
    "gettimeofday": (96, 169),
    "getrusage": (98, 165),
    "times": (100, 153),
    "sigaltstack": (131, 132),
    "gettid": (186, 178),
    "futex": (202, 98),
    "sched_getaffinity": (204, 123),
    "getdents64": (217, 61),
    "restart_syscall": (219, 128),
    "clock_gettime": (228, 113),
    "exit_group": (231, 94),
    "newfstatat": (262, 79),
    "readlinkat": (267, 78),
    "faccessat": (269, 48),
    "getrandom": (318, 278),
    "statx": (332, 291),
    "rseq": (334, 293),
    "faccessat2": (439, 439),
}
_WRITE, _OPENAT = (1, 64), (257, 56)

_HARMFUL = (
    *("os.system", "os.exec", "os.fork", "os.posix_spawn", "os.spawn", "os.startfile", "os.kill"),
    *("os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.link", "os.symlink", "os.truncate"),
    *("os.chmod", "os.chown", "os.putenv", "os.unsetenv", "os.chdir", "pty.", "subprocess."),
    *("socket.", "shutil.", "ctypes.", "signal.", "tempfile.", "sqlite3.", "fcntl.", "resource."),
    *("gc.", "code.", "sys.settrace", "sys.setprofile", "cpython.", "pickle.", "syslog."),
)
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


def die_with(parent: int) -> None:
    """End when the thread that started this process ends, however it ends (Linux; elsewhere the end
    of its input has to do)."""
    if sys.platform == "linux":
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it ended before
            os._exit(1)


def lock(replies: int) -> bool:
    """Give up what judging does not need; `replies` is the one file that is written to, besides the
    standard streams.

    Whether the kernel holds this process to it.
    """
    sys.dont_write_bytecode = True
    for limit, most in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, FILES),
        (resource.RLIMIT_NPROC, 0),
    ):
        resource.setrlimit(limit, (most, most))
    filtered = _filter(replies)
    sys.addaudithook(_end)
    return filtered


def _end(event: str, arguments: tuple[Any, ...]) -> None:
    """End this process, which runs what it should not: nothing that it says can be trusted."""
    writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & _WRITES
    if writes or event.startswith(_HARMFUL):
        os._exit(1)


def _filter(replies: int) -> bool:
    machine = platform.machine()
    if sys.platform != "linux" or machine not in _MACHINES or sys.byteorder != "little":
        return False
    try:
        return _prctl(_PR_SET_NO_NEW_PRIVS, 1) and _set_filter(_program(machine, replies))
    except (OSError, AttributeError):
        return False


def _program(machine: str, replies: int) -> bytes:
    """Berkeley Packet Filter code that lets `_CALLS` through, writing replies (and what is printed,
    which goes nowhere), and opening to read: each step is a code, how far to jump if it holds, and
    if it does not, and a value."""
    of = list(_MACHINES).index(machine)
    steps = [
        (_LOAD, 0, 0, _MACHINE),
        (_EQUAL, 1, 0, _MACHINES[machine]),
        (_RETURN, 0, 0, _ERROR),
        (_LOAD, 0, 0, _NUMBER),
    ]
    for number in sorted({numbers[of] for numbers in _CALLS.values()}):
        steps += [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, _ALLOW)]
    steps += [
        *((_EQUAL, 0, 5, _WRITE[of]), (_LOAD, 0, 0, _FIRST), (_AT_LEAST, 0, 1, 3)),
        *((_EQUAL, 0, 1, replies), (_RETURN, 0, 0, _ALLOW), (_RETURN, 0, 0, _ERROR)),
        *((_EQUAL, 0, 4, _OPENAT[of]), (_LOAD, 0, 0, _THIRD), (_AND, 0, 0, _WRITES)),
        *((_EQUAL, 0, 1, 0), (_RETURN, 0, 0, _ALLOW), (_RETURN, 0, 0, _ERROR)),
    ]
    return b"".join(struct.pack("HBBI", *step) for step in steps)


class _Program(ctypes.Structure):
    """`struct sock_fprog`."""

    _fields_ = (("steps", ctypes.c_ushort), ("code", ctypes.c_void_p))


def _set_filter(code: bytes) -> bool:
    memory = ctypes.create_string_buffer(code, len(code))
    program = _Program(len(code) // 8, ctypes.addressof(memory))
    return _prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.addressof(program))


def _prctl(option: int, *arguments: int) -> bool:
    prctl = ctypes.CDLL(None).prctl
    padded = [*arguments, 0, 0, 0, 0][:4]
    return bool(prctl(option, *map(ctypes.c_ulong, padded)) == 0)
