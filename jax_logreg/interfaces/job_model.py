"""The model that the main job found, in the units of the file's own columns."""

import numpy as np

from jax_logreg.interfaces.main_job import Job
from jax_logreg.interfaces.model import Model
from jax_logreg.objective.penalties import L2


def model_of_job(job: Job) -> Model:
    """The best training's model: coefficients per unit of the column, which is centred."""
    table, settings, best = job.table, job.settings, job.trainings[job.best]
    found = Model.from_result(best.result, classes=table.class_names, penalty=L2(settings.l2))
    scale = job.scale.reshape((-1,) + (1,) * (found.coef.ndim - 1))
    return Model(
        found.coef / scale,
        found.intercept,
        classes=table.class_names,
        encoding=table.encoding,
        center=_means(table.X) if settings.standardize else None,
        training={
            **found.training,
            "solver": best.solver,
            "data": table.name,
            "rows": len(table.y),
            "standardized": settings.standardize,
            "derivatives": settings.derivatives,
        },
    )


def _means(X: np.ndarray) -> np.ndarray:
    """Of every column; no sum of huge numbers overflows."""
    size = np.max(np.abs(X), axis=0)
    return (X / np.where(size > 0, size, 1.0)).mean(axis=0) * size
