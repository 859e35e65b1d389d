"""Training of one architecture.

`trial` has locks and results, `lifecycle` one training, `inputs` its data and device, `trainer` the loop over steps.
"""
