"""Where the server is a service: who may read its cookie, where commands find it, and what it has loaded."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

from smtppseudo.cli.access import state_dirs
from smtppseudo.cli.places import may_share_cookie
from tests.running import CHECKOUT, environment

SERVICE_STATE = "/var/lib/smtppseudo"

# Used before a server gives up what root may: its errors, root's own doings, what is done to start.
BEFORE = {
    "pwd",
    "resource",
    "smtppseudo.cli.periods",
    "smtppseudo.report.report",
    "smtppseudo.net.port_holder",
    "smtppseudo.link.pins",
    "smtppseudo.server.privilege",
}


@pytest.mark.parametrize(
    ("state_dir", "by_systemd", "may"),
    [
        (SERVICE_STATE, SERVICE_STATE, True),
        (SERVICE_STATE, f"{SERVICE_STATE}:/var/lib/other", True),
        ("/var/lib/private/smtppseudo", "/var/lib/private/smtppseudo", True),
        (SERVICE_STATE, None, False),
        (SERVICE_STATE, "", False),
        ("/srv/state", SERVICE_STATE, False),
        ("/home/a/.local/state/smtppseudo", "/home/a/.local/state/smtppseudo", False),
    ],
)
def test_the_cookie_is_shared_in_a_directory_of_the_system_manager_alone(
    state_dir: str, by_systemd: str | None, may: bool
) -> None:
    environ = {} if by_systemd is None else {"STATE_DIRECTORY": by_systemd}
    assert may_share_cookie(state_dir, environ) is may


def test_commands_look_where_the_service_keeps_its_cookie() -> None:
    assert state_dirs(None)[-1] == Path(SERVICE_STATE)


def late_imports(path: Path) -> set[str]:
    """Return the modules that the functions of a module import."""
    found: set[str] = set()
    for function in ast.walk(ast.parse(path.read_text())):
        if isinstance(function, ast.FunctionDef):
            for node in ast.walk(function):
                if isinstance(node, ast.Import):
                    found |= {alias.name for alias in node.names}
                elif isinstance(node, ast.ImportFrom):
                    found.add(str(node.module))
                    package = CHECKOUT.joinpath(*str(node.module).split("."))
                    names = [each.name for each in node.names if (package / f"{each.name}.py").exists()]
                    found |= {f"{node.module}.{name}" for name in names}
    return found


def test_all_that_a_server_loads_late_can_be_loaded_at_once() -> None:
    """What the modules of a server import inside functions is loaded by LOADED_LATE, or was needed before."""
    code = (
        "import importlib, json, sys; from smtppseudo.cli.serve import LOADED_LATE\n"
        "for name in LOADED_LATE: importlib.import_module(name)\n"
        "print(json.dumps({name: getattr(module, '__file__', None) for name, module in sys.modules.items()}))"
    )
    done = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=True)
    loaded = json.loads(done.stdout)
    late = set().union(*(late_imports(Path(loaded[name])) for name in loaded if name.startswith("smtppseudo.")))
    assert {"datetime", "difflib", "tomllib"} <= late  # the test sees what is there
    assert late - BEFORE - set(loaded) == set()
