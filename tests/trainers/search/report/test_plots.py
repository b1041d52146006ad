"""Plots of a campaign leave other plots of the same process as they are."""

import matplotlib as mpl
import optuna
from matplotlib import pyplot

from unbraid.trainers.search.report.plots import _drawn


def test_optunas_style_ends_with_its_plot() -> None:
    before = dict(mpl.rcParams)
    study = optuna.create_study()
    study.add_trials(
        [
            optuna.trial.create_trial(
                params={"x": x}, distributions={"x": optuna.distributions.FloatDistribution(0, 1)}, value=x * x
            )
            for x in (0.1, 0.5, 0.9)
        ]
    )
    title, png = _drawn("history", optuna.visualization.matplotlib.plot_optimization_history, study)
    assert title == "history" and png.startswith(b"\x89PNG")
    assert dict(mpl.rcParams) == before
    assert not pyplot.get_fignums(), "the figure is closed"
