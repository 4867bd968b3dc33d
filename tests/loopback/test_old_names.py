"""Old names of settings (commit 6869f68): in file and state directory, from commands and monitors."""

import json
from pathlib import Path

from tests.conftest import MakeInside
from tests.monitors import Monitors, state_dir
from tests.running import Servers, run

WARNING = "stutter_octets_per_s is now called stutter_bytes_per_s; the old name still works"


def test_a_monitor_sets_and_unsets_a_key_by_its_old_name(inside: MakeInside, monitors: Monitors) -> None:
    server = inside()
    monitor = monitors.log_in(server)
    monitor.ok("set", changes={"stutter_octets_per_s": 5})
    got = monitor.ok("get")
    assert (got["settings"]["stutter_bytes_per_s"], got["origins"]["stutter_bytes_per_s"]) == (5, "monitor")
    assert json.loads((state_dir(server) / "settings.json").read_text()) == {"stutter_bytes_per_s": 5}
    assert server.said == [WARNING]
    monitor.ok("unset", keys=["stutter_octets_per_s"])
    assert monitor.ok("get")["origins"]["stutter_bytes_per_s"] == "default"
    assert server.said == [WARNING, WARNING]


def test_the_commands_set_and_unset_warn_and_use_the_current_name(servers: Servers) -> None:
    server = servers.start()
    state = str(state_dir(server))
    done = run("set", "stutter_octets_per_s=5", "--state-dir", state)
    assert (done.returncode, done.stdout, done.stderr) == (
        0,
        "stutter_bytes_per_s = 5  # monitor\n",
        f"smtppseudo: {WARNING}\n",
    )
    done = run("unset", "stutter_octets_per_s", "--state-dir", state)
    assert (done.returncode, done.stdout, done.stderr) == (
        0,
        "stutter_bytes_per_s = 0  # default\n",
        f"smtppseudo: {WARNING}\n",
    )
    assert server.stderr == ""


def test_a_server_warns_of_old_names_at_its_start_and_at_a_reload(servers: Servers) -> None:
    server = servers.start()
    place = f"smtppseudo: {server.config}, line 3: "
    settings = 'hostname = "sink.test"\nlog_min_free_bytes = 0\nstutter_octets_per_s = 5\n'
    server.reload(settings)
    server.wait_for(lambda records: WARNING in server.log_text, "warned")
    assert server.stderr == f"{place}{WARNING}\n"
    server.stop()
    server.config.write_text(settings)
    again = run("config", "--config", str(server.config), "--state-dir", str(state_dir(server)))
    assert "stutter_bytes_per_s = 5  # file\n" in again.stdout
    assert again.stderr == f"{place}{WARNING}\n"


def test_the_state_directory_may_hold_old_names(servers: Servers, tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    (state / "settings.json").write_text('{"stutter_octets_per_s": 5}')
    server = servers.start(None, "--state-dir", str(state))
    assert server.stderr == f"smtppseudo: {state / 'settings.json'}: {WARNING}\n"
    done = run("config", "--config", str(server.config), "--state-dir", str(state))
    assert "stutter_bytes_per_s = 5  # monitor\n" in done.stdout
    assert done.stderr == server.stderr
