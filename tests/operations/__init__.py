"""The daemon as an operator meets it: signals, reloads, faults of the machine, what must never be seen."""
