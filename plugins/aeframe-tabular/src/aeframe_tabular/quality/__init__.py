"""Comparisons of synthetic rows with real ones: shapes, pairs, utility, privacy, validity and figures."""
