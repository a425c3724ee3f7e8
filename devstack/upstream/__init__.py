"""A simulated upstream: speaks the Financial Modeling Prep ``stable`` API with answers of its own making."""
