"""`aeframe.tune`: search the settings of a run with Optuna."""
