"""Medians, ratios and the table."""

from tests.bench.report import Measurement, summarise, table


def measured(proxy: str, number: int, cpu_us: float) -> Measurement:
    """A measurement of which only the CPU matters."""
    return Measurement(
        scenario="get-1k",
        proxy=proxy,
        round=number,
        requests=10,
        requests_per_s=100.0,
        cpu_us=cpu_us,
        user_us=cpu_us,
        system_us=0.0,
        p50_ms=1.0,
        p99_ms=2.0,
        rss_mib=9.0,
    )


ROUNDS = [
    measured(proxy, number, cpu_us)
    for proxy, each in {"aegis": (20.0, 90.0, 22.0), "nginx": (10.0, 45.0, 10.0)}.items()
    for number, cpu_us in enumerate(each)
]


def test_ratio_is_the_median_of_the_rounds() -> None:
    """A round in which the whole machine was slow does not change the ratio."""
    aegis, nginx = summarise(ROUNDS)
    assert (aegis["proxy"], aegis["cpu_us"], aegis["cpu_ratio"]) == ("aegis", 22.0, 2.0)
    assert (nginx["proxy"], nginx["cpu_us"], nginx["cpu_ratio"]) == ("nginx", 10.0, 1.0)


def test_without_nginx_there_is_no_ratio() -> None:
    """Other figures stay, the ratio is empty and shown as a dash."""
    [row] = summarise([measured("aegis", 0, 20.0)])
    assert row["cpu_ratio"] is None
    assert table([row]).splitlines()[-1].split()[:4] == ["get-1k", "aegis", "-", "20.0"]
