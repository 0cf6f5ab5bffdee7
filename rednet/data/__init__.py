"""Image sources, transforms, samplers and loaders."""

from rednet.data.checking import make_check
from rednet.data.classes import (
    CLASS_ORDERS,
    RelabelledSource,
    classes_with_images,
    order_classes,
)
from rednet.data.dataset import Batch, ImageDataset, Sample, collate
from rednet.data.encoded_images import EncodedImages
from rednet.data.fashion_mnist import open_fashion_mnist
from rednet.data.fingerprint import count_equal, count_sampled, describe_splits, fingerprint
from rednet.data.huggingface import open_huggingface
from rednet.data.image_files import ImageFiles
from rednet.data.image_folder import open_image_folder
from rednet.data.image_reading import MAX_PIXELS, read_image
from rednet.data.image_table import open_image_table
from rednet.data.imagenet import open_imagenet
from rednet.data.imagenet_names import english_names, imagenet_labels, imagenet_synsets
from rednet.data.loading import ImageLoader, default_num_workers
from rednet.data.sampling import EvalSampler, TrainSampler
from rednet.data.shards import open_shards
from rednet.data.sources import ImageSource, Splits, UnreadableImage, balanced_subset
from rednet.data.transforms import (
    Augmentation,
    ImageTransform,
    Preprocessing,
    eval_transform,
    train_transform,
)

__all__ = [
    "CLASS_ORDERS",
    "MAX_PIXELS",
    "Augmentation",
    "Batch",
    "EncodedImages",
    "EvalSampler",
    "ImageDataset",
    "ImageFiles",
    "ImageLoader",
    "ImageSource",
    "ImageTransform",
    "Preprocessing",
    "RelabelledSource",
    "Sample",
    "Splits",
    "TrainSampler",
    "UnreadableImage",
    "balanced_subset",
    "classes_with_images",
    "collate",
    "count_equal",
    "count_sampled",
    "default_num_workers",
    "describe_splits",
    "english_names",
    "eval_transform",
    "fingerprint",
    "imagenet_labels",
    "imagenet_synsets",
    "make_check",
    "open_fashion_mnist",
    "open_huggingface",
    "open_image_folder",
    "open_image_table",
    "open_imagenet",
    "open_shards",
    "order_classes",
    "read_image",
    "train_transform",
]
