"""CPU time of processes, for the benchmarks beside it."""
import os
import pathlib
import resource


def cpu_of(pid):
    """Seconds that a process has used so far, in itself and in the kernel."""
    text = pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="ascii")
    fields = text.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def own_cpu():
    """The same of this one."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime
