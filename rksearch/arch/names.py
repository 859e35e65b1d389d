"""From a name to a spec."""

from __future__ import annotations

import re

from rksearch.arch.families.baselines import read_cliquenet, read_densenet, read_preact_resnet, read_resnet
from rksearch.arch.families.rkcnn import read_rkcnn
from rksearch.arch.families.rknet import read_rknet
from rksearch.arch.reader import Reader, ReadError
from rksearch.arch.spec import ArchSpec
from rksearch.errors import SpecError, nearest


def parse(name: str) -> ArchSpec:
    """The spec whose canonical name is `name`.

    Raises:
        SpecError: the name is malformed; the message says what was expected and at which character.
    """
    heads = {
        "RKNet": read_rknet,
        "RKCNN": read_rkcnn,
        "DenseNet": read_densenet,
        "ResNet": read_resnet,
        "PreActResNet": read_preact_resnet,
        "CliqueNet": read_cliquenet,
    }
    reader = Reader(name)
    head = re.match(r"[A-Za-z]*", name)
    word = head.group() if head else ""
    if word not in heads:
        reader.fail(
            f"a name starts with {', '.join(heads)}{nearest(word, heads)}; "
            "for example RKNet-BC-k12-m2_9_12-1x8s_1x2_1x2"
        )
    reader.at = len(word)
    try:
        spec: ArchSpec = heads[word](reader)
    except ReadError:
        raise
    except SpecError as error:
        raise SpecError(f"bad architecture name {name!r}: {error}") from None
    if reader.at != len(name):
        reader.fail("expected the end of the name")
    return spec
