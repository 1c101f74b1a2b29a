"""Exact time: rates, frames and the clock texts of annotators."""

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from animeshooter_hf.clock import exact_frame_rate, frame_at, parse_clock, parse_clock_range, seconds_at


@pytest.mark.parametrize(
    ("given_rate", "exact"),
    [
        (23.976, Fraction(24000, 1001)),
        (23.98, Fraction(24000, 1001)),
        ("29.97", Fraction(30000, 1001)),
        (float(Fraction(60000, 1001)), Fraction(60000, 1001)),
        ("30000/1001", Fraction(30000, 1001)),
        (Fraction(24000, 1001), Fraction(24000, 1001)),
        (12.5, Fraction(25, 2)),
        (8, Fraction(8)),
        (30.0, Fraction(30)),
    ],
)
def test_decimal_rates_become_the_exact_rate_they_mean(given_rate: float | str, exact: Fraction) -> None:
    assert exact_frame_rate(given_rate) == exact


@pytest.mark.parametrize("rate", [0, -1, float("nan"), float("inf"), "fast", "1/0", 5000])
def test_impossible_rates_are_refused(rate: float | str) -> None:
    with pytest.raises(ValueError, match="frame rate"):
        exact_frame_rate(rate)


@settings(deadline=None)
@given(
    st.integers(0, 10**7), st.sampled_from([Fraction(24), Fraction(24000, 1001), Fraction(30000, 1001), Fraction(8)])
)
def test_a_frame_survives_the_way_through_seconds(frame: int, rate: Fraction) -> None:
    assert frame_at(seconds_at(frame, rate), rate) == frame


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("00:12", 12.0),
        ("1:05", 65.0),
        ("01:00:02", 3602.0),
        ("00:03.5", 3.5),
        ("7", 7.0),
        ("7.25s", 7.25),
        (7, 7.0),
        (2.5, 2.5),
        ("end", None),
        ("", None),
        (None, None),
        (True, None),
        (float("nan"), None),
        (-3, None),
        ("00:00-00:04", None),
        ([], None),
    ],
)
def test_clock_texts_mean_these_seconds(text: object, seconds: float | None) -> None:
    assert parse_clock(text) == seconds


def test_clock_ranges_mean_two_times_or_nothing() -> None:
    assert parse_clock_range("00:04-00:08") == (4.0, 8.0)
    assert parse_clock_range("0:04 to 0:08") == (4.0, 8.0)
    assert parse_clock_range("00:04") is None
    assert parse_clock_range(4) is None


@settings(deadline=None)
@given(st.one_of(st.text(), st.floats(), st.integers(), st.none(), st.binary()))
def test_the_clock_parsers_never_raise(anything: object) -> None:
    parse_clock(anything)
    parse_clock_range(anything)
