"""Functions to start, resume, finish and read runs, and to train one network; command line and notebooks use them.

```python
from rksearch.api import Run, plan_run, start_run

run = start_run(plan_run("quickstart"))
print(run.status().front)
Run("reports/quickstart-1").write_report()
```
"""

from rksearch.api.comparing import compare
from rksearch.api.launch import PlannedRun, final_run, plan_run, resume_run, start_run
from rksearch.api.run import Run
from rksearch.api.single import Trained, train_network

__all__ = [
    "PlannedRun",
    "Run",
    "Trained",
    "compare",
    "final_run",
    "plan_run",
    "resume_run",
    "start_run",
    "train_network",
]
