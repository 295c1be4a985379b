"""A fresh environment that has what this one has installed, and into which a test can install more, without a network."""

from __future__ import annotations

import json
import os
import select
import stat
import subprocess
import sys
import sysconfig
import venv
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class CleanEnvironment:
    """A virtual environment: installs go into it, and this environment's packages are seen through it."""

    root: Path

    @property
    def bin(self) -> Path:
        return self.root / "bin"

    def variables(self) -> dict[str, str]:
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("PYTEST_", "PIP_", "COV_"))
            and name not in ("VP_ROOT", "PYTHONPATH", "VPCORE_DISABLE")
        }
        return {
            **inherited,
            "PATH": f"{self.bin}{os.pathsep}{os.environ['PATH']}",
            "VIRTUAL_ENV": str(self.root),
            # A plain `pip install -e .` then needs nothing but what is here.
            "PIP_NO_INDEX": "1",
            "PIP_NO_DEPS": "1",
            "PIP_NO_BUILD_ISOLATION": "0",  # pip reads this one the wrong way round: 0 means no isolation
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "PIP_QUIET": "1",
        }

    def run(self, *command: str | Path, cwd: Path, check: bool = True) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [str(part) for part in command],
            cwd=cwd,
            env=self.variables(),
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        if check:
            assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done

    def vp(self, *arguments: str | Path, cwd: Path, check: bool = True) -> subprocess.CompletedProcess[str]:
        return self.run(self.bin / "vp", *arguments, cwd=cwd, check=check)


_RESIDENT = """
import gc, json, os, sys, traceback, types
gc.set_threshold(50_000, 10, 10)  # as `vp` does
from vpcore_cli.app import run

requests, answers = os.fdopen(os.dup(0)), os.fdopen(os.dup(1), "w")
os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
for line in requests:
    asked = json.loads(line)
    os.chdir(asked["cwd"])
    for number, file in ((1, asked["stdout"]), (2, asked["stderr"])):
        opened = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(opened, number)
        os.close(opened)
    try:
        if asked["script"] is None:
            code = run(asked["arguments"])
        else:
            sys.modules["__main__"] = main = types.ModuleType("__main__")
            exec(compile(asked["script"], "<string>", "exec"), main.__dict__)
            code = 0
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    print(code, file=answers, flush=True)
"""


class Resident:
    """One process of an environment that runs command after command: `vp` is imported and its kernels are loaded once.

    A warning is an error. After an installation or an edit of Python code, `close` it: the next command starts another one.
    """

    def __init__(self, environment: CleanEnvironment) -> None:
        self.environment = environment
        self._process: subprocess.Popen[str] | None = None

    def vp(self, *arguments: str | Path, cwd: Path, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run ``vp`` with arguments."""
        return self._run([str(argument) for argument in arguments], None, cwd, check)

    def python(self, script: str, *, cwd: Path, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a script."""
        return self._run([], script, cwd, check)

    def close(self) -> None:
        if self._process is not None:
            assert self._process.stdin is not None
            assert self._process.stdout is not None
            self._process.stdin.close()
            self._process.wait(60)
            self._process.stdout.close()
            self._process = None

    def _run(
        self, arguments: list[str], script: str | None, cwd: Path, check: bool
    ) -> subprocess.CompletedProcess[str]:
        root = self.environment.root
        if self._process is None:
            (root / "resident.py").write_text(_RESIDENT)
            command = [str(self.environment.bin / "python"), "-W", "error", str(root / "resident.py")]
            self._process = subprocess.Popen(
                command, env=self.environment.variables(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        out, err = root / "resident.stdout", root / "resident.stderr"
        asked = {"arguments": arguments, "script": script, "cwd": str(cwd), "stdout": str(out), "stderr": str(err)}
        print(json.dumps(asked), file=self._process.stdin, flush=True)
        assert select.select([self._process.stdout], [], [], 600)[0], f"{arguments or script}: no end"
        code = self._process.stdout.readline().strip()
        assert code, f"{arguments or script}: the process died\n{out.read_text()}\n{err.read_text()}"
        done = subprocess.CompletedProcess(arguments, int(code), out.read_text(), err.read_text())
        if check:
            assert done.returncode == 0, f"{arguments or script}\n{done.stdout}\n{done.stderr}"
        return done


def make_environment(root: Path) -> CleanEnvironment:
    """Make the environment. Scripts are written by hand: those of the outer one start the outer interpreter."""
    venv.create(root, with_pip=False, symlinks=True)
    environment = CleanEnvironment(root)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    inner = root / "lib" / version / "site-packages"
    outer = sorted({sysconfig.get_path("purelib"), sysconfig.get_path("platlib")})
    # addsitedir and not a plain path: it also reads the .pth files of editable installs.
    lines = [f"import site; site.addsitedir({path!r})\n" for path in outer]
    (inner / "outer.pth").write_text("".join(lines))
    for name, module, function in (("vp", "vpcore_cli.app", "main"), ("pip", "pip._internal.cli.main", "main")):
        script = environment.bin / name
        script.write_text(
            f"#!{environment.bin / 'python'}\nimport sys\nfrom {module} import {function}\n"
            f"if __name__ == '__main__':\n    sys.exit({function}())\n"
        )
        script.chmod(script.stat().st_mode | stat.S_IXUSR)
    return environment
