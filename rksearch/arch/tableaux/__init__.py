"""Runge-Kutta methods as data: exact Butcher tableaux, and their orders."""

from rksearch.arch.tableaux.catalogue import TABLEAUX, tableau
from rksearch.arch.tableaux.numbers import Number, Surd
from rksearch.arch.tableaux.tableau import MAX_ORDER, Tableau, Tree, rooted_trees

__all__ = ["MAX_ORDER", "TABLEAUX", "Number", "Surd", "Tableau", "Tree", "rooted_trees", "tableau"]
