"""Prometheus's text form."""

from prometheus_client.parser import text_string_to_metric_families

from proxyworker.exposition import SLICE_SAMPLES, family, label_value


def test_a_family_is_what_prometheus_reads() -> None:
    """Values of labels come back as they were, whatever is in them."""
    odd = 'or"ders\\n\n{}'
    text = b"".join(family("x_total", "counter", "Of x.", [(f'host="{label_value(odd)}"', 3), ('host=""', 2.5)]))
    [read] = text_string_to_metric_families(text.decode())
    assert (read.name, read.type, read.documentation) == ("x", "counter", "Of x.")
    assert [(sample.name, sample.labels["host"], sample.value) for sample in read.samples] == [
        ("x_total", odd, 3.0),
        ("x_total", "", 2.5),
    ]


def test_large_numbers_are_exact() -> None:
    """Bytes are counted by the terabyte, times in seconds of Unix time."""
    text = b"".join(family("x", "gauge", "Of x.", [('a="b"', 123_456_789_012_345), ('a="c"', 1_795_512_609.0)]))
    [read] = text_string_to_metric_families(text.decode())
    assert [sample.value for sample in read.samples] == [123_456_789_012_345, 1_795_512_609]


def test_many_samples_come_in_slices() -> None:
    """The head once, each sample once, never more than SLICE_SAMPLES in a slice."""
    number = 2 * SLICE_SAMPLES + 1
    slices = list(family("x", "gauge", "Of x.", ((f'n="{n}"', n) for n in range(number))))
    assert [part.count(b"\nx{") + part.startswith(b"x{") for part in slices] == [SLICE_SAMPLES, SLICE_SAMPLES, 1]
    [read] = text_string_to_metric_families(b"".join(slices).decode())
    assert [sample.value for sample in read.samples] == list(range(number))


def test_a_family_without_samples_has_a_head() -> None:
    """So that what is not counted yet can be told from what does not exist."""
    assert b"".join(family("x", "gauge", "Of x.", ())) == b"# HELP x Of x.\n# TYPE x gauge\n"
