"""Becomes another program that cannot outlive the process that started it.

Run as a plain script by `ops.processes.tether.spawn`, before the real program:
`python -I -S tethered_exec.py OWNER_PID DEATH_SIGNAL NICENESS UID GID PROGRAM [ARGUMENT...]`, where `-` keeps
UID and GID.
A separate small process, and not a `preexec_fn`, because the owner has threads and code run between fork and
exec may then deadlock. Standard library only: it runs without site-packages.
"""

import ctypes
import os
import signal
import sys
import time

PR_SET_PDEATHSIG = 1
OWNER_GONE_STATUS = 125
NOT_STARTED_STATUS = 126
AUTOGROUP_TRIES = 20
AUTOGROUP_RETRY_S = 0.11


def stand_behind(niceness: int) -> None:
    """Also where the kernel shares the CPU out by session first (its autogroups) and a nice value counts only
    within one: this process has just got a session of its own, in which there is nobody else.
    """
    mine = os.nice(niceness)
    for _ in range(AUTOGROUP_TRIES):
        try:
            with open("/proc/self/autogroup", "w") as autogroup:
                autogroup.write(str(mine))
        except BlockingIOError:  # ten a second of all users but root
            time.sleep(AUTOGROUP_RETRY_S)
        except OSError:
            return  # no autogroups here: then the nice value does it
        else:
            return


def main(arguments: list[str]) -> None:
    owner_pid, death_signal, niceness, uid, gid, *program = arguments
    os.setsid()  # a Ctrl-C in the owner's terminal reaches the owner alone, who then stops in order
    # What the owner blocks or ignores is its own affair; a child inheriting it could not be asked to stop.
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    if int(niceness):
        stand_behind(int(niceness))
    if uid != "-":
        os.setgroups([])
        os.setgid(int(gid))
        os.setuid(int(uid))
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        # After the change of user, which clears it; it survives exec.
        if libc.prctl(PR_SET_PDEATHSIG, int(death_signal), 0, 0, 0) != 0:
            sys.exit(f"prctl(PR_SET_PDEATHSIG) failed: {os.strerror(ctypes.get_errno())}")
    if os.getppid() != int(owner_pid):
        sys.exit(OWNER_GONE_STATUS)  # the owner died before the tether was tied
    try:
        os.execvp(program[0], program)
    except OSError as error:
        print(f"cannot run {program[0]}: {error.strerror}", file=sys.stderr)
        sys.exit(NOT_STARTED_STATUS)


if __name__ == "__main__":
    main(sys.argv[1:])
