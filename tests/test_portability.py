"""Nothing is called that Linux or POSIX alone has, unless the line before asks; text has one encoding everywhere."""

import ast
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import fewstep
from fewstep.bench import machine
from fewstep.bench.errors import InputError
from fewstep.bench.run.signals import held_back
from fewstep.bench.stages.device import accelerator
from fewstep.bench.suite import loading
from fewstep.methods import portable

ROOT = Path(fewstep.__file__).parent
PARTS = ("bench", "datasets", "leaderboards", "methods", "reports")
FILES = [path for part in PARTS for path in sorted((ROOT / part).rglob("*.py"))]

LACKED = """
os chown chroot confstr copy_file_range ctermid eventfd fchdir fchmod fchown fork forkpty geteuid getegid getgid
os getgroups getloadavg getpgid getpgrp getpriority getresuid getsid getuid getxattr initgroups killpg lchown
os listxattr lockf memfd_create mkfifo mknod nice openpty pathconf pidfd_open pipe2 posix_fadvise posix_fallocate
os posix_spawn pread preadv pwrite pwritev readv removexattr sched_getaffinity sched_setaffinity sched_yield
os sendfile setegid seteuid setgid setgroups setpgid setpriority setsid setuid setxattr splice statvfs sync
os sysconf tcgetpgrp ttyname uname wait wait3 wait4 waitid writev O_CLOEXEC O_DIRECT O_DIRECTORY O_DSYNC O_NOCTTY
os O_NOFOLLOW O_NONBLOCK O_SYNC O_TMPFILE kill link symlink
signal alarm getitimer pause pthread_kill pthread_sigmask setitimer siginterrupt sigpending sigtimedwait sigwait
signal sigwaitinfo SIG_BLOCK SIG_SETMASK SIG_UNBLOCK SIGALRM SIGBUS SIGCHLD SIGCONT SIGHUP SIGKILL SIGPIPE SIGPROF
signal SIGQUIT SIGSTOP SIGTSTP SIGUSR1 SIGUSR2 SIGWINCH
select devpoll epoll kqueue poll select
socket AF_UNIX CMSG_LEN recv_fds send_fds
time clock_getres clock_gettime clock_settime pthread_getcpuclockid tzset
resource_tracker ensure_running register unregister
shutil chown
"""
"""What Windows lacks, or has in name alone: links need a right that users lack, os.kill ends a process at once, and
select takes nothing but sockets."""
ABSENT = {(module, name) for module, *names in map(str.split, LACKED.split("\n")[1:-1]) for name in names}
MODULES = {"crypt", "curses", "fcntl", "grp", "nis", "posix", "pty", "pwd", "readline", "resource", "syslog", "termios"}
"""Modules that it lacks."""
METHODS = {"chmod", "hardlink_to", "is_mount", "lchmod", "symlink_to"}
"""Of paths."""
FOLDERS = ("/bin", "/dev", "/etc", "/proc", "/run", "/sys", "/tmp", "/usr", "/var")
STARTS = {"fork", "forkserver"}
"""Ways to start a process that Windows has not."""

EXCUSED = {
    # Looked through for what matches a pattern, which elsewhere is nothing.
    ("bench/machine.py", "/dev"),
    ("bench/commands/conformance/executor.py", "/proc/self/task"),
    # Read where it is there.
    ("bench/locks.py", "/proc/sys/kernel/random/boot_id"),
}


def imported(tree: ast.AST) -> dict[str, str]:
    """What names mean, where they are imported: {"p": "os.path", "fork": "os.fork"}."""
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found.update({alias.asname or alias.name.partition(".")[0]: alias.name for alias in node.names})
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.update({alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names})
    return found


def special(node: ast.AST, meaning: dict[str, str]) -> str | None:
    """The name of what another system lacks, if this is it."""
    if isinstance(node, ast.Import | ast.ImportFrom):
        level = getattr(node, "level", 0)
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
        return next((name for name in names if not level and name.partition(".")[0] in MODULES), None)
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        whole = node.value
        return whole if any(whole == folder or whole.startswith(f"{folder}/") for folder in FOLDERS) else None
    if isinstance(node, ast.Name):
        name = meaning.get(node.id, "")
    elif isinstance(node, ast.Attribute):
        if node.attr in METHODS:
            return node.attr
        name = f"{meaning.get(node.value.id, '')}.{node.attr}" if isinstance(node.value, ast.Name) else ""
    elif isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", "")) == "get_context":
        return next((a.value for a in node.args if isinstance(a, ast.Constant) and a.value in STARTS), None)
    else:
        return None
    module, _, attribute = name.rpartition(".")
    return name if (module.rpartition(".")[2], attribute) in ABSENT else None


def asks(node: ast.AST, name: str) -> bool:
    """Whether this asks which system it is, or whether it has the name."""
    if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "hasattr":
        return isinstance(node.args[1], ast.Constant) and node.args[1].value == name.rpartition(".")[2]
    return isinstance(node, ast.Attribute) and ast.unparse(node) in ("sys.platform", "os.name")


def unguarded(path: str, text: str) -> Iterator[str]:
    """What another system lacks and nothing before it in the same function, or in the expression, asks for."""
    tree = ast.parse(text)
    meaning = imported(tree)
    prose = {id(n.value) for n in ast.walk(tree) if isinstance(n, ast.Expr) and isinstance(n.value, ast.Constant)}

    def visit(node: ast.AST, scope: ast.AST) -> Iterator[str]:
        name = None if id(node) in prose else special(node, meaning)
        if name is not None and (path, name) not in EXCUSED:
            before = (n for n in ast.walk(scope) if getattr(n, "lineno", node.lineno + 1) <= node.lineno)
            if not any(asks(n, name) for n in before):
                yield f"{path}:{node.lineno}: {name}"
        inner = node if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) else scope
        for child in ast.iter_child_nodes(node):
            yield from visit(child, inner)

    return visit(tree, ast.Module([n for n in tree.body if not isinstance(n, ast.FunctionDef | ast.ClassDef)], []))


OTHERS = {"Image", "gzip", "lmdb", "os", "tarfile", "webbrowser", "zipfile"}
"""Modules and classes whose `open` opens no text."""


def without_encoding(path: str, text: str) -> Iterator[str]:
    """Calls that read or write text in whatever encoding the system has."""
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.Call) or any(keyword.arg == "encoding" for keyword in node.keywords):
            continue
        owner = getattr(getattr(node.func, "value", None), "id", "")
        name = getattr(node.func, "attr", getattr(node.func, "id", ""))
        given = {keyword.arg: keyword.value for keyword in node.keywords}
        place = 0 if name == "open" and isinstance(node.func, ast.Attribute) else 1
        mode = given.get("mode", node.args[place] if len(node.args) > place else ast.Constant("r"))
        if name in ("read_text", "write_text", "TextIOWrapper", "FileHandler"):
            wrong = not (name == "read_text" and node.args) and not (name == "write_text" and len(node.args) > 1)
        elif name in ("open", "fdopen") and owner not in OTHERS - {"os"} and (owner, name) != ("os", "open"):
            wrong = isinstance(mode, ast.Constant) and isinstance(mode.value, str) and "b" not in mode.value
        elif name in ("NamedTemporaryFile", "TemporaryFile", "SpooledTemporaryFile"):
            mode = given.get("mode", node.args[0] if node.args else ast.Constant("b"))
            wrong = isinstance(mode, ast.Constant) and "b" not in mode.value
        else:
            wrong = bool({"text", "universal_newlines"} & set(given)) and owner == "subprocess"
        if wrong:
            yield f"{path}:{node.lineno}: {ast.unparse(node)[:60]}"


@pytest.mark.parametrize("find", [unguarded, without_encoding])
def test_the_package_calls_nothing_that_another_system_lacks(find):
    found = [line for path in FILES for line in find(path.relative_to(ROOT).as_posix(), path.read_text("utf-8"))]
    assert found == []


def test_every_excuse_is_needed():
    for name, what in EXCUSED:
        nodes = ast.walk(ast.parse((ROOT / name).read_text("utf-8")))
        assert what in {node.value for node in nodes if isinstance(node, ast.Constant)}


@pytest.mark.parametrize(
    "code",
    [
        "import fcntl",
        "from resource import getrusage",
        "import os\nos.fork()",
        "import os as system\ndef f():\n    system.kill(1, 9)",
        "from os import sched_getaffinity as cores\ncores(0)",
        "import signal\nsignal.pthread_sigmask(0, ())\nhasattr(signal, 'pthread_sigmask')",
        "import signal\ndef g():\n    hasattr(signal, 'SIGKILL')\ndef f():\n    signal.SIGKILL",
        "from multiprocessing import get_context\nget_context('fork')",
        "from multiprocessing import resource_tracker\nresource_tracker.ensure_running()",
        "import select\nselect.select([0], [], [])",
        "PATH = '/dev/null'",
        "from pathlib import Path\nPath('a').symlink_to('b')",
    ],
)
def test_a_call_that_nothing_guards_is_found(code):
    assert list(unguarded("new.py", code))


@pytest.mark.parametrize(
    "code",
    [
        "import os\nn = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else 1",
        "import signal, sys\ndef f():\n    if sys.platform == 'x':\n        return\n    signal.pthread_sigmask(0, ())",
        "def f():\n    assert sys.platform == 'linux'\n    import resource",
        "def f():\n    'As /dev has it.'",
    ],
)
def test_a_call_that_is_guarded_is_not(code):
    assert not list(unguarded("new.py", code))


@pytest.mark.parametrize(
    "code",
    [
        "open('a')",
        "open('a', 'w')",
        "path.open()",
        "path.open('a')",
        "path.read_text()",
        "path.write_text(text)",
        "subprocess.run(words, text=True)",
        "os.fdopen(1, 'w')",
        "tempfile.NamedTemporaryFile('w')",
    ],
)
def test_text_without_an_encoding_is_found(code):
    assert list(without_encoding("new.py", code))


@pytest.mark.parametrize("code", ["open('a', 'rb')", "path.open('wb')", "tarfile.open(path)", "archive.open(info)"])
def test_bytes_need_no_encoding(code):
    assert not list(without_encoding("new.py", code))


@pytest.mark.parametrize("name", ["con", "NUL", "com1.x", "a.", "x" * 101])
def test_a_suite_has_a_name_that_every_system_takes(tmp_path, name):
    file = tmp_path / "s.yaml"
    file.write_text((loading.SHIPPED / "quickstart.yaml").read_text("utf-8").replace("quickstart", name, 1), "utf-8")
    with pytest.raises(InputError, match="name: must ") as refused:
        loading.load(str(file))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("name", ["a", "console", "cfg1.5", "Größe 3", "com", "nul-model"])
def test_other_names_are_free(name):
    assert portable.name_refusal(name) is None


def test_a_file_that_another_program_holds_for_a_moment_is_renamed_after_it(tmp_path, monkeypatch):
    (tmp_path / "a").write_text("new", "utf-8")
    (tmp_path / "b").write_text("old", "utf-8")
    refused, replace = [PermissionError(), PermissionError()], os.replace

    def held(source, target):
        if refused:
            raise refused.pop()
        replace(source, target)

    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(portable.time, "sleep", lambda seconds: None)
    monkeypatch.setattr(os, "replace", held)
    portable.rename(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "b").read_text("utf-8") == "new"


def test_without_signal_masks_a_worker_starts_all_the_same(monkeypatch):
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.delattr(signal, "pthread_sigmask")
    with held_back(signal.SIGINT):
        pass


@pytest.mark.parametrize("device", ["mps", "mps:0"])
def test_apples_gpu_is_refused_in_one_line_when_a_suite_is_loaded(monkeypatch, device):
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    with pytest.raises(InputError, match="Apple's GPUs have no float64") as refused:
        loading.load("quickstart", [f"device={device}"])
    assert "\n" not in str(refused.value)


def test_auto_takes_the_cpu_where_the_only_gpu_is_apples(monkeypatch, tmp_path):
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(machine, "DEVICES", tmp_path / "none")
    monkeypatch.setattr(machine.shutil, "which", lambda program: None)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert accelerator("auto") == "cpu"
    assert machine.gpus("auto") == []


def test_a_gpu_that_torch_does_not_see_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match=r"^device: cuda: torch .* on this machine; set device: auto or cpu$"):
        machine.require("cuda")
