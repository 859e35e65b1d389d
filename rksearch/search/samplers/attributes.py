"""Names of the attributes that a study and the samplers of this package share.

Optuna's studies of several objectives take no intermediate values and know no pause, a pruned trial has no values, and
a trial that has ended cannot change. What a sampler learns beyond final values therefore stands in user attributes of
trials. All of them are optional: without any, the samplers work from final values alone.

A trial whose training may continue stays in the state RUNNING, with the epochs so far in its attributes. What becomes
known after a trial has ended (a replicate, a training that was resumed, a pause that became final) stands in a trial of
its own with the same parameters, added by `study.add_trial`; of several such trials, the complete ones count, else the
latest.
"""

from __future__ import annotations

ARCH = "rksearch:arch"
"""Canonical name of the architecture that was trained. Without it, the parameters of the trial say which one it is."""

ROLE = "rksearch:role"
"""Reason of the training: `candidate` (the default), `known` or `baseline` for trainings that no sampler proposed, and
`imported` for results of other runs: they teach a sampler, and it may propose their architectures all the same."""

VAL_ERRORS = "rksearch:val_errors_pct"
"""The error among the objectives, in percent, on the validation split after each epoch so far: a list of numbers, set
before the trial ends."""

TRAIN_LOSSES = "rksearch:train_losses"
"""Mean training loss of each epoch so far: a list as long as that of `VAL_ERRORS`, set before the trial ends."""

WAITING = "rksearch:waiting"
"""True for a pruned trial whose training stands at a rung and may be resumed. A later trial with the same parameters
says what became of it."""

REPLICATE = "rksearch:replicate"
"""Index of the seed: 0 (the default) for the first training of an architecture. Replicates refine what is known of an
architecture that is complete, and are no proposals."""

OBSERVED = "rksearch:observed"
"""Number that rises with the time at which a trial's attributes and state became known. Samplers learn in this order;
trials without it come first, by their numbers."""

PAUSES = "rksearch:pauses"
"""Pauses of the training so far: a list of pairs, each the number of `OBSERVED` at the pause and the number of epochs
then. A sampler learns of each, also of those that were over before it was next asked."""

REPLACED_BY = "rksearch:replaced_by"
"""On a failed trial: the proposal was not feasible, or not new, and this architecture was trained in its place, in a
trial of its own; None where there was none left. Samplers ignore such trials."""

FAILURE = "rksearch:failure"
"""Reason for which a training failed, in one line; for people and dashboards."""

TRIAL = "rksearch:trial"
"""Id of the training in the ledger; in the copy of a run's study, like those that follow. No sampler reads these."""

PARAMS = "rksearch:params"
"""Number of parameters of the architecture, batch norm included."""

MACS = "rksearch:macs"
"""Multiply-adds of the architecture for one image."""

SEED = "rksearch:seed"
"""Seed of the training."""

REPORT = "rksearch:report"
"""Address of the run's report, as a `file:` URI; also an attribute of the study."""
