"""Images that are read while they are needed: workers decode and augment, one batch is on the device at a time.

Each view is a function of the image and of a seed, which comes with the request for it. So the numbers of an epoch
depend neither on the number of workers nor on their pace, and a training resumes exactly at the end of an epoch.

An image that is damaged never counts in an evaluation. In training the next readable one of its class stands in for it,
in the order of the images: the same one in each epoch.
"""

from __future__ import annotations

import hashlib
import logging
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar, NamedTuple, TypeAlias

import torch
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from rksearch.data.batches import EVAL_BATCH_SIZE, Batch, DeviceImages, EpochDraws
from rksearch.data.dataset import Dataset
from rksearch.data.pictures import PictureSource, UnreadablePicture, read_to_cover
from rksearch.data.views import Views
from rksearch.errors import DataError

logger = logging.getLogger(__name__)

PREFETCHED = 2
"""Batches that each worker reads ahead; they lie in the memory of the machine."""

EVALUATION = -1
"""In place of a seed: the view for evaluation."""

Request: TypeAlias = tuple[int, int]
"""Place of an image, and the seed of its view."""


class Missed(NamedTuple):
    """An image of a batch that cannot be read.

    Attributes:
        at: its place in the batch.
        place, seed: the request.
        line: its name and the reason.
    """

    at: int
    place: int
    seed: int
    line: str


class Read(NamedTuple):
    """A batch that was read.

    Attributes:
        pixels: views, uint8 (B, H, W, C); zeros where an image cannot be read.
        missed: those images.
    """

    pixels: Tensor
    missed: tuple[Missed, ...] = ()


def worker_count(threads: int, device: torch.device) -> int:
    """Number of worker processes of a training that has `threads` CPUs; they decide speed, not numbers.

    On a GPU one for each CPU: the process itself hardly computes. On a CPU one for each but the first, whose training
    takes more than the reading; with a single CPU the process reads its images itself.
    """
    return threads if device.type == "cuda" else threads - 1


class PictureReader:
    """Reads views of pictures, in worker processes where there are any; they start with the first batch.

    Workers are spawned, not forked: the process may hold threads of Ray or of a GPU, which a fork would break.

    Args:
        pictures: the images.
        views: what is made of them.
        workers: number of worker processes; with 0 the process itself reads, with equal results.
        pinned: whether batches lie in page-locked memory, from which a GPU copies fast.

    Attributes:
        pictures: as given.
        unreadable: images that were found to be unreadable so far, by place: name and reason.
    """

    def __init__(self, pictures: PictureSource, views: Views, *, workers: int, pinned: bool) -> None:
        self.pictures = pictures
        self.unreadable: dict[int, str] = {}
        self._viewed = _Viewed(pictures, views)
        self._wanted = _Wanted()
        self._loader: DataLoader[Read | DataError] = DataLoader(
            self._viewed,
            batch_sampler=self._wanted,
            num_workers=workers,
            collate_fn=_as_it_is,
            pin_memory=pinned,
            persistent_workers=workers > 0,
            prefetch_factor=PREFETCHED if workers else None,
            multiprocessing_context="spawn" if workers else None,
            # It draws a seed for its workers, which must not come from the generator of a network's dropout.
            generator=torch.Generator(),
        )

    def batches(self, wanted: Iterable[list[Request]]) -> Iterator[Read]:
        """Batches of views in the order of the requests.

        A new call ends what an earlier one has left.

        Raises:
            DataError: images have gone, or their disk does not answer.
        """
        self._wanted.batches = wanted
        for found in self._loader:
            if isinstance(found, DataError):
                raise found
            for missed in found.missed:
                self._note(missed)
            yield found

    def read(self, place: int, seed: int) -> Tensor | None:
        """The view of one image, uint8 (H, W, C), read in this process; None where it is unreadable.

        Raises:
            DataError: as `batches`.
        """
        found = self._viewed.__getitems__([(place, seed)])
        if isinstance(found, DataError):
            raise found
        for missed in found.missed:
            self._note(missed)
        return None if found.missed else found.pixels[0]

    def _note(self, missed: Missed) -> None:
        if missed.place not in self.unreadable:
            self.unreadable[missed.place] = missed.line
            logger.info("left out, since it cannot be read: %s", missed.line)

    def close(self) -> None:
        """End the workers, whatever they do; a second call has no effect."""
        # Torch ends them when the last reference to their iterator is gone, which the traceback of a failure may keep.
        end = getattr(self._loader._iterator, "_shutdown_workers", None)
        if end is not None:
            end()
        self._loader._iterator = None


class _Wanted:
    """The requests of the pass that is to come; torch iterates it in this process."""

    batches: Iterable[list[Request]] = ()

    def __iter__(self) -> Iterator[list[Request]]:
        return iter(self.batches)


class _Viewed(TorchDataset["Read | DataError"]):
    """Views by request; torch asks for whole batches. It is sent to the workers."""

    def __init__(self, pictures: PictureSource, views: Views) -> None:
        self._pictures, self._views = pictures, views

    def __getitems__(self, requests: Sequence[Request]) -> Read | DataError:
        """Views of a batch, or the error that ends the training: torch would add a traceback to one that was raised."""
        missed: list[Missed] = []
        views: list[Tensor] = []
        try:
            with as_in_worker():
                for at, (place, seed) in enumerate(requests):
                    try:
                        views.append(self._view(place, seed))
                    except UnreadablePicture as error:
                        missed.append(Missed(at, place, seed, error.line))
                        views.append(self._views.blank())
                return Read(torch.stack(views), tuple(missed))
        except DataError as error:
            refused = DataError(str(error))  # a plugin's own class may not be what can be sent
            refused.exit_code = error.exit_code
            return refused

    def _view(self, place: int, seed: int) -> Tensor:
        picture = read_to_cover(self._pictures, place, self._views.cover)
        return self._views.evaluate(picture) if seed == EVALUATION else self._views.train(picture, seed)


@contextmanager
def as_in_worker() -> Iterator[None]:
    """One thread, on whose number sums of floats depend, and a random generator of its own for the views."""
    threads, state = torch.get_num_threads(), torch.get_rng_state()
    try:
        torch.set_num_threads(1)
        yield
    finally:
        torch.set_num_threads(threads)
        torch.set_rng_state(state)


def _as_it_is(found: Any) -> Any:
    return found


class StreamedImages:
    """Images that are read by a reader, with the face of `rksearch.data.batches.DeviceImages`.

    For training, `begin` starts an epoch and each `fetch` brings the next batch to a buffer on the device that never
    moves, where `normalised` finds it: a recorded step reads the same memory each time. All labels stay on the device.

    Args:
        reader: reads the images; those of training and validation may share it, since they take turns.
        places: places of these images among the reader's, int64 (N,).
        dataset: facts about the data set.
        device: device of the batches.
        batch_size: images of the largest batch to train on; 0 to evaluate only.
    """

    streamed: ClassVar[bool] = True

    def __init__(
        self, reader: PictureReader, places: Tensor, dataset: Dataset, device: torch.device, *, batch_size: int = 0
    ) -> None:
        self._reader, self._places = reader, places
        self._labels = torch.from_numpy(reader.pictures.labels[places.numpy()]).to(device)
        self._dataset = dataset
        self.channels, self.height, self.width = dataset.channels, dataset.height, dataset.width
        self.device, self.may_flip = device, dataset.flip
        self._buffer = self._on_device(torch.zeros(max(batch_size, 1), self.height, self.width, self.channels).byte())
        self._offsets = torch.arange(batch_size, device=device)
        self._coming: Iterator[Read] = iter(())
        self._stand_ins: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._places)

    @property
    def unreadable(self) -> tuple[str, ...]:
        """Names and reasons of these images that were found to be unreadable so far, in the order of the images."""
        if not self._reader.unreadable:
            return ()
        own = set(self._places.tolist())
        return tuple(line for place, line in sorted(self._reader.unreadable.items()) if place in own)

    def _on_device(self, pixels: Tensor) -> DeviceImages:
        """A batch (B, H, W, C) on the device."""
        labels = torch.zeros(len(pixels), dtype=torch.int64)
        return DeviceImages(pixels.permute(0, 3, 1, 2), labels, self._dataset, self.device)

    def labels(self, index: Tensor) -> Tensor:
        """Labels of the images at `index` (N,)."""
        return self._labels.index_select(0, index)

    def begin(self, draws: EpochDraws, bounds: Sequence[tuple[int, int]]) -> None:
        """Start to read an epoch.

        Args:
            draws: of the epoch, on the CPU.
            bounds: start and stop of each batch.
        """
        self._coming = self._reader.batches(self._requests(draws, bounds))

    def _requests(self, draws: EpochDraws, bounds: Sequence[tuple[int, int]]) -> Iterator[list[Request]]:
        places = self._places[draws.order]
        epoch = None if draws.seed is None else int(draws.seed)
        for start, stop in bounds:
            batch = places[start:stop].tolist()
            seeds = [EVALUATION if epoch is None else view_seed(epoch, place) for place in batch]
            yield [(self._stand_ins.get(place, place), seed) for place, seed in zip(batch, seeds, strict=True)]

    def fetch(self) -> None:
        """Bring the next batch of the epoch to the device; others of their class stand in for unreadable images.

        Raises:
            DataError: images have gone, or no image of a class can be read.
        """
        pixels, missed = next(self._coming)
        for one in missed:
            pixels[one.at] = self._instead(one.place, one.seed)
        self._buffer.pixels[: len(pixels)].copy_(pixels.flatten(1), non_blocking=True)

    def _instead(self, place: int, seed: int) -> Tensor:
        """The view of the stand-in of an image: the next readable one of its class, in a circle."""
        alike = self._of_class(int(self._reader.pictures.labels[place]))
        after = bisect_right(alike, place)
        for other in (*alike[after:], *alike[:after]):
            view = None if other in self._reader.unreadable else self._reader.read(other, seed)
            if view is not None:
                self._stand_ins[place] = other
                return view
        raise DataError(
            f"each class of {self._dataset.name} must have images that can be read, but none of the {len(alike):,} of "
            f"that of {self._reader.unreadable[place]} can; replace them"
        )

    def _of_class(self, label: int) -> list[int]:
        """Places of these images that have a label, ascending."""
        places = self._places.numpy()
        return sorted(places[self._reader.pictures.labels[places] == label].tolist())

    def normalised(self, index: Tensor, changed: Tensor | None = None) -> Tensor:
        """The batch that was fetched last, as float32 (N, H, W, C); `index` (N,) says how many images it has."""
        return self._buffer.normalised(self._offsets[: len(index)], changed)

    def batches(self, batch_size: int = EVAL_BATCH_SIZE) -> Iterator[Batch]:
        """Batches of all images that can be read, in their order, in the view of evaluation.

        Raises:
            DataError: images have gone, or none can be read.
        """
        places = [part.tolist() for part in torch.split(self._places, batch_size)]
        start, seen = 0, 0
        for pixels, missed in self._reader.batches([(place, EVALUATION) for place in part] for part in places):
            there = self._on_device(pixels)
            index = torch.arange(len(pixels), device=self.device)
            if missed:
                out = {one.at for one in missed}
                index = torch.tensor([i for i in range(len(pixels)) if i not in out], device=self.device).long()
            if len(index):
                yield there.normalised(index).permute(0, 3, 1, 2), self.labels(index + start)
            start, seen = start + len(pixels), seen + len(index)
        if not seen:
            raise DataError(
                f"images to evaluate on must be readable, but none of {len(self):,} of {self._dataset.name} is; "
                "replace them"
            )


def view_seed(epoch: int, place: int) -> int:
    """Seed of the view of an image in an epoch whose own seed is `epoch`."""
    return int.from_bytes(hashlib.sha256(f"view {epoch} {place}".encode()).digest()[:8], "big") >> 1
