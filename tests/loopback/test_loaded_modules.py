"""The modules that a server loads: the standard library and smtppseudo, and only those it needs."""

import json
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.clients import LIMIT_S, connect
from tests.running import CHECKOUT, environment, not_on_windows

NOT_FOR_SERVE = {
    "asyncio",
    "concurrent",
    "dataclasses",
    "email",
    "hashlib",
    "http",
    "inspect",
    "json",
    "logging",
    "rich",
    "ssl",
    "textual",
    "threading",
    "tomllib",
    "typing_extensions",
    "unittest",
}
if sys.version_info >= (3, 14):
    NOT_FOR_SERVE -= {"dataclasses", "inspect"}  # argparse itself loads them there, to colour its help

# The modules are named once the server has ended: all that it ever loaded.
_CODE = f"""
import sys
before = set(sys.modules)
sys.path.insert(0, {str(CHECKOUT)!r})
from smtppseudo.cli import main
status = main()
loaded = sorted(set(sys.modules) - before)
import json
print(json.dumps(loaded), file=sys.stderr)
sys.exit(status)
"""


def modules_of_a_run(directory: Path, flags: Sequence[str]) -> list[str]:
    """Serve two sessions; return the names of all modules that were loaded."""
    places = ["--state-dir", str(directory / "state"), "--log-dir", str(directory / "log")]
    arguments = ["serve", "--port", "0", "--listen", "127.0.0.1", "--monitor-port", "0", *places]
    process = subprocess.Popen(
        [sys.executable, *flags, "-c", _CODE, *arguments],
        env=environment(CONFIGURATION_DIRECTORY=str(directory)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        port = int(process.stdout.readline().rpartition(" ")[2])
        for _ in range(2):
            with connect("127.0.0.1", port) as client:
                client.expect("220")
                for line, start in (("EHLO x", "250"), ("MAIL FROM:<a@b>", "553"), ("QUIT", "221")):
                    client.say(line, start)
                client.expect_end()
        process.send_signal(signal.SIGTERM)
        _, stderr = process.communicate(timeout=LIMIT_S)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == 0, stderr
    modules: list[str] = json.loads(stderr.splitlines()[-1])
    return modules


@not_on_windows("it has no SIGTERM")
@pytest.mark.parametrize("flags", [["-I", "-S"], []], ids=["alone", "with site-packages"])
def test_a_server_loads_only_the_standard_library_and_smtppseudo(tmp_path: Path, flags: list[str]) -> None:
    modules = modules_of_a_run(tmp_path, flags)
    roots = {name.partition(".")[0] for name in modules if not name.endswith("__mypyc")}  # of the compiled wheel
    assert "smtppseudo" in roots
    assert roots - set(sys.stdlib_module_names) == {"smtppseudo"}
    assert roots & NOT_FOR_SERVE == set()


def test_it_runs_from_the_source_without_site_packages(tmp_path: Path) -> None:
    code = f"import sys; sys.path.insert(0, {str(CHECKOUT)!r}); from smtppseudo.cli import main; sys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code, "config", "--log-dir", "/l", "--state-dir", "/s"],
        env=environment(CONFIGURATION_DIRECTORY=str(tmp_path)),
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert 'log_dir = "/l"  # command line' in done.stdout
