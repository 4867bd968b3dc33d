"""The rules on the guide's page, checked and played by Prometheus' promtool; and the metrics that they use."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest

from tests.clients import LIMIT_S
from tests.documents import block
from tests.running import Servers, run

RULES: Final = block("alerts", "groups:").text
SEVERITIES: Final = dict(re.findall(r"- alert: (\w+)\n(?:.*\n)*?\s+labels: \{severity: (\w+)\}", RULES))
_OTHERS: Final = ("node_textfile_mtime_seconds",)

# For each alert the series of a server, by metric and labels, minute by minute; the minutes after which it is silent
# and fires.
CASES: Final[dict[str, tuple[dict[str, str], int, int]]] = {
    "SmtppseudoOffline": ({"online": "1x9 0x20"}, 14, 16),
    "SmtppseudoSilent": (
        {"online": "1x30", 'node_textfile_mtime_seconds{file="/x/smtppseudo.prom"}': "0+60x9 540x20"},
        10,
        13,
    ),
    "SmtppseudoNobodyCalls": ({"connections_total": "5x3000", "start_time_seconds": "0x3000"}, 1439, 1441),
    "SmtppseudoLogLinesLost": ({"log_lines_lost_total": "0x9 7x40"}, 9, 11),
    "SmtppseudoLogNearlyFull": ({"log_used_ratio": "0.74x9 0.75x9"}, 9, 10),
    "SmtppseudoFault": ({"faults_total": "0x9 1x40"}, 9, 11),
    "SmtppseudoSlotsShort": ({'connections_turned_away_total{reason="slots"}': "0x9 0+60x30"}, 15, 25),
    "SmtppseudoSettingsBad": ({"config_last_reload_successful": "1x9 0x9"}, 9, 10),
}
GOOD: Final[dict[str, tuple[dict[str, str], int]]] = {
    "SmtppseudoOffline": ({"online": "1x4 0x3 1x9"}, 10),
    # It ended: the file is old, and says that the server is offline.
    "SmtppseudoSilent": ({"online": "0x30", 'node_textfile_mtime_seconds{file="/x/smtppseudo.prom"}': "0x30"}, 20),
    "SmtppseudoNobodyCalls": ({"connections_total": "5x1500 6x1500", "start_time_seconds": "0x3000"}, 2900),
    "SmtppseudoLogLinesLost": ({"log_lines_lost_total": "7x40"}, 30),
    "SmtppseudoFault": ({"faults_total": "0x9 1x99"}, 80),
    "SmtppseudoSlotsShort": ({'connections_turned_away_total{reason="client"}': "0+60x40"}, 30),
}
needs_promtool = pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")


def promtool(*arguments: str, directory: Path | None = None, text: str | None = None) -> str:
    """Run it; return what it prints. Its exit status must be 0."""
    words = ["promtool", *arguments]
    done = subprocess.run(
        words, cwd=directory, input=text, capture_output=True, text=True, timeout=LIMIT_S, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def series(name: str, server: str) -> str:
    """Return a series with the labels of a server."""
    metric, _, labels = name.rstrip("}").partition("{")
    full = metric if metric in _OTHERS else f"smtppseudo_{metric}"
    own = f'server="{server}",' if server and metric not in _OTHERS else ""
    return f'{full}{{instance="mx1:9100",{own}{labels}}}'


def case(alert: str, given: dict[str, str], quiet: int, fires: int | None, server: str = "") -> dict[str, Any]:
    """Return a unit test of promtool: an alert does not fire after `quiet` minutes, and does after `fires`."""
    rows = [{"series": series(name, server), "values": values} for name, values in given.items()]
    tests: list[dict[str, Any]] = [{"eval_time": f"{quiet}m", "alertname": alert, "exp_alerts": []}]
    if fires is not None:
        tests.append({"eval_time": f"{fires}m", "alertname": alert, "exp_alerts": [expected(alert, given, server)]})
    return {"interval": "1m", "input_series": rows, "alert_rule_test": tests}


def expected(alert: str, given: dict[str, str], server: str) -> dict[str, Any]:
    """Return an alert as it must fire."""
    labels = {"severity": SEVERITIES[alert], "instance": "mx1:9100"}
    if alert == "SmtppseudoSilent":
        labels["file"] = "/x/smtppseudo.prom"
    elif server:
        labels["server"] = server
    if alert == "SmtppseudoSlotsShort":
        labels["reason"] = "slots"
    (summary,) = re.findall(rf"alert: {alert}\n(?:.*\n)*?\s+summary: \"(.*)\"", RULES)[:1]
    named = labels.get("server", "mx1:9100")
    return {
        "exp_labels": labels,
        "exp_annotations": {"summary": summary.replace("{{ or $labels.server $labels.instance }}", named)},
    }


def test_the_server_has_every_metric_that_the_rules_use(servers: Servers) -> None:
    server = servers.start()
    done = run("status", "--format", "prometheus", "--state-dir", str(server.directory / "state"))
    there = set(re.findall(r"^(\w+)", done.stdout, re.MULTILINE))
    used = set(re.findall(r"\b(?<!:)(?:smtppseudo|node)_\w+", re.sub(r"#.*|record:.*", "", RULES)))
    assert len(used) > 10
    assert used - there == set(_OTHERS)
    assert CASES.keys() == set(re.findall(r"alert: (\w+)", RULES)) == SEVERITIES.keys()


@pytest.mark.slow
@needs_promtool
def test_promtool_accepts_the_rules_and_the_settings(tmp_path: Path) -> None:
    (tmp_path / "smtppseudo.yml").write_text(RULES)
    (tmp_path / "prometheus.yml").write_text(block("alerts", "rule_files:").text)
    assert "SUCCESS: 11 rules found" in promtool("check", "rules", "smtppseudo.yml", directory=tmp_path)
    command = block("alerts", "promtool check config").text.splitlines()[0]
    *words, path = command.split()
    assert "1 rule files found" in promtool(*words[1:], Path(path).name, directory=tmp_path)


@pytest.mark.slow
@needs_promtool
def test_each_alert_fires_when_it_must(tmp_path: Path) -> None:
    tests = [case(alert, *data) for alert, data in CASES.items()]
    tests += [case(alert, *data, server="mx7") for alert, data in CASES.items()]
    tests += [case(alert, given, quiet, None) for alert, (given, quiet) in GOOD.items()]
    tests.append(
        {
            "interval": "1m",
            "input_series": [
                {"series": series("slots", ""), "values": "25x9"},
                {"series": series("slots_in_use", ""), "values": "5x9"},
                {"series": series('mails_refused_total{stage="mail"}', ""), "values": "0+10x2000"},
                {"series": series('mails_refused_total{stage="rcpt"}', ""), "values": "0+1x2000"},
            ],
            "promql_expr_test": [
                {
                    "expr": expr,
                    "eval_time": at,
                    "exp_samples": [{"labels": f'{expr}{{instance="mx1:9100"}}', "value": value}],
                }
                for expr, at, value in (
                    ("instance:smtppseudo_slots_in_use:ratio", "5m", 0.2),
                    ("instance:smtppseudo_mails_refused:increase1d", "1500m", 15_840),
                )
            ],
        }
    )
    (tmp_path / "rules.yml").write_text(RULES)
    whole = {"rule_files": ["rules.yml"], "evaluation_interval": "1m", "tests": tests}
    (tmp_path / "test.yml").write_text(json.dumps(whole))
    assert "SUCCESS" in promtool("test", "rules", "test.yml", directory=tmp_path)


@pytest.mark.slow
@needs_promtool
@pytest.mark.parametrize("server_name", ["", "mx1"])
def test_promtool_accepts_the_metrics(servers: Servers, tmp_path: Path, server_name: str) -> None:
    path = tmp_path / "smtppseudo.prom"
    server = servers.start({"metrics_file": str(path), "server_name": server_name})
    server.play("HELO x", "MAIL FROM:<a@b>")
    server.stop()
    assert promtool("check", "metrics", text=path.read_text()) == ""
