"""Failed handshakes: when STARTTLS is not offered to a client."""

from smtppseudo.smtp.client_limits import OFFERED_AGAIN_S, FailedHandshakes

NOW = 1000.0


def test_a_network_of_ipv6_is_one_client() -> None:
    failed = FailedHandshakes()
    failed.record("2001:db8::1", NOW, has_failed=True)
    failed.record("2001:db8::2", NOW, has_failed=True)
    assert not failed.offers_tls("2001:db8::3", NOW)
    assert failed.offers_tls("2001:db8:0:1::3", NOW)


def test_it_is_offered_again_after_an_hour_and_one_more_failure_ends_that() -> None:
    failed = FailedHandshakes()
    for _ in range(2):
        failed.record("192.0.2.1", NOW, has_failed=True)
    assert not failed.offers_tls("192.0.2.1", NOW + OFFERED_AGAIN_S - 1)
    later = NOW + OFFERED_AGAIN_S
    assert failed.offers_tls("192.0.2.1", later)
    failed.record("192.0.2.1", later, has_failed=True)
    assert not failed.offers_tls("192.0.2.1", later + 1)


def test_the_client_whose_failure_is_oldest_is_forgotten() -> None:
    failed = FailedHandshakes(sources_max=2)
    for ip in ("192.0.2.1", "192.0.2.2", "192.0.2.1", "192.0.2.2", "192.0.2.3"):
        failed.record(ip, NOW, has_failed=True)
    assert failed.offers_tls("192.0.2.1", NOW)
    assert not failed.offers_tls("192.0.2.2", NOW)
