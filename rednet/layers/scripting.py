"""The answer to `torch.jit.script`, which cannot compile these layers."""

from typing import NoReturn


class NotScriptable:
    """Base of modules for which `torch.jit.script` raises an error that says what to use."""

    def __prepare_scriptable__(self) -> NoReturn:
        """Raise RuntimeError; `torch.jit.script` calls this first, for every module inside too."""
        raise RuntimeError(
            f"torch.jit.script is deprecated and cannot compile {type(self).__name__}: use "
            "torch.export.export(model, (images,)), or python -m rednet export for a file"
        )
