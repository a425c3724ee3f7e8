"""A page on the embedded stack: a watch list that shows what refreshd does for who looks at it."""
