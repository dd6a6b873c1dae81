"""The machine that figures were measured on: without it a figure says nothing.

``python -m bench.machine`` prints it.
"""

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from pydantic import BaseModel, ConfigDict

PACKAGES = ("numpy", "tensorflow", "tensorflow-cpu", "keras", "flwr", "ray", "py-ecc", "py-arkworks-bls12381", "pycryptodome")
# What changes the speed of NumPy's products without a trace in any version.
VARIABLES = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE", "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "TF_ENABLE_ONEDNN_OPTS")


class Machine(BaseModel):
    """A machine with what runs on it.

    Attributes
    ----------
    cpu : str
        The processor's model as it states itself; virtual machines often hide the exact one.
    cores : int
        Those this process may use.
    memory_bytes : int
        Physical memory.
    system, python : str
        Kernel with architecture; implementation with version.
    load : float
        The load average over the last minute: other work on the cores when the measurement began.
    packages, variables : dict of str to str
        Installed versions; environment variables that choose kernels and threads, where they are set.
    """

    model_config = ConfigDict(frozen=True)

    cpu: str
    cores: int
    memory_bytes: int
    system: str
    python: str
    load: float
    packages: dict[str, str]
    variables: dict[str, str]

    def lines(self) -> list[str]:
        """Return the machine as text for people."""
        chosen = "".join(f", {name}={value}" for name, value in self.variables.items())
        return [
            f"{self.cpu}, {self.cores} cores, {self.memory_bytes / 2**30:.1f} GiB, load {self.load:.2f} at the start",
            f"{self.system}, {self.python}{chosen}",
            ", ".join(f"{name} {found}" for name, found in self.packages.items()),
        ]


def describe() -> Machine:
    """Return this machine, as it is now."""
    return Machine(
        cpu=_cpu(Path("/proc/cpuinfo")),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        memory_bytes=os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        python=f"{platform.python_implementation()} {platform.python_version()}",
        load=os.getloadavg()[0],
        packages=_versions(),
        variables={name: os.environ[name] for name in VARIABLES if name in os.environ},
    )


def _cpu(path: Path) -> str:
    """Return the processor's model; Linux hides it from ``platform``."""
    if path.is_file():
        for line in path.read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()


def _versions() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


if __name__ == "__main__":
    print(*describe().lines(), sep="\n")
