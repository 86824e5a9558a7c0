from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from xgw.local.log_lines import LONGEST_LINE, LineSplitter, parse

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def split(*reads: bytes) -> list[bytes]:
    lines: list[bytes] = []
    splitter = LineSplitter(lines.append)
    for read in reads:
        splitter.feed(read)
    splitter.close()
    return lines


def test_a_json_object_is_structured_and_gives_up_severity_and_time():
    line = parse(b'{"severity":"warning","time":"2026-01-01T10:00:00.5+02:00","message":"m","n":1}', NOW)
    assert line.severity == "WARNING"
    assert line.payload == {"message": "m", "n": 1}
    assert line.at == datetime(2026, 1, 1, 8, 0, 0, 500_000, tzinfo=UTC)


def test_a_plain_line_is_text_with_default_severity():
    line = parse(b"warn: disk \xff is full\r", NOW)
    assert (line.severity, line.payload, line.at) == ("DEFAULT", "warn: disk \ufffd is full", NOW)


def test_json_that_is_no_object_is_text():
    assert parse(b"[1, 2]", NOW).payload == "[1, 2]"
    assert parse(b'{"torn": ', NOW).payload == '{"torn": '
    assert parse(b"{" * 100_000, NOW).severity == "DEFAULT"


def test_an_unknown_severity_or_time_stays_in_the_payload():
    line = parse(b'{"severity":"loud","time":"noon","message":"m"}', NOW)
    assert (line.severity, line.at) == ("DEFAULT", NOW)
    assert line.payload == {"severity": "loud", "time": "noon", "message": "m"}


def test_a_blank_line_is_none():
    assert parse(b"  \r", NOW) is None


def test_lines_are_put_together_from_pieces():
    assert split(b"one\ntw", b"o\n\nthr", b"ee") == [b"one", b"two", b"three"]


def test_a_line_without_end_is_cut_and_the_next_one_is_whole():
    lines = split(*[b"x" * 100_000] * 5, b"\nnext\n")
    assert [len(line) for line in lines] == [LONGEST_LINE, 4]


@given(st.binary(max_size=200))
def test_no_line_crashes_the_reader(raw):
    parse(raw, NOW)
