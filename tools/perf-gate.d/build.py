"""Trees and programs: a version of the library is copied, built as released, and linked with a program of this folder.

Every tree is a copy in a temporary folder, so that what is measured stands still while somebody edits, and nothing is
left in the repository when the gate is killed.
"""
import contextlib
import fcntl
import os
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
PROGRAM_FLAGS = [
    "-std=c11", "-D_GNU_SOURCE", "-O2", "-Wall", "-Wextra",
    # A change elsewhere in the file must not move a loop across a line of the instruction cache: that alone is worth 10 %.
    "-falign-functions=64", "-falign-loops=64",
]


class GateError(Exception):
    """A sentence for the person who called."""


class BuildError(GateError):
    """This version cannot be built."""


def run(command, what, **options):
    done = subprocess.run([str(word) for word in command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, errors="replace", check=False, **options)
    if done.returncode:
        tail = "\n".join(done.stdout.splitlines()[-15:])
        raise BuildError(f"{what} failed:\n{tail}")
    return done.stdout


@contextlib.contextmanager
def locked(path, exclusive):
    """Holds a lock file, where one was asked for, so that several measurements share a machine without meeting."""
    if not path:
        yield
        return
    with open(path, "a", encoding="ascii") as file:
        fcntl.flock(file, fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH)
        yield


def install(*packages):
    """Installs what is missing, as the other tools do."""
    done = subprocess.run(["bash", "-c", '. "$0" && install_missing "$@"', ROOT / "tools/packages.sh", *packages],
                          stdin=subprocess.DEVNULL, check=False)
    if done.returncode:
        raise GateError("packages are missing, see above")


def temporary_folder():
    return tempfile.TemporaryDirectory(prefix="shmring-perf-gate-")


def git(*arguments):
    done = subprocess.run(["git", "-C", str(ROOT), *arguments], stdin=subprocess.DEVNULL, capture_output=True, check=False)
    return done.stdout if done.returncode == 0 else None


def commit_of(name):
    found = git("rev-parse", "--verify", "--quiet", "--end-of-options", name + "^{commit}")
    return found.decode().strip() if found else None


def extract_commit(commit, folder):
    """The tree of a commit. No git worktree: that would have to be taken out of the repository again."""
    folder.mkdir()
    with subprocess.Popen(["git", "-C", str(ROOT), "archive", "--format=tar", commit], stdout=subprocess.PIPE) as archive:
        with tarfile.open(fileobj=archive.stdout, mode="r|") as tar:
            for member in tar: # regular files only; git's own paths are relative and have no '..'
                if member.isfile():
                    tar.extract(member, folder)
    if archive.returncode:
        raise GateError(f"git archive {commit} failed")
    return folder


def copy_working_tree(folder):
    """What is in the working tree now, committed or not, without what git ignores."""
    names = git("ls-files", "-z", "--cached", "--others", "--exclude-standard")
    if names is None:
        raise GateError(f"{ROOT} is no git repository")
    for name in filter(None, names.decode().split("\0")):
        source = ROOT / name
        if source.is_file() and not source.is_symlink():
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)
    return folder


def build_library(tree):
    """Builds the library as released; returns what a program is linked with."""
    build = tree / "build-perf-gate"
    run(["meson", "setup", build, tree, "--buildtype=release", "-Ddefault_library=static", "-Dtests=disabled",
         "-Dtools=disabled", "-Dbench=disabled", "-Dnuma=disabled"], "meson setup")
    run(["ninja", "-C", build], "the build of the library")
    environment = dict(os.environ, PKG_CONFIG_PATH=str(build / "meson-uninstalled"))
    return run(["pkg-config", "--libs", "--static", "shmring-uninstalled"], "pkg-config", env=environment).split()


def build_program(tree, libraries, source, program, *more, flags=()):
    """Links a program of this folder with the library of a tree. `more`: object files."""
    run([compiler(), *PROGRAM_FLAGS, *flags, f"-I{tree}", HERE / source, *more, *libraries, "-pthread", "-o", program],
        f"the build of {source}")
    return program


def compiler():
    return os.environ.get("CC", "gcc")


def compiler_name():
    """'gcc-12': name and major version."""
    text = run([compiler(), "-dM", "-E", "-x", "c", "/dev/null"], f"asking {compiler()} for its version")
    macros = dict(line.split(None, 2)[1:] for line in text.splitlines() if len(line.split(None, 2)) == 3)
    if "__clang_major__" in macros:
        return "clang-" + macros["__clang_major__"]
    return "gcc-" + macros.get("__GNUC__", "unknown")
