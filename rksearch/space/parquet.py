"""All members of a space as a Parquet file, streamed: the memory does not grow with the space."""

from __future__ import annotations

import os
import sys
from itertools import islice
from pathlib import Path

from rksearch.ordinary import unfinished
from rksearch.space.space import Space

MARK = b"rksearch.space"
"""Key in the metadata that tells such a file from others."""

ROW_GROUP = 1 << 16
"""Architectures written together."""


def write_parquet(space: Space, path: Path) -> None:
    """Write name, params, macs and depth of every member in the order of the names; shows a progress bar.

    The file appears when it is complete; of a link, the file that it leads to.

    Raises:
        OSError: it cannot be written.
    """
    import pyarrow as pa  # 50 MB of code, needed for nothing else here
    from pyarrow import parquet
    from rich.console import Console
    from rich.progress import Progress

    schema = pa.schema(
        [("name", pa.string()), ("params", pa.int64()), ("macs", pa.int64()), ("depth", pa.int64())],
        metadata={MARK: "1", "space": space.name, "sha256": space.definition.sha256},
    )
    whole = Path(os.path.realpath(path))
    part = unfinished(whole)
    members = space.by_name()
    try:
        with (
            parquet.ParquetWriter(part, schema) as writer,
            Progress(console=Console(stderr=True, force_terminal=sys.stderr.isatty()), transient=True) as progress,
        ):
            task = progress.add_task(space.name, total=len(space))
            while chunk := list(islice(members, ROW_GROUP)):
                columns = [list(column) for column in zip(*chunk, strict=True)]
                writer.write_table(pa.table(columns, schema=schema))
                progress.advance(task, len(chunk))
        os.replace(part, whole)
    finally:
        part.unlink(missing_ok=True)
