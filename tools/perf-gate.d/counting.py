"""The instruction gate: instructions of each hot call under callgrind, against the committed baseline.

The same machine code gives the same count in every run and on every machine, so that 1 % more is a change of the code and
not noise. What the count depends on is the compiler and the architecture: each pair has its own part of the baseline.
"""
import json
import os
import platform

import build

BASELINE = build.HERE / "baseline.json"
RISE = 1.01 # from here on a regression
RENEW = "tools/perf-gate --renew"


def count(tree, libraries, folder, lock=None):
    """{call: instructions per call} of the library in a tree."""
    folder.mkdir()
    with build.locked(lock, exclusive=False):
        copy = folder / "memcpy.o"
        build.run([build.compiler(), *build.PROGRAM_FLAGS, "-c", build.HERE / "memcpy.c", "-o", copy],
                  "the build of memcpy.c")
        program = build.build_program(tree, libraries, "calls.c", folder / "calls", copy)
        dump = folder / "callgrind"
        said = build.run(["valgrind", "--tool=callgrind", "--collect-atstart=no", f"--callgrind-out-file={dump}",
                          "--quiet", program], "calls under valgrind", env=dict(os.environ, LD_BIND_NOW="1"))
    instructions = {}
    for path in folder.glob("callgrind*"):
        name, total = read_dump(path)
        if name:
            instructions[name] = total
    counts = {}
    for line in said.splitlines():
        calls, tab, name = line.partition("\t")
        if tab:
            counts[name] = round(instructions[name] / int(calls), 2)
    if not counts or min(counts.values()) < 1:
        raise build.GateError("callgrind counted nothing: " + said)
    return counts


def read_dump(path):
    name, total = None, 0
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        key, _, value = line.partition(": ")
        if key == "desc" and value.startswith("Trigger: Client Request: "):
            name = value.removeprefix("Trigger: Client Request: ")
        elif key == "totals":
            total = int(value.split()[0])
    return name, total


def key():
    return f"{build.compiler_name()} {platform.machine()}"


def load_baseline():
    return json.loads(BASELINE.read_text(encoding="utf-8")) if BASELINE.exists() else {}


def renew(counts):
    """Rewrites this compiler's part of the baseline and leaves the others alone."""
    baseline = load_baseline()
    baseline[key()] = counts
    BASELINE.write_text(json.dumps(baseline, indent=4, sort_keys=False) + "\n", encoding="utf-8")


def judge(counts, baseline):
    """Prints the table; the calls that take 1 % more instructions or worse."""
    print(f"{'call':<28}{'baseline':>10}{'now':>10}{'ratio':>9}")
    worse, better = [], []
    for name, now in counts.items():
        before = baseline.get(name)
        if before is None:
            print(f"{name:<28}{'-':>10}{now:>10.2f}{'-':>9}  new: renew the baseline")
            continue
        ratio = now / before
        remark = ""
        if ratio >= RISE:
            worse.append(name)
            remark = "  REGRESSION"
        elif ratio <= 2 - RISE:
            better.append(name)
            remark = "  better"
        print(f"{name:<28}{before:>10.2f}{now:>10.2f}{ratio:>9.3f}{remark}")
    for name in baseline:
        if name not in counts:
            print(f"{name:<28}{baseline[name]:>10.2f}{'-':>10}{'-':>9}  no longer counted: renew the baseline")
    if better and not worse:
        print(f"Better than the baseline: keep it so with {RENEW} (commit the file, and say in the commit why it fell).")
    return worse


def install():
    build.install("gcc", "libc6-dev", "meson", "ninja-build", "pkg-config", "git", "valgrind")


def gate(renewing, lock=None):
    """The exit code."""
    install()
    with build.temporary_folder() as name:
        folder = build.Path(name)
        tree = build.copy_working_tree(folder / "now")
        with build.locked(lock, exclusive=False):
            libraries = build.build_library(tree)
        counts = count(tree, libraries, folder / "count", lock)
    print(f"Instructions per call, {key()}, one thread, callgrind:")
    baseline = load_baseline().get(key())
    if renewing:
        judge(counts, baseline or {})
        renew(counts)
        print(f"Written: {BASELINE.relative_to(build.ROOT)}. Commit it, and say in the commit why it changed.")
        return 0
    if baseline is None:
        for call, now in counts.items():
            print(f"{call:<28}{now:>10.2f}")
        print(f"NOTE: the baseline knows nothing of {key()}: instructions counted, not judged. To have them judged: {RENEW}")
        return 0
    worse = judge(counts, baseline)
    if worse:
        print(f"FAILED: {len(worse)} of {len(counts)} calls take at least 1 % more instructions than the "
              f"baseline. If that is worth it: {RENEW}, and say why in the commit.")
        return 1
    print(f"PASSED: none of {len(counts)} calls takes 1 % more instructions than the baseline.")
    return 0
