"""The timing gate: two versions of `timing` run in turn, A B B A ..., each time as a new process; pairs are compared.

A pair counts only where its halves were measured under the same conditions (see quiet_alone and quiet_between): the
processors of a virtual machine are lent, shared with other tenants' threads, and moved.
"""
import json
import os
import re
import subprocess
import time

import build
import verdict

SPREAD = 1.3  # mean over median of the windows, from here on: disturbed
CORE = 1.1    # the halves of a pair had cores that differ more in speed: not comparable
FLOOR = 1.2   # the same for the ping-pong between the two cores
TURN = 20     # seconds after which others may take the lock
SLOWEST_RUN = 60 # seconds; a run takes a fifth of one


def default_cpus():
    return sorted(os.sched_getaffinity(0))[:2]


def run_timing(program, cpus):
    try:
        done = subprocess.run([str(program), *map(str, cpus)], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=SLOWEST_RUN, check=False)
    except subprocess.TimeoutExpired:
        raise build.GateError(f"{program}: not finished after {SLOWEST_RUN} s: a call hangs") from None
    if done.returncode:
        raise build.GateError(f"{program} failed with {done.returncode}: {done.stderr.strip()}")
    return json.loads(done.stdout)


def like(cells, limit):
    speeds = [cell["ns"] for cell in cells]
    return max(speeds) <= limit * min(speeds) and all(cell["spread"] <= SPREAD for cell in cells)


def quiet_alone(old, new, cell):
    return like([half[name] for half in (old, new) for name in ("core before", "core after")], CORE) and \
        max(old[cell]["spread"], new[cell]["spread"]) <= SPREAD


def quiet_between(old, new):
    return like([half[name] for half in (old, new) for name in ("floor before", "floor after")], FLOOR)


def is_alone(cell):
    return cell.endswith(" alone")


def is_sensor(cell):
    return cell.startswith(("core ", "floor "))


class Comparison:
    """Collects pairs until there are enough quiet ones in every cell, or the time is used up."""

    def __init__(self, old_program, new_program, rounds, seconds, cpus=None, lock=None):
        self.programs = old_program, new_program
        self.cpus = cpus or default_cpus()
        self.rounds = rounds
        self.pairs = 0
        self.tried = {}  # cell: pairs measured
        self.ratios = {} # cell: [speed of new over speed of old], of the quiet pairs
        self.times = {}  # cell: [(ns of old, ns of new)]
        spent = 0 # without waiting for the lock
        while self.lacking() and spent < seconds:
            with build.locked(lock, exclusive=True):
                start = time.monotonic()
                while self.lacking() and time.monotonic() - start < min(TURN, seconds - spent):
                    self.measure_pair()
                spent += time.monotonic() - start

    def lacking(self):
        """Cells that want more pairs; before the first pair they are not known."""
        return [cell for cell, ratios in self.ratios.items() if len(ratios) < self.rounds] if self.ratios else [None]

    def measure_pair(self):
        # With one processor only what one thread does alone is measured, in a tenth of the time.
        alone = all(cell and is_alone(cell) for cell in self.lacking())
        order = (0, 1) if self.pairs % 2 == 0 else (1, 0)
        halves = [None, None]
        for which in order:
            halves[which] = run_timing(self.programs[which], self.cpus[:1] if alone else self.cpus)
        self.pairs += 1
        old, new = halves
        for cell in old:
            if is_sensor(cell):
                continue
            ratios, times = self.ratios.setdefault(cell, []), self.times.setdefault(cell, [])
            self.tried[cell] = self.tried.get(cell, 0) + 1
            if quiet_alone(old, new, cell) if is_alone(cell) else quiet_between(old, new):
                ratios.append(old[cell]["ns"] / new[cell]["ns"])
                times.append((old[cell]["ns"], new[cell]["ns"]))

    def verdict(self, cell):
        return verdict.Verdict(self.ratios.get(cell, []))

    def judge(self, old_name="before", new_name="now"):
        """Prints the table; returns (regressions, cells judged, cells)."""
        regressions, judged = [], 0
        print(f"{'cell':<20}{'pairs':>8}{old_name:>11}{new_name:>11}{'speed':>8}  {'99 % interval':<15}{'p':>8}")
        for cell in self.ratios:
            found = self.verdict(cell)
            pairs = f"{found.pairs}/{self.tried[cell]}"
            if not found.judged:
                print(f"{cell:<20}{pairs:>8}  too few quiet pairs: not judged")
                continue
            judged += 1
            old, new = (verdict.statistics.median(column) for column in zip(*self.times[cell]))
            remark = "  REGRESSION" if found.regression else ""
            print(f"{cell:<20}{pairs:>8}{old:>8.2f} ns{new:>8.2f} ns{found.median:>8.3f}  "
                  f"{found.low:.3f} .. {found.high:.3f} {found.p:>8.4f}{remark}")
            if found.regression:
                regressions.append(cell)
        return regressions, judged, len(self.ratios)


def build_timing(tree, name, flags=()):
    libraries = build.build_library(tree)
    return build.build_program(tree, libraries, "timing.c", tree.parent / name, flags=flags)


def install():
    build.install("gcc", "libc6-dev", "meson", "ninja-build", "pkg-config", "git")


def same_library(commit):
    """Is ring/ of the working tree that of the commit, and the way it is built?"""
    done = subprocess.run(["git", "-C", str(build.ROOT), "diff", "--quiet", commit, "--", "ring", "meson.build",
                           "meson_options.txt"], check=False)
    untracked = build.git("ls-files", "--others", "--exclude-standard", "--", "ring")
    return done.returncode == 0 and not untracked


def accepted(commit):
    """{cell: reason} of what the commits since then say is slower on purpose: 'Slower-on-purpose: CELL, CELL: reason'."""
    messages = (build.git("log", "--format=%B", f"{commit}..HEAD") or b"").decode(errors="replace")
    return {cell.strip(): reason.strip()
            for cells, reason in re.findall(r"^Slower-on-purpose: ([^:\n]+): *(\S.*)$", messages, re.MULTILINE)
            for cell in cells.split(",")}


def gate(base, rounds, seconds, cpus=None, lock=None):
    """The exit code."""
    commit = build.commit_of(base)
    if not commit:
        raise LookupError(f"'{base}' is no commit here")
    if same_library(commit):
        print(f"PASSED: the library is the same as in {commit[:12]}: nothing to time.")
        return 0
    install()
    with build.temporary_folder() as name:
        folder = build.Path(name)
        with build.locked(lock, exclusive=False):
            try:
                old = build_timing(build.extract_commit(commit, folder / "before"), "timing-before")
            except build.BuildError as error:
                print(f"{error}\nNOTE: {commit[:12]} cannot be built with this timing program: timing not judged.")
                return 0
            new = build_timing(build.copy_working_tree(folder / "now"), "timing-now")
        comparison = Comparison(old, new, rounds, seconds, cpus, lock)
    print(f"The working tree against {commit[:12]}, speed new over old, {comparison.pairs} pairs of runs:")
    regressions, judged, cells = comparison.judge()
    reasons = accepted(commit)
    for cell in [cell for cell in regressions if cell in reasons]:
        print(f"NOTE: {cell} is slower on purpose: {reasons[cell]}")
        regressions.remove(cell)
    if regressions:
        print(f"FAILED: certainly more than {1 - verdict.LIMIT:.0%} slower: {', '.join(regressions)}.\nIf that is the price of "
              "something better, a commit message says so: 'Slower-on-purpose: CELL, CELL: what it buys'.")
        return 1
    if judged < cells:
        print(f"NOTE: machine not quiet: timing not judged in {cells - judged} of {cells} cells.")
    if judged:
        print(f"PASSED: no {'other ' if reasons else ''}cell is certainly more than {1 - verdict.LIMIT:.0%} slower.")
    return 0
