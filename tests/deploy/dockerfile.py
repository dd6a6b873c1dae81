"""A Dockerfile read as its instructions, and its steps run in a plain root file system, without an engine."""

import json
import os
import shlex
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / "deploy" / "docker" / "Dockerfile"


@dataclass
class Stage:
    """A stage: what it begins from, and its instructions in order."""

    name: str
    base: str
    steps: list[tuple[str, str]] = field(default_factory=list)


def stages() -> dict[str, Stage]:
    """Return the stages by name."""
    found: dict[str, Stage] = {}
    text = DOCKERFILE.read_text(encoding="utf-8").replace("\\\n", " ")
    for line in text.splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        word, _, rest = line.partition(" ")
        if word == "FROM":
            base, _, name = rest.split()
            current = found[name] = Stage(name, base)
        elif word != "ARG":
            current.steps.append((word, rest.strip()))
    return found


def words(rest: str) -> list[str]:
    """Return the words of ENTRYPOINT, CMD and VOLUME."""
    return [str(word) for word in json.loads(rest)]


def chain(name: str) -> list[Stage]:
    """Return a stage after those that it begins from."""
    every = stages()
    line = [every[name]]
    while line[0].base in every:
        line.insert(0, every[line[0].base])
    return line


class Root:
    """A root file system in which the steps of a stage are run, with chroot(2) in a mount namespace of its own.

    Parameters
    ----------
    folder : Path
        New; a copy of ``base`` is made there.
    base : Path
        A minimal Debian with Python, as debootstrap(8) makes it: it stands for the image that the Dockerfile names.
    """

    def __init__(self, folder: Path, base: Path) -> None:
        subprocess.run(["cp", "-a", str(base), str(folder)], check=True)  # noqa: S603, S607
        self.folder, self.workdir = folder, "/"
        self.environment = {"PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"}
        self.user = ""

    def build(self, name: str, others: "dict[str, Root] | None" = None) -> None:
        """Run the steps of a stage and of those before it; ``others`` are the stages that it copies from."""
        for stage in chain(name):
            for word, rest in stage.steps:
                self._step(word, rest, others or {})

    def run(self, line: str, *, user: str = "", read_only: bool = False) -> "subprocess.CompletedProcess[str]":
        """Run a line of shell inside; ``read_only`` leaves only the volume and /tmp to write, as the Compose file does."""
        inside = f"cd {shlex.quote(self.workdir)} && {line}"
        who = f"setpriv --reuid={user.split(':')[0]} --regid={user.split(':')[-1]} --clear-groups --no-new-privs" if user else ""
        root, first, last = self.folder, [], []
        if read_only:
            first = [f"mount --bind {root} {root}", f"mount -o remount,ro,bind {root}"]
            last = [
                f"mount -t tmpfs -o mode=1777 tmpfs {root}/tmp",  # noqa: S108 - a mount point
                f"mount -t tmpfs -o mode=0700,uid=10001,gid=10001 tmpfs {root}/var/lib/lunaria",
            ]
        given = [f"mount --bind {path} {root}{path}" for path in _given(root)]
        binds = [*first, *given, f"mount -t proc proc {root}/proc", f"mount --bind /dev {root}/dev", *last]
        script = " && ".join([*binds, f"exec $CHROOT {self.folder} {who} /bin/sh -c {shlex.quote(inside)}"])
        passed = {key: value for key, value in os.environ.items() if key.startswith(("PIP_", "SSL_CERT"))}
        return subprocess.run(  # noqa: S603
            ["unshare", "--mount", *(["--net"] if read_only else []), "sh", "-c", script],  # noqa: S607
            env=passed | self.environment | {"CHROOT": shutil.which("chroot", path="/usr/sbin:/sbin:/usr/bin:/bin") or "chroot"},
            capture_output=True,
            text=True,
            check=False,
            timeout=1800,
        )

    def _step(self, word: str, rest: str, others: "dict[str, Root]") -> None:
        if word == "ENV":
            for pair in shlex.split(rest):
                key, _, value = pair.partition("=")
                self.environment[key] = value
        elif word == "WORKDIR":
            self.workdir = rest
            (self.folder / rest.lstrip("/")).mkdir(parents=True, exist_ok=True)
        elif word == "USER":
            self.user = rest
        elif word == "COPY":
            self._copy(rest.split(), others)
        elif word == "RUN":
            done = self.run(rest)
            assert done.returncode == 0, f"{rest}\n{done.stdout}{done.stderr}"

    def _copy(self, parts: list[str], others: "dict[str, Root]") -> None:
        source = others[parts.pop(0).removeprefix("--from=")].folder if parts[0].startswith("--from=") else ROOT
        *names, target = parts
        place = self.folder / (Path(self.workdir) / target).as_posix().lstrip("/")
        for name in names:
            one = source / name.lstrip("/")
            if one.is_dir():
                shutil.copytree(one, place, dirs_exist_ok=True, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                (place if target.endswith("/") else place.parent).mkdir(parents=True, exist_ok=True)
                shutil.copy(one, place)


def _given(folder: Path) -> list[str]:
    """Return how this machine reaches package registries and names, as far as it says so in /etc: an engine hands that in as well."""
    given = []
    for path in ("/etc/resolv.conf", "/etc/hosts", "/etc/pip.conf", "/etc/xdg", "/etc/ssl"):
        place = folder / path.lstrip("/")
        if Path(path).is_dir():
            place.mkdir(parents=True, exist_ok=True)
        elif Path(path).is_file():
            place.touch()
        else:
            continue
        given.append(path)
    return given
