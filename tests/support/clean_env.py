"""A fresh environment that has what this one has installed, and into which a test can install more, without a network."""

from __future__ import annotations

import os
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
    for name, module, function in (("vp", "vpcore.cli.app", "main"), ("pip", "pip._internal.cli.main", "main")):
        script = environment.bin / name
        script.write_text(
            f"#!{environment.bin / 'python'}\nimport sys\nfrom {module} import {function}\n"
            f"if __name__ == '__main__':\n    sys.exit({function}())\n"
        )
        script.chmod(script.stat().st_mode | stat.S_IXUSR)
    return environment
