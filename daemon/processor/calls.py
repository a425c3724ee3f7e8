"""What calls to the upstream come to, counted for Prometheus: how they end, what they weigh, what ETags save.

Labels are data types and fixed sets of words: nothing here carries a symbol, an endpoint or an address.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from http import HTTPStatus

import structlog
from prometheus_client import Counter, Histogram, Metric
from prometheus_client.registry import Collector

from daemon.contracts import Answer, FetchError, FetchErrorKind
from daemon.processor.jobs import JobWatch

BUCKETS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
IGNORED_IN_A_ROW = 20
"""So many answers in full, although nothing had changed, and ETags are taken to be ignored."""

SMOOTHING = 0.1

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class CallEnd:
    """One call as it ended: with an answer, an error of the contract, or neither because it was interrupted."""

    data_type: str
    seconds: float
    received_bytes: int
    estimated_bytes: int
    """What it was expected to bring."""
    etag: str | None
    """What was sent as ``If-None-Match``."""
    end: Answer | FetchError | None

    @property
    def outcome(self) -> str:
        """``good``, ``not_modified``, ``interrupted``, or the kind of the error."""
        if isinstance(self.end, FetchError):
            return self.end.kind
        if self.end is None:
            return "interrupted"
        return "not_modified" if self.end.status == HTTPStatus.NOT_MODIFIED else "good"


class EtagWatch:
    """Says once that the upstream ignores ETags, and once that it honours them again."""

    def __init__(self) -> None:
        self._in_a_row = 0

    def note(self, sent: str, answer: Answer) -> None:
        """Take in the answer to a conditional request."""
        if answer.status == HTTPStatus.NOT_MODIFIED:
            if self._in_a_row >= IGNORED_IN_A_ROW:
                log.info("etags_honoured", after=self._in_a_row)
            self._in_a_row = 0
        elif answer.etag is not None and answer.etag.removeprefix("W/") == sent.removeprefix("W/"):
            self._in_a_row += 1
            if self._in_a_row == IGNORED_IN_A_ROW:
                hint = (
                    "answers came in full although their ETag says that nothing has changed: all works, but what has"
                    " not changed costs as many bytes as what has"
                )
                log.warning("etags_ignored", in_a_row=self._in_a_row, hint=hint)


class CallWatch(Collector):
    """Counts every call of this process; register it to have it shown."""

    def __init__(self) -> None:
        self.jobs = JobWatch()
        types = ["data_type"]
        self._ends = Counter(
            "refreshd_upstream_calls",
            "Calls made, by how they ended on the wire",
            ["data_type", "outcome"],
            registry=None,
        )
        self._failures = Counter(
            "refreshd_fetch_failures",
            "Pairs whose fetch failed, by why; an answer that cannot be used is a good call and a failed fetch",
            ["data_type", "kind"],
            registry=None,
        )
        self._bytes = Counter(
            "refreshd_upstream_received_bytes", "Bytes received, heads and compressed bodies", types, registry=None
        )
        self._seconds = Histogram(
            "refreshd_upstream_call_seconds", "How long calls took", types, buckets=BUCKETS, registry=None
        )
        self._conditional = Counter(
            "refreshd_upstream_conditional_calls", "Answered calls that carried an ETag", types, registry=None
        )
        self._unmodified = Counter(
            "refreshd_upstream_not_modified", "Those of them that were answered with 304", types, registry=None
        )
        self._saved = Counter(
            "refreshd_upstream_saved_bytes", "About how many more bytes full answers had taken", types, registry=None
        )
        self._refused = Counter(
            "refreshd_upstream_calls_refused", "Calls that were not made, by what stood in the way", ["reason"],
            registry=None,
        )  # fmt: skip
        self._full_bytes: dict[str, float] = {}
        self._etags = EtagWatch()

    def collect(self) -> Iterator[Metric]:
        """Yield everything."""
        yield from self.jobs.collect()
        for counter in self._all():
            yield from counter.collect()

    def note_refused(self, reason: str) -> None:
        """Take in a call that was not made."""
        self._refused.labels(reason).inc()

    def note_failure(self, data_type: str, kind: FetchErrorKind, pairs: int = 1) -> None:
        """Take in pairs whose fetch failed."""
        self._failures.labels(data_type, kind).inc(pairs)

    def note_end(self, call: CallEnd) -> None:
        """Take in a call that was made."""
        self._ends.labels(call.data_type, call.outcome).inc()
        self._bytes.labels(call.data_type).inc(call.received_bytes)
        self._seconds.labels(call.data_type).observe(call.seconds)
        if isinstance(call.end, Answer):
            self._note_answer(call, call.end)

    def _note_answer(self, call: CallEnd, answer: Answer) -> None:
        usual = self._full_bytes.get(call.data_type)
        if call.etag is not None:
            self._conditional.labels(call.data_type).inc()
            self._etags.note(call.etag, answer)
        if answer.status == HTTPStatus.NOT_MODIFIED:
            self._unmodified.labels(call.data_type).inc()
            full = call.estimated_bytes if usual is None else usual
            self._saved.labels(call.data_type).inc(max(0.0, full - call.received_bytes))
        else:
            known = call.received_bytes if usual is None else usual
            self._full_bytes[call.data_type] = known + SMOOTHING * (call.received_bytes - known)

    def _all(self) -> Sequence[Collector]:
        return (
            self._ends,
            self._failures,
            self._bytes,
            self._seconds,
            self._conditional,
            self._unmodified,
            self._saved,
            self._refused,
        )
