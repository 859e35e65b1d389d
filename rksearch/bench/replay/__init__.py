"""Search strategies replayed on a tabulated benchmark: real trainings, virtual time, the search's own code."""
