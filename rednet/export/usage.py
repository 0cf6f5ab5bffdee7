"""The lines of Python that run an exported file."""

import json

from rednet.export.program import INPUT
from rednet.export.subject import Options, Subject
from rednet.export.torch_file import SUFFIX
from rednet.weights import imagenet_preprocessing

IMAGE = "image.jpg"
"""The image in the snippet."""
RGB = 3

ONNX = """\
import {json}numpy, onnxruntime
from PIL import Image, ImageOps

session = onnxruntime.InferenceSession({path})
{prepare}
(logits,) = session.run(None, {{{input}: images}})
{classes}"""

TORCH = """\
import {json}numpy, torch{rednet}
from PIL import Image, ImageOps

{load}.module()
{prepare}
logits = program(torch.from_numpy(images)).detach()
{classes}"""

AOTI = """\
import {json}numpy, torch._inductor{rednet}
from PIL import Image, ImageOps

program = torch._inductor.aoti_load_package({path})
{prepare}
logits = program(torch.from_numpy(images).contiguous())  # it does not look at strides
{classes}"""

PREPARE = """\
image = Image.open({image}).convert({mode})
image = ImageOps.fit(image, ({size}, {size}), {filter}, {margin:g})
images = (numpy.asarray(image, "float32").reshape({size}, {size}, -1) / 255 - {mean}) / {std}
images = images.transpose(2, 0, 1)[None].astype("float32")"""


def usage(path: str, format: str, subject: Subject, options: Options) -> str:
    """Return Python code that classifies `image.jpg` with an exported file."""
    prepare = _prepare(subject)
    named = subject.class_names is not None
    key = "class_names" if subject.class_labels is None else "class_labels"
    if format == "onnx":
        names = f'json.loads(session.get_modelmeta().custom_metadata_map["{key}"])'
        template = ONNX
    elif format == "aoti":
        names = f'json.loads(program.get_metadata()["{key}"])'
        template = AOTI
    else:
        names = f'json.loads(files["{key}{SUFFIX}"])'
        template = TORCH
    classes = f"print({names}[logits.argmax()])" if named else "print(logits.argmax())"
    quoted = json.dumps(path, ensure_ascii=False)
    load = f"program = torch.export.load({quoted})"
    if named:
        load = f'files = {{"{key}{SUFFIX}": ""}}\n{load[:-1]}, extra_files=files)'
    return template.format(
        json="json, " if named else "",
        load=load,
        path=quoted,
        prepare=prepare,
        classes=classes,
        input=json.dumps(INPUT),
        rednet="" if options.decompose else ", rednet",
    )


def _prepare(subject: Subject) -> str:
    """Return the lines that prepare an image; ImageOps.fit resizes and crops like evaluation."""
    channels = subject.in_chans
    usual = imagenet_preprocessing() if channels == RGB else {}
    known = {**usual, **subject.preprocessing}
    interpolation = known.get("interpolation", "bilinear")
    name = "BILINEAR" if interpolation == "opencv" else interpolation.upper()
    return PREPARE.format(
        image=json.dumps(IMAGE),
        mode=json.dumps({1: "L", 4: "RGBA"}.get(channels, "RGB")),
        size=subject.size,
        filter=f"Image.Resampling.{name}",
        margin=(1 - known.get("crop_pct", 1.0)) / 2,
        mean=list(known.get("mean", [0.5] * channels)),
        std=list(known.get("std", [0.5] * channels)),
    )
