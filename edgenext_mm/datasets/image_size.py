"""The size of images that a batch sampler chooses and a transform reads."""

from collections.abc import Iterable, Iterator
from contextvars import ContextVar

_image_size: ContextVar[int | None] = ContextVar('image_size', default=None)


def image_size() -> int | None:
    """Return the sides in pixels that images are to have in the batch that is being loaded.

    None if its batch sampler chooses no size.
    """
    return _image_size.get()


class SizedBatch(list[int]):
    """The indices of a batch, all of whose images are to have one size.

    A DataLoader goes through the indices in the process, be it a worker, that loads the images; as
    long as it does, :func:`image_size` tells the size. So transforms know it in whatever datasets
    wrap their own, since it does not come with the index. The exception are datasets that make
    another list of the batch (``__getitems__``), as a torch.utils.data.Subset of a Subset does:
    there it is None.

    Args:
        indices: of the samples.
        size: sides of the images in pixels, or None for no choice.

    Example:
        >>> batch = SizedBatch([3, 1], size=192)
        >>> [(index, image_size()) for index in batch]
        [(3, 192), (1, 192)]
        >>> image_size() is None
        True
    """

    def __init__(self, indices: Iterable[int], size: int | None) -> None:
        super().__init__(indices)
        self.size = size

    def __iter__(self) -> Iterator[int]:
        token = _image_size.set(self.size)
        try:
            yield from super().__iter__()
        finally:
            _image_size.reset(token)
