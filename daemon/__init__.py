"""refreshd: keeps market data fresh for exactly the symbols people are looking at."""

__version__ = "0.1.0"
