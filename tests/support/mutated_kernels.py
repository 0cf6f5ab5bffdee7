"""Faults planted in the text of the CUDA kernels."""

import re


def mutated(text, name, old, new, number=0):
    """Return the text of the kernels with one place in one file changed."""
    start = text.index(f'#line 1 "{name}"')
    place = [match.start() for match in re.finditer(re.escape(old), text[start:])][number] + start
    return text[:place] + new + text[place + len(old) :]
