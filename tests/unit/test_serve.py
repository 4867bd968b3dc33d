"""`serve`: the list of modules that it loads before it drops root."""

import ast
import json
import subprocess
import sys
from pathlib import Path

from tests.running import CHECKOUT, environment

# Imported late, but only needed before the server drops root.
BEFORE = {
    "pwd",
    "resource",
    "smtppseudo.report.report",
    "smtppseudo.net.port_holder",
    "smtppseudo.link.pins",
    "smtppseudo.server.privilege",
}

# On Windows no server drops root.
WINDOWS_ONLY = {"_winapi", "msvcrt", "smtppseudo.cli.windows_service", "smtppseudo.win32"}


def late_imports(path: Path) -> set[str]:
    """Return the modules that a module imports inside functions."""
    path = path.with_name(f"{path.name.partition('.')[0]}.py")  # the source of a compiled module
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


def test_loaded_late_names_all_modules_that_are_imported_late() -> None:
    """What a server's modules import inside functions is loaded by LOADED_LATE, or is listed in BEFORE."""
    code = (
        "import importlib, json, sys; from smtppseudo.cli.serve import LOADED_LATE\n"
        "for name in LOADED_LATE: importlib.import_module(name)\n"
        "print(json.dumps({name: getattr(module, '__file__', None) for name, module in sys.modules.items()}))"
    )
    done = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=True)
    loaded = json.loads(done.stdout)
    late = set().union(*(late_imports(Path(loaded[name])) for name in loaded if name.startswith("smtppseudo.")))
    assert {"datetime", "difflib", "tomllib"} <= late  # the test does find imports
    assert late - BEFORE - WINDOWS_ONLY - set(loaded) == set()
