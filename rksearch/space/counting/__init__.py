"""The arithmetic of large sets of networks. Other rooms import the names below, and no module of this room.

Terms:

- *chain*: the networks of one family and growth rate. Their costs are sums over periods and over neighbouring periods.
- *option*: one way to fill a period (m, s, r, share and method). The *digits* of a network are its options' numbers.
- *state*: everything about an option that the next period's costs and constraints depend on.
- *box*: inclusive limits on params, multiply-adds and depth.
- *half*: options of the first or of the last periods of a chain, with their summed costs.
- *unit*: two lists of halves, beginnings and ends, that meet in one state. A network is a pair of one from each.
- *window*: a range of params within which networks are counted separately.
"""

from rksearch.space.counting.box import Box
from rksearch.space.counting.chain import Chain
from rksearch.space.counting.chains import box_of, chains_of
from rksearch.space.counting.member import Member, Members, Priced
from rksearch.space.counting.members import members_of
from rksearch.space.counting.pricing import priced_family

__all__ = ["Box", "Chain", "Member", "Members", "Priced", "box_of", "chains_of", "members_of", "priced_family"]
