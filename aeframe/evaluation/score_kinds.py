"""The kinds of anomaly score. Imports nothing heavy, so that ``--help`` lists them without torch."""

SCORES = ("reconstruction", "bound", "likelihood", "mahalanobis")
"""The reconstruction error, the bound of the model, an importance-weighted estimate of -log p(x), and the Mahalanobis
distance of reconstruction and residual (`aeframe.evaluation.anomalies`)."""
PER = ("sample", "element")
"""What a score is a sum over: all elements of a sample, or one of its observed elements on average."""
