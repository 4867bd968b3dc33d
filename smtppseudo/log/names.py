"""Names of log files: YYYY-MM-DD.log, and what logrotate and gzip make of it."""

import re
from typing import Final

# .log.1, .log-20261125, .log.2.gz; with `extension .log` in logrotate's settings .1.log
_ROTATION: Final = r"(?:[._-]\d+)*"
LOG_NAME: Final = re.compile(
    rf"(?P<day>\d{{4}}-\d\d-\d\d)(?P<inner>{_ROTATION})\.log(?P<outer>{_ROTATION})"
    r"(?P<packed>\.(?:gz|Z|bz2|lz|lz4|lzma|lzo|xz|zip|zst))?",
    re.ASCII,
)
