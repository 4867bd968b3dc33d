"""Preconditions: settings that must fit together, and the limit of open files that they need."""

from typing import Final

from smtppseudo.config.settings import MONITORS_MAX, STAGES, UNAUTHENTICATED_MAX, Settings, SettingsError
from smtppseudo.loop.selector import WATCHED_MAX
from smtppseudo.net.addresses import is_loopback

OTHER_DESCRIPTORS: Final = 16


def check_start(settings: Settings) -> None:
    """Raise SettingsError for settings with which a server cannot start; certificates and ports are not checked."""
    check_consistency(settings)
    require_descriptors(settings)
    if settings.blocklist_file:
        from smtppseudo.blocklist.never_listed import read_never_listed  # noqa: PLC0415 - most servers keep no list

        read_never_listed(settings.blocklist_never, ())


def check_consistency(settings: Settings) -> None:
    """Check settings that depend on each other. Raises SettingsError."""
    if settings.port == settings.monitor_port != 0:
        raise SettingsError(f"port and monitor_port must differ; both are {settings.port}")
    for name in ("listen", "monitor_listen"):
        addresses = getattr(settings, name)
        if len(set(addresses)) < len(addresses):
            raise SettingsError(f"{name} must name each address once")
    for prefix in ("", "monitor_"):
        cert, key = (f"{prefix}tls_{part}" for part in ("cert", "key"))
        if bool(getattr(settings, cert)) != bool(getattr(settings, key)):
            raise SettingsError(f"{cert} and {key} go together; only one of them is set")
    for name, stages in (("sender", STAGES[STAGES.index("mail") :]), ("recipient", ("rcpt",))):
        if f"{{{name}}}" in settings.refusal and settings.reject_at not in stages:
            known = " or ".join(stages)
            raise SettingsError(
                f'refusal: {{{name}}} is known only at reject_at = {known}, and reject_at is "{settings.reject_at}"'
            )
    for address in settings.monitor_listen:
        if not (is_loopback(address) or settings.monitor_tls_cert or settings.monitor_cleartext):
            raise SettingsError(
                f"monitor_listen: {address} is not a loopback address, and monitors would cross the network without"
                " TLS; listen on 127.0.0.1 and use an SSH tunnel, or set monitor_tls_cert and monitor_tls_key"
                " (`smtppseudo guide monitor` shows how to make them), or monitor_cleartext = true"
            )


def require_descriptors(settings: Settings) -> None:
    """Raise the soft limit of open files to what the slots need. Raises SettingsError if that is not possible."""
    slots, for_each = settings.slots, 2 if settings.proxies else 1  # as many connections may wait for their headers
    others = MONITORS_MAX + UNAUTHENTICATED_MAX + OTHER_DESCRIPTORS
    needed = for_each * slots + others
    if WATCHED_MAX is not None and needed > WATCHED_MAX:
        raise SettingsError(
            f"slots = {slots} needs {needed} descriptors, and select(2) on this system can watch {WATCHED_MAX};"
            f" set slots to at most {(WATCHED_MAX - others) // for_each}"
        )
    try:
        import resource  # noqa: PLC0415 - POSIX only
    except ImportError:
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft >= needed or soft == resource.RLIM_INFINITY:
        return
    if hard != resource.RLIM_INFINITY and hard < needed:
        most = (hard - others) // for_each
        lower_slots = f", or set slots to at most {most}" if most > 0 else ""
        raise SettingsError(
            f"slots = {slots} needs {needed} open files, and the limit is {hard}; raise it (ulimit -n, LimitNOFILE=)"
            f"{lower_slots}"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
