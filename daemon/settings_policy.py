"""The settings of the policy: which refresh comes first, and when a pair is due again. All can stay as they are."""

from __future__ import annotations

from pydantic import BaseModel, Field

from daemon.settings_fields import DAY_SECONDS, seconds


class PolicySettings(BaseModel):
    """The parameters of docs/decisions/0013, 0019 and 0020."""

    mean_session_seconds: float = seconds(260, "how long somebody looks at a page, until the daemon has measured it")
    usual_viewers_seconds: float = seconds(
        1_800, "memory of how many viewers are usual for a pair: what was so long ago counts for 1/e"
    )
    usual_horizon_seconds: float = seconds(3_600, "how far into the future the usual viewers of a pair count")
    lead_share: float = Field(
        0.25, gt=0, le=0.5, description="share of the TTL before expiry at which a refresh starts at the earliest"
    )
    first_view_share: float = Field(
        0.1, ge=0, le=1, description="share of what is spent that is kept for pairs that were never fetched"
    )
    price_step: float = Field(
        0.15,
        gt=0,
        le=2,
        description="how fast the ratio of the prices of calls and bytes follows what is used of the budgets",
    )
    failed_recheck_seconds: float = seconds(900, "least time after a failed refresh, doubling with every failure")
    failed_recheck_max_seconds: float = seconds(DAY_SECONDS, "longest time after a failed refresh")
    empty_recheck_seconds: float = seconds(21_600, "least time after the upstream had nothing")
