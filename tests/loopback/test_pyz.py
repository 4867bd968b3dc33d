"""smtppseudo.pyz: one file, built by one command, that serves on a bare Python."""

import os
import pty
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.clients import LIMIT_S, connect
from tests.documents import README, TEXTS
from tests.running import CHECKOUT, environment

MAKER = CHECKOUT / ".ci" / "pyz.py"


def python(version: str) -> str:
    """Return the path of a Python of this version; skip the test where there is none."""
    if version == "{}.{}".format(*sys.version_info):
        return sys.executable
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"), "versions")
    installed = (str(path) for path in sorted(pyenv.glob(f"{version}.*/bin/python{version}")))
    for path in (*installed, shutil.which(f"python{version}")):
        if path and subprocess.run([path, "--version"], capture_output=True, check=False).returncode == 0:
            return path
    pytest.skip(f"Python {version} is not installed")


@pytest.fixture(scope="module")
def pyz(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("made") / "smtppseudo.pyz"
    subprocess.run([sys.executable, "-I", "-S", MAKER, path], check=True)
    return path


def bare(python: str, pyz: Path, *arguments: str) -> list[str]:
    return [python, "-I", "-S", str(pyz), *arguments]


@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13", "3.14"])
def test_pyz_serves_on_a_bare_python(pyz: Path, tmp_path: Path, version: str) -> None:
    interpreter = python(version)
    (tmp_path / "empty").touch()
    places = ["--config", str(tmp_path / "empty"), "--state-dir", str(tmp_path), "--log-dir", str(tmp_path)]
    serve = bare(interpreter, pyz, "serve", "--port", "0", "--listen", "127.0.0.1", "--monitor-port", "0", *places)
    process = subprocess.Popen(
        serve, env=environment(), cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        port = int(process.stdout.readline().rpartition(" ")[2])
        with connect("127.0.0.1", port) as client:
            client.expect("220")
            client.say("MAIL FROM:<a@b>", "553")
            client.say("QUIT", "221")
            client.expect_end()
        process.stdout.readline()  # monitors on ...
        for command in (["status"], ["set", "greeting=Hello"], ["stop"]):
            words = bare(interpreter, pyz, *command, "--state-dir", str(tmp_path))
            subprocess.run(words, env=environment(), cwd=tmp_path, timeout=LIMIT_S, check=True, capture_output=True)
        process.send_signal(signal.SIGTERM)
        _, stderr = process.communicate(timeout=LIMIT_S)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == 0, stderr
    assert "Traceback" not in stderr


@pytest.mark.parametrize("version", ["2.7", "3.6", "3.7", "3.8", "3.9", "3.10"])
@pytest.mark.parametrize("is_pyz", [True, False])
def test_an_old_python_says_which_one_is_needed(pyz: Path, version: str, is_pyz: bool) -> None:
    interpreter = python(version)
    words = [interpreter, str(pyz)] if is_pyz else [interpreter, "-m", "smtppseudo"]
    done = subprocess.run([*words, "serve"], cwd=CHECKOUT, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    said = f"smtppseudo: this is Python {version}; smtppseudo needs 3.11 or later\n"
    assert (done.returncode, done.stdout, done.stderr) == (1, "", said)


@pytest.mark.parametrize(("command", "otherwise"), [("monitor", ""), ("demo", "demo --no-screen")])
def test_monitor_in_pyz_says_in_one_line_what_to_install(
    pyz: Path, tmp_path: Path, command: str, otherwise: str
) -> None:
    ours, theirs = pty.openpty()
    try:
        words = [*bare(sys.executable, pyz), command]
        done = subprocess.run(
            words,
            env=environment(HOME=str(tmp_path)),
            stdin=theirs,
            stdout=theirs,
            stderr=subprocess.PIPE,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )
    finally:
        os.close(theirs)
        os.close(ours)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("smtppseudo: this file does not contain the screen; run `pipx install .`")
    assert otherwise in line


def test_it_prints_the_guide(pyz: Path) -> None:
    for topic, text in TEXTS.items():
        if topic != README:
            words = bare(sys.executable, pyz, "guide", topic)
            assert subprocess.run(words, capture_output=True, text=True, timeout=LIMIT_S, check=True).stdout == text


def test_pyz_is_executable(pyz: Path) -> None:
    done = subprocess.run([pyz, "--version"], capture_output=True, text=True, timeout=LIMIT_S, check=True)
    assert done.stdout.startswith("smtppseudo ")


def test_pyz_is_reproducible(pyz: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(CHECKOUT / "smtppseudo", copy / "smtppseudo")
    shutil.copytree(CHECKOUT / ".ci", copy / ".ci")
    shutil.copy(CHECKOUT / "LICENSE", copy)
    for path in copy.rglob("*"):
        os.utime(path, (1_000_000_000, 1_000_000_000))
        path.chmod(path.stat().st_mode & 0o700)
    again = tmp_path / "again.pyz"
    subprocess.run([sys.executable, copy / ".ci" / "pyz.py", again], umask=0o077, check=True)
    assert again.read_bytes() == pyz.read_bytes()
