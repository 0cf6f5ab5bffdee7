import re
import runpy
from pathlib import Path

import pytest
import timm
import torch
from run_plan import save_images

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.mark.filterwarnings("ignore:.*pin_memory.*")
def test_fine_tuning(tmp_path, capsys):
    for split, count in (("train", 6), ("val", 2)):
        save_images(tmp_path / split, ("cat", "dog"), count)
    options = {"width": 0.25, "layers": (1, 1, 1, 1), "num_classes": 5}
    torch.save(timm.create_model("rednet50", **options).state_dict(), tmp_path / "start.pt")
    example = runpy.run_path(str(EXAMPLES / "finetune.py"))
    example["main"](str(tmp_path / "start.pt"), str(tmp_path), 2, num_workers=0)
    lines = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"epoch 2: top-1 \d+.\d\d %", lines[-1])
