"""Strategies for whatever a browser may have put into its presence."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

texts = st.text(st.characters(exclude_categories=()), max_size=30)
"""Lone surrogates, NUL and controls included."""

json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda children: st.lists(children, max_size=4) | st.dictionaries(texts, children, max_size=4),
    max_leaves=12,
)

symbols = st.sampled_from(["AAPL", "^GSPC", "BRK-B", "ES=F", "aapl", "AAPL\n", "", "A" * 21]) | texts
data_types = st.sampled_from(["quote", "profile", "nonsense"]) | json_values

payloads: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {},
    optional={
        "phx_ref": st.sampled_from(["r1", "r2", "r3"]) | json_values,
        "phx_ref_prev": json_values,
        "presence_ref": json_values,
        "userId": st.sampled_from(["ada", "bob", "x" * 129, "a\x00b"]) | json_values,
        "views": st.dictionaries(symbols, st.lists(data_types, max_size=25) | json_values, max_size=5) | json_values,
        "symbol": symbols | json_values,
        "dataTypes": st.lists(data_types, max_size=25) | json_values,
        "subscribedAt": json_values,
    },
)
"""Shaped enough to get past the first check, and wrong in every place."""

keys = st.sampled_from(["k1", "k2"]) | texts
presences = st.dictionaries(
    keys, st.fixed_dictionaries({"metas": st.lists(payloads | json_values, max_size=3) | json_values}) | json_values
)
