"""The probe of Prometheus for mail servers, as its example configures it, accepts this server."""

import shutil
import subprocess
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests.certificates import Certificate
from tests.clients import LIMIT_S, wait_until
from tests.loopback.haproxy import free_port
from tests.running import Servers

PROGRAM = "prometheus-blackbox-exporter"
# As smtp_starttls in the exporter's example.yml; our certificate is signed by nobody.
MODULES = """\
modules:
  smtp_starttls:
    prober: tcp
    timeout: 5s
    tcp:
      preferred_ip_protocol: ip4
      tls_config: {insecure_skip_verify: true}
      query_response:
        - expect: "^220 "
        - send: "EHLO prober\\r"
        - expect: "^250-STARTTLS"
        - send: "STARTTLS\\r"
        - expect: "^220"
        - starttls: true
        - send: "EHLO prober\\r"
        - expect: "^250"
        - send: "QUIT\\r"
"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which(PROGRAM) is None, reason=f"{PROGRAM} is not installed"),
]


def test_the_starttls_probe_succeeds(servers: Servers, certificate: Certificate, tmp_path: Path) -> None:
    server = servers.start(certificate.settings())
    config, port = tmp_path / "blackbox.yml", free_port("127.0.0.1")
    config.write_text(MODULES)
    url = f"http://127.0.0.1:{port}/probe?module=smtp_starttls&target=127.0.0.1:{server.port}"
    words = [PROGRAM, f"--config.file={config}", f"--web.listen-address=127.0.0.1:{port}"]

    def ask() -> str:
        try:
            with urllib.request.urlopen(url, timeout=LIMIT_S) as answer:
                return str(answer.read().decode())
        except urllib.error.URLError:
            return ""

    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            shown = wait_until(ask, "the exporter")
        finally:
            process.terminate()
    assert "\nprobe_success 1\n" in shown
