from __future__ import annotations

from datetime import UTC, datetime

import pytest

from xgw.local.filters import log_filter, matches, parse
from xgw.local.refusal import Refusal
from xgw.local.stores import LATENCY_BUCKETS, MEMORY_BUCKETS, LogRecord

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
PLAIN = LogRecord(1, AT, "shop", "shop-1", "ERROR", "Memory limit of 512 MiB exceeded")
STRUCTURED = LogRecord(2, AT, "shop", "shop-1", "INFO", {"message": "hi", "code": 200, "user": {"id": "a b"}})


@pytest.mark.parametrize(
    ("text", "plain", "structured"),
    [
        ("", True, True),
        ('resource.type="cloud_run_revision"', True, True),
        ('resource.type = "cloud_run_revision" AND resource.labels.service_name = shop', True, True),
        ('resource.labels.service_name="other"', False, False),
        ('resource.labels.revision_name="shop-1"', True, True),
        ("severity>=ERROR", True, False),
        ("severity>=error", True, False),
        ("severity=INFO", False, True),
        ('timestamp>="2026-01-02T03:04:05Z"', True, True),
        ('timestamp>"2026-01-02T03:04:05Z"', False, False),
        ('timestamp<="2026-01-02T04:04:05+01:00"', True, True),
        ('textPayload:"Memory limit of"', True, False),
        ('textPayload:"memory LIMIT"', True, False),
        ('textPayload:"gone"', False, False),
        ('jsonPayload.message="hi"', False, True),
        ('jsonPayload.message:"h"', False, True),
        ("jsonPayload.code=200", False, True),
        ('jsonPayload.user.id="a b"', False, True),
        ("jsonPayload.code:*", False, True),
        ("jsonPayload.none:*", False, False),
        ('severity>=DEFAULT\nresource.labels.service_name="shop"', True, True),
        (r'textPayload:"512 \"MiB"', False, False),
    ],
)
def test_a_filter_chooses_lines(text, plain, structured):
    terms = log_filter(text)
    assert terms is not None
    assert (matches(PLAIN, terms), matches(STRUCTURED, terms)) == (plain, structured)


def test_another_resource_type_matches_nothing():
    assert log_filter('resource.type="gce_instance"') is None


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("severity=ERROR OR severity=INFO", "OR"),
        ("NOT severity=ERROR", "NOT"),
        ("-severity=ERROR", "'-'"),
        ("(severity=ERROR)", "("),
        ('textPayload=~"Mem.*"', "=~"),
        ("bare", "bare"),
        ('logName="projects/p/logs/x"', "logName"),
        ("httpRequest.status>=500", "httpRequest.status"),
        ("service_name=shop", "service_name"),
        ("severity:ERROR", "severity:"),
        ("jsonPayload.code>100", "jsonPayload.code>"),
        ("severity>=", "severity"),
        ("AND severity=ERROR", "AND"),
        ("severity=LOUD", "LOUD"),
        ("timestamp>=yesterday", "yesterday"),
        ('textPayload:"open', '"open'),
    ],
)
def test_what_is_not_understood_is_refused_by_name(text, named):
    with pytest.raises(Refusal) as refused:
        log_filter(text)
    assert refused.value.code == "INVALID_ARGUMENT"
    assert named in refused.value.message


def test_terms_keep_their_order_and_quotes_are_undone():
    assert [(t.field, t.op, t.value) for t in parse(r'a="x \"y\"" AND b>=2 c:z')] == [
        ("a", "=", 'x "y"'),
        ("b", ">=", "2"),
        ("c", ":", "z"),
    ]


@pytest.mark.parametrize(
    ("buckets", "value", "index"),
    [
        (MEMORY_BUCKETS, 0.0, 1),
        (MEMORY_BUCKETS, 0.009, 1),
        (MEMORY_BUCKETS, 0.29, 30),
        (MEMORY_BUCKETS, 0.999, 100),
        (MEMORY_BUCKETS, 1.0, 101),
        (MEMORY_BUCKETS, 7.0, 101),
        (LATENCY_BUCKETS, 0.5, 0),
        (LATENCY_BUCKETS, 1.0, 1),
        (LATENCY_BUCKETS, 1.1, 2),
        (LATENCY_BUCKETS, 1e12, 161),
    ],
)
def test_a_value_falls_into_its_bucket(buckets, value, index):
    assert buckets.index(value) == index
