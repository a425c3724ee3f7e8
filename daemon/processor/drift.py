"""What is odd about good answers: said once, counted every time, with a few samples kept.

The names of fields come from outside. Everything kept here is bounded: names for each data type, and samples for each
name. Beyond that, oddities are still counted, and one line says that no more of them are named.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import structlog

from daemon.contracts import Fetched, FetchError, Oddity, OddityKind

MAX_NAMES = 200
"""Different oddities that are remembered, and named in the log, for one data type."""

MAX_SAMPLES = 5
MAX_FIELD = 64
MAX_SAMPLE = 256

_HINTS: Mapping[OddityKind, str] = {
    OddityKind.UNKNOWN_FIELD: "the upstream has added a field: nothing is lost, and a later version may store it",
    OddityKind.MISSING_FIELD: "the upstream has stopped sending a field: what its column holds stays null from now on",
    OddityKind.CHANGED_TYPE: "the upstream sends something else in a field: its column is null where that does not fit",
    OddityKind.QUARANTINED_RECORD: "records of a list could not be used and were left out; the others are stored",
}

log = structlog.get_logger()


class _Name(NamedTuple):
    kind: OddityKind
    field: str


class DriftWatch:
    """Takes the oddities of every good fetch, of all data types of this process."""

    def __init__(self) -> None:
        self._counts = Counter[tuple[str, OddityKind]]()
        self._samples: defaultdict[str, dict[_Name, deque[str]]] = defaultdict(dict)
        self._full: set[str] = set()

    @property
    def counts(self) -> Mapping[tuple[str, OddityKind], int]:
        """In how many records something was odd, by data type and kind."""
        return self._counts

    def samples(self, data_type: str, kind: OddityKind, field: str) -> Sequence[str]:
        """Return the last few samples of one oddity, oldest first; of a quarantined record ``field`` is the reason."""
        return tuple(self._samples.get(data_type, {}).get(_Name(kind, _cut(field, MAX_FIELD)), ()))

    def note_results(self, data_type: str, results: Iterable[Fetched | FetchError]) -> None:
        """Take in what one fetch found out."""
        for result in results:
            if isinstance(result, Fetched):
                for oddity in result.oddities:
                    self.note(data_type, oddity)

    def note(self, data_type: str, oddity: Oddity) -> None:
        """Count one oddity, and say so where it is new."""
        self._counts[data_type, oddity.kind] += max(1, oddity.records)
        names, name = self._samples[data_type], _Name(oddity.kind, _cut(oddity.field, MAX_FIELD))
        if name not in names:
            if len(names) >= MAX_NAMES:
                self._say_full(data_type)
                return
            names[name] = deque(maxlen=MAX_SAMPLES)
            _say(data_type, oddity)
        if oddity.sample:
            names[name].append(_cut(oddity.sample, MAX_SAMPLE))

    def _say_full(self, data_type: str) -> None:
        if data_type not in self._full:
            self._full.add(data_type)
            hint = "there are too many different ones; refreshd_upstream_oddities_total still counts them"
            log.warning("upstream_drift_unnamed", data_type=data_type, named=MAX_NAMES, hint=hint)


def _say(data_type: str, oddity: Oddity) -> None:
    say = log.info if oddity.kind is OddityKind.UNKNOWN_FIELD else log.warning
    what = "reason" if oddity.kind is OddityKind.QUARANTINED_RECORD else "field"
    say(
        "upstream_drifted",
        data_type=data_type,
        kind=oddity.kind,
        **{what: _cut(oddity.field, MAX_FIELD)},
        records=oddity.records,
        sample=_cut(oddity.sample, MAX_SAMPLE),
        hint=_HINTS[oddity.kind],
    )


def _cut(text: str, length: int) -> str:
    return "".join(character if character.isprintable() else "?" for character in text[:length])
