"""Measuring results: exact link prediction, word similarity, analogies, and differences between runs."""
