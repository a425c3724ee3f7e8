"""Moving over from an older system: what is paused, how a moved type is watched, and how it compares with before."""
