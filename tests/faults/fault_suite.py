"""The fault suite: `make faults`. Kills, damage, full and read-only disks, few files, two processes at once.

Every try works on a fresh copy of one small workspace and has a number, from which its random choices follow:

python tests/faults/fault_suite.py                       everything, at most 60 minutes
python tests/faults/fault_suite.py kill damage --tries 20
python tests/faults/fault_suite.py --seed 7 --only kill/run/13      one try again

A try is *detected* if a command refused, or was stopped; *wrong* if a command answered something else than without the
fault and exited with 0, crashed or hung, left damage, or could not be repeated to the same end; *lost* if something that
was stored before is gone afterwards. The last two must be 0.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import resource
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import fault_world as w

from vpcore import Workspace
from vpcore.errors import VpError

TABLE = "| fault | target | tries | detected | wrong | lost |"


@dataclass
class Tally:
    """Tries of one fault on one target."""

    tries: int = 0
    detected: int = 0
    wrong: int = 0
    lost: int = 0


@dataclass(frozen=True)
class Verdict:
    """One try."""

    detected: bool = False
    wrong: str = ""
    lost: str = ""


@dataclass
class Suite:
    """The template, the undisturbed ends of the commands, and what was found so far."""

    world: w.World
    scratch: Path
    seed: int = 1
    stop_at: float = float("inf")
    say: Callable[[str], None] = print
    before: dict[str, set[str]] = field(default_factory=dict)
    ends: dict[str, dict[str, set[str]]] = field(default_factory=dict)
    spans: dict[str, float] = field(default_factory=dict)
    growth: dict[str, int] = field(default_factory=dict)
    answers: dict[str, str] = field(default_factory=dict)
    tallies: dict[tuple[str, str], Tally] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.before = w.stored(self.world.root)
        row = self.world.rows[2]
        self.commands: dict[str, list[str]] = {
            "generate": ["generate", "other"],
            "run": ["run", "next"],
            "promote": ["promote", "first", "--row", row, "--alias", "live", "--why", "third"],
            "confirm": ["confirm", "first", "--row", row],
            "compact": ["results", "compact"],
            "track": ["track", "first", "--tracker", "mlflow"],
            "synth": ["synth", "--minutes", "1", "--seed", "9", "--events-per-second", "8"],
        }
        if self.world.archive.exists():
            self.commands["import"] = ["results", "import", str(self.world.archive)]
        self.readers: dict[str, list[str]] = {
            "compare": ["compare", "first", "--json"],
            "show": ["results", "show", self.world.run_id, "--json"],
            "confirmed": ["confirm", "first", "--row", self.world.rows[0], "--json"],
            "versions": ["serving", "list", "--json"],
            "history": ["serving", "history", "live", "--json"],
            "version": ["serving", "show", "live"],
            "datasets": ["list-datasets", "--json"],
            "values": [],
        }

    # -- running -------------------------------------------------------------------------------------------------------

    def once(self, fault: str, target: str, number: int, one: Callable[[random.Random, Path], Verdict]) -> None:
        """Make one try and count it."""
        name = f"{fault}/{target}/{number}"
        rng = random.Random(int.from_bytes(sha256(f"{self.seed}/{name}".encode()).digest()[:8]))
        root = self.world.copy(self.scratch / "try")
        tally = self.tallies.setdefault((fault, target), Tally())
        try:
            verdict = one(rng, root)
        except TimeoutError as error:
            verdict = Verdict(wrong=str(error))
        tally.tries += 1
        tally.detected += verdict.detected
        tally.wrong += bool(verdict.wrong)
        tally.lost += bool(verdict.lost)
        for kind, text in (("wrong", verdict.wrong), ("lost", verdict.lost)):
            if text:
                self.failures.append(f"{name} {kind}: {text}")
                self.say(f"{name} {kind}: {text}\n  again: {self.again(name)}")

    def again(self, name: str) -> str:
        """Return the command that makes one try again."""
        return shlex.join(["make", "faults", f"FAULTS=--seed {self.seed} --only {name}"])

    def end(self, command: str) -> dict[str, set[str]]:
        """Return what is stored after a command without a fault. The first time, time it from its first change on."""
        if command not in self.ends:
            root = self.world.copy(self.scratch / "plain")
            process = w.start(root, self.commands[command])
            _first_change(process, root)
            began = time.monotonic()
            found = w.finish(process)
            assert found.code in (0, 1), (command, found)
            self.spans[command] = time.monotonic() - began
            self.ends[command] = w.stored(root)
            self.growth[command] = max(_kilobytes(root) - _kilobytes(self.world.root), 16)
        return self.ends[command]

    def ask(self, root: Path, reader: str) -> tuple[w.Outcome, str]:
        """Return the outcome and the answer of a reader."""
        if reader == "values":
            found = values(root)
        else:
            found = w.here(root, *self.readers[reader])
        return found, w.answer(root, found)

    def right(self, reader: str) -> str:
        """Return the undisturbed answer of a reader."""
        if reader not in self.answers:
            found, self.answers[reader] = self.ask(self.world.copy(self.scratch / "plain"), reader)
            assert found.code in (0, 1), (reader, found)
        return self.answers[reader]

    # -- judging -------------------------------------------------------------------------------------------------------

    def judge(self, root: Path, command: str, outcomes: Sequence[w.Outcome]) -> Verdict:
        """Judge a workspace after a command that a fault may have stopped, then repeat the command to its end."""
        stopped = any(found.code not in (0, 1) or _said(found) for found in outcomes)
        crashed = next((found for found in outcomes if found.crashed), None)
        if crashed is not None:
            return Verdict(stopped, wrong=f"crashed: {crashed.err.strip()[-400:]}")
        try:
            gone = w.missing(self.before, w.stored(root))
        except VpError as error:
            return Verdict(stopped, wrong=f"damaged: {error}", lost=str(error))
        if gone:
            return Verdict(stopped, lost="; ".join(gone[:3]))
        for found in (outcome for outcome in outcomes if outcome.code in (0, 1) and not _said(outcome)):
            if len(outcomes) == 1 and self.difference(root, command):
                return Verdict(stopped, wrong=f"exit {found.code}, but {self.difference(root, command)}")
        again = w.run(root, *self.commands[command])
        if again.code not in (0, 1):
            return Verdict(stopped, wrong=f"repeating it failed: {again.err.strip()[-400:]}")
        if difference := self.difference(root, command):
            return Verdict(stopped, wrong=f"after repeating it, {difference}")
        sick = w.here(root, "doctor")
        if any(f"{kind} " in sick.out or f"{kind}:" in sick.out for kind in ("damaged", "lost")):
            return Verdict(stopped, wrong=f"vp doctor: {sick.out[:300]}")
        return Verdict(stopped)

    def difference(self, root: Path, command: str) -> str:
        """Return how what is stored differs from the undisturbed end of a command; empty if it does not."""
        expected, found = self.end(command), w.stored(root)
        gone, more = w.missing(expected, found), w.missing(found, expected)
        return "; ".join([f"missing {item}" for item in gone[:2]] + [f"unexpected {item}" for item in more[:2]])

    def table(self) -> str:
        """Return the table, with sums."""
        lines = [TABLE, "|---|---|---|---|---|---|"]
        for (fault, target), tally in sorted(self.tallies.items()):
            lines.append(f"| {fault} | {target} | {tally.tries} | {tally.detected} | {tally.wrong} | {tally.lost} |")
        sums = [sum(getattr(t, name) for t in self.tallies.values()) for name in ("tries", "detected", "wrong", "lost")]
        return "\n".join([*lines, f"| all | | {' | '.join(map(str, sums))} |"])


def _said(found: w.Outcome) -> bool:
    """Return whether a command says that a part of its work failed, and how to do that part."""
    return found.code == 1 and ("is computed again by: " in found.err or "Nothing is lost. To try again: " in found.err)


def values(root: Path) -> w.Outcome:
    """Return a digest of every column of every dataset, read through the cache."""
    w.forget()
    try:
        workspace = Workspace(root)
        marks = []
        for name in workspace.datasets.ids():
            data = workspace.datasets.open(name, cache_dir=workspace.cache_dir)
            about = repr((data.symbol, data.tick_int, data.cell_width_ns, data.n_bins, data.n_cells))
            arrays = [data.bin(column) for column in data.bin_columns] + [data.grid(c) for c in data.grid_columns]
            marks.append(about + sha256(b"".join(array.tobytes() for array in arrays)).hexdigest())
        return w.Outcome(0, "\n".join(marks), "")
    except VpError as error:
        return w.Outcome(2, "", str(error))


def _first_change(process: subprocess.Popen[str], root: Path) -> bool:
    """Wait until a command changes a file. Return False if it ends before."""
    before = _shape(root)
    while process.poll() is None:
        if _shape(root) != before:
            return True
        time.sleep(0.01)
    return False


def _shape(root: Path) -> tuple[int, int]:
    """Return the number of files below a folder, and the latest change of one."""
    states = []
    for folder, _, files in os.walk(root):
        for file in files:
            try:
                state = os.stat(os.path.join(folder, file))
            except OSError:
                continue
            states.append(state.st_mtime_ns)
    return len(states), max(states, default=0)


# -- faults ------------------------------------------------------------------------------------------------------------


def kill(suite: Suite, tries: int, targets: Sequence[str], *, with_signal: int = signal.SIGKILL) -> Iterator[Job]:
    """End a command at a random moment while it works; every second time with its workers."""

    def one(command: str) -> Callable[[random.Random, Path], Verdict]:
        def attempt(rng: random.Random, root: Path) -> Verdict:
            suite.end(command)
            for more in reversed(range(5)):  # what ends before its time comes is tried again, in the time it takes now
                process = w.start(root, suite.commands[command])
                if _first_change(process, root):
                    began = time.monotonic()
                    if _wait(process, rng.uniform(0.0, suite.spans[command])) is None:
                        with contextlib.suppress(ProcessLookupError):
                            (os.killpg if rng.random() < 0.5 else os.kill)(process.pid, with_signal)
                    else:
                        suite.spans[command] = time.monotonic() - began
                found = w.finish(process)
                if found.code not in (0, 1) or not more:
                    break
                suite.world.copy(root)
            return suite.judge(root, command, [found])

        return attempt

    name = "kill" if with_signal == signal.SIGKILL else "term"
    for command in targets or suite.commands:
        yield Job(name, command, tries, one(command))


def term(suite: Suite, tries: int, targets: Sequence[str]) -> Iterator[Job]:
    """The same with SIGTERM."""
    return kill(suite, tries, targets, with_signal=signal.SIGTERM)


def _wait(process: subprocess.Popen[str], seconds: float) -> int | None:
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        return None


FILES: dict[str, tuple[str, tuple[str, ...]]] = {
    "bins": ("lake/research/vp_immutable/*/bins.parquet", ("values", "confirmed")),
    "grid": ("lake/research/vp_immutable/*/grid_clean.parquet", ("values",)),
    "manifest": ("lake/research/vp_immutable/*/manifest.json", ("values", "datasets", "compare")),
    "checksums": ("lake/research/vp_immutable/*/checksums.json", ("values", "datasets")),
    "rows": ("lake/research/vp_harness/results/runs.parquet/*/*.parquet", ("compare", "show")),
    "commits": ("lake/research/vp_harness/results/runs_meta.parquet/*/*.parquet", ("compare", "show")),
    "ledger": ("lake/research/vp_harness/ledger/v*/*.parquet", ("compare",)),
    "reserve": ("lake/research/vp_harness/ledger/reserves/*.reserve*.json", ("confirmed", "compare", "values")),
    "confirmation": ("lake/research/vp_harness/ledger/reserves/*.confirmation*.json", ("confirmed", "versions")),
    "registry": ("lake/research/vp_harness/serving_registry.sqlite", ("versions", "history", "version")),
    "version": ("configs/serving_versions/*.yaml", ("version", "versions")),
    "cached columns": ("lake/cache/*/*.npy", ("values", "compare")),
    "cached evidence": ("lake/cache/evidence/*", ("compare",)),
    "checked sources": ("lake/cache/checked/*", ("values", "datasets")),
    "proofs": ("lake/research/vp_harness/results/proofs/*", ("compare", "show")),
}
"""Kinds of stored files, and the readers whose answers depend on them."""


def damage(suite: Suite, tries: int, targets: Sequence[str]) -> Iterator[Job]:
    """Flip a bit, or cut a file short, and ask."""

    def one(kind: str) -> Callable[[random.Random, Path], Verdict]:
        pattern, readers = FILES[kind]

        def attempt(rng: random.Random, root: Path) -> Verdict:
            right = {reader: suite.right(reader) for reader in readers}
            path = rng.choice(sorted(file for file in root.glob(pattern) if file.stat().st_size))
            data = bytearray(path.read_bytes())
            at = rng.randrange(len(data))
            how = f"bit {rng.randrange(8)} of byte {at} of {path.name}"
            if rng.random() < 0.8:
                data[at] ^= 1 << int(how[4])
            else:
                how, data = f"{path.name} cut to {at} bytes", data[:at]
            path.chmod(0o644)
            path.write_bytes(data)
            refused = False
            for reader in readers:
                found, answer = suite.ask(root, reader)
                if found.crashed:
                    return Verdict(True, wrong=f"{how}: {reader} crashed: {found.err.strip()[-400:]}")
                if found.code in (0, 1) and answer != right[reader] and '"error": "' not in answer:
                    return Verdict(wrong=f"{how}: {reader} answers {_first_difference(answer, right[reader])}")
                refused = refused or found.code not in (0, 1)
            if not refused:  # nothing depends on it, or it was made again; or the doctor says so
                refused = w.here(root, "doctor").code == 1
            return Verdict(refused)

        return attempt

    there = [kind for kind, (pattern, _) in FILES.items() if any(suite.world.root.glob(pattern))]
    for kind in targets or there:
        yield Job("damage", kind, tries, one(kind))


def _first_difference(found: str, right: str) -> str:
    at = next((i for i, (a, b) in enumerate(zip(found, right, strict=False)) if a != b), min(len(found), len(right)))
    return f"{found[max(0, at - 60) : at + 40]!r} for {right[max(0, at - 60) : at + 40]!r}"


def both(suite: Suite, tries: int, targets: Sequence[str]) -> Iterator[Job]:
    """Run a command twice at once."""

    def one(command: str) -> Callable[[random.Random, Path], Verdict]:
        def attempt(rng: random.Random, root: Path) -> Verdict:
            first = w.start(root, suite.commands[command])
            time.sleep(rng.uniform(0.0, 0.3))
            second = w.start(root, suite.commands[command])
            outcomes = [w.finish(first), w.finish(second)]
            failed = [found.err.strip()[-300:] for found in outcomes if found.code not in (0, 1)]
            if failed:
                return Verdict(True, wrong=f"one of two failed: {failed[0]}")
            if difference := suite.difference(root, command):
                return Verdict(wrong=f"after two at once, {difference}")
            return suite.judge(root, command, outcomes)

        return attempt

    for command in targets or suite.commands:
        yield Job("both", command, tries, one(command))


def few_files(suite: Suite, tries: int, targets: Sequence[str]) -> Iterator[Job]:
    """Let a command open few files at once."""

    def one(command: str) -> Callable[[random.Random, Path], Verdict]:
        def attempt(rng: random.Random, root: Path) -> Verdict:
            most = rng.randint(6, 14)
            limit = lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # noqa: E731
            found = w.run(root, *suite.commands[command], preexec_fn=limit)
            if found.code not in (0, 1, 2, 3) or "<frozen importlib" in found.err:  # not even Python starts
                found = w.Outcome(found.code, found.out, "")
            return suite.judge(root, command, [found])

        return attempt

    for command in targets or suite.commands:
        yield Job("few files", command, tries, one(command))


def mounted(folder: Path) -> bool:
    """Mount a disk of memory. Return False where this user may not."""
    folder.mkdir(exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", "size=1g", "tmpfs", folder]
    return shutil.which("mount") is not None and subprocess.run(command, capture_output=True).returncode == 0


def may_mount(suite: Suite) -> bool:
    """Return whether this user may mount disks; say so if not."""
    place = suite.scratch / "disk"
    if mounted(place):
        subprocess.run(["umount", place], check=True)
        return True
    suite.say("Full and read-only disks are left out: only root may mount a disk of memory.")
    return False


def remount(folder: Path, options: str) -> None:
    """Change a disk of memory."""
    subprocess.run(["mount", "-o", f"remount,{options}", folder], check=True)


def disk(suite: Suite, tries: int, targets: Sequence[str]) -> Iterator[Job]:
    """Run a command on a disk that is full before its end; then make room."""

    def one(command: str) -> Callable[[random.Random, Path], Verdict]:
        def attempt(rng: random.Random, root: Path) -> Verdict:
            suite.end(command)
            place = suite.scratch / "disk"
            assert mounted(place)
            try:
                root = suite.world.copy(place)
                room = rng.uniform(0, 1) ** 2 * suite.growth[command]
                remount(place, f"size={_used_kilobytes(place) + int(room) // 4 * 4}k")
                found = w.run(root, *suite.commands[command])
                remount(place, "size=1g")
                return suite.judge(root, command, [found])
            finally:
                subprocess.run(["umount", "-l", place], check=True)

        return attempt

    for command in (targets or suite.commands) if may_mount(suite) else ():
        yield Job("full disk", command, tries, one(command))


def read_only(suite: Suite, tries: int, targets: Sequence[str]) -> Iterator[Job]:
    """Run a command, and every reader, on a disk that cannot be written to."""

    def one(command: str) -> Callable[[random.Random, Path], Verdict]:
        def attempt(rng: random.Random, root: Path) -> Verdict:
            place = suite.scratch / "disk"
            assert mounted(place)
            try:
                root = suite.world.copy(place)
                remount(place, "ro")
                if command in suite.readers:
                    found, answer = suite.ask(root, command)
                    if found.code not in (0, 1) or answer != suite.right(command):
                        return Verdict(True, wrong=f"{found.err.strip()[-300:]} {answer[:100]}")
                    return Verdict()
                found = w.run(root, *suite.commands[command])
                if found.code == 0:
                    return Verdict(wrong="exit 0 on a disk that cannot be written to")
                remount(place, "rw")
                return suite.judge(root, command, [found])
            finally:
                subprocess.run(["umount", "-l", place], check=True)

        return attempt

    for command in (targets or [*suite.commands, *suite.readers]) if may_mount(suite) else ():
        yield Job("read-only", command, min(tries, 1), one(command))


def _kilobytes(folder: Path) -> int:
    """Return the room that the files of a folder take on a disk."""
    return sum(-(-path.lstat().st_size // 4096) * 4 for path in folder.rglob("*") if path.is_file())


def _used_kilobytes(folder: Path) -> int:
    state = os.statvfs(folder)
    return (state.f_blocks - state.f_bfree) * state.f_frsize // 1024


@dataclass(frozen=True)
class Job:
    """Tries of one fault on one target."""

    fault: str
    target: str
    tries: int
    one: Callable[[random.Random, Path], Verdict]


FAULTS: dict[str, tuple[Callable[[Suite, int, Sequence[str]], Iterator[Job]], int]] = {
    "damage": (damage, 24),
    "both": (both, 3),
    "read-only": (read_only, 1),
    "full disk": (disk, 8),
    "few files": (few_files, 6),
    "term": (term, 4),
    "kill": (kill, 26),
}
"""Every fault, and its tries per target: 208 kills over eight commands."""


def main() -> int:
    """Run the suite and print the table. Exit code 1 if anything is wrong or lost."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("faults", nargs="*", metavar="FAULT", help=f"of: {', '.join(FAULTS)} (all)")
    parser.add_argument("--seed", type=int, default=time.time_ns() % 2**32)
    parser.add_argument("--tries", type=int, help="per target, instead of each fault's own number")
    parser.add_argument("--minutes", type=float, default=60.0, help="no further try after so long (default 60)")
    parser.add_argument("--only", metavar="FAULT/TARGET/NUMBER", help="one try again")
    options = parser.parse_args()
    scratch = Path(tempfile.mkdtemp(prefix="vp-faults-"))
    print(f"seed {options.seed}", flush=True)
    began = time.monotonic()
    try:
        made = w.make(scratch / "template")
        say = lambda text: print(text, flush=True)  # noqa: E731
        suite = Suite(made, scratch, options.seed, began + 60 * options.minutes, say)
        if options.only:
            fault, target, number = options.only.rsplit("/", 2)
            (job,) = FAULTS[fault][0](suite, 1, [target])
            suite.once(fault, target, int(number), job.one)
        else:
            jobs = [
                job
                for name in options.faults or FAULTS
                for job in FAULTS[name][0](suite, options.tries or FAULTS[name][1], [])
            ]
            # In turn, so that a suite that is short of time has tried everything.
            for number in range(max(job.tries for job in jobs)):
                if time.monotonic() > suite.stop_at:
                    break
                say(f"round {number + 1}, {time.monotonic() - began:.0f} s")
                for job in jobs:
                    if number < job.tries and time.monotonic() < suite.stop_at:
                        suite.once(job.fault, job.target, number, job.one)
        print(suite.table())
        print(f"{time.monotonic() - began:.0f} s. To repeat: make faults FAULTS='--seed {options.seed}'")
        for failure in suite.failures:
            print(failure)
        return int(bool(suite.failures))
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
