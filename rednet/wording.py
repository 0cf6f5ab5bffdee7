"""Numbers with their nouns, in messages and reports."""


def count(number: float, noun: str) -> str:
    """Return a number with its noun, such as "1 epoch" or "2 epochs".

    Args:
        number: The number; a float is shortened to six digits.
        noun: The noun in the singular, with a regular plural.
    """
    text = f"{number:g}" if isinstance(number, float) else str(number)
    plural = f"{noun}es" if noun.endswith("s") else f"{noun}s"
    return f"{text} {noun if number == 1 else plural}"
