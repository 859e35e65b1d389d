"""Functions to start, resume, finish and read runs, and to train one network; command line and notebooks use them.

```python
import rksearch

run = rksearch.run("quickstart", trials=6)  # shows a progress bar; a `Run` when it has ended
run.front  # the Pareto front as a pandas.DataFrame
run.frame  # every architecture
run.figure()  # the front as a figure of plotly's
run.report  # path of the page
rksearch.Run("reports/quickstart-1").front  # of a run that exists
```
"""

from rksearch.api.comparing import compare
from rksearch.api.directory import Run
from rksearch.api.launch import (
    Foreseen,
    PlannedRun,
    final_run,
    forecast,
    plan_run,
    resume_run,
    run,
    shown_path,
    start_run,
)
from rksearch.api.progress import ProgressBar
from rksearch.api.retraining import retrain
from rksearch.api.single import Trained, default_execution, train
from rksearch.search.continuing import Extension
from rksearch.search.resources import Resources

__all__ = [
    "Extension",
    "Foreseen",
    "PlannedRun",
    "ProgressBar",
    "Resources",
    "Run",
    "Trained",
    "compare",
    "default_execution",
    "final_run",
    "forecast",
    "plan_run",
    "resume_run",
    "retrain",
    "run",
    "shown_path",
    "start_run",
    "train",
]
