"""Fine-tune a network on a folder of images with nothing but PyTorch and timm.

    python examples/finetune.py rednet50 rednet50.safetensors /path/to/images

The folder has train/<class>/ and val/<class>/. `python train.py experiment=finetune` does more: it
resumes, logs and saves.
"""

import sys

import timm
import torch
import torch.nn.functional as F
from timm.data import create_transform, resolve_model_data_config
from timm.optim import create_optimizer_v2
from timm.scheduler import create_scheduler_v2
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder

import rednet  # noqa: F401 (registers the networks with timm)


def main(name: str, checkpoint: str, folder: str, epochs: int = 10, num_workers: int = 4) -> None:
    """Print the top-1 accuracy after each epoch."""
    classes, file = ImageFolder(f"{folder}/train").classes, {"file": checkpoint}
    model = timm.create_model(
        name, pretrained=True, pretrained_cfg_overlay=file, num_classes=len(classes), in_chans=3
    )
    config = resolve_model_data_config(model)  # image size, mean and std are the checkpoint's
    train = ImageFolder(f"{folder}/train", create_transform(**config, is_training=True))
    val = ImageFolder(f"{folder}/val", create_transform(**config))
    optimizer = create_optimizer_v2(model, "adamw", lr=1e-3, weight_decay=0.05, layer_decay=0.8)
    scheduler, _ = create_scheduler_v2(optimizer, num_epochs=epochs)
    for epoch in range(epochs):
        scheduler.step(epoch)  # which also scales the learning rate of each layer
        model.train()
        for images, targets in DataLoader(train, 32, shuffle=True, num_workers=num_workers):
            F.cross_entropy(model(images), targets, label_smoothing=0.1).backward()
            optimizer.step()
            optimizer.zero_grad()
        with torch.no_grad():
            batches = DataLoader(val, 32, num_workers=num_workers)
            correct = [model.eval()(images).argmax(1) == targets for images, targets in batches]
        print(f"epoch {epoch + 1}: top-1 {100 * torch.cat(correct).float().mean():.2f} %")


if __name__ == "__main__":
    main(*sys.argv[1:4])
