"""Advice: which loss fits, and what does not fit before the first epoch.

`recommend` looks at labels and the last layer, `check` at labels, output and the compiled loss by
the table in `rules.py`.
"""

from keras_optim_losses.losses.advice.check import check
from keras_optim_losses.losses.advice.findings import Finding, Findings
from keras_optim_losses.losses.advice.recommend import Recommendation, recommend

__all__ = ["Finding", "Findings", "Recommendation", "check", "recommend"]
