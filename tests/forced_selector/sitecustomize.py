"""Makes the selector that SMTPPSEUDO_TEST_SELECTOR names the default: `poll` as on other Unix systems, or `select`."""

import os
import selectors

_SELECTORS = {"poll": selectors.PollSelector, "select": selectors.SelectSelector}
selectors.DefaultSelector = _SELECTORS[os.environ["SMTPPSEUDO_TEST_SELECTOR"]]  # type: ignore[misc, assignment]
