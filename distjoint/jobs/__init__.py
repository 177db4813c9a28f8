"""Commands as jobs of a Ray cluster."""
