"""The process between a sandbox and its program: it builds the walls, then starts the program. A script of its own."""

import ctypes
import os
import resource
import signal
import sys

NOBODY = 65534
NEW_USER, NEW_NETWORK, NEW_PROCESSES, NEW_MOUNTS, NEW_IPC = 0x10000000, 0x40000000, 0x20000000, 0x00020000, 0x08000000
PRIVATE, RECURSIVE, BIND, NO_SUID, NO_DEVICES = 1 << 18, 1 << 14, 1 << 12, 2, 4
MOUNT_SETATTR, THIS_FOLDER, READ_ONLY, ALL_BELOW = 442, -100, 1, 0x8000
PARENT_DEATH_SIGNAL, DUMPABLE, NO_NEW_PRIVILEGES = 1, 4, 38

INTERPRETER = os.path.realpath(sys.executable)
libc = ctypes.CDLL(None, use_errno=True)


def must(result: int, what: str) -> None:
    """Give up where a call of the C library failed."""
    if result != 0:
        raise OSError(ctypes.get_errno(), f"{what}: {os.strerror(ctypes.get_errno())}")


def die_with_parent() -> None:
    """End when the parent does; a change of user undoes it."""
    must(libc.prctl(PARENT_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0), "it may outlive its parent")


def become_nobody() -> str:
    """Give up the privileges of root, if there are any; the interpreter to run, which root's home may hide."""
    if os.geteuid() != 0:
        return sys.executable
    must(libc.unshare(NEW_MOUNTS), "no mounts of its own")
    must(libc.mount(None, b"/", None, PRIVATE | RECURSIVE, None), "mounts stay shared")
    must(libc.mount(sys.base_prefix.encode(), b"/mnt", None, BIND | RECURSIVE, None), "nothing can be bound to /mnt")
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)
    return os.path.join("/mnt", os.path.relpath(INTERPRETER, sys.base_prefix))


def enter_name_spaces() -> None:
    """Leave the network, the processes and the mounts behind."""
    user, group = os.geteuid(), os.getegid()
    # the files of /proc/self belong to root in a process that has changed its user, until it may be inspected
    libc.prctl(DUMPABLE, 1, 0, 0, 0)
    must(libc.unshare(NEW_USER | NEW_NETWORK | NEW_PROCESSES | NEW_MOUNTS | NEW_IPC), "no name spaces")
    for name, text in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(text)


def close_file_systems() -> None:
    """Make all of them read-only, and put empty ones in memory over `/tmp` and `/proc`."""
    must(libc.mount(None, b"/", None, PRIVATE | RECURSIVE, None), "mounts stay shared")
    attributes = (ctypes.c_uint64 * 4)(READ_ONLY, 0, 0, 0)
    size = ctypes.c_size_t(ctypes.sizeof(attributes))
    changed = libc.syscall(MOUNT_SETATTR, THIS_FOLDER, b"/", ALL_BELOW, ctypes.byref(attributes), size)
    must(changed, "file systems stay writable")
    for place, kilobytes in ((b"/tmp", b"size=16384k"), (b"/proc", b"size=4k")):
        must(libc.mount(b"none", place, b"tmpfs", NO_SUID | NO_DEVICES, kilobytes), f"no tmpfs on {place.decode()}")


def limit(memory: int, output: int, processes: int) -> None:
    """The limits of every process from here on; those that stand already may be lower, and stay."""
    wanted = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_NOFILE: 64,
        resource.RLIMIT_AS: memory,
        resource.RLIMIT_FSIZE: output,
        resource.RLIMIT_NPROC: processes,
    }
    for kind, value in wanted.items():
        most = resource.getrlimit(kind)[1]
        value = value if most == resource.RLIM_INFINITY else min(value, most)
        resource.setrlimit(kind, (value, value))


def program(interpreter: str, source: bytes, limits: tuple[int, int, int], report: int) -> None:
    """Become the program."""
    given = int(os.environ["INPUT"])
    os.dup2(given, 0)
    os.close(given)
    os.chdir("/tmp")
    with open("/tmp/program.py", "wb") as file:
        file.write(source)
    if not os.access(interpreter, os.X_OK):
        raise OSError(f"user {os.geteuid()} may not run {interpreter}")
    must(libc.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0), "privileges may come back")
    limit(*limits)
    os.write(report, b"ready ")
    os.close(report)
    os.execve(interpreter, [interpreter, "-I", "-S", "/tmp/program.py"], {"PYTHONHASHSEED": "0"})


def first_process(interpreter: str, source: bytes, limits: tuple[int, int, int], report: int) -> None:
    """Start the program, wait for it, say how it ended; with this process ends all that is left."""
    die_with_parent()
    # a group of its own: what signals its group shall not reach ours
    os.setsid()
    close_file_systems()
    # the program, of the same user, may not look into this process
    must(libc.prctl(DUMPABLE, 0, 0, 0, 0), "it may be inspected")
    child = os.fork()
    if child == 0:
        program(interpreter, source, limits, report)
    # orphans of the program are reaped on the way
    ended, status = os.wait()
    while ended != child:
        ended, status = os.wait()
    os.write(report, str(os.waitstatus_to_exitcode(status)).encode())


def main() -> None:
    """Build the walls and run what comes on standard input."""
    memory, output, processes, report = map(int, sys.argv[1:])
    source = sys.stdin.buffer.read()
    interpreter = become_nobody()
    enter_name_spaces()
    die_with_parent()
    first = os.fork()
    if first == 0:
        try:
            first_process(interpreter, source, (memory, output, processes), report)
        except BaseException as error:
            os.write(2, f"{error}\n".encode())
            os._exit(1)
        os._exit(0)
    os.waitpid(first, 0)


if __name__ == "__main__":
    main()
