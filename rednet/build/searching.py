"""What must not change while a search goes on."""

import dataclasses

from rednet.build.identity import identity
from rednet.config import Config, to_yaml
from rednet.config.problems import format_value
from rednet.search.space import Space


def search_settings(config: Config, space: Space) -> dict[str, str]:
    """Return the settings of which trials must have equal ones to be compared, as text by key.

    Where the search reads, writes and computes may change, and so may the number of trials.
    """
    assert config.search is not None
    plain = dataclasses.replace(config, search=None)
    size = config.data.batch_size * config.trainer.grad_accum_steps
    description = {"config": to_yaml(plain), "global_batch": size}
    if config.model is not None:
        description["model"] = dataclasses.asdict(config.model)
    own = {key: format_value(value) for key, value in identity(description).items()}
    searched = {f"search.space.{key}": str(axis) for key, axis in space.items()}
    return {**searched, "search.metric": config.search.metric, **own}
