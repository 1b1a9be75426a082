"""Which images get ids: all of them, unless the operator leaves some out."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """The images that this region makes claims for.

    An empty set stands for everything. What another region has claimed has
    its id here too, whatever is selected.
    """

    visibility: frozenset[str] = frozenset()
    container_formats: frozenset[str] = frozenset()

    def takes(
        self, visibility: str | None, container_format: str | None
    ) -> bool:
        """Returns whether an image is selected; not, while it is unknown."""
        return _among(self.visibility, visibility) and _among(
            self.container_formats, container_format
        )


ALL_IMAGES = Selection()


def _among(chosen: frozenset[str], value: str | None) -> bool:
    return not chosen or str(value or "").lower() in chosen
