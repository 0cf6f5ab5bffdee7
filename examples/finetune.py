"""Fine-tune a network on a folder of images with a loop of PyTorch's.

    python examples/finetune.py rednet50.safetensors /path/to/images

The checkpoint is any file that says its network, the folder has train/<class>/ and val/<class>/.
`python train.py experiment=finetune` does more: it resumes, logs and saves.
"""

import sys

import torch
import torch.nn.functional as F
from timm.optim import create_optimizer_v2
from timm.scheduler import create_scheduler_v2
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder

from rednet import Classifier
from rednet.data import Augmentation, eval_transform, train_transform


def main(checkpoint: str, folder: str, epochs: int = 10, num_workers: int = 4) -> None:
    """Print the top-1 accuracy after each epoch."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    trained, augmentation = Classifier(checkpoint), Augmentation(scale=(0.35, 1.0), hflip=0.5)
    train = ImageFolder(f"{folder}/train", train_transform(trained.preprocessing, augmentation))
    val = ImageFolder(f"{folder}/val", eval_transform(trained.preprocessing))
    trained.model.reset_classifier(len(train.classes))
    model = trained.model.to(device)
    optimizer = create_optimizer_v2(model, "adamw", lr=1e-3, weight_decay=0.05, layer_decay=0.8)
    scheduler, _ = create_scheduler_v2(optimizer, num_epochs=epochs)
    for epoch in range(epochs):
        scheduler.step(epoch)  # which also scales the learning rate of each layer
        model.train()
        for images, targets in DataLoader(train, 32, shuffle=True, num_workers=num_workers):
            logits = model(images.to(device))
            F.cross_entropy(logits, targets.to(device), label_smoothing=0.1).backward()
            optimizer.step()
            optimizer.zero_grad()
        model.eval()
        with torch.inference_mode():
            batches = DataLoader(val, 32, num_workers=num_workers)
            correct = sum((model(x.to(device)).argmax(1).cpu() == y).sum() for x, y in batches)
        print(f"epoch {epoch + 1}: top-1 {100 * correct / len(val):.2f} %")


if __name__ == "__main__":
    main(*sys.argv[1:3])
