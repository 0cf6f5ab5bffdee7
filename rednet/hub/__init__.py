"""Folders that `timm.create_model("local-dir:FOLDER")` and the Hugging Face Hub understand."""

from rednet.hub.saving import save_for_hub

__all__ = ["save_for_hub"]
