"""`rednet.Classifier`: images in, class names out."""

import logging

import numpy as np
import pytest
import timm
import torch
from PIL import Image

import rednet
from rednet import commands
from rednet.data import imagenet_synsets
from rednet.errors import InputError

NAMES = ["Katze", "\u732b", "dog"]
PREPROCESSING = {
    **{"image_size": 32, "crop_pct": 0.8, "interpolation": "bicubic"},
    **{"mean": (0.4, 0.5, 0.6), "std": (0.2, 0.3, 0.2)},
}


@pytest.fixture
def checkpoint(make_tiny, tmp_path):
    """A checkpoint of ours with class names and preprocessing."""
    model = make_tiny(num_classes=3)
    content = {
        "format": "rednet-2",
        "model": {"name": "rednet26", "options": {"width": 0.25, "layers": [1, 2, 1, 1]}},
        "state_dict": model.state_dict(),
        "class_names": NAMES,
        "preprocessing": PREPROCESSING,
    }
    torch.save(content, tmp_path / "own.pt")
    return tmp_path / "own.pt"


@pytest.fixture
def image(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (50, 70, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "image.png")
    return tmp_path / "image.png"


def test_a_path_gives_what_the_command_gives(checkpoint, image, tmp_path, capsys):
    argv = [f"checkpoint={checkpoint}", f"images={image}", "tta=hflip", "data.num_workers=0"]
    assert commands.predict([*argv, "trainer.device=cpu", f"output_dir={tmp_path}"]) == 0
    row = (tmp_path / "predictions.csv").read_text().splitlines()[1].split(",")
    result = rednet.Classifier(checkpoint, device="cpu", tta="hflip")(image)
    assert [prediction.class_name for prediction in result.top] == row[1::2]
    found = [prediction.probability for prediction in result.top]
    assert found == pytest.approx([float(value) for value in row[2::2]], rel=1e-5)


def test_the_result(checkpoint, image):
    classifier = rednet.Classifier(str(checkpoint), top_k=2)
    result = classifier(str(image))
    assert len(result.top) == 2 and classifier.class_names == NAMES
    first, second = result.top
    assert first.probability >= second.probability
    assert NAMES[first.index] == first.class_name == first.name == result.name
    assert result.probabilities.sum().item() == pytest.approx(1)
    assert result.probabilities[first.index].item() == first.probability == result.probability
    assert str(result) == f"{first}, {second}"
    assert str(first) == f"{first.name} {100 * first.probability:.1f} %"
    assert repr(classifier).startswith("Classifier(rednet26, 3 classes, 32 px, crop 0.8, bicubic,")


def test_one_image_of_any_kind_or_several(checkpoint, image):
    classifier = rednet.Classifier(checkpoint, batch_size=2)
    with Image.open(image) as opened:
        pixels = np.array(opened)
        kinds = [image, opened, pixels, pixels / 255, torch.from_numpy(pixels).permute(2, 0, 1)]
        one = classifier(image)
        for kind in kinds:
            assert classifier(kind).probabilities.equal(one.probabilities)
        for several in (kinds, iter(kinds), np.stack([pixels] * 5), np.array([str(image)] * 5)):
            results = classifier(several)
            assert len(results) == 5
            for result in results:
                torch.testing.assert_close(result.probabilities, one.probabilities)
    assert classifier([]) == []


def test_features_are_what_the_classifier_gets(checkpoint, image):
    classifier = rednet.Classifier(checkpoint)
    features = classifier.features(image)
    assert features.shape == (classifier.model.head_hidden_size,)
    assert classifier.features([image] * 3).shape == (3, *features.shape)
    assert classifier.features([]).shape == (0, *features.shape)
    with torch.no_grad():
        logits = classifier.model.get_classifier()(features)
    torch.testing.assert_close(logits.softmax(0), classifier(image).probabilities)


def test_the_network_can_be_used_on_its_own(checkpoint, image):
    classifier = rednet.Classifier(checkpoint)
    assert not classifier.model.training
    assert classifier.preprocessing.image_size == 32
    flat = torch.zeros(1, 3, 32, 32)
    mean = torch.tensor(classifier.preprocessing.mean).view(3, 1, 1)
    torch.testing.assert_close(
        classifier.model(flat).softmax(1)[0].detach(),
        classifier(mean.expand(3, 40, 40)).probabilities,
        atol=0.02,
        rtol=0.02,
    )


def test_precision_and_preprocessing(checkpoint, image):
    plain, half = (
        rednet.Classifier(checkpoint, precision=name)(image) for name in ("fp32", "bf16")
    )
    torch.testing.assert_close(plain.probabilities, half.probabilities, atol=0.02, rtol=0.1)
    assert not plain.probabilities.equal(half.probabilities)
    larger = rednet.Classifier(checkpoint, preprocessing={"image_size": 48})
    assert (larger.preprocessing.image_size, larger.preprocessing.crop_pct) == (48, 0.8)
    assert not larger(image).probabilities.equal(plain.probabilities)


def test_a_bare_file_is_imagenets_with_warnings(image, tmp_path, caplog):
    torch.manual_seed(0)
    torch.save(timm.create_model("test_resnet").state_dict(), tmp_path / "bare.pt")
    with pytest.raises(InputError, match="does not say which network it is for: add e"):
        rednet.Classifier(tmp_path / "bare.pt")
    with caplog.at_level(logging.WARNING, "rednet"):
        classifier = rednet.Classifier(tmp_path / "bare.pt", model="test_resnet")
    assert "its 1000 classes are taken to be ImageNet's" in caplog.text
    (first, *_) = classifier(image).top
    assert first.class_name == imagenet_synsets()[first.index] != first.name


def test_a_file_without_classifier_has_features(make_tiny, image, tmp_path):
    torch.save(make_tiny(num_classes=0).state_dict(), tmp_path / "backbone.pt")
    classifier = rednet.Classifier(tmp_path / "backbone.pt", preprocessing={"image_size": 32})
    assert classifier.features(image).shape == (512,)
    with pytest.raises(InputError, match="has no classifier: only its features can be used"):
        classifier(image)


def test_images_that_cannot_be_read(checkpoint, image, tmp_path):
    classifier = rednet.Classifier(checkpoint)
    (tmp_path / "broken.png").write_bytes(b"no image")
    for images in (tmp_path / "broken.png", [image, tmp_path / "broken.png"]):
        with pytest.raises(InputError, match=r"broken\.png cannot be read: it is no image"):
            classifier(images)
    with pytest.raises(InputError, match=r"cannot be read: it is a folder"):
        classifier(tmp_path)
    with pytest.raises(InputError, match=r"an image must be a path, .* not NoneType"):
        classifier(None)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"precision": "fp8"}, "precision='fp8': choose fp32, bf16, fp16"),
        ({"tta": True}, "tta=True: choose None, hflip"),
        ({"top_k": 0}, "top_k=0: must be a whole number of at least 1"),
        ({"batch_size": 2.5}, "batch_size=2.5: must be a whole number"),
        ({"device": "tpu"}, "device=tpu: torch has no such device"),
        ({"device": "cuda:99"}, "device=cuda:99: this machine has .*; device=cpu works everywhere"),
        ({"preprocessing": {"size": 3}}, "preprocessing: has no size; choose image_size, crop_pct"),
        ({"preprocessing": {"image_size": "28"}}, "image_size must be a whole number of pixels"),
        ({"preprocessing": {"mean": (0.5,)}}, "preprocessing: give mean and std together"),
        ({"preprocessing": {"mean": (0.5,), "std": (0.5,)}}, "takes images with 3 channels"),
        ({"model_options": {"width": 1}}, "model_options: name the network, too"),
        ({"model": "rednet101"}, "is for rednet26 .*, not for rednet101"),
    ],
)
def test_wrong_arguments(arguments, message, checkpoint):
    with pytest.raises(InputError, match=message):
        rednet.Classifier(checkpoint, **arguments)


def test_a_file_that_is_not_there():
    with pytest.raises(InputError, match=r"checkpoint=nothing\.pt: no such file"):
        rednet.Classifier("nothing.pt")


def test_a_network_that_has_diverged(checkpoint, image):
    classifier = rednet.Classifier(checkpoint)
    torch.nn.init.constant_(classifier.model.fc.bias, float("nan"))
    with pytest.raises(InputError, match="the logits are not finite: the network has diverged"):
        classifier(image)
