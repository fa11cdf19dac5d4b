"""`aeframe.tune`: search the settings of a run with Optuna."""

import importlib.util

from aeframe.errors import AeframeError

if importlib.util.find_spec("optuna") is None:
    raise AeframeError("tune requires optuna; run pip install 'aeframe[tune]'")
