"""The search: the next task (agenda, racing, budgets), who proposes architectures, and who runs the tasks.

Only `samplers` imports Optuna, and only `ray` imports Ray.
"""
