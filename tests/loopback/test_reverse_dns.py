"""Reverse DNS: only `report --resolve` sends queries, never the server."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from smtppseudo.events import Connected
from smtppseudo.files import is_root
from tests.clients import LIMIT_S, connect, wait_until
from tests.loopback.name_server import SILENT
from tests.records import Stamped, render_text
from tests.running import CHECKOUT, command, environment, run

ADDRESSES = ("192.0.2.1", "192.0.2.2", "192.0.2.3", SILENT)


def write_log(directory: Path) -> Path:
    """Write a log with one session of each address."""
    path = directory / "2026-11-24.log"
    visits = [Stamped(0, "2026-11-24T12:00:00.000Z", 1, 1, ip, 4000, Connected(25)) for ip in ADDRESSES]
    path.write_text("".join(render_text(visits)))
    return path


@pytest.mark.skipif(not is_root(), reason="needs root, for namespaces")
@pytest.mark.skipif(not shutil.which("unshare") or not shutil.which("ip"), reason="needs unshare and ip")
def test_resolve_option_looks_up_the_printed_addresses(tmp_path: Path) -> None:
    """The real resolver asks a real name server, which does not reply about one address."""
    (tmp_path / "resolv.conf").write_text("nameserver 127.0.0.1\n")
    enter = 'ip link set lo up && mount --bind "$0" /etc/resolv.conf && exec "$@"'
    server = [sys.executable, "-m", "tests.loopback.name_server"]
    report = command("report", "--json", "--by", "address", "--resolve", str(write_log(tmp_path)))
    done = subprocess.run(
        ["unshare", "-mn", "sh", "-c", enter, str(tmp_path / "resolv.conf"), *server, *report],
        cwd=CHECKOUT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    names = {row["value"]: row.get("name") for row in json.loads(done.stdout)["by"]["address"]["top"]}
    assert names.pop("192.0.2.1") == "one.example"
    evil = names.pop("192.0.2.2")
    assert evil is None or re.fullmatch("[ -~]+", evil)
    assert names == {"192.0.2.3": None, SILENT: None}


def test_report_without_resolve_looks_up_nothing(tmp_path: Path) -> None:
    done = run("report", "--json", str(write_log(tmp_path)))
    assert '"name"' not in done.stdout


# Every lookup of the standard library raises an event of these (docs.python.org, audit events).
_CODE = f"""
import sys
sys.path.insert(0, {str(CHECKOUT)!r})
LOOKUPS = ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr", "socket.getnameinfo")
seen = []
sys.addaudithook(lambda event, arguments: seen.append((event, arguments)) if event in LOOKUPS else None)
from smtppseudo.cli import main
status = main()
print("lookups:", seen, "reverse_dns" in {{name.rpartition(".")[2] for name in sys.modules if "smtppseudo" in name}})
sys.exit(status)
"""


def test_server_looks_up_nothing(tmp_path: Path) -> None:
    """This holds for every name that a caller sends, with all outputs on."""
    (tmp_path / "settings").write_text(
        f'blocklist_file = "{tmp_path}/list"\nmetrics_file = "{tmp_path}/metrics"\nhostname = "mx.example"\n'
    )
    places = ["--config", str(tmp_path / "settings"), "--state-dir", str(tmp_path), "--log-dir", str(tmp_path)]
    words = ["serve", "--port", "0", "--listen", "127.0.0.1", "--monitor-port", "0", *places]
    with (tmp_path / "stdout").open("wb") as stdout:
        process = subprocess.Popen([sys.executable, "-c", _CODE, *words], env=environment(), stdout=stdout)
    try:
        listens = re.compile(r"SMTP on 127\.0\.0\.1 port (\d+)")
        port = int(wait_until(lambda: listens.findall((tmp_path / "stdout").read_text()), "listening")[0])
        with connect("127.0.0.1", port) as client:
            client.expect("220")
            for line, code in (("EHLO example.com", "250"), ("MAIL FROM:<a@example.org>", "553"), ("QUIT", "221")):
                client.say(line, code)
            client.expect_end()
        run("status", "--state-dir", str(tmp_path))  # a monitor, too
        process.terminate()
        assert process.wait(LIMIT_S) == 0
    finally:
        process.kill()
        process.wait()
    assert (tmp_path / "stdout").read_text().splitlines()[-1] == "lookups: [] False"


def test_only_report_imports_reverse_dns() -> None:
    callers = {
        str(path.relative_to(CHECKOUT))
        for path in (CHECKOUT / "smtppseudo").rglob("*.py")
        if re.search(r"getnameinfo|gethostbyaddr|getfqdn|cli\.reverse_dns", path.read_text())
    }
    assert callers == {"smtppseudo/cli/reverse_dns.py", "smtppseudo/cli/report.py"}
