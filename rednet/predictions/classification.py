"""What a network says about one image, for people who use Python."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Prediction:
    """One class that an image may belong to.

    Attributes:
        name: Name of the class; the English one for ImageNet's.
        probability: Its probability, 0 to 1.
        class_name: Name of the class in the file; the synset for ImageNet's.
        index: Index of the class.
    """

    name: str
    probability: float
    class_name: str
    index: int

    def __str__(self) -> str:
        return f"{self.name} {100 * self.probability:.1f} %"


@dataclass(frozen=True)
class Classification:
    """What a network says about one image.

    Attributes:
        top: The most probable classes, the first one first.
        probabilities: Probability of each class (classes,), float32 on the CPU.
    """

    top: tuple[Prediction, ...]
    probabilities: Tensor

    @property
    def name(self) -> str:
        """Name of the most probable class."""
        return self.top[0].name

    @property
    def probability(self) -> float:
        """Probability of the most probable class."""
        return self.top[0].probability

    def __str__(self) -> str:
        return ", ".join(map(str, self.top))

    def __repr__(self) -> str:
        return f"Classification({self})"
