"""Processor room: claims jobs, spends the budgets, carries out the effect."""
