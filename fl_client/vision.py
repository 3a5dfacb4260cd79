"""torchvision's downloads: the only module that imports torchvision."""

from pathlib import Path

import torch

from fl_client.errors import DataError

_declared: list[torch.library.Library] = []


def download(dataset: str, root: Path, train: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Images (n, 28, 28) and labels (n,) of torchvision's MNIST or FashionMNIST, fetched once to root."""
    _declare_missing_operators()
    from torchvision import datasets

    try:
        found = getattr(datasets, dataset)(str(root), train=train, download=True)
    except (RuntimeError, OSError) as error:
        reason = str(error).strip().splitlines()[-1] if str(error).strip() else type(error).__name__
        raise DataError(f"{dataset} could not be downloaded to {root}: {reason}") from error
    return found.data, found.targets


def _declare_missing_operators() -> None:
    """Let torchvision import beside a torch that its compiled part was not built for.

    Importing it registers shape rules for two operators of that part, and fails where they do not exist.
    """
    if _declared or _compiled_part_loads():
        return
    library = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
    for operator in ("nms", "qnms"):
        schema = f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
        library.define(schema)  # type: ignore[no-untyped-call]
    _declared.append(library)


def _compiled_part_loads() -> bool:
    from importlib.util import find_spec

    spec = find_spec("torchvision")
    if spec is None or not spec.submodule_search_locations:
        return True
    for file in Path(spec.submodule_search_locations[0]).glob("_C.*"):
        try:
            torch.ops.load_library(str(file))  # type: ignore[no-untyped-call]
        except OSError:
            return False
    return True
