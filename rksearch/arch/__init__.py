"""Architectures as values, which are searched, named, stored and compared.

A spec says which network, and nothing about the data: widths, resolutions and counts follow from a spec and a data set
in `rksearch.arch.layout`. Every spec has one canonical name; `parse(str(spec)) == spec` and `str(parse(name)) == name`.

Names
-----
=====================================  =================================================================
`RKNet-k12-m2_14_26-6x1_1x1_1x1`       dense family: growth rate 12, growth multiples 2, 14, 26; s x r per period
`RKNet-BC-k12-m2_9_12-1x8s_1x2s_1x2`   with bottlenecks; periods marked `s` share convolutions across time-steps
`RKNet-Res-1x3_1x2s_1x2`               residual family, 16-32-64 channels, from ResNet-20
`RKCNN-I-k80-5x1_5x1_5x1-att-ms`       implicit RKCNN, k = 80 in every period; also `-neck2 -up3 -drop20` before `-att`
`DenseNet-40-k12`                      DenseNet of depth 40 = 3n + 4, growth rate 12
`DenseNet-BC-100-k12`                  bottlenecks and compression 0.5, depth 100 = 6n + 4
`DenseNet-121`                         DenseNet-BC for ImageNet: depth 121, 169, 201 or 161
`ResNet-20`                            ResNet for 32 x 32 images, depth 20 = 6n + 2, widths 16-32-64
`PreActResNet-110`, `-B-1001`          pre-activation ResNet, depth 6n + 2; with bottlenecks 9n + 2
`CliqueNet-k36-T12`                    CliqueNet: growth rate 36, 12 layers in three blocks
=====================================  =================================================================

A period of an RKNet (dense or residual) may name its Runge-Kutta method after s x r:

=======================  ===============================================================================
`1x8s`                   the paper's way: convolutions absorb the coefficients, stages see a concatenation
`4x2@rk4`                coefficients of a tableau, h = 1; s is the number of stages that the method needs
`4x2@rk4+train`          a_ij and b_i learn, starting from the tableau
`4x2s@rk4+tie`           all stages share their convolutions; with `s` all time-steps do as well
`2x3@heun2+h0.5`         fixed step size; `+hlearn` and `+h0.5learn` for one that learns from 1 or 0.5 on
`2x1@gauss2+sweeps4`     an implicit method, iterated four times (2 by default)
=======================  ===============================================================================

Options stand in the order `+train +tie +sweepsN +hX`. A learned method (no `@`) has no h and nothing to tie: its
stages read inputs of different widths, so they cannot share convolutions.

Sources: Zhu and Fu, arXiv 1802.08831, section 3 (RKNet); Huang et al., arXiv 1608.06993 (DenseNet); He et al.,
arXiv 1512.03385, section 4.2 (ResNet), arXiv 1603.05027 (pre-activation); Yang et al., arXiv 1802.10419 (CliqueNet).
"""

from rksearch.arch.families import (
    FAMILIES,
    canonical,
    draws_random_numbers,
    family_of,
    learns_coefficients,
    register_family,
)
from rksearch.arch.families.cliquenet import CliqueNet
from rksearch.arch.families.densenet import DenseNet, ImageNetDenseNet
from rksearch.arch.families.preact_resnet import PreActResNet
from rksearch.arch.families.residual_rknet import ResidualRKNet
from rksearch.arch.families.resnet import ResNet
from rksearch.arch.families.rkcnn import RKCNN
from rksearch.arch.families.rknet import RKNet
from rksearch.arch.family import Family, GrowingSpec, Keeping, RungeKuttaFamily, RungeKuttaSpec
from rksearch.arch.image import ImageShape
from rksearch.arch.names import parse
from rksearch.arch.period import Period, Solver, Steps
from rksearch.arch.spec import MAX_CONV_LAYERS, MAX_NUMBER, ArchSpec

__all__ = [
    "FAMILIES",
    "MAX_CONV_LAYERS",
    "MAX_NUMBER",
    "RKCNN",
    "ArchSpec",
    "CliqueNet",
    "DenseNet",
    "Family",
    "GrowingSpec",
    "ImageNetDenseNet",
    "ImageShape",
    "Keeping",
    "Period",
    "PreActResNet",
    "RKNet",
    "ResNet",
    "ResidualRKNet",
    "RungeKuttaFamily",
    "RungeKuttaSpec",
    "Solver",
    "Steps",
    "canonical",
    "draws_random_numbers",
    "family_of",
    "learns_coefficients",
    "parse",
    "register_family",
]
