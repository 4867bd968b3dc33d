"""The state directory of a service: who may read the cookie in it, and that commands search it."""

import pytest

from smtppseudo.cli.access import state_dirs
from smtppseudo.cli.places import may_share_cookie
from smtppseudo.files import SYSTEM_STATE

SERVICE_STATE = "/var/lib/smtppseudo"


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
def test_only_the_cookie_of_a_system_service_is_shared_with_its_group(
    state_dir: str, by_systemd: str | None, may: bool
) -> None:
    environ = {} if by_systemd is None else {"STATE_DIRECTORY": by_systemd}
    assert may_share_cookie(state_dir, environ) is may


def test_commands_search_the_state_directory_of_the_service() -> None:
    assert str(SYSTEM_STATE) == SERVICE_STATE
    assert state_dirs(None)[-1] == SYSTEM_STATE
