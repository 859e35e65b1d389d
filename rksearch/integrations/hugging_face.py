"""Networks that are saved to and loaded from the Hugging Face Hub (`pip install 'rksearch[hub]'`).

```python
from rksearch.integrations.hugging_face import HubNetwork

net = HubNetwork.of("reports/quickstart-1:ResNet-8@0")  # or the directory of an export
net.push_to_hub("me/resnet8-digits")  # or net.save_pretrained("resnet8")
net = HubNetwork.from_pretrained("me/resnet8-digits")
```

A repository holds `model.safetensors`, `config.json` (what the network is, its images and its training) and the model
card. Nothing is pickled.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from safetensors.torch import load_file

from rksearch.api.trained import names_training, trained_network
from rksearch.arch import parse
from rksearch.data.facts import Dataset
from rksearch.errors import ExportError, MissingLibraryError, RksearchError, in_one_line
from rksearch.models import Network
from rksearch.models.card import LIBRARY, LICENSE, PIPELINE, TAGS, card
from rksearch.models.export import description, load_described, require_weights_of
from rksearch.ordinary import read_ordinary

try:
    from huggingface_hub import ModelCard, PyTorchModelHubMixin
except ImportError as error:
    raise MissingLibraryError("rksearch.integrations.hugging_face", "huggingface_hub", "hub") from error

UNKNOWN = "as they were when the network was saved; how they came about is not recorded"
"""Origin of weights that no training of rksearch is known for."""

REPLACED = "as they were when the network was saved; its classifier was replaced, and what followed is not recorded"
"""Origin of weights after `reset_classifier`."""

NOT_RECORDED = "not recorded"
"""Name of the data set after `reset_classifier`."""

MAX_TEXT_BYTES = 1_000_000
"""Largest `config.json` and model card that are read."""


class HubNetwork(  # type: ignore[call-arg]  # the mixin, which has no types here, takes these arguments
    Network,
    PyTorchModelHubMixin,
    library_name=LIBRARY,
    license=LICENSE,
    pipeline_tag=PIPELINE,
    tags=list(TAGS),
    paper_url="https://arxiv.org/abs/1802.08831",
):
    """A `Network` with `save_pretrained`, `push_to_hub` and `from_pretrained`.

    After `reset_classifier` it is described as a network of that many classes, whose data set and training are not
    recorded.

    Attributes:
        description: what `config.json` and the model card say.

    Args:
        name: the architecture's name.
        data: facts about the images, as `rksearch.data.facts.Dataset.facts` gives them.
        about: what else its model card says, as `rksearch.models.export.description` gives it.

    Raises:
        SpecError: the name is malformed, or the images are too small for the network.
        ExportError: `data` does not describe images.
    """

    if TYPE_CHECKING:  # what the mixin has; torch's `__getattr__` would have it be tensors and modules
        _hub_mixin_info: Any

    def __init__(self, name: str, data: Mapping[str, Any], **about: Any) -> None:
        spec, images = parse(name), _images(data)
        super().__init__(spec, images)
        self.description = {**description(spec, images, UNKNOWN, None), **about}

    @classmethod
    def of(cls, what: str | Path) -> Self:
        """A network with its weights and the facts of its training.

        Args:
            what: directory of an export, or `RUN:TRIAL` as in `rksearch.load`.

        Raises:
            ExportError: files of the export are missing or damaged.
            RunError: there is no such run or training.
        """
        if os.path.exists(what) or names_training(str(what)) is None:
            network, record = load_described(what)
            about = {key: value for key, value in record.items() if key not in ("format", "weights_sha256")}
        else:
            found = trained_network(str(what))
            network, about = found.network, description(found.network.spec, found.data, found.origin, found.facts)
        made = cls(**about)
        made.load_state_dict(network.state_dict())
        return made.eval()

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """Replace the last layer, as `Network` does, and the description of the data set and the training."""
        super().reset_classifier(num_classes, global_pool)
        before = _images(self.description["data"])
        images = Dataset(
            name=NOT_RECORDED,
            channels=before.channels,
            height=before.height,
            width=before.width,
            classes=max(2, num_classes),  # with fewer it is not saved
            mean=before.mean,
            std=before.std,
        )
        self.description = description(self.spec, images, REPLACED, None)

    def save_pretrained(self, save_directory: str | Path, *, config: Any = None, **kwargs: Any) -> Any:
        """Write the repository to a directory; a model card there stays if it was changed by hand.

        Args:
            save_directory: the directory.
            config: what `config.json` says instead of `description`.
            kwargs: arguments of `huggingface_hub.ModelHubMixin.save_pretrained`.

        Raises:
            ExportError: the weights are not those of the architecture, or there are fewer than two classes.
        """
        self._require_loadable()
        self._remove_unchanged_card(Path(save_directory))
        return super().save_pretrained(save_directory, config=config or self.description, **kwargs)

    def push_to_hub(self, repo_id: str, **kwargs: Any) -> Any:
        """Upload the repository.

        Args:
            repo_id: its name.
            kwargs: arguments of `huggingface_hub.ModelHubMixin.push_to_hub`.

        Raises:
            ExportError: as `save_pretrained`, before anything is uploaded.
        """
        self._require_loadable()
        return super().push_to_hub(repo_id, **kwargs)

    def _remove_unchanged_card(self, directory: Path) -> None:
        """Remove the card of the network that is replaced: huggingface_hub would keep it as if written by hand."""
        try:
            record = json.loads(read_ordinary(directory / "config.json", MAX_TEXT_BYTES))
            text = read_ordinary(directory / "README.md", MAX_TEXT_BYTES).decode()
            unchanged = text == str(self._card(record))
        except (OSError, ValueError, TypeError, AttributeError, LookupError, RecursionError):
            return
        if unchanged:
            (directory / "README.md").unlink()

    def _require_loadable(self) -> None:
        """Make sure that `from_pretrained` can load what would be saved.

        Raises:
            ExportError: it cannot.
        """
        if self.num_classes < 2:
            raise ExportError(
                f"a network must have at least two classes to be saved, but this one has {self.num_classes}; choose "
                "their number by reset_classifier"
            )
        require_weights_of(self, self.spec, _images(self.description["data"]))

    def generate_model_card(self, *args: Any, **kwargs: Any) -> ModelCard:
        """The model card: what the network is, its errors and its training.

        Args:
            args: ignored, as are `kwargs`: the mixin passes what `save_pretrained` was given for its own template.
            kwargs: ignored.

        Raises:
            ExportError: as `save_pretrained`.
        """
        self._require_loadable()
        return self._card(self.description)

    def _card(self, record: Mapping[str, Any]) -> ModelCard:
        return ModelCard(
            card(
                record,
                imports="from rksearch.integrations.hugging_face import HubNetwork",
                use='HubNetwork.from_pretrained(".")  # or the name of this repository',
                tags=[tag for tag in self._hub_mixin_info.model_card_data.tags or () if tag.endswith("hub_mixin")],
            )
        )

    @classmethod
    def _from_pretrained(cls, *, strict: bool = True, **kwargs: Any) -> Self:
        """Load the weights, all of which must be there unless `strict` is off."""
        made: Self = super()._from_pretrained(strict=strict, **kwargs)
        return made

    @classmethod
    def _load_as_safetensor(cls, model: Self, model_file: str, map_location: str, strict: bool) -> Self:
        """Load a file in which shared weights stand once; safetensors' own loader refuses shared batch norms."""
        model.load_state_dict(load_file(model_file, device=map_location), strict=strict)
        return model.eval()


def _images(data: Mapping[str, Any]) -> Dataset:
    try:
        return Dataset.from_facts(data)
    except RksearchError:
        raise
    except (TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise ExportError(
            f"`data` must hold the facts of a data set, but it does not ({in_one_line(error)})"
        ) from error
