"""An upstream without sockets: gives the answers it is told to, and remembers what it was asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from daemon.contracts import Answer, FetchError


@dataclass
class UpstreamStub:
    """Answers in the order given."""

    answers: list[Answer | FetchError]
    asked: list[tuple[str, dict[str, str], str | None]] = field(default_factory=list)

    async def get(
        self,
        endpoint: str,
        params: Mapping[str, str],
        *,
        etag: str | None = None,
        max_bytes: int | None = None,  # noqa: ARG002 - the protocol has it
    ) -> Answer:
        """Return or raise the next answer."""
        self.asked.append((endpoint, dict(params), etag))
        answer = self.answers.pop(0)
        if isinstance(answer, FetchError):
            raise answer
        return answer


def good(body: bytes, etag: str | None = None) -> Answer:
    """Return an answer with status 200."""
    return Answer(200, body, etag, len(body))
