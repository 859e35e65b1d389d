"""The search: what to train next (pure), who proposes it (Optuna), who runs it (Ray Tune).

Only `proposer` imports Optuna, and only `tune` and `driver` import Ray.
"""
