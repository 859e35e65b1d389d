"""Training of one architecture: `trial` (locks and results), `lifecycle` (one training), `trainer` (the loop)."""
